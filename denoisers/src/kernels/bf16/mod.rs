//! Convolutions of numbers with 8 significant bits (bfloat16), summed in single precision.
//!
//! # The arithmetic
//! It is that of the matrix tiles (AMX) of Intel's processors, so that those can do it at their full speed and any other processor
//! can give the same bits. Weights and features are rounded to bf16 ([`round`]). The numbers that an output sums up, kernel
//! row by kernel row, are taken in steps of [`STEP`]; the last step of a row is filled up by weights of zero. In a step the products of even and of
//! odd place are summed up apart, from 0, by fused multiply-adds in f32; the sum of both is added to the output's sum, which starts from the bias.
//! Addition and rectifier follow, and the result is rounded. Biases, and what only the exit reads, stay in f32.
//!
//! Matrix tiles take subnormal numbers for zero. [`round`] leaves none, nor any number so small that a sum of products
//! could become one, so this makes no difference.
//!
//! Pictures enter as two numbers each, rounded and what is left ([`split`](super::edge)), both multiplied by the same weight: 16 significant
//! bits for the noisy picture at next to no cost, as its few channels leave most of a step empty.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(super) mod amx;
mod rounded;

use std::ops::Range;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use amx::Tiles;
use half::bf16;
use rounded::Rounded;

use super::{
    Instructions,
    layout::{Cell, Job, Layout},
    shape::{Place, Shape},
    simd::Simd,
};
use crate::graph::{Conv, Kind};

/// Numbers that are summed up apart before they are added to the rest: a tile's width.
pub(super) const STEP: usize = 32;

/// Below this everything is zero. Products of larger bf16 numbers are multiples of 2⁻¹¹⁴, and so are sums of them however rounded:
/// never subnormal.
pub(super) const SMALLEST: f32 = 1.0 / (1_u64 << 50) as f32;

/// To the nearest bf16, ties to the even one; less than [`SMALLEST`] to +0.
pub(super) fn round(value: f32) -> bf16 {
    bf16::from_f32(large(value))
}

/// +0 in place of what is less than [`SMALLEST`].
fn large(value: f32) -> f32 {
    if value.abs() < SMALLEST { 0.0 } else { value }
}

/// Whether this processor does the arithmetic on matrix tiles, beside these instructions.
pub(super) fn on_tiles(instructions: Instructions) -> bool {
    match instructions {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        Instructions::Avx512 => amx::available(),
        _ => false,
    }
}

/// A convolution with its weights packed.
pub(super) enum Layer {
    Rounded(Rounded),
    /// Where [`on_tiles`] says so.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Tiles(Tiles),
}

impl Layer {
    /// For features in [`Cell::Bf16`], only where the processor has matrix tiles, or in [`Cell::Rounded`]; `channels` numbers a pixel, which
    /// are `split` or not.
    pub(super) fn new(conv: &Conv, cell: Cell, channels: usize, split: bool) -> Self {
        match cell {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Cell::Bf16 => Self::Tiles(Tiles::new(conv, channels, split)),
            _ => Self::Rounded(Rounded::new(conv, channels, split)),
        }
    }

    /// Takes new weights for the same convolution.
    pub(super) fn pack(&mut self, conv: &Conv) {
        match self {
            Self::Rounded(rounded) => rounded.pack(conv),
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Tiles(tiles) => tiles.pack(conv),
        }
    }

    /// Rows, or tiles, that one picture of outputs consists of.
    pub(super) fn units(&self, to: &Layout) -> usize {
        match self {
            Self::Rounded(rounded) => rounded.rows_per_picture(to),
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Tiles(tiles) => tiles.units(to),
        }
    }

    /// Units of one picture whose outputs all lie in the first rows, which are not all.
    pub(super) fn units_within(&self, to: &Layout, rows: usize) -> usize {
        match self {
            Self::Rounded(rounded) => rows * rounded.rows_per_picture(to) / to.height,
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Tiles(tiles) => tiles.units_within(to, rows),
        }
    }

    /// Rows of outputs of one picture that the first units, which are not all, make complete.
    pub(super) fn rows(&self, to: &Layout, units: usize) -> usize {
        match self {
            Self::Rounded(rounded) => units * (to.height / rounded.rows_per_picture(to)),
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Tiles(tiles) => tiles.rows(to, units),
        }
    }

    /// How many of them make one item of work.
    pub(super) fn block(&self, to: &Layout, threads: usize) -> usize {
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        let _ = threads;
        match self {
            Self::Rounded(_) => (128 / to.width).max(1),
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Tiles(tiles) => tiles.block(to, threads),
        }
    }

    /// Floats of scratch memory.
    pub(super) fn scratch(&self) -> usize {
        match self {
            Self::Rounded(_) => 0,
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Tiles(_) => Tiles::scratch(),
        }
    }

    /// Computes the convolution.
    ///
    /// # Safety
    /// As [`Rounded::rows`] and [`Tiles::compute`] ask.
    #[inline(always)]
    pub(super) unsafe fn compute<S: Simd>(&self, job: &Job, units: Range<usize>, scratch: *mut f32) {
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        let _ = scratch;
        // SAFETY: as the caller promises; the layer has tiles only where the processor has.
        unsafe {
            match self {
                Self::Rounded(rounded) => rounded.rows::<S>(job, units),
                #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
                Self::Tiles(tiles) => tiles.compute(job, units, scratch),
            }
        }
    }
}

/// Steps of one kernel row.
fn steps(shape: &Shape) -> usize {
    shape.run.div_ceil(STEP)
}

/// Where a weight goes: interleaved grid, output channel, step of all the kernel's, place in the step.
struct Packed {
    grid: usize,
    out: usize,
    step: usize,
    place: usize,
}

/// All weights, rounded; those of a split input twice.
fn weights(conv: &Conv, shape: Shape, split: bool) -> impl Iterator<Item = (Packed, bf16)> {
    let columns = if conv.kind == Kind::Up2x2 { 1 } else { conv.kind.size() };
    let channels = shape.run / columns;
    let copies = if split { 2 } else { 1 };
    Shape::places(conv).flat_map(move |(from, Place { grid, out, row, column, input })| {
        let value = round(conv.weight[from]);
        (0..copies).map(move |copy| {
            let at = column * channels + copy * conv.in_channels + input;
            let step = row * steps(&shape) + at / STEP;
            (Packed { grid, out, step, place: at % STEP }, value)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_the_nearest_and_leaves_nothing_tiny() {
        for (value, rounded) in [
            (1.0, 1.0),
            (1.0 + 1.0 / 256.0, 1.0),
            (1.0 + 3.0 / 256.0, 1.0 + 1.0 / 64.0),
            (-1.0 - 1.1 / 256.0, -1.0 - 1.0 / 128.0),
            (SMALLEST, SMALLEST),
            (-SMALLEST * 0.999, 0.0),
            (f32::MAX, f32::INFINITY),
        ] {
            assert_eq!(round(value).to_f32().to_bits(), f32::to_bits(rounded), "{value}");
        }
        assert!(round(f32::NAN).is_nan());
    }
}
