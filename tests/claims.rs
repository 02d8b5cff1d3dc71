//! Several claims from one set of votes: the lines of the soundness contract of docs/design.md where there is more than one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where it finds something wrong")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use smoothgate::certificate::{Certificate, Outcome as End, Verification};
use smoothgate::engine::{Asked, Engine, EngineError, Evidence, Forgetful, Memory, Settings, Tested};
use smoothgate::noise::NoiseLaw;
use smoothgate::providers::{Answer, Outcome};
use smoothgate::stats::{Decision, Ladder, Method, Reason, Vote};
use support::*;

/// A table for these radii.
fn table(radii: &[f64]) -> Method {
    Method::Table1(Ladder::new(radii.to_vec(), 80))
}

/// Settings with these questions, each with a test for radius 0.05.
fn asking(questions: &[&str]) -> Settings {
    let asked = |question: &&str| Asked { question: question.parse().unwrap(), method: table(&[0.05]) };
    let mut all: Vec<Asked> = questions.iter().map(asked).collect();
    let mut settings = settings();
    let first = all.remove(0);
    (settings.question, settings.method, settings.also) = (first.question, first.method, all);
    settings
}

/// An answer that holds these labels, with falling scores.
fn labels(names: &[&str]) -> Outcome {
    let scores = (0..).map(|at| 0.9 - 0.1 * f64::from(at));
    Outcome::Answered(Answer::of(names.iter().copied().zip(scores)))
}

/// Answers to draws of a picture with four labels: "a" always there, "b" nearly always, "c" in half of them, "d" never.
fn fading(draw: u64) -> Outcome {
    if draw == CLEAN {
        return labels(&["a", "b", "c", "d"]);
    }
    let (b, c) = (draw % 13 != 7, draw.is_multiple_of(2));
    let names: Vec<&str> =
        [("a", true), ("b", b), ("c", c)].into_iter().filter(|l| l.1).map(|l| l.0).collect();
    labels(&names)
}

fn ask(
    script: impl Fn(u64) -> Outcome + Send + Sync + 'static,
    settings: Settings,
    memory: &dyn Memory,
) -> (Arc<Scripted>, Result<Evidence, EngineError>) {
    let endpoint = Scripted::at_once(script);
    let engine = Engine::new(endpoint.clone(), denoiser("none"), settings);
    let evidence = runtime().block_on(engine.gather(picture(12, 10), seed(), memory, &|_| {}));
    (endpoint, evidence)
}

/// Of each claim the label that was fixed, and how it ended: certified, or why not.
fn ends(evidence: &Evidence) -> Vec<(String, Result<(), Reason>)> {
    let end = |claim: &Tested| {
        let label = claim.question.fixed_label().unwrap_or("-").to_owned();
        match claim.decision {
            Decision::Certified(_) => (label, Ok(())),
            Decision::Abstained(end) => (label, Err(end.reason)),
            Decision::Continue => panic!("{:?} is not decided", claim.question),
        }
    };
    evidence.claims.iter().map(end).collect()
}

fn named(label: &str, end: Result<(), Reason>) -> (String, Result<(), Reason>) {
    (label.to_owned(), end)
}

#[test]
fn many_labels_are_certified_by_one_set_of_votes() {
    let (endpoint, evidence) = ask(fading, asking(&["clean-labels"]), &Forgetful);
    let evidence = evidence.unwrap();
    let ended = ends(&evidence);
    assert_eq!(ended[..2], [named("a", Ok(())), named("b", Ok(()))]);
    assert!(ended[2].1.is_err() && ended[3].1.is_err(), "{ended:?}");
    // Each counts what it needs, and none pays for its own.
    let votes: Vec<u64> = evidence.claims.iter().map(|claim| claim.votes.len() as u64).collect();
    assert_eq!(evidence.draws, *votes.iter().max().unwrap());
    assert!(votes.iter().any(|&votes| votes < evidence.draws), "{votes:?}");
    assert_eq!((endpoint.calls() as u64, evidence.unused_calls()), (evidence.draws + 1, 0));
}

