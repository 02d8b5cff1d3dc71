//! NEON, which every 64-bit ARM processor has.

use std::arch::aarch64::{
    float32x4_t, vaddq_f32, vandq_u32, vcgtzq_f32, vcltq_f32, vdupq_n_f32, vfmaq_f32, vfmsq_f32, vld1q_f32,
    vminq_f32, vreinterpretq_f32_u32, vreinterpretq_u32_f32, vst1q_f32, vsubq_f32,
};

use super::simd::Simd;

/// Four lanes, 32 registers.
#[derive(Clone, Copy)]
pub(super) struct Neon;

impl Simd for Neon {
    type V = float32x4_t;
    const LANES: usize = 4;
    const PANELS: &'static [usize] = &[16];

    #[inline(always)]
    unsafe fn splat(x: f32) -> float32x4_t {
        // SAFETY: every aarch64 processor has NEON.
        unsafe { vdupq_n_f32(x) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> float32x4_t {
        // SAFETY: the caller promises four readable floats.
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: float32x4_t) {
        // SAFETY: the caller promises four writable floats.
        unsafe { vst1q_f32(to, v) }
    }

    #[inline(always)]
    unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: every aarch64 processor has NEON.
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: every aarch64 processor has NEON.
        unsafe { vsubq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: every aarch64 processor has NEON.
        unsafe { vfmaq_f32(c, a, b) }
    }

    #[inline(always)]
    unsafe fn mul_sub_from(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: every aarch64 processor has NEON.
        unsafe { vfmsq_f32(c, a, b) }
    }

    /// NEON's own maximum would hand on NaN and prefer neither zero; a mask does what the other instruction sets do.
    #[inline(always)]
    unsafe fn relu(a: float32x4_t) -> float32x4_t {
        // SAFETY: every aarch64 processor has NEON.
        unsafe { vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a), vcgtzq_f32(a))) }
    }

    #[inline(always)]
    unsafe fn keep(a: float32x4_t, mask: float32x4_t, ceiling: float32x4_t) -> float32x4_t {
        // SAFETY: every aarch64 processor has NEON.
        unsafe {
            let between = vandq_u32(vcgtzq_f32(mask), vcltq_f32(mask, ceiling));
            vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a), between))
        }
    }

    #[inline(always)]
    unsafe fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: every aarch64 processor has NEON.
        unsafe { vminq_f32(a, b) }
    }
}
