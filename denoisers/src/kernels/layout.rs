//! How features lie in memory.

/// Features of some pictures, channels innermost, with a border of zeros one pixel wide around each picture and beyond it to the
/// next multiple of [`Layout::TILE`]: `[pictures, 1 + height.. + 1, 1 + width.. + 1, channels]`.
///
/// Nobody ever writes to the border, so a convolution needs no test for the edge of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) pictures: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// Floats from pixel to pixel: the channels, usually padded to a multiple of [`CHANNELS`] by channels that stay zero.
    pub(super) channels: usize,
}

/// The longest vector in floats. Channels are padded to a multiple of it.
pub(super) const CHANNELS: usize = 16;

impl Layout {
    /// Side of the square of outputs that the Winograd kernel computes at once.
    pub(super) const TILE: usize = 4;

    /// Floats from row to row.
    pub(super) fn row(&self) -> usize {
        (self.width.next_multiple_of(Self::TILE) + 2) * self.channels
    }

    /// Floats from picture to picture.
    pub(super) fn picture(&self) -> usize {
        (self.height.next_multiple_of(Self::TILE) + 2) * self.row()
    }

    /// Floats in all.
    pub(super) fn len(&self) -> usize {
        self.pictures * self.picture()
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

/// One convolution on actual memory: what a kernel needs beside its weights.
///
/// The pointers are to buffers of the lengths that the layouts say. `residual` is null or to a buffer of `to_layout`; it may be
/// `to` itself, `from` may not.
#[derive(Clone, Copy)]
pub(super) struct Job {
    pub(super) from: *const f32,
    pub(super) from_layout: Layout,
    pub(super) to: *mut f32,
    pub(super) to_layout: Layout,
    pub(super) residual: *const f32,
    pub(super) relu: bool,
    /// How many of the pictures are there; the others' memory is not touched.
    pub(super) pictures: usize,
}
