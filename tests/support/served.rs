//! Emulators, proxies in front of them, and clients of both, for tests and measurements.

#![allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "each of its users needs a part")]

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use smoothgate::config::Config;
use smoothgate::emulate::{Emulator, Plan, Settings};
use smoothgate::ledger::{Ledger, Options};
use smoothgate::providers::credentials::Environment;
use smoothgate::providers::local::Backend;
use smoothgate::providers::transport::{NetworkSettings, Proxy as Way};
use smoothgate::providers::{EncodedPicture, Format};
use smoothgate::proxy::{self, Opened, Opener, Proxy, access, fetch, observer};

/// Every wire format.
pub const APIS: [&str; 8] =
    ["google", "aws", "azure", "azure-v3", "clarifai", "openai", "huggingface", "kserve"];

pub async fn emulator(plan: Plan, backend: Arc<dyn Backend>) -> Emulator {
    Emulator::start(Settings { plan, ..Settings::default() }, backend).await.unwrap()
}

pub fn plan(text: &str) -> Plan {
    Plan::parse(text).unwrap()
}

/// The options of `api` that make it call `url`.
pub fn options(api: &str, url: &str) -> Value {
    match api {
        "google" | "clarifai" => json!({ "endpoint": url, "pictures_per_call": 4 }),
        "aws" => json!({ "endpoint": url, "region": "us-east-1" }),
        "azure" | "azure-v3" => json!({ "endpoint": url }),
        "openai" => {
            json!({ "endpoint": format!("{url}/v1"), "model": "m", "labels": ["cat", "dog", "fish"] })
        }
        "huggingface" => json!({ "url": format!("{url}/models/m") }),
        "kserve" => json!({ "endpoint": url, "model": "m", "pictures_per_call": 4 }),
        _ => unreachable!("{api}"),
    }
}

/// No proxy of the environment.
pub fn direct() -> NetworkSettings {
    NetworkSettings { proxy: Way::Direct, ..NetworkSettings::default() }
}

/// A proxy with the routes of `config`, and a ledger in `folder`.
pub async fn proxy(config: &Config, folder: &Path, environment: &Environment) -> Proxy {
    let ledger =
        Ledger::open(folder.join("ledger.db"), &Options { patient: false, ..Options::default() }).unwrap();
    let opened = Opener::new(config, environment, &config.serve, ledger).open(&config.routes).await.unwrap();
    Proxy::start(open_to_all(config, opened)).await.unwrap()
}

/// No keys, no fetching, no TLS.
pub fn open_to_all(config: &Config, opened: Opened) -> proxy::Settings {
    proxy::Settings {
        serve: config.serve.clone(),
        opened,
        access: Arc::new(access::Open::Local),
        fetch: Arc::new(fetch::Refused),
        observer: Arc::new(observer::Unobserved),
        tls: None,
    }
}

/// A client that is none of ours.
pub fn client() -> reqwest::Client {
    client_of(reqwest::Client::builder())
}

pub fn client_of(builder: reqwest::ClientBuilder) -> reqwest::Client {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    builder.tls_backend_preconfigured(tls).no_proxy().build().unwrap()
}

/// A PNG of this size whose pixels depend on `n`.
pub fn sized(n: u32, width: u32, height: u32) -> EncodedPicture {
    let pixels = image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x + n) as u8, (y * 3 + n * 7) as u8, (n * 31) as u8])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    EncodedPicture { bytes: bytes.into_inner().into(), format: Format::Png, width, height }
}

/// A picture that every API takes.
pub fn picture(n: u32) -> EncodedPicture {
    sized(n, 80, 80)
}
