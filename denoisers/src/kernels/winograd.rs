//! 3x3 convolutions of stride 1 by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2016): 36 multiplications for 16
//! outputs where the direct way takes 144.
//!
//! A tile of 6x6 inputs becomes 36 numbers (`Bᵀ d B`), the kernel became 36 when it was packed (`G g Gᵀ`); their products, summed
//! over the input channels, become 4x4 outputs (`Aᵀ m A`). For each of the 36 points the sum over channels is a matrix product, tiles
//! times channels, which is done for a block of tiles at once so that all of it stays in the cache.

use std::ops::Range;

use super::{
    buffer::Buffer,
    layout::{CHANNELS, Job, Layout},
    panel::{self, panels},
    simd::Simd,
};
use crate::graph::Conv;

/// Points of a transformed tile.
const POINTS: usize = 36;
/// Between the points' matrices in scratch memory, so that they do not compete for the same cache sets.
const GAP: usize = 16;

/// `G`: the transform of a kernel column.
const G: [[f64; 3]; 6] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

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
        let mut weights = Buffer::zeroed(POINTS * in_channels * out_channels);
        let slice = weights.as_mut_slice();
        for (i, kernel) in conv.weight.as_chunks::<9>().0.iter().enumerate() {
            let (out, input) = (i / conv.in_channels, i % conv.in_channels);
            for (point, value) in transform(kernel).into_iter().enumerate() {
                let row = (point * (out_channels / panel) + out / panel) * in_channels + input;
                slice[row * panel + out % panel] = value;
            }
        }
        let mut bias = Buffer::zeroed(out_channels);
        bias.as_mut_slice()[..conv.out_channels].copy_from_slice(&conv.bias);
        Self { in_channels, out_channels, panel, weights, bias }
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
        let place = Places::of(&job.to_layout);
        let total = place.per_picture * job.pictures;
        // SAFETY: the layouts reach one pixel beyond the last tile on every side, so all 6x6 inputs exist; scratch holds both
        // sets of slabs one after the other; outputs beyond the picture are not written; what is asked for ahead is
        // within the buffers too.
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
                    if tiles.end + i < total {
                        let (picture, y, x) = place.tile(tiles.end + i);
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
                        residual: if job.residual.is_null() {
                            job.residual
                        } else {
                            job.residual.add(at + c)
                        },
                        relu: job.relu,
                    };
                    let bias = S::load(self.bias.as_ptr().add(c));
                    output.transform::<S>(products.add(i * self.out_channels + c), out_slab, bias);
                }
            }
        }
    }
}

/// Where the tiles of a layout are.
#[derive(Clone, Copy)]
struct Places {
    columns: usize,
    per_picture: usize,
}

impl Places {
    fn of(layout: &Layout) -> Self {
        let (rows, columns) = layout.tiles();
        Self { columns, per_picture: rows * columns }
    }

    /// Picture, row and column of a tile's first pixel.
    #[inline(always)]
    fn tile(self, tile: usize) -> (usize, usize, usize) {
        let in_picture = tile % self.per_picture;
        (tile / self.per_picture, in_picture / self.columns * 4, in_picture % self.columns * 4)
    }
}

/// Asks for 4x4 pixels.
///
/// # Safety
/// The pixels are within the buffer.
#[inline(always)]
unsafe fn prefetch<S: Simd>(from: *const f32, layout: &Layout) {
    for y in 0..4 {
        for line in (0..4 * layout.channels).step_by(16) {
            // SAFETY: within the 4x4 pixels.
            unsafe { S::prefetch(from.add(y * layout.row() + line)) };
        }
    }
}

const _: () = assert!(Layout::TILE == 4, "the tiles here are 4x4");

/// `G g Gᵀ` in double precision.
fn transform(kernel: &[f32; 9]) -> [f32; POINTS] {
    std::array::from_fn(|point| {
        let (row, column) = (&G[point / 6], &G[point % 6]);
        let sum: f64 = (0..9).map(|i| row[i / 3] * f64::from(kernel[i]) * column[i % 3]).sum();
        sum as f32
    })
}

