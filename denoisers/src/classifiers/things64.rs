//! A residual network (He et al. 2016) for 64 everyday classes at 64x64.
//!
//! `(x - 0.45) / 0.27`, a 3x3 stem of stride 2, four stages of two basic blocks with 32, 64, 128 and 256 channels (or other widths),
//! each stage but the first halving the resolution, mean, linear layer. Batch normalisation is folded on load.

use super::{Loaded, normalised};
use crate::{
    graph::{Entry, Exit, Graph, Kind, Value},
    network::Model,
    weights::{Weights, WeightsError},
};

const SIZE: (usize, usize) = (64, 64);
const BLOCKS_PER_STAGE: usize = 2;
const BATCH_NORM_EPS: f64 = 1e-5;

/// Sizes of the network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// Channels of the four stages. Metadata `widths`.
    pub(crate) widths: [usize; 4],
}

impl Default for Config {
    fn default() -> Self {
        Self { widths: [32, 64, 128, 256] }
    }
}

/// Builds it from tensors `stem.0/1`, `body.K.c1/b1/c2/b2/sc.0/sc.1` and `fc`; the classes are in the metadata as `classes`,
/// separated by `|`.
pub(crate) fn load(weights: &mut Weights) -> Result<Loaded, WeightsError> {
    let widths = weights.numbers("widths")?.unwrap_or(Config::default().widths);
    weights.for_architecture(&format!("things64 (widths {widths:?})"));
    let labels = weights.classes().ok_or_else(|| {
        weights.misfit("metadata `classes` with the class names, separated by `|`, is missing")
    })?;
    let entry = Entry { shift: [0.45; 3], scale: [1.0 / 0.27; 3], unshuffle: 1, sigma_map: false };
    let mut graph = Graph::new(entry, 1);
    let stem = normalised(
        weights,
        ("stem.0", "stem.1"),
        Kind::Same3x3 { stride: 2 },
        (3, widths[0]),
        BATCH_NORM_EPS,
    )?;
    let mut value = graph.push(Value(0), stem.relu());
    for k in 0..widths.len() * BLOCKS_PER_STAGE {
        value = block(&mut graph, weights, k, (value, widths[k / BLOCKS_PER_STAGE]))?;
    }
    let channels = graph.channels(value);
    graph.exit = Exit::Classify {
        name: "fc".into(),
        value,
        weight: weights.get("fc.weight", &[labels.len(), channels])?,
        bias: weights.get("fc.bias", &[labels.len()])?,
    };
    Ok(Loaded { model: Model::finish("things64", graph, weights)?, labels, input_size: SIZE })
}

/// `relu(b2(c2(relu(b1(c1(x))))) + shortcut(x))`; the shortcut is a 1x1 convolution where the shape changes.
fn block(
    graph: &mut Graph,
    weights: &Weights,
    k: usize,
    (x, to): (Value, usize),
) -> Result<Value, WeightsError> {
    let from = graph.channels(x);
    let stride = if k >= BLOCKS_PER_STAGE && k.is_multiple_of(BLOCKS_PER_STAGE) { 2 } else { 1 };
    let conv = |names: (&str, &str), kind, io| {
        let (conv, norm) = (format!("body.{k}.{}", names.0), format!("body.{k}.{}", names.1));
        normalised(weights, (&conv, &norm), kind, io, BATCH_NORM_EPS)
    };
    let inner = graph.push(x, conv(("c1", "b1"), Kind::Same3x3 { stride }, (from, to))?.relu());
    let shortcut = if stride == 1 && from == to {
        x
    } else {
        graph.push(x, conv(("sc.0", "sc.1"), Kind::Point { stride }, (from, to))?)
    };
    Ok(graph.push(inner, conv(("c2", "b2"), Kind::Same3x3 { stride: 1 }, (to, to))?.add(shortcut).relu()))
}
