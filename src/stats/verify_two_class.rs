//! The independent check of two-class tables: see [`super::verify`].

use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

use super::error::{StatsError, check};
use super::label::LabelRule;
use super::normal::{normal_cdf, normal_quantile};
use super::one_bound::MOST_VOTES;
use super::two_class::TwoClassTable;
use super::verify::check_horizon;

/// Probabilities below this are taken out where the law ends, and added to the result. Of 10⁴ votes, with some thousand given up at
/// each, they come to 10⁻¹⁷ at most.
const NEGLIGIBLE_STATE: f64 = 1e-24;

/// Null distributions at which a two-class table is checked.
pub(crate) const CORNERS: usize = 128;

/// The finest grid of null distributions that can be asked for.
const MOST_CORNERS: usize = 65536;

/// The largest probability, over all distributions for which the claim is false, that a two-class table ever
/// certifies: its error for a label fixed in advance.
///
/// The claim for a gap c = 2r/σ is false if some rival B has `Φ⁻¹(p_A) - Φ⁻¹(p_B) < c`. The table sees the
/// strongest of all rivals, which has at least the votes of this one. As its region is a down-set, more votes
/// for A and fewer for B only help; so each such distribution with `p_B` between two neighbours b < b' of a
/// grid is dominated by the corner `(Φ(c + Φ⁻¹(b')), b)`, and those with `p_B > 1-τ` by the last corner.
/// Their number is `corners`. All rivals are dealt with at once, since certifying means beating each.
///
/// # Errors
/// [`StatsError::Table`] if the region is empty or no down-set, [`StatsError::OutOfRange`] for a gap that is
/// not positive, [`StatsError::Parameter`] for no corners or more than 65536.
pub fn verify_two_class_table(
    gap: f64,
    certify_at: &[Vec<usize>],
    corners: usize,
) -> Result<f64, StatsError> {
    check("gap", gap, gap > 0.0 && gap <= 16.0, "above 0 and at most 16")?;
    // Without corners nothing would be checked, and the largest of no errors is 0.
    if corners == 0 || corners > MOST_CORNERS {
        return Err(StatsError::Parameter { name: "corners", value: corners, range: "between 1 and 65536" });
    }
    check_down_set(certify_at)?;
    check_horizon(certify_at.iter().flatten().copied().max(), MOST_VOTES)?;
    let region = Region::new(certify_at);
    let errors = null_corners(gap, corners);
    // One by one: some laws take many times as long as others.
    let error = |(a, b)| region.certification_probability(a, b);
    Ok(errors.into_par_iter().with_max_len(1).map(error).reduce(|| 0.0, f64::max))
}

/// The corners `(p_A, p_B)` that dominate every null distribution of a gap.
pub(crate) fn null_corners(gap: f64, corners: usize) -> Vec<(f64, f64)> {
    let tau = normal_cdf(0.5 * gap);
    // 1 - τ from the other tail, which keeps its digits.
    let rest = normal_cdf(-0.5 * gap);
    let rival = |i: usize| rest * (i as f64 / corners as f64).powf(1.5);
    let edge = |i: usize| if i == corners { tau } else { normal_cdf(gap + normal_quantile(rival(i))) };
    (0..corners).map(|i| (edge(i + 1), rival(i))).collect()
}

/// Fewer dissents, or fewer of them for the rival, must never certify later.
fn check_down_set(certify_at: &[Vec<usize>]) -> Result<(), StatsError> {
    for (f, row) in certify_at.iter().enumerate() {
        if row.len() != f + 1 {
            return Err(StatsError::Table {
                fault: format!("row {f} has {} entries, not {}", row.len(), f + 1),
            });
        }
        for (b, &at) in row.iter().enumerate().filter(|&(_, &at)| at > 0) {
            let left = b.checked_sub(1).map(|b| row[b]);
            let above = f.checked_sub(1).filter(|&f| b <= f).map(|f| certify_at[f][b]);
            let diagonal = f.checked_sub(1).zip(b.checked_sub(1)).map(|(f, b)| certify_at[f][b]);
            let dominated =
                [left, above, diagonal].into_iter().flatten().all(|other| 0 < other && other <= at);
            if at < f || !dominated {
                return Err(StatsError::Table {
                    fault: format!("its region is no down-set at {f} dissents, {b} rival"),
                });
            }
        }
    }
    Ok(())
}

