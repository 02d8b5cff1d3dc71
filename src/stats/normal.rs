//! The standard normal distribution: Φ and Φ⁻¹.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

/// Φ(z), the standard normal distribution function, with a relative error below 1e-14 for z ≥ -37.
///
/// Total: Φ(-∞) = 0, Φ(∞) = 1, Φ(NaN) = NaN; below about -38.5 the value underflows to 0.
pub fn normal_cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-z * FRAC_1_SQRT_2)
}

/// Φ⁻¹(p), the standard normal quantile, with an error below 1e-14 max(1, |z|) for p ≥ 1e-300.
///
/// Total: Φ⁻¹(0) = -∞, Φ⁻¹(1) = ∞, and NaN for NaN and for any p outside [0, 1].
pub fn normal_quantile(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    // The lower tail keeps the relative precision of p; 1 - p is exact for p >= 1/2.
    if p > 0.5 { -lower_quantile(1.0 - p) } else { lower_quantile(p) }
}

/// Φ⁻¹(p) for p in [0, 1/2]: a start within 4.5e-4 (Abramowitz and Stegun 26.2.23), then Halley's method on
/// Φ, which triples the digits with each step.
fn lower_quantile(p: f64) -> f64 {
    if p == 0.0 {
        return f64::NEG_INFINITY;
    }
    let t = (-2.0 * p.ln()).sqrt();
    let numerator = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let denominator = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    let mut z = numerator / denominator - t;
    for _ in 0..3 {
        let density = (-0.5 * z * z).exp() / TAU.sqrt();
        let step = (normal_cdf(z) - p) / density;
        z -= step / (1.0 + 0.5 * z * step);
    }
    z
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_inverts_the_distribution_function() {
        let mut z = -37.0;
        while z < 8.0 {
            let p = normal_cdf(z);
            // Near 1 the probability itself no longer tells neighbouring z apart.
            let resolution = f64::EPSILON * p / ((-0.5 * z * z).exp() / TAU.sqrt());
            let back = normal_quantile(p);
            assert!(
                (back - z).abs() <= 1e-13 * z.abs().max(1.0) + 4.0 * resolution,
                "{z} came back as {back}"
            );
            z += 0.01;
        }
    }

    #[test]
    fn the_ends_and_nonsense_have_documented_values() {
        assert_eq!(
            (normal_cdf(f64::NEG_INFINITY), normal_cdf(f64::INFINITY), normal_cdf(0.0)),
            (0.0, 1.0, 0.5)
        );
        assert_eq!((normal_quantile(0.0), normal_quantile(1.0)), (f64::NEG_INFINITY, f64::INFINITY));
        assert!(normal_quantile(0.5).abs() < 1e-15);
        for nonsense in [f64::NAN, -1e-300, 1.0 + 1e-15, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(normal_quantile(nonsense).is_nan());
        }
        assert!(normal_cdf(f64::NAN).is_nan());
        for tiny in [f64::from_bits(1), 1e-310, f64::MIN_POSITIVE] {
            assert!((-39.0..-37.0).contains(&normal_quantile(tiny)));
        }
    }
}
