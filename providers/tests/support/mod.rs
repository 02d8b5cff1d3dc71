//! A raw HTTP/1.1 server that can misbehave, an adapter that speaks to it and a journal that counts.
#![expect(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, StatusCode};
use smoothgate_providers::credentials::Fixed;
use smoothgate_providers::transport::{
    HttpEndpoint, Network, NetworkSettings, Proxy, Rate, RetryPolicy, TransportSettings,
};
use smoothgate_providers::{
    Answer, Attempt, AttemptEnd, AttemptId, Billed, EncodedPicture, Format, Journal, JournalError, Limits,
    Outcome, OutcomeClass, Price, Provider, Quota, Reply, RequestError,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A request as the server got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
    pub(crate) at: Instant,
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Reply {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
    /// RST instead of a reply.
    Reset,
    /// Closes without a reply.
    Close,
    /// Announces more than it sends, then closes.
    Truncated,
    /// One byte every 20 ms, for ever.
    Drip,
    /// Says nothing and keeps the connection.
    Silent,
    /// A body of this many bytes.
    Huge(usize),
    /// Two whole replies to one request.
    Twice(String),
    After(Duration, Box<Act>),
}

pub(crate) fn reply(status: u16, body: impl Into<String>) -> Act {
    Act::Reply { status, headers: Vec::new(), body: body.into() }
}

pub(crate) fn reply_with(status: u16, header: &str, value: impl Into<String>, body: &str) -> Act {
    Act::Reply { status, headers: vec![(header.to_owned(), value.into())], body: body.to_owned() }
}

/// `dog` for one picture.
pub(crate) const DOG: &str = r#"{"responses":[{"label":"dog"}]}"#;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    pub(crate) connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

type Script = Arc<dyn Fn(usize, &Seen) -> Act + Send + Sync>;

impl Server {
    /// Answers request number `n` (from 0, in order of arrival) with `script(n, request)`.
    pub(crate) async fn start(script: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static) -> Self {
        Self::start_with(script, None).await
    }

    pub(crate) async fn start_with(
        script: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static,
        tls: Option<tokio_rustls::TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (log, count, script): (_, _, Script) =
            (Arc::clone(&seen), Arc::clone(&connections), Arc::new(script));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                count.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).unwrap();
                let (log, script, tls) = (Arc::clone(&log), Arc::clone(&script), tls.clone());
                open.spawn(async move {
                    match tls {
                        None => serve(stream, log, script, reset).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, log, script, |_| {}).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, seen, connections, _tasks: tasks }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Most calls in any second, and the time from the first call to the last.
    pub(crate) fn fullest_second(&self) -> (usize, Duration) {
        let times: Vec<Instant> = self.seen().iter().map(|s| s.at).collect();
        let (mut first, mut most) = (0, 0);
        for (last, time) in times.iter().enumerate() {
            while *time - times[first] > Duration::from_secs(1) {
                first += 1;
            }
            most = most.max(last - first + 1);
        }
        (most, times[times.len() - 1] - times[0])
    }
}

fn reset(stream: &TcpStream) {
    // Closing with unsent time zero makes the kernel send RST.
    #[expect(deprecated, reason = "the blocking it warns of is only for lingering longer than zero")]
    let _ = stream.set_linger(Some(Duration::ZERO));
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    log: Arc<Mutex<Vec<Seen>>>,
    script: Script,
    reset: fn(&S),
) {
    let mut buffer = Vec::new();
    loop {
        let Some(seen) = read_request(&mut stream, &mut buffer).await else { return };
        let act = {
            let mut log = log.lock().unwrap();
            log.push(seen);
            script(log.len() - 1, &log[log.len() - 1])
        };
        let mut act = act;
        while let Act::After(pause, then) = act {
            tokio::time::sleep(pause).await;
            act = *then;
        }
        match act {
            Act::Reply { status, headers, body } => {
                let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
                for (name, value) in headers {
                    let _ = write!(head, "{name}: {value}\r\n");
                }
                if stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.is_err() {
                    return;
                }
            }
            Act::Twice(body) => {
                let one = format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                if stream.write_all(format!("{one}{one}").as_bytes()).await.is_err() {
                    return;
                }
            }
            Act::Reset => return reset(&stream),
            Act::Close => return,
            Act::Truncated => {
                let _ = stream.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n{\"resp").await;
                return;
            }
            Act::Drip => {
                let _ = stream.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 100000\r\n\r\n").await;
                while stream.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                return;
            }
            Act::Silent => std::future::pending().await,
            Act::Huge(bytes) => {
                // No length announced: the client has to count.
                let head = "HTTP/1.1 200 X\r\nConnection: close\r\n\r\n";
                if stream.write_all(head.as_bytes()).await.is_err() {
                    return;
                }
                let chunk = vec![b'x'; 1 << 16];
                for _ in 0..bytes.div_ceil(chunk.len()) {
                    if stream.write_all(&chunk).await.is_err() {
                        return;
                    }
                }
                return;
            }
            Act::After(..) => unreachable!(),
        }
    }
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut Vec<u8>) -> Option<Seen> {
    let mut chunk = vec![0; 1 << 14];
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        match stream.read(&mut chunk).await {
            Ok(n) if n > 0 => buffer.extend_from_slice(&chunk[..n]),
            _ => return None,
        }
    };
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap().to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|l| l.split_once(':'))
        .map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |v| v.parse().unwrap());
    while buffer.len() < end + length {
        match stream.read(&mut chunk).await {
            Ok(n) if n > 0 => buffer.extend_from_slice(&chunk[..n]),
            _ => return None,
        }
    }
    let body = Bytes::copy_from_slice(&buffer[end..end + length]);
    buffer.drain(..end + length);
    Some(Seen { line, headers, body, at: Instant::now() })
}

