//! AVX-512F, and AVX2 with FMA.

use std::arch::x86_64::{
    __m256, __m512, _CMP_GT_OQ, _CMP_LT_OQ, _MM_HINT_T0, _MM_HINT_T1, _mm_prefetch, _mm256_add_ps,
    _mm256_and_ps, _mm256_cmp_ps, _mm256_fmadd_ps, _mm256_fnmadd_ps, _mm256_loadu_ps, _mm256_max_ps,
    _mm256_min_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps, _mm256_sub_ps, _mm512_add_ps,
    _mm512_cmp_ps_mask, _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_loadu_ps, _mm512_maskz_mov_ps,
    _mm512_max_ps, _mm512_min_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps, _mm512_sub_ps,
};

use super::simd::Simd;

/// Sixteen lanes, 32 registers.
#[derive(Clone, Copy)]
pub(super) struct Avx512;

/// Eight lanes, 16 registers.
#[derive(Clone, Copy)]
pub(super) struct Avx2;

/// [`Simd::keep`].
///
/// # Safety
/// The processor has AVX-512F.
#[inline(always)]
unsafe fn keep_512(a: __m512, mask: __m512, ceiling: __m512) -> __m512 {
    // SAFETY: as the caller promises.
    unsafe {
        let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(mask, _mm512_setzero_ps());
        _mm512_maskz_mov_ps(positive & _mm512_cmp_ps_mask::<_CMP_LT_OQ>(mask, ceiling), a)
    }
}

/// [`Simd::keep`].
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn keep_256(a: __m256, mask: __m256, ceiling: __m256) -> __m256 {
    // SAFETY: as the caller promises.
    unsafe {
        let positive = _mm256_cmp_ps::<_CMP_GT_OQ>(mask, _mm256_setzero_ps());
        _mm256_and_ps(_mm256_and_ps(positive, _mm256_cmp_ps::<_CMP_LT_OQ>(mask, ceiling)), a)
    }
}

/// `max` with zero as the second operand gives zero for NaN and for either zero, as [`Simd::relu`] asks.
macro_rules! simd {
    ($set:ty, $vector:ty, $lanes:literal, $panels:expr, $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident,
     $mul_add:ident, $mul_sub_from:ident, $max:ident, $zero:ident, $min:ident, $keep:expr) => {
        impl Simd for $set {
            type V = $vector;
            const LANES: usize = $lanes;
            const PANELS: &'static [usize] = &$panels;

            #[inline(always)]
            unsafe fn splat(x: f32) -> $vector {
                // SAFETY: the caller has the instruction set.
                unsafe { $splat(x) }
            }

            #[inline(always)]
            unsafe fn load(from: *const f32) -> $vector {
                // SAFETY: the caller has the instruction set and promises LANES readable floats.
                unsafe { $load(from) }
            }

            #[inline(always)]
            unsafe fn store(to: *mut f32, v: $vector) {
                // SAFETY: the caller has the instruction set and promises LANES writable floats.
                unsafe { $store(to, v) }
            }

            #[inline(always)]
            unsafe fn add(a: $vector, b: $vector) -> $vector {
                // SAFETY: the caller has the instruction set.
                unsafe { $add(a, b) }
            }

            #[inline(always)]
            unsafe fn sub(a: $vector, b: $vector) -> $vector {
                // SAFETY: the caller has the instruction set.
                unsafe { $sub(a, b) }
            }

            #[inline(always)]
            unsafe fn mul_add(a: $vector, b: $vector, c: $vector) -> $vector {
                // SAFETY: the caller has the instruction set.
                unsafe { $mul_add(a, b, c) }
            }

            #[inline(always)]
            unsafe fn mul_sub_from(a: $vector, b: $vector, c: $vector) -> $vector {
                // SAFETY: the caller has the instruction set.
                unsafe { $mul_sub_from(a, b, c) }
            }

            #[inline(always)]
            unsafe fn relu(a: $vector) -> $vector {
                // SAFETY: the caller has the instruction set.
                unsafe { $max(a, $zero()) }
            }

            #[inline(always)]
            unsafe fn keep(a: $vector, mask: $vector, ceiling: $vector) -> $vector {
                // SAFETY: the caller has the instruction set.
                unsafe { $keep(a, mask, ceiling) }
            }

            #[inline(always)]
            unsafe fn min(a: $vector, b: $vector) -> $vector {
                // SAFETY: the caller has the instruction set.
                unsafe { $min(a, b) }
            }

            #[inline(always)]
            unsafe fn prefetch(line: *const f32) {
                // SAFETY: a hint, which no address makes fail.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) }
            }

            #[inline(always)]
            unsafe fn prefetch_near(line: *const f32) {
                // SAFETY: a hint, which no address makes fail.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
            }
        }
    };
}

simd!(
    Avx512,
    __m512,
    16,
    [64, 48, 32, 16],
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_add_ps,
    _mm512_sub_ps,
    _mm512_fmadd_ps,
    _mm512_fnmadd_ps,
    _mm512_max_ps,
    _mm512_setzero_ps,
    _mm512_min_ps,
    keep_512
);

simd!(
    Avx2,
    __m256,
    8,
    [16],
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_add_ps,
    _mm256_sub_ps,
    _mm256_fmadd_ps,
    _mm256_fnmadd_ps,
    _mm256_max_ps,
    _mm256_setzero_ps,
    _mm256_min_ps,
    keep_256
);
