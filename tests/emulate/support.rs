//! A classifier, endpoints of every provider and a journal that counts.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use smoothgate::emulate::{DEFAULT_AWS_ID, DEFAULT_KEY, Emulator, Plan};
use smoothgate::engine::{Memory, Settled};
use smoothgate::providers::credentials::Environment;
use smoothgate::providers::local::Backend;
use smoothgate::providers::registry::{self, CredentialSettings};
use smoothgate::providers::transport::{HttpEndpoint, Network, Rate, RetryPolicy, TransportSettings};
use smoothgate::providers::{
    Answer, Attempt, AttemptEnd, AttemptId, Billed, EncodedPicture, Endpoint as _, Journal, JournalError,
    Label, Outcome, OutcomeClass,
};

use crate::served;
pub(crate) use crate::served::{APIS, client, client_of, direct, options, picture, plan, sized};

/// The formats whose replies name a model version.
pub(crate) const VERSIONED: [&str; 6] = ["aws", "azure", "azure-v3", "clarifai", "openai", "kserve"];

/// Answers by the bytes: mostly `dog` and then `cat`, sometimes the other way round. Cannot read what is no picture.
pub(crate) struct Hash;

impl Backend for Hash {
    fn answer(&self, picture: &EncodedPicture) -> Outcome {
        if image::load_from_memory(&picture.bytes).is_err() {
            return Outcome::BadPicture { reason: "it cannot be decoded".to_owned() };
        }
        let hash = blake3::hash(&picture.bytes);
        let (first, second) = if hash.as_bytes()[0] < 26 { ("cat", "dog") } else { ("dog", "cat") };
        // Single precision, as the APIs print it.
        let score = f64::from(0.6 + f32::from(hash.as_bytes()[1]) / 1024.0);
        let labels = vec![Label::new(first, score), Label::new(second, 0.5), Label::new("animal", 0.5)];
        Outcome::Answered(Answer { labels, model_version: Some("hash-1".to_owned()), ..Answer::default() })
    }
}

pub(crate) async fn emulator(plan: Plan) -> Emulator {
    served::emulator(plan, Arc::new(Hash)).await
}

/// Made once a test: it reads the system's certificate authorities, which takes a while.
pub(crate) fn network() -> Network {
    Network::new(direct()).unwrap()
}

/// Retries soon and often.
pub(crate) fn patient() -> TransportSettings {
    TransportSettings {
        rate: Rate::Unlimited,
        retry: RetryPolicy {
            attempts: 12,
            base: Duration::from_millis(1),
            longest: Duration::from_millis(4),
            retry_after_longest: Duration::from_millis(5),
        },
        linger: Duration::from_millis(1),
        ..TransportSettings::default()
    }
}

/// Never asks twice.
pub(crate) fn once() -> TransportSettings {
    let patient = patient();
    TransportSettings { retry: RetryPolicy { attempts: 1, ..patient.retry }, ..patient }
}

/// Where each provider looks for its key.
pub(crate) fn environment(key: &str) -> Environment {
    Environment::of([
        ("GOOGLE_API_KEY", key),
        ("AWS_ACCESS_KEY_ID", DEFAULT_AWS_ID),
        ("AWS_SECRET_ACCESS_KEY", key),
        ("AWS_REGION", "us-east-1"),
        ("VISION_KEY", key),
        ("CLARIFAI_PAT", key),
        ("KEY", key),
    ])
}

pub(crate) fn endpoint_with(
    api: &str,
    url: &str,
    key: &str,
    network: &Network,
    settings: TransportSettings,
) -> HttpEndpoint {
    let registration = registry::find(api).unwrap();
    let (options, environment) = (options(api, url), environment(key));
    let own = ["openai", "huggingface", "kserve"].contains(&api).then(|| "env::KEY".parse().unwrap());
    let credentials = CredentialSettings { key: own, ..CredentialSettings::default() };
    let credential = registration.credential(&options, &credentials, &environment, network).unwrap();
    let provider = registration.adapter(&options, &environment).unwrap().provider;
    HttpEndpoint::new(provider, credential, network.clone(), settings).unwrap()
}

pub(crate) fn endpoint(
    api: &str,
    emulator: &Emulator,
    network: &Network,
    settings: TransportSettings,
) -> HttpEndpoint {
    endpoint_with(api, &emulator.url(), DEFAULT_KEY, network, settings)
}

/// What [`Hash`] puts first.
pub(crate) fn best(picture: &EncodedPicture) -> String {
    top(&Hash.answer(picture)).unwrap()
}

/// The label with the highest score of an answer, or the class of another end.
pub(crate) fn top(outcome: &Outcome) -> Result<String, OutcomeClass> {
    let Outcome::Answered(answer) = outcome else { return Err(outcome.class()) };
    let score = |label: &&Label| label.score.unwrap_or(1.0);
    let best = answer.labels.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
    Ok(best.map_or(String::new(), |label| label.name.clone()))
}

pub(crate) async fn ask(endpoint: &HttpEndpoint, n: u32, journal: &Records) -> Outcome {
    endpoint.ask(Some(u64::from(n)), picture(n), journal).await.unwrap()
}

/// One attempt's end: class, status, billed, reason.
pub(crate) type Closed = (OutcomeClass, Option<u16>, Billed, String);

/// A journal, and the memory of one picture, that keep everything and forget it with the test.
#[derive(Default)]
pub(crate) struct Records {
    next: AtomicI64,
    pub(crate) closed: Mutex<Vec<Closed>>,
    pub(crate) settled: Mutex<Vec<(Option<u64>, Settled)>>,
}

impl Records {
    pub(crate) fn opened(&self) -> u64 {
        self.next.load(Ordering::SeqCst) as u64
    }

    pub(crate) fn billed(&self, billed: Billed) -> u64 {
        self.closed.lock().unwrap().iter().filter(|end| end.2 == billed).count() as u64
    }
}

impl Journal for Records {
    fn open<'a>(&'a self, _: &'a Attempt) -> BoxFuture<'a, Result<AttemptId, JournalError>> {
        Box::pin(async { Ok(AttemptId(self.next.fetch_add(1, Ordering::SeqCst))) })
    }

    fn close<'a>(&'a self, _: AttemptId, end: AttemptEnd<'a>) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            let reason = end.outcome.reason().unwrap_or_default().to_owned();
            self.closed.lock().unwrap().push((end.outcome.class(), end.status, end.billed, reason));
            Ok(())
        })
    }
}

impl Memory for Records {
    fn recall(&self, _: Option<u64>) -> Option<Settled> {
        None
    }

    fn settle<'a>(
        &'a self,
        draw: Option<u64>,
        settled: &'a Settled,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            self.settled.lock().unwrap().push((draw, settled.clone()));
            Ok(())
        })
    }

    /// None from before.
    fn attempts(&self) -> u64 {
        0
    }

    fn as_journal(&self) -> &dyn Journal {
        self
    }
}
