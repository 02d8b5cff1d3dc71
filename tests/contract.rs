//! The soundness contract of docs/design.md, line by line, at the level of the pipeline.
//!
//! Certificates of several claims are tested in claims.rs. Line 7 is a property of the statistics and is tested beside them, as is most of line 5; line 10 is tested with `verify`.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use smoothgate::certificate::{Certificate, Outcome as End};
use smoothgate::denoisers::{Batch, DenoiseError, Denoiser, DenoiserHandle, Id};
use smoothgate::engine::{Engine, EngineError, Evidence, Forgetful, Memory};
use smoothgate::noise::{Grid, NoiseLaw, draw};
use smoothgate::picture::{Encoder, noisy_planes, planes};
use smoothgate::providers::{Answer, Outcome, OutcomeClass};
use smoothgate::stats::{Decision, LabelRule, Ladder, Method, Vote};
use support::*;

/// A denoiser that does nothing and remembers what it was given.
struct Spy {
    id: Id,
    seen: Arc<Mutex<Vec<f32>>>,
}

impl Denoiser for Spy {
    fn id(&self) -> &Id {
        &self.id
    }

    fn denoise(&mut self, batch: Batch, _: f64) -> Result<Batch, DenoiseError> {
        self.seen.lock().unwrap().extend_from_slice(batch.data());
        Ok(batch)
    }
}

#[test]
fn contract_01_noise_is_added_on_the_pixel_grid_and_not_clipped_before_the_denoiser() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let spy = Spy { id: Id::new("spy", blake3::hash(b"spy")), seen: Arc::clone(&seen) };
    let endpoint = Scripted::at_once(|_| label("a"));
    let mut settings = settings();
    settings.method = Method::Fixed { n: 12, rival_share: None };
    let engine = Engine::new(endpoint.clone(), DenoiserHandle::spawn(Box::new(spy)).unwrap(), settings);
    let image = picture(12, 10);
    runtime().block_on(engine.gather(image.clone(), seed(), &Forgetful, &|_| {})).unwrap();

    let seen = seen.lock().unwrap();
    assert!(
        seen.iter().any(|&v| v < 0.0) && seen.iter().any(|&v| v > 1.0),
        "noise was clipped before the denoiser"
    );
    let off_grid =
        seen.iter().filter(|&&v| (f64::from(v) * 255.0 - (f64::from(v) * 255.0).round()).abs() > 1e-3);
    assert_eq!(off_grid.count(), 0, "values off the 8-bit grid");
    // The first copy is the picture plus draw 0, in integers.
    let law = NoiseLaw::new(0.25, Grid::Levels8).unwrap();
    let mut noise = vec![0; image.values()];
    draw(&law, &seed(), 0, &mut noise);
    let mut expected = vec![0.0; image.values()];
    noisy_planes(&image, &noise, &mut expected).unwrap();
    assert_eq!(seen[..expected.len()], expected[..]);
    let clean = planes(&image);
    let difference: Vec<i32> =
        expected.iter().zip(&clean).map(|(noisy, x)| ((noisy - x) * 255.0).round() as i32).collect();
    let (mut a, mut b) = (difference, noise);
    a.sort_unstable();
    b.sort_unstable();
    assert_eq!(a, b, "the noise that arrives is the noise that was drawn");
}

#[test]
fn contract_02_a_copy_depends_on_seed_and_index_alone() {
    let copies = |batch, concurrency, fast_first: bool| {
        let endpoint = Scripted::new(move |draw| {
            let delay = if fast_first { draw } else { 40 - draw.min(40) };
            (label(if draw % 7 == 3 { "b" } else { "a" }), Duration::from_millis(delay / 8))
        });
        let mut settings = settings();
        (settings.batch, settings.concurrency) = (batch, concurrency);
        let evidence = gather(endpoint.clone(), settings).unwrap();
        let sent = endpoint.sent.lock().unwrap();
        let bytes: Vec<_> = sent.iter().map(|(&draw, copies)| (draw, copies[0].bytes.clone())).collect();
        (bytes, evidence.claims[0].votes.clone(), evidence.copies, evidence.claims[0].decision)
    };
    let reference = copies(16, 32, true);
    assert_eq!(reference.0.len(), 120);
    for (batch, concurrency, order) in [(1, 1, true), (7, 3, false), (120, 120, false), (16, 32, false)] {
        assert!(copies(batch, concurrency, order) == reference, "batch {batch}, {concurrency} in flight");
    }
}

