//! Importance sampling: a classifier that is better than it should be errs often enough to be counted, and each error is
//! weighed with how much less likely its votes are under the law itself. Exact in expectation, also at levels too small to
//! be met by plain simulation.

use rayon::prelude::*;

use super::cases::{Case, Share};
use super::pipeline::{Breach, gather};
use super::simulation::Law;
use crate::stats::Vote;

/// How much better, in standard deviations of a vote: about what it takes for votes to look like one certificate in a
/// thousand by chance, 3.1 over the root of some 70 votes.
const TILT: f64 = 0.37;

/// The share of the runs of a case that err, for one label. Each run is drawn from one law of a mixture: the law itself, and
/// for each of its classes one under which that class is more likely than it is. So no weight exceeds the number of laws.
pub(super) fn share(case: &Case, runs: u64) -> Share {
    let law = &case.law;
    let only = case.label();
    let classes = (0..law.classes.len()).filter(|class| only.is_none_or(|label| label == *class));
    let mut mixture: Vec<Law> = classes.map(|class| better(law, class)).collect();
    mixture.push(law.clone());
    let weight = |run: u64| {
        let from = &mixture[(run % mixture.len() as u64) as usize];
        let gathered = gather(&case.test, only, from, (2, run), Breach::None);
        if !case.is_false(&gathered.decision) {
            return 0.0;
        }
        // Only the draws that were counted decide, so only they are weighed.
        let ratios = mixture.iter().map(|other| ln_ratio(other, law, &gathered.said).exp());
        mixture.len() as f64 / ratios.sum::<f64>()
    };
    let squares = |weight: f64| [weight, weight * weight];
    let sums = (0..runs).into_par_iter().map(|run| squares(weight(run)));
    let [sum, squares] = sums.reduce(|| [0.0; 2], |a, b| [a[0] + b[0], a[1] + b[1]]);
    let share = sum / runs as f64;
    Share { share, error: ((squares / runs as f64 - share * share).max(0.0) / runs as f64).sqrt() }
}

/// The law with one class more likely, at the cost of all others alike.
fn better(law: &Law, class: usize) -> Law {
    let p = law.classes[class];
    let more = (p + TILT * (p * (1.0 - p)).sqrt()).min(0.5 + 0.5 * p);
    let scaled = law.classes.iter().map(|p| p * (1.0 - more) / (1.0 - law.classes[class]));
    let mut classes: Vec<f64> = scaled.collect();
    classes[class] = more;
    Law { classes, lost: law.lost }
}

/// The logarithm of how much more likely the votes are under `a` than under `b`.
fn ln_ratio(a: &Law, b: &Law, votes: &[Vote]) -> f64 {
    let of = |vote: &Vote| {
        let Vote::For(class) = *vote else { return 0.0 };
        match (a.classes.get(class), b.classes.get(class)) {
            (Some(p), Some(q)) => (p / q).ln(),
            _ => (a.rest() / b.rest()).ln(),
        }
    };
    votes.iter().map(of).sum()
}
