//! Plants secrets and looks for them in every log level, error, outcome, record and `Debug`.

#[cfg(test)]
mod support;

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use smoothgate_providers::Endpoint as _;
use smoothgate_providers::credentials::keys::{CLARIFAI, OPENAI};
use smoothgate_providers::credentials::{Environment, Shared, aws, google};
use smoothgate_providers::transport::{HttpEndpoint, Network, NetworkSettings, Proxy};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use support::{Act, DOG, Memory, Plain, Server, picture, quick, reply, reply_with};

const PLANTED: &str = "PLANTED+secret/0123456789";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Replies and faults that repeat everything the server was told.
fn echoing(n: usize, seen: &support::Seen) -> Act {
    let echo = format!("{:?}", seen.headers);
    match n % 9 {
        0 => reply(200, echo),
        1 => reply(500, echo),
        2 => reply(429, echo),
        3 => reply_with(503, "Retry-After", "0", &echo),
        4 => Act::Reset,
        5 => Act::Truncated,
        6 => reply(400, echo),
        7 => reply(401, echo),
        _ => reply(200, DOG),
    }
}

#[tokio::test]
async fn no_secret_in_any_log_error_record_or_debug() {
    let log = Log::default();
    let writer = log.clone();
    let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_ansi(false);
    tracing_subscriber::registry().with(layer).init(); // No filter: every level of every crate.

    let tokens = Server::start(|_, _| {
        reply(200, format!(r#"{{"access_token":"{PLANTED}-token","expires_in":3600}}"#))
    })
    .await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let user = serde_json::json!({
        "type": "authorized_user", "client_id": "c", "client_secret": PLANTED, "refresh_token": PLANTED,
        "token_uri": tokens.url("/"),
    });
    std::fs::write(file.path(), user.to_string()).unwrap();
    let environment = Environment::of([
        ("CLARIFAI_PAT", PLANTED),
        ("OPENAI_API_KEY", PLANTED),
        ("GOOGLE_APPLICATION_CREDENTIALS", file.path().to_str().unwrap()),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", PLANTED),
        ("AWS_SESSION_TOKEN", PLANTED),
    ]);
    let proxy = Proxy::Url(format!("http://user:{}@127.0.0.1:9", "PLANTED-password").into());
    let network = Network::new(NetworkSettings { proxy, ..support::network() }).unwrap();
    let credentials: Vec<Shared> = vec![
        CLARIFAI.find(None, &environment).unwrap(),
        OPENAI.find(None, &environment).unwrap(),
        google::find(&google::GoogleSettings::default(), &environment, &network).unwrap(),
        aws::find(&aws::AwsSettings::default(), "rekognition", &environment, &network).unwrap(),
    ];
    let mut said = format!("{environment:?} {network:?}");
    let mut signatures = Vec::new();
    for credential in credentials {
        let server = Server::start(echoing).await;
        let journal = Memory::default();
        let mut settings = quick();
        settings.retry.attempts = 3;
        let provider = Arc::new(Plain::new(server.url("/")));
        let endpoint =
            HttpEndpoint::new(provider, Arc::clone(&credential), network.clone(), settings).unwrap();
        for n in 0..9 {
            match endpoint.ask(None, picture(n), &journal).await {
                Ok(outcome) => write!(said, "{outcome:?}").unwrap(),
                Err(error) => write!(said, "{error} {error:?}").unwrap(),
            }
        }
        // An address behind the proxy, which cannot be reached.
        let provider = Arc::new(Plain::new("https://api.example.test/".to_owned()));
        let away = HttpEndpoint::new(provider, Arc::clone(&credential), network.clone(), quick()).unwrap();
        write!(said, "{:?}", away.ask(None, picture(1), &journal).await).unwrap();
        write!(said, "{endpoint:?} {:?} {:?}", endpoint.stats(), credential.status()).unwrap();
        write!(said, "{:?}", credential.authorization().await.unwrap()).unwrap();
        write!(said, "{:?}", journal.closed.lock().unwrap()).unwrap();
        let seen = server.seen();
        assert!(!seen.is_empty() && seen.iter().all(|s| s.headers.contains_key("authorization")));
        assert!(seen.iter().any(|s| format!("{:?}", s.headers).contains(PLANTED)), "the key was used");
        let signature =
            |s: &support::Seen| Some(s.headers["authorization"].split_once("Signature=")?.1.to_owned());
        signatures.extend(seen.iter().filter_map(signature));
    }
    assert!(!signatures.is_empty());
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(logged.contains("TRACE") && logged.contains("hyper"), "the log of other crates is in it too");
    for text in [&said, &logged] {
        for secret in ["PLANTED"].into_iter().chain(signatures.iter().map(String::as_str)) {
            if let Some(at) = text.find(secret) {
                let from = text[..at].char_indices().rev().nth(200).map_or(0, |(i, _)| i);
                panic!("a secret got out: {}", &text[from..at]);
            }
        }
    }
}
