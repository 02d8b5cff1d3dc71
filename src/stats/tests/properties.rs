//! What holds for every test and every series of votes.

use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::stats::*;

fn plan(label: LabelRule, alpha: f64, method: Method) -> Plan {
    Plan { sigma: 0.25, alpha, label, method }
}

/// A test of each kind, small enough for its every corner to be met.
static TESTS: LazyLock<Vec<Test>> = LazyLock::new(|| {
    let ladder = |radii: &[f64]| Ladder::new(radii.to_vec(), 60);
    let strict = |radii: &[f64]| Ladder { futility: 0.0, ..ladder(radii) };
    let methods = [
        Method::Cohen { n0: 6, n: 40 },
        Method::Predict { n: 40 },
        Method::Fixed { n: 40, rival_share: None },
        Method::Fixed { n: 40, rival_share: Some(0.1) },
        Method::Table(ladder(&[0.1])),
        Method::Table(strict(&[0.05, 0.1, 0.2])),
        Method::Table1(ladder(&[0.1])),
        Method::Table1(ladder(&[0.05, 0.1, 0.2])),
        Method::Table1(strict(&[0.0])),
        Method::Anytime { n_max: 50, every: 7, gain: 0.01, n_min: 10, rival_share: None },
        Method::Anytime { n_max: 50, every: 7, gain: 0.0, n_min: 0, rival_share: Some(0.1) },
        Method::Topk { k: 2, n0: 5, n: 40 },
    ];
    methods.into_iter().map(|method| Test::new(plan(LabelRule::Leader, 0.01, method)).unwrap()).collect()
});

const RUNGS: [f64; 3] = [0.05, 0.1, 0.2];

/// A ladder of each kind, with a test for each of its rungs alone.
static LADDERS: LazyLock<Vec<(Test, Vec<Test>)>> = LazyLock::new(|| {
    let kinds: [fn(Ladder) -> Method; 2] = [Method::Table, Method::Table1];
    let test = |kind: fn(Ladder) -> Method, radii: &[f64]| {
        let ladder = Ladder { radii: radii.to_vec(), n_max: 60, futility: 0.0 };
        Test::new(plan(LabelRule::Fixed, 0.01, kind(ladder))).unwrap()
    };
    kinds.map(|kind| (test(kind, &RUNGS), RUNGS.iter().map(|&r| test(kind, &[r])).collect())).into()
});

/// Votes mostly for one of two classes, with agreement that ranges from none to all.
fn any_votes() -> impl Strategy<Value = Vec<Vote>> {
    let vote = |agreement: u32| {
        prop_oneof![
            agreement => Just(Vote::For(0)),
            3 => Just(Vote::For(1)),
            2 => (2..6_usize).prop_map(Vote::For),
            1 => Just(Vote::NoLabel),
            1 => Just(Vote::Failed),
        ]
    };
    prop_oneof![Just(1), Just(10), Just(40), Just(300), Just(5000)]
        .prop_flat_map(move |agreement| vec(vote(agreement), 80))
}

fn decide(test: &Test, votes: &[Vote], label: Option<usize>) -> (Decision, usize) {
    let mut run = test.start(label).unwrap();
    for &vote in votes {
        run.push(vote);
    }
    (run.stop(), run.evidence().votes)
}

