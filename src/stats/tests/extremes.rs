//! No input panics or hangs; nonsense gets an error, and the ends of every range their values.

use proptest::prelude::*;

use crate::stats::*;

/// Doubles of every kind, special ones often.
fn any_double() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(0.0),
        Just(-0.0),
        Just(1.0),
        Just(0.5),
        Just(f64::from_bits(1)),
        Just(f64::MIN_POSITIVE),
        Just(1.0_f64.next_down()),
        Just(f64::MAX),
        0.0..1.0_f64,
        -2.0..2.0_f64,
        any::<f64>(),
    ]
}

fn any_count() -> impl Strategy<Value = usize> {
    prop_oneof![0..3_usize, 0..200_usize, Just(1_000_000), Just(usize::MAX)]
}

fn any_label_rule() -> impl Strategy<Value = LabelRule> {
    let open = (0..4_usize).prop_map(|max_labels| LabelRule::Open { max_labels });
    prop_oneof![Just(LabelRule::Fixed), Just(LabelRule::Leader), open]
}

fn any_method() -> impl Strategy<Value = Method> {
    let count = || prop_oneof![0..120_usize, Just(1_000_000), Just(usize::MAX)];
    let small = || prop_oneof![0..60_usize, Just(usize::MAX)];
    let share = || proptest::option::of(any_double());
    let ladder =
        move || {
            let radii = proptest::collection::vec(prop_oneof![any_double(), 0.01..0.6_f64], 0..3);
            (radii, small(), prop_oneof![Just(0.05), any_double()])
                .prop_map(|(radii, n_max, futility)| Ladder { radii, n_max, futility })
        };
    prop_oneof![
        (count(), count()).prop_map(|(n0, n)| Method::Cohen { n0, n }),
        small().prop_map(|n| Method::Predict { n }),
        (small(), share()).prop_map(|(n, rival_share)| Method::Fixed { n, rival_share }),
        ladder().prop_map(Method::Table),
        ladder().prop_map(Method::Table1),
        (count(), count(), any_double(), count(), share()).prop_map(
            |(n_max, every, gain, n_min, rival_share)| {
                Method::Anytime { n_max, every, gain, n_min, rival_share }
            }
        ),
        (0..5_usize, count(), small()).prop_map(|(k, n0, n)| Method::Topk { k, n0, n }),
    ]
}

fn any_vote() -> impl Strategy<Value = Vote> {
    prop_oneof![
        6 => Just(Vote::For(0)),
        2 => (1..4_usize).prop_map(Vote::For),
        1 => Just(Vote::NoLabel),
        1 => Just(Vote::Failed),
        1 => Just(Vote::For(usize::MAX)),
    ]
}

