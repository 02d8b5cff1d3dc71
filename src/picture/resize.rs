//! Resizing as what the certificate sees: a separable linear map whose operator norm is bounded from above.

use std::fmt;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::decode::Samples;

/// How a pixel of the resized picture is averaged from those of the original. Both have non-negative weights that sum
/// to one and widen with the ratio (anti-aliasing); both act on the values as stored.
///
/// A certified radius R in the resized picture is `R / ||A||_2` in the original, so the norm of the resize is worth
/// money. A map from n to m pixels that keeps constant pictures constant has norm at least `sqrt(m / n)`, because that
/// is what it does to a constant; [`Filter::Area`] attains it, so no such resize has a larger original radius.
/// [`Filter::Bilinear`] is 0.1 to 0.4 % behind when shrinking; kernels with negative lobes (bicubic, Lanczos) are 0.7
/// to 4 % behind and are not offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Exact average over the area that an output pixel covers, fractions of pixels included.
    #[default]
    Area,
    /// Triangle of twice that width, as Pillow's `BILINEAR`: smoother, above all when enlarging.
    Bilinear,
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Area => "area",
            Self::Bilinear => "bilinear",
        })
    }
}

/// One axis of the map: a sparse matrix of `rows.len()` outputs by `input` inputs with weights >= 0.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    input: usize,
    /// For each output its first input and its weights.
    rows: Vec<(usize, Vec<f64>)>,
}

impl Axis {
    /// Rows `offset .. offset + count` of the resize from `input` to `scaled` pixels: resize, then crop.
    pub(super) fn new(filter: Filter, input: u32, scaled: u64, offset: u64, count: u32) -> Self {
        let row = match filter {
            Filter::Area => area_row,
            Filter::Bilinear => bilinear_row,
        };
        let rows = (offset..offset + u64::from(count)).map(|i| row(i, u64::from(input), scaled)).collect();
        Self { input: input as usize, rows }
    }

    /// Whether the outputs are different inputs, unchanged: the axis is cropped at most. (Enlarging by a whole factor
    /// has single weights too, but repeats its inputs.)
    pub(super) fn is_crop(&self) -> bool {
        self.rows.iter().all(|(_, weights)| *weights == [1.0])
            && self.rows.windows(2).all(|pair| pair[0].0 < pair[1].0)
    }

    /// Number of outputs.
    pub(super) fn outputs(&self) -> usize {
        self.rows.len()
    }

    /// Most weights in one row.
    pub(super) fn taps(&self) -> usize {
        self.rows.iter().map(|(_, weights)| weights.len()).max().unwrap_or(0)
    }

    /// Upper bound of the largest singular value of this very matrix, floating-point weights and all.
    ///
    /// With `A` this matrix, `||A||_2^2` is the spectral radius of `A A^T`, a matrix without negative entries. For
    /// such a matrix `B` and any vector `x > 0`, the spectral radius is at most `max_i (B x)_i / x_i` (Collatz 1942,
    /// Wielandt 1950; Horn & Johnson, Matrix Analysis, Theorem 8.1.26). Every iterate of the power method from
    /// `x = 1` gives such an `x`, so every one gives a bound, the first being the largest column sum; the least is
    /// kept: for [`Filter::Area`] without a crop that is the truth, for [`Filter::Bilinear`], at most 0.01 % above it in
    /// the cases that were tried. All terms are positive, so each `(B x)_i` has a relative rounding error below `t 2^-53` with `t` the
    /// operations on the longest path to it, at most `2 (rows + inputs)`; the result is raised by twice that.
    pub(super) fn norm_bound(&self) -> f64 {
        if self.is_crop() {
            return 1.0;
        }
        let mut x = vec![1.0; self.rows.len()];
        let mut bound = f64::INFINITY;
        let mut before = f64::INFINITY;
        for iteration in 0..2000 {
            let mut transposed = vec![0.0; self.input];
            for ((start, weights), x) in self.rows.iter().zip(&x) {
                for (t, w) in transposed[*start..].iter_mut().zip(weights) {
                    *t += w * x;
                }
            }
            let product = |(start, weights): &(usize, Vec<f64>)| -> f64 {
                weights.iter().zip(&transposed[*start..]).map(|(w, t)| w * t).sum()
            };
            let next: Vec<f64> = self.rows.iter().map(product).collect();
            let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
            for (next, x) in next.iter().zip(&x) {
                least = least.min(next / x);
                most = most.max(next / x);
            }
            bound = bound.min(most);
            // Between `least` and `bound` lies the truth. Every 20 steps: is it still worth while?
            if bound - least <= 1e-9 * bound || (iteration % 20 == 19 && before - bound <= 1e-6 * bound) {
                break;
            }
            if iteration % 20 == 19 {
                before = bound;
            }
            x = next.iter().map(|v| v / most).collect();
        }
        let operations = 2 * (self.rows.len() + self.input) + 4;
        (bound * (1.0 + operations as f64 * f64::EPSILON)).sqrt().next_up()
    }
}

