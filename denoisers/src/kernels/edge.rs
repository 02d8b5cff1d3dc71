//! From planar pictures to features with channels innermost, and back.

use std::ops::Range;

use super::{
    bf16,
    layout::{Cell, Layout},
};
use crate::{
    graph::{Entry, Estimate},
    pad::reflected,
};

/// The caller's pictures: planar `[pictures, 3, height, width]`.
#[derive(Clone, Copy)]
pub(super) struct Planes {
    pub(super) data: *mut f32,
    pub(super) height: usize,
    pub(super) width: usize,
}

// SAFETY: it is an address; every access through it is an unsafe operation whose caller answers for the absence of races.
unsafe impl Sync for Planes {}

impl Planes {
    /// Without the first pictures.
    pub(super) fn skip(&self, pictures: usize) -> Self {
        Self { data: self.row(pictures, 0, 0), ..*self }
    }

    fn row(&self, picture: usize, channel: usize, y: usize) -> *mut f32 {
        self.data.wrapping_add(((picture * 3 + channel) * self.height + y) * self.width)
    }
}

/// Fills rows of the entry's features, counted through all pictures; pictures are reflected where the network wants more than
/// there is. Where features are `split`, a second set of channels holds what rounding took from the first.
///
/// # Safety
/// `planes` and `to` are good for all pictures of these rows; nobody writes to the pictures meanwhile, and nobody else reads or
/// writes these rows of features.
pub(super) unsafe fn enter(
    (entry, split): (&Entry, bool),
    sigma: &[f32],
    planes: &Planes,
    to: *mut f32,
    layout: &Layout,
    rows: Range<usize>,
) {
    let factor = entry.unshuffle;
    let filled = entry.channels() * if split { 2 } else { 1 };
    let put = |at: usize, value: f32| {
        let (first, rest) = match layout.cell {
            Cell::Single => (value, 0.0),
            Cell::Rounded | Cell::Bf16 => {
                let first = bf16::round(value).to_f32();
                (first, value - first)
            }
        };
        // SAFETY: as the caller of this function does, it names a pixel's channel within the layout.
        unsafe {
            write(to, layout.cell, at, first);
            if split {
                write(to, layout.cell, at + entry.channels(), rest);
            }
        }
    };
    for row in rows {
        let (picture, y) = (row / layout.height, row % layout.height);
        let at = layout.at(picture, y + 1, 1);
        // SAFETY: reflected coordinates lie within the picture; the row of features has `width` pixels of `channels`.
        unsafe {
            for channel in 0..3 * factor * factor {
                let (plane, dy, dx) =
                    (channel / (factor * factor), channel / factor % factor, channel % factor);
                let from = planes.row(picture, plane, reflected(y * factor + dy, planes.height));
                for x in 0..layout.width {
                    let value = *from.add(reflected(x * factor + dx, planes.width));
                    let value = (value - entry.shift[plane]) * entry.scale[plane];
                    put(at + x * layout.channels + channel, value);
                }
            }
            // What an earlier call may have left in the channels that only fill up.
            for x in 0..layout.width {
                for channel in filled..layout.channels {
                    write(to, layout.cell, at + x * layout.channels + channel, 0.0);
                }
            }
            if entry.sigma_map {
                let sigma = sigma[picture.min(sigma.len() - 1)];
                for x in 0..layout.width {
                    put(at + x * layout.channels + 3 * factor * factor, sigma);
                }
            }
        }
    }
}

/// Puts a number, rounded as the cell wants it, at this index of the features.
///
/// # Safety
/// The index is within the features.
unsafe fn write(to: *mut f32, cell: Cell, at: usize, value: f32) {
    // SAFETY: as the caller promises.
    unsafe {
        match cell {
            Cell::Single => *to.add(at) = value,
            Cell::Rounded => *to.add(at) = bf16::round(value).to_f32(),
            Cell::Bf16 => *to.cast::<u16>().add(at) = bf16::round(value).to_bits(),
        }
    }
}

