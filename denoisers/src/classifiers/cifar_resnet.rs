//! The residual networks of He et al. (2016), section 4.2, for CIFAR-10: 6n + 2 layers at 32x32.
//!
//! A 3x3 convolution, three stages of n basic blocks with widths that double from stage to stage (16, 32 and 64 in the paper), the second
//! and third beginning with stride 2, mean, linear layer. Shortcuts where the shape changes are those of the file: its `downsample` (a
//! 1x1 convolution), or none, which means option A: every second pixel, zeros for the new channels.
//!
//! Names: `conv1`, `bn1`, `layer1.0.conv1/bn1/conv2/bn2`, `linear` or `fc`, all behind `1.` where the network followed a normalising layer.
//! That layer has no tensors: its `mean` and `std` are read from the metadata, and are those of `ImageNet` otherwise.

use super::{
    Loaded, normalised,
    residual::{self, BATCH_NORM_EPS},
};
use crate::{
    graph::{Conv, Entry, Exit, Graph, Kind, Value},
    network::Model,
    weights::{Weights, WeightsError},
};

const SIZE: (usize, usize) = (32, 32);
/// The classes of CIFAR-10 in their order.
pub(crate) const CIFAR10: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Whether the tensors are named like those of such a network.
pub(crate) fn recognises(weights: &Weights) -> bool {
    let prefix = prefix(weights);
    weights.has(&format!("{prefix}layer3.0.conv1.weight"))
        && !weights.has(&format!("{prefix}layer4.0.conv1.weight"))
}

fn prefix(weights: &Weights) -> &'static str {
    if weights.has("1.conv1.weight") { "1." } else { "" }
}

/// Sizes of a network without a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// Layers, 6n + 2. Metadata `depth`.
    pub(crate) depth: usize,
    /// Channels of the first stage. Metadata `width`.
    pub(crate) width: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { depth: 20, width: 16 }
    }
}

impl Config {
    fn of(weights: &Weights) -> Result<Self, WeightsError> {
        let default = Self::default();
        let depth = weights.numbers("depth")?.map_or(default.depth, |[depth]| depth);
        if depth < 8 || depth % 6 != 2 {
            return Err(
                weights.misfit(format!("metadata `depth` is {depth}, but 6n + 2 layers are possible"))
            );
        }
        Ok(Self { depth, width: weights.numbers("width")?.map_or(default.width, |[width]| width) })
    }
}

/// Builds it; depth and widths are those of the file, or of [`Config`] where there is none.
pub(crate) fn load(weights: &mut Weights) -> Result<Loaded, WeightsError> {
    weights.for_architecture("cifar-resnet");
    let prefix = prefix(weights);
    let config = Config::of(weights)?;
    let (mean, std) = super::colours(weights)?;
    let entry = Entry { shift: mean, scale: std.map(|s| 1.0 / s), unshuffle: 1, sigma_map: false };
    let mut graph = Graph::new(entry, 1);
    let width = match weights.shape(&format!("{prefix}conv1.weight")) {
        Some([width, ..]) => *width,
        _ => config.width,
    };
    // Of a file, as many as there are.
    let blocks = if weights.is_blank() { (config.depth - 2) / 6 } else { 1 };
    let stem = (format!("{prefix}conv1"), format!("{prefix}bn1"));
    let same = Kind::Same3x3 { stride: 1 };
    let mut value = graph
        .push(Value(0), normalised(weights, (&stem.0, &stem.1), same, (3, width), BATCH_NORM_EPS)?.relu());
    let mut layers = 2;
    for stage in 1..=3 {
        let mut number = 0;
        while number < blocks || weights.has(&format!("{prefix}layer{stage}.{number}.conv1.weight")) {
            let name = format!("{prefix}layer{stage}.{number}");
            let stride = if stage > 1 && number == 0 { 2 } else { 1 };
            value = block(&mut graph, weights, &name, value, (width << (stage - 1), stride))?;
            layers += 2;
            number += 1;
        }
    }
    let linear = if weights.has(&format!("{prefix}fc.weight")) { "fc" } else { "linear" };
    let linear = format!("{prefix}{linear}");
    let classes = match weights.shape(&format!("{linear}.weight")) {
        Some([classes, _]) => *classes,
        _ => weights.classes().map_or(CIFAR10.len(), |classes| classes.len()),
    };
    let channels = graph.channels(value);
    graph.exit = Exit::Classify {
        value,
        weight: weights.get(&format!("{linear}.weight"), &[classes, channels])?,
        bias: weights.get(&format!("{linear}.bias"), &[classes])?,
        name: linear,
    };
    let labels = match weights.classes() {
        Some(labels) if labels.len() == classes => labels,
        Some(labels) => {
            return Err(weights.misfit(format!("metadata `classes` lists {}, not {classes}", labels.len())));
        }
        None if classes == CIFAR10.len() => CIFAR10.map(str::to_owned).to_vec(),
        None => (0..classes).map(|class| class.to_string()).collect(),
    };
    let model = Model::finish(&format!("cifar-resnet-{layers}"), graph, weights)?;
    Ok(Loaded { model, labels, input_size: SIZE })
}

/// A basic block.
fn block(
    graph: &mut Graph,
    weights: &Weights,
    name: &str,
    x: Value,
    (to, stride): (usize, usize),
) -> Result<Value, WeightsError> {
    residual::basic(graph, weights, name, x, (to, stride), |graph| {
        let from = graph.channels(x);
        if weights.has(&format!("{name}.downsample.0.weight")) {
            residual::projection(graph, weights, name, x, (to, stride))
        } else if stride > 1 || from != to {
            // Option A; the old channels lie in the middle of the new ones.
            Ok(graph.push(x, Conv::select(from, to, stride, to.saturating_sub(from) / 2)))
        } else {
            Ok(x)
        }
    })
}
