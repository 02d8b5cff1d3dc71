//! 3x3 convolutions of stride 1 by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2016): 36 multiplications for 16
//! outputs where the direct way takes 144.
//!
//! A tile of 6x6 inputs becomes 36 numbers (`Bᵀ d B`), the kernel became 36 when it was packed (`G g Gᵀ`); their products, summed
//! over the input channels, become 4x4 outputs (`Aᵀ m A`). For each of the 36 points the sum over channels is a matrix product, tiles
//! times channels, which is done for a block of tiles at once so that all of it stays in the cache.

use std::{ops::Range, ptr};

mod gradient;
mod transform;

use transform::{Output, kernels, transform_input};

use super::{
    buffer::Buffer,
    layout::{CHANNELS, Finish, Job, Layout},
    panel::{self, Left, Right, panels},
    simd::Simd,
};
use crate::graph::Conv;

/// Points of a transformed tile.
const POINTS: usize = 36;
/// Between the points' matrices in scratch memory, so that they do not compete for the same cache sets.
const GAP: usize = 16;

/// Transformed weights of one convolution.
pub(super) struct Winograd {
    /// Both padded.
    in_channels: usize,
    out_channels: usize,
    panel: usize,
    /// `[POINTS, out / panel, in, panel]`.
    weights: Buffer,
    /// `[out]`.
    bias: Buffer,
}

impl Winograd {
    /// Transforms the weights for an instruction set with these panels.
    pub(super) fn new(conv: &Conv, sizes: &[usize]) -> Self {
        let in_channels = conv.in_channels.next_multiple_of(CHANNELS);
        let out_channels = conv.out_channels.next_multiple_of(CHANNELS);
        let panel = panel::size(out_channels, sizes);
        let weights = Buffer::zeroed(POINTS * in_channels * out_channels);
        let mut this = Self { in_channels, out_channels, panel, weights, bias: Buffer::zeroed(out_channels) };
        this.pack(conv);
        this
    }

    /// Takes new weights for the same convolution.
    pub(super) fn pack(&mut self, conv: &Conv) {
        self.bias.as_mut_slice()[..conv.out_channels].copy_from_slice(&conv.bias);
        let panels = self.out_channels / self.panel;
        let weights = self.weights.as_mut_slice();
        // Sixteen output channels at a time, side by side.
        for out in (0..conv.out_channels).step_by(CHANNELS) {
            for input in 0..conv.in_channels {
                let mut kernel = [[0.0; CHANNELS]; 9];
                for lane in 0..CHANNELS.min(conv.out_channels - out) {
                    let from = &conv.weight[((out + lane) * conv.in_channels + input) * 9..][..9];
                    for (kernel, value) in kernel.iter_mut().zip(from) {
                        kernel[lane] = f64::from(*value);
                    }
                }
                for (point, values) in kernels(&kernel).iter().enumerate() {
                    let row = (point * panels + out / self.panel) * self.in_channels + input;
                    weights[row * self.panel + out % self.panel..][..CHANNELS].copy_from_slice(values);
                }
            }
        }
    }

    /// Floats of scratch memory for blocks of at most `tiles` tiles.
    pub(super) fn scratch(&self, tiles: usize) -> usize {
        POINTS * (Self::slab(tiles, self.in_channels) + Self::slab(tiles, self.out_channels))
    }

    /// Floats from point to point.
    fn slab(tiles: usize, channels: usize) -> usize {
        tiles * channels + GAP
    }

