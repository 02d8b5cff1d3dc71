//! A frozen classifier that tells a denoiser which way to go (Salman et al. 2020, section 3: the stability objective).

use super::{TrainError, loss};
use crate::{
    Batch, OpenError,
    classifiers::Loaded,
    graph::Graph,
    kernels::{Tape, Want},
    network, registry,
};

/// A classifier whose weights stay, with the gradient of its loss for the pictures.
pub struct Surrogate {
    name: String,
    graph: Graph,
    tape: Tape,
    labels: Vec<String>,
    input_size: (usize, usize),
}

impl Surrogate {
    /// Opens a classifier by name or file as [`crate::open_classifier`] does.
    ///
    /// # Errors
    /// [`OpenError`] as from [`crate::open_classifier`].
    pub fn open(name: &str) -> Result<Self, OpenError> {
        let Loaded { model, labels, input_size } = registry::load_classifier(name)?;
        let tape = Tape::new(&model.graph, Want::Pictures);
        Ok(Self { name: model.id.to_string(), graph: model.graph, tape, labels, input_size })
    }

    /// Name and hash of its architecture and weights.
    pub fn id(&self) -> &str {
        &self.name
    }

    /// The classes, in the order of the probabilities.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Rows and columns of the pictures that it takes.
    pub fn input_size(&self) -> (usize, usize) {
        self.input_size
    }

    fn logits(&mut self, batch: Batch) -> Result<(Vec<Vec<f32>>, usize), TrainError> {
        let shape = (batch.count(), batch.height(), batch.width());
        if (shape.1, shape.2) != self.input_size {
            let (height, width) = self.input_size;
            return Err(TrainError::Input { name: self.name.clone(), height, width });
        }
        let features = self.tape.forward(&self.graph, batch.into_data(), shape, &vec![0.0; shape.0]);
        Ok((network::logits(&self.graph.exit, &features, shape.0), features.len() / shape.0))
    }

    /// The index of each picture's most likely class.
    ///
    /// # Errors
    /// [`TrainError::Input`] if the pictures have another size than it takes.
    pub fn classify(&mut self, batch: Batch) -> Result<Vec<usize>, TrainError> {
        Ok(self.logits(batch)?.0.iter().map(|logits| loss::first(logits)).collect())
    }

    /// The mean cross-entropy of the pictures' probabilities to these labels (indices into [`Surrogate::labels`]), in nats, and its
    /// gradient for the pictures. The logits are divided by `temperature` first, which is above 0; 1 for the classifier's own.
    ///
    /// # Errors
    /// [`TrainError`] if the pictures have another size than it takes, or there is not one label of the classifier's for each.
    pub fn cross_entropy(
        &mut self,
        batch: Batch,
        labels: &[usize],
        temperature: f64,
    ) -> Result<(f64, Batch), TrainError> {
        let (count, size) = (batch.count(), (batch.height(), batch.width()));
        let len = batch.data().len();
        let (mut logits, each) = self.logits(batch)?;
        let factor = (1.0 / temperature) as f32;
        let cooled = |values: &mut [Vec<f32>]| values.iter_mut().flatten().for_each(|v| *v *= factor);
        cooled(&mut logits);
        let (loss, mut gradients) = loss::cross_entropy(&logits, labels)?;
        cooled(&mut gradients);
        let gradient = network::logits_gradient(&self.graph.exit, &gradients, each);
        let mut pictures = vec![0.0; len];
        self.tape.backward(&self.graph, &gradient, &mut pictures);
        Ok((loss, Batch::trusted(pictures, count, size)))
    }
}