proptest! {
    #[test]
    fn no_argument_makes_a_function_panic(a in any_double(), b in any_double(), c in any_double(), k in any_count(), n in any_count()) {
        let _ = (normal_cdf(a), normal_quantile(a), round_down(a), tau_for_radius(a, b));
        let _ = (radius_l2(a, b), radius_l2_two_class(a, b, c), radius_original_space(a, b, c));
        let _ = (radius_l1_laplace(a, b), radius_l1_laplace_two_class(a, b, c), radius_l1_uniform(a, b));
        let _ = (radius_linf_uniform(a, b, k), radius_from_l2(a, k, Norm::Lq(b)), radius_topk(a, &[b, c], k.min(5), c));
        let _ = (alpha_free(a, b), fewest_votes(a, b), anytime_log_wealth(a, k.min(1_000_000), n.min(1_000_000)));
        let _ = (cp_lower(k, n, a), cp_upper(k, n, a), binom_test_half(k, n.min(1_000_000)), largest_radius(n, a, b));
        let _ = (binom_sf(k, n, a), radius_l0_ablation(a, k.min(10_000), n), verify_table(a, &[k, n]));
        let _ = anytime_lower(k, n.min(1_000_000), a, LabelRule::Leader);
        let _ = verify_two_class_table(a, &[vec![k.min(100)], vec![n.min(100); 2]], 4);
    }

    #[test]
    fn what_is_out_of_range_is_an_error(alpha in any_double(), sigma in any_double()) {
        let good_alpha = alpha > 0.0 && alpha < 1.0;
        prop_assert_eq!(cp_lower(3, 5, alpha).is_ok(), good_alpha);
        prop_assert_eq!(alpha_free(0.6, alpha).is_ok(), good_alpha);
        let good_sigma = sigma > 0.0 && sigma < f64::INFINITY;
        prop_assert_eq!(radius_l2(0.7, sigma).is_ok(), good_sigma);
        prop_assert_eq!(tau_for_radius(0.1, sigma).is_ok(), good_sigma);
    }

    #[test]
    fn no_plan_and_no_votes_make_a_test_panic_or_contradict_itself(
        sigma in prop_oneof![3 => Just(0.25), 1 => any_double()],
        alpha in prop_oneof![3 => Just(0.001), 2 => Just(0.05), 1 => any_double()],
        label in any_label_rule(),
        method in any_method(),
        fixed in proptest::option::of(0..2_usize),
        votes in proptest::collection::vec(any_vote(), 0..150),
    ) {
        let plan = Plan { sigma, alpha, label, method };
        if let Ok(test) = Test::new(plan.clone())
            && let Ok(mut run) = test.start(fixed)
        {
            for (i, &vote) in votes.iter().enumerate() {
                let open = !run.decision().is_final();
                prop_assert_eq!(open, run.needed() > 0);
                prop_assert!(run.ramp() >= run.needed());
                let ahead = [0, 1, 7, usize::MAX].map(|extra| run.ahead(extra));
                prop_assert!(ahead[0] == run.needed() && ahead.is_sorted() && ahead[1] <= ahead[0] + 1);
                prop_assert!(run.evidence().votes + ahead[3] <= test.max_votes());
                prop_assert!(run.evidence().votes <= i && run.evidence().votes + run.needed() <= test.max_votes());
                run.push(vote);
            }
            prop_assert!(votes.len() < test.max_votes() || run.decision().is_final());
            let stopped = run.stop();
            prop_assert!(stopped.is_final());
            if let Some(certified) = stopped.certified() {
                prop_assert!(certified.radius <= test.largest_radius() && certified.radius >= 0.0);
                prop_assert!(fixed.is_none_or(|label| label == certified.class));
            }
        }
    }
}

#[test]
fn a_million_votes_and_extreme_levels_have_bounds() {
    for alpha in [f64::from_bits(1), 1e-300, 1e-12, 0.5, 1.0_f64.next_down()] {
        for (k, n) in
            [(0, 1), (1, 1), (0, 1_000_000), (1, 1_000_000), (999_999, 1_000_000), (1_000_000, 1_000_000)]
        {
            let (lower, upper) = (cp_lower(k, n, alpha).unwrap(), cp_upper(k, n, alpha).unwrap());
            assert!(
                (0.0..=1.0).contains(&lower) && (0.0..=1.0).contains(&upper),
                "{lower}..{upper} for {k} of {n}"
            );
            assert!((k == 0) == (lower == 0.0) || alpha < 1e-290, "{k} of {n} at {alpha:e}: {lower}");
            assert!(
                (k == n) == (upper >= 1.0) || alpha < 1e-15 * n as f64,
                "{k} of {n} at {alpha:e}: {upper}"
            );
        }
    }
    assert!((binom_test_half(501_645, 1_000_000).unwrap() / 0.001 - 1.0).abs() < 0.01);
}

