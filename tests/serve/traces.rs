//! Traces as a collector gets them, over a real socket.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use smoothgate::emulate::{DEFAULT_KEY, Plan};
use tempfile::tempdir;

use crate::process::Server;
use crate::support::{Dog, adapter, client, emulator, header, picture, route, written};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// One request to the collector: its head and its body.
type Export = (String, Vec<u8>);

/// Listens and takes everything. Its thread ends with the test.
fn collector() -> (String, Arc<Mutex<Vec<Export>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let taken = Arc::new(Mutex::new(Vec::new()));
    let exports = Arc::clone(&taken);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let exports = Arc::clone(&exports);
            std::thread::spawn(move || serve(stream.unwrap(), &exports));
        }
    });
    (url, taken)
}

fn serve(stream: TcpStream, exports: &Mutex<Vec<Export>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let lower = head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        exports.lock().unwrap().push((head, body));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    }
}

/// A field of a protobuf message: its number and its bytes, or a number.
enum Field<'a> {
    Bytes(u64, &'a [u8]),
    Number(u64),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn fields(mut bytes: &[u8]) -> Vec<Field<'_>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let field = key >> 3;
        let length = match key & 7 {
            0 => {
                found.push(Field::Number(varint(&mut bytes)));
                continue;
            }
            1 => 8,
            5 => 4,
            _ => varint(&mut bytes) as usize,
        };
        let (taken, rest) = bytes.split_at(length);
        found.push(Field::Bytes(field, taken));
        bytes = rest;
    }
    found
}

fn inside(message: &[u8], number: u64) -> Vec<&[u8]> {
    fields(message)
        .into_iter()
        .filter_map(|field| match field {
            Field::Bytes(found, bytes) if found == number => Some(bytes),
            _ => None,
        })
        .collect()
}

fn text(message: &[u8], number: u64) -> String {
    inside(message, number)
        .first()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// What the tests look at of a span, by the numbers of its fields in the protocol.
#[derive(Debug)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    attributes: BTreeMap<String, String>,
}

impl Span {
    fn of(message: &[u8]) -> Self {
        let id = |number| hex(inside(message, number).first().copied().unwrap_or_default());
        let attributes = inside(message, 9).into_iter().map(|pair| {
            let value = inside(pair, 2)[0];
            let shown = match fields(value).into_iter().next() {
                Some(Field::Bytes(_, text)) => String::from_utf8_lossy(text).into_owned(),
                Some(Field::Number(number)) => number.to_string(),
                None => String::new(),
            };
            (text(pair, 1), shown)
        });
        Self {
            trace: id(1),
            id: id(2),
            parent: id(4),
            name: text(message, 5),
            attributes: attributes.collect(),
        }
    }
}

