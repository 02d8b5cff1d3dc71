//! One-sided confidence bounds on a probability, and what a number of votes can reach at best.

use super::binomial::{TAIL_ERROR, binom_sf};
use super::error::{StatsError, check, check_alpha, check_counts, check_sigma};
use super::normal::normal_cdf;
use super::radius::{radius_l2, report};

/// The one-sided Clopper-Pearson lower bound: the largest p with P(Bin(n, p) ≥ k) ≤ α (Clopper and Pearson
/// 1934; `LowerConfBound` of Cohen et al. 2019, algorithm CERTIFY).
///
/// True probability of agreement ≥ the result with probability ≥ 1-α. `agree` = k of `votes` = n; α in (0,
/// 1). The result is rounded down: the tail at it, with every numerical error granted, is at most α.
///
/// # Errors
/// [`StatsError::Counts`] for impossible counts, [`StatsError::OutOfRange`] for α outside (0, 1).
pub fn cp_lower(agree: usize, votes: usize, alpha: f64) -> Result<f64, StatsError> {
    check_counts(agree, votes)?;
    Ok(lower_bound(agree, votes, check_alpha(alpha)?))
}

/// The one-sided Clopper-Pearson upper bound: the smallest p with P(Bin(n, p) ≤ k) ≤ α, rounded up.
///
/// # Errors
/// As [`cp_lower`].
pub fn cp_upper(agree: usize, votes: usize, alpha: f64) -> Result<f64, StatsError> {
    check_counts(agree, votes)?;
    Ok(upper_bound(agree, votes, check_alpha(alpha)?))
}

/// [`cp_lower`] for arguments already checked.
pub(crate) fn lower_bound(agree: usize, votes: usize, alpha: f64) -> f64 {
    let level = alpha * (1.0 - TAIL_ERROR);
    if agree == 0 {
        return 0.0;
    }
    if agree < votes {
        return last_double(0.0, 1.0, |p| binom_sf(agree, votes, p) <= level);
    }
    // Unanimous: pⁿ = α has a closed form. Its last digit may err upwards, so the power is checked.
    let n = votes as f64;
    let mut p = (level.ln() / n).exp().min(1.0);
    while p > 0.0 && (n * p.ln()).exp() > alpha {
        p = p.next_down();
    }
    p
}

/// [`cp_upper`] for arguments already checked.
pub(crate) fn upper_bound(agree: usize, votes: usize, alpha: f64) -> f64 {
    (1.0 - lower_bound(votes - agree, votes, alpha)).next_up().min(1.0)
}

/// Bracketed bisection over the doubles themselves: the last one in [lo, hi) at which `holds` is true.
///
/// `holds` is taken to be true at `lo` and false at `hi`, both at least 0. The order of non-negative doubles
/// is that of their bits, so at most 63 steps end at neighbours, however small the answer is: no tolerance,
/// no hang.
pub(crate) fn last_double(lo: f64, hi: f64, holds: impl Fn(f64) -> bool) -> f64 {
    let (mut lo, mut hi) = (lo.to_bits(), hi.to_bits());
    while hi > lo && hi - lo > 1 {
        let middle = lo + (hi - lo) / 2;
        if holds(f64::from_bits(middle)) {
            lo = middle;
        } else {
            hi = middle;
        }
    }
    f64::from_bits(lo)
}

/// The first of the counts in lo..=hi at which `holds` is true, `hi + 1` if none; `holds` must not turn false
/// again.
pub(crate) fn first_count(lo: usize, hi: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut lo, mut hi) = (lo, hi + 1);
    while lo < hi {
        let middle = lo + (hi - lo) / 2;
        if holds(middle) {
            hi = middle;
        } else {
            lo = middle + 1;
        }
    }
    lo
}

