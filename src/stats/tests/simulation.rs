//! Simulated classifiers at the edge of what may be certified.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::stats::*;

/// A classifier of which only the probabilities of its answers matter.
#[derive(Debug, Clone)]
pub(super) struct Law {
    /// Probabilities of classes 0, 1, …; what is missing to 1 is for answers that all differ.
    pub(super) classes: Vec<f64>,
    /// The probability that an answer other than class 0 is lost for good, all retries included.
    pub(super) lost: f64,
}

/// An infinite supply of votes of one run.
pub(super) struct Votes<'a> {
    law: &'a Law,
    rng: ChaCha8Rng,
    others: usize,
}

impl Law {
    pub(super) fn new(classes: &[f64]) -> Self {
        Self { classes: classes.to_vec(), lost: 0.0 }
    }

    pub(super) fn losing(self, lost: f64) -> Self {
        Self { lost, ..self }
    }

    /// The answers of run `run`, as votes, none of them lost.
    pub(super) fn votes(&self, seed: u64, run: u64) -> Votes<'_> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(run);
        Votes { law: self, rng, others: self.classes.len() }
    }

    /// The probability of answers that all differ.
    pub(super) fn rest(&self) -> f64 {
        let rest = 1.0 - self.classes.iter().sum::<f64>();
        if rest > 1e-6 { rest } else { 0.0 }
    }

    pub(super) fn probability(&self, class: usize) -> f64 {
        self.classes.get(class).copied().unwrap_or(0.0)
    }

    /// The probability of the strongest rival of a class.
    pub(super) fn rival(&self, class: usize) -> f64 {
        let others = self.classes.iter().enumerate().filter(|&(other, _)| other != class);
        others.map(|(_, &p)| p).fold(0.0, f64::max)
    }
}

impl Iterator for Votes<'_> {
    type Item = Vote;

    fn next(&mut self) -> Option<Vote> {
        let mut u: f64 = self.rng.random();
        let mut vote = None;
        for (class, &p) in self.law.classes.iter().enumerate() {
            if u < p {
                vote = Some(class);
                break;
            }
            u -= p;
        }
        let class = vote.unwrap_or_else(|| {
            self.others += 1;
            self.others
        });
        Some(Vote::For(class))
    }
}

/// Whether a certificate claims what is false of a law.
pub(super) fn is_false(test: &Test, certified: &Certified, law: &Law) -> bool {
    let p = law.probability(certified.class);
    let rival = law.rival(certified.class);
    match test.plan().method {
        Method::Predict { .. } => p <= rival,
        Method::Topk { k, .. } => {
            let mut others = law.classes.clone();
            others.remove(certified.class);
            certified.radius > radius_topk(p, &others, k, test.plan().sigma).unwrap()
        }
        _ => match (certified.p_lower, certified.rival_upper) {
            (Some(p_lower), None) => p_lower > p,
            _ => certified.radius > 0.5 * test.plan().sigma * (normal_quantile(p) - normal_quantile(rival)),
        },
    }
}
