//! Plans against what runs take.

use smoothgate_providers::{Money, Price, Quota};

use super::*;
use crate::stats::{Evidence, LabelRule, Ladder, Method, Plan, Sharing, Test, Vote};

fn test(method: Method, label: LabelRule) -> Test {
    Test::new(Plan { sigma: 0.25, alpha: 0.001, label, method }).unwrap()
}

fn extremes(test: &Test) -> Extremes {
    Extremes::of(&[Asked::one(test)]).unwrap()
}

fn expected(test: &Test, prior: Prior) -> Expected {
    expect(&[Asked::one(test)], prior).unwrap()
}

fn table(radii: &[f64], label: LabelRule) -> Test {
    test(Method::Table1(Ladder::new(radii.to_vec(), 120)), label)
}

#[test]
fn extremes_are_those_of_the_test() {
    let cohen = extremes(&test(Method::Cohen { n0: 20, n: 100 }, LabelRule::Leader));
    // The selection votes may all be for no label: then it ends with them.
    assert_eq!((cohen.least_votes, cohen.votes_if_all_agree, cohen.most_votes), (20, 120, 120));
    assert!((cohen.largest_radius - 0.3751).abs() < 1e-4);
    // 0.25 at sigma 0.25 takes 46 unanimous votes of 120, as the statistics' own example says.
    let table = extremes(&table(&[0.25], LabelRule::Leader));
    assert_eq!((table.votes_if_all_agree, table.most_votes, table.largest_radius), (46, 120, 0.25));
    assert!(table.least_votes < 46);
    let predict = extremes(&test(Method::Predict { n: 100 }, LabelRule::Leader));
    assert!(predict.largest_radius.abs() < f64::EPSILON);
}

#[test]
fn the_law_and_the_simulation_agree() {
    let one_bound = table(&[0.25], LabelRule::Fixed);
    for (share, test) in [(0.99, &one_bound), (0.8, &one_bound), (0.9, &one_bound)] {
        let law = expected(test, Prior::new(share, share).unwrap());
        assert!(matches!(law.basis, Basis::Law { .. }) && law.votes_error == Some(0.0));
        // A spread too narrow to matter is simulated.
        let simulated = expected(test, Prior::new(share - 1e-9, share).unwrap());
        assert!(matches!(simulated.basis, Basis::Simulation { .. }));
        let error = simulated.votes_error.unwrap();
        assert!(
            error > 0.0 && (law.votes - simulated.votes).abs() < 5.0 * error,
            "{share}: {law:?} {simulated:?}"
        );
        let certified_error = (law.certified * (1.0 - law.certified) / 4000.0).sqrt();
        assert!((law.certified - simulated.certified).abs() <= 5.0 * certified_error + 1e-3, "{share}");
    }
}

#[test]
fn expectations_that_are_known_beforehand() {
    // Unanimous votes take what they take.
    let fixed = test(Method::Fixed { n: 50, rival_share: None }, LabelRule::Leader);
    let all = expected(&fixed, "1".parse().unwrap());
    assert_eq!((all.votes, all.certified, all.votes_error), (50.0, 1.0, Some(0.0)));
    // Nothing agrees: nothing is certified, and it ends early.
    let none = expected(&fixed, "0".parse().unwrap());
    // (The rival has half of the votes, and may win by luck.)
    assert!(none.certified < 0.01 && none.votes < 50.0);
    // The same numbers every time.
    assert_eq!(expected(&fixed, Prior::UNKNOWN), expected(&fixed, Prior::UNKNOWN));
    // An expectation lies between the extremes.
    for test in [fixed, table(&[0.1, 0.2], LabelRule::Leader)] {
        let (extremes, expected) = (extremes(&test), expected(&test, Prior::UNKNOWN));
        let (least, most) = (extremes.least_votes as f64, extremes.most_votes as f64);
        assert!((least..=most).contains(&expected.votes), "{expected:?} outside of {extremes:?}");
    }
}

