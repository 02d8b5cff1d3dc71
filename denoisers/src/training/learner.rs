//! A network whose weights can change.

use std::{collections::HashMap, path::Path};

use super::{TrainError, file, init, loss::cross_entropy};
use crate::{
    Batch, OpenError, WeightsError, architectures,
    classifiers::{self, Loaded},
    graph::{Exit, Graph},
    kernels::{Kernels, Tape, Want},
    network::{self, Model},
    precision::Precision,
    registry,
    weights::Weights,
};

/// A denoiser or a classifier, what its last batch left, and the gradients of its parameters.
///
/// Batch normalisation has become part of the convolutions, and stays so in what is saved.
pub struct Learner {
    graph: Graph,
    tape: Tape,
    metadata: HashMap<String, String>,
    labels: Vec<String>,
    input_size: Option<(usize, usize)>,
    /// Gradients of a classifier's linear layer.
    linear: (Vec<f32>, Vec<f32>),
    /// Count, height and width of the last batch.
    shape: Option<(usize, usize, usize)>,
}

/// One tensor of a learner.
#[derive(Clone, Copy, Debug)]
pub struct Parameter<'a> {
    /// The layer's name in the weights file.
    pub layer: &'a str,
    /// `weight` or `bias`.
    pub part: &'static str,
    /// The values, in the order of PyTorch.
    pub values: &'a [f32],
    /// Their gradients as of the last way back; zero before.
    pub gradient: &'a [f32],
}

impl Learner {
    /// Opens a denoiser by name or file as [`crate::open`] does.
    ///
    /// # Errors
    /// [`OpenError`] as from [`crate::open`]; `none` has nothing to learn.
    pub fn open(name: &str) -> Result<Self, OpenError> {
        let model = registry::load_denoiser(name, Precision::F32)?;
        if !model.trainable {
            let reason = format!("a network of architecture {} can be run but not trained", model.id.name());
            return Err(WeightsError::Architecture { path: name.to_owned(), reason }.into());
        }
        Ok(Self::new(model, vec![], None))
    }

    /// Opens a classifier by name or file as [`crate::open_classifier`] does.
    ///
    /// # Errors
    /// [`OpenError`] as from [`crate::open_classifier`].
    pub fn open_classifier(name: &str) -> Result<Self, OpenError> {
        let Loaded { model, labels, input_size } = registry::load_classifier(name)?;
        Ok(Self::new(model, labels, Some(input_size)))
    }

    /// A denoiser with random weights. The metadata are those of a file of it: `arch` and what the architecture reads.
    ///
    /// # Errors
    /// [`WeightsError`] if the metadata describe no denoiser.
    pub fn create(metadata: HashMap<String, String>, seed: u64) -> Result<Self, WeightsError> {
        let mut model = architectures::load(Weights::blank(metadata))?;
        init::fresh(&mut model.graph, seed);
        Ok(Self::new(model, vec![], None))
    }

    /// A classifier with random weights. The metadata are those of a file of it: `arch`, `classes` with their names separated by `|`,
    /// and what the architecture reads.
    ///
    /// # Errors
    /// [`WeightsError`] if the metadata describe no classifier.
    pub fn create_classifier(metadata: HashMap<String, String>, seed: u64) -> Result<Self, WeightsError> {
        let Loaded { mut model, labels, input_size } = classifiers::load(Weights::blank(metadata))?;
        init::fresh(&mut model.graph, seed);
        Ok(Self::new(model, labels, Some(input_size)))
    }

    fn new(model: Model, labels: Vec<String>, input_size: Option<(usize, usize)>) -> Self {
        let Model { graph, metadata, .. } = model;
        let tape = Tape::new(&graph, Want::Parameters);
        let linear = match &graph.exit {
            Exit::Classify { weight, bias, .. } => (vec![0.0; weight.len()], vec![0.0; bias.len()]),
            Exit::Pictures { .. } => (vec![], vec![]),
        };
        Self { graph, tape, metadata, labels, input_size, linear, shape: None }
    }

    /// The classes in the order of the probabilities; none if it is a denoiser.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Rows and columns of the pictures that a classifier takes; a denoiser takes any.
    pub fn input_size(&self) -> Option<(usize, usize)> {
        self.input_size
    }

    /// What rows and columns of a training picture must be multiples of.
    pub fn multiple(&self) -> usize {
        self.graph.align
    }

