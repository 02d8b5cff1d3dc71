//! Independent checks of the tables: the whole proof that a table keeps its level.
//!
//! A table is data. Where it came from (this program's builder, a cache, another program) does not matter: it
//! is sound if the probability that it ever certifies a false claim, computed here, is at most α. The
//! algorithms differ from the builder's on purpose: the one-bound check goes through the dissents instead of
//! the votes, and the two-class check follows every null distribution separately over the full plane of
//! states.

use rayon::prelude::*;

use super::error::{StatsError, check};
use super::label::LabelRule;
use super::normal::{normal_cdf, normal_quantile};
use super::one_bound::{MOST_VOTES, OneBoundTable};
use super::two_class::TwoClassTable;

/// Probabilities below this are taken out of a computation and added to its result.
const NEGLIGIBLE: f64 = 1e-40;

/// The same where there are two counts, and so many more states: of 10⁷ states over 10⁴ votes all together are below 10⁻¹⁹.
const NEGLIGIBLE_STATE: f64 = 1e-30;

/// Relative error granted to the sums of this file.
const SUM_ERROR: f64 = 1e-10;

/// Null distributions at which a two-class table is checked.
pub(crate) const CORNERS: usize = 128;

/// The finest grid of null distributions that can be asked for.
const MOST_CORNERS: usize = 65536;

/// The probability that a one-bound table ever certifies a label of probability τ.
///
/// That is its error for a label fixed in advance: a label of lower probability is certified less often,
/// because turning a dissent into an agreement never destroys a certificate.
///
/// # Errors
/// [`StatsError::OutOfRange`] for τ outside [0, 1], [`StatsError::Table`] if the votes do not increase
/// or there are none.
pub fn verify_table(tau: f64, certify_at: &[usize]) -> Result<f64, StatsError> {
    check("tau", tau, (0.0..=1.0).contains(&tau), "a probability between 0 and 1")?;
    let increasing = certify_at.windows(2).all(|pair| pair[0] < pair[1]) && certify_at.first() != Some(&0);
    if !increasing {
        return Err(StatsError::Table {
            fault: "the votes at which it certifies do not increase".to_owned(),
        });
    }
    check_horizon(certify_at.last().copied(), MOST_VOTES)?;
    Ok(hit_probability(tau, certify_at))
}

/// The probability that a label of probability p is certified at all.
///
/// Let a(j) be the vote at which j dissents certify, and g(j, t) the probability that dissent j falls on vote
/// t and no certificate came before. Then `g(j+1, t) = (1-p) Σ_u g(j, u) p^(t-1-u)`, u < t, for t ≤ a(j), and
/// `Σ_u g(j, u) p^(a(j)-u)` is the probability of being certified with exactly j dissents.
fn hit_probability(p: f64, certify_at: &[usize]) -> f64 {
    let mut hit = 0.0;
    let mut negligible = 0.0;
    // g_j on the votes start, start + 1, …; before the first dissent, all mass is on vote 0.
    let mut start = 0;
    let mut law = vec![1.0];
    let mut next = Vec::new();
    for &at in certify_at {
        next.clear();
        let mut reach = 0.0;
        let mut next_start = start + 1;
        for t in start..=at {
            // `reach` is the probability that vote t is cast with this many dissents, all before vote t.
            if t > start {
                let mass = (1.0 - p) * reach;
                if mass >= NEGLIGIBLE {
                    next.push(mass);
                } else if next.is_empty() {
                    negligible += mass;
                    next_start = t + 1;
                } else {
                    next.push(0.0);
                    negligible += mass;
                }
                reach *= p;
                if reach < NEGLIGIBLE && t - start >= law.len() {
                    negligible += reach;
                    reach = 0.0;
                    break;
                }
            }
            reach += law.get(t - start).copied().unwrap_or(0.0);
        }
        hit += reach;
        start = next_start;
        next.truncate(next.iter().rposition(|&mass| mass > 0.0).map_or(0, |last| last + 1));
        std::mem::swap(&mut law, &mut next);
    }
    hit + negligible
}

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
    let errors = null_corners(gap, corners);
    Ok(errors
        .into_par_iter()
        .map(|(a, b)| certification_probability(certify_at, a, b))
        .reduce(|| 0.0, f64::max))
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

