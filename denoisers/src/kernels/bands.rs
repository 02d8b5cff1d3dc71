//! In which order a picture's features are computed: layer by layer, or band by band.
//!
//! Features of a large picture do not stay in a core's cache from layer to layer. In bands they do: a few rows go through a layer, then through
//! the next one as far as its kernel finds the rows below, and so on; a window moves down the picture, a little further back for each
//! layer. No number is computed twice or otherwise than without bands.

use std::ops::Range;

use super::{Layer, layout::Layout};
use crate::graph::{Conv, Graph, Kind, Value};

/// Part of a layer, to be complete before the next step begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// 0 is the entry, i the i-th convolution, the last one the exit.
    pub(super) stage: usize,
    /// The first and the number after the last of the layer's units; where there are fewer units, those that there are.
    pub(super) units: Range<usize>,
}

/// A layer in one step, whatever it has.
fn whole(stage: usize) -> Step {
    Step { stage, units: 0..usize::MAX }
}

/// Each layer in one step.
pub(super) fn layer_by_layer(graph: &Graph) -> Vec<Step> {
    (0..graph.convs.len() + 2).map(whole).collect()
}

/// The layers of one picture in so many bands. `layouts` and places are those of the values; values at one place have the same layout.
pub(super) fn in_bands(
    graph: &Graph,
    layers: &[Layer],
    layouts: &[Layout],
    at: &[usize],
    bands: usize,
) -> Vec<Step> {
    let mut steps = vec![whole(0)];
    // Of each convolution.
    let mut done = vec![0; layers.len()];
    let rows = |done: &[usize], value: Value| match value.0.checked_sub(1) {
        None => layouts[0].height,
        Some(conv) => layers[conv].rows(&layouts[value.0], done[conv]),
    };
    let mut band = 0;
    while (0..layers.len()).any(|i| rows(&done, Value(i + 1)) < layouts[i + 1].height) {
        band += 1;
        for (i, conv) in graph.convs.iter().enumerate() {
            let to = &layouts[i + 1];
            let mut most = ready(conv, layouts[conv.input.0].height, rows(&done, conv.input), to.height);
            if conv.input.0 == 0 {
                most = most.min((to.height * band).div_ceil(bands));
            }
            if let Some(residual) = conv.residual {
                most = most.min(rows(&done, residual));
            }
            // What lay in this memory before must have been read.
            for (k, reader) in graph.convs[..i].iter().enumerate() {
                let done = rows(&done, Value(k + 1));
                if done == layouts[k + 1].height {
                    continue;
                }
                let earlier = |value: Value| value.0 <= i && at[value.0] == at[i + 1];
                if earlier(reader.input) {
                    most = most.min(first_needed(reader.kind, done));
                }
                if reader.residual.is_some_and(earlier) {
                    most = most.min(done);
                }
            }
            let units = layers[i].units_within(to, most);
            if units > done[i] {
                steps.push(Step { stage: i + 1, units: done[i]..units });
                done[i] = units;
            }
        }
    }
    steps.push(whole(layers.len() + 1));
    steps
}

/// Output rows that can be computed from the first `rows` of `height` input rows.
fn ready(conv: &Conv, height: usize, rows: usize, output: usize) -> usize {
    if rows == height {
        return output;
    }
    let ready = match conv.kind {
        Kind::Same3x3 { stride: 1 } => rows.saturating_sub(1),
        Kind::Same3x3 { .. } | Kind::Down2x2 => rows / 2,
        Kind::Tail3x3 => rows.saturating_sub(1) / 2,
        Kind::Point { stride } => rows.div_ceil(stride),
        Kind::Up2x2 => 2 * rows,
        Kind::Depthwise { size, stride, before } => (rows + before).saturating_sub(size - 1).div_ceil(stride),
    };
    ready.min(output)
}

/// The first input row that outputs from this row on need.
fn first_needed(kind: Kind, output: usize) -> usize {
    match kind {
        Kind::Same3x3 { stride } => (output * stride).saturating_sub(1),
        Kind::Tail3x3 | Kind::Down2x2 => 2 * output,
        Kind::Point { stride } => stride * output,
        Kind::Up2x2 => output / 2,
        Kind::Depthwise { stride, before, .. } => (output * stride).saturating_sub(before),
    }
}
