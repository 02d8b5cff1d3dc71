//! Which value of a graph lies where, for pictures of one size.

use super::{
    Layer,
    bands::{self, Step},
    layout::{CHANNELS, Cell, Layout},
};
use crate::graph::{Graph, Value};

/// Tiles in a block of the Winograd kernel: enough that its matrix products are efficient, few enough that the block's numbers
/// stay in the second-level cache.
pub(super) const TILES: usize = 24;
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
    /// Which slot each value lies in.
    pub(super) slots: Vec<usize>,
    /// What each slot holds: values that share a slot have the same layout, so its border of zeros stays intact.
    pub(super) slot_layouts: Vec<Layout>,
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
    /// Each in a slot of its own, for the way back.
    All,
}

impl Plan {
    pub(super) fn new(graph: &Graph, layers: &[Layer], cell: Cell, key: Key, keep: Keep) -> Self {
        let layouts = layouts(graph, cell, key.group, key.size);
        let (slots, slot_layouts) = match keep {
            Keep::Needed => slots(graph, &layouts),
            Keep::All => ((0..layouts.len()).collect(), layouts.clone()),
        };
        let block: Vec<usize> =
            layers.iter().zip(&layouts[1..]).map(|(layer, to)| block(layer, to, key.threads)).collect();
        let scratch = layers.iter().map(Layer::scratch);
        let scratch = scratch.max().unwrap_or(0);
        let steps = match bands(&layouts, key) {
            Some(bands) if keep == Keep::Needed => bands::in_bands(graph, layers, &layouts, &slots, bands),
            _ => bands::layer_by_layer(graph),
        };
        Self { key, scratch, layouts, slots, slot_layouts, split: split(graph, cell), block, steps }
    }

    /// Floats of all slots together.
    pub(super) fn floats(&self) -> usize {
        self.slot_layouts.iter().map(Layout::floats).sum()
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
    let floats: usize = slots(graph, &layouts).1.iter().map(Layout::floats).sum();
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

/// Gives each value a slot; one that is not needed any more is taken over by the next value of the same layout. A result goes on
/// top of what is added to it if nobody else needs that: each output is read and written by the same thread.
fn slots(graph: &Graph, layouts: &[Layout]) -> (Vec<usize>, Vec<Layout>) {
    let mut slot_layouts = vec![layouts[0]];
    let mut slots = vec![0];
    let mut free: Vec<usize> = Vec::new();
    for (i, conv) in graph.convs.iter().enumerate() {
        let layout = layouts[i + 1];
        let dies = |value: Value| graph.last_use(value) == i;
        let on_top = conv.residual.filter(|r| dies(*r) && *r != conv.input);
        let slot = if let Some(residual) = on_top {
            slots[residual.0]
        } else if let Some(f) = free.iter().position(|slot| slot_layouts[*slot] == layout) {
            free.swap_remove(f)
        } else {
            slot_layouts.push(layout);
            slot_layouts.len() - 1
        };
        slots.push(slot);
        let read = [Some(conv.input), conv.residual.filter(|r| on_top.is_none() && *r != conv.input)];
        free.extend(read.into_iter().flatten().filter(|v| dies(*v)).map(|v| slots[v.0]));
    }
    (slots, slot_layouts)
}

/// How much of a layer is one item of work.
pub(super) fn block(layer: &Layer, to: &Layout, threads: usize) -> usize {
    match layer {
        Layer::Winograd(_) => {
            let (rows, columns) = to.tiles();
            let tiles = to.pictures * rows * columns;
            // Few blocks are dealt out evenly; of many the last may be short, so that the others suit the inner kernel.
            let blocks = tiles.div_ceil(TILES);
            if blocks < 4 * threads { tiles.div_ceil(blocks.next_multiple_of(threads)) } else { TILES }
        }
        Layer::Bf16(layer) => layer.block(to, threads),
        Layer::Direct(_) | Layer::Depthwise(_) => (128 / to.width).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{architectures, kernels::Instructions, weights::Weights};

    /// No value is overwritten while somebody needs it, except by a sum on top of it.
    #[test]
    fn values_keep_their_slots_while_needed() {
        let bytes = include_bytes!("../../weights/unet.safetensors");
        let graph = architectures::load(Weights::parse("unet", bytes).unwrap()).unwrap().graph;
        let layers: Vec<Layer> = super::super::layers(&graph, Instructions::Portable, Cell::Single);
        let key = Key { group: 2, size: (24, 40), threads: 2 };
        let plan = Plan::new(&graph, &layers, Cell::Single, key, Keep::Needed);
        for (i, conv) in graph.convs.iter().enumerate() {
            let slot = plan.slots[i + 1];
            assert_ne!(slot, plan.slots[conv.input.0]);
            for value in (0..=i).map(Value).filter(|v| graph.last_use(*v) >= i) {
                let on_top = conv.residual == Some(value) && graph.last_use(value) == i;
                assert!(on_top || plan.slots[value.0] != slot, "convolution {i} destroys value {value:?}");
            }
        }
        // The entry, two at full width beside the skip, and as many at the lower levels.
        assert!(plan.slot_layouts.len() <= 9, "{}", plan.slot_layouts.len());
    }
}
