//! Binomial tails, which is to say the regularised incomplete beta function at integer arguments, and the
//! exact two-sided test of a fair coin.
//!
//! `P(Bin(n, p) ≥ k) = I_p(k, n-k+1)`. Every certificate rests on this one function, so it is written here,
//! to a relative error below 1e-12 for n up to 10⁶, instead of taken from a library whose precision falls
//! with n. The power term comes from Loader's saddle-point expansion, which does not subtract large
//! logarithms of factorials (C. Loader, "Fast and accurate computation of binomial probabilities", 2000); the
//! rest is the continued fraction of the incomplete beta function (DLMF 8.17.22), evaluated by the modified
//! Lentz method.

use std::f64::consts::PI;

use super::error::{StatsError, check_counts};

/// Up to this n the test of a fair coin is summed in integers: all 2ⁿ outcomes fit a `u128`.
const EXACT_COIN: usize = 127;

/// Relative error granted to [`binom_sf`], with a factor of safety. Whoever needs a tail that is surely not
/// above a level compares with the level lowered by it.
pub(crate) const TAIL_ERROR: f64 = 4e-12;

/// P(Bin(n, p) ≥ k), the upper binomial tail, for p in [0, 1] (NaN gives NaN, other p are clamped).
///
/// 1 for k = 0 and 0 for k > n. Relative error below 1e-12 for n up to 10⁶.
pub fn binom_sf(k: usize, n: usize, p: f64) -> f64 {
    ln_binom_sf(k, n, p).exp()
}

/// ln P(Bin(n, p) ≥ k), which stays finite where the tail itself underflows.
pub fn ln_binom_sf(k: usize, n: usize, p: f64) -> f64 {
    if p.is_nan() {
        return f64::NAN;
    }
    if k == 0 {
        return 0.0;
    }
    if k > n || p <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if p >= 1.0 {
        return 0.0;
    }
    let (a, b) = (k as f64, (n - k + 1) as f64);
    if p * (a + b + 2.0) < a + 1.0 {
        ln_tail(k, n, p, 1.0 - p)
    } else {
        // The other tail is the one whose fraction converges: P(X >= k) = 1 - P(n - X >= n - k + 1).
        (-ln_tail(n - k + 1, n, 1.0 - p, p).exp()).ln_1p()
    }
}

/// ln P(Bin(n, p) ≥ k) for k ≥ 1 above the mean: the leading term, P(X = k) k q, over the continued fraction.
fn ln_tail(k: usize, n: usize, p: f64, q: f64) -> f64 {
    let agree = k as f64;
    ln_pmf(k, n, p, q) + (agree * q / beta_fraction(agree, (n - k + 1) as f64, p, q)).ln()
}

/// ln P(Bin(n, p) = k), q = 1 - p, for p and q strictly inside (0, 1) (Loader 2000, equation 1).
pub(crate) fn ln_pmf(k: usize, n: usize, p: f64, q: f64) -> f64 {
    let (x, m) = (k as f64, n as f64);
    if k == 0 {
        return m * ln_complement(p, q);
    }
    if k == n {
        return m * ln_complement(q, p);
    }
    let rest = m - x;
    let exponent = stirling_error(m)
        - stirling_error(x)
        - stirling_error(rest)
        - deviance(x, m * p)
        - deviance(rest, m * q);
    exponent + 0.5 * (m / (2.0 * PI * x * rest)).ln()
}

/// ln(1 - p) given q = 1 - p, from whichever of the two is small and so holds the digits.
fn ln_complement(p: f64, q: f64) -> f64 {
    if p < 0.5 { (-p).ln_1p() } else { q.ln() }
}

/// The error of Stirling's formula, ln n! - ((n + ½) ln n - n + ½ ln 2π).
fn stirling_error(n: f64) -> f64 {
    if n < 16.0 {
        let factorial: f64 = (2..=n as u32).map(f64::from).product();
        return factorial.ln() - ((n + 0.5) * n.ln() - n + 0.5 * (2.0 * PI).ln());
    }
    let s = (n * n).recip();
    let series = 1.0 / 12.0 - s * (1.0 / 360.0 - s * (1.0 / 1260.0 - s * (1.0 / 1680.0 - s / 1188.0)));
    series / n
}

