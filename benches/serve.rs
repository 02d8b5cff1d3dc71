//! What the proxy costs: pictures asked of the emulator directly, and through `serve`. Prints numbers, asserts nothing.
//!
//! `cargo bench --bench serve`. No denoiser, pictures of 8×8 pixels, each another one: nothing is shared or served again.
//! Every call is on record in a ledger on disk before it is sent, and so is the certificate before it is replied. One vote
//! cannot certify anything at an alpha that is allowed, but it can end a claim: of the three votes that the claim takes, the
//! first is against it, and the reply is an abstention, with its certificate. For the other claim all three are, one after
//! the other. Clients, proxy and emulator share two threads, so a request through the proxy pays for the emulator twice:
//! once for its call and once for what a direct request costs anyway.
//!
//! Direct and proxied rounds alternate, so that whatever else the machine does falls on both. The processor time is this
//! process's, for clients, proxy and emulator together, and depends less on that.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that ends at the first surprise and prints"
)]

/// The program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[path = "../tests/support/served.rs"]
mod served;

use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use smoothgate::config::Config;
use smoothgate::emulate::{DEFAULT_KEY, Plan};
use smoothgate::providers::credentials::Environment;
use smoothgate::providers::local::Backend;
use smoothgate::providers::{Answer, EncodedPicture, Outcome};
use smoothgate::proxy::Proxy;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const ROUNDS: usize = 7;

struct Dog;

impl Backend for Dog {
    fn answer(&self, _: &EncodedPicture) -> Outcome {
        Outcome::Answered(Answer::of([("dog", 0.9)]))
    }

    fn is_quick(&self) -> bool {
        true
    }
}

/// A request with a PNG of 8×8 pixels that depends on `n`.
fn request(n: u32) -> Vec<u8> {
    let [a, b, c, _] = n.to_le_bytes();
    let pixels = image::RgbImage::from_pixel(8, 8, image::Rgb([a, b, c]));
    let mut png = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let png = png.into_inner();
    let head = format!(
        "POST /models/m HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {DEFAULT_KEY}\r\n\
         content-type: image/png\r\ncontent-length: {}\r\n\r\n",
        png.len()
    );
    [head.into_bytes(), png].concat()
}

async fn proxy(upstream: &str, folder: &Path, votes: usize) -> Proxy {
    let label = if votes == 1 { "cat" } else { "dog" };
    let text = format!(
        "[providers.up]\nkind = \"huggingface\"\nprice = \"0.0010USD\"\nrate = \"unlimited\"\n\
         credentials = {{ key = \"env::KEY\" }}\noptions = {{ url = \"{upstream}/models/m\" }}\n\
         network = {{ proxy = \"direct\" }}\n\
         [serve]\nlisten = \"127.0.0.1:0\"\nmax_active = 64\nmax_waiting = 4096\n\
         [routes.all]\nupstream = \"up\"\nquestion = \"present:{label}\"\nalpha = 0.19\n\
         test = \"table\"\nradius = [0.02]\nn_max = 3\n\
         denoiser = \"none\"\nsize = 8\nbatch = 2\n"
    );
    let environment = Environment::of([("KEY", DEFAULT_KEY)]);
    let config = Config::parse(Path::new("bench.toml"), &text, &environment).unwrap();
    served::proxy(&config, folder, &environment).await
}

/// One request on an open connection. The reply must be a 200 with a length.
async fn ask(stream: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) {
    stream.write_all(request).await.unwrap();
    buffer.clear();
    let (mut head, mut length) = (None, 0);
    while head.is_none_or(|head| buffer.len() < head + length) {
        assert!(stream.read_buf(buffer).await.unwrap() > 0, "{}", String::from_utf8_lossy(buffer));
        if head.is_none()
            && let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n")
        {
            let text = std::str::from_utf8(&buffer[..end]).unwrap().to_ascii_lowercase();
            assert!(text.starts_with("http/1.1 200"), "{}", String::from_utf8_lossy(buffer));
            let value = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            (head, length) = (Some(end + 4), value.parse().unwrap());
        }
    }
}

