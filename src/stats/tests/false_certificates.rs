//! The promise itself: no test certifies a falsehood with a probability above α, at the edge of the truth, with 32 calls
//! in flight, late and failing dissent, retries and kills. And the test of the test: what breaks the contract is seen to
//! break the promise.
//!
//! The long form, a million runs of every case, is `cargo bench --bench false_certificates -- 1000000`.

use super::cases::{Case, SIGMA, Share, cases, edge, tau};
use super::pipeline::Breach;
use crate::stats::verify_two_class::certification_probability;
use crate::stats::*;

/// Runs of each of many cases.
const FEW: u64 = if cfg!(debug_assertions) { 1000 } else { 20_000 };

fn all_keep_their_level(alpha: f64, only: impl Fn(&Case) -> bool) {
    for case in cases(alpha).into_iter().filter(only) {
        let share = case.share(FEW, Breach::None);
        println!("{:.5}: {case}", share.share);
        assert!(share.share <= case.at_most(share, FEW), "{share:?}: {case}");
    }
}

/// One label is asked about, and no vocabulary is open.
fn one_label(case: &Case) -> bool {
    !matches!(case.test.plan().label, LabelRule::Open { .. })
}

#[test]
fn contract_03_no_test_errs_more_often_than_alpha_with_failures_hitting_dissent() {
    all_keep_their_level(0.05, one_label);
}

#[test]
fn the_level_is_kept_at_one_in_a_hundred() {
    all_keep_their_level(0.01, |_| true);
}

#[test]
fn contract_06_alpha_covers_all_labels_of_an_open_vocabulary_together() {
    all_keep_their_level(0.05, |case| !one_label(case));
}

#[test]
fn the_level_is_kept_at_one_in_a_thousand() {
    for case in cases(0.001) {
        let share = case.share_by_importance(FEW);
        println!("{:.6} +- {:.6}: {case}", share.share, share.error);
        assert!(share.share <= case.at_most(share, FEW), "{share:?}: {case}");
    }
}

/// Not only at most α: a test that spends much less than α pays for votes it does not need.
#[test]
fn exact_tables_use_what_they_may_spend() {
    let runs = 20_000;
    for alpha in [0.05, 0.01] {
        for radius in [0.1, 0.25] {
            let case = table1("exact", alpha, LabelRule::Fixed, radius, 100, 0.0);
            let Share { share, .. } = case.share(runs, Breach::None);
            assert!(share > 0.75 * alpha, "only {share} of {alpha} is used at radius {radius}");
        }
    }
}

/// A table with one bound at its edge, where this share of the dissent is lost.
fn table1(name: &'static str, alpha: f64, rule: LabelRule, radius: f64, n_max: usize, lost: f64) -> Case {
    let method = Method::Table1(Ladder { radii: vec![radius], n_max, futility: 0.0 });
    let mut case = Case::new(name, alpha, rule, method, &[tau(radius), 1.0 - tau(radius)]);
    case.law.lost = lost;
    case
}

/// The estimates are right: they agree with what tables err exactly, which the checker computes.
#[test]
fn importance_sampling_agrees_with_the_exact_error_of_tables() {
    let (alpha, runs) = (0.001, 100_000);
    for radius in [0.1, 0.25] {
        let case = table1("exact", alpha, LabelRule::Fixed, radius, 120, 0.0);
        let Share { share, error } = case.share_by_importance(runs);
        let Some(Tables::OneBound(tables)) = case.test.tables() else { panic!("no table") };
        let exact = verify_table(tau_for_radius(radius, SIGMA).unwrap(), &tables[0].certify_at).unwrap();
        assert!(exact <= alpha && exact > 0.95 * alpha);
        assert!((share - exact).abs() <= 4.0 * error, "{share} +- {error}, not {exact}");

        // Along the edge of the two-class claim, with the rest of the answers all different.
        for rival_share in [0.9, 0.5, 0.2] {
            let law = edge(radius, rival_share);
            let method = Method::Table(Ladder { radii: vec![radius], n_max: 120, futility: 0.0 });
            let mut case = Case::new("exact", alpha, LabelRule::Fixed, method, &law);
            case.law.lost = 0.0;
            let Some(Tables::TwoClass(tables)) = case.test.tables() else { panic!("no table") };
            let Share { share, error } = case.share_by_importance(runs);
            let [p, rival] = law;
            let bound = certification_probability(&tables[0].certify_at, p, rival);
            assert!(bound <= alpha);
            // That bound counts this rival's votes alone. To the test any other answer is a rival with one
            // vote.
            let mut seen = tables[0].certify_at.clone();
            for row in seen.iter_mut().skip(1) {
                row[0] = row[1];
            }
            let exact = certification_probability(&seen, p, rival);
            assert!(error < 0.1 * exact && exact <= bound, "{share} +- {error} says little");
            assert!((share - exact).abs() <= 4.0 * error, "{share} +- {error}, not {exact} at rival {rival}");
        }
    }
}