#[test]
fn contract_03_a_failed_draw_votes_against_every_label() {
    let script = |draw: u64| match draw {
        4 | 9 => Outcome::Transient { reason: "as scripted".into() },
        draw => fading(draw),
    };
    let settings = asking(&["clean-labels", "top1", "absent:z"]);
    let evidence = ask(script, settings, &Forgetful).1.unwrap();
    assert_eq!(evidence.claims.len(), 6);
    for claim in &evidence.claims {
        for draw in [4, 9] {
            if let Some(vote) = claim.votes.get(draw) {
                assert_eq!(*vote, Vote::Failed, "{}", claim.question);
            }
        }
        let failed = [4, 9].iter().filter(|&&draw| draw < claim.votes.len()).count() as u64;
        assert_eq!(claim.failed_votes(), failed, "{}", claim.question);
    }
    assert!(evidence.claims.iter().any(|claim| claim.failed_votes() == 2));
}

#[test]
fn contract_04_all_claims_count_in_index_order_whatever_order_answers_come_in() {
    let slow = |draw: u64| if draw % 3 == 1 { Duration::from_millis(25) } else { Duration::ZERO };
    let gather = |script: Box<dyn Fn(u64) -> (Outcome, Duration) + Send + Sync>| {
        let endpoint = Scripted::new(script);
        let mut settings = asking(&["clean-labels/sequence", "present:c", "top1"]);
        (settings.concurrency, settings.batch) = (80, 80);
        let evidence = support::gather(endpoint.clone(), settings).unwrap();
        let order = endpoint.order.lock().unwrap().clone();
        (evidence, order)
    };
    let (late, order) = gather(Box::new(move |draw| (fading(draw), slow(draw))));
    assert!(!order[1..].is_sorted(), "the script did not bring answers out of order");
    let (calm, _) = gather(Box::new(|draw| (fading(draw), Duration::ZERO)));
    let both = late.claims.iter().zip(&calm.claims);
    for (late, calm) in both {
        assert_eq!((&late.votes, late.decision), (&calm.votes, calm.decision), "{}", calm.question);
    }
    assert_eq!((late.draws, late.copies), (calm.draws, calm.copies));
}

#[test]
fn contract_05_the_labels_and_their_order_are_fixed_before_the_first_vote() {
    // Noisy copies name other labels first, and one that the clean picture has not.
    let script = |draw: u64| if draw == CLEAN { labels(&["b", "a"]) } else { labels(&["x", "a", "b"]) };
    let (endpoint, evidence) = ask(script, asking(&["clean-labels"]), &Forgetful);
    assert_eq!(ends(&evidence.unwrap()), [named("b", Ok(())), named("a", Ok(()))]);
    assert_eq!(endpoint.order.lock().unwrap()[0], CLEAN);
    // Equal scores go by name; a score leaves out what is below it, there and in the votes.
    let script = |draw: u64| {
        let score = if draw == CLEAN { 0.7 } else { 0.6 };
        Outcome::Answered(Answer::of([("Tree", 0.7), ("plant", 0.7), ("Sky", score), ("low", 0.3)]))
    };
    let evidence = ask(script, asking(&["clean-labels>=0.65"]), &Forgetful).1.unwrap();
    let ended = ends(&evidence);
    assert_eq!((ended[0].clone(), ended[2].clone()), (named("plant", Ok(())), named("Tree", Ok(()))));
    assert!(ended[1].0 == "Sky" && ended[1].1.is_err() && ended.len() == 3, "{ended:?}");
}

/// The levels of claims with levels of their own sum to no more than alpha leaves after the sampler; a sequence has one.
#[test]
fn contract_06_alpha_covers_all_claims_and_the_sampler() {
    let image = picture(12, 10);
    for questions in [
        &["clean-labels"][..],
        &["clean-labels/sequence"],
        &["top1", "present:a"],
        &["clean-labels/sequence", "clean-labels>=0.1", "clean-top", "absent:z", "top1"],
    ] {
        let evidence = ask(fading, asking(questions), &Forgetful).1.unwrap();
        let law = NoiseLaw::new(0.25, image.grid()).unwrap();
        let sampler = law.tv_bound() * image.values() as f64 * 80.0;
        let (mut spent, mut before) = (0.0, None);
        for claim in &evidence.claims {
            let asked = claim.question.asked();
            let shared = asked.to_string().contains("sequence") && before.as_ref() == Some(&asked);
            if !shared {
                spent += claim.plan.alpha;
            }
            before = Some(asked);
        }
        let alpha = settings().alpha.get();
        assert!(spent + sampler <= alpha * (1.0 + 1e-12), "{questions:?}: {spent}");
        assert!(spent > 0.99 * alpha, "{questions:?}: only {spent} is used");
    }
}

