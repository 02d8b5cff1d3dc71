//! The residual networks of He et al. (2016) for pictures of everyday size: `resnet` 18, 34 and 50, with torchvision's names.
//!
//! A 7x7 convolution of stride 2, the largest of each 3x3 pixels at every second one, four stages of basic blocks or of bottlenecks, the
//! stages after the first beginning with stride 2 (in the bottleneck's 3x3 convolution, as torchvision has it), mean, linear layer.
//!
//! Names: `conv1`, `bn1`, `layer1.0.conv1/bn1/conv2/bn2/conv3/bn3/downsample.0/downsample.1`, `fc`. Depth and widths are those of the file.
//! Pictures are 224x224, or what the metadata says as `size` (a multiple of 32), less `mean` and divided by `std` (those of `ImageNet`, unless
//! the metadata say others).
//!
//! Such a network can be run, and denoisers can be trained through it, but it cannot be trained itself: its first two layers are made of
//! other ones ([`stem`], [`maximum`]), whose zeros training would not leave.

use super::{
    Loaded,
    residual::{self, BATCH_NORM_EPS, conv},
};
use crate::{
    graph::{Activation, BatchNorm, Conv, Entry, Exit, Graph, Kind, Value},
    network::Model,
    weights::{Weights, WeightsError},
};

const SIZE: usize = 224;
/// Product of all strides.
const ALIGN: usize = 32;
/// Rows and columns of the first kernel.
const STEM: usize = 7;

/// Whether the tensors are named like those of such a network.
pub(crate) fn recognises(weights: &Weights) -> bool {
    weights.has("layer4.0.conv1.weight") && matches!(weights.shape("conv1.weight"), Some([_, 3, STEM, STEM]))
}

/// Builds it.
pub(crate) fn load(weights: &mut Weights) -> Result<Loaded, WeightsError> {
    weights.for_architecture("resnet");
    if weights.is_blank() {
        return Err(weights.misfit(
            "a `resnet` can be run, and denoisers can be trained through it, but it cannot be trained itself",
        ));
    }
    let size = weights.numbers("size")?.map_or(SIZE, |[size]| size);
    if !size.is_multiple_of(ALIGN) {
        return Err(weights.misfit(format!("metadata `size` is {size}, not a multiple of {ALIGN}")));
    }
    let (mean, std) = super::colours(weights)?;
    let entry = Entry { shift: mean, scale: std.map(|s| 1.0 / s), unshuffle: 2, sigma_map: false };
    let mut graph = Graph::new(entry, ALIGN);
    let mut value = stem(&mut graph, weights)?;
    value = maximum(&mut graph, value);

    let mut layers = 2;
    let deep = weights.has("layer1.0.conv3.weight");
    for stage in 1..=4 {
        let mut number = 0;
        while number == 0 || weights.has(&format!("layer{stage}.{number}.conv1.weight")) {
            let name = format!("layer{stage}.{number}");
            let stride = if stage > 1 && number == 0 { 2 } else { 1 };
            value = if deep {
                bottleneck(&mut graph, weights, &name, value, stride)?
            } else {
                let to = width(weights, &format!("{name}.conv1"));
                let shortcut = |graph: &mut Graph| shortcut(graph, weights, &name, value, (to, stride));
                residual::basic(&mut graph, weights, &name, value, (to, stride), shortcut)?
            };
            layers += if deep { 3 } else { 2 };
            number += 1;
        }
    }
    let channels = graph.channels(value);
    let classes = match weights.shape("fc.weight") {
        Some([classes, _]) => *classes,
        _ => 1000,
    };
    graph.exit = Exit::Classify {
        name: "fc".into(),
        value,
        weight: weights.get("fc.weight", &[classes, channels])?,
        bias: weights.get("fc.bias", &[classes])?,
    };
    let labels = weights.classes().unwrap_or_else(|| (0..classes).map(|class| class.to_string()).collect());
    if labels.len() != classes {
        return Err(weights.misfit(format!("metadata `classes` lists {}, not {classes}", labels.len())));
    }
    let model = Model::finish(&format!("resnet-{layers}"), graph, weights)?;
    Ok(Loaded { model: Model { trainable: false, ..model }, labels, input_size: (size, size) })
}

/// Output channels of a convolution; 0 if there is none, which its loading will complain about.
fn width(weights: &Weights, name: &str) -> usize {
    weights.shape(&format!("{name}.weight")).and_then(|shape| shape.first()).copied().unwrap_or(0)
}

