//! The transforms of F(4x4, 3x3), after Lavin and Gray (2016), section 4.3.

use super::POINTS;
use crate::kernels::{
    layout::{CHANNELS, Finish},
    simd::Simd,
};

/// `G`: the transform of a kernel column.
const G: [[f64; 3]; 6] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// `G g Gᵀ` of sixteen kernels side by side, in double precision.
pub(super) fn kernels(kernel: &[[f64; CHANNELS]; 9]) -> [[f32; CHANNELS]; POINTS] {
    let mut half = [[[0.0; CHANNELS]; 3]; 6];
    for (line, g) in half.iter_mut().zip(&G) {
        for (x, value) in line.iter_mut().enumerate() {
            *value = std::array::from_fn(|i| (0..3).map(|y| g[y] * kernel[y * 3 + x][i]).sum());
        }
    }
    std::array::from_fn(|point| {
        let (line, g) = (&half[point / 6], &G[point % 6]);
        std::array::from_fn(|i| (0..3).map(|x| line[x][i] * g[x]).sum::<f64>() as f32)
    })
}

/// `Gᵀ s G`, the adjoint of [`kernels`]: from a gradient at the points to that of the kernels.
pub(super) fn kernel_gradients(points: &[[f64; CHANNELS]; POINTS]) -> [[f32; CHANNELS]; 9] {
    let mut half = [[[0.0; CHANNELS]; 6]; 3];
    for (y, line) in half.iter_mut().enumerate() {
        for (x, value) in line.iter_mut().enumerate() {
            *value = std::array::from_fn(|i| (0..6).map(|p| G[p][y] * points[p * 6 + x][i]).sum());
        }
    }
    std::array::from_fn(|k| {
        let line = &half[k / 3];
        std::array::from_fn(|i| (0..6).map(|p| line[p][i] * G[p][k % 3]).sum::<f64>() as f32)
    })
}

/// Bᵀ of a column of six.
///
/// # Safety
/// The processor has `S`.
#[inline(always)]
unsafe fn b_transposed<S: Simd>(d: [S::V; 6]) -> [S::V; 6] {
    // SAFETY: as the caller promises.
    unsafe {
        let (two, four, five) = (S::splat(2.0), S::splat(4.0), S::splat(5.0));
        let even = S::mul_sub_from(four, d[2], d[4]);
        let odd = S::mul_sub_from(four, d[1], d[3]);
        let (even_2, odd_2) = (S::sub(d[4], d[2]), S::sub(d[3], d[1]));
        [
            S::mul_add(four, d[0], S::mul_sub_from(five, d[2], d[4])),
            S::add(even, odd),
            S::sub(even, odd),
            S::mul_add(two, odd_2, even_2),
            S::mul_sub_from(two, odd_2, even_2),
            S::mul_add(four, d[1], S::mul_sub_from(five, d[3], d[5])),
        ]
    }
}

/// Aᵀ of a column of six.
///
/// # Safety
/// The processor has `S`.
#[inline(always)]
unsafe fn a_transposed<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
    // SAFETY: as the caller promises.
    unsafe {
        let (two, four, eight) = (S::splat(2.0), S::splat(4.0), S::splat(8.0));
        let (sum, difference) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
        let (sum_2, difference_2) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
        [
            S::add(S::add(m[0], sum), sum_2),
            S::mul_add(two, difference_2, difference),
            S::mul_add(four, sum_2, sum),
            S::add(S::mul_add(eight, difference_2, difference), m[5]),
        ]
    }
}

/// A times a column of four.
///
/// # Safety
/// The processor has `S`.
#[inline(always)]
unsafe fn a<S: Simd>(y: [S::V; 4]) -> [S::V; 6] {
    // SAFETY: as the caller promises.
    unsafe {
        let (two, four) = (S::splat(2.0), S::splat(4.0));
        let (even, odd) = (S::add(y[0], y[2]), S::add(y[1], y[3]));
        let even_2 = S::mul_add(four, y[2], y[0]);
        let odd_2 = S::mul_add(four, y[3], y[1]);
        [
            y[0],
            S::add(even, odd),
            S::sub(even, odd),
            S::mul_add(two, odd_2, even_2),
            S::mul_sub_from(two, odd_2, even_2),
            y[3],
        ]
    }
}

