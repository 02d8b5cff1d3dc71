//! A network in validation.

use super::loss;
use crate::{graph::Graph, kernels::Kernels, network, precision::Precision};

/// A network that only runs.
pub(super) struct Frozen {
    graph: Graph,
    kernels: Kernels,
}

impl Frozen {
    pub(super) fn new(graph: Graph) -> Self {
        Self { kernels: Kernels::new(&graph, Precision::F32), graph }
    }

    /// Cleans one picture.
    pub(super) fn denoise(&mut self, noisy: Vec<f32>, size: (usize, usize), sigma: f64) -> Vec<f32> {
        self.kernels.run(&self.graph, noisy, (1, size.0, size.1), sigma as f32)
    }

    /// The most likely class of each picture.
    pub(super) fn classify(&mut self, pictures: Vec<f32>, shape: (usize, usize, usize)) -> Vec<usize> {
        let features = self.kernels.run(&self.graph, pictures, shape, 0.0);
        network::logits(&self.graph.exit, &features, shape.0).iter().map(|l| loss::first(l)).collect()
    }
}
