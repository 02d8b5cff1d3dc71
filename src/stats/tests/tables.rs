//! Tables keep what they promise, and nothing else passes for one.

use proptest::prelude::*;

use crate::stats::two_class::TwoClassTable;
use crate::stats::verify::{keeps_level, one_bound_error};
use crate::stats::verify_two_class::{certification_probability, two_class_error};
use crate::stats::*;

fn plan(label: LabelRule, alpha: f64, method: Method) -> Plan {
    Plan { sigma: 0.25, alpha, label, method }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 60 } else { 400 }))]

    #[test]
    fn one_bound_tables_of_every_kind_pass_the_independent_check(
        radius in 0.0..0.6_f64,
        alpha in prop_oneof![Just(0.05), Just(0.001), Just(0.199), Just(1e-9), 1e-4..0.19_f64],
        n_max in 1..400_usize,
        label in prop_oneof![
            Just(LabelRule::Fixed),
            Just(LabelRule::Leader),
            (1..20_usize).prop_map(|max_labels| LabelRule::Open { max_labels }),
        ],
    ) {
        let method = Method::Table1(Ladder::new(vec![radius], n_max));
        match Test::new(plan(label, alpha, method)) {
            Ok(_) => {}
            Err(StatsError::Infeasible { needed, votes, .. }) => {
                prop_assert!(needed > votes);
                let method = Method::Table1(Ladder::new(vec![radius], needed));
                prop_assert!(needed > 5000 || Test::new(plan(label, alpha, method)).is_ok());
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn two_class_tables_of_every_kind_pass_the_independent_check(
        radius in 0.03..0.6_f64,
        alpha in prop_oneof![Just(0.05), Just(0.001), 1e-4..0.19_f64],
        n_max in 1..90_usize,
        leader in any::<bool>(),
    ) {
        let label = if leader { LabelRule::Leader } else { LabelRule::Fixed };
        let method = Method::Table(Ladder::new(vec![radius], n_max));
        match Test::new(plan(label, alpha, method)) {
            Ok(_) => {}
            Err(StatsError::Infeasible { needed, votes, .. }) => prop_assert!(needed > votes),
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    /// The check goes through the dissents; this goes through the votes, over all states and without a
    /// cutoff.
    #[test]
    fn the_independent_check_agrees_with_plain_dynamic_programming(radius in 0.0..0.5_f64, n_max in 50..200_usize) {
        let tau = tau_for_radius(radius, 0.25).unwrap();
        if let Ok(table) = OneBoundTable::build(tau, 0.01, n_max, 0.0) {
            for p in [tau, 1.0 - tau, 0.5, 0.97] {
                let checked = verify_table(p, &table.certify_at).unwrap();
                let plain = plain_power(p, &table.certify_at);
                prop_assert!((checked - plain).abs() <= 1e-12 * plain + 1e-30, "{checked:e}, not {plain:e}");
                prop_assert!((table.power(p) - plain).abs() <= 1e-12);
            }
        }
    }

    /// Where all dissent is one rival's, the two-class check must agree with the one-bound check of its
    /// diagonal.
    #[test]
    fn the_two_class_check_agrees_with_the_one_bound_check_on_the_diagonal(radius in 0.05..0.5_f64, n_max in 20..100_usize) {
        let gap = 8.0 * radius;
        if let Ok(table) = TwoClassTable::build(gap, 0.01, n_max, 0.0) {
            let diagonal: Vec<usize> =
                table.certify_at.iter().enumerate().map(|(f, row)| row[f]).take_while(|&at| at > 0).collect();
            // States may share a vote on the diagonal of a two-class table only if they cannot both be first
            // hits.
            if diagonal.windows(2).all(|pair| pair[0] < pair[1]) {
                for p in [0.3, 0.8, 0.95] {
                    let one = verify_table(p, &diagonal).unwrap();
                    let two = certification_probability(&table.certify_at, p, 1.0 - p);
                    prop_assert!((one - two).abs() <= 1e-12 * one + 1e-20, "{two:e}, not {one:e}");
                }
            }
        }
    }

    /// The check goes through rows of states with an end where there is next to nothing; this through all states at every vote. What
    /// the check gives up it must add: it may find more than there is, never less.
    #[test]
    fn the_two_class_check_agrees_with_plain_dynamic_programming(radius in 0.05..0.5_f64, n_max in 20..100_usize) {
        if let Ok(table) = TwoClassTable::build(8.0 * radius, 0.01, n_max, 0.0) {
            for (p, rival) in [(0.9, 0.1), (0.9, 0.02), (0.6, 0.3), (0.3, 0.3), (0.02, 0.5), (0.97, 0.0)] {
                let checked = certification_probability(&table.certify_at, p, rival);
                let plain = plain_two_class(&table.certify_at, p, rival);
                prop_assert!(checked >= plain * (1.0 - 1e-12), "{checked:e}, less than {plain:e}");
                prop_assert!(checked <= plain * (1.0 + 1e-12) + 1e-20, "{checked:e}, more than {plain:e}");
            }
        }
    }

    #[test]
    fn rungs_of_a_ladder_are_nested(
        lower in 0.01..0.3_f64,
        step in 0.01..0.2_f64,
        n_max in 30..150_usize,
        leader in any::<bool>(),
    ) {
        let label = if leader { LabelRule::Leader } else { LabelRule::Fixed };
        let method = Method::Table1(Ladder::new(vec![lower, lower + step], n_max));
        if let Ok(test) = Test::new(plan(label, 0.01, method))
            && let Some(Tables::OneBound(tables)) = test.tables()
        {
            prop_assert!(tables[1].certify_at.len() <= tables[0].certify_at.len());
            for (later, earlier) in tables[1].certify_at.iter().zip(&tables[0].certify_at) {
                prop_assert!(later >= earlier, "a larger radius is certified at {later}, the smaller at {earlier}");
            }
        }
    }

    /// Whatever is done to a table, it is refused or still keeps its level.
    #[test]
    fn a_table_from_a_cache_is_not_trusted(index in 0..7_usize, value in 0..130_usize, two_class in any::<bool>()) {
        let ladder = Ladder::new(vec![0.25], 120);
        let method = if two_class { Method::Table(ladder) } else { Method::Table1(ladder) };
        let plan = plan(LabelRule::Fixed, 0.001, method);
        let mut tables = Test::new(plan.clone()).unwrap().tables().unwrap().clone();
        let (changed, error) = match &mut tables {
            Tables::OneBound(tables) => {
                let old = std::mem::replace(&mut tables[0].certify_at[index], value);
                (old != value, one_bound_error(tables, LabelRule::Fixed))
            }
            Tables::TwoClass(tables) => {
                let old = std::mem::replace(&mut tables[0].certify_at[index][index / 2], value);
                (old != value, two_class_error(tables, LabelRule::Fixed))
            }
        };
        let accepted = Test::with_tables(plan, tables).is_ok();
        prop_assert_eq!(accepted, error.as_ref().is_ok_and(|&error| keeps_level(error, 0.001)));
        prop_assert!(changed || accepted);
    }
}

/// The probability of certifying by a two-class table, over all states and without a cutoff.
fn plain_two_class(certify_at: &[Vec<usize>], p: f64, rival: f64) -> f64 {
    let rest = 1.0 - p - rival;
    let last = certify_at.iter().flatten().copied().max().unwrap_or(0);
    let mut open = vec![vec![0.0; last + 2]; last + 2];
    open[0][0] = 1.0;
    let mut certified = 0.0;
    for t in 1..=last {
        let mut next = vec![vec![0.0; last + 2]; last + 2];
        for f in 0..t {
            for b in 0..=f {
                next[f][b] += p * open[f][b];
                next[f + 1][b] += rest * open[f][b];
                next[f + 1][b + 1] += rival * open[f][b];
            }
        }
        for (row, states) in certify_at.iter().zip(&mut next) {
            for (&at, mass) in row.iter().zip(states.iter_mut()) {
                if at > 0 && at <= t {
                    certified += std::mem::take(mass);
                }
            }
        }
        open = next;
    }
    certified
}

/// P(certified) by the law of the dissents after every vote.
fn plain_power(p: f64, certify_at: &[usize]) -> f64 {
    let mut law = vec![0.0; certify_at.len() + 1];
    law[0] = 1.0;
    let mut certified = 0.0;
    for t in 1..=*certify_at.last().unwrap() {
        for f in (0..law.len()).rev() {
            law[f] = law[f] * p + if f > 0 { law[f - 1] * (1.0 - p) } else { 0.0 };
        }
        for (f, &at) in certify_at.iter().enumerate().filter(|&(_, &at)| t >= at) {
            let _ = at;
            certified += std::mem::take(&mut law[f]);
        }
    }
    certified
}

#[test]
fn giving_up_early_costs_no_more_than_it_may_and_saves_votes() {
    for (radius, n_max) in [(0.1, 60), (0.1, 120), (0.25, 120), (0.4, 250)] {
        for loss in [0.02, 0.05, 0.2] {
            let tau = tau_for_radius(radius, 0.25).unwrap();
            let never = OneBoundTable::build(tau, 0.001, n_max, 0.0).unwrap();
            let early = OneBoundTable::build(tau, 0.001, n_max, loss).unwrap();
            let p = never.working_point();
            assert!(never.operating(p).certify >= 0.95 && never.operating(p - 1e-6).certify < 0.95);
            assert!(early.operating(p).certify >= 0.95 - loss);
            assert!(early.operating(0.5).votes < 0.8 * never.operating(0.5).votes);

            let gap = 8.0 * radius;
            let never = TwoClassTable::build(gap, 0.001, n_max, 0.0).unwrap();
            let early = TwoClassTable::build(gap, 0.001, n_max, loss).unwrap();
            let at = |table: &TwoClassTable, p: f64| table.operating(p, 0.5 * (1.0 - p));
            let p =
                (500..1000).map(|p| f64::from(p) / 1000.0).find(|&p| at(&never, p).certify >= 0.95).unwrap();
            assert!(at(&early, p).certify >= at(&never, p).certify - loss - 1e-9);
            assert!(at(&early, 0.4).votes < 0.8 * at(&never, 0.4).votes);
            // The rule rises with both counts, which the window of needed votes relies on.
            for (f, row) in early.go_on_from.iter().enumerate() {
                assert!(row.windows(2).all(|pair| pair[0] <= pair[1]));
                let below = early.go_on_from.get(f + 1).into_iter().flatten();
                assert!(row.iter().zip(below).all(|(upper, lower)| upper <= lower));
            }
        }
    }
}

#[test]
fn tables_certifying_one_vote_too_early_are_refused() {
    let plan = plan(LabelRule::Leader, 0.001, Method::Table1(Ladder::new(vec![0.25], 120)));
    let Tables::OneBound(mut tables) = Test::new(plan.clone()).unwrap().tables().unwrap().clone() else {
        panic!("not a one-bound table")
    };
    assert_eq!(tables[0].certify_at, [46, 63, 77, 88, 100, 110, 119]);
    tables[0].certify_at = vec![46, 62, 76, 87, 99, 109, 118];
    let refused = Test::with_tables(plan.clone(), Tables::OneBound(tables.clone()));
    assert!(matches!(refused, Err(StatsError::Level { error, .. }) if error > 0.001 && error < 0.0015));
    tables[0].certify_at = vec![46, 63, 63];
    assert!(matches!(
        Test::with_tables(plan.clone(), Tables::OneBound(tables.clone())),
        Err(StatsError::Table { .. })
    ));
    tables[0].certify_at = Vec::new();
    assert!(matches!(
        Test::with_tables(plan.clone(), Tables::OneBound(tables)),
        Err(StatsError::Table { .. })
    ));
    let other = Test::new(Plan { sigma: 0.5, ..plan.clone() }).unwrap().tables().unwrap().clone();
    assert!(matches!(Test::with_tables(plan, other), Err(StatsError::Table { .. })));
}

#[test]
fn a_region_that_is_no_down_set_is_refused() {
    let good = vec![vec![46], vec![48, 64]];
    assert!(verify_two_class_table(2.0, &good, 128).is_ok());
    assert!(matches!(verify_two_class_table(2.0, &good, 0), Err(StatsError::Parameter { .. })));
    for bad in [
        vec![vec![46], vec![45, 64]],
        vec![vec![46], vec![0, 64]],
        vec![vec![0], vec![48, 64]],
        vec![vec![46], vec![48, 47]],
        vec![vec![46], vec![48]],
    ] {
        assert!(matches!(verify_two_class_table(2.0, &bad, 128), Err(StatsError::Table { .. })), "{bad:?}");
    }
}

#[test]
fn contract_10_a_plan_with_its_tables_and_votes_rederives_the_decision() {
    for method in [
        Method::Table(Ladder::new(vec![0.1, 0.25], 120)),
        Method::Table1(Ladder::new(vec![0.25], 120)),
        Method::Cohen { n0: 10, n: 40 },
        Method::Anytime { n_max: 100, every: 20, gain: 0.01, n_min: 0, rival_share: None },
    ] {
        let plan = plan(LabelRule::Leader, 0.001, method);
        let test = Test::new(plan.clone()).unwrap();
        let votes: Vec<Vote> =
            (0..120).map(|i| if i % 20 == 19 { Vote::For(1) } else { Vote::For(0) }).collect();
        let mut run = test.start(None).unwrap();
        let decision = votes.iter().map(|&vote| run.push(vote)).last().unwrap();
        let written = serde_json::to_string(&(&plan, &votes, test.tables(), decision)).unwrap();
        let (plan, votes, tables, recorded): (Plan, Vec<Vote>, Option<Tables>, Decision) =
            serde_json::from_str(&written).unwrap();
        let again = match tables {
            Some(tables) => Test::with_tables(plan, tables).unwrap(),
            None => Test::new(plan).unwrap(),
        };
        let mut run = again.start(None).unwrap();
        assert_eq!(votes.iter().map(|&vote| run.push(vote)).last(), Some(recorded));
        assert_eq!(recorded, decision);
        assert!(decision.certified().is_some(), "{decision:?}");
    }
}

#[test]
fn long_tables_are_built() {
    let long =
        |radius, n_max| plan(LabelRule::Leader, 0.001, Method::Table1(Ladder::new(vec![radius], n_max)));
    let n_max = if cfg!(debug_assertions) { 5000 } else { 100_000 };
    let test = Test::new(long(0.25, n_max)).unwrap();
    let Some(Tables::OneBound(tables)) = test.tables() else { panic!("no table") };
    // At the horizon the boundary lies a few standard deviations above τ, so nearly the whole level is spent.
    let error = verify_table(tables[0].tau, &tables[0].certify_at).unwrap();
    assert!(error > 0.00099 && error <= 0.001, "{error}");
}
