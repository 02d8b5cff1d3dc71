//! Convolutions of each channel by itself. There is little to compute for each number read, so this is a plain sum over the pixels
//! that lie within the picture, a vector of channels at a time.

use std::ops::Range;

use super::{
    buffer::Buffer,
    layout::{CHANNELS, Finish, Job, Layout},
    simd::Simd,
};
use crate::graph::Conv;

/// Packed weights of one convolution.
pub(super) struct Depthwise {
    size: usize,
    stride: usize,
    before: usize,
    /// Padded.
    channels: usize,
    /// `[size, size, channels]`.
    weights: Buffer,
    /// `[channels]`.
    bias: Buffer,
}

impl Depthwise {
    pub(super) fn new(conv: &Conv, size: usize, stride: usize, before: usize) -> Self {
        let channels = conv.out_channels.next_multiple_of(CHANNELS);
        let (weights, bias) = (Buffer::zeroed(size * size * channels), Buffer::zeroed(channels));
        let mut this = Self { size, stride, before, channels, weights, bias };
        this.pack(conv);
        this
    }

    /// Takes new weights for the same convolution.
    pub(super) fn pack(&mut self, conv: &Conv) {
        self.bias.as_mut_slice()[..conv.out_channels].copy_from_slice(&conv.bias);
        let weights = self.weights.as_mut_slice();
        for (channel, kernel) in conv.weight.chunks_exact(self.size * self.size).enumerate() {
            for (position, value) in kernel.iter().enumerate() {
                weights[position * self.channels + channel] = *value;
            }
        }
    }

    /// Kernel rows, or columns, that lie within `length` pixels for this output, and the first pixel under them.
    fn within(&self, output: usize, length: usize) -> (Range<usize>, usize) {
        let first = output * self.stride;
        let from = self.before.saturating_sub(first);
        let to = (length + self.before).saturating_sub(first).min(self.size);
        (from..to.max(from), first + from - self.before.min(first + from))
    }

    /// Computes the output rows of these numbers, counted through all pictures.
    ///
    /// # Safety
    /// The processor has `S`; `job` is as [`Job`] says and fits the convolution, both layouts with padded channels; the rows are within the
    /// pictures; no other thread reads or writes these output rows, or writes the input.
    #[inline(always)]
    pub(super) unsafe fn rows<S: Simd>(&self, job: &Job, rows: Range<usize>) {
        let (from, to) = (&job.from_layout, &job.to_layout);
        for row in rows {
            let (picture, y) = (row / to.height, row % to.height);
            let (kernel_rows, top) = self.within(y, from.height);
            for x in 0..to.width {
                let (kernel_columns, left) = self.within(x, from.width);
                let at = to.at(picture, y + 1, x + 1);
                for c in (0..self.channels).step_by(S::LANES) {
                    // SAFETY: only pixels within the picture are read, and this output is written.
                    unsafe {
                        let mut sum = S::load(self.bias.as_ptr().add(c));
                        for (dy, ky) in kernel_rows.clone().enumerate() {
                            for (dx, kx) in kernel_columns.clone().enumerate() {
                                let pixel = from.at(picture, top + dy + 1, left + dx + 1) + c;
                                let weight = (ky * self.size + kx) * self.channels + c;
                                let weight = S::load(self.weights.as_ptr().add(weight));
                                sum = S::mul_add(S::load(job.from.add(pixel)), weight, sum);
                            }
                        }
                        let finish = Finish::of(job, at + c);
                        S::store(job.to.add(at + c), finish.apply::<S>(sum, 0));
                    }
                }
            }
        }
    }

    /// Floats in which a part of the rows is summed up: as the weights, then the bias.
    pub(super) fn sums(&self) -> usize {
        self.weights.len() + self.channels
    }

    /// Adds the gradients from these rows to `sums`. Here the job's `from` is the convolution's input and `to` the gradient of its
    /// output, which is only read.
    ///
    /// # Safety
    /// As for [`Depthwise::rows`], but nobody writes to either buffer meanwhile, and nobody else uses `sums`, which is good for
    /// [`Depthwise::sums`].
    #[inline(always)]
    pub(super) unsafe fn accumulate_gradient<S: Simd>(&self, job: &Job, rows: Range<usize>, sums: *mut f32) {
        let (from, to): (&Layout, &Layout) = (&job.from_layout, &job.to_layout);
        for row in rows {
            let (picture, y) = (row / to.height, row % to.height);
            let (kernel_rows, top) = self.within(y, from.height);
            for x in 0..to.width {
                let (kernel_columns, left) = self.within(x, from.width);
                let at = to.at(picture, y + 1, x + 1);
                for c in (0..self.channels).step_by(S::LANES) {
                    // SAFETY: as in `rows`; sums are laid out like the weights, followed by the bias.
                    unsafe {
                        let gradient = S::load(job.to.add(at + c));
                        let bias = sums.add(self.weights.len() + c);
                        S::store(bias, S::add(S::load(bias), gradient));
                        for (dy, ky) in kernel_rows.clone().enumerate() {
                            for (dx, kx) in kernel_columns.clone().enumerate() {
                                let pixel = from.at(picture, top + dy + 1, left + dx + 1) + c;
                                let sum = sums.add((ky * self.size + kx) * self.channels + c);
                                let value = S::load(job.from.add(pixel));
                                S::store(sum, S::mul_add(value, gradient, S::load(sum)));
                            }
                        }
                    }
                }
            }
        }
    }

    /// The gradients from the sums of all parts in their order, in the convolution's own order.
    pub(super) fn fold(&self, parts: &[Buffer], weight: &mut [f32], bias: &mut [f32]) {
        let total = |at: usize| parts.iter().map(|part| f64::from(part.as_slice()[at])).sum::<f64>() as f32;
        for (i, value) in weight.iter_mut().enumerate() {
            let (channel, position) = (i / (self.size * self.size), i % (self.size * self.size));
            *value = total(position * self.channels + channel);
        }
        for (channel, value) in bias.iter_mut().enumerate() {
            *value = total(self.weights.len() + channel);
        }
    }
}
