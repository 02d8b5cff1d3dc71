//! Every adapter against the emulator: right answers, wrong credentials, limits.

use bytes::Bytes;
use smoothgate::emulate::{DEFAULT_KEY, Plan};
use smoothgate::providers::transport::Probed;
use smoothgate::providers::{
    AskError, EncodedPicture, Endpoint as _, Format, Limits, Outcome, OutcomeClass, Provider, Reply,
    RequestError,
};

use crate::support::{
    APIS, Records, VERSIONED, ask, best, emulator, endpoint, endpoint_with, network, once, patient, picture,
    sized, top,
};

#[tokio::test]
async fn right_answers_in_every_format_and_every_call_on_record() {
    let network = network();
    for api in APIS {
        let emulator = emulator(Plan::default()).await;
        let (endpoint, journal) = (endpoint(api, &emulator, &network, patient()), Records::default());
        let outcomes = futures::future::join_all((0..10).map(|n| ask(&endpoint, n, &journal))).await;
        for (n, outcome) in (0..).zip(&outcomes) {
            assert_eq!(top(outcome), Ok(best(&picture(n))), "{api}: {outcome:?}");
            let Outcome::Answered(answer) = outcome else { unreachable!() };
            let version = answer.model_version.as_deref();
            assert_eq!(version, VERSIONED.contains(&api).then_some("hash-1"), "{api}");
        }
        let stats = emulator.stop().await;
        // One attempt a picture; fewer calls where several pictures share one.
        assert_eq!((stats.total.pictures, journal.opened()), (10, 10), "{api}");
        assert_eq!(stats.total.billed_pictures, 10);
        let own = endpoint.stats();
        assert_eq!((own.calls, own.pictures), (stats.total.calls, 10), "{api}");
        let batches = ["google", "clarifai", "kserve"].contains(&api);
        assert_eq!(stats.total.calls < 10, batches, "{api}: {} calls", stats.total.calls);
        assert_eq!(stats.total.outcomes["answered"], stats.total.calls);
        assert_eq!(stats.apis.len(), 1, "{api} took its own requests: {:?}", stats.apis);
        assert_eq!(stats.total.calls, stats.apis[api].calls);
    }
}

/// `providers check`: without a picture, so without a bill.
#[tokio::test]
async fn credentials_are_checked_without_a_paid_call() {
    let network = network();
    for api in APIS {
        let emulator = emulator(Plan::default()).await;
        let right = endpoint(api, &emulator, &network, once()).probe().await.unwrap();
        let wrong = endpoint_with(api, &emulator.url(), "wrong", &network, once()).probe().await.unwrap();
        if api == "huggingface" {
            // A server of one's own has no call without a picture.
            assert_eq!((right, wrong), (Probed::WouldCost, Probed::WouldCost));
        } else {
            assert_eq!(right, Probed::Accepted, "{api}");
            assert!(matches!(wrong, Probed::Rejected { class: OutcomeClass::Auth, .. }), "{api}: {wrong:?}");
        }
        assert_eq!(emulator.stop().await.total.billed_pictures, 0, "{api}");
    }
}

/// Scores and order come through as the classifier gave them.
#[tokio::test]
async fn scores_come_through() {
    let network = network();
    for api in APIS {
        let emulator = emulator(Plan::default()).await;
        let outcome = ask(&endpoint(api, &emulator, &network, once()), 3, &Records::default()).await;
        let Outcome::Answered(answer) = outcome else { panic!("{api}: {outcome:?}") };
        if api == "openai" {
            assert_eq!(answer.labels.len(), 1, "one label of the set, without a score");
            continue;
        }
        let names: Vec<_> = answer.labels.iter().map(|label| label.name.as_str()).collect();
        assert_eq!(names, ["dog", "cat", "animal"], "{api}");
        assert!(answer.labels[1..].iter().all(|label| label.score == Some(0.5)), "{api}: {answer:?}");
        let score = answer.labels[0].score.unwrap();
        assert!((0.6..0.85).contains(&score), "{api}: {score}");
    }
}

