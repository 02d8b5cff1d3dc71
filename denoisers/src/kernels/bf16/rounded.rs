//! The arithmetic of [`super`] on any processor: numbers rounded to bf16, held as f32.

use std::ops::Range;

use super::{STEP, large, steps, weights};
use crate::{
    graph::Conv,
    kernels::{
        buffer::Buffer,
        layout::{CHANNELS, Finish, Job, Layout},
        panel::{self, Rows},
        shape::Shape,
        simd::Simd,
    },
};

/// Packed weights of one convolution.
pub(in crate::kernels) struct Rounded {
    shape: Shape,
    split: bool,
    /// `[upscale², out / 16, rows * steps, STEP, 16]`.
    weights: Buffer,
    /// `[out]`.
    bias: Buffer,
}

impl Rounded {
    /// Packs for an input with `channels` numbers a pixel, which are `split` or not.
    pub(super) fn new(conv: &Conv, channels: usize, split: bool) -> Self {
        let shape = Shape::of(conv, channels);
        let tiles = conv.out_channels.div_ceil(CHANNELS);
        let numbers = shape.grids() * tiles * shape.rows * steps(&shape) * STEP * CHANNELS;
        let (weights, bias) = (Buffer::zeroed(numbers), Buffer::zeroed(tiles * CHANNELS));
        let mut this = Self { shape, split, weights, bias };
        this.pack(conv);
        this
    }

    /// Takes new weights for the same convolution.
    pub(super) fn pack(&mut self, conv: &Conv) {
        for (to, bias) in self.bias.as_mut_slice().iter_mut().zip(&conv.bias) {
            *to = large(*bias);
        }
        let tiles = conv.out_channels.div_ceil(CHANNELS);
        let all_steps = self.shape.rows * steps(&self.shape);
        let packed = self.weights.as_mut_slice();
        for (to, value) in weights(conv, self.shape, self.split) {
            let tile = (to.grid * tiles + to.out / CHANNELS) * all_steps + to.step;
            packed[(tile * STEP + to.place) * CHANNELS + to.out % CHANNELS] = value.to_f32();
        }
    }

    /// How many rows a picture gives to [`Rounded::rows`].
    pub(super) fn rows_per_picture(&self, to: &Layout) -> usize {
        to.height / self.shape.upscale
    }

    /// Computes the output rows of these numbers, as [`Direct::rows`](crate::kernels::direct::Direct::rows) does.
    ///
    /// # Safety
    /// As there; the input has a tail (`Layout::tail`), for the last step of a run reads beyond it.
    #[inline(always)]
    pub(super) unsafe fn rows<S: Simd>(&self, job: &Job, rows: Range<usize>) {
        let Shape { stride, offset, upscale, .. } = self.shape;
        let per_picture = self.rows_per_picture(&job.to_layout);
        let (from, to) = (&job.from_layout, &job.to_layout);
        let tiles = to.channels / CHANNELS;
        let steps = steps(&self.shape);
        for row in rows {
            let (picture, y) = (row / per_picture, row % per_picture);
            for part in 0..self.shape.grids() * tiles {
                let (grid, tile) = (part / tiles, part % tiles);
                let (dy, dx) = (grid / upscale, grid % upscale);
                let at = to.at(picture, y * upscale + dy + 1, dx + 1) + tile * CHANNELS;
                // SAFETY: the offsets are within the buffers that the caller vouches for: the kernel's first pixel, this part's
                // weights and bias, and the first output pixel of the row.
                unsafe {
                    let line = Line {
                        from: job.from.add(from.at(picture, y * stride + offset, offset)),
                        from_row: from.row(),
                        from_step: stride * from.channels,
                        rows: self.shape.rows,
                        steps,
                        weights: self.weights.as_ptr().add(part * self.shape.rows * steps * STEP * CHANNELS),
                        bias: self.bias.as_ptr().add(tile * CHANNELS),
                        to: job.to.add(at),
                        to_step: upscale * to.channels,
                        finish: Finish::of(job, at),
                    };
                    let width = to.width / upscale;
                    // Two sums of a step, the sum so far, and a weight for each vector of sixteen channels.
                    match S::LANES {
                        16 => panel::all::<S, _, 6, 1>(&line, width),
                        8 => panel::all::<S, _, 2, 2>(&line, width),
                        _ => panel::all::<S, _, 2, 4>(&line, width),
                    }
                }
            }
        }
    }
}

/// One row of outputs, sixteen channels.
struct Line {
    from: *const f32,
    from_row: usize,
    from_step: usize,
    rows: usize,
    steps: usize,
    weights: *const f32,
    bias: *const f32,
    to: *mut f32,
    to_step: usize,
    finish: Finish,
}

impl Rows for Line {
    /// `M` neighbouring outputs, `N` vectors, which are sixteen channels.
    #[inline(always)]
    unsafe fn rows<S: Simd, const M: usize, const N: usize>(&self, x: usize) {
        // SAFETY: the caller has `S` and vouches for `M` outputs from `x` on; each reads `rows` times `steps` steps, the weights of
        // the tile in order, and writes `N` vectors.
        unsafe {
            let mut sums = [[S::splat(0.0); N]; M];
            for sums in &mut sums {
                for (n, sum) in sums.iter_mut().enumerate() {
                    *sum = S::load(self.bias.add(n * S::LANES));
                }
            }
            let mut weights = self.weights;
            for row in 0..self.rows {
                let from = self.from.add(row * self.from_row + x * self.from_step);
                for step in 0..self.steps {
                    let mut halves = [[[S::splat(0.0); N]; M]; 2];
                    for place in 0..STEP {
                        let half = &mut halves[place % 2];
                        for n in 0..N {
                            let weight = S::load(weights.add(place * CHANNELS + n * S::LANES));
                            for (m, half) in half.iter_mut().enumerate() {
                                let factor = S::splat(*from.add(m * self.from_step + step * STEP + place));
                                half[n] = S::mul_add(factor, weight, half[n]);
                            }
                        }
                    }
                    for (m, sums) in sums.iter_mut().enumerate() {
                        for (n, sum) in sums.iter_mut().enumerate() {
                            *sum = S::add(*sum, S::add(halves[0][m][n], halves[1][m][n]));
                        }
                    }
                    weights = weights.add(STEP * CHANNELS);
                }
            }
            for (m, sums) in sums.iter().enumerate() {
                for (n, sum) in sums.iter().enumerate() {
                    let at = (x + m) * self.to_step + n * S::LANES;
                    S::store(self.to.add(at), self.finish.apply::<S>(*sum, at));
                }
            }
        }
    }
}
