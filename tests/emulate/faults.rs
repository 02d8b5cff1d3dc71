//! Every kind of fault in every format.

use std::time::Duration;

use smoothgate::emulate::{Kind, Plan};
use smoothgate::providers::transport::{Network, NetworkSettings};
use smoothgate::providers::{Billed, Endpoint as _, Outcome, OutcomeClass};

use crate::support::{
    APIS, Records, VERSIONED, ask, best, direct, emulator, endpoint, network, once, patient, picture, plan,
    top,
};

/// How an adapter may see one call with this fault.
fn classes(api: &str, kind: Kind) -> &'static [OutcomeClass] {
    use OutcomeClass as C;
    match kind {
        Kind::Throttle => &[C::Throttled],
        // Google alone has errors of a picture that is alone in its call.
        Kind::PictureError if api == "google" => &[C::Transient, C::Throttled],
        Kind::ServerError | Kind::PictureError | Kind::Reset | Kind::Truncated | Kind::Silence => {
            &[C::Transient]
        }
        Kind::BadPicture => &[C::BadPicture],
        Kind::Html | Kind::ErrorIn200 => &[C::Malformed, C::Transient],
        Kind::EmptyBody => &[C::Malformed],
        // A set of labels to choose from, and none of them chosen.
        Kind::EmptyAnswer if api == "openai" => &[C::Refused],
        // Two choices where one was asked for may be read as the first or not at all.
        Kind::Duplicate if api == "openai" => &[C::Answered, C::Malformed],
        Kind::Drip | Kind::EmptyAnswer | Kind::Duplicate | Kind::Reorder => &[C::Answered],
        Kind::BadKey => &[C::Auth],
        Kind::QuotaSpent => &[C::QuotaSpent, C::Auth],
    }
}

#[tokio::test]
async fn every_fault_in_every_format_is_seen_for_what_it_is() {
    let network = network();
    let soon = NetworkSettings {
        connect_timeout: Duration::from_millis(700),
        first_byte_timeout: Duration::from_millis(300),
        ..direct()
    };
    let impatient = Network::new(soon).unwrap();
    for api in APIS {
        for kind in Kind::ALL {
            let emulator = emulator(plan(&format!("[[script]]\nfault = \"{kind}\"\ncalls = \"1..\""))).await;
            // Each form of a fault: chance picks one a call. Silence has one form, and lasts.
            let rounds = if kind == Kind::Silence { 1 } else { 6 };
            for n in 0..rounds {
                let network = if kind == Kind::Silence { &impatient } else { &network };
                let endpoint = endpoint(api, &emulator, network, once());
                let journal = Records::default();
                let outcome = ask(&endpoint, n, &journal).await;
                assert!(classes(api, kind).contains(&outcome.class()), "{api} {kind}: {outcome:?}");
                if let Outcome::Answered(answer) = &outcome {
                    let empty = kind == Kind::EmptyAnswer;
                    assert_eq!(answer.labels.is_empty(), empty, "{api} {kind}");
                    assert!(empty || top(&outcome) == Ok(best(&picture(n))), "{api} {kind}: {outcome:?}");
                }
                assert_eq!(journal.opened(), 1);
            }
            let stats = emulator.stop().await;
            let fault = stats.total.faults[kind.name()];
            assert_eq!((stats.total.calls, fault.calls), (rounds.into(), rounds.into()), "{api} {kind}");
            let billed = kind.strikes_answer() && !matches!(kind, Kind::PictureError | Kind::BadPicture);
            assert_eq!(fault.billed_pictures, if billed { rounds.into() } else { 0 }, "{api} {kind}");
            assert_eq!(stats.in_flight, 0, "{api} {kind}");
        }
    }
}

