//! How much of a rate limit is used, how full the fullest second at the server is, and how many small calls a second
//! go through without a limit. Prints numbers, asserts nothing.
//!
//! `cargo bench -p smoothgate-providers --bench rate`. The server is in the same process and on the same cores.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that ends at the first surprise and prints"
)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use http::Request;
use smoothgate_providers::credentials::Fixed;
use smoothgate_providers::transport::{HttpEndpoint, Network, NetworkSettings, Rate, TransportSettings};
use smoothgate_providers::{
    Answer, EncodedPicture, Endpoint as _, Format, Limits, Outcome, Price, Provider, Quota, Reply,
    RequestError, Unrecorded,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

struct Plain {
    url: String,
    limits: Limits,
}

impl Provider for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn quota(&self) -> Option<Quota> {
        None
    }

    fn price(&self) -> Price {
        Price::Free
    }

    fn request(&self, pictures: &[EncodedPicture]) -> Result<Request<Bytes>, RequestError> {
        Ok(Request::post(&self.url).body(pictures[0].bytes.clone()).unwrap())
    }

    fn outcomes(&self, pictures: usize, _: &Reply) -> Vec<Outcome> {
        vec![Outcome::Answered(Answer::of([("dog", 0.9)])); pictures]
    }
}

type Arrivals = Arc<Mutex<Vec<Instant>>>;

async fn server(latency: Duration) -> (String, Arrivals, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let arrivals = Arrivals::default();
    let log = Arc::clone(&arrivals);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            open.spawn(serve(stream, latency, Arc::clone(&log)));
        }
    });
    (url, arrivals, tasks)
}

async fn serve(mut stream: TcpStream, latency: Duration, log: Arrivals) {
    let mut buffer = vec![0; 1 << 14];
    let mut filled = 0;
    loop {
        // Requests come one at a time: head and body end with the body's last byte.
        let Ok(n) = stream.read(&mut buffer[filled..]).await else { return };
        if n == 0 {
            return;
        }
        filled += n;
        if !buffer[..filled].ends_with(b"END!") {
            continue;
        }
        filled = 0;
        log.lock().unwrap().push(Instant::now());
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.is_err() {
            return;
        }
    }
}

async fn run(name: &str, limit: Option<u32>, latency: Duration, calls: u64, in_flight: usize) {
    let (url, arrivals, _server) = server(latency).await;
    let limits = Limits {
        formats: &[Format::Png],
        max_bytes: 1 << 20,
        min_side: 1,
        max_side: 10,
        max_pixels: 100,
        pictures_per_call: 1,
    };
    let rate = limit.map_or(Rate::Unlimited, |limit| {
        Rate::Quota(Quota { calls_per_minute: limit * 60, pictures_per_minute: None })
    });
    let settings = TransportSettings { rate, ..TransportSettings::default() };
    let network = Network::new(NetworkSettings::default()).unwrap();
    let provider = Arc::new(Plain { url, limits });
    let endpoint = HttpEndpoint::new(provider, Arc::new(Fixed::none()), network, settings).unwrap();
    let picture = EncodedPicture {
        bytes: Bytes::from([vec![0; 1000], b"END!".to_vec()].concat()),
        format: Format::Png,
        width: 1,
        height: 1,
    };
    let start = Instant::now();
    let answered = futures::stream::iter(0..calls)
        .map(|draw| endpoint.ask(Some(draw), picture.clone(), &Unrecorded))
        .buffer_unordered(in_flight)
        .filter(|outcome| std::future::ready(matches!(outcome, Ok(Outcome::Answered(_)))))
        .count()
        .await;
    let took = start.elapsed();
    let times = arrivals.lock().unwrap().clone();
    let span = (times[times.len() - 1] - times[0]).as_secs_f64();
    let per_second = (times.len() - 1) as f64 / span;
    let (mut first, mut fullest) = (0, 0);
    for (last, time) in times.iter().enumerate() {
        while time.saturating_duration_since(times[first]) > Duration::from_secs(1) {
            first += 1;
        }
        fullest = fullest.max(last - first + 1);
    }
    let used = limit.map_or_else(String::new, |limit| {
        format!(
            ", {:.2} % of the limit, fullest second {fullest} calls",
            100.0 * per_second / f64::from(limit)
        )
    });
    println!("{name}: {answered} answered in {took:.2?}, {per_second:.1} calls/s{used}");
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        run("limit 30/s, latency 200 ms", Some(30), Duration::from_millis(200), 600, 32).await;
        run("limit 200/s, no latency", Some(200), Duration::ZERO, 2000, 32).await;
        run("limit 1000/s, no latency", Some(1000), Duration::ZERO, 5000, 64).await;
        for _ in 0..3 {
            run("no limit", None, Duration::ZERO, 30_000, 64).await;
        }
    });
}