#[test]
fn a_run_never_ends_before_the_least_nor_after_the_most() {
    let tests = [
        test(Method::Cohen { n0: 5, n: 30 }, LabelRule::Leader),
        test(Method::Fixed { n: 40, rival_share: Some(0.1) }, LabelRule::Leader),
        test(Method::Predict { n: 40 }, LabelRule::Leader),
        table(&[0.1, 0.2], LabelRule::Leader),
    ];
    for test in tests {
        let extremes = extremes(&test);
        for pattern in 0..200_u64 {
            let mut run = test.start(None).unwrap();
            let mut state = pattern.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            while !run.decision().is_final() {
                state = state.rotate_left(7).wrapping_mul(0x2545_F491_4F6C_DD1D);
                run.push(match state % (2 + pattern % 9) {
                    0 => Vote::For(1),
                    1 if pattern % 2 == 0 => Vote::NoLabel,
                    1 => Vote::Failed,
                    _ => Vote::For(0),
                });
            }
            let Evidence { votes, .. } = run.evidence();
            assert!(
                (extremes.least_votes..=extremes.most_votes).contains(&(votes as u64)),
                "{votes}, {extremes:?}"
            );
        }
    }
}

#[test]
fn several_claims_take_as_long_as_the_longest_and_a_picture_without_labels_nothing() {
    let (short, long) = (table(&[0.05], LabelRule::Fixed), table(&[0.25], LabelRule::Fixed));
    let labels = Asked { claims: 5, asks_clean: true, ..Asked::one(&short) };
    let alone = extremes(&long);
    let both = Extremes::of(&[labels, Asked::one(&long)]).unwrap();
    assert_eq!(both, alone);
    let no_label = Extremes::of(&[labels]).unwrap();
    assert_eq!((no_label.least_votes, no_label.most_votes), (0, 120));
    assert_eq!(no_label.votes_if_all_agree, extremes(&short).votes_if_all_agree);
    // Five labels take longer than one, in sequence no longer than that, and certify less.
    let prior = Prior::new(0.7, 0.7).unwrap();
    let one = expected(&short, prior);
    let five = expect(&[labels], prior).unwrap();
    let sequence = expect(&[Asked { sharing: Sharing::Sequence, ..labels }], prior).unwrap();
    assert!(one.votes < sequence.votes && sequence.votes < five.votes, "{one:?} {sequence:?} {five:?}");
    assert!(sequence.certified < five.certified, "{sequence:?} {five:?}");
    assert!((five.certified - one.certified).abs() < 0.03, "{one:?} {five:?}");
}

#[test]
fn bills_are_exact() {
    let extremes =
        Extremes { least_votes: 20, votes_if_all_agree: 120, most_votes: 120, largest_radius: 0.3 };
    let basis = Basis::Record { pictures: 3, cut_short: 0 };
    let expected = Expected { votes: 100.1, votes_error: Some(2.0), certified: 0.5, basis };
    let price = Price::PerPicture(Money::new(15, 4));
    let quota = Some(Quota { calls_per_minute: 600, pictures_per_minute: Some(300) });
    let bill = Bill::new(7, &extremes, &expected, &Rate { price, quota, bytes: Some(1000), besides: 0 });
    assert_eq!((bill.least.calls, bill.expected.calls, bill.most.calls), (140, 701, 840));
    assert_eq!(bill.most.cost, Some("1.26".parse().unwrap()));
    assert_eq!(bill.expected.cost, Some("1.0515".parse().unwrap()));
    assert_eq!((bill.most.seconds, bill.most.bytes), (Some(168.0), Some(840_000)));
    let unknown = Bill::new(
        7,
        &extremes,
        &expected,
        &Rate { price: Price::Unknown, quota: None, bytes: None, besides: 2 },
    );
    assert_eq!((unknown.most.cost, unknown.most.seconds, unknown.most.bytes), (None, None, None));
    assert_eq!(unknown.most.calls, 840 + 14);
    let huge =
        Bill::new(u64::MAX, &extremes, &expected, &Rate { price, quota, bytes: Some(u64::MAX), besides: 1 });
    assert_eq!((huge.most.calls, huge.most.bytes), (u64::MAX, Some(u64::MAX)));
}

