//! How a convolution reads an input whose channels lie innermost.

use crate::graph::{Conv, Kind};

/// A convolution as a matrix product: the pixels under one kernel row are one run of numbers, so an output is a sum over `rows` runs,
/// and the runs of neighbouring outputs overlap. No copy of the picture is made (implicit im2col).
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Kernel rows, and numbers in each: kernel columns times the input's channels.
    pub(super) rows: usize,
    pub(super) run: usize,
    pub(super) stride: usize,
    /// Where the kernel begins relative to its pixel's place in the bordered layout: 0 if it covers the border.
    pub(super) offset: usize,
    /// 2 for the transposed convolution, which is four convolutions of one pixel, each filling one of four interleaved grids; else
    /// 1.
    pub(super) upscale: usize,
}

/// Where a weight stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Which of the interleaved grids.
    pub(super) grid: usize,
    /// Output channel.
    pub(super) out: usize,
    /// Kernel row.
    pub(super) row: usize,
    /// Kernel column.
    pub(super) column: usize,
    /// Input channel.
    pub(super) input: usize,
}

impl Shape {
    /// For an input with so many channels from pixel to pixel. Depthwise convolutions have no such shape, and a kernel of their
    /// own.
    pub(super) fn of(conv: &Conv, channels: usize) -> Self {
        let (rows, stride, offset, upscale) = match conv.kind {
            Kind::Same3x3 { stride } => (3, stride, 0, 1),
            Kind::Tail3x3 => (3, 2, 1, 1),
            Kind::Point { stride } => (1, stride, 1, 1),
            Kind::Down2x2 | Kind::Depthwise { .. } => (2, 2, 1, 1),
            Kind::Up2x2 => (1, 1, 1, 2),
        };
        let columns = if upscale == 2 { 1 } else { conv.kind.size() };
        Self { rows, run: columns * channels, stride, offset, upscale }
    }

    /// Interleaved grids of outputs.
    pub(super) fn grids(&self) -> usize {
        self.upscale * self.upscale
    }

    /// Each weight's index in the convolution, and where it stands.
    pub(super) fn places(conv: &Conv) -> impl Iterator<Item = (usize, Place)> + use<> {
        let (ins, outs, up) = (conv.in_channels, conv.out_channels, conv.kind == Kind::Up2x2);
        let k = conv.kind.size();
        (0..outs).flat_map(move |out| (0..ins).map(move |input| (out, input))).flat_map(
            move |(out, input)| {
                (0..k * k).map(move |position| {
                    let from =
                        if up { (input * outs + out) * 4 } else { (out * ins + input) * k * k } + position;
                    let (grid, row, column) =
                        if up { (position, 0, 0) } else { (0, position / k, position % k) };
                    (from, Place { grid, out, row, column, input })
                })
            },
        )
    }
}
