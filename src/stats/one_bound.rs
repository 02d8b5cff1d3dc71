//! The one-bound table: an exact sequential test of p < τ, as a list of integers.
//!
//! The test certifies at vote `certify_at[j]` if the label then has at most j dissents. The chance that it
//! ever does so when p = τ is known exactly, so nothing is lost to a union over looks, and no selection votes
//! are needed.

use serde::{Deserialize, Serialize};

use super::band::Band;
use super::error::StatsError;

/// Numerical guard on what a table may spend of its level: the error of its dynamic programme is below 1e-10.
pub(crate) const SPEND_MARGIN: f64 = 1.0 - 1e-9;

/// What the builder drops of a distribution, as a share of the level, all in all.
const DROPPED_SHARE: f64 = 1e-12;

/// The probability of certifying for which the futility rule is tuned.
pub(crate) const POWER: f64 = 0.95;

/// Votes that a table can span at most: building it takes the better part of a minute for that many.
pub(crate) const MOST_VOTES: usize = 1_000_000;

/// A sequential test of "the label has probability below τ".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OneBoundTable {
    /// The probability that is certified to be reached, in [1/2, 1).
    pub tau: f64,
    /// The last vote.
    pub n_max: usize,
    /// At vote `certify_at[j]`, j dissents or fewer certify. Strictly increasing.
    pub certify_at: Vec<usize>,
    /// From vote `futile_at[i]` on, a label with only i votes is given up. Increasing. Saves money and has no
    /// part in the guarantee.
    pub futile_at: Vec<usize>,
}

/// How α is spent over the votes: α·t/n for short horizons, α·√(t/n) where the horizon is more than ten times
/// the fewest votes that could certify.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spending {
    level: f64,
    n_max: f64,
    root: bool,
}

impl Spending {
    /// The spending of `level` over `n_max` votes, for a test whose unanimous votes have probability τᵗ.
    pub(crate) fn new(level: f64, tau: f64, n_max: usize) -> Self {
        let fewest = (level.ln() / tau.ln()).ceil();
        Self { level: level * SPEND_MARGIN, n_max: n_max as f64, root: n_max as f64 > 10.0 * fewest }
    }

    /// What may have been spent by vote t.
    pub(crate) fn by(&self, t: usize) -> f64 {
        let share = t as f64 / self.n_max;
        self.level * if self.root { share.sqrt() } else { share }
    }

    /// The first vote at which τᵗ is within all that may be spent: no shorter test can certify.
    pub(crate) fn fewest_votes(&self, tau: f64) -> usize {
        (self.level.ln() / tau.ln()).ceil() as usize
    }
}

/// What a test does on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Operating {
    /// The probability of certifying.
    pub certify: f64,
    /// The expected number of votes.
    pub votes: f64,
}

impl OneBoundTable {
    /// Builds the table for τ in [1/2, 1), a level in (0, 1) and the last vote.
    ///
    /// `futility` is the probability of certifying that may be given up, at the p where the test would
    /// otherwise certify with probability 0.95, in exchange for early rejections; 0 switches futility off.
    /// Votes t = 1, 2, … are gone through with the law of the dissents under p = τ, and each time the state
    /// with the fewest open dissents is made a certifying one as soon as its probability fits in what may be
    /// spent by then. O(n √n) time.
    ///
    /// # Errors
    /// [`StatsError::Infeasible`] with the fewest votes that would do.
    pub(crate) fn build(tau: f64, level: f64, n_max: usize, futility: f64) -> Result<Self, StatsError> {
        if n_max == 0 || n_max > MOST_VOTES {
            return Err(StatsError::Parameter {
                name: "n_max",
                value: n_max,
                range: "between 1 and 1000000",
            });
        }
        let spending = Spending::new(level, tau, n_max);
        let needed = spending.fewest_votes(tau);
        // Where not even unanimity is enough there is nothing to build.
        let certify_at = if needed > n_max { Vec::new() } else { certify_at(tau, &spending, n_max) };
        if certify_at.is_empty() {
            let claim = format!("that the label has probability {tau:.6} or more");
            return Err(StatsError::Infeasible { claim, votes: n_max, needed, largest: None });
        }
        let mut table = Self { tau, n_max, certify_at, futile_at: Vec::new() };
        if futility > 0.0 {
            table.futile_at = table.futility(table.working_point(), futility);
        }
        Ok(table)
    }

    /// The probability of certifying a label of probability p, without futility.
    pub fn power(&self, p: f64) -> f64 {
        let mut band = Band::new(1e-25);
        let most = self.certify_at.len() - 1;
        let mut sum = 0.0;
        let mut vote = 0;
        for (dissent, &at) in self.certify_at.iter().enumerate() {
            while vote < at {
                vote += 1;
                band.step(p);
                band.forget_above(most);
            }
            sum += band.take(dissent);
        }
        sum
    }

