//! What the residual networks of He et al. (2016) have in common, whatever the size of their pictures. Names within a block are
//! torchvision's: `conv1`, `bn1`, `conv2`, `bn2`, `downsample.0`, `downsample.1`.

use super::normalised;
use crate::{
    graph::{Conv, Graph, Kind, Value},
    weights::{Weights, WeightsError},
};

pub(super) const BATCH_NORM_EPS: f64 = 1e-5;

/// A convolution of a block and its normalisation.
pub(super) fn conv(
    weights: &Weights,
    (block, conv, norm): (&str, &str, &str),
    kind: Kind,
    io: (usize, usize),
) -> Result<Conv, WeightsError> {
    normalised(weights, (&format!("{block}.{conv}"), &format!("{block}.{norm}")), kind, io, BATCH_NORM_EPS)
}

/// A block's own 1x1 convolution of x.
pub(super) fn projection(
    graph: &mut Graph,
    weights: &Weights,
    name: &str,
    x: Value,
    (to, stride): (usize, usize),
) -> Result<Value, WeightsError> {
    let io = (graph.channels(x), to);
    let point = conv(weights, (name, "downsample.0", "downsample.1"), Kind::Point { stride }, io)?;
    Ok(graph.push(x, point))
}

/// `relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))`.
pub(super) fn basic(
    graph: &mut Graph,
    weights: &Weights,
    name: &str,
    x: Value,
    (to, stride): (usize, usize),
    shortcut: impl FnOnce(&mut Graph) -> Result<Value, WeightsError>,
) -> Result<Value, WeightsError> {
    let io = (graph.channels(x), to);
    let first = conv(weights, (name, "conv1", "bn1"), Kind::Same3x3 { stride }, io)?;
    let inner = graph.push(x, first.relu());
    let shortcut = shortcut(graph)?;
    let second = conv(weights, (name, "conv2", "bn2"), Kind::Same3x3 { stride: 1 }, (to, to))?;
    Ok(graph.push(inner, second.add(shortcut).relu()))
}