/// Bᵀ of a column of six.
///
/// # Safety
/// The processor has `S`.
#[inline(always)]
unsafe fn b_transposed<S: Simd>(d: [S::V; 6]) -> [S::V; 6] {
    // SAFETY: as the caller promises.
    unsafe {
        let (two, four, five) = (S::splat(2.0), S::splat(4.0), S::splat(5.0));
        let even = S::mul_sub_from(four, d[2], d[4]);
        let odd = S::mul_sub_from(four, d[1], d[3]);
        let (even_2, odd_2) = (S::sub(d[4], d[2]), S::sub(d[3], d[1]));
        [
            S::mul_add(four, d[0], S::mul_sub_from(five, d[2], d[4])),
            S::add(even, odd),
            S::sub(even, odd),
            S::mul_add(two, odd_2, even_2),
            S::mul_sub_from(two, odd_2, even_2),
            S::mul_add(four, d[1], S::mul_sub_from(five, d[3], d[5])),
        ]
    }
}

/// Aᵀ of a column of six.
///
/// # Safety
/// The processor has `S`.
#[inline(always)]
unsafe fn a_transposed<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
    // SAFETY: as the caller promises.
    unsafe {
        let (two, four, eight) = (S::splat(2.0), S::splat(4.0), S::splat(8.0));
        let (sum, difference) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
        let (sum_2, difference_2) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
        [
            S::add(S::add(m[0], sum), sum_2),
            S::mul_add(two, difference_2, difference),
            S::mul_add(four, sum_2, sum),
            S::add(S::mul_add(eight, difference_2, difference), m[5]),
        ]
    }
}

/// `Bᵀ d B` of one tile, one vector of channels; point p goes to `to + p * slab`.
///
/// # Safety
/// The processor has `S`; 6x6 pixels, `steps` apart, are readable from `from`, and the 36 places writable.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "x is a column of a matrix that is stored by rows")]
unsafe fn transform_input<S: Simd>(
    from: *const f32,
    (row, pixel): (usize, usize),
    to: *mut f32,
    slab: usize,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let mut half = [[S::splat(0.0); 6]; 6];
        for x in 0..6 {
            let mut column = [S::splat(0.0); 6];
            for (y, value) in column.iter_mut().enumerate() {
                *value = S::load(from.add(y * row + x * pixel));
            }
            let column = b_transposed::<S>(column);
            for y in 0..6 {
                half[y][x] = column[y];
            }
        }
        for (y, line) in half.into_iter().enumerate() {
            let line = b_transposed::<S>(line);
            for (x, value) in line.into_iter().enumerate() {
                S::store(to.add((y * 6 + x) * slab), value);
            }
        }
    }
}

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
            panel::accumulate::<S, M, N>(&mut sums, from, self.length, self.weights, self.length);
            for (m, sums) in sums.into_iter().enumerate() {
                for (n, sum) in sums.into_iter().enumerate() {
                    S::store(self.to.add((x + m) * self.to_step + n * S::LANES), sum);
                }
            }
        }
    }
}

/// Where the 4x4 outputs of a tile go, and what is added to them.
struct Output {
    to: *mut f32,
    /// Floats from row to row and from pixel to pixel.
    steps: (usize, usize),
    /// Rows and columns that lie within the picture.
    size: (usize, usize),
    residual: *const f32,
    relu: bool,
}

impl Output {
    /// `Aᵀ m A` + bias + residual of one tile, one vector of channels; point p is at `from + p * slab`.
    ///
    /// # Safety
    /// The processor has `S`; the 36 places are readable and the outputs of `size` writable, the residual's readable.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "x is a column of a matrix that is stored by rows")]
    unsafe fn transform<S: Simd>(&self, from: *const f32, slab: usize, bias: S::V) {
        // SAFETY: as the caller promises.
        unsafe {
            let mut half = [[S::splat(0.0); 6]; 4];
            for x in 0..6 {
                let mut column = [S::splat(0.0); 6];
                for (y, value) in column.iter_mut().enumerate() {
                    *value = S::load(from.add((y * 6 + x) * slab));
                }
                let column = a_transposed::<S>(column);
                for y in 0..4 {
                    half[y][x] = column[y];
                }
            }
            for (y, line) in half.into_iter().enumerate() {
                let line = a_transposed::<S>(line);
                for (x, value) in line.into_iter().enumerate() {
                    if y >= self.size.0 || x >= self.size.1 {
                        continue;
                    }
                    let at = y * self.steps.0 + x * self.steps.1;
                    let mut value = S::add(value, bias);
                    if !self.residual.is_null() {
                        value = S::add(value, S::load(self.residual.add(at)));
                    }
                    if self.relu {
                        value = S::relu(value);
                    }
                    S::store(self.to.add(at), value);
                }
            }
        }
    }
}