#[tokio::test]
async fn wrong_credentials_stop_at_once_and_cost_one_call() {
    let network = network();
    for api in APIS {
        let emulator = emulator(Plan::default()).await;
        let endpoint = endpoint_with(api, &emulator.url(), "a wrong key", &network, patient());
        let journal = Records::default();
        let outcome = ask(&endpoint, 1, &journal).await;
        assert_eq!(outcome.class(), OutcomeClass::Auth, "{api}: {outcome:?}");
        assert!(!format!("{outcome:?}").contains("a wrong key"));
        let again = endpoint.ask(Some(2), picture(2), &journal).await;
        assert!(matches!(again, Err(AskError::Stopped { .. })), "{api}: {again:?}");
        let stats = emulator.stop().await;
        assert_eq!((stats.total.calls, journal.opened()), (1, 1), "{api}");
        assert_eq!(stats.total.billed_pictures, 0);
        let refused = if api == "aws" { "unauthenticated" } else { "unknown-key" };
        assert_eq!(stats.total.outcomes[refused], 1, "{api}: {:?}", stats.total.outcomes);
    }
}

/// An adapter without its own checks, so that the server's are seen.
struct Unchecked(std::sync::Arc<dyn Provider>);

impl Provider for Unchecked {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn limits(&self) -> &Limits {
        self.0.limits()
    }
    fn quota(&self) -> Option<smoothgate::providers::Quota> {
        None
    }
    fn price(&self) -> smoothgate::providers::Price {
        self.0.price()
    }
    /// The request for a small picture, with these bytes in its place.
    fn request(&self, pictures: &[EncodedPicture]) -> Result<http::Request<Bytes>, RequestError> {
        let small = EncodedPicture { width: 100, height: 100, format: Format::Png, ..pictures[0].clone() };
        self.0.request(&[small])
    }
    fn outcomes(&self, pictures: usize, reply: &Reply) -> Vec<Outcome> {
        self.0.outcomes(pictures, reply)
    }
}

#[tokio::test]
async fn pictures_beyond_the_limits_are_refused_by_the_server() {
    let bad = |bytes: &[u8]| EncodedPicture {
        bytes: Bytes::copy_from_slice(bytes),
        format: Format::Png,
        width: 100,
        height: 100,
    };
    let whole = picture(1).bytes;
    let mut gif = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(100, 100).write_to(&mut gif, image::ImageFormat::Gif).unwrap();
    let gif = bad(gif.get_ref());
    let network = network();
    for api in APIS {
        let emulator = emulator(Plan::default()).await;
        let environment = crate::support::environment(DEFAULT_KEY);
        let registration = smoothgate::providers::registry::find(api).unwrap();
        let options = crate::support::options(api, &emulator.url());
        let own = ["openai", "huggingface", "kserve"].contains(&api).then(|| "env::KEY".parse().unwrap());
        let settings = smoothgate::providers::registry::CredentialSettings { key: own, ..Default::default() };
        let credential = registration.credential(&options, &settings, &environment, &network).unwrap();
        let provider = Unchecked(registration.adapter(&options, &environment).unwrap().provider);
        let limits = provider.limits().clone();
        let endpoint = smoothgate::providers::transport::HttpEndpoint::new(
            std::sync::Arc::new(provider),
            credential,
            network.clone(),
            once(),
        )
        .unwrap();
        let journal = Records::default();
        // No picture at all; a picture that ends in the middle.
        for bytes in [&b"no picture"[..], &whole[..whole.len() / 2], &whole[..20]] {
            let outcome = endpoint.ask(None, bad(bytes), &journal).await.unwrap();
            assert_eq!(outcome.class(), OutcomeClass::BadPicture, "{api}: {outcome:?}");
        }
        let mut refused = 3;
        if limits.min_side > 1 {
            let outcome = endpoint.ask(None, sized(1, 100, limits.min_side - 1), &journal).await.unwrap();
            assert_eq!(outcome.class(), OutcomeClass::BadPicture, "{api}: {outcome:?}");
            refused += 1;
        }
        if limits.max_side < 16_000 {
            let outcome = endpoint.ask(None, sized(1, limits.max_side + 1, 100), &journal).await.unwrap();
            assert_eq!(outcome.class(), OutcomeClass::BadPicture, "{api}: {outcome:?}");
            refused += 1;
        }
        // GIF is taken by most and not by all.
        let outcome = endpoint.ask(None, gif.clone(), &journal).await.unwrap();
        let takes_gif = !["aws", "clarifai"].contains(&api);
        assert_eq!(outcome.class() == OutcomeClass::Answered, takes_gif, "{api}: {outcome:?}");
        refused += u64::from(!takes_gif);
        let stats = emulator.stop().await;
        assert_eq!(stats.total.calls, journal.opened());
        assert_eq!(stats.total.billed_pictures, journal.opened() - refused, "{api}: {stats:?}");
    }
}