/// x ln(x/m) + m - x, without cancellation where x is near m (Loader 2000, section 3).
fn deviance(x: f64, m: f64) -> f64 {
    let d = x - m;
    if d.abs() >= 0.1 * (x + m) {
        return x * (x / m).ln() - d;
    }
    let v = d / (x + m);
    let mut sum = d * v;
    let mut term = 2.0 * x * v;
    for j in 1..100_u32 {
        term *= v * v;
        let next = sum + term / f64::from(2 * j + 1);
        if next.to_bits() == sum.to_bits() {
            break;
        }
        sum = next;
    }
    sum
}

/// The denominator f of `I_x(a, b) = xᵃ yᵇ / (B(a, b) f)`, y = 1 - x, for x < (a+1)/(a+b+2): the even part of
/// the continued fraction DLMF 8.17.22 (Didonato and Morris 1992, section 4).
///
/// There all its terms are positive, so nothing cancels, and O(√max(a,b)) of them suffice.
fn beta_fraction(a: f64, b: f64, x: f64, y: f64) -> f64 {
    let excess = a * y - b * x + 1.0;
    let mut value = a * excess / (a + 1.0);
    // The modified Lentz method: c and d are the ratios of successive numerators and denominators.
    let (mut c, mut d) = (value, 0.0);
    let steps = (1000.0 + 20.0 * a.max(b).sqrt()).min(2e6) as u32;
    for m in (1..steps).map(f64::from) {
        let odd = a + 2.0 * m - 1.0;
        let numerator = m * (a + m - 1.0) / odd * ((a + b + m - 1.0) / odd) * (b - m) * x * x;
        let denominator =
            m + m * (b - m) * x / odd + (a + m) * (excess + m * (1.0 + y)) / (a + 2.0 * m + 1.0);
        d = (denominator + numerator * d).recip();
        c = denominator + numerator / c;
        let change = c * d;
        value *= change;
        if (change - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    value
}

/// The p-value of the exact two-sided binomial test of p = 1/2 when `agree` of `votes` agree:
/// min(1, 2 P(Bin(n, ½) ≥ max(k, n-k))).
///
/// Correctly rounded up to n = 127; beyond that the relative error is below 1e-11 and the value is never
/// below the true one. No votes are no evidence: 1.
///
/// # Errors
/// [`StatsError::Counts`] if `agree > votes`.
pub fn binom_test_half(agree: usize, votes: usize) -> Result<f64, StatsError> {
    if votes == 0 && agree == 0 {
        return Ok(1.0);
    }
    check_counts(agree, votes)?;
    let k = agree.max(votes - agree);
    if 2 * k == votes {
        return Ok(1.0);
    }
    if votes <= EXACT_COIN {
        return Ok(upper_outcomes(k, votes) as f64 / 2_f64.powi(votes as i32 - 1));
    }
    Ok((2.0 * binom_sf(k, votes, 0.5) * (1.0 + TAIL_ERROR)).min(1.0))
}

/// The number of the 2ⁿ outcomes of n ≤ 127 tosses with at least k heads.
fn upper_outcomes(k: usize, n: usize) -> u128 {
    // Row n of Pascal's triangle by addition, which cannot overflow where the product formula could.
    let mut row = vec![0_u128; n + 1];
    row[0] = 1;
    for i in 1..=n {
        for j in (1..=i).rev() {
            row[j] += row[j - 1];
        }
    }
    row[k..].iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P(Bin(n, p) ≥ k), summed with mpmath at 60 digits.
    const TAILS: [(usize, usize, f64, f64); 14] = [
        (1, 17, 5.180_500_549_706_25e-5, 0.000_880_320_196_805_911_4),
        (4, 17, 0.001_588_501_099_197_484_8, 1.490_561_971_959_396_3e-8),
        (1, 1000, 4.038_026_539_240_047_6e-5, 0.039_576_629_401_814_03),
        (577, 1000, 0.556_084_163_487_518_5, 0.096_747_121_370_964_05),
        (867, 1000, 0.768_119_941_477_691, 2.430_540_061_037_761e-15),
        (521, 1000, 0.640_645_672_271_510_7, 0.999_999_999_999_996_2),
        (970, 100_000, 0.010_496_747_430_134_535, 0.994_047_801_611_300_9),
        (99_992, 100_000, 0.999_929_669_325_347_8, 0.724_774_399_938_022),
        (321_746, 1_000_000, 0.318_446_294_884_094_5, 7.449_929_504_222_726e-13),
        (415_095, 1_000_000, 0.416_848_974_159_080_85, 0.999_813_978_870_345),
        (994_955, 1_000_000, 0.995_166_697_011_372, 0.998_817_560_270_760_3),
        (999_863, 1_000_000, 0.999_857_280_059_55, 0.335_188_471_256_292_2),
        (1885, 1_000_000, 0.002_091_850_408_207_033, 0.999_998_012_698_881_2),
        (963_513, 1_000_000, 0.964_910_663_446_497_2, 0.999_999_999_999_978_5),
    ];

    #[test]
    fn tails_agree_with_exact_sums_to_a_million_votes() {
        for (k, n, p, tail) in TAILS {
            let got = binom_sf(k, n, p);
            assert!((got / tail - 1.0).abs() < 1e-12, "P(Bin({n}, {p}) >= {k}) = {got:e}, not {tail:e}");
        }
    }

    #[test]
    fn a_tail_and_its_complement_sum_to_one() {
        for n in [1, 2, 15, 16, 17, 100, 12_345, 1_000_000] {
            // 1 - p is exact for each of these.
            for p in [0.5_f64.powi(30), 0.5_f64.powi(10), 0.3125, 0.5, 0.84375, 1.0 - 0.5_f64.powi(20)] {
                for k in [1, n / 3 + 1, (n as f64 * p) as usize + 1, n] {
                    let k = k.min(n);
                    let sum = binom_sf(k, n, p) + binom_sf(n - k + 1, n, 1.0 - p);
                    assert!((sum - 1.0).abs() < 1e-11, "{sum} for {k} of {n} at {p}");
                }
            }
        }
    }

    #[test]
    fn the_ends_have_their_values() {
        assert_eq!(
            (binom_sf(0, 7, 0.3), binom_sf(8, 7, 0.3), binom_sf(3, 7, 0.0), binom_sf(3, 7, 1.0)),
            (1.0, 0.0, 0.0, 1.0)
        );
        assert!(binom_sf(3, 7, f64::NAN).is_nan());
        assert!(
            (ln_binom_sf(1_000_000, 1_000_000, 1e-300) + 1e6 * 300.0 * std::f64::consts::LN_10).abs() < 1.0
        );
        assert_eq!(binom_test_half(0, 0), Ok(1.0));
        assert_eq!(binom_test_half(4, 3), Err(StatsError::Counts { agree: 4, votes: 3 }));
    }

    #[test]
    fn the_coin_test_is_the_same_by_integers_and_by_tails() {
        for n in 1..=EXACT_COIN {
            for k in n.div_ceil(2)..=n {
                let exact = binom_test_half(k, n).unwrap();
                let tail = (2.0 * binom_sf(k, n, 0.5)).min(1.0);
                assert!((tail / exact - 1.0).abs() < 1e-12, "{k} of {n}: {tail:e}, not {exact:e}");
                assert_eq!(Ok(exact), binom_test_half(n - k, n));
            }
        }
        // Two-sided and just above the last n summed in integers: never below the truth, and close to it.
        let (exact, above) = (binom_test_half(80, 127).unwrap(), binom_test_half(80, 128).unwrap());
        assert!(exact < above && above < 2.0 * exact);
    }
}