/// Subtracts the estimated noise from rows of pictures, counted through all pictures, in place; or replaces them.
///
/// # Safety
/// `planes` and `from` are good for all pictures of these rows; nobody writes to the features meanwhile, and nobody else reads
/// or writes these rows of pictures.
pub(super) unsafe fn leave(
    (shuffle, estimate): (usize, Estimate),
    from: *const f32,
    layout: &Layout,
    planes: &Planes,
    rows: Range<usize>,
) {
    for row in rows {
        let (picture, y) = (row / planes.height, row % planes.height);
        for plane in 0..3 {
            let line = planes.row(picture, plane, y);
            let channel = plane * shuffle * shuffle + y % shuffle * shuffle;
            // SAFETY: the features cover the padded picture, and so every pixel of this row.
            unsafe {
                let from = from.add(layout.at(picture, y / shuffle + 1, 1) + channel);
                for x in 0..planes.width {
                    let value = *from.add(x / shuffle * layout.channels + x % shuffle);
                    *line.add(x) = match estimate {
                        Estimate::Noise => *line.add(x) - value,
                        Estimate::Picture => value,
                    };
                }
            }
        }
    }
}

/// Copies features to planar `[pictures, channels, height, width]`, without the padded channels.
///
/// # Safety
/// `from` is good for `layout`, and nobody writes to it meanwhile.
pub(super) unsafe fn features(
    from: *const f32,
    layout: &Layout,
    pictures: usize,
    channels: usize,
    to: &mut Vec<f32>,
) {
    for picture in 0..pictures {
        for channel in 0..channels {
            for y in 0..layout.height {
                let row = layout.at(picture, y + 1, 1) + channel;
                // SAFETY: the pixel is within the layout.
                to.extend((0..layout.width).map(|x| unsafe { *from.add(row + x * layout.channels) }));
            }
        }
    }
}

/// The gradient of [`leave`]'s features from that of the pictures: the same or its negative, rows counted through all pictures.
///
/// # Safety
/// `planes` and `to` are good for all pictures of these rows; nobody writes to the pictures meanwhile, and nobody else reads or
/// writes these rows of features.
pub(super) unsafe fn leave_gradient(
    (shuffle, estimate): (usize, Estimate),
    planes: &Planes,
    to: *mut f32,
    layout: &Layout,
    rows: Range<usize>,
) {
    let area = shuffle * shuffle;
    let sign = if estimate == Estimate::Noise { -1.0 } else { 1.0 };
    for row in rows {
        let (picture, y) = (row / layout.height, row % layout.height);
        for channel in 0..layout.channels {
            // SAFETY: the pictures' size is a multiple of the features', so every pixel exists.
            unsafe {
                let to = to.add(layout.at(picture, y + 1, 1) + channel);
                let from = (channel < 3 * area).then(|| {
                    let row = planes.row(picture, channel / area, y * shuffle + channel / shuffle % shuffle);
                    row.add(channel % shuffle)
                });
                for x in 0..layout.width {
                    *to.add(x * layout.channels) = from.map_or(0.0, |from| sign * *from.add(x * shuffle));
                }
            }
        }
    }
}

/// The inverse of [`features`], one picture: planar `[channels, height, width]` to features, zero in the padded channels.
///
/// # Safety
/// `to` is good for `layout`, and nobody else uses this picture of it.
pub(super) unsafe fn from_planar(from: &[f32], to: *mut f32, layout: &Layout, picture: usize) {
    for y in 0..layout.height {
        for channel in 0..layout.channels {
            let row = layout.at(picture, y + 1, 1) + channel;
            let first = (channel * layout.height + y) * layout.width;
            for x in 0..layout.width {
                // SAFETY: the pixel is within the layout.
                unsafe { *to.add(row + x * layout.channels) = from.get(first + x).copied().unwrap_or(0.0) };
            }
        }
    }
}

/// Adds the gradient of [`enter`]'s pictures from that of the features, rows of features counted through all pictures.
///
/// # Safety
/// `from` and `planes` are good for all pictures of these rows; nobody writes to the features meanwhile, and nobody else reads or
/// writes the rows of pictures that these features were made of.
pub(super) unsafe fn enter_gradient(
    entry: &Entry,
    from: *const f32,
    layout: &Layout,
    planes: &Planes,
    rows: Range<usize>,
) {
    let factor = entry.unshuffle;
    for row in rows {
        let (picture, y) = (row / layout.height, row % layout.height);
        for channel in 0..3 * factor * factor {
            let (plane, dy, dx) = (channel / (factor * factor), channel / factor % factor, channel % factor);
            // SAFETY: the pictures' size is a multiple of the features', so every pixel exists.
            unsafe {
                let from = from.add(layout.at(picture, y + 1, 1) + channel);
                let to = planes.row(picture, plane, y * factor + dy);
                for x in 0..layout.width {
                    *to.add(x * factor + dx) += entry.scale[plane] * *from.add(x * layout.channels);
                }
            }
        }
    }
}
