//! Limits and certificates of the server, on real sockets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use smoothgate_providers::served::RefusalClass;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::*;

/// Far beyond anything that the tests wait for: they fail instead of hanging.
const PATIENCE: Duration = Duration::from_mins(1);
const SHORT: Duration = Duration::from_millis(300);

struct Server {
    address: SocketAddr,
    _stop: watch::Sender<bool>,
    _running: JoinSet<()>,
}

/// A server that answers `ok`, to `/slow` after five times [`SHORT`].
async fn server(options: Options) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let mut running = JoinSet::new();
    running.spawn(serve(listener, options, stopped, |request: Request<_>, _| async move {
        if request.uri().path() == "/slow" {
            tokio::time::sleep(5 * SHORT).await;
        }
        Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from_static(b"ok"))))
    }));
    Server { address, _stop: stop, _running: running }
}

async fn limited(change: impl FnOnce(&mut Limits)) -> Server {
    let mut limits = Limits::default();
    change(&mut limits);
    server(Options { limits, ..Options::default() }).await
}

/// Everything that comes back until the server closes, also with a reset.
async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            bytes.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the server closes the connection");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let server = limited(|limits| limits.idle_time = SHORT).await;
    for said in
        [&b""[..], b"P", b"PRI * HTTP/2.0\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"]
    {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        assert!(!rest(&mut stream).await.contains("200 OK"), "{}", said.escape_ascii());
    }
    // One that waits for the next request, too.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn a_request_that_takes_its_time_is_not_cut_off() {
    let server = limited(|limits| (limits.idle_time, limits.head_time) = (SHORT, SHORT)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let reply = rest(&mut stream).await;
    assert!(reply.starts_with("HTTP/1.1 200 OK") && reply.ends_with("ok"), "{reply}");
}

#[tokio::test]
async fn a_head_that_never_ends_is_not_waited_for() {
    let server = limited(|limits| limits.head_time = SHORT).await;
    let (mut read, mut write) = TcpStream::connect(server.address).await.unwrap().into_split();
    let mut drip = JoinSet::new();
    drip.spawn(async move {
        write.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await.unwrap();
        // Always something, so that it is never idle.
        while write.write_all(b"x: y\r\n").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    });
    assert!(!rest(&mut read).await.contains("200 OK"));
}

#[tokio::test]
async fn one_peer_does_not_take_all_connections() {
    let server = limited(|limits| limits.per_peer = 3).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut buffer = [0; 12];
        stream.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"HTTP/1.1 200");
        open.push(stream);
    }
    let mut more = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(rest(&mut more).await, "");
    open.pop();
    let again = async {
        loop {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            let sent = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
            if sent.is_ok() && rest(&mut stream).await.starts_with("HTTP/1.1 200") {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("who closes one may open another");
}

#[tokio::test]
async fn floods_of_headers_are_refused() {
    let server = limited(|limits| (limits.headers, limits.head_bytes) = (20, 8192)).await;
    let many = "x: y\r\n".repeat(21);
    let long = format!("x: {}\r\n", "y".repeat(9000));
    for (headers, status) in [("x: y\r\n", "200"), (many.as_str(), "431"), (long.as_str(), "431")] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let reply = rest(&mut stream).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {reply}");
    }
}

#[tokio::test]
async fn floods_of_headers_are_refused_over_http2() {
    let server = limited(|limits| limits.head_bytes = 8192).await;
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(client_config(&[]))
        .no_proxy()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let get = |value: String| client.get(format!("http://{}/", server.address)).header("x", value).send();
    assert_eq!(get("y".to_owned()).await.unwrap().status(), 200);
    let refused = get("y".repeat(20_000)).await;
    assert!(refused.is_err() || refused.unwrap().status() == 431);
    assert_eq!(get("y".to_owned()).await.unwrap().status(), 200);
}

fn client_config(trusted: &[CertificateDer<'static>]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for authority in trusted {
        roots.add(authority.clone()).unwrap();
    }
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

struct Pair {
    certificate: CertificateDer<'static>,
    pem: String,
    key: String,
}

fn pair() -> Pair {
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    Pair { certificate: own.der().clone(), pem: own.pem(), key: key.serialize_pem() }
}

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn paths(&self) -> (PathBuf, PathBuf) {
        (self.folder.path().join("cert.pem"), self.folder.path().join("key.pem"))
    }

    fn write(&self, certificate: &str, key: &str) {
        let (certificate_path, key_path) = self.paths();
        std::fs::write(certificate_path, certificate).unwrap();
        std::fs::write(key_path, key).unwrap();
    }
}

/// Files that change while a server uses them.
async fn over_tls(first: &Pair) -> (Files, Tls, Server) {
    let files = Files { folder: tempfile::tempdir().unwrap() };
    files.write(&first.pem, &first.key);
    let (certificate, key) = files.paths();
    let tls = Tls::open(&certificate, &key).unwrap();
    let server = server(Options { tls: Some(tls.config()), ..Options::default() }).await;
    (files, tls, server)
}

/// A new handshake with a client that trusts `pair` alone.
async fn shake(server: &Server, pair: &Pair) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(client_config(std::slice::from_ref(&pair.certificate))));
    connector.connect(ServerName::try_from("localhost").unwrap(), stream).await
}

