//! A residual network (He et al. 2016) for 64 everyday classes at 64x64.
//!
//! `(x - 0.45) / 0.27`, a 3x3 stem of stride 2, four stages of two basic blocks with 32, 64, 128 and 256 channels, each stage
//! but the first halving the resolution, mean, linear layer. Batch normalisation is folded on load.

use super::{Classifier, ClassifyError, softmax};
use crate::{
    Batch, Id,
    graph::{BatchNorm, Bias, Conv, Entry, Exit, Graph, Kind, Value},
    network::{Model, Network},
    weights::{Weights, WeightsError},
};

const SIZE: (usize, usize) = (64, 64);
const WIDTHS: [usize; 4] = [32, 64, 128, 256];
const BLOCKS_PER_STAGE: usize = 2;
const BATCH_NORM_EPS: f64 = 1e-5;

/// A loaded network and the names of its classes.
pub(crate) struct Things64 {
    network: Network,
    labels: Vec<String>,
}

impl Things64 {
    pub(crate) fn new(network: Network, labels: Vec<String>) -> Self {
        Self { network, labels }
    }
}

impl Classifier for Things64 {
    fn id(&self) -> &Id {
        self.network.id()
    }

    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn input_size(&self) -> (usize, usize) {
        SIZE
    }

    fn classify(&mut self, batch: Batch) -> Result<Vec<Vec<f32>>, ClassifyError> {
        let found = (batch.height(), batch.width());
        if found != SIZE {
            return Err(ClassifyError::Size { found, expected: SIZE });
        }
        Ok(self.network.logits(batch)?.iter().map(|logits| softmax(logits)).collect())
    }
}

/// Builds it from tensors `stem.0/1`, `body.K.c1/b1/c2/b2/sc.0/sc.1` and `fc`; the classes are in the metadata as `classes`,
/// separated by `|`.
pub(crate) fn load(weights: &mut Weights) -> Result<(Model, Vec<String>), WeightsError> {
    weights.for_architecture("things64");
    let labels: Vec<String> = weights
        .metadata("classes")
        .ok_or_else(|| {
            weights.misfit("metadata `classes` with the class names, separated by `|`, is missing")
        })?
        .split('|')
        .map(str::to_owned)
        .collect();
    let entry = Entry { shift: 0.45, scale: 1.0 / 0.27, unshuffle: 1, sigma_map: false };
    let mut graph = Graph::new(entry, 1);
    let stem = normalised(weights, ("stem.0", "stem.1"), Kind::Same3x3 { stride: 2 }, (3, WIDTHS[0]))?;
    let mut value = graph.push(Value(0), stem.relu());
    for k in 0..WIDTHS.len() * BLOCKS_PER_STAGE {
        value = block(&mut graph, weights, k, value)?;
    }
    let channels = graph.channels(value);
    graph.exit = Exit::Classify {
        value,
        weight: weights.get("fc.weight", &[labels.len(), channels])?,
        bias: weights.get("fc.bias", &[labels.len()])?,
    };
    Ok((Model::finish("things64", graph, weights)?, labels))
}

/// `relu(b2(c2(relu(b1(c1(x))))) + shortcut(x))`; the shortcut is a 1x1 convolution where the shape changes.
fn block(graph: &mut Graph, weights: &Weights, k: usize, x: Value) -> Result<Value, WeightsError> {
    let (from, to) = (graph.channels(x), WIDTHS[k / BLOCKS_PER_STAGE]);
    let stride = if k >= BLOCKS_PER_STAGE && k.is_multiple_of(BLOCKS_PER_STAGE) { 2 } else { 1 };
    let conv = |names: (&str, &str), kind, io| {
        let (conv, norm) = (format!("body.{k}.{}", names.0), format!("body.{k}.{}", names.1));
        normalised(weights, (&conv, &norm), kind, io)
    };
    let inner = graph.push(x, conv(("c1", "b1"), Kind::Same3x3 { stride }, (from, to))?.relu());
    let shortcut = if stride == 1 && from == to {
        x
    } else {
        graph.push(x, conv(("sc.0", "sc.1"), Kind::Point { stride }, (from, to))?)
    };
    Ok(graph.push(inner, conv(("c2", "b2"), Kind::Same3x3 { stride: 1 }, (to, to))?.add(shortcut).relu()))
}

/// A convolution without bias and the batch normalisation after it.
fn normalised(
    weights: &Weights,
    (conv, norm): (&str, &str),
    kind: Kind,
    io: (usize, usize),
) -> Result<Conv, WeightsError> {
    let norm = BatchNorm { name: norm, eps: BATCH_NORM_EPS };
    Conv::load(weights, conv, kind, io, Bias::Optional)?.fold(weights, &norm)
}
