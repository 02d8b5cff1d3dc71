//! How features lie in memory.

use super::{bf16, simd::Simd};
use crate::graph::Activation;

/// How a number is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// As f32.
    Single,
    /// As f32 that is rounded to bf16 ([`bf16::round`]).
    Rounded,
    /// As bf16, two bytes.
    Bf16,
}

/// Features of some pictures, channels innermost, with a border of zeros one pixel wide around each picture and beyond it to the
/// next multiple of [`Layout::TILE`]: `[pictures, 1 + height.. + 1, 1 + width.. + 1, channels]`.
///
/// Nobody writes to the border but to zero it ([`Layout::clear_border`]), so a convolution needs no test for the edge of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) pictures: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// Numbers from pixel to pixel: the channels, usually padded to a multiple of [`CHANNELS`] by channels that stay zero.
    pub(super) channels: usize,
    pub(super) cell: Cell,
}

/// The longest vector in floats. Channels are padded to a multiple of it.
pub(super) const CHANNELS: usize = 16;

impl Layout {
    /// Side of the square of outputs that the Winograd kernel computes at once.
    pub(super) const TILE: usize = 4;

    /// Numbers from row to row.
    pub(super) fn row(&self) -> usize {
        (self.width.next_multiple_of(Self::TILE) + 2) * self.channels
    }

    /// Numbers from picture to picture.
    pub(super) fn picture(&self) -> usize {
        (self.height.next_multiple_of(Self::TILE) + 2) * self.row()
    }

    /// Numbers in all, the tail included.
    fn len(&self) -> usize {
        self.pictures * self.picture() + self.tail()
    }

    /// Zeros after the last picture: the kernels for bf16 read whole tiles, of which the last reaches beyond the numbers that count by up to
    /// 15 outputs, two pixels apart, and by what the last step of a kernel row is longer than the row.
    fn tail(&self) -> usize {
        match self.cell {
            Cell::Single => 0,
            Cell::Rounded | Cell::Bf16 => 30 * self.channels + bf16::STEP,
        }
    }

    /// Floats that take as much memory.
    pub(super) fn floats(&self) -> usize {
        match self.cell {
            Cell::Single | Cell::Rounded => self.len(),
            Cell::Bf16 => self.len().div_ceil(2),
        }
    }

    /// Zeroes the border and the tail.
    ///
    /// # Safety
    /// `to` is good for the layout, and nobody else uses what is zeroed.
    pub(super) unsafe fn clear_border(&self, to: *mut f32) {
        let size = if self.cell == Cell::Bf16 { size_of::<u16>() } else { size_of::<f32>() };
        let zero = |from: usize, until: usize| {
            // SAFETY: as the caller promises; both are numbers of the layout.
            unsafe { to.cast::<u8>().add(from * size).write_bytes(0, (until - from) * size) };
        };
        let mut done = 0;
        for (picture, y) in (0..self.pictures).flat_map(|p| (1..=self.height).map(move |y| (p, y))) {
            let row = self.at(picture, y, 1);
            zero(done, row);
            done = row + self.width * self.channels;
        }
        zero(done, self.len());
    }

    /// Where the rows and columns of tiles are.
    pub(super) fn places(&self) -> Places {
        let (rows, columns) = self.tiles();
        Places { columns, per_picture: rows * columns }
    }

    /// Index of the first channel of a pixel, whose coordinates count the border: (1, 1) is the upper left pixel.
    pub(super) fn at(&self, picture: usize, y: usize, x: usize) -> usize {
        debug_assert!(picture < self.pictures);
        debug_assert!(y <= self.height.next_multiple_of(Self::TILE) + 1);
        debug_assert!(x <= self.width.next_multiple_of(Self::TILE) + 1);
        picture * self.picture() + y * self.row() + x * self.channels
    }

    /// Rows and columns of Winograd tiles.
    pub(super) fn tiles(&self) -> (usize, usize) {
        (self.height.div_ceil(Self::TILE), self.width.div_ceil(Self::TILE))
    }
}

/// Tiles by their numbers, counted through all pictures.
#[derive(Clone, Copy)]
pub(super) struct Places {
    columns: usize,
    pub(super) per_picture: usize,
}

impl Places {
    /// Picture, row and column of a tile's first pixel.
    #[inline(always)]
    pub(super) fn tile(self, tile: usize) -> (usize, usize, usize) {
        let in_picture = tile % self.per_picture;
        (
            tile / self.per_picture,
            in_picture / self.columns * Layout::TILE,
            in_picture % self.columns * Layout::TILE,
        )
    }
}

/// What happens to a sum on its way to memory.
#[derive(Clone, Copy)]
pub(super) struct Finish {
    residual: *const f32,
    mask: *const f32,
    mask_ceiling: f32,
    activation: Activation,
    rounded: bool,
}

impl Finish {
    /// Of the outputs from this index on.
    ///
    /// # Safety
    /// The index is within the job's output.
    #[inline(always)]
    pub(super) unsafe fn of(job: &Job, at: usize) -> Self {
        // SAFETY: residual and mask are null or as large as the output.
        let shift = |p: *const f32| if p.is_null() { p } else { unsafe { p.add(at) } };
        let (residual, mask) = (shift(job.residual), shift(job.mask));
        let rounded = job.to_layout.cell == Cell::Rounded;
        Self { residual, mask, mask_ceiling: job.mask_ceiling, activation: job.activation, rounded }
    }

    /// The vector of outputs at this index.
    ///
    /// # Safety
    /// The processor has `S`, and the vector is within the job's output.
    #[inline(always)]
    pub(super) unsafe fn apply<S: Simd>(&self, mut v: S::V, at: usize) -> S::V {
        // SAFETY: as the caller promises.
        unsafe {
            if !self.residual.is_null() {
                v = S::add(v, S::load(self.residual.add(at)));
            }
            match self.activation {
                Activation::None => {}
                Activation::Relu => v = S::relu(v),
                Activation::Relu6 => v = S::min(S::relu(v), S::splat(Activation::Relu6.ceiling())),
            }
            if !self.mask.is_null() {
                v = S::keep(v, S::load(self.mask.add(at)), S::splat(self.mask_ceiling));
            }
            if self.rounded { S::round(v) } else { v }
        }
    }
}

/// One convolution on actual memory: what a kernel needs beside its weights.
///
/// The pointers are to buffers of the lengths that the layouts say, and of numbers as they say ([`Layout::cell`]). `residual` is null or to a
/// buffer with the pixels and channels of `to_layout`, its numbers as features are kept (the last result of a network in bf16 is in f32, what is
/// added to it is not); it may be `to` itself, `from` may not.
#[derive(Clone, Copy)]
pub(super) struct Job {
    pub(super) from: *const f32,
    pub(super) from_layout: Layout,
    pub(super) to: *mut f32,
    pub(super) to_layout: Layout,
    pub(super) residual: *const f32,
    /// Null, or of `to_layout`: the result becomes zero where this is not between zero and the ceiling. The gradient of a
    /// rectifier, whose output this is.
    pub(super) mask: *const f32,
    pub(super) mask_ceiling: f32,
    pub(super) activation: Activation,
    /// How many tiles further the same thread will probably work next; fetched ahead.
    pub(super) ahead: isize,
    /// How many of the pictures are there; the others' memory is not touched.
    pub(super) pictures: usize,
}