/// A bound on the probability that a ladder of two-class tables certifies anything false under a label rule.
///
/// # Errors
/// [`StatsError::Table`] if the proof does not apply to the tables, [`StatsError::NotExclusive`] for an open
/// vocabulary.
pub(crate) fn two_class_error(tables: &[TwoClassTable], label: LabelRule) -> Result<f64, StatsError> {
    let mut worst = 0.0_f64;
    for table in tables {
        check_horizon(table.certify_at.iter().flatten().copied().max(), table.n_max)?;
        worst = worst.max(verify_two_class_table(table.gap, &table.certify_at, CORNERS)?);
    }
    match (label, tables.first()) {
        (LabelRule::Open { .. }, _) => Err(StatsError::NotExclusive),
        (LabelRule::Leader, Some(lowest)) => Ok(worst + wrong_leader_bound(&lowest.certify_at)?),
        _ => Ok(worst),
    }
}

/// A bound on the probability that a label other than the most likely one is ever certified.
///
/// Such a label of probability q has a rival of at least q, so it is certified with probability at most g(q),
/// that of two equal labels; and the sum of g(q) over labels is at most the largest g(q)/q. On each interval
/// of a grid of q the quotient is at most g at (upper end, lower end) over the lower end. Below the grid it
/// rises with q: each term of g is a number of sequences times q^(S+B) (1-2q)^(F-B), with S ≥ 2 and few
/// enough dissents, which is checked.
pub(crate) fn wrong_leader_bound(certify_at: &[Vec<usize>]) -> Result<f64, StatsError> {
    const GRID: usize = 100;
    // Two finer steps, then GRID steps up to 1/2.
    let mut grid = vec![0.125 / GRID as f64, 0.25 / GRID as f64];
    grid.extend((1..=GRID).map(|i| 0.5 * i as f64 / GRID as f64));
    let lowest = grid[0];
    for (f, row) in certify_at.iter().enumerate() {
        for (b, &at) in row.iter().enumerate().filter(|&(_, &at)| at > 0) {
            let others = (at - f + b) as f64 - 1.0;
            if at - f < 2 || others * (1.0 - 2.0 * lowest) < 2.0 * (f - b) as f64 * lowest {
                return Err(StatsError::Table {
                    fault: format!(
                        "it certifies too few votes at {f} dissents for a label read off the votes"
                    ),
                });
            }
        }
    }
    let region = Region::new(certify_at);
    let quotient =
        |pair: &[f64]| region.certification_probability(pair[1], pair[0].min(1.0 - pair[1])) / pair[0];
    Ok(grid.par_windows(2).with_max_len(1).map(quotient).reduce(|| 0.0, f64::max))
}

/// The states of a two-class table that certify, in the order of their votes. They must be a down-set.
struct Region {
    /// (vote, F, B).
    states: Vec<(usize, usize, usize)>,
    /// How many B of each F certify.
    widths: Vec<usize>,
}

impl Region {
    fn new(certify_at: &[Vec<usize>]) -> Self {
        let mut states = Vec::new();
        let mut widths = Vec::new();
        for (f, row) in certify_at.iter().enumerate() {
            let before = states.len();
            states.extend(row.iter().enumerate().filter(|&(_, &at)| at > 0).map(|(b, &at)| (at, f, b)));
            widths.push(states.len() - before);
        }
        states.sort_unstable();
        Self { states, widths }
    }

    /// The probability that the table ever certifies a label of probability `p_a` against one rival of probability `p_b`, all other
    /// answers being different from one another.
    ///
    /// Follows the law of (F, B), dissents and votes of the rival, over the states of the region: in a down-set, a state can be
    /// entered only from states that certify too and no later. So what leaves the region never certifies, and each first
    /// certificate falls exactly on the vote of its state.
    fn certification_probability(&self, p_a: f64, p_b: f64) -> f64 {
        // As many places at once as the processor can take. Sums and products are rounded one by one whatever it is, so the
        // result is the same everywhere.
        Arch::new().dispatch(Follow { region: self, p_a, p_b })
    }
}

