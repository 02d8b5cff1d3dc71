//! The discretised Gaussian as a table of integers, and how far that table is from the exact law.

use serde::{Deserialize, Serialize};

use super::NoiseError;
use super::curve::Curve;

/// Smallest standard deviation that a law is made for, in units of `[0, 1]` pixel values: 2.55 levels of 8 bits. With
/// less noise hardly a pixel changes and no radius worth paying for can be certified.
pub const MIN_SIGMA: f64 = 0.01;

/// Largest standard deviation that a law is made for, in units of `[0, 1]` pixel values. It bounds the table at 10 MB.
pub const MAX_SIGMA: f64 = 2.0;

/// The grid that a working image and its noise share. Pixel values run from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grid {
    /// Multiples of 1/255: the levels of an 8-bit picture that was not resized.
    Levels8,
    /// Multiples of 1/65280 = 1/(255 * 256): each 8-bit level split in 256, so that rounding a resized or 16-bit
    /// picture onto it costs almost nothing of the radius in the original picture.
    Levels16,
}

impl Grid {
    /// Steps of this grid from black (0) to white (1): 255 or 65280.
    pub const fn steps(self) -> u32 {
        match self {
            Self::Levels8 => 255,
            Self::Levels16 => 65_280,
        }
    }

    /// One step of this grid in units of 1/65280: 256 or 1.
    pub const fn step_in_65280ths(self) -> u16 {
        match self {
            Self::Levels8 => 256,
            Self::Levels16 => 1,
        }
    }
}

/// Most magnitudes for which 15 bits decide nearly every value: a table over all 15-bit prefixes is then fastest.
const DIRECT_UP_TO: usize = 4_096;

/// Entry of the direct table for a prefix that contains a threshold.
pub(super) const UNDECIDED: u16 = u16::MAX;

/// How the leading bits of a uniform are turned into a magnitude without looking at the rest of it. Both ways give
/// exactly what inversion of all 64 bits gives, or say that they cannot tell.
#[derive(Debug, Clone)]
pub(super) enum Prefix {
    /// 16 leading bits (sign and 15): the magnitude, or [`UNDECIDED`].
    Direct(Box<[u16]>),
    /// 32 leading bits (sign and 31): bounds of the magnitude, nearly always equal.
    Curve(Curve),
}

/// The law of one noise value on a grid: `K = round(g / h)`, `g ~ N(0, sigma^2)`, `h` the spacing of the grid.
///
/// The table holds the upper tail in units of 2^-63: `tail[k - 1] = T_k`, nearly `2^63 P(|K| >= k)`, for `k = 1..=m`.
/// A uniform 64-bit word gives the sign by its first bit and the magnitude `#{k : V < T_k}` by the other 63, `V`.
/// The law is symmetric to the last bit, because the sign is.
#[derive(Debug, Clone)]
pub struct NoiseLaw {
    sigma: f64,
    grid: Grid,
    tail: Vec<u64>,
    pub(super) prefix: Prefix,
    tv_bound: f64,
}

impl NoiseLaw {
    /// Makes the table for noise of standard deviation `sigma` (units of `[0, 1]` pixel values, [`MIN_SIGMA`] to
    /// [`MAX_SIGMA`]) on `grid`. It takes about a millisecond on the 8-bit grid and `sigma` times 40 ms on the other.
    ///
    /// # Errors
    /// [`NoiseError::Sigma`] when sigma is out of range or not a number.
    pub fn new(sigma: f64, grid: Grid) -> Result<Self, NoiseError> {
        if !(MIN_SIGMA..=MAX_SIGMA).contains(&sigma) {
            return Err(NoiseError::Sigma(sigma));
        }
        let (tail, tv_bound) = tail_table(sigma, grid);
        let prefix = if tail.len() <= DIRECT_UP_TO {
            Prefix::Direct(direct_table(&tail))
        } else {
            Prefix::Curve(Curve::new(&tail))
        };
        Ok(Self { sigma, grid, tail, prefix, tv_bound })
    }

    /// Standard deviation of the Gaussian before rounding, in units of `[0, 1]` pixel values.
    pub fn sigma(&self) -> f64 {
        self.sigma
    }

    /// The grid whose steps the noise counts.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// Largest magnitude that can be drawn, in steps of the grid: about 9 sigma.
    pub fn max_magnitude(&self) -> i32 {
        self.tail.len() as i32
    }

    /// Upper bound of the total-variation distance between one drawn value and the exact law, given that the
    /// generator's bits are uniform. Noise of `d` values is within `d * tv_bound()` of exact, and so is the
    /// probability of any answer: for 224x224x3 values below 1e-9 on the 8-bit grid and below 1e-8 (sigma <= 1) on
    /// the other.
    ///
    /// The sum of three terms. (1) Each of the `m` masses is rounded to a multiple of 2^-63: at most `m 2^-64`, the
    /// residue being put on 0. (2) The arithmetic: mass `k` is computed with a relative error below
    /// `(16 + 8 z^2) 2^-53`, `z = k h / sigma`; weighted with the law, under which `z^2` averages to 1 (plus the
    /// 1/12 of a step squared), that is below 2^-48. (3) Magnitudes above `m` are never drawn: the tail above them.
    /// The whole tables compared with 50-digit arithmetic (`tests/data/noise/golden.py`) have, for sigma = 0.25 and 1,
    /// true distances of 1.2e-16 and 1.4e-16 on the 8-bit grid where the bound is 3.6e-15 and 3.7e-15, and of 1.9e-15
    /// and 7.5e-15 on the other where it is 1.1e-14 and 3.3e-14.
    pub fn tv_bound(&self) -> f64 {
        self.tv_bound
    }

