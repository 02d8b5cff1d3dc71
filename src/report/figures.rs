//! The numbers of a report.

use serde::Serialize;
use smoothgate_providers::Money;

use super::series::{Measure, Series, Verdict};
use crate::stats::{cp_lower, cp_upper};

/// The confidence of every interval: each end is a one-sided Clopper-Pearson bound at (1 - `CONFIDENCE`)/2.
pub const CONFIDENCE: f64 = 0.95;

/// What each end of an interval may err with.
const TAIL: f64 = 0.025;

/// `count` of `of` pictures, as a share with its two-sided Clopper-Pearson interval at [`CONFIDENCE`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Share {
    /// Pictures that count.
    pub count: usize,
    /// All pictures.
    pub of: usize,
    /// The share, 0 to 1.
    pub value: f64,
    /// Lower end of the interval.
    pub lower: f64,
    /// Upper end of the interval.
    pub upper: f64,
}

impl Share {
    /// `count` of `of`; `count` is at most `of`. Of no pictures the share is 0 and anything is possible: \[0, 1\].
    pub fn new(count: usize, of: usize) -> Self {
        Self {
            count,
            of,
            value: if of == 0 { 0.0 } else { count as f64 / of as f64 },
            // An end that has no meaning gives way to the widest one.
            lower: cp_lower(count, of, TAIL).unwrap_or(0.0),
            upper: cp_upper(count, of, TAIL).unwrap_or(1.0),
        }
    }
}

/// What the pictures of a series took, where its log says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// `calls` (sent, retries included) or, where the log has only these, `votes` (used).
    pub unit: &'static str,
    /// Of each picture that got a verdict, ascending.
    #[serde(skip)]
    pub each: Vec<u64>,
    /// Of all of them.
    pub total: u64,
}

impl Usage {
    /// Of the pictures that got a verdict; `None` unless the log has the number of each.
    fn of(series: &Series) -> Option<Self> {
        let ended = || series.pictures().iter().filter(|picture| picture.verdict != Verdict::Failed);
        let calls = ended().map(|picture| picture.calls).collect::<Option<Vec<_>>>();
        let (unit, each) = match calls {
            Some(calls) => ("calls", Some(calls)),
            None => ("votes", ended().map(|picture| picture.votes).collect()),
        };
        let mut each = each.filter(|each| !each.is_empty())?;
        each.sort_unstable();
        let total = each.iter().fold(0u64, |sum, &one| sum.saturating_add(one));
        Some(Self { unit, each, total })
    }

    /// The mean a picture.
    pub fn mean(&self) -> f64 {
        self.total as f64 / self.each.len().max(1) as f64
    }

    /// The median a picture: the mean of the middle two where there are two.
    pub fn median(&self) -> f64 {
        let n = self.each.len();
        let at = |index: usize| self.each.get(index).copied().unwrap_or(0) as f64;
        if n.is_multiple_of(2) { f64::midpoint(at((n / 2).saturating_sub(1)), at(n / 2)) } else { at(n / 2) }
    }
}

/// The numbers of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// What the shares measure.
    pub measure: Measure,
    /// The share certified at each asked radius or more.
    pub at: Vec<(f64, Share)>,
    /// Average certified radius (Zhai et al., "MACER", ICLR 2020): the mean over all pictures of the radius, counted as 0
    /// where there is no certificate or, where the truth is known, where the label is wrong.
    pub average_radius: f64,
    /// Pictures on which the test abstained.
    pub abstained: Share,
    /// Pictures that got no verdict.
    pub failed: usize,
    /// Calls or votes.
    pub usage: Option<Usage>,
}

impl Figures {
    /// The numbers of `series`, with its share at each of `radii`.
    pub fn of(series: &Series, radii: &[f64]) -> Self {
        let pictures = series.pictures().len();
        let ended = |verdict| series.pictures().iter().filter(|picture| picture.verdict == verdict).count();
        Self {
            measure: series.measure(),
            at: radii.iter().map(|&radius| (radius, Share::new(series.count_at(radius), pictures))).collect(),
            average_radius: series.counted_radii().iter().sum::<f64>() / pictures as f64,
            abstained: Share::new(ended(Verdict::Abstained), pictures),
            failed: ended(Verdict::Failed),
            usage: Usage::of(series),
        }
    }
}

impl Figures {
    /// What the series cost by the ledger: what was or may have been billed, where every price is known.
    pub fn cost(&self, series: &Series) -> Option<Money> {
        series.spend().filter(|spend| spend.unpriced == 0)?.at_most()
    }
}

/// Radii for a table where none were asked for: from 0 in round steps up to the largest that was certified.
pub fn default_radii(series: &[Series]) -> Vec<f64> {
    let largest = largest_radius(series);
    let step =
        [0.05, 0.1, 0.25, 0.5, 1.0].into_iter().find(|step| largest / step < 7.0).unwrap_or(largest / 6.0);
    (0..=6).map(|i| f64::from(i) * step).map(tidy).take_while(|&radius| radius <= largest).collect()
}

/// The largest radius that counts for the measure of any series; 0 if none does.
pub(super) fn largest_radius(series: &[Series]) -> f64 {
    series.iter().filter_map(|one| one.counted_radii().last().copied()).fold(0.0, f64::max)
}

/// 3 × 0.1 without its last digits.
pub(super) fn tidy(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}