#[test]
fn contract_02_fresh_seeds_differ() {
    use smoothgate::noise::Seed;
    assert_ne!(Seed::fresh().unwrap(), Seed::fresh().unwrap());
}

/// Ends that are not answers, one of each class that a single draw can end with.
fn failures() -> Vec<Outcome> {
    let reason = || "as scripted".to_owned();
    vec![
        Outcome::Refused { reason: reason() },
        Outcome::BadPicture { reason: reason() },
        Outcome::Throttled { retry_after: None, reason: reason() },
        Outcome::Transient { reason: reason() },
        Outcome::Malformed { reason: reason() },
        Outcome::Unusable { reason: reason() },
    ]
}

#[test]
fn contract_03_every_draw_has_one_vote_and_a_failure_votes_against_every_label() {
    // Without the failures, 100 of 100 estimation votes agree. With ten of them failed, 90 of 100 do: not 90 of 90.
    for failure in failures() {
        let class = failure.class();
        let endpoint =
            Scripted::at_once(
                move |draw| if draw >= 20 && draw % 10 == 0 { failure.clone() } else { label("a") },
            );
        let evidence = gather(endpoint.clone(), settings()).unwrap();
        assert_eq!(evidence.claims[0].votes.len(), 120, "{class}");
        assert_eq!(evidence.claims[0].failed_votes(), 10, "{class}");
        assert_eq!(endpoint.calls(), 120, "{class}: a failed draw must not be replaced by another");
        let Decision::Certified(claim) = evidence.claims[0].decision else {
            panic!("{class}: {:?}", evidence.claims[0].decision)
        };
        let bound = smoothgate::stats::cp_lower(90, 100, 0.001).unwrap();
        assert!((claim.p_lower.unwrap() - bound).abs() < 1e-5, "{class}: {claim:?}");
    }
}

#[test]
fn contract_03_an_empty_answer_is_an_answer_without_a_label() {
    let endpoint =
        Scripted::at_once(
            |draw| if draw % 4 == 0 { Outcome::Answered(Answer::default()) } else { label("a") },
        );
    let evidence = gather(endpoint, settings()).unwrap();
    assert_eq!(evidence.claims[0].votes[0], Vote::NoLabel);
    assert_eq!(evidence.claims[0].failed_votes(), 0);
    assert_eq!(evidence.claims[0].counts(), [("a", 90)]);
    // Nothing but empty answers certifies nothing: "no label" is never a label.
    let empty = Scripted::at_once(|_| Outcome::Answered(Answer::default()));
    let evidence = gather(empty, settings()).unwrap();
    assert!(matches!(evidence.claims[0].decision, Decision::Abstained(_)));
}

#[test]
fn contract_04_votes_count_in_index_order_whatever_order_answers_come_in() {
    // Label "a" answers fast, dissent slowly. Counting arrivals would see 100 times "a" first.
    let endpoint = Scripted::new(|draw| {
        if draw % 3 == 0 { (label("b"), Duration::from_millis(30)) } else { (label("a"), Duration::ZERO) }
    });
    let mut settings = settings();
    (settings.concurrency, settings.batch) = (120, 120);
    let evidence = gather(endpoint.clone(), settings.clone()).unwrap();
    let order = endpoint.order.lock().unwrap().clone();
    assert!(!order.is_sorted(), "the script did not bring answers out of order");
    for (index, vote) in evidence.claims[0].votes.iter().enumerate() {
        let expected = evidence.claims[0].classes.spelling(match vote {
            Vote::For(class) => *class,
            other => panic!("{other:?}"),
        });
        assert_eq!(expected, Some(if index % 3 == 0 { "b" } else { "a" }), "vote {index}");
    }
    // And the decision is that of the same votes one by one.
    let one_by_one =
        gather(Scripted::at_once(|draw| label(if draw % 3 == 0 { "b" } else { "a" })), support::settings())
            .unwrap();
    assert_eq!(evidence.claims[0].decision, one_by_one.claims[0].decision);
    assert_eq!(evidence.claims[0].votes, one_by_one.claims[0].votes);
}