/// Output `i` of `scaled` covers inputs `i n/m .. (i+1) n/m`; in units of `1/m` all ends are whole numbers, so that
/// every weight is the nearest float to the exact fraction.
fn area_row(i: u64, input: u64, scaled: u64) -> (usize, Vec<f64>) {
    let (from, to) = (i * input, (i + 1) * input);
    let first = from / scaled;
    let last = to.div_ceil(scaled);
    let weight = |j: u64| (to.min((j + 1) * scaled) - from.max(j * scaled)) as f64 / input as f64;
    (first as usize, (first..last).map(weight).collect())
}

/// Triangle of half-width `max(1, n/m)` around the output's centre, cut off at the borders, summing to one.
fn bilinear_row(i: u64, input: u64, scaled: u64) -> (usize, Vec<f64>) {
    let ratio = input as f64 / scaled as f64;
    let support = ratio.max(1.0);
    let centre = (i as f64 + 0.5) * ratio - 0.5;
    let first = (centre - support).ceil().max(0.0) as u64;
    let last = ((centre + support).floor() as u64).min(input - 1);
    let triangle = |j: u64| (1.0 - (j as f64 - centre).abs() / support).max(0.0);
    let weights: Vec<f64> = (first..=last).map(triangle).collect();
    let sum: f64 = weights.iter().sum();
    // Zeros at either end are left out, so that the identity is seen as such.
    let begin = weights.iter().position(|&w| w > 0.0).unwrap_or(0);
    let end = weights.iter().rposition(|&w| w > 0.0).map_or(weights.len(), |e| e + 1);
    ((first as usize) + begin, weights[begin..end].iter().map(|w| w / sum).collect())
}

/// Applies both axes to an interleaved RGB picture and rounds onto the grid of multiples of 1/65280.
///
/// In f64, so that its error (`taps * 2^-52` of the value) is nothing beside the rounding; rows are independent and
/// summed in a fixed order, so threads change nothing.
pub(super) fn apply(samples: &Samples, vertical: &Axis, horizontal: &Axis) -> Vec<u16> {
    match samples {
        Samples::Bits8(values) => apply_to(values, vertical, horizontal, 256.0),
        Samples::Bits16(values) => apply_to(values, vertical, horizontal, 65_280.0 / 65_535.0),
    }
}

/// Multiplications that are worth another thread's waking up.
const SHARE: usize = 1 << 16;

/// `unit`: what one stored level is in 65280ths.
fn apply_to<T: Copy + Into<f64> + Sync>(
    values: &[T],
    vertical: &Axis,
    horizontal: &Axis,
    unit: f64,
) -> Vec<u16> {
    let width = horizontal.rows.len();
    // Columns that the crop looks at.
    let from = horizontal.rows.iter().map(|(start, _)| *start).min().unwrap_or(0);
    let to = horizontal.rows.iter().map(|(start, weights)| start + weights.len()).max().unwrap_or(0);
    let mut out = vec![0_u16; vertical.rows.len() * width * 3];
    let tallest = vertical.rows.iter().map(|(_, weights)| weights.len()).max().unwrap_or(0);
    let rows = SHARE.div_ceil(((to - from) * tallest * 3).max(1));
    out.par_chunks_exact_mut(width * 3).zip(&vertical.rows).with_min_len(rows).for_each_init(
        || vec![0.0; (to - from) * 3],
        |sums, (out, (start, weights))| {
            sums.fill(0.0);
            for (y, &weight) in (*start..).zip(weights) {
                let row = &values[(y * horizontal.input + from) * 3..(y * horizontal.input + to) * 3];
                for (sum, &value) in sums.iter_mut().zip(row) {
                    let value: f64 = value.into();
                    *sum += weight * value;
                }
            }
            for (pixel, (start, weights)) in out.chunks_exact_mut(3).zip(&horizontal.rows) {
                let mut rgb = [0.0; 3];
                for (column, weight) in sums[(start - from) * 3..].chunks_exact(3).zip(weights) {
                    for (total, value) in rgb.iter_mut().zip(column) {
                        *total += weight * value;
                    }
                }
                for (value, total) in pixel.iter_mut().zip(rgb) {
                    *value = (total * unit).round_ties_even().min(65_280.0) as u16;
                }
            }
        },
    );
    out
}
