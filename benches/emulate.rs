//! Our client against our emulator, both in this process: how much of a rate limit is used, how full the fullest second
//! is at the server, and how many small calls a second go through without a limit. Prints numbers, asserts nothing.
//!
//! `cargo bench --bench emulate`. The last column does not depend on what else the machine does: calls for each second
//! of processor time that client and server take together.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that ends at the first surprise and prints"
)]

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use serde_json::json;
use smoothgate::emulate::{DEFAULT_KEY, Emulator, Latency, Plan, Settings};
use smoothgate::providers::credentials::Environment;
use smoothgate::providers::local::Backend;
use smoothgate::providers::registry::{self, CredentialSettings};
use smoothgate::providers::transport::{
    HttpEndpoint, Network, NetworkSettings, Proxy, Rate, TransportSettings,
};
use smoothgate::providers::{Answer, EncodedPicture, Endpoint as _, Format, Outcome, Quota, Unrecorded};

struct Dog;

impl Backend for Dog {
    fn answer(&self, _: &EncodedPicture) -> Outcome {
        Outcome::Answered(Answer::of([("dog", 0.9)]))
    }

    fn is_quick(&self) -> bool {
        true
    }
}

/// Processor time of this process so far, in seconds, where the system tells it in `/proc`.
fn processor() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // User and system time in hundredths of a second.
    Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
}

fn endpoint(url: &str, limit: Option<u32>) -> HttpEndpoint {
    let registration = registry::find("huggingface").unwrap();
    let options = json!({ "url": format!("{url}/models/m") });
    let environment = Environment::of([("KEY", DEFAULT_KEY)]);
    let direct = NetworkSettings { proxy: Proxy::Direct, ..NetworkSettings::default() };
    let network = Network::new(direct).unwrap();
    let key = CredentialSettings { key: Some("env::KEY".parse().unwrap()), ..CredentialSettings::default() };
    let credential = registration.credential(&options, &key, &environment, &network).unwrap();
    let provider = registration.adapter(&options, &environment).unwrap().provider;
    let rate = limit.map_or(Rate::Unlimited, |limit| {
        Rate::Quota(Quota { calls_per_minute: limit * 60, pictures_per_minute: None })
    });
    let settings = TransportSettings { rate, ..TransportSettings::default() };
    HttpEndpoint::new(provider, credential, network, settings).unwrap()
}

async fn run(name: &str, limit: Option<u32>, latency: Duration, calls: u64, in_flight: usize) {
    let plan = Plan { latency: Latency::fixed(latency), ..Plan::default() };
    let emulator = Emulator::start(Settings { plan, ..Settings::default() }, Arc::new(Dog)).await.unwrap();
    let endpoint = endpoint(&emulator.url(), limit);
    let mut png = Cursor::new(Vec::new());
    image::RgbImage::new(8, 8).write_to(&mut png, image::ImageFormat::Png).unwrap();
    let picture = EncodedPicture { bytes: png.into_inner().into(), format: Format::Png, width: 8, height: 8 };
    let (start, worked) = (Instant::now(), processor());
    let answered = futures::stream::iter(0..calls)
        .map(|draw| endpoint.ask(Some(draw), picture.clone(), &Unrecorded))
        .buffer_unordered(in_flight)
        .filter(|outcome| std::future::ready(matches!(outcome, Ok(Outcome::Answered(_)))))
        .count()
        .await;
    let took = start.elapsed();
    let worked = worked.zip(processor()).map(|(before, after)| after - before);
    let stats = emulator.stop().await;
    // The last call ends one latency after it was sent.
    let per_second = (calls - 1) as f64 / took.saturating_sub(latency).as_secs_f64();
    let used = limit.map_or(String::new(), |limit| {
        format!(
            ", {:.2} % of the limit, fullest second {} calls",
            100.0 * per_second / f64::from(limit),
            stats.fullest_second
        )
    });
    let busy = worked.map_or(String::new(), |worked| {
        format!(", {:.0} calls a second of processor time", calls as f64 / worked.max(0.01))
    });
    println!(
        "{name}: {answered} of {} calls answered in {took:.2?}, {per_second:.1} calls/s{used}{busy}",
        stats.total.calls
    );
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        run("limit 200/s, no latency", Some(200), Duration::ZERO, 2000, 32).await;
        run("limit 30/s, latency 200 ms", Some(30), Duration::from_millis(200), 600, 32).await;
        for _ in 0..3 {
            run("no limit", None, Duration::ZERO, 20_000, 64).await;
        }
    });
}
