//! Several claims on the same draws: the level that they keep together, and what they keep of what they are alone.

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::stats::*;

const SIGMA: f64 = 0.25;

/// Runs of each of many cases.
const RUNS: u64 = if cfg!(debug_assertions) { 2000 } else { 100_000 };

/// What a share of α may come to in a simulation of so many runs: four standard errors above.
fn at_most(alpha: f64, runs: u64) -> f64 {
    alpha + 4.0 * (alpha * (1.0 - alpha) / runs as f64).sqrt()
}

/// Labels that are present in an answer with these probabilities.
struct Labels {
    p: Vec<f64>,
    /// Whether one number decides on all labels of an answer, or each has its own.
    together: bool,
    /// The probability that an answer is lost for good which lacks any of the labels: failures hit dissent alone.
    lost: f64,
}

impl Labels {
    /// The next answer: which labels it holds, `None` if it never came.
    fn draw(&self, rng: &mut ChaCha8Rng) -> Option<Vec<bool>> {
        let one: f64 = rng.random();
        let here = |&p: &f64| if self.together { one < p } else { rng.random::<f64>() < p };
        let present: Vec<bool> = self.p.iter().map(here).collect();
        let lost = present.iter().any(|&here| !here) && rng.random::<f64>() < self.lost;
        (!lost).then_some(present)
    }
}

fn vote(answer: Option<&Vec<bool>>, claim: usize) -> Vote {
    match answer {
        Some(present) if present[claim] => Vote::For(0),
        Some(_) => Vote::NoLabel,
        None => Vote::Failed,
    }
}

fn joint(tests: &[Test], follows: bool) -> Joint {
    let mut joint = Joint::new();
    for (at, test) in tests.iter().enumerate() {
        joint.add(test, Some(0), follows && at > 0).unwrap();
    }
    joint
}

/// The share of runs in which any claim is certified at a radius that is not its label's.
fn wrong_share(test: &Test, labels: &Labels, follows: bool, runs: u64) -> f64 {
    let wrong = |&run: &u64| {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        rng.set_stream(run);
        let mut joint = joint(&vec![test.clone(); labels.p.len()], follows);
        while !joint.is_final() {
            let answer = labels.draw(&mut rng);
            joint.push(|claim| vote(answer.as_ref(), claim));
        }
        labels.p.iter().enumerate().any(|(claim, &p)| {
            let certified = joint.decision(claim);
            certified.certified().is_some_and(|it| tau_for_radius(it.radius, SIGMA).unwrap() > p)
        })
    };
    (0..runs).into_par_iter().filter(wrong).count() as f64 / runs as f64
}

/// A test of these radii for each of `claims` labels that share alpha.
fn shared(sharing: Sharing, alpha: f64, claims: usize, radii: &[f64]) -> Test {
    let method = Method::Table1(Ladder { radii: radii.to_vec(), n_max: 80, futility: 0.0 });
    let alpha = sharing.level(alpha, claims);
    Test::new(Plan { sigma: SIGMA, alpha, label: LabelRule::Fixed, method }).unwrap()
}

/// Probabilities just below what a radius claims, and one at which everything is true.
fn edge(radius: f64) -> f64 {
    tau_for_radius(radius, SIGMA).unwrap() - 1e-9
}

const TRUE: f64 = 0.9999;

fn laws() -> Vec<Vec<f64>> {
    let (low, high) = (edge(0.05), edge(0.2));
    vec![
        vec![low; 4],
        vec![high; 4],
        vec![TRUE, low, low, low],
        vec![TRUE, TRUE, high, high],
        vec![low, TRUE, low, high],
        vec![high, low, high, low],
    ]
}

fn all_claims_keep_alpha_together(alpha: f64, runs: u64) {
    for sharing in [Sharing::Even, Sharing::Sequence] {
        for radii in [&[0.05][..], &[0.05, 0.2]] {
            for p in laws() {
                let test = shared(sharing, alpha, p.len(), radii);
                for (together, lost) in [(false, 0.0), (false, 0.3), (true, 0.3)] {
                    let labels = Labels { p: p.clone(), together, lost };
                    let share = wrong_share(&test, &labels, sharing == Sharing::Sequence, runs);
                    println!(
                        "{share:.5} of alpha {alpha}: {sharing:?}, {radii:?}, {p:?}, {together}, {lost}"
                    );
                    assert!(share <= at_most(alpha, runs), "{share}: {sharing:?}, {radii:?}, {p:?}");
                }
            }
        }
    }
}

