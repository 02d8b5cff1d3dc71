//! Convolutions as they are written: a sum over the pixels under the kernel.
//!
//! With channels innermost, the pixels of one kernel row are one run of floats, so a convolution of any size and stride is a
//! matrix product whose left rows overlap ([`Shape`]). The inner kernel holds a few neighbouring outputs times one panel of channels
//! in registers.

use std::{ops::Range, ptr};

mod gradient;

use super::{
    buffer::Buffer,
    layout::{CHANNELS, Finish, Job, Layout},
    panel::{self, Left, Right, panels},
    shape::{Place, Shape},
    simd::Simd,
};
use crate::graph::{Conv, Kind};

/// Packed weights of one convolution.
pub(super) struct Direct {
    shape: Shape,
    panel: usize,
    /// `[upscale², out / panel, rows, run, panel]`.
    weights: Buffer,
    /// `[out]`.
    bias: Buffer,
}

impl Direct {
    /// Packs for an input with `channels` floats a pixel, for an instruction set with these panels.
    pub(super) fn new(conv: &Conv, channels: usize, sizes: &[usize]) -> Self {
        let shape = Shape::of(conv, channels);
        let padded = conv.out_channels.next_multiple_of(CHANNELS);
        let panel = panel::size(padded, sizes);
        let weights = Buffer::zeroed(shape.grids() * shape.rows * shape.run * padded);
        let bias = Buffer::zeroed(padded);
        let mut this = Self { shape, panel, weights, bias };
        this.pack(conv);
        this
    }

    /// Takes new weights for the same convolution.
    pub(super) fn pack(&mut self, conv: &Conv) {
        self.bias.as_mut_slice()[..conv.out_channels].copy_from_slice(&conv.bias);
        let places = self.places(conv);
        let weights = self.weights.as_mut_slice();
        for (from, to) in places {
            weights[to] = conv.weight[from];
        }
    }

    /// For each weight its index in the convolution and in the packed order.
    fn places(&self, conv: &Conv) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (Shape { rows, run, .. }, panel) = (self.shape, self.panel);
        let channels = run / if conv.kind == Kind::Up2x2 { 1 } else { conv.kind.size() };
        let panels = conv.out_channels.next_multiple_of(CHANNELS) / panel;
        Shape::places(conv).map(move |(from, Place { grid, out, row, column, input })| {
            let run = ((grid * panels + out / panel) * rows + row) * run;
            (from, (run + column * channels + input) * panel + out % panel)
        })
    }

    /// How many rows a picture gives to [`Direct::rows`].
    pub(super) fn rows_per_picture(&self, to: &Layout) -> usize {
        to.height / self.shape.upscale
    }

    /// Computes the output rows of these numbers, counted through all pictures; for the transposed convolution the two output
    /// rows of each of these input rows.
    ///
    /// # Safety
    /// The processor has `S`; `job` is as [`Job`] says and fits the convolution; `rows` ends at most at `job.pictures` times
    /// [`Direct::rows_per_picture`]; no other thread reads or writes these output rows, or writes the input.
    #[inline(always)]
    pub(super) unsafe fn rows<S: Simd>(&self, job: &Job, rows: Range<usize>) {
        let per_picture = self.rows_per_picture(&job.to_layout);
        let (from, to) = (&job.from_layout, &job.to_layout);
        let width = to.width / self.shape.upscale;
        let panels = to.channels / self.panel;
        for row in rows {
            let (picture, y) = (row / per_picture, row % per_picture);
            for part in 0..self.shape.upscale * self.shape.upscale * panels {
                let (grid, p) = (part / panels, part % panels);
                let (dy, dx) = (grid / self.shape.upscale, grid % self.shape.upscale);
                let at = to.at(picture, y * self.shape.upscale + dy + 1, dx + 1) + p * self.panel;
                // SAFETY: the offsets are within the buffers that the caller vouches for: the kernel's first pixel, this part's
                // weights and bias, and the first output pixel of the row.
                unsafe {
                    let line = Line {
                        from: job.from.add(from.at(
                            picture,
                            y * self.shape.stride + self.shape.offset,
                            self.shape.offset,
                        )),
                        from_row: from.row(),
                        from_step: self.shape.stride * from.channels,
                        rows: self.shape.rows,
                        run: self.shape.run,
                        weights: self
                            .weights
                            .as_ptr()
                            .add(part * self.shape.rows * self.shape.run * self.panel),
                        bias: self.bias.as_ptr().add(p * self.panel),
                        to: job.to.add(at),
                        to_step: self.shape.upscale * to.channels,
                        finish: Finish::of(job, at),
                    };
                    panels!(S, self.panel, line, width);
                }
            }
        }
    }
}

/// One row of outputs, one panel of channels.
struct Line {
    from: *const f32,
    from_row: usize,
    from_step: usize,
    rows: usize,
    run: usize,
    weights: *const f32,
    bias: *const f32,
    to: *mut f32,
    to_step: usize,
    finish: Finish,
}

impl panel::Rows for Line {
    /// `M` neighbouring outputs, `N` vectors of channels.
    #[inline(always)]
    unsafe fn rows<S: Simd, const M: usize, const N: usize>(&self, x: usize) {
        // SAFETY: the caller has `S` and vouches for `M` outputs from `x` on; each reads `rows` runs, the weights of the panel
        // in order, and writes `N` vectors.
        unsafe {
            let mut sums = [[S::splat(0.0); N]; M];
            for n in 0..N {
                let bias = S::load(self.bias.add(n * S::LANES));
                for sums in &mut sums {
                    sums[n] = bias;
                }
            }
            let mut weights = self.weights;
            for row in 0..self.rows {
                let from = self.from.add(row * self.from_row + x * self.from_step);
                let left = Left { from, row: self.from_step, term: 1 };
                let right = Right { from: weights, term: N * S::LANES, ahead: ptr::null() };
                panel::accumulate::<S, M, N>(&mut sums, left, right, self.run);
                weights = weights.add(self.run * N * S::LANES);
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