#[test]
fn contract_05_a_label_chosen_from_the_votes_is_paid_for_and_a_fixed_one_is_not() {
    // 70 of 100 answers hold nothing but "a". Asked which label is first, the test pays for having chosen it; asked
    // whether "a" is present, it has nothing to pay for.
    let script = |draw: u64| if draw % 10 < 7 { label("A") } else { label("b") };
    let ask = |question: &str| {
        let mut settings = settings();
        settings.method = Method::Fixed { n: 100, rival_share: None };
        settings.question = question.parse().unwrap();
        gather(Scripted::at_once(script), settings).unwrap()
    };
    let (chosen, fixed, absent) = (ask("top1"), ask("present:a"), ask("absent:b"));
    assert_eq!(chosen.claims[0].plan.label, LabelRule::Leader);
    let p_lower = |evidence: &Evidence| evidence.claims[0].decision.certified().unwrap().p_lower.unwrap();
    for (evidence, name) in [(&fixed, "a"), (&absent, "absent:b")] {
        assert_eq!(evidence.claims[0].plan.label, LabelRule::Fixed, "{name}");
        assert_eq!(evidence.claims[0].classes.spellings(), [name]);
        let bound = smoothgate::stats::cp_lower(70, 100, evidence.claims[0].plan.alpha).unwrap();
        assert!((p_lower(evidence) - bound).abs() < 1e-9, "{name}: {} {bound}", p_lower(evidence));
        assert!(p_lower(&chosen) < p_lower(evidence) - 1e-6, "{name}");
    }
}

#[test]
fn contract_05_a_fixed_label_is_not_exchanged_for_the_one_that_leads() {
    // "b" is in three answers of ten. The label was fixed: that it is absent must not be certified in its place.
    let script = |draw: u64| if draw % 10 < 7 { label("a") } else { label("b") };
    for method in [Method::Cohen { n0: 20, n: 100 }, Method::Fixed { n: 100, rival_share: None }] {
        let mut settings = settings();
        settings.question = "present:b".parse().unwrap();
        settings.method = method;
        let evidence = gather(Scripted::at_once(script), settings).unwrap();
        assert!(
            matches!(evidence.claims[0].decision, Decision::Abstained(_)),
            "{:?}",
            evidence.claims[0].decision
        );
        assert_eq!(evidence.claims[0].classes.spellings(), ["b"]);
    }
}

fn ask_clean_top(
    script: impl Fn(u64) -> Outcome + Send + Sync + 'static,
    memory: &dyn Memory,
) -> (Arc<Scripted>, Result<Evidence, EngineError>) {
    let endpoint = Scripted::at_once(script);
    let mut settings = settings();
    settings.question = "clean-top".parse().unwrap();
    settings.method = Method::Table1(Ladder::new(vec![0.1], 60));
    let engine = Engine::new(endpoint.clone(), denoiser("none"), settings);
    let evidence = runtime().block_on(engine.gather(picture(12, 10), seed(), memory, &|_| {}));
    (endpoint, evidence)
}

#[test]
fn contract_05_the_label_of_the_clean_answer_is_fixed_before_the_first_vote() {
    // The picture itself is a dog; its noisy copies are animals first, and dogs too.
    let script = |draw: u64| {
        let top = if draw == CLEAN { "Dog" } else { "animal" };
        Outcome::Answered(Answer::of([("cat", 0.1), (top, 0.9), ("dog", 0.3)]))
    };
    let memory = Remembering::default();
    let (endpoint, evidence) = ask_clean_top(script, &memory);
    let evidence = evidence.unwrap();
    assert_eq!(evidence.claims[0].question.to_string(), "clean-top:Dog");
    assert_eq!(evidence.claims[0].plan.label, LabelRule::Fixed);
    assert_eq!(evidence.claims[0].classes.spellings(), ["Dog"]);
    assert!(evidence.claims[0].decision.certified().is_some(), "{:?}", evidence.claims[0].decision);
    // It is asked first, once, about the picture without noise, and is no vote.
    assert_eq!(endpoint.order.lock().unwrap()[0], CLEAN);
    assert_eq!((evidence.calls, evidence.unused_calls()), (evidence.claims[0].votes.len() as u64 + 1, 0));
    let sent = endpoint.sent.lock().unwrap();
    let image = picture(12, 10);
    let clean = Encoder::Png.encode(&planes(&image), 12, 10).unwrap();
    assert_eq!((sent[&CLEAN].len(), &sent[&CLEAN][0].bytes[..]), (1, &clean[..]));
    // What is stored is not asked again, the clean answer included.
    let (silent, again) = ask_clean_top(|draw| panic!("asked about draw {draw}"), &memory);
    let again = again.unwrap();
    assert_eq!(silent.calls(), 0);
    let (again, before) = (&again.claims[0], &evidence.claims[0]);
    assert_eq!(
        (&again.votes, again.decision, &again.question),
        (&before.votes, before.decision, &before.question)
    );
}