/// `A g Aᵀ` of one tile of output gradients, one vector of channels; point p goes to `to + p * slab`. Gives the sum of
/// the gradients, column by column.
///
/// # Safety
/// The processor has `S`; 4x4 pixels, `steps` apart, are readable from `from`, and the 36 places writable.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "x is a column of a matrix that is stored by rows")]
pub(super) unsafe fn transform_gradient<S: Simd>(
    from: *const f32,
    (row, pixel): (usize, usize),
    to: *mut f32,
    slab: usize,
) -> S::V {
    // SAFETY: as the caller promises.
    unsafe {
        let mut half = [[S::splat(0.0); 4]; 6];
        let mut sum = S::splat(0.0);
        for x in 0..4 {
            let mut column = [S::splat(0.0); 4];
            for (y, value) in column.iter_mut().enumerate() {
                *value = S::load(from.add(y * row + x * pixel));
                sum = S::add(sum, *value);
            }
            let column = a::<S>(column);
            for y in 0..6 {
                half[y][x] = column[y];
            }
        }
        for (y, line) in half.into_iter().enumerate() {
            let line = a::<S>(line);
            for (x, value) in line.into_iter().enumerate() {
                S::store(to.add((y * 6 + x) * slab), value);
            }
        }
        sum
    }
}

/// `Bᵀ d B` of one tile, one vector of channels; point p goes to `to + p * slab`.
///
/// # Safety
/// The processor has `S`; 6x6 pixels, `steps` apart, are readable from `from`, and the 36 places writable.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "x is a column of a matrix that is stored by rows")]
pub(super) unsafe fn transform_input<S: Simd>(
    from: *const f32,
    (row, pixel): (usize, usize),
    to: *mut f32,
    slab: usize,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let mut half = [[S::splat(0.0); 6]; 6];
        for x in 0..6 {
            let mut column = [S::splat(0.0); 6];
            for (y, value) in column.iter_mut().enumerate() {
                *value = S::load(from.add(y * row + x * pixel));
            }
            let column = b_transposed::<S>(column);
            for y in 0..6 {
                half[y][x] = column[y];
            }
        }
        for (y, line) in half.into_iter().enumerate() {
            let line = b_transposed::<S>(line);
            for (x, value) in line.into_iter().enumerate() {
                S::store(to.add((y * 6 + x) * slab), value);
            }
        }
    }
}

/// Where the 4x4 outputs of a tile go, and what is added to them.
pub(super) struct Output {
    pub(super) to: *mut f32,
    /// Floats from row to row and from pixel to pixel.
    pub(super) steps: (usize, usize),
    /// Rows and columns that lie within the picture.
    pub(super) size: (usize, usize),
    pub(super) finish: Finish,
}

impl Output {
    /// `Aᵀ m A` + bias + residual of one tile, one vector of channels; point p is at `from + p * slab`.
    ///
    /// # Safety
    /// The processor has `S`; the 36 places are readable and the outputs of `size` writable, the residual's readable.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "x is a column of a matrix that is stored by rows")]
    pub(super) unsafe fn transform<S: Simd>(&self, from: *const f32, slab: usize, bias: S::V) {
        // SAFETY: as the caller promises.
        unsafe {
            let mut half = [[S::splat(0.0); 6]; 4];
            for x in 0..6 {
                let mut column = [S::splat(0.0); 6];
                for (y, value) in column.iter_mut().enumerate() {
                    *value = S::load(from.add((y * 6 + x) * slab));
                }
                let column = a_transposed::<S>(column);
                for y in 0..4 {
                    half[y][x] = column[y];
                }
            }
            for (y, line) in half.into_iter().enumerate() {
                let line = a_transposed::<S>(line);
                for (x, value) in line.into_iter().enumerate() {
                    if y >= self.size.0 || x >= self.size.1 {
                        continue;
                    }
                    let at = y * self.steps.0 + x * self.steps.1;
                    let value = self.finish.apply::<S>(S::add(value, bias), at);
                    S::store(self.to.add(at), value);
                }
            }
        }
    }
}
