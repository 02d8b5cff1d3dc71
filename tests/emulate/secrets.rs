//! Plants secrets and looks for them in every log level, request log, count and error.

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};

use smoothgate::emulate::{DEFAULT_AWS_ID, Emulator, Keys, Plan, Settings};
use smoothgate::providers::Endpoint as _;
use smoothgate::providers::credentials::aws::AwsKeys;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::support::{APIS, Hash, Records, endpoint_with, network, patient, picture};

const PLANTED: &str = "PLANTED+secret/0123456789";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_in_any_log_count_or_error() {
    let log = Log::default();
    let writer = log.clone();
    let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_ansi(false);
    // No filter: every level of every crate, and of the tests that run beside this one.
    tracing_subscriber::registry().with(layer).init();
    let said = Arc::new(Mutex::new(String::new()));
    let lines = Arc::clone(&said);
    let keys = Keys {
        aws: AwsKeys {
            access_key_id: DEFAULT_AWS_ID.to_owned(),
            secret_access_key: PLANTED.into(),
            session_token: None,
        },
        ..Keys::of(PLANTED.into())
    };
    write!(said.lock().unwrap(), "{keys:?}").unwrap();
    let settings = Settings {
        keys,
        plan: Plan { seed: 3, ..Plan::default() }.with_fault_rate(0.5).unwrap(),
        log: Some(Arc::new(move |line| {
            write!(lines.lock().unwrap(), "{line:?} {}", serde_json::to_string(line).unwrap()).unwrap();
        })),
        ..Settings::default()
    };
    write!(said.lock().unwrap(), "{settings:?}").unwrap();
    let emulator = Emulator::start(settings, Arc::new(Hash)).await.unwrap();
    let (url, network) = (emulator.url(), network());
    for api in APIS {
        for key in [PLANTED, "PLANTED-but-wrong"] {
            let endpoint = endpoint_with(api, &url, key, &network, patient());
            let journal = Records::default();
            for n in 0..12 {
                let ended = endpoint.ask(None, picture(n), &journal).await;
                write!(said.lock().unwrap(), "{ended:?} {endpoint:?}").unwrap();
            }
            write!(said.lock().unwrap(), "{:?}", journal.closed.lock().unwrap()).unwrap();
        }
    }
    // A key in the query, where Google's clients may put it, and in a path that no format has.
    for target in ["/v1/images:annotate?key=PLANTED", "/nowhere?key=PLANTED"] {
        let mut stream = tokio::net::TcpStream::connect(emulator.address()).await.unwrap();
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
        let mut reply = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut reply).await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 4"), "{reply}");
        said.lock().unwrap().push_str(&reply);
    }
    let stats = emulator.stats();
    let dump = format!("{emulator:?} {stats:?} {}", serde_json::to_string(&stats).unwrap());
    said.lock().unwrap().push_str(&dump);
    drop(emulator);
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(logged.contains("TRACE") && logged.contains("smoothgate::emulate"), "our own lines are in it");
    assert!(said.lock().unwrap().contains("unknown-key"));
    for text in [&*said.lock().unwrap(), &logged] {
        for secret in ["PLANTED", "Signature="] {
            if let Some(at) = text.find(secret) {
                let from = text[..at].char_indices().rev().nth(200).map_or(0, |(i, _)| i);
                panic!("a secret got out: {}", &text[from..at]);
            }
        }
    }
}