    /// Adds a line to the metadata of what is saved.
    pub fn describe(&mut self, key: &str, value: String) {
        self.metadata.insert(key.to_owned(), value);
    }

    fn check_size(&self, batch: &Batch) -> Result<(usize, usize, usize), TrainError> {
        let (count, height, width) = (batch.count(), batch.height(), batch.width());
        let multiple = self.graph.align;
        if !height.is_multiple_of(multiple) || !width.is_multiple_of(multiple) {
            return Err(TrainError::Size { height, width, multiple });
        }
        Ok((count, height, width))
    }

    /// Cleans a batch, with σ of each picture, and remembers what the way back needs.
    ///
    /// # Errors
    /// [`TrainError`] if it is no denoiser, the size is not one that the network takes without padding, or σ does not fit.
    pub fn forward(&mut self, noisy: Batch, sigma: &[f64]) -> Result<Batch, TrainError> {
        let shape = self.check_size(&noisy)?;
        if matches!(self.graph.exit, Exit::Classify { .. }) {
            return Err(TrainError::Task { needed: "denoiser" });
        }
        if sigma.len() != shape.0 || !sigma.iter().all(|s| s.is_finite() && *s >= 0.0) {
            return Err(TrainError::Sigma { found: sigma.len(), count: shape.0, sigma: sigma.to_vec() });
        }
        let sigma: Vec<f32> = sigma.iter().map(|s| *s as f32).collect();
        let data = self.tape.forward(&self.graph, noisy.into_data(), shape, &sigma);
        self.shape = Some(shape);
        Ok(Batch::trusted(data, shape.0, (shape.1, shape.2)))
    }

    /// Computes all gradients from that of the last result.
    ///
    /// # Errors
    /// [`TrainError::Order`] if there is no result of this shape.
    pub fn backward(&mut self, gradient: &Batch) -> Result<(), TrainError> {
        if self.shape != Some((gradient.count(), gradient.height(), gradient.width())) {
            return Err(TrainError::Order);
        }
        self.tape.backward(&self.graph, gradient.data(), &mut []);
        Ok(())
    }

    /// Forward and back: the mean cross-entropy of a classifier's probabilities to these labels (indices into [`Learner::labels`]), in
    /// nats, whose gradients become those of the parameters.
    ///
    /// # Errors
    /// [`TrainError`] if it is no classifier, or there is not one of its labels for each picture.
    pub fn cross_entropy(&mut self, batch: Batch, labels: &[usize]) -> Result<f64, TrainError> {
        let shape = self.check_size(&batch)?;
        let data = batch.into_data();
        let features = self.tape.forward(&self.graph, data, shape, &vec![0.0; shape.0]);
        self.shape = None;
        let logits = network::logits(&self.graph.exit, &features, shape.0);
        let (loss, gradients) = cross_entropy(&logits, labels)?;
        let each = features.len() / shape.0;
        let back = network::logits_gradient(&self.graph.exit, &gradients, each);
        self.linear = network::linear_gradient(&self.graph.exit, &features, &gradients);
        self.tape.backward(&self.graph, &back, &mut []);
        Ok(loss)
    }

