//! The inner kernel: a few rows of the left matrix times one panel of output channels, held in registers.

use super::simd::Simd;

/// The best panel for this (padded) number of channels.
pub(super) fn size(channels: usize, sizes: &[usize]) -> usize {
    sizes.iter().copied().find(|n| channels.is_multiple_of(*n)).unwrap_or(super::layout::CHANNELS)
}

/// Work on rows `x..x + M` with `N` vectors of channels.
pub(super) trait Rows {
    /// # Safety
    /// The processor has `S`, and the rows from `x` to `x + M` exist.
    unsafe fn rows<S: Simd, const M: usize, const N: usize>(&self, x: usize);
}

/// Calls [`Rows::rows`] of `$work` for rows `0..$count` in bites that suit the registers: `M * N` sums, `N` weights and a
/// factor must fit into 32 registers of 16 or 4 lanes, or 16 of 8.
macro_rules! panels {
    ($set:ty, $panel:expr, $work:expr, $count:expr) => {
        match (<$set as Simd>::LANES, $panel) {
            (16, 64) => panel::all::<$set, _, 6, 4>(&$work, $count),
            (16, 48) => panel::all::<$set, _, 8, 3>(&$work, $count),
            (16, 32) => panel::all::<$set, _, 12, 2>(&$work, $count),
            (16, _) => panel::all::<$set, _, 14, 1>(&$work, $count),
            (8, _) => panel::all::<$set, _, 6, 2>(&$work, $count),
            _ => panel::all::<$set, _, 6, 4>(&$work, $count),
        }
    };
}
pub(super) use panels;

/// All rows of `work`, `M` at a time while there are as many.
///
/// # Safety
/// The processor has `S`, and rows `0..count` exist.
#[inline(always)]
pub(super) unsafe fn all<S: Simd, W: Rows, const M: usize, const N: usize>(work: &W, count: usize) {
    let mut x = 0;
    // SAFETY: each call covers rows below `count`.
    unsafe {
        while x + M <= count {
            work.rows::<S, M, N>(x);
            x += M;
        }
        while x + 2 <= count {
            work.rows::<S, 2, N>(x);
            x += 2;
        }
        if x < count {
            work.rows::<S, 1, N>(x);
        }
    }
}

/// `sums[m] += Σ_k from[m * step + k] * weights[k]`, a vector of `N * LANES` channels for each k, in the order of k.
///
/// # Safety
/// The processor has `S`; `from` is good for `M` rows of `length` floats, `step` apart, and `weights` for
/// `length * N * LANES`.
#[inline(always)]
pub(super) unsafe fn accumulate<S: Simd, const M: usize, const N: usize>(
    sums: &mut [[S::V; N]; M],
    from: *const f32,
    step: usize,
    weights: *const f32,
    length: usize,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let mut held = *sums;
        let mut weights = weights;
        for k in 0..length {
            let mut w = [S::splat(0.0); N];
            for (n, w) in w.iter_mut().enumerate() {
                *w = S::load(weights.add(n * S::LANES));
            }
            for (m, held) in held.iter_mut().enumerate() {
                let factor = S::splat(*from.add(m * step + k));
                for n in 0..N {
                    held[n] = S::mul_add(factor, w[n], held[n]);
                }
            }
            weights = weights.add(N * S::LANES);
        }
        *sums = held;
    }
}