#[test]
fn plans_that_cannot_succeed_are_refused_with_what_would_do() {
    let plan = |label, method| Plan { sigma: 0.25, alpha: 0.001, label, method };
    let needed = |plan| match Test::new(plan) {
        Err(StatsError::Infeasible { needed, .. }) => needed,
        other => panic!("not refused as infeasible: {other:?}"),
    };
    let ladder = |n_max| Ladder::new(vec![0.25], n_max);
    let refused = [
        (LabelRule::Leader, Method::Cohen { n0: 5, n: 9 }, Method::Cohen { n0: 5, n: 10 }, 10),
        (LabelRule::Leader, Method::Predict { n: 10 }, Method::Predict { n: 11 }, 11),
        (
            LabelRule::Leader,
            Method::Fixed { n: 10, rival_share: None },
            Method::Fixed { n: 11, rival_share: None },
            11,
        ),
        (LabelRule::Fixed, Method::Table1(ladder(39)), Method::Table1(ladder(40)), 40),
    ];
    for (label, too_short, enough, votes) in refused {
        let needed = needed(plan(label, too_short));
        assert_eq!(needed, votes, "for {enough:?}");
        assert!(Test::new(plan(label, enough)).is_ok());
    }
    for method in [
        Method::Table(ladder(30)),
        Method::Topk { k: 3, n0: 5, n: 3 },
        Method::Anytime { n_max: 9, every: 5, gain: 0.01, n_min: 0, rival_share: Some(0.1) },
        Method::Fixed { n: 5, rival_share: Some(0.1) },
    ] {
        let needed = needed(plan(LabelRule::Leader, method.clone()));
        let with = |n: usize| match method.clone() {
            Method::Table(_) => Method::Table(ladder(n)),
            Method::Topk { k, n0, .. } => Method::Topk { k, n0, n },
            Method::Anytime { every, gain, n_min, rival_share, .. } => {
                Method::Anytime { n_max: n, every, gain, n_min, rival_share }
            }
            _ => Method::Fixed { n, rival_share: Some(0.1) },
        };
        assert!(
            Test::new(plan(LabelRule::Leader, with(needed))).is_ok(),
            "{needed} would not do for {method:?}"
        );
        assert!(
            Test::new(plan(LabelRule::Leader, with(needed - 1))).is_err(),
            "{needed} is too many for {method:?}"
        );
    }
}

/// What a refusal says would do does, and a little more does not.
#[test]
fn a_refused_radius_comes_with_the_largest_within_reach() {
    let kinds: [fn(Ladder) -> Method; 2] = [Method::Table, Method::Table1];
    for (kind, label) in
        kinds.into_iter().flat_map(|kind| [(kind, LabelRule::Fixed), (kind, LabelRule::Leader)])
    {
        let test = |radius| {
            Test::new(Plan { sigma: 0.25, alpha: 0.001, label, method: kind(Ladder::new(vec![radius], 50)) })
        };
        let error = test(0.5).unwrap_err();
        let StatsError::Infeasible { needed, largest: Some(largest), .. } = error else { panic!("{error}") };
        assert!(needed > 300 && needed < 310, "{needed}");
        assert!(test(largest).is_ok(), "{largest} is not within reach: {label:?}");
        assert!(matches!(test(largest + 2e-4), Err(StatsError::Infeasible { .. })), "{largest} is too small");
        let text = error.to_string();
        assert!(
            text.contains("radius 0.5 with sigma 0.25") && text.contains(&format!("{largest:.4}")),
            "{text}"
        );
    }
}

#[test]
fn contract_05_a_test_for_a_fixed_label_does_not_start_without_one() {
    let method = Method::Fixed { n: 100, rival_share: None };
    let plan = Plan { sigma: 0.25, alpha: 0.001, label: LabelRule::Fixed, method };
    let test = Test::new(plan).unwrap();
    assert!(matches!(test.start(None), Err(StatsError::LabelNotFixed)));
    assert!(test.start(Some(3)).is_ok());
}

#[test]
fn a_gain_that_a_document_cannot_hold_is_refused() {
    let test = |gain| {
        let method = Method::Anytime { n_max: 100, every: 20, gain, n_min: 0, rival_share: None };
        Test::new(Plan { sigma: 0.25, alpha: 0.001, label: LabelRule::Leader, method })
    };
    for gain in [f64::INFINITY, f64::NAN, 1e17, 1000.1, -0.1] {
        assert!(matches!(test(gain), Err(StatsError::OutOfRange { name: "gain", .. })), "{gain}");
    }
    for gain in [0.0, 0.01, 1000.0] {
        assert!(test(gain).is_ok(), "{gain}");
    }
}