#[test]
fn contract_06_a_sequence_ends_with_the_first_label_that_fails() {
    let script = |draw: u64| match draw {
        CLEAN => labels(&["a", "c", "b"]),
        draw if draw % 2 == 0 => labels(&["a", "b", "c"]),
        _ => labels(&["a", "b"]),
    };
    let evidence = ask(script, asking(&["clean-labels/sequence"]), &Forgetful).1.unwrap();
    let ended = ends(&evidence);
    assert_eq!(ended[0], named("a", Ok(())));
    assert!(matches!(ended[1].1, Err(Reason::OutOfReach | Reason::Futile)), "{ended:?}");
    // "b" is in every answer, and would be certified alone.
    assert_eq!(ended[2], named("b", Err(Reason::Preceded)));
    assert_eq!(ends(&ask(script, asking(&["present:b"]), &Forgetful).1.unwrap()), [named("b", Ok(()))]);
}

#[test]
fn contract_06_a_question_that_is_asked_twice_is_refused_before_any_call() {
    let (endpoint, evidence) = ask(fading, asking(&["top1", "present:a", "top1"]), &Forgetful);
    assert!(matches!(evidence, Err(EngineError::AskedTwice { .. })));
    assert_eq!(endpoint.calls(), 0);
}

#[test]
fn a_level_at_which_nothing_can_be_certified_is_refused_before_any_call() {
    // 13 votes certify one label at radius 0.05, and are too few at a twentieth of alpha.
    let mut settings = asking(&["clean-labels"]);
    settings.method = Method::Table1(Ladder::new(vec![0.05], 13));
    let (endpoint, evidence) = ask(fading, settings.clone(), &Forgetful);
    assert!(matches!(evidence, Err(EngineError::Stats(_))), "{evidence:?}");
    assert_eq!(endpoint.calls(), 0);
    settings.question = "clean-labels/1".parse().unwrap();
    assert!(ask(fading, settings, &Forgetful).1.is_ok());
}

#[test]
fn a_picture_without_a_label_of_its_own_costs_one_call_and_abstains() {
    let image = picture(12, 10);
    for question in ["clean-top", "clean-labels", "clean-labels/sequence>=0.2"] {
        for (clean, reason) in [
            (Outcome::Answered(Answer::default()), Reason::NoCleanLabel),
            (Outcome::Transient { reason: "as scripted".into() }, Reason::NoCleanAnswer),
        ] {
            let script = move |draw| if draw == CLEAN { clean.clone() } else { labels(&["a"]) };
            let endpoint = Scripted::at_once(script.clone());
            let engine = Engine::new(endpoint.clone(), denoiser("none"), asking(&[question]));
            let evidence =
                runtime().block_on(engine.gather(image.clone(), seed(), &Forgetful, &|_| {})).unwrap();
            assert_eq!(ends(&evidence), [named("-", Err(reason))]);
            assert_eq!((endpoint.calls(), evidence.draws, evidence.unused_calls()), (1, 0, 0));
            let certificate = Certificate::new(&engine, &image, seed(), &evidence);
            assert_eq!((certificate.claims[0].outcome, certificate.certified().len()), (End::Abstained, 0));
            assert!(certificate.statement.starts_with("Nothing is claimed: the provider"), "{question}");
            // Another question goes on all the same, at its own share.
            let (_, both) = ask(script, asking(&[question, "present:a"]), &Forgetful);
            assert_eq!(ends(&both.unwrap()), [named("-", Err(reason)), named("a", Ok(()))]);
        }
    }
}