#[test]
fn contract_06_alpha_covers_all_claims_on_the_same_votes_together() {
    all_claims_keep_alpha_together(0.05, RUNS);
}

/// `cargo test --release --lib -- --ignored --nocapture joint`
#[test]
#[ignore = "half a million runs of every case take minutes"]
fn all_claims_keep_alpha_together_over_half_a_million_runs() {
    for alpha in [0.05, 0.01] {
        all_claims_keep_alpha_together(alpha, 500_000);
    }
}

/// Line 6 broken: every claim at the whole level, as if it were alone.
#[test]
fn contract_06_broken_claims_that_do_not_share_alpha_show_an_excess() {
    let alpha = 0.05;
    let whole = shared(Sharing::Sequence, alpha, 4, &[0.05]);
    let labels = Labels { p: vec![edge(0.05); 4], together: false, lost: 0.0 };
    // The sequence is what makes the whole level right.
    assert!(wrong_share(&whole, &labels, true, RUNS) <= at_most(alpha, RUNS));
    let broken = wrong_share(&whole, &labels, false, RUNS);
    assert!(broken > 2.0 * alpha, "only {broken}: the simulation does not see it");
}

/// The sequence broken: it goes on from a label that is certified at the lowest radius only. Then every label may err at the
/// radius at which it is false, and none of them stops those behind it.
#[test]
fn contract_06_broken_a_sequence_that_goes_on_from_a_lower_radius_shows_an_excess() {
    let alpha = 0.05;
    let ladder = shared(Sharing::Sequence, alpha, 4, &[0.05, 0.2]);
    // True at 0.05, just false at 0.2.
    let labels = Labels { p: vec![edge(0.2); 4], together: false, lost: 0.0 };
    assert!(wrong_share(&ladder, &labels, true, RUNS) <= at_most(alpha, RUNS));
    let broken = |run: u64| {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        rng.set_stream(run);
        let mut all = joint(&vec![ladder.clone(); 4], false);
        while !all.is_final() {
            let answer = labels.draw(&mut rng);
            all.push(|claim| vote(answer.as_ref(), claim));
        }
        let radii: Vec<f64> =
            (0..4).map(|claim| all.decision(claim).certified().map_or(0.0, |it| it.radius)).collect();
        radii.iter().take_while(|&&radius| radius > 0.0).any(|&radius| radius > 0.1)
    };
    let share = (0..RUNS).into_par_iter().filter(|&run| broken(run)).count() as f64 / RUNS as f64;
    assert!(share > 2.0 * alpha, "only {share}: the simulation does not see it");
}

#[test]
fn a_claim_that_fails_ends_all_behind_it_and_a_waiting_one_counts_no_votes() {
    let test = shared(Sharing::Sequence, 0.05, 3, &[0.05]);
    let mut three = joint(&vec![test; 3], true);
    // The second label is in every answer, the first in nearly every one: the second is certified by its votes before the
    // first is, and waits.
    let mut draws = 0;
    while three.counts(1) {
        three.push(|claim| if claim == 0 && draws < 3 { Vote::NoLabel } else { Vote::For(0) });
        draws += 1;
    }
    assert!(!three.decision(1).is_final() && three.counts(0) && !three.counts(2));
    assert!(three.needed() > 0 && !three.is_final());
    let mut fails = three.clone();
    while fails.counts(0) {
        fails.push(|claim| if claim == 0 { Vote::Failed } else { Vote::For(0) });
    }
    assert!(fails.is_final() && fails.needed() == 0 && fails.ahead(9) == 0);
    for claim in 1..3 {
        let Decision::Abstained(end) = fails.decision(claim) else { panic!("{:?}", fails.decision(claim)) };
        assert_eq!((end.reason, end.class, end.evidence.votes), (Reason::Preceded, Some(0), draws));
    }
    while three.counts(0) {
        three.push(|_| Vote::For(0));
    }
    assert!(three.is_final());
    assert!((0..3).all(|claim| three.decision(claim).certified().is_some()));
    assert_eq!(three.decision(1).certified().unwrap().evidence.votes, draws);
}