/// After a fault that passes, the same bytes get the answer that they would have got.
#[tokio::test]
async fn what_passes_is_answered_in_the_end() {
    let network = network();
    for api in APIS {
        for kind in Kind::PASSING {
            let emulator = emulator(plan(&format!("[[script]]\nfault = \"{kind}\"\ncalls = \"1..2\""))).await;
            let (endpoint, journal) = (endpoint(api, &emulator, &network, patient()), Records::default());
            let outcome = ask(&endpoint, 5, &journal).await;
            assert_eq!(top(&outcome), Ok(best(&picture(5))), "{api} {kind}: {outcome:?}");
            let stats = emulator.stop().await;
            assert_eq!(stats.total.calls, journal.opened(), "{api} {kind}");
            // What the real API bills is within what our records say.
            let (yes, unknown) = (journal.billed(Billed::Yes), journal.billed(Billed::Unknown));
            let billed = stats.total.billed_pictures;
            assert!((yes..=yes + unknown).contains(&billed), "{api} {kind}: {billed} of {yes}+{unknown}");
        }
    }
}

/// A fault of one picture in a call of several leaves the others their answers, and each gets its own in the end.
#[tokio::test]
async fn faults_in_a_batch() {
    let network = network();
    for api in ["google", "clarifai", "kserve"] {
        for kind in Kind::PASSING {
            let emulator = emulator(plan(&format!("[[script]]\nfault = \"{kind}\"\ncalls = 1"))).await;
            let (endpoint, journal) = (endpoint(api, &emulator, &network, patient()), Records::default());
            let outcomes = futures::future::join_all((0..4).map(|n| ask(&endpoint, n, &journal))).await;
            for (n, outcome) in (0..).zip(&outcomes) {
                assert_eq!(top(outcome), Ok(best(&picture(n))), "{api} {kind}: {outcome:?}");
            }
            let stats = emulator.stop().await;
            assert_eq!(stats.total.faults[kind.name()].calls, 1, "{api} {kind}");
            assert_eq!(stats.total.pictures, journal.opened(), "{api} {kind}");
            if kind == Kind::PictureError && api != "kserve" {
                assert_eq!(journal.opened(), 5, "{api}: one of four was asked again");
                assert_eq!(stats.total.faults[kind.name()].billed_pictures, 3);
            }
        }
    }
}

/// Faults after the work are billed although nothing is got for them.
#[tokio::test]
async fn faults_after_the_work_are_billed() {
    let network = network();
    for kind in ["server-error", "reset", "html", "error-in-200", "empty-body"] {
        let script = format!("[[script]]\nfault = \"{kind}\"\ncalls = \"1..3\"\nbilled = true");
        let emulator = emulator(plan(&script)).await;
        let (endpoint, journal) = (endpoint("azure", &emulator, &network, patient()), Records::default());
        ask(&endpoint, 1, &journal).await;
        let stats = emulator.stop().await;
        assert_eq!(stats.total.faults[kind].billed_pictures, 3, "{kind}");
        assert_eq!((stats.total.billed_pictures, stats.total.calls), (4, 4), "{kind}");
    }
}

#[tokio::test]
async fn a_model_changes_at_its_call() {
    let text = "[[model]]\nfrom = 1\nversion = \"a\"\n[[model]]\nfrom = 3\nversion = \"b\"";
    let network = network();
    for api in VERSIONED {
        let emulator = emulator(plan(text)).await;
        let (endpoint, journal) = (endpoint(api, &emulator, &network, patient()), Records::default());
        let mut versions = Vec::new();
        for n in 0..4 {
            let Outcome::Answered(answer) = ask(&endpoint, n, &journal).await else { panic!("{api}") };
            versions.push(answer.model_version.unwrap());
        }
        assert_eq!(versions, ["a", "a", "b", "b"], "{api}");
    }
}

#[tokio::test]
async fn latency_is_held_and_depends_on_the_label() {
    let emulator = emulator(plan("latency = \"20ms..40ms\"\n[latency_by_label]\nCAT = \"120ms\"")).await;
    let (endpoint, journal) = (endpoint("huggingface", &emulator, &network(), patient()), Records::default());
    let cat = (0..200).find(|n| best(&picture(*n)) == "cat").unwrap();
    for (n, least) in [(0, 20), (cat, 140)] {
        let started = std::time::Instant::now();
        endpoint.ask(None, picture(n), &journal).await.unwrap();
        // Only from below: a loaded machine may take longer.
        assert!(started.elapsed() >= Duration::from_millis(least), "picture {n}");
    }
    drop(emulator);
    assert_eq!(Plan::default().latency_of_label("cat"), Duration::ZERO);
}