/// τ = Φ(r/σ): the probability that the top label must reach for an L2 radius of r (Cohen et al. 2019,
/// theorem 1 with `p_B = 1 - p_A`). r = 0 asks for the majority, τ = 1/2.
///
/// # Errors
/// [`StatsError::OutOfRange`] unless 0 ≤ r < ∞ and 0 < σ < ∞.
pub fn tau_for_radius(radius: f64, sigma: f64) -> Result<f64, StatsError> {
    check("radius", radius, radius >= 0.0 && radius.is_finite(), "at least 0 and finite")?;
    Ok(normal_cdf(radius / check_sigma(sigma)?))
}

/// The fewest votes that can certify "p ≥ τ" at level α: the smallest n with τⁿ ≤ α, where all n agree.
///
/// For τ = 1/2, where only p > 1/2 is worth a certificate, it is the smallest n whose lower bound exceeds
/// 1/2. τ in [1/2, 1), α in (0, 1).
///
/// # Errors
/// [`StatsError::OutOfRange`] for τ or α out of range.
pub fn fewest_votes(tau: f64, alpha: f64) -> Result<usize, StatsError> {
    check_alpha(alpha)?;
    check("tau", tau, (0.5..1.0).contains(&tau), "at least 1/2 and below 1")?;
    let enough = |n: usize| {
        let bound = lower_bound(n, n, alpha);
        if tau > 0.5 { bound >= tau } else { bound > 0.5 }
    };
    // ln α / ln τ is right up to rounding and the guard on the tail: the answer is next to it.
    let estimate = (alpha.ln() / tau.ln()).ceil() as usize;
    Ok(first_count(estimate.saturating_sub(1).max(1), estimate.saturating_add(2), enough))
}

/// The largest L2 radius that n votes can certify at level α, which takes unanimity: σ Φ⁻¹(α^(1/n)), rounded
/// down to 6 digits; 0 if n votes can certify nothing.
///
/// # Errors
/// As [`cp_lower`], and [`StatsError::OutOfRange`] for a σ that is not positive and finite.
pub fn largest_radius(votes: usize, sigma: f64, alpha: f64) -> Result<f64, StatsError> {
    let p_lower = cp_lower(votes, votes, alpha)?;
    Ok(report(radius_l2(p_lower, sigma)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contract_07_bounds_round_towards_safety_and_are_rechecked() {
        for n in [1, 2, 7, 100, 1000, 100_000, 1_000_000] {
            for k in [1, n / 3, n / 2, n - n / 10, n - 1, n].into_iter().filter(|&k| k > 0) {
                for alpha in [1e-300, 1e-12, 0.001, 0.05, 0.5, 0.999] {
                    let lower = cp_lower(k, n, alpha).unwrap();
                    assert!(binom_sf(k, n, lower) <= alpha, "tail above alpha at {k}/{n}, {alpha}");
                    // Rounded down, but by no more than a few parts in 10⁹ of alpha.
                    let above = lower * (1.0 + 1e-9);
                    assert!(
                        above >= 1.0 || binom_sf(k, n, above) > alpha * (1.0 - 1e-9),
                        "{k}/{n} at {alpha}"
                    );
                    assert!(cp_upper(n - k, n, alpha).unwrap() >= 1.0 - lower);
                }
            }
        }
    }

    #[test]
    fn the_fewest_votes_reach_the_claim_and_one_less_does_not() {
        for (tau, alpha, votes) in
            [(0.5, 0.001, 10), (0.841_344_746_068_542_9, 0.001, 40), (0.5, 0.5, 2), (0.5, 0.25, 3)]
        {
            assert_eq!(fewest_votes(tau, alpha), Ok(votes));
        }
        for tau in [0.5, 0.6, 0.9, 0.999, 1.0 - 1e-6] {
            for alpha in [1e-300, 1e-9, 0.001, 0.05, 0.9999] {
                let n = fewest_votes(tau, alpha).unwrap();
                let reaches = |n: usize| cp_lower(n, n, alpha).is_ok_and(|p| p >= tau && p > 0.5);
                assert!(reaches(n) && (n == 1 || !reaches(n - 1)), "{n} for {tau}, {alpha}");
            }
        }
    }
}
