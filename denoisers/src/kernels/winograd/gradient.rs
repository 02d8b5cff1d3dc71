//! The gradient of the weights, at the points: `Σ_tiles (Bᵀ d B) (A g Aᵀ)`, then `Gᵀ s G` once for each kernel.

use std::{ops::Range, ptr};

use super::{
    POINTS, Winograd,
    transform::{kernel_gradients, transform_gradient, transform_input},
};
use crate::{
    graph::Conv,
    kernels::{
        buffer::Buffer,
        layout::{CHANNELS, Job},
        panel::{self, Left, Outer, Right, panels},
        simd::Simd,
    },
};

impl Winograd {
    /// Floats in which a part of the tiles is summed up: as the weights, then the bias.
    pub(in crate::kernels) fn sums(&self) -> usize {
        self.weights.len() + self.out_channels
    }

    /// Adds the gradients from these tiles to `sums`. Here the job's `from` is the convolution's input and `to` the gradient of its
    /// output, which is only read.
    ///
    /// # Safety
    /// As for [`Winograd::tiles`], but nobody writes to either buffer meanwhile, and nobody else uses `sums`, which is good for
    /// [`Winograd::sums`].
    #[inline(always)]
    pub(in crate::kernels) unsafe fn accumulate_gradient<S: Simd>(
        &self,
        job: &Job,
        tiles: Range<usize>,
        scratch: *mut f32,
        sums: *mut f32,
    ) {
        let count = tiles.len();
        let (in_slab, out_slab) = (Self::slab(count, self.in_channels), Self::slab(count, self.out_channels));
        let place = job.to_layout.places();
        let panels = self.out_channels / self.panel;
        // SAFETY: as in `tiles`; beyond the picture the gradients are zero like everything there; sums are laid out like the
        // weights, followed by the bias.
        unsafe {
            let gradients = scratch.add(POINTS * in_slab);
            let bias = sums.add(self.weights.len());
            for (i, tile) in tiles.enumerate() {
                let (picture, y, x) = place.tile(tile);
                let from = job.from.add(job.from_layout.at(picture, y, x));
                let steps = (job.from_layout.row(), job.from_layout.channels);
                for c in (0..self.in_channels).step_by(S::LANES) {
                    let to = scratch.add(i * self.in_channels + c);
                    transform_input::<S>(from.add(c), steps, to, in_slab);
                }
                let from = job.to.add(job.to_layout.at(picture, y + 1, x + 1)).cast_const();
                let steps = (job.to_layout.row(), job.to_layout.channels);
                for c in (0..self.out_channels).step_by(S::LANES) {
                    let to = gradients.add(i * self.out_channels + c);
                    let sum = transform_gradient::<S>(from.add(c), steps, to, out_slab);
                    S::store(bias.add(c), S::add(S::load(bias.add(c)), sum));
                }
            }
            for point in 0..POINTS {
                for p in 0..panels {
                    let from = gradients.add(point * out_slab + p * self.panel);
                    let outer = Outer {
                        left: Left { from: scratch.add(point * in_slab), row: 1, term: self.in_channels },
                        right: Right { from, term: self.out_channels, ahead: ptr::null() },
                        terms: count,
                        to: sums.add((point * panels + p) * self.in_channels * self.panel),
                    };
                    panels!(S, self.panel, outer, self.in_channels);
                }
            }
        }
    }

    /// The gradients for these output channels, at most 16 from a multiple of 16 on, from the sums of all parts in their order:
    /// `weight` and `bias` get what belongs to them in the convolution's own order.
    pub(in crate::kernels) fn fold(
        &self,
        conv: &Conv,
        parts: &[Buffer],
        outs: Range<usize>,
        weight: &mut [f32],
        bias: &mut [f32],
    ) {
        let panels = self.out_channels / self.panel;
        let total = |at: usize| -> [f64; CHANNELS] {
            let mut total = [0.0; CHANNELS];
            for part in parts {
                for (total, value) in total.iter_mut().zip(&part.as_slice()[at..at + CHANNELS]) {
                    *total += f64::from(*value);
                }
            }
            total
        };
        for input in 0..conv.in_channels {
            let points: [[f64; CHANNELS]; POINTS] = std::array::from_fn(|point| {
                let row = (point * panels + outs.start / self.panel) * self.in_channels + input;
                total(row * self.panel + outs.start % self.panel)
            });
            let kernels = kernel_gradients(&points);
            for (lane, weight) in weight.chunks_exact_mut(conv.in_channels * 9).enumerate() {
                for (value, kernel) in weight[input * 9..].iter_mut().zip(&kernels) {
                    *value = kernel[lane];
                }
            }
        }
        for (bias, total) in bias.iter_mut().zip(total(self.weights.len() + outs.start)) {
            *bias = total as f32;
        }
    }
}