#[tokio::test]
async fn new_handshakes_get_the_new_certificate_and_open_connections_stay() {
    let (first, second) = (pair(), pair());
    let (files, tls, server) = over_tls(&first).await;
    let mut open = shake(&server, &first).await.unwrap();
    assert!(shake(&server, &second).await.is_err());
    files.write(&second.pem, &second.key);
    tls.reload().unwrap();
    assert!(shake(&server, &second).await.is_ok());
    assert!(shake(&server, &first).await.is_err());
    open.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(rest(&mut open).await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn changed_files_are_seen_without_a_signal() {
    let (first, second) = (pair(), pair());
    let (files, _tls, server) = over_tls(&first).await;
    // In two steps, as tools do: in between the files do not belong together, and the former pair stays.
    std::fs::write(files.paths().0, &second.pem).unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert!(shake(&server, &first).await.is_ok());
    }
    std::fs::write(files.paths().1, &second.key).unwrap();
    let seen = async {
        while shake(&server, &second).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("the new certificate is taken");
}

#[tokio::test]
async fn files_that_cannot_be_used_leave_the_former_certificate() {
    let (first, other) = (pair(), pair());
    let (files, tls, server) = over_tls(&first).await;
    for (certificate, key, named) in [
        ("", first.key.as_str(), "cert.pem"),
        ("nothing", &first.key, "cert.pem"),
        (&first.pem[..first.pem.len() / 2], &first.key, "cert.pem"),
        (&first.pem, "", "key.pem"),
        (&first.pem, &other.key, "cert.pem"),
        (&other.pem, &first.key, "cert.pem"),
    ] {
        files.write(certificate, key);
        let error = tls.reload().unwrap_err().to_string();
        assert!(error.contains(named) && !error.contains("PRIVATE"), "{error}");
        assert!(shake(&server, &first).await.is_ok());
    }
    std::fs::remove_file(files.paths().0).unwrap();
    assert!(tls.reload().is_err());
    assert!(shake(&server, &first).await.is_ok());
}

#[tokio::test]
async fn bodies_are_read_within_limits() {
    let api = smoothgate_providers::served::by_name("huggingface").unwrap();
    let read = async |bytes: usize, limits: BodyLimits| {
        let body = Full::new(Bytes::from(vec![0; bytes]));
        Formats::read_within(api.as_ref(), &HeaderMap::new(), body, limits).await
    };
    let limits = BodyLimits { bytes: 100, ..BodyLimits::default() };
    assert_eq!(read(100, limits).await.unwrap().len(), 100);
    let class = |result| match result {
        Err(ReadError::Refused(refusal)) => refusal.class,
        other => panic!("{other:?}"),
    };
    assert_eq!(class(read(101, limits).await), RefusalClass::BodyTooLarge);
    // The format's own limit stands where that is less.
    let most = Formats::max_body(api.as_ref());
    let wide = BodyLimits { bytes: usize::MAX, ..limits };
    assert_eq!(class(read(most + 1, wide).await), RefusalClass::BodyTooLarge);
    let never = http_body_util::StreamBody::new(futures::stream::pending::<
        Result<http_body::Frame<Bytes>, std::io::Error>,
    >());
    let brief = BodyLimits { time: SHORT, ..limits };
    let late = Formats::read_within(api.as_ref(), &HeaderMap::new(), never, brief).await;
    assert_eq!(class(late), RefusalClass::BadRequest);
}
