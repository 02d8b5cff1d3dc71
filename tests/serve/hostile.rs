//! What strangers may send: a clear refusal in the API's own shape, no crash, no paid call.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::Value;
use smoothgate::emulate::Plan;
use smoothgate::providers::{EncodedPicture, Format};
use smoothgate::proxy::Proxy;
use tempfile::{TempDir, tempdir};

use crate::support::{APIS, Dog, adapter, ask, client, config, emulator, head_of, picture, proxy, route};

/// A proxy that strangers reach, and what it must not have cost.
struct Target {
    emulator: smoothgate::emulate::Emulator,
    proxy: Proxy,
    _folder: TempDir,
}

impl Target {
    async fn new() -> Self {
        Self::with(&route("")).await
    }

    /// With this below `[serve]`.
    async fn with(more: &str) -> Self {
        let emulator = emulator(Plan::default(), Arc::new(Dog)).await;
        let folder = tempdir().unwrap();
        let proxy = proxy(&config(&emulator, more), folder.path()).await;
        Self { emulator, proxy, _folder: folder }
    }

    /// It still works, and nothing was asked before.
    async fn unharmed(self) {
        assert_eq!(self.emulator.stats().total.calls, 0, "nothing of that was worth a call");
        let (_, reply) = ask("google", &self.proxy.url(), &[picture(1)]).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    /// A request as the client of `api` makes it, with another body.
    async fn send(&self, api: &str, body: Vec<u8>, headers: &[(&str, &str)]) -> (StatusCode, Value) {
        let request = adapter(api, &self.proxy.url()).request(&[picture(1)]).unwrap();
        let mut request = reqwest::Request::try_from(request).unwrap();
        *request.body_mut() = Some(body.into());
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let reply = client().execute(request).await.unwrap();
        let status = reply.status();
        let bytes = reply.bytes().await.unwrap();
        let body = serde_json::from_slice(&bytes);
        assert!(body.is_ok(), "{api} {status}: {}", String::from_utf8_lossy(&bytes));
        (status, body.unwrap())
    }

    /// What comes back for bytes on a connection of their own.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.proxy.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        // It may be closed before all is sent.
        let _ = stream.write_all(bytes);
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        String::from_utf8_lossy(&reply).into_owned()
    }
}

/// Is it an error of this API, as its clients read it? Google has errors of single pictures inside a 200.
#[track_caller]
fn assert_refused(api: &str, status: StatusCode, body: &Value) {
    let inside = match api {
        "google" if status.is_success() => &body["responses"][0]["error"]["code"],
        "google" | "azure" | "azure-v3" => &body["error"]["code"],
        "aws" => &body["__type"],
        "clarifai" => &body["status"]["code"],
        "openai" => &body["error"]["message"],
        _ => &body["error"],
    };
    assert!(!inside.is_null(), "{api} {status}: {body}");
    let own = api == "google" && status.is_success();
    assert!(own || status.is_client_error(), "{api} {status}: {body}");
    assert_ne!(status, StatusCode::TOO_MANY_REQUESTS, "{api}: {body}");
}

