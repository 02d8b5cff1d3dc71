//! `MemNet` (Tai et al. 2017, "MemNet: A Persistent Memory Network for Image Restoration"), the second denoiser of the Denoised Smoothing
//! paper. It is not told σ; what it gives is added to the picture.
//!
//! Every convolution comes after a batch normalisation and a rectifier. A memory block is a chain of residual blocks whose results,
//! and those of all memory blocks before, go through one 1x1 convolution.
//!
//! Names as in the paper's release: `feature_extractor`, `dense_memory.M.recursive_unit.R.relu_conv1`, `.relu_conv2`,
//! `dense_memory.M.gate_unit`, `reconstructor`, each with `.bn.*` and `.conv.weight`. Numbers of blocks and channels are those of the
//! file. The 1x1 convolution is run as one for each of the results, which cannot be trained apart: this network is only run.

use crate::{
    graph::{Activation, BatchNorm, Bias, Conv, Entry, Estimate, Exit, Graph, Kind, Value},
    network::Model,
    weights::{Weights, WeightsError},
};

const BATCH_NORM_EPS: f64 = 1e-5;
const SAME: Kind = Kind::Same3x3 { stride: 1 };

/// Whether the tensors are named like those of such a network.
pub(crate) fn recognises(weights: &Weights) -> bool {
    weights.has("feature_extractor.conv.weight")
}

/// Builds it.
pub(crate) fn load(weights: &mut Weights) -> Result<Model, WeightsError> {
    weights.for_architecture("memnet");
    if weights.is_blank() {
        return Err(weights.misfit("`memnet` can be run but not trained; `dncnn` is its like"));
    }
    let width = match weights.shape("feature_extractor.conv.weight") {
        Some([width, ..]) => *width,
        _ => 64,
    };
    let entry = Entry { shift: [0.0; 3], scale: [1.0; 3], unshuffle: 1, sigma_map: false };
    let mut graph = Graph::new(entry, 1);
    let mut value = unit(&mut graph, weights, "feature_extractor", Value(0), (3, width))?;
    let mut memories = vec![value];
    while memories.len() == 1
        || weights.has(&format!("dense_memory.{}.gate_unit.conv.weight", memories.len() - 1))
    {
        let name = format!("dense_memory.{}", memories.len() - 1);
        let mut results = Vec::new();
        while results.is_empty()
            || weights.has(&format!("{name}.recursive_unit.{}.relu_conv1.conv.weight", results.len()))
        {
            let block = format!("{name}.recursive_unit.{}", results.len());
            let inner = unit(&mut graph, weights, &format!("{block}.relu_conv1"), value, (width, width))?;
            let outer = format!("{block}.relu_conv2");
            let normal = normalise(&mut graph, weights, &outer, inner, width)?;
            let conv = Conv::load(weights, &format!("{outer}.conv"), SAME, (width, width), Bias::Optional)?;
            value = graph.push(normal, conv.add(value));
            results.push(value);
        }
        results.extend(&memories);
        value = gate(&mut graph, weights, &format!("{name}.gate_unit"), &results, width)?;
        memories.push(value);
    }
    let normal = normalise(&mut graph, weights, "reconstructor", value, width)?;
    let conv = Conv::load(weights, "reconstructor.conv", SAME, (width, 3), Bias::Optional)?;
    // It is added to the picture, and so the opposite of the noise.
    let conv = Conv { weight: conv.weight.iter().map(|w| -w).collect(), ..conv };
    let value = graph.push(normal, conv);
    graph.exit = Exit::Pictures { value, shuffle: 1, estimate: Estimate::Noise };
    let model = Model::finish("memnet", graph, weights)?;
    Ok(Model { trainable: false, ..model })
}

/// Normalisation, rectifier, 3x3 convolution.
fn unit(
    graph: &mut Graph,
    weights: &Weights,
    name: &str,
    x: Value,
    io: (usize, usize),
) -> Result<Value, WeightsError> {
    let normal = normalise(graph, weights, name, x, io.0)?;
    let conv = Conv::load(weights, &format!("{name}.conv"), SAME, io, Bias::Optional)?;
    Ok(graph.push(normal, conv))
}

/// `relu(bn(x))`.
fn normalise(
    graph: &mut Graph,
    weights: &Weights,
    name: &str,
    x: Value,
    width: usize,
) -> Result<Value, WeightsError> {
    let scale = scale(weights, name, width)?;
    Ok(graph.push(x, scale))
}

/// A batch normalisation and a rectifier as a convolution of each channel by itself.
fn scale(weights: &Weights, name: &str, width: usize) -> Result<Conv, WeightsError> {
    let one = Conv {
        name: String::new(),
        kind: Kind::Depthwise { size: 1, stride: 1, before: 0 },
        input: Value(0),
        residual: None,
        activation: Activation::Relu,
        in_channels: width,
        out_channels: width,
        weight: vec![1.0; width],
        bias: vec![0.0; width],
    };
    one.fold(weights, &BatchNorm { name: &format!("{name}.bn"), eps: BATCH_NORM_EPS })
}

/// Normalisation and rectifier of all values side by side, and a 1x1 convolution of them all: the sum of one for each.
fn gate(
    graph: &mut Graph,
    weights: &Weights,
    name: &str,
    values: &[Value],
    width: usize,
) -> Result<Value, WeightsError> {
    let wide = values.len() * width;
    let scale = scale(weights, name, wide)?;
    let kind = Kind::Point { stride: 1 };
    let conv = Conv::load(weights, &format!("{name}.conv"), kind, (wide, width), Bias::Optional)?;
    let mut sum = None;
    for (i, value) in values.iter().enumerate() {
        let part = i * width..(i + 1) * width;
        let of_part = |all: &[f32]| all[part.clone()].to_vec();
        let scale = Conv {
            in_channels: width,
            out_channels: width,
            weight: of_part(&scale.weight),
            bias: of_part(&scale.bias),
            ..scale.clone()
        };
        let normal = graph.push(*value, scale);
        let weight = conv.weight.chunks_exact(wide).flat_map(of_part).collect();
        let point = Conv { in_channels: width, weight, residual: sum, ..conv.clone() };
        sum = Some(graph.push(normal, point));
    }
    Ok(sum.unwrap_or(Value(0)))
}