/// An adapter for [`Server`]: the pictures' bytes as hex words, `{"responses":[{"label"} | {"error": class}]}` back.
pub(crate) struct Plain {
    pub(crate) url: String,
    pub(crate) limits: Limits,
    pub(crate) quota: Option<Quota>,
    pub(crate) price: Price,
    /// Most bytes of pictures in a call.
    pub(crate) most_bytes: usize,
}

impl Plain {
    pub(crate) fn new(url: String) -> Self {
        let limits = Limits {
            formats: &[Format::Png],
            max_bytes: 1 << 20,
            min_side: 1,
            max_side: 100,
            max_pixels: 10_000,
            pictures_per_call: 1,
        };
        Self { url, limits, quota: None, price: Price::Free, most_bytes: usize::MAX }
    }
}

pub(crate) fn words(body: &[u8]) -> Vec<String> {
    let body = std::str::from_utf8(body).unwrap();
    body.split_whitespace().map(str::to_owned).collect()
}

impl Provider for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn quota(&self) -> Option<Quota> {
        self.quota
    }

    fn price(&self) -> Price {
        self.price
    }

    fn request(&self, pictures: &[EncodedPicture]) -> Result<Request<Bytes>, RequestError> {
        for picture in pictures {
            self.limits
                .check(picture)
                .map_err(|problem| RequestError::Limit { provider: "plain".to_owned(), problem })?;
        }
        let hex = |p: &EncodedPicture| {
            p.bytes.iter().fold(String::new(), |mut text, b| {
                let _ = write!(text, "{b:02x}");
                text
            })
        };
        let words: Vec<String> = pictures.iter().map(hex).collect();
        Ok(Request::post(&self.url).body(Bytes::from(words.join(" "))).unwrap())
    }

    fn fit(&self, pictures: &[EncodedPicture]) -> usize {
        let mut bytes = 0;
        let fits = |p: &&EncodedPicture| {
            bytes += p.bytes.len();
            bytes <= self.most_bytes
        };
        pictures.iter().take_while(fits).count().max(1)
    }

    fn ask_singly(&self, _: usize, reply: &Reply) -> bool {
        reply.body.starts_with(b"one of these is bad")
    }

    fn outcomes(&self, pictures: usize, reply: &Reply) -> Vec<Outcome> {
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        let all = |outcome: Outcome| vec![outcome; pictures];
        let reason = text.clone();
        match reply.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return all(Outcome::Auth { reason }),
            StatusCode::FORBIDDEN => return all(Outcome::QuotaSpent { reason }),
            StatusCode::TOO_MANY_REQUESTS => return all(Outcome::Throttled { retry_after: None, reason }),
            _ if text.contains("Throttling") => return all(Outcome::Throttled { retry_after: None, reason }),
            StatusCode::BAD_REQUEST => return all(Outcome::BadPicture { reason }),
            _ => return all(Outcome::Transient { reason }),
        }
        let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) else {
            return all(Outcome::Malformed { reason });
        };
        let Some(responses) = value["responses"].as_array().filter(|r| r.len() == pictures) else {
            return all(Outcome::Malformed { reason });
        };
        responses
            .iter()
            .map(|r| match (r["label"].as_str(), r["error"].as_str()) {
                (Some(label), None) => Outcome::Answered(Answer::of([(label, 0.9)])),
                (_, Some("throttled")) => Outcome::Throttled { retry_after: None, reason: "each".to_owned() },
                (_, Some("bad")) => Outcome::BadPicture { reason: "each".to_owned() },
                (_, Some("transient")) => Outcome::Transient { reason: "each".to_owned() },
                _ => Outcome::Malformed { reason: "each".to_owned() },
            })
            .collect()
    }
}

