//! When a two-class test is no longer worth its votes.
//!
//! A certificate is given a value in votes, and the test goes on exactly where that is expected to pay: the
//! optimal rule for a label whose probabilities have a Dirichlet prior. It has no part in the guarantee,
//! which holds for any rule.

use super::bounds::first_count;
use super::normal::normal_cdf;
use super::one_bound::POWER;
use super::two_class::TwoClassTable;

/// The share of the dissent that goes to the strongest rival where the loss is measured.
const RIVAL_SHARE: f64 = 0.5;

/// What may be dropped of a law with each vote where the loss is measured, which needs a few digits only.
const CUTOFF: f64 = 1e-10;

/// Prior counts of the label, the strongest rival and all others.
const PRIOR: [f64; 3] = [1.0, 0.5, 0.5];

impl TwoClassTable {
    /// Gives up early where a certificate has become too unlikely to be worth the votes, with a value of a
    /// certificate for which at most `loss` of the probability of certifying is given up. The loss is
    /// measured where the table certifies with probability 0.95 when half of the dissent goes to the
    /// strongest rival.
    pub(crate) fn add_futility(&mut self, loss: f64) {
        let certify =
            |table: &Self, p: f64| table.operating_within(p, (1.0 - p) * RIVAL_SHARE, CUTOFF).certify;
        let enough = |thousandth: usize| certify(self, thousandth as f64 / 1000.0) >= POWER;
        let tau = normal_cdf(0.5 * self.gap);
        let p = first_count((tau * 500.0) as usize + 1, 999, enough) as f64 / 1000.0;
        let most = certify(self, p);
        // In eighths of a doubling, from one vote up to a value at which nothing is given up that could
        // matter.
        let with_value = |eighths: usize| self.worth_going_on((eighths as f64 / 8.0).exp2());
        let keeps = |eighths: usize| {
            let table = Self { go_on_from: with_value(eighths), ..self.clone() };
            certify(&table, p) >= most - loss
        };
        self.go_on_from = with_value(first_count(0, 8 * 40, keeps));
    }

    /// For every state of the region, the vote from which on it is worth going on, if a certificate is worth
    /// `value` votes.
    fn worth_going_on(&self, value: f64) -> Vec<Vec<usize>> {
        let total: f64 = PRIOR.iter().sum();
        let region: Vec<usize> =
            self.certify_at.iter().map(|row| row.iter().take_while(|&&at| at > 0).count()).collect();
        let mut from: Vec<Vec<usize>> = region.iter().map(|&width| vec![0; width]).collect();
        // worth[F][B]: what is expected to be won after vote t, less what it costs; nothing outside the
        // region. All of the region certifies with the last vote.
        let mut worth: Vec<Vec<f64>> = (0..=region.len()).map(|f| vec![0.0; f + 2]).collect();
        for (row, &width) in worth.iter_mut().zip(&region) {
            row[..width].fill(value);
        }
        // From here on a row is worth nothing, and has been since some later vote. As a state's worth comes from that of the
        // states after it, most rows need no look.
        let mut ends = region.clone();
        ends.push(0);
        // How many of a row certify by vote t: the first ones.
        let mut certify = region.clone();
        for t in (1..self.n_max).rev() {
            for f in 0..region.len().min(t + 1) {
                while certify[f].checked_sub(1).is_some_and(|last| t < self.certify_at[f][last]) {
                    certify[f] -= 1;
                }
                let (row, next) = worth.split_at_mut(f + 1);
                let end = region[f].min(ends[f].max(ends[f + 1]));
                ends[f] = certify[f];
                for b in certify[f]..end {
                    let votes = t as f64 + total;
                    let agrees = ((t - f) as f64 + PRIOR[0]) / votes;
                    let for_rival = (b as f64 + PRIOR[1]) / votes;
                    let for_others = ((f - b) as f64 + PRIOR[2]) / votes;
                    let expected =
                        agrees * row[f][b] + for_rival * next[0][b + 1] + for_others * next[0][b] - 1.0;
                    row[f][b] = expected.max(0.0);
                    if expected > 0.0 {
                        ends[f] = b + 1;
                    } else if from[f][b] == 0 {
                        from[f][b] = t + 1;
                    }
                }
            }
        }
        // Worse counts must not be gone on with earlier, so that the votes that are surely needed are easily
        // found.
        for f in (0..region.len()).rev() {
            for b in (0..region[f]).rev() {
                let right = from[f].get(b + 1).copied();
                let below = from.get(f + 1).and_then(|row| row.get(b)).copied();
                let diagonal = from.get(f + 1).and_then(|row| row.get(b + 1)).copied();
                let least = [right, below, diagonal].into_iter().flatten().min();
                from[f][b] = from[f][b].min(least.unwrap_or(usize::MAX));
            }
        }
        from
    }
}