/// Nothing more is sent once it was said to stop, the question about the picture itself included; what is out is kept.
#[test]
fn a_stop_holds_for_the_clean_answer_too() {
    let engine = |endpoint: Arc<Scripted>| {
        let mut settings = settings();
        settings.question = "clean-top".parse().unwrap();
        settings.method = Method::Table1(Ladder::new(vec![0.1], 60));
        Engine::new(endpoint, denoiser("none"), settings)
    };
    let unasked = Scripted::at_once(|_| label("dog"));
    let stopped = engine(unasked.clone());
    stopped.stop().stop();
    let ended = runtime().block_on(stopped.gather(picture(12, 10), seed(), &Forgetful, &|_| {}));
    assert!(matches!(ended, Err(EngineError::Interrupted)), "{ended:?}");
    assert_eq!(unasked.calls(), 0);

    let slow = Scripted::new(|_| (label("dog"), Duration::from_millis(300)));
    let (running, memory) = (engine(slow.clone()), Remembering::default());
    let ended = runtime().block_on(async {
        let stop = async {
            while slow.calls() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            running.stop().stop();
        };
        tokio::join!(running.gather(picture(12, 10), seed(), &memory, &|_| {}), stop).0
    });
    assert!(matches!(ended, Err(EngineError::Interrupted)), "{ended:?}");
    assert_eq!(slow.calls(), 1);
    assert!(memory.recall(None).is_some(), "it was paid for");
}

#[test]
fn contract_05_the_clean_label_is_not_exchanged_for_one_that_leads() {
    let (_, evidence) = ask_clean_top(|draw| label(if draw == CLEAN { "dog" } else { "cat" }), &Forgetful);
    let evidence = evidence.unwrap();
    assert!(
        matches!(evidence.claims[0].decision, Decision::Abstained(_)),
        "{:?}",
        evidence.claims[0].decision
    );
    assert_eq!(evidence.claims[0].question.to_string(), "clean-top:dog");
}

#[test]
fn contract_08_the_clean_answer_comes_from_the_same_model() {
    let from = |draw: u64| {
        let version = if draw == CLEAN { "6.1" } else { "7.0" };
        Outcome::Answered(Answer { model_version: Some(version.into()), ..Answer::of([("a", 0.9)]) })
    };
    let (_, evidence) = ask_clean_top(from, &Forgetful);
    assert!(matches!(evidence, Err(EngineError::ModelChanged { vote: 0, .. })));
}

#[test]
fn contract_06_alpha_covers_the_sampler_too() {
    let image = picture(64, 64);
    let engine = Engine::new(Scripted::at_once(|_| label("a")), denoiser("none"), settings());
    let tests = engine.tests_for(&image).unwrap();
    let test = &tests.each()[0];
    let law = NoiseLaw::new(0.25, image.grid()).unwrap();
    let sampler = law.tv_bound() * image.values() as f64 * test.max_votes() as f64;
    assert!(sampler > 0.0);
    assert!(
        test.plan().alpha + sampler <= engine.settings().alpha.get(),
        "{} + {sampler}",
        test.plan().alpha
    );
    assert!(test.plan().alpha > 0.99 * engine.settings().alpha.get(), "the sampler takes too much");
}

#[test]
fn contract_06_an_alpha_below_the_samplers_error_is_refused() {
    let mut settings = settings();
    settings.alpha = smoothgate::units::Alpha::new(1e-12).unwrap();
    settings.method = Method::Cohen { n0: 20, n: 1000 };
    let endpoint = Scripted::at_once(|_| label("a"));
    let engine = Engine::new(endpoint.clone(), denoiser("none"), settings);
    let error =
        runtime().block_on(engine.gather(picture(512, 512), seed(), &Forgetful, &|_| {})).unwrap_err();
    assert!(matches!(error, EngineError::TooFine { .. }), "{error}");
    assert_eq!(endpoint.calls(), 0);
}