#[test]
fn claims_that_there_is_nothing_to_ask_for_have_ended() {
    let mut joint = Joint::new();
    assert!(joint.is_final() && joint.is_empty());
    joint.add_abstained(Reason::NoCleanLabel);
    assert!(joint.is_final() && !joint.counts(0) && joint.needed() == 0);
    joint.add(&shared(Sharing::Even, 0.05, 1, &[0.05]), Some(0), false).unwrap();
    assert!(!joint.is_final() && joint.counts(1) && joint.needed() > 0);
    assert!(matches!(joint.decision(0), Decision::Abstained(end) if end.reason == Reason::NoCleanLabel));
}

fn tests() -> Vec<Test> {
    let of = |alpha, label, method| Test::new(Plan { sigma: SIGMA, alpha, label, method }).unwrap();
    let ladder = |radii: &[f64]| Ladder { radii: radii.to_vec(), n_max: 60, futility: 0.05 };
    vec![
        of(0.05, LabelRule::Fixed, Method::Table1(ladder(&[0.05]))),
        of(0.02, LabelRule::Fixed, Method::Table1(ladder(&[0.02, 0.1]))),
        of(0.05, LabelRule::Leader, Method::Table(ladder(&[0.1]))),
        of(0.01, LabelRule::Fixed, Method::Fixed { n: 40, rival_share: None }),
        of(0.05, LabelRule::Fixed, Method::Predict { n: 30 }),
        of(
            0.05,
            LabelRule::Fixed,
            Method::Anytime { n_max: 60, every: 10, gain: 0.01, n_min: 0, rival_share: None },
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    /// Whatever the others say, a claim ends as it would alone on the same votes at the same level: with the same decision on
    /// the same number of them. In a sequence, as alone or for the one before it.
    #[test]
    fn a_claim_in_a_set_ends_as_it_would_alone(
        chosen in prop::collection::vec((0_usize..6, any::<bool>()), 1..5),
        seed: u64,
        share in 0.4_f64..1.0,
    ) {
        let known = tests();
        let label = |at: usize| (known[at].plan().label == LabelRule::Fixed).then_some(0);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let votes: Vec<Vec<Vote>> = (0..60)
            .map(|_| chosen.iter().map(|_| match rng.random::<f64>() {
                u if u < share => Vote::For(0),
                u if u < share + 0.02 => Vote::Failed,
                u if u < share + 0.1 => Vote::For(1),
                _ => Vote::NoLabel,
            }).collect())
            .collect();
        let mut joint = Joint::new();
        for (at, &(test, follows)) in chosen.iter().enumerate() {
            joint.add(&known[test], label(test), follows && at > 0).unwrap();
        }
        let mut used = 0;
        let mut needed = Vec::new();
        for draw in &votes {
            if joint.is_final() {
                break;
            }
            prop_assert!(joint.needed() >= 1);
            prop_assert!(joint.ahead(0) == joint.needed() && joint.ahead(5) <= joint.needed() + 5);
            needed.push(used + joint.needed());
            joint.push(|claim| draw[claim]);
            used += 1;
        }
        prop_assert!(joint.is_final() && joint.needed() == 0);
        // What was said to be needed whatever the votes say was needed.
        prop_assert!(needed.iter().all(|&until| until <= used), "{needed:?} {used}");
        let mut passed = true;
        for (at, &(test, follows)) in chosen.iter().enumerate() {
            let mut alone = known[test].start(label(test)).unwrap();
            for draw in &votes {
                if alone.push(draw[at]).is_final() {
                    break;
                }
            }
            passed = passed || !follows || at == 0;
            match joint.decision(at) {
                Decision::Abstained(end) if end.reason == Reason::Preceded => prop_assert!(!passed),
                end => {
                    prop_assert_eq!(end, alone.decision());
                    prop_assert!(passed || end.certified().is_none());
                }
            }
            let largest = known[test].largest_radius();
            passed &= alone.decision().certified().is_some_and(|claim| claim.radius >= largest);
        }
    }
}
