//! The gradient of the weights: for each kernel position the sum over the pixels of input times output gradient.

use std::{ops::Range, ptr};

use super::Direct;
use crate::{
    graph::Conv,
    kernels::{
        buffer::Buffer,
        layout::Job,
        panel::{self, Left, Outer, Right, panels},
        simd::Simd,
    },
};

impl Direct {
    /// Floats in which a part of the rows is summed up: as the weights, then the bias.
    pub(in crate::kernels) fn sums(&self) -> usize {
        self.weights.len() + self.bias.len()
    }

    /// Adds the gradients from these rows to `sums`. Here the job's `from` is the convolution's input and `to` the gradient of its
    /// output, which is only read.
    ///
    /// # Safety
    /// As for [`Direct::rows`], but nobody writes to either buffer meanwhile, and nobody else uses `sums`, which is good for
    /// [`Direct::sums`].
    #[inline(always)]
    pub(in crate::kernels) unsafe fn accumulate_gradient<S: Simd>(
        &self,
        job: &Job,
        rows: Range<usize>,
        sums: *mut f32,
    ) {
        let per_picture = self.rows_per_picture(&job.to_layout);
        let (from, to) = (&job.from_layout, &job.to_layout);
        let width = to.width / self.shape.upscale;
        let panels = to.channels / self.panel;
        for row in rows {
            let (picture, y) = (row / per_picture, row % per_picture);
            for grid in 0..self.shape.upscale * self.shape.upscale {
                let (dy, dx) = (grid / self.shape.upscale, grid % self.shape.upscale);
                // SAFETY: the offsets are those of the forward pass; sums are laid out like the weights, followed by the bias.
                unsafe {
                    let gradient =
                        job.to.add(to.at(picture, y * self.shape.upscale + dy + 1, dx + 1)).cast_const();
                    let term = self.shape.upscale * to.channels;
                    for c in (0..to.channels).step_by(S::LANES) {
                        let bias = sums.add(self.weights.len() + c);
                        let mut sum = S::load(bias);
                        for x in 0..width {
                            sum = S::add(sum, S::load(gradient.add(x * term + c)));
                        }
                        S::store(bias, sum);
                    }
                    for line in 0..panels * self.shape.rows {
                        let (p, r) = (line / self.shape.rows, line % self.shape.rows);
                        let first = from.at(
                            picture,
                            y * self.shape.stride + self.shape.offset + r,
                            self.shape.offset,
                        );
                        let outer = Outer {
                            left: Left {
                                from: job.from.add(first),
                                row: 1,
                                term: self.shape.stride * from.channels,
                            },
                            right: Right { from: gradient.add(p * self.panel), term, ahead: ptr::null() },
                            terms: width,
                            to: sums
                                .add((grid * panels * self.shape.rows + line) * self.shape.run * self.panel),
                        };
                        panels!(S, self.panel, outer, self.shape.run);
                    }
                }
            }
        }
    }

    /// The gradients from the sums of all parts in their order, in the convolution's own order.
    pub(in crate::kernels) fn fold(
        &self,
        conv: &Conv,
        parts: &[Buffer],
        weight: &mut [f32],
        bias: &mut [f32],
    ) {
        let total = |at: usize| parts.iter().map(|part| f64::from(part.as_slice()[at])).sum::<f64>() as f32;
        for (place, packed) in self.places(conv) {
            weight[place] = total(packed);
        }
        for (out, bias) in bias.iter_mut().enumerate() {
            *bias = total(self.weights.len() + out);
        }
    }
}
