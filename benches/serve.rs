//! What the proxy costs: the same pictures asked of the emulator directly and through `serve`, all in this process. Prints
//! numbers, asserts nothing.
//!
//! `cargo bench --bench serve`. Fewer than two votes certify nothing at any alpha below one half, so a request takes two
//! calls upstream (`present:dog`, alpha 0.49, `fixed` with n = 2, no denoiser), each on record in a ledger on disk. Every
//! request has another picture: nothing is shared or served again. Clients, proxy and emulator share two threads.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that ends at the first surprise and prints"
)]

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use smoothgate::config::Config;
use smoothgate::emulate::{DEFAULT_KEY, Emulator, Settings};
use smoothgate::ledger::{Ledger, Options};
use smoothgate::providers::credentials::Environment;
use smoothgate::providers::local::Backend;
use smoothgate::providers::{Answer, EncodedPicture, Outcome};
use smoothgate::proxy::{self, Opener, Proxy, access, fetch, observer};

struct Dog;

impl Backend for Dog {
    fn answer(&self, _: &EncodedPicture) -> Outcome {
        Outcome::Answered(Answer::of([("dog", 0.9)]))
    }
}

/// A PNG of 8×8 pixels that depends on `n`.
fn picture(n: u32) -> Bytes {
    let [a, b, c, _] = n.to_le_bytes();
    let pixels = image::RgbImage::from_pixel(8, 8, image::Rgb([a, b, c]));
    let mut png = Cursor::new(Vec::new());
    pixels.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner().into()
}

async fn proxy(upstream: &str, folder: &Path) -> Proxy {
    let text = format!(
        "[providers.up]\nkind = \"huggingface\"\nprice = \"0.0010USD\"\nrate = \"unlimited\"\n\
         credentials = {{ key = \"env::KEY\" }}\noptions = {{ url = \"{upstream}/models/m\" }}\n\
         network = {{ proxy = \"direct\" }}\n\
         [serve]\nlisten = \"127.0.0.1:0\"\nmax_active = 64\nmax_waiting = 4096\n\
         [routes.all]\nupstream = \"up\"\nquestion = \"present:dog\"\nalpha = 0.49\ntest = \"fixed\"\nn = 2\n\
         denoiser = \"none\"\nsize = 8\nbatch = 2\n"
    );
    let environment = Environment::of([("KEY", DEFAULT_KEY)]);
    let config = Config::parse(Path::new("bench.toml"), &text, &environment).unwrap();
    let ledger = Ledger::open(folder.join("ledger.db"), &Options::default()).unwrap();
    let opened =
        Opener::new(&config, &environment, &config.serve, ledger).open(&config.routes).await.unwrap();
    let settings = proxy::Settings {
        serve: config.serve.clone(),
        opened,
        access: Arc::new(access::Open::Local),
        fetch: Arc::new(fetch::Refused),
        observer: Arc::new(observer::Unobserved),
        tls: None,
    };
    Proxy::start(settings).await.unwrap()
}

fn client() -> reqwest::Client {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap()
}

/// Asks about `count` pictures, so many at once. Returns requests a second and the median latency.
async fn ask(url: &str, pictures: std::ops::Range<u32>, at_once: usize) -> (f64, Duration) {
    let client = client();
    let count = pictures.len();
    let files: Vec<Bytes> = pictures.map(picture).collect();
    let start = Instant::now();
    let mut times: Vec<Duration> = futures::stream::iter(files)
        .map(|file| {
            let request = client.post(format!("{url}/models/m")).bearer_auth(DEFAULT_KEY);
            let request = request.header("content-type", "image/png").body(file);
            async move {
                let start = Instant::now();
                let reply = request.send().await.unwrap();
                assert_eq!(reply.status(), 200);
                let body = reply.text().await.unwrap();
                assert!(body.contains("dog"), "{body}");
                start.elapsed()
            }
        })
        .buffer_unordered(at_once)
        .collect()
        .await;
    let rate = count as f64 / start.elapsed().as_secs_f64();
    times.sort_unstable();
    (rate, times[times.len() / 2])
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let emulator = Emulator::start(Settings::default(), Arc::new(Dog)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let proxy = proxy(&emulator.url(), folder.path()).await;
        let mut first = 0;
        for (name, at_once, count) in [("one at a time", 1, 300), ("64 at once", 64, 3000)] {
            for _ in 0..3 {
                let (direct, direct_median) = ask(&emulator.url(), first..first + count, at_once).await;
                let (through, through_median) = ask(&proxy.url(), first..first + count, at_once).await;
                first += count;
                println!(
                    "{name}: directly {direct:.0} requests/s, median {direct_median:.2?}; through the proxy {through:.0} \
                     requests/s, median {through_median:.2?}"
                );
            }
        }
        let _ = proxy.stop().await;
    });
}