/// The 7x7 convolution of stride 2, as a 3x3 one. The pixels come four to a place (even and odd rows and columns as channels); the
/// kernel then covers the places from 2 before to 1 after in each direction. A first step puts beside each place the ones before it, above,
/// left, and both, so that the kernel covers three of each.
fn stem(graph: &mut Graph, weights: &Weights) -> Result<Value, WeightsError> {
    let (from, to) = (graph.entry.channels(), width(weights, "conv1"));
    let same = Kind::Same3x3 { stride: 1 };
    let mut shifted = constant(same, from, 4 * from);
    for (group, channel) in (0..4).flat_map(|group| (0..from).map(move |channel| (group, channel))) {
        let (row, column) = (1 - group / 2, 1 - group % 2);
        shifted.weight[((group * from + channel) * from + channel) * 9 + row * 3 + column] = 1.0;
    }
    let shifted = graph.push(Value(0), shifted);

    let kernel = weights.get("conv1.weight", &[to, 3, STEM, STEM])?;
    let mut conv = constant(same, 4 * from, to);
    // Of a kernel's row or column: whether it is taken from the place before, at which of the three, and from which of its pixels.
    let place = |k: usize| match k.div_ceil(2) {
        0 => (1, 0, (k + 1) % 2),
        block => (0, block - 1, (k + 1) % 2),
    };
    for (i, value) in kernel.iter().enumerate() {
        let (out, colour) = (i / (3 * STEM * STEM), i / (STEM * STEM) % 3);
        let ((up, row, y), (left, column, x)) = (place(i / STEM % STEM), place(i % STEM));
        let channel = (up * 2 + left) * from + colour * 4 + y * 2 + x;
        conv.weight[(out * 4 * from + channel) * 9 + row * 3 + column] = *value;
    }
    let conv = conv.fold(weights, &BatchNorm { name: "bn1", eps: BATCH_NORM_EPS })?;
    Ok(graph.push(shifted, conv.relu()))
}

/// A convolution without parameters of its own, all zero yet.
fn constant(kind: Kind, from: usize, to: usize) -> Conv {
    let per_output = match kind {
        Kind::Depthwise { .. } => kind.size() * kind.size(),
        _ => from * kind.size() * kind.size(),
    };
    let select = Conv::select(from, to, 1, 0);
    Conv { kind, weight: vec![0.0; to * per_output], ..select }
}

/// One number times the pixel at this place of each 3x3, at every second one.
fn tap(channels: usize, place: usize, factor: f32) -> Conv {
    let mut conv = constant(Kind::Depthwise { size: 3, stride: 2, before: 1 }, channels, channels);
    conv.weight.iter_mut().skip(place).step_by(9).for_each(|weight| *weight = factor);
    conv
}

/// The largest of each 3x3 pixels, none of which is negative, at every second one: zeros beyond the border change nothing. One pixel after the
/// other, `max(m, x) = m + relu(x - m)`; what is carried along is -m, which can be added to x. Gradients go where they should,
/// of equal pixels to the first.
fn maximum(graph: &mut Graph, x: Value) -> Value {
    let channels = graph.channels(x);
    let mut negated = graph.push(x, tap(channels, 0, -1.0));
    let mut negate = constant(Kind::Depthwise { size: 1, stride: 1, before: 0 }, channels, channels);
    negate.weight.fill(-1.0);
    for place in 1..9 {
        let more = graph.push(x, tap(channels, place, 1.0).add(negated).then(Activation::Relu));
        negated = graph.push(more, negate.clone().add(negated));
    }
    graph.push(negated, negate)
}

/// What the block's result is added to: x, or a 1x1 convolution of it.
fn shortcut(
    graph: &mut Graph,
    weights: &Weights,
    name: &str,
    x: Value,
    (to, stride): (usize, usize),
) -> Result<Value, WeightsError> {
    let from = graph.channels(x);
    if stride == 1 && from == to && !weights.has(&format!("{name}.downsample.0.weight")) {
        return Ok(x);
    }
    residual::projection(graph, weights, name, x, (to, stride))
}

/// `relu(bn3(conv3(relu(bn2(conv2(relu(bn1(conv1(x)))))))) + shortcut(x))`: 1x1, 3x3 and 1x1.
fn bottleneck(
    graph: &mut Graph,
    weights: &Weights,
    name: &str,
    x: Value,
    stride: usize,
) -> Result<Value, WeightsError> {
    let (from, inner) = (graph.channels(x), width(weights, &format!("{name}.conv1")));
    let to = width(weights, &format!("{name}.conv3"));
    let point = Kind::Point { stride: 1 };
    let first = graph.push(x, conv(weights, (name, "conv1", "bn1"), point, (from, inner))?.relu());
    let second = conv(weights, (name, "conv2", "bn2"), Kind::Same3x3 { stride }, (inner, inner))?;
    let second = graph.push(first, second.relu());
    let shortcut = shortcut(graph, weights, name, x, (to, stride))?;
    let third = conv(weights, (name, "conv3", "bn3"), point, (inner, to))?;
    Ok(graph.push(second, third.add(shortcut).relu()))
}