/// Where plain simulation can tell, both estimates agree, whatever the test.
#[test]
fn importance_sampling_agrees_with_plain_simulation() {
    let runs = 20_000;
    for rule in [LabelRule::Fixed, LabelRule::Leader] {
        for (name, method, law) in [
            ("CERTIFY", Method::Cohen { n0: 10, n: 60 }, [0.7, 0.3]),
            ("top 2", Method::Topk { k: 2, n0: 5, n: 60 }, [0.25, 0.25]),
            ("PREDICT", Method::Predict { n: 60 }, [0.5, 0.5]),
        ] {
            let case = Case::new(name, 0.05, rule, method, &law);
            let (plain, weighed) = (case.share(runs, Breach::None), case.share_by_importance(runs));
            let apart = (plain.share - weighed.share).abs();
            assert!(apart <= 4.0 * plain.error.hypot(weighed.error) + 1e-4, "{plain:?}, {weighed:?}: {case}");
        }
    }
}

#[test]
fn contract_05_a_label_chosen_from_the_votes_is_paid_for() {
    let (runs, alpha) = (10_000, 0.05);
    let method = Method::Fixed { n: 100, rival_share: None };
    let mut paid = Case::new("paid", alpha, LabelRule::Leader, method.clone(), &[0.5, 0.5]);
    paid.law.lost = 0.0;
    let share = paid.share(runs, Breach::None);
    assert!(share.share <= paid.at_most(share, runs), "{share:?}");
    // The same votes, held against the level of a label that had been fixed in advance.
    let unpaid = Case::new("unpaid", alpha, LabelRule::Fixed, method, &[0.5, 0.5]).test;
    let errs = |&run: &u64| {
        let votes: Vec<Vote> = paid.law.votes(1, run).take(100).collect();
        let leader = votes.iter().copied().collect::<Tally>().leader();
        let mut state = unpaid.start(leader).unwrap();
        for vote in votes {
            state.push(vote);
        }
        state.decision().certified().is_some()
    };
    let share = (0..runs).filter(errs).count() as f64 / runs as f64;
    assert!(share > 1.5 * alpha, "only {share}: the simulation does not see an unpaid choice");
}

/// Line 3 broken: failed draws are skipped, as if they had never been asked for.
#[test]
fn contract_03_broken_dropping_failures_shows_an_excess() {
    shows_an_excess(0.25, 0.5, Breach::SkipsFailures);
}

/// Line 4 broken: votes are counted in the order of their arrival, and dissent is slower.
#[test]
fn contract_04_broken_counting_arrivals_shows_an_excess() {
    shows_an_excess(0.1, 0.0, Breach::CountsArrivals);
}

fn shows_an_excess(radius: f64, lost: f64, breach: Breach) {
    let (alpha, runs) = (0.01, 4000);
    let case = table1("broken", alpha, LabelRule::Leader, radius, 120, lost);
    let kept = case.share(runs, Breach::None);
    assert!(kept.share <= case.at_most(kept, runs), "{kept:?}");
    let Share { share: broken, .. } = case.share(runs, breach);
    println!("{broken} of alpha {alpha} with {breach:?}, {} without", kept.share);
    assert!(
        broken > 5.0 * alpha,
        "only {broken}: the simulation does not see that a line is broken ({breach:?})"
    );
}