#[test]
fn contract_08_another_model_version_stops_the_certificate() {
    let from = |version: Option<&str>| {
        Outcome::Answered(Answer { model_version: version.map(Into::into), ..Answer::of([("a", 0.9)]) })
    };
    for (before, after) in [(Some("6.1"), Some("7.0")), (Some("6.1"), None), (None, Some("7.0"))] {
        let (first, then) = (from(before), from(after));
        let endpoint = Scripted::at_once(move |draw| if draw < 57 { first.clone() } else { then.clone() });
        match gather(endpoint, settings()).unwrap_err() {
            EngineError::ModelChanged { vote: 57, .. } => {}
            other => panic!("{before:?} to {after:?}: {other}"),
        }
    }
    let same = from(Some("6.1"));
    let evidence = gather(Scripted::at_once(move |_| same.clone()), settings()).unwrap();
    assert_eq!(evidence.model_versions, ["6.1"]);
}

#[test]
fn contract_08_credentials_or_quota_stop_the_run_without_a_vote() {
    for outcome in [
        Outcome::Auth { reason: "no".into() },
        Outcome::QuotaSpent { reason: "spent".into() },
        Outcome::Misconfigured { reason: "no such model".into() },
    ] {
        let class = outcome.class();
        let endpoint = Scripted::at_once(move |draw| if draw == 5 { outcome.clone() } else { label("a") });
        match gather(endpoint, settings()).unwrap_err() {
            EngineError::Stopped { class: stopped, .. } => assert_eq!(stopped, class),
            other => panic!("{other}"),
        }
        assert!(matches!(class, OutcomeClass::Auth | OutcomeClass::QuotaSpent | OutcomeClass::Misconfigured));
    }
}

#[test]
fn contract_09_a_reply_from_a_cache_is_a_failed_vote() {
    let cached = Outcome::Answered(Answer { from_cache: true, ..Answer::of([("a", 0.9)]) });
    let endpoint = Scripted::at_once(move |draw| if draw == 30 { cached.clone() } else { label("a") });
    let evidence = gather(endpoint, settings()).unwrap();
    assert_eq!(evidence.claims[0].votes[30], Vote::Failed);
    assert_eq!(evidence.claims[0].failed_votes(), 1);
}

#[test]
fn contract_09_a_reply_from_a_cache_says_nothing_about_the_model() {
    let of = |version: &str, from_cache| {
        let version = Some(version.to_owned());
        Outcome::Answered(Answer { from_cache, model_version: version, ..Answer::of([("a", 0.9)]) })
    };
    let (old, new) = (of("old", true), of("new", false));
    let cached_at = [0, 30];
    let endpoint =
        Scripted::at_once(move |draw| if cached_at.contains(&draw) { old.clone() } else { new.clone() });
    let evidence = gather(endpoint, settings()).unwrap();
    assert_eq!((evidence.claims[0].votes[0], evidence.claims[0].votes[30]), (Vote::Failed, Vote::Failed));
    assert_eq!(evidence.model_versions, ["new"]);
}

#[test]
fn contract_09_a_stored_answer_is_the_same_draw_and_is_not_asked_again() {
    let script = |draw: u64| label(if draw % 9 == 4 { "b" } else { "a" });
    let memory = Remembering::default();
    let engine = |endpoint| Engine::new(endpoint, denoiser("none"), settings());
    let first = Scripted::at_once(script);
    let whole =
        runtime().block_on(engine(first.clone()).gather(picture(12, 10), seed(), &memory, &|_| {})).unwrap();
    assert_eq!(first.calls(), 120);

    // Forget some: only those are asked again, and the evidence is the same to the byte.
    let forgotten: Vec<u64> = vec![0, 3, 19, 20, 64, 119];
    memory.0.lock().unwrap().retain(|draw, _| !forgotten.contains(&draw.unwrap()));
    let second = Scripted::at_once(script);
    let again =
        runtime().block_on(engine(second.clone()).gather(picture(12, 10), seed(), &memory, &|_| {})).unwrap();
    let asked: Vec<u64> = second.sent.lock().unwrap().keys().copied().collect();
    assert_eq!(asked, forgotten);
    assert_eq!(
        (&again.claims[0].votes, again.copies, again.claims[0].decision),
        (&whole.claims[0].votes, whole.copies, whole.claims[0].decision)
    );
    assert_eq!(again.calls, 6);

    // Nothing forgotten: nothing is asked.
    let third = Scripted::at_once(|_| panic!("asked about a stored draw"));
    let stored = runtime().block_on(engine(third).gather(picture(12, 10), seed(), &memory, &|_| {})).unwrap();
    assert_eq!((stored.calls, &stored.claims[0].votes), (0, &whole.claims[0].votes));
}