#[test]
fn what_is_on_record_is_taken_off_the_bill() {
    let extremes =
        Extremes { least_votes: 20, votes_if_all_agree: 120, most_votes: 120, largest_radius: 0.3 };
    let basis = Basis::Record { pictures: 3, cut_short: 0 };
    let expected = Expected { votes: 70.0, votes_error: Some(2.0), certified: 0.5, basis };
    let rate = Rate { price: Price::PerPicture(Money::new(1, 3)), quota: None, bytes: Some(10), besides: 1 };
    let begun = |votes, clean| Started { votes, clean };
    let record = OnRecord { finished: 4, started: vec![begun(30, true), begun(0, false), begun(119, true)] };
    // Where all votes agree, every picture takes 120.
    let test = test(Method::Cohen { n0: 20, n: 100 }, LabelRule::Leader);
    let lengths = Lengths::simulated(&[Asked::one(&test)], Prior::new(1.0, 1.0).unwrap()).unwrap();
    assert_eq!((lengths.left_after(30), lengths.left_after(121)), (Some(90.0), None));
    let bill = Bill::after(&record, 10, &extremes, &expected, &lengths, &rate);
    // Three new ones; of those that are begun one has 90 votes before it, one everything, one a single vote.
    assert_eq!(bill.pictures, 10);
    assert_eq!(bill.most.calls, 3 * 121 + 90 + 121 + 1);
    assert_eq!(bill.most.cost, Some("0.575".parse().unwrap()));
    assert_eq!(bill.least.calls, 3 * 21 + 21);
    assert_eq!(bill.expected.calls, 3 * 71 + 90 + 121 + 1);
    // Without lengths nothing is known to end early.
    let cautious = Bill::after(&record, 10, &extremes, &expected, &Lengths::default(), &rate);
    assert_eq!(cautious.expected.calls, bill.expected.calls);
    // A run that is finished costs nothing more, and more on record than asked for is no debt.
    let all = OnRecord { finished: 10, started: Vec::new() };
    for pictures in [10, 9] {
        let bill = Bill::after(&all, pictures, &extremes, &expected, &lengths, &rate);
        assert_eq!((bill.least.calls, bill.expected.calls, bill.most.calls), (0, 0, 0));
        assert_eq!(bill.most.cost, Some(Money::ZERO));
    }
}

#[test]
fn what_is_left_of_a_picture_depends_on_those_that_went_on_as_long() {
    let table = table(&[0.1], LabelRule::Leader);
    let lengths = Lengths::simulated(&[Asked::one(&table)], Prior::UNKNOWN).unwrap();
    let expected = expect(&[Asked::one(&table)], Prior::UNKNOWN).unwrap();
    let whole = lengths.left_after(0).unwrap();
    assert!((whole - expected.votes).abs() < 1e-9, "the same pictures");
    // Whoever is undecided after many votes is a hard case: more is left than the average says.
    let late = lengths.left_after(60).unwrap();
    assert!(late > (whole - 60.0).max(0.0) && late <= 60.0, "{late} of {whole}");
}

#[test]
fn priors_are_read_and_refused() {
    for good in ["0.95", "0.7..1", "1", "0..1"] {
        assert_eq!(good.parse::<Prior>().unwrap().to_string(), good);
    }
    for bad in ["", "1.1", "-0.1", "NaN", "0.9..0.8", "0.5..", "x..1", "0.5...1"] {
        assert!(bad.parse::<Prior>().unwrap_err().to_string().contains("0.95"), "{bad}");
    }
}
