//! When a two-class test is no longer worth its votes.
//!
//! A certificate is given a value in votes, and the test goes on exactly where that is expected to pay: the
//! optimal rule for a label whose probabilities have a Dirichlet prior. It has no part in the guarantee,
//! which holds for any rule.

use pulp::{Arch, NullaryFnOnce};

use super::bounds::first_count;
use super::normal::normal_cdf;
use super::one_bound::POWER;
use super::two_class::TwoClassTable;

/// The share of the dissent that goes to the strongest rival where the loss is measured.
const RIVAL_SHARE: f64 = 0.5;

/// What may be dropped of a law with each vote where the loss is measured, which needs a few digits only.
const CUTOFF: f64 = 1e-10;

/// Prior counts of the label, the strongest rival and all others; the last two are the same, and so are the shares that a count
/// of either lets expect.
const PRIOR: [f64; 3] = [1.0, 0.5, 0.5];

impl TwoClassTable {
    /// Gives up early where a certificate has become too unlikely to be worth the votes, with a value of a
    /// certificate for which at most `loss` of the probability of certifying is given up. The loss is
    /// measured where the table certifies with probability 0.95 when half of the dissent goes to the
    /// strongest rival.
    pub(crate) fn add_futility(&mut self, loss: f64) {
        let certify = |table: &Self, p: f64| table.certification_within(p, (1.0 - p) * RIVAL_SHARE, CUTOFF);
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
        // How many of a row certify by vote t: the first ones; and when the last of these does.
        let mut certify = region.clone();
        let at = |f: usize, certify: usize| certify.checked_sub(1).map_or(0, |last| self.certify_at[f][last]);
        let mut latest: Vec<usize> = region.iter().enumerate().map(|(f, &width)| at(f, width)).collect();
        let mut shares = vec![0.0; region.len()];
        for t in (1..self.n_max).rev() {
            let votes = t as f64 + PRIOR.iter().sum::<f64>();
            for (count, share) in shares.iter_mut().enumerate() {
                *share = (count as f64 + PRIOR[1]) / votes;
            }
            for f in 0..region.len().min(t + 1) {
                while t < latest[f] {
                    certify[f] -= 1;
                    latest[f] = at(f, certify[f]);
                }
                let (row, next) = worth.split_at_mut(f + 1);
                let end = region[f].min(ends[f].max(ends[f + 1]));
                ends[f] = certify[f];
                if certify[f] < end {
                    let open = certify[f]..end;
                    let row = &mut row[f][open.clone()];
                    let next = &next[0][certify[f]..=end];
                    Arch::new().dispatch(LookBack {
                        agrees: ((t - f) as f64 + PRIOR[0]) / votes,
                        for_rival: &shares[open.clone()],
                        for_others: &shares[f + 1 - end..=f - certify[f]],
                        row,
                        next,
                        from: &mut from[f][open],
                        later: t + 1,
                    });
                    ends[f] += row.iter().rposition(|&worth| worth > 0.0).map_or(0, |last| last + 1);
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

/// What states are worth that do not certify yet: as many votes and dissents each, one with a vote for the rival more after the
/// other.
struct LookBack<'a> {
    /// How likely the next vote is to be for the label, in each of them.
    agrees: f64,
    for_rival: &'a [f64],
    /// Of the last state first.
    for_others: &'a [f64],
    /// What they are worth a vote later.
    row: &'a mut [f64],
    /// What those with a dissent more are worth then, one state more.
    next: &'a [f64],
    /// Where a state is worth nothing for the first time, this becomes `later`.
    from: &'a mut [usize],
    later: usize,
}

impl NullaryFnOnce for LookBack<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it is compiled for each kind of processor")]
    fn call(self) {
        let shares = self.for_rival.iter().zip(self.for_others.iter().rev());
        let states = self.row.iter_mut().zip(self.next.iter().zip(&self.next[1..]));
        for ((worth, (if_other, if_rival)), (for_rival, for_others)) in states.zip(shares) {
            let expected = self.agrees * *worth + for_rival * if_rival + for_others * if_other - 1.0;
            *worth = expected.max(0.0);
        }
        // Apart from the sums, so that both loops are free of branches.
        for (worth, from) in self.row.iter().zip(self.from) {
            *from |= if *worth > 0.0 || *from > 0 { 0 } else { self.later };
        }
    }
}