/// The head of a PNG of so many pixels, and nothing behind it.
fn png_of(width: u32, height: u32) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    file.extend(13_u32.to_be_bytes());
    file.extend(&header);
    file.extend(crc32(&header).to_be_bytes());
    file.extend([0; 64]);
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    let table =
        |byte: u32| (0..8).fold(byte, |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 });
    !bytes.iter().fold(u32::MAX, |crc, byte| table((crc ^ u32::from(*byte)) & 0xff) ^ (crc >> 8))
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_no_request_of_the_api_are_refused_in_its_shape() {
    let target = Target::new().await;
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    for api in APIS {
        for (what, body) in [
            ("nothing", vec![]),
            ("half of a JSON", b"{\"requests\": [{".to_vec()),
            ("another JSON", b"{\"a\": [1, null, \"\\u0000\"]}".to_vec()),
            ("no object", b"17".to_vec()),
            ("not UTF-8", b"{\"\xff\xfe\": 1}".to_vec()),
            ("nested deeply", deep.clone()),
            ("noise", noise(7, 10_000)),
        ] {
            let (status, body) = target.send(api, body, &[]).await;
            assert!(!body.is_null(), "{what}");
            assert_refused(api, status, &body);
        }
    }
    target.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_only_drip_are_refused_in_the_apis_shape() {
    let limits = "[serve.limits]\nbody_time = \"400ms\"\n";
    let target = Target::with(&format!("{limits}{}", route(""))).await;
    std::thread::scope(|scope| {
        for api in APIS {
            let (url, address) = (target.proxy.url(), target.proxy.address());
            scope.spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
                let head = head_of(api, &url);
                stream.write_all(format!("{head}content-length: 5000\r\n\r\n").as_bytes()).unwrap();
                let mut drip = stream.try_clone().unwrap();
                scope.spawn(move || {
                    // Always something, so that it is never idle; until the connection is closed.
                    for _ in 0..4000 {
                        if drip.write_all(b" ").is_err() {
                            break;
                        }
                        std::thread::sleep(Duration::from_millis(20));
                    }
                });
                let (mut reply, mut buffer) = (Vec::new(), [0; 4096]);
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    reply.extend_from_slice(&buffer[..count]);
                }
                let reply = String::from_utf8_lossy(&reply);
                assert!(reply.starts_with("HTTP/1.1 4"), "{api}: {reply}");
                let (_, body) = reply.split_once("\r\n\r\n").unwrap();
                assert_refused(api, StatusCode::BAD_REQUEST, &serde_json::from_str(body).unwrap());
            });
        }
    });
    target.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_on_every_route_is_refused() {
    let target = Target::new().await;
    let url = target.proxy.url();
    let calls: Vec<String> = APIS
        .iter()
        .map(|api| adapter(api, &url).request(&[picture(1)]).unwrap().uri().path().to_owned())
        .collect();
    let own = ["/healthz", "/readyz", "/metrics", "/openapi.json", "/certificates/1-00", "/", "/nowhere"];
    for (seed, path) in (0..).zip(calls.iter().map(String::as_str).chain(own)) {
        for (method, kind) in [
            (Method::POST, "application/json"),
            (Method::POST, "application/x-amz-json-1.1"),
            (Method::POST, "application/octet-stream"),
            (Method::POST, "multipart/form-data; boundary=x"),
            (Method::PUT, "image/png"),
        ] {
            let request =
                client().request(method.clone(), format!("{url}{path}")).header("content-type", kind);
            let reply = request.body(noise(seed, 10_000)).send().await.unwrap();
            let status = reply.status();
            let text = reply.text().await.unwrap();
            assert!(
                status.is_client_error() || (status == 200 && calls.iter().any(|call| call.as_str() == path)),
                "{method} {path} {kind}: {status} {text}"
            );
            assert!(serde_json::from_str::<Value>(&text).is_ok(), "{method} {path} {kind}: {status} {text}");
        }
    }
    target.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_and_overlong_bodies_are_not_read() {
    let target = Target::new().await;
    for api in APIS {
        // A gzip of anything: it is never inflated.
        let bomb = b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec();
        let (status, body) = target.send(api, bomb, &[("content-encoding", "gzip")]).await;
        assert_refused(api, status, &body);

        // Ten megabytes of nothing, in ten kilobytes.
        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        bomb.write_all(&vec![b' '; 10_000_000]).unwrap();
        let (status, body) = target.send(api, bomb.finish().unwrap(), &[("content-encoding", "gzip")]).await;
        assert_refused(api, status, &body);
        let head = head_of(api, &target.proxy.url());
        let coded = target.raw(
            format!("{head}connection: close\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n")
                .as_bytes(),
        );
        assert!(coded.is_empty() || coded.starts_with("HTTP/1.1 4"), "{api}: {coded}");
        // 2 GB are announced, and none of it comes.
        let announced = target.raw(format!("{head}content-length: 2000000000\r\n\r\n").as_bytes());
        assert!(announced.starts_with("HTTP/1.1 4"), "{api}: {announced}");
        let (_, body) = announced.split_once("\r\n\r\n").unwrap();
        assert_refused(api, StatusCode::PAYLOAD_TOO_LARGE, &serde_json::from_str(body).unwrap());
    }
    // Without a length it is counted as it comes: Google takes 10 MB.
    let request = adapter("google", &target.proxy.url()).request(&[picture(1)]).unwrap();
    let mut bytes = format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        request.uri().path()
    )
    .into_bytes();
    for _ in 0..120 {
        bytes.extend(b"19000\r\n");
        bytes.extend(std::iter::repeat_n(b' ', 0x19000));
        bytes.extend(b"\r\n");
    }
    let reply = target.raw(&bytes);
    // What is cut off while it is still sent may lose its reply.
    assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 4"), "{reply}");
    target.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_claim_to_be_huge_are_refused_by_their_heads() {
    let target = Target::new().await;
    for api in APIS {
        for (width, height) in [(50_000, 50_000), (u32::MAX, u32::MAX), (0, 0), (1 << 31, 1)] {
            let bytes = png_of(width, height);
            let file = EncodedPicture { bytes: bytes.into(), format: Format::Png, width: 80, height: 80 };
            let (outcomes, reply) = ask(api, &target.proxy.url(), &[file]).await;
            let body = serde_json::from_slice(&reply.body).unwrap();
            if api != "clarifai" || reply.status != 200 {
                assert_refused(api, reply.status, &body);
            }
            assert!(
                matches!(outcomes[0].class(), smoothgate::providers::OutcomeClass::BadPicture)
                    || reply.status.is_client_error(),
                "{api} {width}x{height}: {outcomes:?} {body}"
            );
        }
    }
    target.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_lead_nowhere_but_where_they_say() {
    let target = Target::new().await;
    for path in [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/certificates/../metrics",
        "/certificates/%2e%2e%2fledger.db",
        "/certificates/",
        "/certificates/1",
        "/certificates/1-%00",
        "/certificates/99999999999999999999-00000000000000000000000000000000",
        "/certificates/-1-00000000000000000000000000000000",
        "/healthz/",
        "/HEALTHZ",
        "//healthz",
        "/readyz%00",
        "/v1//images:annotate",
        "/v1/images%3Aannotate%00",
        "*",
        "http://elsewhere.example/v1/images:annotate",
    ] {
        let reply = target
            .raw(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes());
        assert!(reply.starts_with("HTTP/1.1 4"), "{path}: {reply}");
        assert!(!reply.contains("root:") && !reply.contains("SQLite"), "{path}: {reply}");
    }
    for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::TRACE, Method::OPTIONS] {
        for path in ["/healthz", "/readyz", "/metrics", "/certificates/1-00"] {
            let url = format!("{}{path}", target.proxy.url());
            let reply = client().request(method.clone(), url).send().await.unwrap();
            assert_eq!(reply.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        }
    }
    target.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_headers_slow_heads_and_noise_on_the_wire_keep_nobody_else_out() {
    let target = Target::new().await;
    let head = "POST /v1/images:annotate HTTP/1.1\r\nhost: localhost\r\n";
    let mut many = String::new();
    for n in 0..20_000 {
        write!(many, "x-{n}: 1\r\n").unwrap();
    }
    let long = format!("x-long: {}\r\n", "a".repeat(2_000_000));
    for flood in [many, long] {
        let reply = target.raw(format!("{head}{flood}\r\n").as_bytes());
        assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 431"), "{reply}");
    }
    for seed in 0..32 {
        let reply = target.raw(&noise(seed, 10_000));
        assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 400"), "{reply}");
    }
    // HTTP/2 by prior knowledge, and then none.
    target.raw(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), noise(99, 10_000)].concat());
    let slow: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(target.proxy.address()).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    target.unharmed().await;
    drop(slow);
}
