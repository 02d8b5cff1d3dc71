//! From bounds on probabilities to the L2 radius of a certificate with Gaussian noise.

use super::bounds::last_double;
use super::error::{StatsError, check, check_probability, check_sigma};
use super::normal::{normal_cdf, normal_quantile};

/// Radii are reported with this many decimals.
const RADIUS_DIGITS: i32 = 6;

/// The largest k of a top-k question.
pub(crate) const MOST_LABELS: usize = 1000;

/// Relative error granted to a computed radius before it is rounded down for a report.
const RADIUS_ERROR: f64 = 1e-12;

/// The L2 radius from one bound: `σ Φ⁻¹(p_A)`, 0 for `p_A ≤ 1/2` (Cohen et al. 2019, theorem 1 with
/// `p_B = 1 - p_A`).
///
/// `p_lower` is a lower bound on the probability of the top label in [0, 1]; σ and the radius share a unit.
/// Infinite for `p_lower = 1`, which no finite number of votes gives.
///
/// # Errors
/// [`StatsError::OutOfRange`] for a probability outside [0, 1] or a σ that is not positive and finite.
pub fn radius_l2(p_lower: f64, sigma: f64) -> Result<f64, StatsError> {
    check_probability("p_lower", p_lower)?;
    check_sigma(sigma)?;
    Ok(if p_lower > 0.5 { sigma * normal_quantile(p_lower) } else { 0.0 })
}

/// The L2 radius from two bounds: `σ/2 (Φ⁻¹(p_A) - Φ⁻¹(p_B))` (Cohen et al. 2019, theorem 1).
///
/// `p_a_lower` bounds the top label from below, `p_b_upper` its strongest rival from above; the latter is
/// first capped at `1 - p_a_lower`. 0 if the bounds do not separate the two.
///
/// # Errors
/// As [`radius_l2`].
pub fn radius_l2_two_class(p_a_lower: f64, p_b_upper: f64, sigma: f64) -> Result<f64, StatsError> {
    check_probability("p_a_lower", p_a_lower)?;
    check_probability("p_b_upper", p_b_upper)?;
    check_sigma(sigma)?;
    let rival = p_b_upper.min(1.0 - p_a_lower);
    if p_a_lower <= rival {
        return Ok(0.0);
    }
    Ok(0.5 * sigma * (normal_quantile(p_a_lower) - normal_quantile(rival)))
}

/// The L2 radius within which a label stays among the k most likely top-1 labels (Jia et al. 2020, theorem
/// 1).
///
/// `p_lower` bounds the label from below, `others_upper` the k most likely other labels from above (any
/// order; more are allowed, fewer mean that the rest have probability 0). The result is the largest R with
/// `Φ(Φ⁻¹(p_l) - R/σ) ≥ Φ(Φ⁻¹(S_t) + R/σ)/t` for some t ≤ k, where `S_t` is the sum of the t smallest of the
/// k largest bounds, at most `1 - p_l`. 0 if no such R is positive.
///
/// # Errors
/// As [`radius_l2`], and [`StatsError::Parameter`] unless 1 ≤ k ≤ 1000.
pub fn radius_topk(p_lower: f64, others_upper: &[f64], k: usize, sigma: f64) -> Result<f64, StatsError> {
    check_probability("p_lower", p_lower)?;
    check_sigma(sigma)?;
    for &p in others_upper {
        check_probability("others_upper", p)?;
    }
    if k == 0 || k > MOST_LABELS {
        return Err(StatsError::Parameter { name: "k", value: k, range: "between 1 and 1000" });
    }
    let radius = |(t, sum): (usize, f64)| topk_radius(p_lower, sum, t as f64);
    Ok(sigma * topk_sums(p_lower, others_upper, k).into_iter().map(radius).fold(0.0, f64::max))
}

/// Whether [`radius_topk`] of these bounds is positive.
pub(crate) fn is_topk(p_lower: f64, others_upper: &[f64], k: usize) -> bool {
    topk_sums(p_lower, others_upper, k).into_iter().any(|(t, sum)| p_lower > sum / t as f64)
}

/// t and `S_t`, for t = 1..=k.
fn topk_sums(p_lower: f64, others_upper: &[f64], k: usize) -> Vec<(usize, f64)> {
    let rest = 1.0 - p_lower;
    let mut others: Vec<f64> = others_upper.iter().map(|&p| p.min(rest)).collect();
    others.sort_by(|a, b| b.total_cmp(a));
    others.resize(k, 0.0);
    let sums = others.iter().rev().scan(0.0, |sum, p| {
        *sum += p;
        Some(f64::min(*sum, rest))
    });
    (1..).zip(sums).collect()
}

/// R/σ of [`radius_topk`] for one t and its sum.
fn topk_radius(p_lower: f64, sum: f64, t: f64) -> f64 {
    if p_lower <= sum / t {
        return 0.0;
    }
    if sum <= 0.0 {
        return f64::INFINITY;
    }
    let (a, s) = (normal_quantile(p_lower), normal_quantile(sum));
    // The left side falls and the right side rises with R. At the upper end the left side is Φ(-40) or less,
    // which is 0 in doubles, and the right side is 1/t.
    let holds = |r: f64| normal_cdf(a - r) >= normal_cdf(s + r) / t;
    last_double(0.0, a.abs() + s.abs() + 40.0, holds)
}

/// The radius in the space of the original picture, from the radius at the working resolution, when the
/// working picture was made by a linear resize of operator norm ‖A‖₂: max(0, R - 2 e)/‖A‖₂.
///
/// `rounding_l2` = e bounds the L2 effect of any rounding between the resize and the noise, ½ step √d for a
/// grid of that step; it counts twice, for the picture and for the perturbed one.
///
/// # Errors
/// [`StatsError::OutOfRange`] for a negative radius or rounding, or an operator norm that is not positive and
/// finite.
pub fn radius_original_space(radius: f64, operator_norm: f64, rounding_l2: f64) -> Result<f64, StatsError> {
    check("radius", radius, radius >= 0.0, "at least 0")?;
    check(
        "operator norm",
        operator_norm,
        operator_norm > 0.0 && operator_norm.is_finite(),
        "positive and finite",
    )?;
    check("rounding_l2", rounding_l2, rounding_l2 >= 0.0, "at least 0")?;
    Ok((radius - 2.0 * rounding_l2).max(0.0) / operator_norm)
}

/// `x` rounded down to 6 decimals, as radii are reported. The result is never above `x`.
pub fn round_down(x: f64) -> f64 {
    let scale = 10_f64.powi(RADIUS_DIGITS);
    let mut units = (x * scale).floor();
    // The product may have been rounded up to the next integer.
    if units / scale > x {
        units -= 1.0;
    }
    if units.is_finite() { units / scale } else { x }
}

/// A computed radius as it is reported: its numerical error taken off, then [`round_down`].
pub(crate) fn report(radius: f64) -> f64 {
    round_down(radius * (1.0 - RADIUS_ERROR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contract_07_a_reported_radius_is_never_above_the_computed_one() {
        let mut x = 1e-7_f64;
        while x < 50.0 {
            for y in [
                x,
                x.next_up(),
                x.next_down(),
                (x * 1e6).round() / 1e6,
                ((x * 1e6).round() / 1e6).next_down(),
            ] {
                let rounded = round_down(y);
                assert!(rounded <= y && y - rounded < 1.001e-6, "{y} became {rounded}");
                assert!(report(y) <= rounded);
            }
            x *= 1.000_37;
        }
        assert!(round_down(f64::INFINITY).is_infinite() && round_down(f64::NAN).is_nan());
    }
}
