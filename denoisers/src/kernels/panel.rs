//! The inner kernel: a few rows of the left matrix times one panel of output channels, held in registers.

use super::simd::Simd;

/// Floats of a cache line.
pub(super) const LINE: usize = 16;

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

/// A factor of a product: where it begins, and how far it is to the next row and to the next term.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub(super) from: *const f32,
    pub(super) row: usize,
    pub(super) term: usize,
}

/// The other factor: where its first vectors are, how far it is to the next term, and what to fetch meanwhile.
#[derive(Clone, Copy)]
pub(super) struct Right {
    pub(super) from: *const f32,
    pub(super) term: usize,
    /// Null, or where as many cache lines begin as there are terms, which will be wanted soon. They need not exist.
    pub(super) ahead: *const f32,
}

/// `sums[m] += Σ_k left[m, k] * right[k]`, a vector of `N * LANES` channels for each k, in the order of k.
///
/// # Safety
/// The processor has `S`; `left` is good for `M` rows of `terms` floats, `right` for `terms` times `N` vectors.
#[inline(always)]
pub(super) unsafe fn accumulate<S: Simd, const M: usize, const N: usize>(
    sums: &mut [[S::V; N]; M],
    left: Left,
    right: Right,
    terms: usize,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let mut held = *sums;
        let (mut factors, mut vectors, mut ahead) = (left.from, right.from, right.ahead);
        for _ in 0..terms {
            if !right.ahead.is_null() {
                S::prefetch_near(ahead);
                ahead = ahead.wrapping_add(LINE);
            }
            let mut w = [S::splat(0.0); N];
            for (n, w) in w.iter_mut().enumerate() {
                *w = S::load(vectors.add(n * S::LANES));
            }
            for (m, held) in held.iter_mut().enumerate() {
                let factor = S::splat(*factors.add(m * left.row));
                for n in 0..N {
                    held[n] = S::mul_add(factor, w[n], held[n]);
                }
            }
            factors = factors.wrapping_add(left.term);
            vectors = vectors.wrapping_add(right.term);
        }
        *sums = held;
    }
}

/// `to[m] += Σ_k left[m, k] * right[k]` in memory: what [`accumulate`] is for registers.
pub(super) struct Outer {
    pub(super) left: Left,
    pub(super) right: Right,
    pub(super) terms: usize,
    /// Rows of one panel, one after the other.
    pub(super) to: *mut f32,
}

impl Rows for Outer {
    #[inline(always)]
    unsafe fn rows<S: Simd, const M: usize, const N: usize>(&self, x: usize) {
        // SAFETY: the caller has `S` and vouches for rows `x..x + M` of both factors and of the result.
        unsafe {
            let to = self.to.add(x * N * S::LANES);
            let mut sums = [[S::splat(0.0); N]; M];
            for (m, sums) in sums.iter_mut().enumerate() {
                for (n, sum) in sums.iter_mut().enumerate() {
                    *sum = S::load(to.add((m * N + n) * S::LANES));
                }
            }
            let left = Left { from: self.left.from.add(x * self.left.row), ..self.left };
            accumulate::<S, M, N>(&mut sums, left, self.right, self.terms);
            for (m, sums) in sums.into_iter().enumerate() {
                for (n, sum) in sums.into_iter().enumerate() {
                    S::store(to.add((m * N + n) * S::LANES), sum);
                }
            }
        }
    }
}
