//! Independent checks of the tables: the whole proof that a table keeps its level.
//!
//! A table is data. Where it came from (this program's builder, a cache, another program) does not matter: it
//! is sound if the probability that it ever certifies a false claim, computed here, is at most α. The
//! algorithms differ from the builder's on purpose: the one-bound check goes through the dissents instead of
//! the votes, and the two-class check ([`super::verify_two_class`]) follows every null distribution separately over the full
//! plane of states.

use super::error::{StatsError, check};
use super::label::LabelRule;
use super::one_bound::{MOST_VOTES, OneBoundTable};

/// Probabilities below this are taken out of a computation and added to its result.
const NEGLIGIBLE: f64 = 1e-40;

/// Relative error granted to the sums of the checks.
const SUM_ERROR: f64 = 1e-10;

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

pub(super) fn check_horizon(last: Option<usize>, n_max: usize) -> Result<(), StatsError> {
    if last.is_some_and(|last| 0 < last && last <= n_max) {
        return Ok(());
    }
    Err(StatsError::Table { fault: "it certifies never, or after its last vote".to_owned() })
}

/// Whether an error computed here is surely at most α.
pub(crate) fn keeps_level(error: f64, alpha: f64) -> bool {
    error * (1.0 + SUM_ERROR) <= alpha
}
