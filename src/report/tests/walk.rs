//! The drawn boundary against the test's own decisions.

use std::sync::LazyLock;

use proptest::prelude::*;

use crate::report::{Says, Walk};
use crate::stats::{Decision, LabelRule, Ladder, Method, Plan, Test, Vote};

/// Tests that go by counts, small enough for every corner of them to be met; each for a label that the votes choose and
/// for one that is fixed.
static TESTS: LazyLock<Vec<(Test, Option<usize>)>> = LazyLock::new(|| {
    let ladder = |radii: &[f64], futility| Ladder { radii: radii.to_vec(), n_max: 60, futility };
    let methods = [
        Method::Cohen { n0: 6, n: 40 },
        Method::Fixed { n: 40, rival_share: None },
        Method::Fixed { n: 40, rival_share: Some(0.1) },
        Method::Table(ladder(&[0.1], 0.05)),
        Method::Table(ladder(&[0.05, 0.1, 0.2], 0.0)),
        Method::Table1(ladder(&[0.1], 0.05)),
        Method::Table1(ladder(&[0.05, 0.1, 0.2], 0.05)),
    ];
    let rules = [(LabelRule::Leader, None), (LabelRule::Fixed, Some(0))];
    let test = |method: &Method, label| {
        Test::new(Plan { sigma: 0.25, alpha: 0.01, label, method: method.clone() }).unwrap()
    };
    methods.iter().flat_map(|method| rules.map(|(rule, label)| (test(method, rule), label))).collect()
});

/// Votes for and against class 0, from hardly any for it to nearly all.
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
        .prop_flat_map(move |agreement| proptest::collection::vec(vote(agreement), 80))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 150 } else { 2000 }))]

    #[test]
    fn the_boundary_certifies_and_gives_up_exactly_where_the_test_does(votes in any_votes()) {
        for (test, label) in TESTS.iter() {
            let walk = Walk::of(test, *label, votes.iter().copied()).unwrap();
            let says = walk.says();
            let mut run = test.start(*label).unwrap();
            let mut radius = 0.0;
            let tables = test.plan().method.has_tables();
            for (at, (says, &vote)) in says.iter().zip(&votes).enumerate() {
                let decision = run.push(vote);
                // What the test would certify if it were stopped here: a ladder may hold a lower radius by now.
                let now = run.clone().stop().certified().map_or(0.0, |claim| claim.radius);
                let certifies = if tables { now > radius } else { decision.certified().is_some() };
                let context = format!("{:?} {label:?}, vote {at}: {decision:?}", test.plan().method);
                match says {
                    Says::Certifies(rung) => {
                        prop_assert!(certifies, "{}", context);
                        if tables {
                            prop_assert_eq!(walk.radii[*rung], now, "{}", context);
                        }
                    }
                    Says::GivesUp => {
                        prop_assert!(decision.is_final() && !certifies, "{}", context);
                    }
                    Says::GoOn => {
                        // Without a label nothing is counted for or against it.
                        let unnamed = matches!(decision, Decision::Abstained(why) if why.class.is_none()
                            || why.evidence.votes == why.evidence.selection);
                        prop_assert!(!certifies && (!decision.is_final() || unnamed), "{}", context);
                    }
                }
                radius = now;
            }
            prop_assert_eq!(walk.steps.len(), run.evidence().votes);
            prop_assert_eq!(walk.certified, run.decision().certified().map(|claim| claim.radius));
        }
    }
}

#[test]
fn the_numbers_of_a_small_table_are_those_of_the_literature_list() {
    // Radius sigma at alpha 0.001: nobody against at vote 46, one at 63, two at 77.
    let method = Method::Table1(Ladder { futility: 0.0, ..Ladder::new(vec![0.25], 119) });
    let test = Test::new(Plan { sigma: 0.25, alpha: 0.001, label: LabelRule::Fixed, method }).unwrap();
    // One against at the start, so that the walk is as long as it takes.
    let votes = std::iter::once(Vote::Failed).chain(std::iter::repeat_n(Vote::For(0), 200));
    let walk = Walk::of(&test, Some(0), votes).unwrap();
    let most: Vec<Option<usize>> =
        walk.steps.iter().map(|step| step.boundary.as_ref().unwrap().certify[0]).collect();
    assert_eq!((most[44], most[45], most[61], most[62]), (None, Some(0), Some(0), Some(1)));
    assert_eq!((walk.steps.len(), walk.certified), (63, Some(0.25)));
    assert_eq!(walk.says()[62], Says::Certifies(0));
}
