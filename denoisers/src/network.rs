//! A graph made ready to run on a device.

use std::{collections::HashMap, ops::RangeInclusive};

use crate::{
    Batch, DenoiseError, Denoiser, Id,
    candle::Runner,
    graph::{Exit, Graph},
    kernels::Kernels,
    precision::Precision,
    registry::Engine,
    weights::{Weights, WeightsError},
};

/// The tensor library or its device failed: out of memory, a driver error. Not the user's fault; another try may succeed
/// if memory was short.
#[derive(Debug, thiserror::Error)]
#[error("the network could not be run")]
pub struct BackendError(#[from] candle_core::Error);

/// A loaded architecture, before it is given a device.
pub(crate) struct Model {
    pub(crate) id: Id,
    pub(crate) precision: Precision,
    pub(crate) graph: Graph,
    pub(crate) trained_sigma: Option<RangeInclusive<f64>>,
    /// Whether all tensors of the file are parameters of the graph as they are.
    pub(crate) trainable: bool,
    /// Of the file, for those who write it again.
    pub(crate) metadata: HashMap<String, String>,
}

impl Model {
    /// Ends the loading of `graph`: complains about tensors that were not used, and takes the hash.
    pub(crate) fn finish(name: &str, graph: Graph, weights: &Weights) -> Result<Self, WeightsError> {
        let precision = weights.precision();
        let id = Id::new(format!("{name}{}", precision.suffix()), weights.finish()?);
        // Before sigma is asked for: a new network has seen no noise yet, and may not say so.
        weights.all_asked()?;
        let trained_sigma = weights.metadata("sigma").and_then(range);
        Ok(Self {
            id,
            precision,
            graph,
            trained_sigma,
            trainable: true,
            metadata: weights.all_metadata().clone(),
        })
    }
}

/// `a..b`, or one number for both.
fn range(text: &str) -> Option<RangeInclusive<f64>> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    Some(low.trim().parse().ok()?..=high.trim().parse().ok()?)
}

/// A network on a device.
pub(crate) struct Network {
    model: Model,
    machine: Machine,
}

/// What runs the graph.
enum Machine {
    Kernels(Box<Kernels>),
    Candle(Runner),
}

impl Network {
    pub(crate) fn new(
        model: Model,
        device: candle_core::Device,
        engine: Engine,
    ) -> Result<Self, BackendError> {
        let machine = if device.is_cpu() && engine == Engine::Own {
            Machine::Kernels(Box::new(Kernels::new(&model.graph, model.precision)))
        } else {
            Machine::Candle(Runner::new(&model.graph, device)?)
        };
        Ok(Self { model, machine })
    }

    pub(crate) fn id(&self) -> &Id {
        &self.model.id
    }

    /// Pictures to cleaned pictures, or to features, as the graph's exit says.
    fn run(&mut self, batch: Batch, sigma: f32) -> Result<Vec<f32>, BackendError> {
        let graph = &self.model.graph;
        let (count, size) = (batch.count(), (batch.height(), batch.width()));
        match &mut self.machine {
            Machine::Kernels(kernels) => {
                Ok(kernels.run(graph, batch.into_data(), (count, size.0, size.1), sigma))
            }
            Machine::Candle(runner) => {
                let (height, width) = graph.padded(size);
                let data = graph.pad(batch.into_data(), size);
                let result = runner.run(graph, data, (count, height, width), sigma)?;
                Ok(if matches!(graph.exit, Exit::Pictures { .. }) {
                    graph.unpad(result, size)
                } else {
                    result
                })
            }
        }
    }

    /// For each picture the classes' numbers before the softmax; empty if the network is not a classifier.
    pub(crate) fn logits(&mut self, batch: Batch) -> Result<Vec<Vec<f32>>, BackendError> {
        let count = batch.count();
        let features = self.run(batch, 0.0)?;
        Ok(logits(&self.model.graph.exit, &features, count))
    }
}

/// For each picture the classes' numbers before the softmax, from its features `[count, channels, rows, columns]`. Summed in double
/// precision and in one order, whatever the device.
pub(crate) fn logits(exit: &Exit, features: &[f32], count: usize) -> Vec<Vec<f32>> {
    let Exit::Classify { weight, bias, .. } = exit else { return vec![] };
    let channels = weight.len() / bias.len();
    let of_picture = |means: Vec<f64>| {
        let class = |(row, b): (&[f32], &f32)| {
            (f64::from(*b) + row.iter().zip(&means).map(|(w, m)| f64::from(*w) * m).sum::<f64>()) as f32
        };
        weight.chunks_exact(channels).zip(bias).map(class).collect()
    };
    means(features, count, channels).map(of_picture).collect()
}

/// For each picture the mean of each channel.
fn means(features: &[f32], count: usize, channels: usize) -> impl Iterator<Item = Vec<f64>> {
    let per_picture = features.len() / count;
    let mean = |plane: &[f32]| plane.iter().map(|v| f64::from(*v)).sum::<f64>() / plane.len() as f64;
    let of_picture = move |picture: &[f32]| picture.chunks_exact(per_picture / channels).map(mean).collect();
    features.chunks_exact(per_picture).map(of_picture)
}

/// The gradient of the features, `per_picture` floats each, from that of the [`logits`].
pub(crate) fn logits_gradient(exit: &Exit, gradients: &[Vec<f32>], per_picture: usize) -> Vec<f32> {
    let Exit::Classify { weight, bias, .. } = exit else { return vec![] };
    let channels = weight.len() / bias.len();
    let plane = per_picture / channels;
    let mut features = Vec::with_capacity(per_picture * gradients.len());
    for gradient in gradients {
        for channel in 0..channels {
            let weights = weight[channel..].iter().step_by(channels);
            let sum: f64 = weights.zip(gradient).map(|(w, g)| f64::from(*w) * f64::from(*g)).sum();
            features.extend(std::iter::repeat_n((sum / plane as f64) as f32, plane));
        }
    }
    features
}

/// The gradients of the linear layer's weights and bias, from those of the [`logits`].
pub(crate) fn linear_gradient(exit: &Exit, features: &[f32], gradients: &[Vec<f32>]) -> (Vec<f32>, Vec<f32>) {
    let Exit::Classify { weight, bias, .. } = exit else { return (vec![], vec![]) };
    let channels = weight.len() / bias.len();
    let (mut of_weight, mut of_bias) = (vec![0.0; weight.len()], vec![0.0; bias.len()]);
    for (means, gradient) in means(features, gradients.len(), channels).zip(gradients) {
        for ((row, bias), g) in of_weight.chunks_exact_mut(channels).zip(&mut of_bias).zip(gradient) {
            *bias += f64::from(*g);
            row.iter_mut().zip(&means).for_each(|(w, mean)| *w += f64::from(*g) * mean);
        }
    }
    let single = |sums: Vec<f64>| sums.into_iter().map(|v| v as f32).collect();
    (single(of_weight), single(of_bias))
}

impl Denoiser for Network {
    fn id(&self) -> &Id {
        &self.model.id
    }

    fn denoise(&mut self, batch: Batch, sigma: f64) -> Result<Batch, DenoiseError> {
        DenoiseError::check_sigma(sigma)?;
        let (count, size) = (batch.count(), (batch.height(), batch.width()));
        Ok(Batch::trusted(self.run(batch, sigma as f32)?, count, size))
    }

    fn operations(&self, height: usize, width: usize) -> Option<f64> {
        Some(self.model.graph.operations((height, width)))
    }

    fn trained_sigma(&self) -> Option<RangeInclusive<f64>> {
        self.model.trained_sigma.clone()
    }
}