fn radius(decision: Decision) -> f64 {
    // A certificate without a radius is still more than none.
    decision.certified().map_or(-1.0, |certified| certified.radius)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 100 } else { 1000 }))]

    #[test]
    fn contract_04_a_decision_depends_on_its_own_votes_alone(votes in any_votes(), others in any_votes()) {
        for test in TESTS.iter() {
            let (decision, used) = decide(test, &votes, None);
            let mut changed = votes[..used.min(votes.len())].to_vec();
            changed.extend(others.iter());
            prop_assert_eq!(decide(test, &changed, None), (decision, used));
        }
    }

    /// Tests of fixed size have one look, at the end: giving up early must not change what it sees.
    #[test]
    fn giving_up_early_agrees_with_running_to_the_end(votes in any_votes(), fixed in proptest::option::of(0..2_usize)) {
        for test in TESTS.iter() {
            let (n0, n) = match test.plan().method {
                Method::Cohen { n0, n } | Method::Topk { n0, n, .. } => (n0, n),
                Method::Predict { n } | Method::Fixed { n, .. } => (0, n),
                _ => continue,
            };
            let n0 = if fixed.is_some() { 0 } else { n0 };
            let (decision, _) = decide(test, &votes[..n0 + n], fixed);
            let selection: Tally = votes[..n0].iter().copied().collect();
            let tally: Tally = votes[n0..n0 + n].iter().copied().collect();
            let chosen = if n0 > 0 { selection.leader().filter(|&l| selection.agree(l) >= selection.no_label()) } else { tally.leader() };
            let proven = fixed.or(chosen).is_some_and(|class| {
                let (agree, rival) = (tally.agree(class), tally.rival(class));
                match test.plan().method {
                    Method::Cohen { .. } => cp_lower(agree, n, 0.01).unwrap() > 0.5,
                    Method::Predict { .. } => agree > rival && binom_test_half(agree, agree + rival).unwrap() <= 0.01,
                    Method::Fixed { rival_share: None, .. } => binom_sf(agree, n, 0.5) <= 0.005 * (1.0 - 4e-12),
                    // Above 1/2 the label beats any rival.
                    Method::Fixed { .. } => binom_sf(agree, n, 0.5) <= 0.0045 * (1.0 - 4e-12),
                    _ => {
                        let lower = cp_lower(agree, n, 0.01 / 3.0).unwrap();
                        let uppers: Vec<f64> = tally.rivals(class, 2).iter().map(|&b| cp_upper(b.min(n), n, 0.01 / 3.0).unwrap()).collect();
                        radius_topk(lower, &uppers, 2, 0.25).unwrap() > 0.0
                    }
                }
            });
            prop_assert_eq!(decision.certified().is_some(), proven, "{:?} on {:?}", decision, test.plan().method);
        }
    }

    #[test]
    fn contract_12_needed_votes_are_needed_whatever_they_say(
        votes in any_votes(),
        at in 0..80_usize,
        more in any_votes(),
        fixed in proptest::option::of(0..2_usize),
    ) {
        for test in TESTS.iter() {
            let mut run = test.start(fixed).unwrap();
            for &vote in &votes[..at] {
                run.push(vote);
            }
            let needed = run.needed();
            prop_assert_eq!(needed == 0, run.decision().is_final());
            prop_assert!(run.ramp() >= needed && run.evidence().votes + run.ramp() <= test.max_votes());
            let rival = |i: usize| Vote::For(1 + i % 2 * 100);
            let continuations: [Vec<Vote>; 7] = [
                vec![Vote::For(0); needed],
                vec![Vote::For(1); needed],
                vec![Vote::Failed; needed],
                vec![Vote::NoLabel; needed],
                (0..needed).map(|i| Vote::For(50 + i)).collect(),
                (0..needed).map(rival).collect(),
                more.iter().copied().cycle().take(needed).collect(),
            ];
            for continuation in continuations {
                let mut run = run.clone();
                for (i, vote) in continuation.into_iter().enumerate() {
                    prop_assert!(!run.decision().is_final(), "decided after {} of {} needed: {:?}", i, needed, run.decision());
                    run.push(vote);
                }
            }
        }
    }

    /// Losing an answer never helps, whichever it is and whoever decides that it is lost.
    #[test]
    fn contract_03_a_failure_never_makes_or_widens_a_certificate(votes in any_votes(), lost in vec(any::<bool>(), 80)) {
        for test in TESTS.iter() {
            // A label is given: with selection votes, a failure may choose another one, of which it knows no
            // more.
            let failed: Vec<Vote> = votes.iter().zip(&lost).map(|(&vote, &lost)| if lost { Vote::Failed } else { vote }).collect();
            for label in [Some(0), None] {
                if label.is_none() && matches!(test.plan().method, Method::Cohen { .. } | Method::Topk { .. }) {
                    continue;
                }
                let (with, _) = decide(test, &failed, label);
                let (without, _) = decide(test, &votes, label);
                // A test that stops when more votes gain little may stop earlier for having more.
                let gains = !matches!(test.plan().method, Method::Anytime { gain, .. } if gain > 0.0);
                prop_assert!(!gains || radius(with) <= radius(without), "{:?} became {:?}", without, with);
            }
        }
    }

    #[test]
    fn a_prefix_never_certifies_what_all_votes_cannot(votes in any_votes(), at in 0..80_usize) {
        for test in TESTS.iter() {
            let (early, _) = decide(test, &votes[..at], None);
            let (late, _) = decide(test, &votes, None);
            prop_assert!(radius(early) <= radius(late), "{:?}, then {:?}", early, late);
        }
    }

    #[test]
    fn bounds_rise_with_agreement_votes_and_alpha(
        n in 1..300_usize,
        share in 0.0..1.0_f64,
        alpha in prop_oneof![1e-9..0.4_f64, 1e-300..1e-290_f64],
        label in prop_oneof![Just(LabelRule::Fixed), Just(LabelRule::Leader), Just(LabelRule::Open { max_labels: 5 })],
    ) {
        let k = (n as f64 * share) as usize;
        let lower = |k: usize, n: usize, alpha: f64| cp_lower(k, n, alpha).unwrap();
        prop_assert!(lower(k, n, alpha) <= lower(k + 1, n + 1, alpha));
        prop_assert!(lower(k, n + 1, alpha) <= lower(k, n, alpha));
        prop_assert!(lower(k, n, alpha) <= lower(k, n, 2.0 * alpha));
        let anytime = |k: usize, n: usize, alpha: f64| anytime_lower(k, n, alpha, label).unwrap().unwrap_or(0.0);
        prop_assert!(anytime(k, n, alpha) <= anytime(k + 1, n + 1, alpha));
        prop_assert!(anytime(k, n + 1, alpha) <= anytime(k, n, alpha));
        prop_assert!(anytime(k, n, alpha) <= anytime(k, n, 2.0 * alpha));
        prop_assert!(anytime(k, n, alpha) <= lower(k, n, alpha).max(0.5), "a bound for all n beats one for this n");
    }

    #[test]
    fn a_ladder_certifies_no_less_than_any_of_its_rungs_below_a_gap(votes in any_votes()) {
        for (whole, rungs) in LADDERS.iter() {
            let (ladder, _) = decide(whole, &votes, Some(0));
            let passed = |rung: &&Test| decide(rung, &votes, Some(0)).0.certified().is_some();
            let climbed = rungs.iter().take_while(passed).count();
            let expected = if climbed == 0 { -1.0 } else { RUNGS[climbed - 1] };
            prop_assert!((radius(ladder) - expected).abs() < 1e-9, "{:?}, not {}", ladder, expected);
        }
    }
}