    /// Computes the tiles of these numbers, counted through all pictures.
    ///
    /// # Safety
    /// The processor has `S`; `job` is as [`Job`] says and fits the convolution, both layouts with padded channels; `tiles` is
    /// within the pictures; `scratch` is good for [`Winograd::scratch`] of its length and of no concern to other threads; no
    /// other thread reads or writes the outputs of these tiles, or writes the input.
    #[inline(always)]
    pub(super) unsafe fn tiles<S: Simd>(&self, job: &Job, tiles: Range<usize>, scratch: *mut f32) {
        let count = tiles.len();
        let (in_slab, out_slab) = (Self::slab(count, self.in_channels), Self::slab(count, self.out_channels));
        let place = job.to_layout.places();
        let total = place.per_picture * job.pictures;
        // SAFETY: the layouts reach one pixel beyond the last tile on every side, so all 6x6 inputs exist; scratch holds both
        // sets of slabs one after the other; outputs beyond the picture are not written; features that are asked for ahead
        // are within the buffers too.
        unsafe {
            let products = scratch.add(POINTS * in_slab);
            for (i, tile) in tiles.clone().enumerate() {
                let (picture, y, x) = place.tile(tile);
                let from = job.from.add(job.from_layout.at(picture, y, x));
                let steps = (job.from_layout.row(), job.from_layout.channels);
                for c in (0..self.in_channels).step_by(S::LANES) {
                    let to = scratch.add(i * self.in_channels + c);
                    transform_input::<S>(from.add(c), steps, to, in_slab);
                }
            }
            for point in 0..POINTS {
                // The products leave the memory idle: fetch the outputs' lines, and the inputs of the block that follows.
                for i in point * count / POINTS..(point + 1) * count / POINTS {
                    let (picture, y, x) = place.tile(tiles.start + i);
                    prefetch::<S>(job.to.add(job.to_layout.at(picture, y + 1, x + 1)), &job.to_layout);
                    let next = (tiles.start + i).wrapping_add_signed(job.ahead);
                    if next < total {
                        let (picture, y, x) = place.tile(next);
                        prefetch::<S>(
                            job.from.add(job.from_layout.at(picture, y + 2, x + 2)),
                            &job.from_layout,
                        );
                    }
                }
                for p in 0..self.out_channels / self.panel {
                    let row = (point * (self.out_channels / self.panel) + p) * self.in_channels;
                    let product = Product {
                        from: scratch.add(point * in_slab),
                        length: self.in_channels,
                        weights: self.weights.as_ptr().add(row * self.panel),
                        to: products.add(point * out_slab + p * self.panel),
                        to_step: self.out_channels,
                    };
                    panels!(S, self.panel, product, count);
                }
            }
            for (i, tile) in tiles.enumerate() {
                let (picture, y, x) = place.tile(tile);
                let at = job.to_layout.at(picture, y + 1, x + 1);
                for c in (0..self.out_channels).step_by(S::LANES) {
                    let output = Output {
                        to: job.to.add(at + c),
                        steps: (job.to_layout.row(), job.to_layout.channels),
                        size: ((job.to_layout.height - y).min(4), (job.to_layout.width - x).min(4)),
                        finish: Finish::of(job, at + c),
                    };
                    let bias = S::load(self.bias.as_ptr().add(c));
                    output.transform::<S>(products.add(i * self.out_channels + c), out_slab, bias);
                }
            }
        }
    }
}

/// Asks for 4x4 pixels.
///
/// # Safety
/// The pixels are within the buffer.
#[inline(always)]
unsafe fn prefetch<S: Simd>(from: *const f32, layout: &Layout) {
    for y in 0..4 {
        for line in (0..4 * layout.channels).step_by(panel::LINE) {
            // SAFETY: within the 4x4 pixels.
            unsafe { S::prefetch(from.add(y * layout.row() + line)) };
        }
    }
}

const _: () = assert!(Layout::TILE == 4, "the tiles here are 4x4");

/// Tiles times channels at one point, one panel.
struct Product {
    from: *const f32,
    length: usize,
    weights: *const f32,
    to: *mut f32,
    to_step: usize,
}

impl panel::Rows for Product {
    #[inline(always)]
    unsafe fn rows<S: Simd, const M: usize, const N: usize>(&self, x: usize) {
        // SAFETY: the caller has `S` and vouches for tiles `x..x + M`; rows of the left matrix lie `length` apart.
        unsafe {
            let mut sums = [[S::splat(0.0); N]; M];
            let from = self.from.add(x * self.length);
            let left = Left { from, row: self.length, term: 1 };
            // All the points' weights together are too many for the first-level cache, and for a few rows each time it would not pay to
            // wait for them. Those of the next panel lie behind this one's: the first rows fetch a share of them, a line a term.
            let (lines, share) = (N * S::LANES / panel::LINE, x / M);
            let ahead = self.weights.wrapping_add(self.length * (lines + share) * panel::LINE);
            let ahead = if share < lines { ahead } else { ptr::null() };
            let right = Right { from: self.weights, term: N * S::LANES, ahead };
            panel::accumulate::<S, M, N>(&mut sums, left, right, self.length);
            for (m, sums) in sums.into_iter().enumerate() {
                for (n, sum) in sums.into_iter().enumerate() {
                    S::store(self.to.add((x + m) * self.to_step + n * S::LANES), sum);
                }
            }
        }
    }
}