    /// All parameters, in an order that stays.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        let convs = self.graph.convs.iter().zip(self.tape.gradients());
        let convs = convs
            .filter(|(conv, _)| !conv.name.is_empty())
            .map(|(conv, g)| (conv.name.as_str(), (&conv.weight, &g.weight), (&conv.bias, &g.bias)));
        let linear = match &self.graph.exit {
            Exit::Classify { name, weight, bias, .. } => {
                Some((name.as_str(), (weight, &self.linear.0), (bias, &self.linear.1)))
            }
            Exit::Pictures { .. } => None,
        };
        convs.chain(linear).flat_map(|(layer, weight, bias)| {
            [("weight", weight), ("bias", bias)].map(|(part, (values, gradient))| Parameter {
                layer,
                part,
                values,
                gradient,
            })
        })
    }

    /// Lets `change` see each parameter's values and gradient in the order of [`Learner::parameters`], and takes the new
    /// values.
    pub fn update(&mut self, mut change: impl FnMut(usize, &mut [f32], &[f32])) {
        let mut index = 0;
        let mut both = |weight: (&mut Vec<f32>, &[f32]), bias: (&mut Vec<f32>, &[f32])| {
            for (values, gradient) in [weight, bias] {
                change(index, values, gradient);
                index += 1;
            }
        };
        for (conv, gradient) in self.graph.convs.iter_mut().zip(self.tape.gradients()) {
            if !conv.name.is_empty() {
                both((&mut conv.weight, &gradient.weight), (&mut conv.bias, &gradient.bias));
            }
        }
        if let Exit::Classify { weight, bias, .. } = &mut self.graph.exit {
            both((weight, &self.linear.0), (bias, &self.linear.1));
        }
        self.tape.pack(&self.graph);
    }

    /// The Euclidean norm of all gradients together.
    pub fn gradient_norm(&self) -> f64 {
        let squares =
            self.parameters().map(|p| p.gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>());
        squares.sum::<f64>().sqrt()
    }

    /// Shrinks all gradients together so that their norm is `most` at most (Pascanu et al. 2013, algorithm 1). Gives the norm from
    /// before.
    pub fn clip(&mut self, most: f64) -> f64 {
        let norm = self.gradient_norm();
        if norm > most {
            let factor = (most / norm) as f32;
            self.tape.scale_gradients(factor);
            let (weight, bias) = &mut self.linear;
            weight.iter_mut().chain(bias).for_each(|g| *g *= factor);
        }
        norm
    }

    /// Replaces all values, in the order of [`Learner::parameters`].
    pub(super) fn replace(&mut self, values: &[Vec<f32>]) {
        self.update(|index, to, _| to.copy_from_slice(&values[index]));
    }

    /// The network with other values, ready to run.
    pub(super) fn with(&self, values: &[Vec<f32>]) -> Frozen {
        let mut graph = self.graph.clone();
        let mut values = values.iter();
        let mut take = |to: &mut Vec<f32>| {
            if let Some(values) = values.next() {
                to.clone_from(values);
            }
        };
        for conv in graph.convs.iter_mut().filter(|conv| !conv.name.is_empty()) {
            take(&mut conv.weight);
            take(&mut conv.bias);
        }
        if let Exit::Classify { weight, bias, .. } = &mut graph.exit {
            take(weight);
            take(bias);
        }
        Frozen { kernels: Kernels::new(&graph, Precision::F32), graph }
    }

    /// Writes a safetensors file that [`Learner::open`] and [`crate::open`] read. It appears under its name only when it is
    /// complete.
    ///
    /// # Errors
    /// [`TrainError::Write`] if the file cannot be written; an older one of that name is still there then.
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        let values: Vec<&[f32]> = self.parameters().map(|p| p.values).collect();
        self.save_values(path, &values)
    }

    /// The same with other values, in the order of [`Learner::parameters`].
    pub(super) fn save_values(&self, path: &Path, values: &[&[f32]]) -> Result<(), TrainError> {
        let shapes = self.shapes();
        let tensors: Vec<_> = shapes
            .iter()
            .zip(values)
            .map(|((name, shape), values)| (name.clone(), shape.clone(), file::bytes(values)))
            .collect();
        file::write_tensors(path, &tensors, &self.metadata)
    }

    /// Name and shape of each parameter, in the order of [`Learner::parameters`].
    pub(super) fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let convs = self.graph.convs.iter().filter(|conv| !conv.name.is_empty());
        let convs = convs.map(|conv| (&conv.name, conv.shape().to_vec(), conv.out_channels));
        let linear = match &self.graph.exit {
            Exit::Classify { name, weight, bias, .. } => {
                Some((name, vec![bias.len(), weight.len() / bias.len()], bias.len()))
            }
            Exit::Pictures { .. } => None,
        };
        convs
            .chain(linear)
            .flat_map(|(name, shape, out)| {
                [(format!("{name}.weight"), shape), (format!("{name}.bias"), vec![out])]
            })
            .collect()
    }
}

/// A network that only runs.
pub(super) struct Frozen {
    graph: Graph,
    kernels: Kernels,
}

impl Frozen {
    /// Cleans one picture.
    pub(super) fn denoise(&mut self, noisy: Vec<f32>, size: (usize, usize), sigma: f64) -> Vec<f32> {
        self.kernels.run(&self.graph, noisy, (1, size.0, size.1), sigma as f32)
    }

    /// The most likely class of each picture.
    pub(super) fn classify(&mut self, pictures: Vec<f32>, shape: (usize, usize, usize)) -> Vec<usize> {
        let features = self.kernels.run(&self.graph, pictures, shape, 0.0);
        network::logits(&self.graph.exit, &features, shape.0).iter().map(|l| super::loss::first(l)).collect()
    }
}
