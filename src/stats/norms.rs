//! Radii in other norms, from the same Gaussian votes or from other noise.

use super::error::{StatsError, check, check_probability};

/// Pixels of the largest picture for which an L0 radius is counted.
const MOST_PIXELS: usize = 100_000_000;

/// A norm ‖·‖_q in which a radius can be stated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Norm {
    /// ‖·‖₁, the sum of absolute differences.
    L1,
    /// ‖·‖₂.
    L2,
    /// ‖·‖_∞, the largest absolute difference.
    Linf,
    /// ‖·‖_q for any q ≥ 1.
    Lq(f64),
}

impl Norm {
    /// 1/q.
    fn inverse_order(self) -> Result<f64, StatsError> {
        match self {
            Self::L1 => Ok(1.0),
            Self::L2 => Ok(0.5),
            Self::Linf => Ok(0.0),
            Self::Lq(q) => Ok(check("order of the norm", q, q >= 1.0, "at least 1")?.recip()),
        }
    }
}

/// The radius in another norm that an L2 radius implies in `dimensions` d, by the inequalities between norms:
/// R for q ≤ 2, R d^(1/q - 1/2) for q > 2, so R/√d for ‖·‖_∞.
///
/// # Errors
/// [`StatsError::OutOfRange`] for a negative radius or an order below 1, [`StatsError::Parameter`] for d = 0.
pub fn radius_from_l2(radius_l2: f64, dimensions: usize, norm: Norm) -> Result<f64, StatsError> {
    check("radius", radius_l2, radius_l2 >= 0.0, "at least 0")?;
    check_dimensions(dimensions)?;
    let exponent = norm.inverse_order()? - 0.5;
    Ok(if exponent >= 0.0 { radius_l2 } else { radius_l2 * (dimensions as f64).powf(exponent) })
}

/// The L1 radius for Laplace noise of scale λ a coordinate, from one bound: `-λ ln(2(1 - p_A))` (Teng et al.
/// 2020; Yang et al. 2020); 0 for `p_A ≤ 1/2`.
///
/// # Errors
/// [`StatsError::OutOfRange`] for a probability outside [0, 1] or a scale that is not positive and finite.
pub fn radius_l1_laplace(p_lower: f64, lambda: f64) -> Result<f64, StatsError> {
    check_probability("p_lower", p_lower)?;
    check_scale(lambda)?;
    Ok(if p_lower > 0.5 { -lambda * (2.0 * (1.0 - p_lower)).ln() } else { 0.0 })
}

/// The L1 radius for Laplace noise of scale λ a coordinate, from two bounds:
/// `max(λ/2 ln(p_A/p_B), -λ ln(1 - p_A + p_B))` (Lecuyer et al. 2019; Teng et al. 2020); 0 for `p_A ≤ p_B`.
///
/// # Errors
/// As [`radius_l1_laplace`].
pub fn radius_l1_laplace_two_class(p_a_lower: f64, p_b_upper: f64, lambda: f64) -> Result<f64, StatsError> {
    check_probability("p_a_lower", p_a_lower)?;
    check_probability("p_b_upper", p_b_upper)?;
    check_scale(lambda)?;
    if p_a_lower <= p_b_upper {
        return Ok(0.0);
    }
    let ratio = 0.5 * lambda * (p_a_lower / p_b_upper).ln();
    let gap = -lambda * (1.0 - p_a_lower + p_b_upper).ln();
    Ok(ratio.max(gap))
}

/// The L1 radius for uniform noise on [-λ, λ]: `2 λ (p_A - 1/2)` (Lee et al. 2019; Yang et al. 2020); 0 for
/// `p_A ≤ 1/2`.
///
/// # Errors
/// As [`radius_l1_laplace`].
pub fn radius_l1_uniform(p_lower: f64, lambda: f64) -> Result<f64, StatsError> {
    check_probability("p_lower", p_lower)?;
    check_scale(lambda)?;
    Ok(2.0 * lambda * (p_lower - 0.5).max(0.0))
}

/// The L∞ radius for uniform noise on [-λ, λ] in d dimensions: `2 λ (1 - (3/2 - p_A)^(1/d))` (Yang et al.
/// 2020); 0 for `p_A ≤ 1/2`.
///
/// # Errors
/// As [`radius_l1_laplace`], and [`StatsError::Parameter`] for d = 0.
pub fn radius_linf_uniform(p_lower: f64, lambda: f64, dimensions: usize) -> Result<f64, StatsError> {
    check_probability("p_lower", p_lower)?;
    check_scale(lambda)?;
    check_dimensions(dimensions)?;
    if p_lower <= 0.5 {
        return Ok(0.0);
    }
    Ok(-2.0 * lambda * ((1.5 - p_lower).ln() / dimensions as f64).exp_m1())
}

/// The number of pixels that may change when each vote sees only `kept` of `pixels` (randomised ablation,
/// Levine and Feizi 2020, theorem 1): the largest ρ with `p_A - (1 - C(d-ρ, k)/C(d, k)) > 1/2`.
///
/// The votes must have been cast on ablated pictures: Gaussian votes certify nothing in L0.
///
/// # Errors
/// [`StatsError::OutOfRange`] for a probability outside [0, 1], [`StatsError::Parameter`] unless
/// 1 ≤ `kept` ≤ `pixels` ≤ 10⁸.
pub fn radius_l0_ablation(p_lower: f64, pixels: usize, kept: usize) -> Result<usize, StatsError> {
    check_probability("p_lower", p_lower)?;
    if kept == 0 || kept > pixels {
        return Err(StatsError::Parameter {
            name: "kept",
            value: kept,
            range: "between 1 and the number of pixels",
        });
    }
    if pixels > MOST_PIXELS {
        return Err(StatsError::Parameter { name: "pixels", value: pixels, range: "at most 100000000" });
    }
    // C(d-ρ, k)/C(d, k) as a running product; each factor is at most 1 and errs by half a unit in the last
    // place.
    let mut untouched = 1.0;
    let mut changed = 0;
    while changed < pixels - kept {
        untouched *= (pixels - changed - kept) as f64 / (pixels - changed) as f64;
        let safe = untouched * (1.0 - f64::EPSILON * (changed + 1) as f64);
        if p_lower - (1.0 - safe) <= 0.5 {
            break;
        }
        changed += 1;
    }
    Ok(changed)
}

fn check_scale(lambda: f64) -> Result<f64, StatsError> {
    check("lambda", lambda, lambda > 0.0 && lambda.is_finite(), "positive and finite")
}

fn check_dimensions(dimensions: usize) -> Result<(), StatsError> {
    if dimensions > 0 {
        return Ok(());
    }
    Err(StatsError::Parameter { name: "dimensions", value: 0, range: "at least 1" })
}
