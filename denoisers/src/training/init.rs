//! Weights to begin with.

use rand_distr::{Distribution, StandardNormal};

use super::draws::Draws;
use crate::graph::{Activation, Conv, Exit, Graph, Kind};

/// What is added to something else begins small, so that a deep network begins close to a shallow one: what batch normalisation does
/// otherwise (De and Smith 2020, "Batch normalization biases residual blocks towards the identity function").
const BRANCH: f64 = 0.1;
/// Deviation of a linear layer's weights.
const LINEAR: f64 = 0.01;

/// Draws all weights from normal laws whose variance keeps that of the features from layer to layer (He et al. 2015, equation 10);
/// biases are zero. A pure function of the graph and the seed.
pub(super) fn fresh(graph: &mut Graph, seed: u64) {
    let draws = Draws::new(seed, "initial weights");
    let branches = branches(graph);
    let count = graph.convs.len();
    let convs = graph.convs.iter_mut().zip(branches).enumerate();
    for (i, (conv, branch)) in convs.filter(|(_, (conv, _))| !conv.name.is_empty()) {
        let terms = match conv.kind {
            // Each output pixel sees one pixel of the input.
            Kind::Up2x2 => conv.in_channels,
            _ => conv.weight.len() / conv.out_channels,
        };
        let gain = if conv.activation == Activation::None { 1.0 } else { 2.0 };
        fill(&mut conv.weight, &draws, i, (gain / terms as f64).sqrt() * branch);
    }
    if let Exit::Classify { weight, .. } = &mut graph.exit {
        fill(weight, &draws, count, LINEAR);
    }
}

/// For each convolution the factor of its first weights: less than 1 where its result is added to something else.
pub(super) fn branches(graph: &Graph) -> Vec<f64> {
    let last = match graph.exit {
        Exit::Pictures { value, .. } => value.0,
        Exit::Classify { .. } => 0,
    };
    let factor = |(i, conv): (usize, &Conv)| {
        if conv.residual.is_some() || last == i + 1 { BRANCH } else { 1.0 }
    };
    graph.convs.iter().enumerate().map(factor).collect()
}

fn fill(values: &mut [f32], draws: &Draws, number: usize, deviation: f64) {
    let mut rng = draws.of(number as u64);
    for value in values {
        let normal: f64 = StandardNormal.sample(&mut rng);
        *value = (normal * deviation) as f32;
    }
}