#[test]
fn contract_09_stored_answers_serve_every_claim_and_are_not_asked_again() {
    let memory = Remembering::default();
    let questions = ["clean-labels/sequence", "top1"];
    let (_, whole) = ask(fading, asking(&questions), &memory);
    let whole = whole.unwrap();
    memory.0.lock().unwrap().retain(|draw, _| !matches!(draw, Some(0 | 7)));
    let (second, again) = ask(fading, asking(&questions), &memory);
    assert_eq!(second.sent.lock().unwrap().keys().copied().collect::<Vec<_>>(), [0, 7]);
    let again = again.unwrap();
    assert_eq!((ends(&again), again.copies), (ends(&whole), whole.copies));
}

#[test]
fn contract_09_a_clean_reply_from_a_cache_fixes_labels_and_says_nothing_about_the_model() {
    let of = |version: &str, from_cache| Answer {
        model_version: Some(version.to_owned()),
        from_cache,
        ..Answer::of([("a", 0.9)])
    };
    let script =
        move |draw| Outcome::Answered(if draw == CLEAN { of("old", true) } else { of("new", false) });
    let evidence = ask(script, asking(&["clean-top"]), &Forgetful).1.unwrap();
    assert_eq!(ends(&evidence), [named("a", Ok(()))]);
    assert_eq!(evidence.model_versions, ["new"]);
}

#[test]
fn contract_10_documents_of_several_claims_re_derive_themselves() {
    let image = picture(12, 10);
    let questions = ["clean-labels/sequence", "clean-labels/2", "top1", "present:c"];
    let engine = Engine::new(Scripted::at_once(fading), denoiser("none"), asking(&questions));
    let evidence = runtime().block_on(engine.gather(image.clone(), seed(), &Forgetful, &|_| {})).unwrap();
    let certificate = Certificate::new(&engine, &image, seed(), &evidence);
    let document = smoothgate::certificate::Document::seal(certificate, None).unwrap();
    let verification = Verification::of(document.to_text().unwrap().as_bytes());
    assert!(verification.holds(), "{:#?}", verification.checks());
    let asked: Vec<String> =
        document.certificate.questions().map(|(question, _)| question.to_string()).collect();
    assert_eq!(asked, questions);
    let certified: Vec<String> =
        document.certificate.certified().into_iter().map(|label| label.label).collect();
    assert_eq!(certified, ["a", "b", "a", "b", "a"]);
}

/// Every claim's word for how many draws it took, one by one: what the picture took is the most of them, and no call more.
#[test]
fn contract_12_no_call_is_made_that_no_open_claim_needs() {
    for (questions, certified) in [
        (&["present:a", "present:d"][..], 1),
        (&["present:d", "absent:a"], 0),
        (&["present:a", "present:b", "present:c", "top1"], 3),
        (&["clean-labels"], 2),
        (&["clean-labels/sequence", "present:c"], 2),
    ] {
        let endpoint = Scripted::new(|draw| (fading(draw), Duration::from_millis(draw % 3)));
        let evidence = support::gather(endpoint.clone(), asking(questions)).unwrap();
        let calls = endpoint.calls() as u64 - u64::from(evidence.asked_clean);
        let votes = evidence.claims.iter().map(|claim| claim.votes.len() as u64);
        assert_eq!((calls, evidence.draws), (votes.max().unwrap(), calls), "{questions:?}");
        let found = evidence.claims.iter().filter(|claim| claim.decision.certified().is_some()).count();
        assert_eq!(found, certified, "{questions:?}: {:?}", ends(&evidence));
    }
}

#[test]
fn contract_12_labels_behind_one_that_may_fail_are_paid_for_only_once_it_has_not() {
    // The first label fails after a few votes; those behind it would have gone on for many more.
    let script = |draw: u64| if draw == CLEAN { labels(&["d", "b", "a"]) } else { fading(draw) };
    let (endpoint, evidence) = ask(script, asking(&["clean-labels/sequence"]), &Forgetful);
    let evidence = evidence.unwrap();
    let alone = ask(script, asking(&["present:d"]), &Forgetful).1.unwrap();
    assert_eq!((evidence.draws, endpoint.calls() as u64), (alone.draws, alone.draws + 1));
    assert_eq!(ends(&evidence)[1..], [named("b", Err(Reason::Preceded)), named("a", Err(Reason::Preceded))]);
}