pub(crate) fn picture(n: u32) -> EncodedPicture {
    EncodedPicture { bytes: Bytes::from(n.to_be_bytes().to_vec()), format: Format::Png, width: 2, height: 2 }
}

/// Retries soon, so that tests are quick.
pub(crate) fn quick() -> TransportSettings {
    TransportSettings {
        rate: Rate::Unlimited,
        retry: RetryPolicy {
            attempts: 4,
            base: Duration::from_millis(2),
            longest: Duration::from_millis(10),
            retry_after_longest: Duration::from_millis(1200),
        },
        ..TransportSettings::default()
    }
}

pub(crate) fn network() -> NetworkSettings {
    NetworkSettings {
        first_byte_timeout: Duration::from_millis(500),
        call_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_millis(600),
        max_reply_bytes: 1 << 20,
        proxy: Proxy::Direct,
        ..NetworkSettings::default()
    }
}

pub(crate) fn endpoint(provider: Plain, settings: TransportSettings) -> HttpEndpoint {
    let network = Network::new(network()).unwrap();
    HttpEndpoint::new(Arc::new(provider), Arc::new(Fixed::none()), network, settings).unwrap()
}

/// Attempt, class, status, billed, reason.
pub(crate) type Closed = (i64, OutcomeClass, Option<u16>, Billed, String);

/// A journal that keeps everything in memory.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) opened: Mutex<Vec<Attempt>>,
    pub(crate) closed: Mutex<Vec<Closed>>,
    pub(crate) next: AtomicI64,
    /// Most attempts that are allowed.
    pub(crate) budget: Option<i64>,
    pub(crate) open_takes: Duration,
}

impl Memory {
    pub(crate) fn attempts(&self) -> usize {
        self.opened.lock().unwrap().len()
    }

    pub(crate) fn closed(&self) -> usize {
        self.closed.lock().unwrap().len()
    }

    pub(crate) fn ends(&self) -> Vec<(OutcomeClass, Option<u16>, Billed)> {
        self.closed
            .lock()
            .unwrap()
            .iter()
            .map(|(_, class, status, billed, _)| (*class, *status, *billed))
            .collect()
    }
}

impl Journal for Memory {
    fn open<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<AttemptId, JournalError>> {
        Box::pin(async move {
            let id = self.next.fetch_add(1, Ordering::SeqCst);
            if self.budget.is_some_and(|most| id >= most) {
                return Err(JournalError::Budget("spent".to_owned()));
            }
            if !self.open_takes.is_zero() {
                tokio::time::sleep(self.open_takes).await;
            }
            self.opened.lock().unwrap().push(attempt.clone());
            Ok(AttemptId(id))
        })
    }

    fn close<'a>(&'a self, id: AttemptId, end: AttemptEnd<'a>) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            let reason = end.outcome.reason().unwrap_or_default().to_owned();
            self.closed.lock().unwrap().push((id.0, end.outcome.class(), end.status, end.billed, reason));
            Ok(())
        })
    }
}