fn spans(exports: &[Export]) -> Vec<Span> {
    let resources = exports.iter().flat_map(|(_, body)| inside(body, 1));
    let scopes = resources.flat_map(|resource| inside(resource, 2));
    scopes.flat_map(|scope| inside(scope, 2)).map(Span::of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_gets_the_way_of_a_request_and_no_secret() {
    let plan = Plan { seed: 3, ..Plan::default() }.with_fault_rate(0.3).unwrap();
    let emulator = emulator(plan, Arc::new(Dog)).await;
    let (url, taken) = collector();
    let folder = tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("smoothgate.toml"), written(&emulator, "finish = \"0s\"", &route("")))
        .unwrap();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=collector-secret"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test"),
    ];
    let server = Server::start_with(folder, &["--log-level", "debug"], &variables).await;
    let request = adapter("google", &server.url).request(&[picture(1), picture(2)]).unwrap();
    let mut request = reqwest::Request::try_from(request).unwrap();
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    request.headers_mut().insert("traceparent", traceparent.parse().unwrap());
    request.headers_mut().insert("x-goog-api-key", "client-secret".parse().unwrap());
    request.url_mut().query_pairs_mut().append_pair("key", "query-secret");
    let reply = client().execute(request).await.unwrap();
    assert_eq!(reply.status(), 200);
    let calls: Vec<u64> =
        header(reply.headers(), "calls").split(',').map(|calls| calls.trim().parse().unwrap()).collect();
    let id = header(reply.headers(), "request-id").to_owned();
    // Another, of which the client says no trace.
    assert_eq!(client().get(format!("{}/healthz", server.url)).send().await.unwrap().status(), 200);
    server.signal("-TERM");
    server.end(folder).await;

    let exports = taken.lock().unwrap();
    for (head, _) in exports.iter() {
        assert!(head.starts_with("POST /v1/traces "), "{head}");
        assert!(head.contains("x-collector-key: collector-secret"), "{head}");
        assert!(head.contains("application/x-protobuf"), "{head}");
    }
    let bytes: Vec<u8> = exports.iter().flat_map(|(_, body)| body.clone()).collect();
    let all = String::from_utf8_lossy(&bytes);
    for secret in [
        DEFAULT_KEY,
        "client-secret",
        "query-secret",
        "collector-secret",
        "images:annotate",
        env!("CARGO_MANIFEST_DIR"),
    ] {
        assert!(!all.contains(secret), "{secret}");
    }
    assert!(
        all.contains("service.name") && all.contains("smoothgate") && all.contains("deployment.environment")
    );
    let log = Server::log(folder);
    assert!(!log.contains("collector-secret") && log.contains(&id), "{log}");

    let spans = spans(&exports);
    let of = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let (requests, pictures) = (of("request"), of("picture"));
    let [request, health] = requests[..] else { panic!("{requests:?}") };
    assert_eq!((request.trace.as_str(), request.parent.as_str()), (TRACE, PARENT));
    assert!(health.trace != TRACE && health.parent.is_empty(), "{health:?}");
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("smoothgate.api", "google"),
        ("smoothgate.route", "all"),
        ("smoothgate.pictures", "2"),
        ("smoothgate.request_id", id.as_str()),
    ] {
        assert_eq!(request.attributes.get(name).map(String::as_str), Some(value), "{name}: {request:?}");
    }
    assert_eq!(pictures.len(), 2);
    let attempts = of("attempt");
    for picture in &pictures {
        assert_eq!((picture.trace.as_str(), &picture.parent), (TRACE, &request.id));
        assert_eq!(picture.attributes["smoothgate.evidence"], "new", "{picture:?}");
        let own: Vec<_> = attempts.iter().filter(|attempt| attempt.parent == picture.id).collect();
        assert_eq!(own.len().to_string(), picture.attributes["smoothgate.calls"], "{picture:?}");
        assert!(of("denoise").iter().any(|denoise| denoise.parent == picture.id));
    }
    assert_eq!(attempts.len() as u64, calls.iter().sum::<u64>());
    assert!(attempts.iter().any(|attempt| attempt.attributes["smoothgate.class"] == "answered"));
    assert!(
        attempts.iter().any(|attempt| attempt.attributes["smoothgate.class"] != "answered"),
        "one call in three fails"
    );
    assert!(attempts.iter().all(|attempt| attempt.attributes["smoothgate.upstream"] == "up"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_not_there_holds_up_nobody() {
    let emulator = emulator(Plan::default(), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("smoothgate.toml"), written(&emulator, "finish = \"0s\"", &route("")))
        .unwrap();
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")];
    let server = Server::start_with(folder, &[], &variables).await;
    let request = adapter("google", &server.url).request(&[picture(1)]).unwrap();
    let reply = client().execute(reqwest::Request::try_from(request).unwrap()).await.unwrap();
    assert_eq!(reply.status(), 200);
    server.signal("-TERM");
    let begun = std::time::Instant::now();
    server.end(folder).await;
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    assert!(Server::log(folder).contains("traces were not sent"));
}