    /// Probability of value `k` under the table, as a multiple of 2^-64 (`2^63 - T_1` for 0 is counted for both signs).
    #[cfg(test)]
    pub(super) fn mass(&self, k: i32) -> u64 {
        let at = |k: usize| if k == 0 { 1 << 63 } else { self.tail.get(k - 1).copied().unwrap_or(0) };
        let k = k.unsigned_abs() as usize;
        let one_sign = at(k) - at(k + 1);
        if k == 0 { 2 * one_sign } else { one_sign }
    }

    /// Magnitude that the 63 low bits of `uniform` select, by search among the magnitudes `low..=high`.
    #[cold]
    pub(super) fn search(&self, uniform: u64, low: i32, high: i32) -> i32 {
        let v = uniform & (u64::MAX >> 1);
        let high = (high.max(0) as usize).min(self.tail.len());
        let low = (low.max(0) as usize).min(high);
        (low + self.tail[low..high].partition_point(|&t| t > v)) as i32
    }
}

/// The tail in units of 2^-63 and the bound of [`NoiseLaw::tv_bound`].
///
/// Thresholds from differences of `Phi` or `erfc` would each carry an error of 1e-16, which adds up over the 600 000
/// thresholds of the 16-bit grid to more than the whole budget. So the *masses* are computed, each with a small
/// relative error, rounded to integers, and summed exactly from the far tail inwards.
fn tail_table(sigma: f64, grid: Grid) -> (Vec<u64>, f64) {
    let width = 1.0 / (f64::from(grid.steps()) * sigma);
    let mut masses = Vec::new();
    for k in 1_u64.. {
        // P(|K| = k) = 2 P(K = k), in units of 2^-63.
        let mass = two_to(64) * cell_mass(k, width);
        if mass < 0.5 {
            break;
        }
        masses.push(mass.round_ties_even() as u64);
    }
    let m = masses.len();
    let mut above = 0;
    let mut tail = masses;
    for t in tail.iter_mut().rev() {
        above += *t;
        *t = above;
    }
    // Beyond magnitude m the density falls from cell to cell at least by the factor exp(-z w), z = m w, so the rest
    // is at most a geometric series that starts below half a unit on both sides together: 2^-64 / (1 - exp(-z w)).
    let ratio = -libm::expm1(-(m as f64) * width * width);
    let beyond = 1.01 / (two_to(64) * ratio);
    let quantised = (m as f64 + 1.0) / two_to(64);
    (tail, 1.0 / two_to(48) + quantised + beyond)
}

fn two_to(n: i32) -> f64 {
    libm::ldexp(1.0, n)
}

/// Mass of the standard Gaussian in the cell of the given `width <= 0.4` around `z = k width`, by its Taylor series
/// around the centre: `phi(z) w sum_j He_2j(z) (w/2)^2j / (2j + 1)!`, `He` the probabilists' Hermite polynomials.
///
/// Only IEEE operations and the `exp` of the `libm` crate (below one unit in the last place), so that every machine
/// makes the same table. `k^2` is exact; its product with `w^2/2` is the argument of `exp` within `6 * 2^-53`.
fn cell_mass(k: u64, width: f64) -> f64 {
    const INV_SQRT_2PI: f64 = 0.398_942_280_401_432_7;
    let z = k as f64 * width;
    let density = INV_SQRT_2PI * libm::exp(-((k * k) as f64) * (0.5 * width * width));
    let half = 0.5 * width;
    // scaled_n = He_n(z) (w/2)^n / (n + 1)!, from He_{n+1} = z He_n - n He_{n-1}.
    let (mut before, mut scaled) = (1.0, z * half / 2.0);
    let mut sum = 1.0;
    let mut n = 1.0;
    while n < 64.0 {
        let next = (z * half * scaled - n * half * half / (n + 1.0) * before) / (n + 2.0);
        (before, scaled) = (scaled, next);
        n += 1.0;
        if n % 2.0 == 0.0 {
            sum += next;
        } else if before.abs().max(next.abs()) < 1e-18 * sum {
            break;
        }
    }
    density * width * sum
}

/// For each 15-bit prefix of `V`: the magnitude if all `V` with that prefix share it.
fn direct_table(tail: &[u64]) -> Box<[u16]> {
    let magnitude = |v: u64| tail.partition_point(|&t| t > v);
    (0..1_u64 << 15)
        .map(|prefix| {
            let most = magnitude(prefix << 48);
            let least = magnitude((prefix << 48) | ((1 << 48) - 1));
            if most == least { most as u16 } else { UNDECIDED }
        })
        .collect()
}
