//! What the processor can do at most: multiplications and additions with nothing else to do, to compare kernels with.

use std::{hint::black_box, time::Instant};

use super::{Instructions, bf16, simd::Simd};
use crate::precision::Precision;

/// Sums that do not wait for each other: enough for two units of a latency of up to six, few enough for 16 registers.
const SUMS: usize = 12;
/// Multiplications and additions of a probe in one thread take about this long.
const SECONDS: f64 = 0.02;

/// What a kernel of this precision is made of here.
pub(crate) fn instructions(precision: Precision) -> &'static str {
    let best = best();
    match best {
        _ if precision == Precision::Bf16 && bf16::on_tiles(best) => "AMX",
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => "AVX-512",
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => "AVX2",
        #[cfg(target_arch = "aarch64")]
        Instructions::Neon => "NEON",
        Instructions::Portable => "portable",
    }
}

/// Multiplications and additions a second of all threads of the current rayon pool together, in units of 1e9.
pub(crate) fn measure(precision: Precision) -> f64 {
    let probe = probe(precision);
    // Each time twice as long, until it is long enough: the clock may have to rise first.
    let mut rounds = 1 << 12;
    loop {
        let start = Instant::now();
        let operations: f64 = rayon::broadcast(|_| probe(rounds)).into_iter().sum();
        let seconds = start.elapsed().as_secs_f64();
        if seconds >= SECONDS {
            return operations / seconds * 1e-9;
        }
        rounds *= 2;
    }
}

fn best() -> Instructions {
    Instructions::detect().next().unwrap_or(Instructions::Portable)
}

/// Does so many rounds, and says how many operations that was.
type Probe = fn(u32) -> f64;

fn probe(precision: Precision) -> Probe {
    let best = best();
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if precision == Precision::Bf16 && bf16::on_tiles(best) {
        return bf16::amx::probe;
    }
    let _ = precision;
    match best {
        // SAFETY: `detect` says that the processor has them.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => |rounds| unsafe { avx512(rounds) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => |rounds| unsafe { avx2(rounds) },
        // SAFETY: every aarch64 processor has NEON.
        #[cfg(target_arch = "aarch64")]
        Instructions::Neon => |rounds| unsafe { fused::<super::neon::Neon>(rounds) },
        // SAFETY: it needs nothing.
        Instructions::Portable => |rounds| unsafe { fused::<super::Portable>(rounds) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512(rounds: u32) -> f64 {
    // SAFETY: the instruction set is that of this function.
    unsafe { fused::<super::x86::Avx512>(rounds) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(rounds: u32) -> f64 {
    // SAFETY: the instruction set is that of this function.
    unsafe { fused::<super::x86::Avx2>(rounds) }
}

/// Fused multiply-adds.
///
/// # Safety
/// The processor has `S`.
#[inline(always)]
unsafe fn fused<S: Simd>(rounds: u32) -> f64 {
    // SAFETY: as the caller promises; a vector has at most 16 lanes.
    unsafe {
        let (factor, term) = (S::splat(black_box(0.5)), S::splat(black_box(1.0)));
        let mut sums = [S::splat(0.0); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = S::mul_add(*sum, factor, term);
            }
        }
        for sum in sums {
            let mut lanes = [0.0; 16];
            S::store(lanes.as_mut_ptr(), sum);
            black_box(lanes);
        }
    }
    2.0 * (SUMS * S::LANES) as f64 * f64::from(rounds)
}