/// What a round took.
#[derive(Clone, Copy)]
struct Took {
    /// Requests a second.
    rate: f64,
    /// Median latency in milliseconds.
    median: f64,
    /// Processor time for a request, in milliseconds.
    work: f64,
}

/// Asks about these pictures on so many connections.
async fn round(address: SocketAddr, pictures: Range<u32>, connections: usize) -> Took {
    let requests: Arc<Vec<Vec<u8>>> = Arc::new(pictures.map(request).collect());
    let (next, count) = (Arc::new(AtomicUsize::new(0)), requests.len());
    let mut clients = JoinSet::new();
    let mut streams = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        streams.push(stream);
    }
    let (start, worked) = (Instant::now(), processor());
    for mut stream in streams {
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        clients.spawn(async move {
            let (mut times, mut buffer) = (Vec::new(), Vec::new());
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                let start = Instant::now();
                ask(&mut stream, request, &mut buffer).await;
                times.push(start.elapsed());
            }
            times
        });
    }
    let mut times: Vec<Duration> = clients.join_all().await.concat();
    let (took, worked) = (start.elapsed(), processor() - worked);
    times.sort_unstable();
    Took {
        rate: count as f64 / took.as_secs_f64(),
        median: times[times.len() / 2].as_secs_f64() * 1e3,
        work: worked / count as f64 * 1e3,
    }
}

/// Processor time of this process so far, in seconds; 0 where the system does not tell it in `/proc`.
fn processor() -> f64 {
    let read = || {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        // User and system time in hundredths of a second.
        Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
    };
    read().unwrap_or_default()
}

/// Median, least and most.
fn spread(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let digits = if values[0] < 100.0 { 2 } else { 0 };
    format!(
        "{:.digits$} ({:.digits$}..{:.digits$})",
        values[values.len() / 2],
        values[0],
        values[values.len() - 1]
    )
}

/// What is compared of two rounds.
type Figure = fn(&Took) -> f64;

async fn compare(emulator: SocketAddr, proxy: SocketAddr, first: &mut u32, connections: usize, count: u32) {
    let mut rounds = Vec::new();
    // The first warms up.
    for _ in 0..=ROUNDS {
        let pictures = *first..*first + count;
        *first += count;
        rounds.push((
            round(emulator, pictures.clone(), connections).await,
            round(proxy, pictures, connections).await,
        ));
    }
    rounds.remove(0);
    let directly = |take: Figure| spread(rounds.iter().map(|(direct, _)| take(direct)));
    let through = |take: Figure| spread(rounds.iter().map(|(_, through)| take(through)));
    let figures: [(&str, Figure); 3] = [
        ("requests/s", |took| took.rate),
        ("median latency, ms", |took| took.median),
        ("processor time, ms", |took| took.work),
    ];
    for (what, take) in figures {
        println!("    {what:20} directly {:30} through {}", directly(take), through(take));
    }
    let ratio = rounds.iter().map(|(direct, through)| through.rate / direct.rate);
    let more = rounds.iter().map(|(direct, through)| through.median - direct.median);
    println!("    ratio of rates {}, more latency at the median {} ms", spread(ratio), spread(more));
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    println!("median (least..most) of {ROUNDS} rounds");
    runtime.block_on(async {
        let emulator = served::emulator(Plan::default(), Arc::new(Dog)).await;
        let mut first = 0;
        for votes in [1, 3] {
            let folder = tempfile::tempdir().unwrap();
            let proxy = proxy(&emulator.url(), folder.path(), votes).await;
            for (connections, count) in [(1, 1000), (64, 4000)] {
                println!(
                    "  {votes} vote(s) a request, {connections} connection(s), {count} requests a round"
                );
                compare(emulator.address(), proxy.address(), &mut first, connections, count).await;
            }
            let _ = proxy.stop().await;
        }
    });
}