    /// The smallest multiple of 1e-6 that is certified with probability 0.95.
    pub(crate) fn working_point(&self) -> f64 {
        let enough = |millionth: usize| self.power(millionth as f64 / 1e6) >= POWER;
        let first = super::bounds::first_count((self.tau * 1e6) as usize + 1, 999_999, enough);
        first as f64 / 1e6
    }

    /// The futility rule: under p, the state with the fewest agreeing votes is given up as soon as its
    /// probability fits in the loss granted by then, `loss`·√(t/n).
    fn futility(&self, p: f64, loss: f64) -> Vec<usize> {
        let mut band = Band::new(1e-25);
        let mut futile_at = Vec::new();
        let mut lost = 0.0;
        let mut next = 0;
        for t in 1..=self.n_max {
            band.step(p);
            if self.certify_at.get(next) == Some(&t) {
                band.take(next);
                next += 1;
            }
            if band.total() == 0.0 {
                break;
            }
            let agree = futile_at.len();
            if agree < t && lost + band.at(t - agree) <= loss * (t as f64 / self.n_max as f64).sqrt() {
                lost += band.take(t - agree);
                futile_at.push(t);
            }
        }
        futile_at
    }

    /// What the test, futility included, does on average for a label of probability p whose rivals never
    /// lead.
    pub fn operating(&self, p: f64) -> Operating {
        let mut band = Band::new(1e-25);
        let mut result = Operating { certify: 0.0, votes: 0.0 };
        for t in 1..=self.n_max {
            band.step(p);
            let ended: Vec<usize> = band.iter().map(|(f, _)| f).filter(|&f| self.over(t, t - f)).collect();
            for dissent in ended {
                let mass = band.take(dissent);
                result.votes += t as f64 * mass;
                if self.certifies(t, t - dissent) {
                    result.certify += mass;
                }
            }
        }
        result
    }

    /// Whether the futility rule has the shape that the count of needed votes relies on, and never gives up on votes that
    /// all agree.
    pub(crate) fn futility_is_sane(&self) -> bool {
        let rises = self.futile_at.windows(2).all(|pair| pair[0] <= pair[1]);
        rises && self.futile_at.iter().enumerate().all(|(agree, &at)| at > agree)
    }

    fn over(&self, t: usize, agree: usize) -> bool {
        self.certifies(t, agree) || self.lost(t, agree) || self.futile(t, agree) || t >= self.n_max
    }

    /// Whether `agree` of t votes certify.
    pub(crate) fn certifies(&self, t: usize, agree: usize) -> bool {
        self.certify_at.get(t - agree).is_some_and(|&at| t >= at)
    }

    /// Whether no further votes can certify.
    pub(crate) fn lost(&self, t: usize, agree: usize) -> bool {
        t - agree >= self.certify_at.len()
    }

    /// Whether the futility rule gives up.
    pub(crate) fn futile(&self, t: usize, agree: usize) -> bool {
        self.futile_at.get(agree).is_some_and(|&at| t >= at)
    }

    /// Votes until certification if all to come agree; `None` if they cannot certify.
    pub(crate) fn until_certified(&self, t: usize, agree: usize) -> Option<usize> {
        self.certify_at.get(t - agree).map(|&at| at.saturating_sub(t))
    }

    /// Votes until the test gives up if all to come dissent.
    pub(crate) fn until_lost(&self, t: usize, agree: usize) -> usize {
        let out_of_reach = self.certify_at.len().saturating_sub(t - agree);
        let futile = self.futile_at.get(agree).map_or(usize::MAX, |&at| at.saturating_sub(t));
        out_of_reach.min(futile)
    }
}

/// The greedy certifying votes under p = τ.
fn certify_at(tau: f64, spending: &Spending, n_max: usize) -> Vec<usize> {
    let mut band = Band::new(spending.by(n_max) * DROPPED_SHARE / n_max as f64);
    // Dissents only grow, and no more than this many can certify at the end.
    let most = (n_max as f64 * (1.0 - tau)).ceil() as usize + 2;
    let mut certify_at = Vec::new();
    let mut spent = 0.0;
    for t in 1..=n_max {
        band.step(tau);
        band.forget_above(most);
        let dissent = certify_at.len();
        if dissent <= most && spent + band.dropped() + band.at(dissent) <= spending.by(t) {
            spent += band.take(dissent);
            certify_at.push(t);
        }
    }
    certify_at
}