#[test]
fn contract_11_certificates_speak_of_the_smoothed_pipeline() {
    let image = picture(12, 10);
    for (script, end) in [("a", End::Certified), ("", End::Abstained)] {
        let endpoint =
            Scripted::at_once(move |draw| label(if script.is_empty() && draw % 2 == 0 { "x" } else { "a" }));
        let engine = Engine::new(endpoint, denoiser("none"), settings());
        let evidence = runtime().block_on(engine.gather(image.clone(), seed(), &Forgetful, &|_| {})).unwrap();
        let certificate = Certificate::new(&engine, &image, seed(), &evidence);
        assert_eq!(certificate.outcome(), end);
        let statement = &certificate.statement;
        assert!(statement.contains("smoothed pipeline"), "{statement}");
        if end == End::Certified {
            assert!(statement.contains("probability at least 0.999"), "{statement}");
            assert!(statement.contains("not about a single call to the provider"), "{statement}");
            assert!(statement.contains("units of [0, 1] pixel values"), "{statement}");
        } else {
            assert!(statement.starts_with("Nothing is claimed"), "{statement}");
        }
    }
}

/// "Among the two most likely" is what the test for it proves, and what is written; no other question may borrow it.
#[test]
fn contract_11_a_claim_is_no_more_than_its_test_proves() {
    let image = picture(12, 10);
    let engine = |question: &str, method: Method| {
        let endpoint = Scripted::at_once(|draw| {
            label(["a", "b", "a", "b", "a", "b", "a", "b", "a", "c"][(draw % 10) as usize])
        });
        let mut settings = settings();
        (settings.question, settings.method) = (question.parse().unwrap(), method);
        (endpoint.clone(), Engine::new(endpoint, denoiser("none"), settings))
    };
    let gather =
        |engine: &Engine| runtime().block_on(engine.gather(image.clone(), seed(), &Forgetful, &|_| {}));
    let topk = |k| Method::Topk { k, n0: 20, n: 400 };
    let (_, two) = engine("topk:2", topk(2));
    let evidence = gather(&two).unwrap();
    assert!(
        evidence.claims[0].decision.certified().is_some_and(|claim| claim.radius > 0.0),
        "{:?}",
        evidence.claims[0].decision
    );
    let certificate = Certificate::new(&two, &image, seed(), &evidence);
    assert!(
        certificate.statement.contains("has \"a\" among its 2 most likely answers"),
        "{}",
        certificate.statement
    );
    // As the first of all, nothing of the kind is certified.
    let first = gather(&engine("top1", Method::Cohen { n0: 20, n: 400 }).1).unwrap();
    assert!(matches!(first.claims[0].decision, Decision::Abstained(_)));
    for (question, method) in [
        ("top1", topk(2)),
        ("present:a", topk(2)),
        ("topk:3", topk(2)),
        ("topk:2", Method::Cohen { n0: 20, n: 100 }),
        ("topk:2", Method::Predict { n: 100 }),
    ] {
        let (endpoint, engine) = engine(question, method);
        assert!(matches!(gather(&engine), Err(EngineError::Unsuited { .. })), "{question}");
        assert!(engine.plan().is_err() && endpoint.calls() == 0, "{question}");
    }
}

#[test]
fn contract_12_no_more_calls_than_the_test_can_need() {
    // Half the votes dissent: the test gives up as soon as no continuation can certify, and has paid for nothing more.
    let endpoint =
        Scripted::new(|draw| (label(if draw % 2 == 0 { "a" } else { "b" }), Duration::from_millis(2)));
    let evidence = gather(endpoint.clone(), settings()).unwrap();
    assert!(matches!(evidence.claims[0].decision, Decision::Abstained(_)));
    assert!(evidence.claims[0].votes.len() < 120, "{} votes", evidence.claims[0].votes.len());
    assert_eq!(endpoint.calls(), evidence.claims[0].votes.len());
    assert_eq!(evidence.calls, evidence.claims[0].votes.len() as u64);
}