/// The probability that a two-class table ever certifies a label of probability `p_a` against one rival of
/// probability `p_b`, all other answers being different from one another. The region must be a down-set.
///
/// Follows the law of (F, B), dissents and votes of the rival, over the states of the region: in a down-set,
/// a state can be entered only from states that certify too and no later. So what leaves the region never
/// certifies, and each first certificate falls exactly on the vote of its state.
pub(crate) fn certification_probability(certify_at: &[Vec<usize>], p_a: f64, p_b: f64) -> f64 {
    let p_rest = (1.0 - p_a - p_b).max(0.0);
    let mut states: Vec<(usize, usize, usize)> = Vec::new();
    let mut rows: Vec<Row> = Vec::new();
    for (f, row) in certify_at.iter().enumerate() {
        let before = states.len();
        states.extend(row.iter().enumerate().filter(|&(_, &at)| at > 0).map(|(b, &at)| (at, f, b)));
        rows.push(Row::new(states.len() - before));
    }
    let Some(top) = certify_at.len().checked_sub(1) else { return 0.0 };
    states.sort_unstable();
    let last = states.last().map_or(0, |&(at, _, _)| at);
    rows[0].begin();
    let mut due = states.into_iter().peekable();
    let mut certified = 0.0;
    let mut negligible = 0.0;
    let (mut low, mut high) = (0, 0);
    for t in 1..=last {
        high = (high + 1).min(top);
        for f in (low..=high).rev() {
            let (before, from) = rows.split_at_mut(f);
            negligible += from[0].step(before.last(), [p_a, p_b, p_rest]);
        }
        while let Some((_, f, b)) = due.next_if(|&(at, _, _)| at == t) {
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
        let taken = std::mem::take(&mut self.mass[b + 1]);
        self.trim();
        taken
    }

    fn trim(&mut self) {
        while self.from < self.to && self.mass[self.to - 1] == 0.0 {
            self.to -= 1;
        }
        while self.from < self.to && self.mass[self.from] == 0.0 {
            self.from += 1;
        }
    }

    /// One vote: agreement keeps the state, a vote for the rival comes from (F-1, B-1), any other dissent from (F-1, B), where
    /// `parent` is the row of F-1 before the vote. Returns what was too small to keep.
    fn step(&mut self, parent: Option<&Row>, [p_a, p_b, p_rest]: [f64; 3]) -> f64 {
        let Some(parent) = parent else {
            self.mass[self.from..self.to].iter_mut().for_each(|mass| *mass *= p_a);
            return 0.0;
        };
        if !parent.is_empty() {
            let end = self.mass.len() - 1;
            let (from, to) = (parent.from.min(end), (parent.to + 1).min(end));
            (self.from, self.to) =
                if self.is_empty() { (from, to) } else { (self.from.min(from), self.to.max(to)) };
        }
        let mut negligible = 0.0;
        let places = self.from..self.to;
        let from_rival = &parent.mass[places.start - 1..places.end - 1];
        let from_rest = &parent.mass[places.clone()];
        for ((mass, rival), rest) in self.mass[places].iter_mut().zip(from_rival).zip(from_rest) {
            let sum = p_a * *mass + p_b * rival + p_rest * rest;
            let kept = if sum >= NEGLIGIBLE_STATE { sum } else { 0.0 };
            negligible += sum - kept;
            *mass = kept;
        }
        self.trim();
        negligible
    }
}

/// The probability that a ladder of one-bound tables, one a radius and in rising order, certifies anything
/// false under a label rule.
///
/// # Errors
/// [`StatsError::Table`] if the proof does not apply to the tables.
pub(crate) fn one_bound_error(tables: &[OneBoundTable], label: LabelRule) -> Result<f64, StatsError> {
    let mut worst = 0.0_f64;
    for table in tables {
        check_horizon(table.certify_at.last().copied(), table.n_max)?;
        let error = verify_table(table.tau, &table.certify_at)?;
        worst = worst.max(match label {
            LabelRule::Fixed | LabelRule::Leader => error,
            // A label of probability p below τ is certified with probability at most (p/τ) times this one.
            LabelRule::Open { max_labels } => error * max_labels as f64 / table.tau,
        });
        if label != LabelRule::Fixed {
            check_convex(table)?;
        }
    }
    match (label, tables.first()) {
        // All labels that are not the most likely one together, at the worst split of the rest of the
        // probability.
        (LabelRule::Leader, Some(lowest)) => {
            Ok(worst + hit_probability(1.0 - lowest.tau, &lowest.certify_at))
        }
        _ => Ok(worst),
    }
}

/// Whether the probability of certifying a label is convex in its probability p on [0, τ].
///
/// Then the sum of it over all labels whose claims are false is largest at an extreme point of the possible
/// p: one label at τ, one at 1-τ, the others at 0. And it is at most (p/τ) times that at τ. The probability
/// is the sum over j of a number of sequences times p^(a-j) (1-p)^j, with a the vote at which j dissents
/// certify; such a term is convex where (a-1)(q-p)² ≥ q(1-q), q = 1-j/a.
fn check_convex(table: &OneBoundTable) -> Result<(), StatsError> {
    for (dissent, &at) in table.certify_at.iter().enumerate() {
        let votes = at as f64;
        let share = 1.0 - dissent as f64 / votes;
        let apart = share > table.tau && (votes - 1.0) * (share - table.tau).powi(2) >= share * (1.0 - share);
        if !apart {
            return Err(StatsError::Table {
                fault: format!(
                    "it certifies {dissent} dissents at vote {at}, too close to τ for a label read off the votes"
                ),
            });
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

fn check_horizon(last: Option<usize>, n_max: usize) -> Result<(), StatsError> {
    if last.is_some_and(|last| 0 < last && last <= n_max) {
        return Ok(());
    }
    Err(StatsError::Table { fault: "it certifies never, or after its last vote".to_owned() })
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
    let quotient =
        |pair: &[f64]| certification_probability(certify_at, pair[1], pair[0].min(1.0 - pair[1])) / pair[0];
    Ok(grid.par_windows(2).map(quotient).reduce(|| 0.0, f64::max))
}

/// Whether an error computed here is surely at most α.
pub(crate) fn keeps_level(error: f64, alpha: f64) -> bool {
    error * (1.0 + SUM_ERROR) <= alpha
}
