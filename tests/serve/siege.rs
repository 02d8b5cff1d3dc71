//! Strangers who send as much as they can, all at once, to the command as a process of its own: its memory is what is
//! measured.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use smoothgate::emulate::Plan;
use smoothgate::front::Formats;
use smoothgate::providers::served;
use tempfile::tempdir;

use crate::process::Server;
use crate::support::{APIS, Dog, ask, emulator, head_of, picture, route, written};

/// A heavy body: a head, then a piece over and over.
type Heavy = (&'static str, &'static str);

/// A body of spaces; values of one byte each, which take most when each becomes a value in memory; and empty objects where
/// the format has a list.
fn heavy(api: &str) -> [Heavy; 3] {
    let list = match api {
        "google" => "{\"requests\":[{}",
        "openai" => "{\"messages\":[{}",
        "aws" => "{\"Image\":[{}",
        _ => "{\"inputs\":[{}",
    };
    [("", " "), ("{\"x\":[0", ",0"), (list, ",{}")]
}

/// Sends `len` bytes of body in the format of `api`, and reads what comes back before the connection ends.
fn send(address: &str, api: &str, (head, piece): Heavy, len: usize) -> String {
    let start = head_of(api, &format!("http://{address}"));
    let text = format!("{start}connection: close\r\ncontent-length: {len}\r\n\r\n{head}");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(2))).unwrap();
    let pieces = piece.repeat((1 << 20) / piece.len());
    let mut left = len - head.len();
    let mut sent = stream.write_all(text.as_bytes());
    // The refusal may come before all is sent, and then the rest is not taken.
    while left > 0 && sent.is_ok() {
        let now = left.min(pieces.len());
        sent = stream.write_all(&pieces.as_bytes()[..now]);
        left -= now;
    }
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    String::from_utf8_lossy(&reply).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_strangers_send_at_once_does_not_fill_the_memory() {
    let emulator = emulator(Plan::default(), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("smoothgate.toml"), written(&emulator, "finish = \"0s\"", &route("")))
        .unwrap();
    let server = Server::start(folder).await;
    let address = server.url.strip_prefix("http://").unwrap();
    std::thread::scope(|scope| {
        for api in APIS {
            let most = Formats::max_body(served::by_name(api).unwrap().as_ref());
            for kind in heavy(api) {
                // As much as the format takes, and 100 MB.
                for len in [most.min(100_000_000), 100_000_000] {
                    scope.spawn(move || {
                        let reply = send(address, api, kind, len);
                        assert!(
                            reply.is_empty() || reply.starts_with("HTTP/1.1 4"),
                            "{api} {kind:?} {len}: {reply}"
                        );
                    });
                }
            }
        }
        for _ in 0..100 {
            scope.spawn(|| {
                let mut slow = TcpStream::connect(address).unwrap();
                let _ = slow.write_all(b"POST /v1/images:annotate HTTP/1.1\r\nhost: localhost\r\n");
                let flood = format!("x-long: {}\r\n", "a".repeat(2_000_000));
                let _ = slow.write_all(flood.as_bytes());
            });
        }
    });
    let most = server.memory("VmHWM:");
    eprintln!("{most:?} MiB resident at most");
    assert!(most.is_none_or(|most| most < 1024), "{most:?} MiB");
    assert_eq!(emulator.stats().total.calls, 0, "nothing of that was worth a call");
    let (_, reply) = ask("google", &server.url, &[picture(1)]).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    server.signal("-TERM");
    server.end(folder).await;
}