/// Calls ahead cost what they cost and change nothing else.
#[test]
fn contract_12_calls_ahead_are_bounded_and_no_evidence() {
    let dissent = |draw: u64, every: u64| draw % every == every - 1;
    for every in [2, 9, 1000] {
        let run = |ahead: usize, latency: u64| {
            let endpoint = Scripted::new(move |draw| {
                let slow = if dissent(draw, every) { 3 * latency } else { latency };
                (label(if dissent(draw, every) { "b" } else { "a" }), Duration::from_millis(slow))
            });
            let mut settings = settings();
            settings.method = Method::Table(Ladder::new(vec![0.1, 0.25], 120));
            settings.ahead = ahead;
            let evidence = gather(endpoint.clone(), settings).unwrap();
            assert_eq!(endpoint.calls() as u64, evidence.calls);
            assert!(evidence.unused_calls() <= ahead as u64, "{ahead}: {} unused", evidence.unused_calls());
            evidence
        };
        let reference = run(0, 0);
        assert_eq!(reference.unused_calls(), 0);
        for (ahead, latency) in [(1, 1), (7, 2), (64, 1), (10_000, 1)] {
            let evidence = run(ahead, latency);
            assert_eq!(
                (&evidence.claims[0].votes, evidence.claims[0].decision),
                (&reference.claims[0].votes, reference.claims[0].decision),
                "{ahead}"
            );
            assert_eq!(
                (evidence.copies, &evidence.claims[0].plan),
                (reference.copies, &reference.claims[0].plan),
                "{ahead}"
            );
        }
    }
    // Half the answers dissent: the test is over after a few votes, and calls ahead of it are seen to be paid for.
    let endpoint = Scripted::at_once(|draw| label(if draw % 2 == 0 { "a" } else { "b" }));
    let mut settings = settings();
    (settings.method, settings.ahead) = (Method::Table(Ladder::new(vec![0.25], 120)), 20);
    let evidence = gather(endpoint, settings).unwrap();
    assert!(evidence.unused_calls() > 5, "{} unused calls", evidence.unused_calls());
}

#[test]
fn limits_are_checked_before_anything_is_paid() {
    let endpoint = Scripted::at_once(|_| label("a"));
    let engine = Engine::new(endpoint.clone(), denoiser("none"), settings());
    let wide = picture(16_385, 1);
    let error = runtime().block_on(engine.gather(wide, seed(), &Forgetful, &|_| {})).unwrap_err();
    assert!(matches!(error, EngineError::Unacceptable { .. }), "{error}");
    assert_eq!(endpoint.calls(), 0);
}

#[test]
fn jpeg_copies_are_deterministic_too() {
    let run = |batch| {
        let mut settings = settings();
        settings.encoder = Encoder::Jpeg(80);
        settings.batch = batch;
        gather(Scripted::at_once(|_| label("a")), settings).unwrap().copies
    };
    assert_eq!(run(1), run(16));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever the answers and failures, the pipeline's decision is that of the test fed with the same votes.
    #[test]
    fn the_pipeline_adds_nothing_to_the_votes(ends in prop::collection::vec(0u8..6, 120), batch in 1usize..40) {
        let script = ends.clone();
        let endpoint = Scripted::new(move |draw| {
            let outcome = match script[draw as usize] {
                0 => Outcome::Transient { reason: "as scripted".into() },
                1 => Outcome::Answered(Answer::default()),
                2 => label("b"),
                _ => label("a"),
            };
            (outcome, Duration::from_micros(u64::from(script[draw as usize]) * 300))
        });
        let mut settings = settings();
        settings.batch = batch;
        let engine = Engine::new(endpoint.clone(), denoiser("none"), settings);
        let image = picture(5, 4);
        let evidence = runtime().block_on(engine.gather(image.clone(), seed(), &Forgetful, &|_| {})).unwrap();
        let mut run = engine.tests_for(&image).unwrap().each()[0].start(None).unwrap();
        let mut used = 0;
        for &vote in &evidence.claims[0].votes {
            prop_assert!(!run.decision().is_final());
            run.push(vote);
            used += 1;
        }
        prop_assert!(run.decision().is_final());
        prop_assert_eq!(run.decision(), evidence.claims[0].decision);
        prop_assert_eq!(endpoint.calls(), used);
    }
}
