//! The few vector operations the kernels are made of, once for each instruction set.
//!
//! Every kernel puts channels side by side in a vector and sums each channel in one fixed order with fused multiply-adds.
//! So the width of the vector does not change any result: all instruction sets give the same bits.

use super::bf16;

/// An instruction set. Its functions are meant to be inlined into a caller that is compiled for it.
///
/// # Safety
/// Calling any of them needs a processor that has the instruction set. Pointers must be valid for reads (or writes) of
/// `LANES` floats; no alignment is needed.
pub(super) trait Simd: Copy {
    /// A vector of `LANES` floats.
    type V: Copy;
    /// Floats in a vector; divides 16.
    const LANES: usize;
    /// Numbers of output channels that one pass of the inner kernel can hold in registers, best first. The last one is 16,
    /// which divides every padded number of channels.
    const PANELS: &'static [usize];

    /// `x` in every lane.
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `c - a * b`, rounded once.
    unsafe fn mul_sub_from(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a` where it is greater than 0, else +0 (also for NaN).
    unsafe fn relu(a: Self::V) -> Self::V;
    /// `a` where `mask` lies between 0 and `ceiling`, else +0.
    unsafe fn keep(a: Self::V, mask: Self::V, ceiling: Self::V) -> Self::V;
    /// The lesser one; neither is NaN.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// Each lane rounded to bf16 ([`bf16::round`]).
    #[inline(always)]
    unsafe fn round(v: Self::V) -> Self::V {
        let mut lanes = [0.0; 16];
        // SAFETY: a vector has at most 16 lanes.
        unsafe { Self::store(lanes.as_mut_ptr(), v) };
        let rounded = lanes.map(|lane| bf16::round(lane).to_f32());
        // SAFETY: as above.
        unsafe { Self::load(rounded.as_ptr()) }
    }
    /// Asks for a cache line, which need not exist, in the second-level cache; does nothing where there is no instruction for it.
    #[inline(always)]
    unsafe fn prefetch(_line: *const f32) {}
    /// Asks for a cache line, which need not exist, in the first-level cache.
    #[inline(always)]
    unsafe fn prefetch_near(_line: *const f32) {}
}

/// Any processor: arrays that the compiler may vectorise as it sees fit, and a fused multiply-add in software where there is
/// no instruction for it. Slow, and the same bits as the others.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Simd for Portable {
    type V = [f32; 4];
    const LANES: usize = 4;
    const PANELS: &'static [usize] = &[16];

    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 4] {
        [x; 4]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 4] {
        // SAFETY: the caller promises four readable floats.
        unsafe { from.cast::<[f32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: [f32; 4]) {
        // SAFETY: the caller promises four writable floats.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(v) }
    }

    #[inline(always)]
    unsafe fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    unsafe fn sub(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    unsafe fn mul_add(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| fused(a[i], b[i], c[i]))
    }

    #[inline(always)]
    unsafe fn mul_sub_from(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| fused(-a[i], b[i], c[i]))
    }

    #[inline(always)]
    unsafe fn relu(a: [f32; 4]) -> [f32; 4] {
        a.map(|x| if x > 0.0 { x } else { 0.0 })
    }

    #[inline(always)]
    unsafe fn keep(a: [f32; 4], mask: [f32; 4], ceiling: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| if mask[i] > 0.0 && mask[i] < ceiling[i] { a[i] } else { 0.0 })
    }

    #[inline(always)]
    unsafe fn min(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
}

/// `a * b + c` rounded once, without a call where that can be seen to be right: in double precision the product is exact
/// and the sum is rounded; rounding that to single precision errs only if the first rounding made a tie.
#[inline(always)]
fn fused(a: f32, b: f32, c: f32) -> f32 {
    const TIE: u64 = 1 << 28;
    let sum = f64::from(a) * f64::from(b) + f64::from(c);
    let low = sum.to_bits() & ((1 << 29) - 1);
    // Results too small for a normal single are rounded at another place; zero is exact.
    let normal = sum.abs() >= f64::from(f32::MIN_POSITIVE) || sum == 0.0;
    if low != TIE && normal { sum as f32 } else { a.mul_add(b, c) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fused_rounds_once() {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state
        };
        for i in 0..200_000 {
            // Short significands make ties frequent, full ones make them rare.
            let mask = if i % 2 == 0 { 0xBFFF_F000 } else { 0xBFFF_FFFF };
            let [a, b, c] = [(); 3].map(|()| f32::from_bits(next() & mask));
            if ![a, b, c].iter().all(|v| v.is_finite()) {
                continue;
            }
            assert_eq!(fused(a, b, c).to_bits(), a.mul_add(b, c).to_bits(), "{a:e} {b:e} {c:e}");
        }
        let tie = (1.0 + f32::EPSILON, 1.0 + f32::EPSILON, 2f32.powi(-60));
        assert_eq!(fused(tie.0, tie.1, tie.2).to_bits(), tie.0.mul_add(tie.1, tie.2).to_bits());
    }
}
