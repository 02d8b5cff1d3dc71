//! Which value of a graph lies where, for pictures of one size.

use super::{
    Layer,
    arena::Arena,
    bands::{self, Step},
    layout::{CHANNELS, Cell, Layout},
};
use crate::graph::{Graph, Value};

/// Tiles in a block of the Winograd kernel: enough that its matrix products are efficient, few enough that the block's numbers
/// stay in the second-level cache.
pub(super) const TILES: usize = 24;
/// Most tiles in a block, where that saves a round of blocks.
pub(super) const MOST_TILES: usize = 32;
/// A group of pictures grows until its smallest layer fills a block, or its features take this many floats.
const GROUP_FLOATS: usize = 1 << 21;

/// A layer whose features take more floats than this for each thread does not leave them in the caches for the next one.
const CACHED_FLOATS: usize = 1 << 18;
/// Of the features of one band, for each thread: a few times that, the window of all layers, stays in its cache.
const BAND_FLOATS: usize = 1 << 16;

/// Layouts and places of all values, and how the work is cut. None of it changes any result.
pub(super) struct Plan {
    pub(super) key: Key,
    /// Of each value.
    pub(super) layouts: Vec<Layout>,
    /// Where each value lies.
    pub(super) arena: Arena,
    /// Whether the entry's features are two numbers each.
    pub(super) split: bool,
    /// Of each convolution: tiles in a block, or output rows.
    pub(super) block: Vec<usize>,
    /// The order of the work.
    pub(super) steps: Vec<Step>,
    /// Floats of scratch memory for each thread.
    pub(super) scratch: usize,
}

/// What a plan is made for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// Most pictures in a group.
    pub(super) group: usize,
    /// Rows and columns as given.
    pub(super) size: (usize, usize),
    /// Threads that share a layer.
    pub(super) threads: usize,
}

/// How long values are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// While somebody needs them.
    Needed,
    /// Each in memory of its own, for the way back.
    All,
}

impl Plan {
    pub(super) fn new(graph: &Graph, layers: &[Layer], cell: Cell, key: Key, keep: Keep) -> Self {
        let layouts = layouts(graph, cell, key.group, key.size);
        let bands = bands(&layouts, key);
        let arena = match (keep, bands) {
            (Keep::All, _) => Arena::apart(&layouts),
            (Keep::Needed, Some(_)) => Arena::alike(graph, &layouts),
            (Keep::Needed, None) => Arena::packed(graph, &layouts),
        };
        let block: Vec<usize> =
            layers.iter().zip(&layouts[1..]).map(|(layer, to)| block(layer, to, key.threads)).collect();
        let scratch = layers.iter().map(Layer::scratch);
        let scratch = scratch.max().unwrap_or(0);
        let steps = match bands {
            Some(bands) if keep == Keep::Needed => bands::in_bands(graph, layers, &layouts, &arena.at, bands),
            _ => bands::layer_by_layer(graph),
        };
        Self { key, scratch, layouts, arena, split: split(graph, cell), block, steps }
    }
}

/// Into how many bands to cut the pictures' features, where they are too large for the threads' caches and bf16 kernels are fast enough to wait
/// for memory.
fn bands(layouts: &[Layout], key: Key) -> Option<usize> {
    let largest = layouts.iter().max_by_key(|layout| layout.floats())?;
    let worth =
        key.group == 1 && largest.cell == Cell::Bf16 && largest.floats() > CACHED_FLOATS * key.threads;
    worth.then(|| largest.floats().div_ceil(BAND_FLOATS * key.threads))
}

/// How many pictures to take through the network together: more than one only where the deepest features of one are too small
/// to be worth reading the weights for.
pub(super) fn group(graph: &Graph, cell: Cell, size: (usize, usize)) -> usize {
    let layouts = layouts(graph, cell, 1, size);
    let fewest = layouts.iter().map(|l| l.tiles().0 * l.tiles().1).min().unwrap_or(1);
    let floats = Arena::packed(graph, &layouts).floats;
    TILES.div_ceil(fewest.max(1)).min(GROUP_FLOATS / floats.max(1)).max(1)
}

/// Numbers a pixel of the entry's features. Its few channels need no padding where only direct convolutions read them.
pub(super) fn entry_channels(graph: &Graph, cell: Cell) -> usize {
    let channels = graph.entry.channels();
    if entry_is_added(graph) {
        channels.next_multiple_of(CHANNELS)
    } else if split(graph, cell) {
        2 * channels
    } else {
        channels
    }
}

/// Whether the entry's features are two bf16 numbers each, rounded and what is left: where all that reads them are convolutions.
pub(super) fn split(graph: &Graph, cell: Cell) -> bool {
    cell != Cell::Single && !entry_is_added(graph)
}

fn entry_is_added(graph: &Graph) -> bool {
    graph.convs.iter().any(|c| c.residual == Some(Value(0))) || graph.exit.value() == Value(0)
}

fn layouts(graph: &Graph, cell: Cell, pictures: usize, size: (usize, usize)) -> Vec<Layout> {
    let (height, width) = graph.padded(size);
    let factor = graph.entry.unshuffle;
    let (height, width, channels) = (height / factor, width / factor, entry_channels(graph, cell));
    let mut layouts = vec![Layout { pictures, height, width, channels, cell }];
    for (i, conv) in graph.convs.iter().enumerate() {
        let Layout { height, width, .. } = layouts[conv.input.0];
        let (height, width) = (conv.kind.output(height), conv.kind.output(width));
        let channels = conv.out_channels.next_multiple_of(CHANNELS);
        let value = Value(i + 1);
        let read = graph.convs.iter().any(|c| c.input == value || c.residual == Some(value));
        // What only the exit reads is not rounded.
        let cell = if read { cell } else { Cell::Single };
        layouts.push(Layout { pictures, height, width, channels, cell });
    }
    layouts
}

/// How much of a layer is one item of work.
pub(super) fn block(layer: &Layer, to: &Layout, threads: usize) -> usize {
    match layer {
        Layer::Winograd(_) => {
            let (rows, columns) = to.tiles();
            tiles_of(to.pictures * rows * columns, threads)
        }
        Layer::Bf16(layer) => layer.block(to, threads),
        Layer::Direct(_) | Layer::Depthwise(_) => (128 / to.width).max(1),
    }
}

/// How many of so many tiles make a block.
fn tiles_of(all: usize, threads: usize) -> usize {
    // Of many blocks the last may be short, so that the others suit the inner kernel.
    if all > 4 * threads * TILES {
        return TILES;
    }
    // Few are dealt out evenly, and are rather too large than too many, as each reads all weights.
    let nearest = (all + threads * TILES / 2) / (threads * TILES);
    let rounds = nearest.max(all.div_ceil(threads * MOST_TILES));
    all.div_ceil(rounds * threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_blocks_are_dealt_out_evenly() {
        for threads in 1..9 {
            for all in 1..2000 {
                let block = tiles_of(all, threads);
                assert!((1..=MOST_TILES).contains(&block), "{all} tiles, {threads} threads: {block}");
                let rounds = all.div_ceil(block).div_ceil(threads);
                assert!(rounds > 4 || block == all.div_ceil(rounds * threads), "{all}, {threads}: {block}");
            }
        }
        // 28x28 pixels: two blocks for two threads, not three or four.
        assert_eq!([tiles_of(49, 2), tiles_of(49, 4), tiles_of(784, 2)], [25, 13, TILES]);
    }
}
