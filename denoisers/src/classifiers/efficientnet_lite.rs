//! `EfficientNet`-Lite: the mobile networks of Tan and Le (2019) without squeeze-and-excitation, with `ReLU6`.
//!
//! A 3x3 stem of stride 2, inverted bottlenecks (1x1 expansion, depthwise convolution, 1x1 projection; Sandler et al. 2018), a 1x1
//! head, mean, linear layer. Zeros are added as `TensorFlow` does: where the stride is 2, fewer before the picture than after it.
//!
//! Names: `_conv_stem`, `_bn0`, `_blocks.N._expand_conv/_bn0/_depthwise_conv/_bn1/_project_conv/_bn2`, `_conv_head`, `_bn1`, `_fc`.
//! Pictures are 224x224, or what the metadata says as `size` (a multiple of 32); `(255 x - 127) / 128` goes in.

use super::{Loaded, normalised};
use crate::{
    graph::{Activation, Entry, Exit, Graph, Kind, Value},
    network::Model,
    weights::{Weights, WeightsError},
};

const BATCH_NORM_EPS: f64 = 1e-3;
const SIZE: usize = 224;
/// Product of all strides.
const ALIGN: usize = 32;

/// Some blocks of one kind, the first of them with the stride.
#[derive(Clone, Copy, Debug)]
struct Stage {
    repeats: usize,
    kernel: usize,
    stride: usize,
    expansion: usize,
    channels: usize,
}

/// Lite0: table 1 of the paper, the last stage's and the stem's widths unscaled.
const LITE0: [Stage; 7] = [
    Stage { repeats: 1, kernel: 3, stride: 1, expansion: 1, channels: 16 },
    Stage { repeats: 2, kernel: 3, stride: 2, expansion: 6, channels: 24 },
    Stage { repeats: 2, kernel: 5, stride: 2, expansion: 6, channels: 40 },
    Stage { repeats: 3, kernel: 3, stride: 2, expansion: 6, channels: 80 },
    Stage { repeats: 3, kernel: 5, stride: 1, expansion: 6, channels: 112 },
    Stage { repeats: 4, kernel: 5, stride: 2, expansion: 6, channels: 192 },
    Stage { repeats: 1, kernel: 3, stride: 1, expansion: 6, channels: 320 },
];

/// Builds it. The stages are those of Lite0, or of the metadata's `stages`: `repeats,kernel,stride,expansion,channels`, separated by
/// semicolons.
pub(crate) fn load(weights: &mut Weights) -> Result<Loaded, WeightsError> {
    weights.for_architecture("efficientnet-lite");
    let stages = stages(weights)?;
    // The stem halves rows and columns, too. Where a stage met an odd number of them, its zeros would be on the other side.
    let halvings = 1 + stages.iter().filter(|stage| stage.stride == 2).count();
    let size = weights.numbers("size")?.map_or(SIZE, |[size]| size);
    if !size.is_multiple_of(ALIGN) {
        return Err(weights.misfit(format!("metadata `size` is {size}, not a multiple of {ALIGN}")));
    }
    if (size.trailing_zeros() as usize) < halvings {
        return Err(weights.misfit(format!(
            "`stages` halve the size {halvings} times, and {size} cannot be halved so often"
        )));
    }
    let entry =
        Entry { shift: [127.0 / 255.0; 3], scale: [255.0 / 128.0; 3], unshuffle: 1, sigma_map: false };
    let mut graph = Graph::new(entry, ALIGN);
    let width = |name: &str, default| match weights.shape(name) {
        Some([width, ..]) => *width,
        _ => default,
    };
    let six = Activation::Relu6;
    let conv = |conv: &str, norm: &str, kind, io| normalised(weights, (conv, norm), kind, io, BATCH_NORM_EPS);

    let stem = width("_conv_stem.weight", 32);
    let mut value = graph.push(Value(0), conv("_conv_stem", "_bn0", Kind::Tail3x3, (3, stem))?.then(six));
    let mut number = 0;
    for stage in stages {
        for repeat in 0..stage.repeats {
            let stride = if repeat == 0 { stage.stride } else { 1 };
            value = block(&mut graph, weights, number, value, Stage { stride, ..stage })?;
            number += 1;
        }
    }
    let (from, head) = (graph.channels(value), width("_conv_head.weight", 1280));
    let point = Kind::Point { stride: 1 };
    value = graph.push(value, conv("_conv_head", "_bn1", point, (from, head))?.then(six));
    let classes = width("_fc.weight", weights.classes().map_or(1000, |classes| classes.len()));
    graph.exit = Exit::Classify {
        name: "_fc".into(),
        value,
        weight: weights.get("_fc.weight", &[classes, head])?,
        bias: weights.get("_fc.bias", &[classes])?,
    };
    let labels = weights.classes().unwrap_or_else(|| (0..classes).map(|class| class.to_string()).collect());
    if labels.len() != classes {
        return Err(weights.misfit(format!("metadata `classes` lists {}, not {classes}", labels.len())));
    }
    let model = Model::finish("efficientnet-lite", graph, weights)?;
    Ok(Loaded { model, labels, input_size: (size, size) })
}

fn stages(weights: &Weights) -> Result<Vec<Stage>, WeightsError> {
    let Some(text) = weights.metadata("stages") else { return Ok(LITE0.to_vec()) };
    let stage = |text: &str| {
        let numbers: Option<Vec<usize>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
        match *numbers? {
            [
                repeats @ 1..=64,
                kernel @ (3 | 5),
                stride @ (1 | 2),
                expansion @ 1..=64,
                channels @ 1..=4096,
            ] => Some(Stage { repeats, kernel, stride, expansion, channels }),
            _ => None,
        }
    };
    text.split(';').map(stage).collect::<Option<_>>().ok_or_else(|| {
        weights.misfit(format!(
            "metadata `stages` is `{text}`, but repeats,kernel,stride,expansion,channels are needed for each, \
             separated by semicolons; kernels are 3 or 5, strides 1 or 2"
        ))
    })
}

/// An inverted bottleneck; what goes in is added to what comes out where the shapes agree.
fn block(
    graph: &mut Graph,
    weights: &Weights,
    number: usize,
    x: Value,
    stage: Stage,
) -> Result<Value, WeightsError> {
    let Stage { kernel: size, stride, expansion, channels, .. } = stage;
    let from = graph.channels(x);
    let wide = from * expansion;
    let conv = |conv: &str, norm: &str, kind, io| {
        let (conv, norm) = (format!("_blocks.{number}.{conv}"), format!("_blocks.{number}.{norm}"));
        normalised(weights, (&conv, &norm), kind, io, BATCH_NORM_EPS)
    };
    let six = Activation::Relu6;
    let point = Kind::Point { stride: 1 };
    let mut value = x;
    if expansion > 1 {
        value = graph.push(value, conv("_expand_conv", "_bn0", point, (from, wide))?.then(six));
    }
    // All zeros together are `size - stride`, as rows and columns are even where the stride is 2.
    let depthwise = Kind::Depthwise { size, stride, before: (size - stride) / 2 };
    value = graph.push(value, conv("_depthwise_conv", "_bn1", depthwise, (wide, wide))?.then(six));
    let project = conv("_project_conv", "_bn2", point, (wide, channels))?;
    let project = if stride == 1 && from == channels { project.add(x) } else { project };
    Ok(graph.push(value, project))
}
