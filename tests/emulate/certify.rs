//! The whole engine through every wire format, with faults and without.

use std::collections::BTreeSet;
use std::sync::Arc;

use smoothgate::denoisers::{DenoiserHandle, Options, open};
use smoothgate::emulate::{Kind, Plan, Stats};
use smoothgate::engine::{Engine, EngineError, Evidence, Settings};
use smoothgate::noise::Seed;
use smoothgate::picture::{PictureOptions, WorkingImage};
use smoothgate::providers::OutcomeClass;
use smoothgate::providers::transport::{RetryPolicy, TransportSettings};
use smoothgate::stats::{Method, Vote};
use smoothgate::units::Sigma;

use crate::support::{APIS, Records, VERSIONED, emulator, endpoint, network, patient, picture, plan};

/// Certifies one picture through `api` and an emulator with this plan. Checks what must hold whatever happens: every
/// picture at the server is an attempt on record, and what the server bills lies within what the records say.
async fn gather(
    api: &str,
    plan: Plan,
    transport: TransportSettings,
) -> (Result<Evidence, EngineError>, Records, Stats) {
    let emulator = emulator(plan).await;
    let mut settings = Settings::new(Sigma::new(0.1).unwrap());
    settings.method = Method::Cohen { n0: 20, n: 100 };
    settings.concurrency = 16;
    let denoiser = DenoiserHandle::spawn(open("none", &Options::default()).unwrap()).unwrap();
    let engine = Engine::new(Arc::new(endpoint(api, &emulator, &network(), transport)), denoiser, settings);
    let image = WorkingImage::decode(&picture(0).bytes, &PictureOptions::default()).unwrap();
    let records = Records::default();
    let evidence = engine.gather(Arc::new(image), Seed::from_integer(7), &records, &|_| {}).await;
    let stats = emulator.stop().await;
    assert_eq!(stats.total.pictures, records.opened(), "{api}: {stats:?}");
    assert_eq!(stats.in_flight, 0);
    if let Ok(evidence) = &evidence {
        assert_eq!(evidence.calls, records.opened(), "{api}");
    }
    (evidence, records, stats)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_change_no_evidence_as_long_as_every_draw_is_answered() {
    let mut plain: Option<Evidence> = None;
    let (mut retries, mut seen) = (0, BTreeSet::new());
    for (seed, api) in (5..).zip(APIS) {
        let (calm, records, _) = gather(api, Plan::default(), patient()).await;
        let calm = calm.unwrap();
        assert_eq!(
            (calm.claims[0].failed_votes(), calm.claims[0].votes.len() as u64),
            (0, records.opened()),
            "{api}"
        );
        // Both labels are voted for, so an answer for the wrong picture would show.
        assert_eq!(calm.claims[0].counts().len(), 2, "{api}: {:?}", calm.claims[0].counts());
        let faulty = Plan { seed, ..Plan::default() }.with_fault_rate(0.2).unwrap();
        let (rough, _, stats) = gather(api, faulty, patient()).await;
        let rough = rough.unwrap();
        assert_eq!(rough.claims[0].failed_votes(), 0, "{api}");
        seen.extend(stats.total.faults.keys().copied());
        retries += rough.calls - rough.claims[0].votes.len() as u64;
        assert_eq!(
            (&rough.claims[0].votes, rough.claims[0].decision, rough.copies, &rough.model_versions),
            (&calm.claims[0].votes, calm.claims[0].decision, calm.copies, &calm.model_versions),
            "{api}"
        );
        // And no format changes what is voted.
        let plain = plain.get_or_insert(calm);
        assert_eq!(
            (&plain.claims[0].votes, plain.claims[0].decision, plain.copies),
            (&rough.claims[0].votes, rough.claims[0].decision, rough.copies),
            "{api}"
        );
    }
    assert!(retries > 30, "{retries} retries in all");
    // Which call a fault strikes depends on the order in which calls arrive: further seeds until each kind has struck.
    let kinds: BTreeSet<_> = Kind::PASSING.map(Kind::name).into_iter().collect();
    for seed in 6..40 {
        if seen == kinds {
            break;
        }
        let faulty = Plan { seed, ..Plan::default() }.with_fault_rate(0.2).unwrap();
        let (rough, _, stats) = gather("google", faulty, patient()).await;
        assert_eq!(
            Some(rough.unwrap().claims[0].votes.clone()),
            plain.as_ref().map(|plain| plain.claims[0].votes.clone())
        );
        seen.extend(stats.total.faults.keys().copied());
    }
    assert_eq!(seen, kinds, "every kind of fault has struck");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draw_that_is_never_answered_is_counted_against() {
    for api in APIS {
        let (calm, ..) = gather(api, Plan::default(), patient()).await;
        let calm = calm.unwrap();
        let faulty = Plan { seed: 9, ..Plan::default() }.with_fault_rate(0.2).unwrap();
        let impatient =
            TransportSettings { retry: RetryPolicy { attempts: 1, ..patient().retry }, ..patient() };
        let (rough, records, _) = gather(api, faulty, impatient).await;
        let rough = rough.unwrap();
        let failed = rough.claims[0].failed_votes();
        assert!(failed > 0, "{api}: the plan struck no call");
        // Every draw votes as without faults, or is a failure whose end is settled and is no answer.
        for (index, vote) in rough.claims[0].votes.iter().enumerate() {
            let settled = records.settled.lock().unwrap();
            let (_, end) = settled.iter().find(|(draw, _)| *draw == Some(index as u64)).unwrap();
            let answered = end.outcome.class() == OutcomeClass::Answered;
            assert_eq!(answered, *vote != Vote::Failed, "{api} draw {index}");
        }
        let for_label =
            |evidence: &Evidence| evidence.claims[0].counts().iter().map(|(_, votes)| votes).sum::<u64>();
        assert_eq!(for_label(&rough) + failed, rough.claims[0].votes.len() as u64, "{api}");
        assert_ne!(rough.claims[0].votes, calm.claims[0].votes, "{api}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_changes_in_the_middle_ends_the_certificate() {
    for api in VERSIONED {
        let text = "[[model]]\nfrom = 1\nversion = \"a\"\n[[model]]\nfrom = 9\nversion = \"b\"";
        let (ended, ..) = gather(api, plan(text), patient()).await;
        assert!(matches!(ended, Err(EngineError::ModelChanged { .. })), "{api}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_revoked_in_the_middle_ends_the_run_and_keeps_what_is_paid() {
    for api in APIS {
        let (ended, records, _) =
            gather(api, plan("[[script]]\nfault = \"bad-key\"\ncalls = \"5..\""), patient()).await;
        assert!(matches!(ended, Err(EngineError::Stopped { .. })), "{api}: {ended:?}");
        let answered = |end: &crate::support::Closed| end.0 == OutcomeClass::Answered;
        let paid = records.closed.lock().unwrap().iter().filter(|end| answered(end)).count();
        assert!(paid >= 4, "{api}: {paid}");
        assert_eq!(
            records.opened(),
            records.closed.lock().unwrap().len() as u64,
            "{api}: every end is on record"
        );
    }
}
