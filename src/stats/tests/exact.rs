//! The error of every test at α = 0.001, where plain simulation sees too little: by following the law of the votes
//! exactly, with the tests themselves as the states.

use std::collections::BTreeMap;

use super::simulation::{Law, is_false};
use crate::stats::*;

const SIGMA: f64 = 0.25;
const ALPHA: f64 = 0.001;

/// What the rest of a run depends on, for a test that has certified nothing false so far: the label, its votes, those of
/// its rival.
type State = (Option<usize>, usize, usize, usize);

fn state(run: &Run) -> State {
    let (class, evidence) = match run.clone().stop() {
        Decision::Certified(Certified { class, evidence, .. }) => (Some(class), evidence),
        Decision::Abstained(Abstained { class, evidence, .. }) => (class, evidence),
        Decision::Continue => unreachable!("stopped"),
    };
    (class, evidence.selection, evidence.agree, evidence.rival)
}

/// The probability that a run on answers of two kinds, class 0 with probability p, ever stands at a false certificate:
/// also one that further votes would replace by a true one.
fn error(test: &Test, label: Option<usize>, p: f64) -> f64 {
    let law = Law::new(&[p, 1.0 - p]);
    let mut open: BTreeMap<State, (Run, f64)> = BTreeMap::new();
    let start = test.start(label).unwrap();
    open.insert(state(&start), (start, 1.0));
    let mut wrong = 0.0;
    while !open.is_empty() {
        for (_, (run, mass)) in std::mem::take(&mut open) {
            for (class, share) in [(0, p), (1, 1.0 - p)] {
                let mut next = run.clone();
                next.push(Vote::For(class));
                let standing = next.clone().stop();
                if standing.certified().is_some_and(|certified| is_false(test, certified, &law)) {
                    wrong += mass * share;
                } else if !next.decision().is_final() {
                    open.entry(state(&next)).or_insert((next, 0.0)).1 += mass * share;
                }
            }
        }
    }
    wrong
}

fn test(rule: LabelRule, method: Method) -> Test {
    Test::new(Plan { sigma: SIGMA, alpha: ALPHA, label: rule, method }).unwrap()
}

fn label(rule: LabelRule) -> Option<usize> {
    (rule != LabelRule::Leader).then_some(0)
}

#[test]
fn no_test_errs_more_often_than_one_in_a_thousand() {
    let anytime = |rival_share| Method::Anytime { n_max: 90, every: 5, gain: 0.0, n_min: 0, rival_share };
    let ladder = |radii: &[f64]| Ladder { futility: 0.0, ..Ladder::new(radii.to_vec(), 100) };
    let methods = [
        Method::Cohen { n0: 1, n: 90 },
        Method::Fixed { n: 90, rival_share: None },
        Method::Fixed { n: 90, rival_share: Some(0.1) },
        Method::Predict { n: 90 },
        anytime(None),
        anytime(Some(0.1)),
        Method::Topk { k: 1, n0: 1, n: 90 },
        Method::Table1(ladder(&[0.1])),
        Method::Table1(ladder(&[0.05, 0.1, 0.25])),
        Method::Table(ladder(&[0.1])),
        Method::Table(ladder(&[0.05, 0.1, 0.25])),
    ];
    for rule in [LabelRule::Fixed, LabelRule::Leader] {
        for method in &methods {
            let test = test(rule, method.clone());
            let mut worst = 0.0_f64;
            let edges = [0.05, 0.1, 0.25].map(|radius| tau_for_radius(radius, SIGMA).unwrap());
            for p in [0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99].into_iter().chain(edges) {
                worst = worst.max(error(&test, label(rule), p - 1e-9));
            }
            let name = method.name();
            println!("{worst:.3e} of {ALPHA}: {name}, {rule:?}");
            assert!(worst <= ALPHA, "{worst} for {name}, {rule:?}");
            // A test that never errs is one that never certifies.
            assert!(worst > 0.05 * ALPHA, "only {worst} for {name}, {rule:?}: is it a test at all?");
        }
    }
}

#[test]
fn open_vocabularies_err_no_more_often_than_one_in_a_thousand() {
    for max_labels in [1, 3, 20] {
        let rule = LabelRule::Open { max_labels };
        for method in [
            Method::Table1(Ladder { futility: 0.0, ..Ladder::new(vec![0.1], 120) }),
            Method::Fixed { n: 120, rival_share: None },
            Method::Anytime { n_max: 120, every: 5, gain: 0.0, n_min: 0, rival_share: None },
        ] {
            let test = test(rule, method.clone());
            for p in [0.3, 0.5, 0.55, 0.6, tau_for_radius(0.1, SIGMA).unwrap(), 0.8, 0.95] {
                // The probabilities of all labels sum to at most M, so M/p of them can have probability p.
                let together = error(&test, Some(0), p - 1e-9) * max_labels as f64 / p;
                assert!(together <= ALPHA, "{together} for {max_labels} labels at {p} and {}", method.name());
            }
        }
    }
}

/// The computation against one that is known: at τ the error of a one-bound table is what its check says.
#[test]
fn following_the_runs_agrees_with_the_check_of_a_table() {
    let test =
        test(LabelRule::Fixed, Method::Table1(Ladder { futility: 0.0, ..Ladder::new(vec![0.25], 120) }));
    let Some(Tables::OneBound(tables)) = test.tables() else { panic!("no table") };
    let p = tau_for_radius(0.25, SIGMA).unwrap() - 1e-9;
    let (followed, checked) = (error(&test, Some(0), p), verify_table(p, &tables[0].certify_at).unwrap());
    assert!((followed / checked - 1.0).abs() < 1e-9, "{followed:e}, not {checked:e}");
}