#[test]
fn what_the_wealth_excludes_is_an_interval() {
    for n in (1..60).chain([100, 400, 1000]) {
        for agree in n / 2..=n {
            for alpha in [0.2, 0.05, 0.001, 1e-9] {
                for label in [LabelRule::Leader, LabelRule::Fixed, LabelRule::Open { max_labels: 3 }] {
                    let Some(lower) = anytime_lower(agree, n, alpha, label).unwrap() else { continue };
                    for i in 0..50 {
                        let m = 0.5 + (lower - 0.5) * f64::from(i) / 50.0;
                        let wealth = anytime_log_wealth(m, agree, n - agree).unwrap();
                        assert!(
                            wealth + label.level(m, alpha).ln() >= 0.0,
                            "{m} below {lower} for {agree} of {n}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn what_the_votes_of_a_fixed_size_exclude_is_an_interval() {
    for n in (1..60).chain([100, 400, 1000]) {
        for agree in n / 2..=n {
            for alpha in [0.2, 0.05, 0.001, 1e-9] {
                let Ok(test) =
                    Test::new(plan(LabelRule::Leader, alpha, Method::Fixed { n, rival_share: None }))
                else {
                    continue;
                };
                let votes: Vec<Vote> = (0..n).map(|i| Vote::For(usize::from(i >= agree))).collect();
                let Some(lower) = decide(&test, &votes, None).0.certified().and_then(|c| c.p_lower) else {
                    continue;
                };
                for i in 0..50 {
                    let m = 0.5 + (lower - 0.5) * f64::from(i) / 50.0;
                    let excluded = binom_sf(agree, n, m) <= alpha_free(m, alpha).unwrap();
                    assert!(excluded, "{m} below {lower} for {agree} of {n}");
                }
            }
        }
    }
}

#[test]
fn the_window_opens_as_the_test_needs() {
    // r = σ, α = 0.001: unanimous votes certify at 46; two dissents at the start end it, and three after ten
    // votes.
    let test =
        Test::new(plan(LabelRule::Leader, 0.001, Method::Table1(Ladder::new(vec![0.25], 120)))).unwrap();
    let mut run = test.start(None).unwrap();
    assert_eq!((run.needed(), run.ramp()), (2, 2));
    for _ in 0..10 {
        run.push(Vote::For(7));
    }
    assert_eq!((run.needed(), run.ramp()), (3, 36));
    for _ in 0..36 {
        run.push(Vote::For(7));
    }
    assert!(matches!(run.decision(), Decision::Certified(Certified { class: 7, .. })));
    assert_eq!((run.needed(), run.ramp(), run.evidence().votes), (0, 0, 46));

    // Cohen, 20 + 100: after the selection votes, certification needs 66 of 100, so 35 dissents end it.
    let test = Test::new(plan(LabelRule::Leader, 0.001, Method::Cohen { n0: 20, n: 100 })).unwrap();
    let mut run = test.start(None).unwrap();
    assert_eq!(run.needed(), 20);
    for _ in 0..11 {
        run.push(Vote::For(0));
    }
    assert_eq!(run.needed(), 9 + 35);
    for _ in 0..9 {
        run.push(Vote::For(0));
    }
    assert_eq!((run.needed(), run.ramp()), (35, 35));
    for _ in 0..10 {
        run.push(Vote::For(0));
    }
    assert_eq!((run.needed(), run.ramp()), (35, 90));
}
