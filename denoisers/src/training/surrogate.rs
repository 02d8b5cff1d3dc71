//! A frozen classifier that tells a denoiser which way to go (Salman et al. 2020, section 3: the stability objective).

use super::TrainError;
use crate::{
    Batch, OpenError,
    classifiers::{Loaded, softmax},
    graph::Graph,
    kernels::{Tape, Want},
    network, registry,
};

/// A classifier whose weights stay, with the gradient of its loss for the pictures.
pub struct Surrogate {
    graph: Graph,
    tape: Tape,
    labels: Vec<String>,
}

impl Surrogate {
    /// Opens a classifier by name or file as [`crate::open_classifier`] does.
    ///
    /// # Errors
    /// [`OpenError`] as from [`crate::open_classifier`].
    pub fn open(name: &str) -> Result<Self, OpenError> {
        let Loaded { model, labels, .. } = registry::load_classifier(name)?;
        let tape = Tape::new(&model.graph, Want::Pictures);
        Ok(Self { graph: model.graph, tape, labels })
    }

    /// The classes, in the order of the probabilities.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The mean cross-entropy of the pictures' probabilities to these labels (indices into [`Surrogate::labels`]), in nats, and its
    /// gradient for the pictures.
    ///
    /// # Errors
    /// [`TrainError`] if there is not one label of the classifier's for each picture.
    pub fn cross_entropy(&mut self, batch: Batch, labels: &[usize]) -> Result<(f64, Batch), TrainError> {
        let (count, height, width) = (batch.count(), batch.height(), batch.width());
        let classes = self.labels.len();
        if labels.len() != count || labels.iter().any(|label| *label >= classes) {
            return Err(TrainError::Labels { labels: labels.to_vec(), count, classes });
        }
        let sigma = vec![0.0; count];
        let len = batch.data().len();
        let features = self.tape.forward(&self.graph, batch.into_data(), (count, height, width), &sigma);
        let mut loss = 0.0;
        let mut logit_gradients = Vec::with_capacity(count);
        for (logits, label) in network::logits(&self.graph.exit, &features, count).iter().zip(labels) {
            let mut gradient = softmax(logits);
            // The logarithm of the sum is taken apart, as a small probability would lose its digits.
            let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = logits.iter().map(|l| f64::from(l - max).exp()).sum();
            loss += sum.ln() - f64::from(logits[*label] - max);
            gradient[*label] -= 1.0;
            for g in &mut gradient {
                *g /= count as f32;
            }
            logit_gradients.push(gradient);
        }
        let gradient = network::logits_gradient(&self.graph.exit, &logit_gradients, features.len() / count);
        let mut pictures = vec![0.0; len];
        self.tape.backward(&self.graph, &gradient, &mut pictures);
        Ok((loss / count as f64, Batch::trusted(pictures, count, (height, width))))
    }
}