/// What a region certifies under one law. A type of its own, as a closure need not be compiled for the processor that it is
/// dispatched to.
struct Follow<'a> {
    region: &'a Region,
    p_a: f64,
    p_b: f64,
}

impl NullaryFnOnce for Follow<'_> {
    type Output = f64;

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it is compiled for each kind of processor")]
    fn call(self) -> f64 {
        let Self { region, p_a, p_b } = self;
        let p_rest = (1.0 - p_a - p_b).max(0.0);
        let mut rows: Vec<Row> = region.widths.iter().map(|&width| Row::new(width)).collect();
        let (Some(top), Some(&(last, ..))) = (rows.len().checked_sub(1), region.states.last()) else {
            return 0.0;
        };
        rows[0].begin();
        let mut due = region.states.iter().peekable();
        let mut certified = 0.0;
        let mut negligible = 0.0;
        let (mut low, mut high) = (0, 0);
        for t in 1..=last {
            high = (high + 1).min(top);
            for f in (low..=high).rev() {
                let (before, from) = rows.split_at_mut(f);
                negligible += from[0].step(before.last(), [p_a, p_b, p_rest]);
            }
            while let Some(&(_, f, b)) = due.next_if(|&&(at, _, _)| at == t) {
                certified += rows[f].take(b);
            }
            while high > low && rows[high].is_empty() {
                high -= 1;
            }
            while low < high && rows[low].is_empty() {
                low += 1;
            }
        }
        certified + negligible
    }
}

/// What a table does under one law.
#[cfg(test)]
pub(crate) fn certification_probability(certify_at: &[Vec<usize>], p_a: f64, p_b: f64) -> f64 {
    Region::new(certify_at).certification_probability(p_a, p_b)
}

/// P(F, B, not certified) of one F, for the B that can certify.
struct Row {
    /// That of B is in place B + 1; the first and the last stay 0.
    mass: Vec<f64>,
    /// The places that may hold anything but 0, from 1 on. The law is narrow: nearly all places hold nothing.
    from: usize,
    to: usize,
}

impl Row {
    fn new(width: usize) -> Self {
        Self { mass: vec![0.0; width + 2], from: 1, to: 1 }
    }

    /// Puts all probability on B = 0.
    fn begin(&mut self) {
        self.mass[1] = 1.0;
        self.to = 2;
    }

    fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Takes out what is certified with B.
    fn take(&mut self, b: usize) -> f64 {
        std::mem::take(&mut self.mass[b + 1]) + self.trim()
    }

    /// Gives up what is negligible at both ends, and returns it. What is between them may be as small: to look at each place would
    /// take longer than to go on with it.
    fn trim(&mut self) -> f64 {
        let mut negligible = 0.0;
        while self.from < self.to && self.mass[self.to - 1] < NEGLIGIBLE_STATE {
            self.to -= 1;
            negligible += std::mem::take(&mut self.mass[self.to]);
        }
        while self.from < self.to && self.mass[self.from] < NEGLIGIBLE_STATE {
            negligible += std::mem::take(&mut self.mass[self.from]);
            self.from += 1;
        }
        negligible
    }

    /// One vote: agreement keeps the state, a vote for the rival comes from (F-1, B-1), any other dissent from (F-1, B), where
    /// `parent` is the row of F-1 before the vote. Returns what was too small to keep.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it is compiled for each kind of processor")]
    fn step(&mut self, parent: Option<&Row>, [p_a, p_b, p_rest]: [f64; 3]) -> f64 {
        let Some(parent) = parent else {
            self.mass[self.from..self.to].iter_mut().for_each(|mass| *mass *= p_a);
            return self.trim();
        };
        if !parent.is_empty() {
            let end = self.mass.len() - 1;
            let (from, to) = (parent.from.min(end), (parent.to + 1).min(end));
            (self.from, self.to) =
                if self.is_empty() { (from, to) } else { (self.from.min(from), self.to.max(to)) };
        }
        let places = self.from..self.to;
        let from_rival = &parent.mass[places.start - 1..places.end - 1];
        let from_rest = &parent.mass[places.clone()];
        for ((mass, rival), rest) in self.mass[places].iter_mut().zip(from_rival).zip(from_rest) {
            *mass = p_a * *mass + p_b * rival + p_rest * rest;
        }
        self.trim()
    }
}