#[test]
fn contract_12_calls_ahead_are_bounded_with_several_claims_too() {
    let reference = ask(fading, asking(&["clean-labels", "top1"]), &Forgetful).1.unwrap();
    for ahead in [1, 7, 64] {
        let mut settings = asking(&["clean-labels", "top1"]);
        settings.ahead = ahead;
        let (endpoint, evidence) = ask(fading, settings, &Forgetful);
        let evidence = evidence.unwrap();
        assert_eq!((ends(&evidence), evidence.copies), (ends(&reference), reference.copies));
        assert_eq!(endpoint.calls() as u64, evidence.calls);
        assert!(evidence.unused_calls() <= ahead as u64, "{ahead}: {}", evidence.unused_calls());
    }
}

/// At twenty labels a claim has so little of alpha that a table can have it, at one label it has too much.
#[test]
fn a_level_that_one_label_alone_cannot_have_is_refused_before_the_clean_call() {
    let script = |draw: u64| if draw == CLEAN { labels(&["a"]) } else { fading(draw) };
    let mut settings = asking(&["clean-labels"]);
    settings.alpha = smoothgate::units::Alpha::new(0.3).unwrap();
    let (endpoint, evidence) = ask(script, settings, &Forgetful);
    assert!(matches!(evidence, Err(EngineError::Stats(_))));
    assert_eq!(endpoint.calls(), 0);
}

#[test]
fn what_nobody_would_verify_is_refused_before_anything_is_paid() {
    let mut settings = asking(&["clean-labels"]);
    settings.method =
        Method::Anytime { n_max: 2_000_000, every: 25, gain: 0.01, n_min: 0, rival_share: None };
    let (endpoint, evidence) = ask(fading, settings, &Forgetful);
    assert!(matches!(evidence, Err(EngineError::Unverifiable(_))));
    assert_eq!(endpoint.calls(), 0);
}

#[test]
fn contract_11_several_claims_speak_of_the_smoothed_pipeline_once() {
    let image = picture(12, 10);
    let engine = Engine::new(
        Scripted::at_once(fading),
        denoiser("none"),
        asking(&["clean-labels/sequence", "present:d"]),
    );
    let evidence = runtime().block_on(engine.gather(image.clone(), seed(), &Forgetful, &|_| {})).unwrap();
    let statement = Certificate::new(&engine, &image, seed(), &evidence).statement;
    for part in [
        "With probability at least 0.999 all of this holds together",
        "asked `clean-labels/sequence/20:a`, it answers \"a\" for every working image within L2 distance 0.05",
        "not about a single call to the provider",
        "units of [0, 1] pixel values",
        "asked `clean-labels/sequence/20:c`, nothing is claimed; asked `clean-labels/sequence/20:d`, nothing is claimed; \
         asked `present:d`, nothing is claimed.",
    ] {
        assert!(statement.contains(part), "{statement}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A question in a set has the votes, the level and the end that it has alone at its share of alpha.
    #[test]
    fn a_question_in_a_set_ends_as_alone_at_its_share_of_alpha(
        ends in prop::collection::vec(0u8..8, 80),
        chosen in prop::sample::subsequence(vec!["top1", "present:a", "present:b", "absent:b", "clean-labels"], 2),
    ) {
        let script = move |draw: u64| match ends.get(draw as usize) {
            None => labels(&["a", "b", "c"]),
            Some(0) => Outcome::Transient { reason: "as scripted".into() },
            Some(1) => Outcome::Answered(Answer::default()),
            Some(2) => labels(&["b"]),
            Some(3) => labels(&["a"]),
            Some(_) => labels(&["a", "b"]),
        };
        let set = ask(script.clone(), asking(&chosen), &Forgetful).1.unwrap();
        let mut at = 0;
        for question in &chosen {
            let mut settings = asking(&[question]);
            settings.alpha = smoothgate::units::Alpha::new(settings.alpha.get() / 2.0).unwrap();
            let alone = ask(script.clone(), settings, &Forgetful).1.unwrap();
            for claim in &alone.claims {
                let of_set = &set.claims[at];
                prop_assert_eq!(&of_set.question, &claim.question);
                prop_assert_eq!(of_set.decision, claim.decision);
                prop_assert_eq!(&of_set.votes, &claim.votes);
                prop_assert_eq!(&of_set.plan, &claim.plan);
                at += 1;
            }
        }
        prop_assert_eq!(at, set.claims.len());
    }
}
