//! A network whose weights can change.

use std::{collections::HashMap, path::Path};

use super::{
    Parameter, Part, TrainError, file, frozen::Frozen, init, loss::cross_entropy, standard::Standard,
};
use crate::{
    Batch, OpenError, WeightsError, architectures,
    classifiers::{self, Loaded},
    graph::{Conv, Exit, Graph, Kind},
    kernels::{Tape, Want},
    network::{self, Model},
    precision::Precision,
    registry,
    weights::Weights,
};

/// Count, rows and columns of a batch.
type Shape = (usize, usize, usize);

/// A denoiser or a classifier, what its last batch left, and the gradients of its parameters.
///
/// Batch normalisation has become part of the convolutions, and stays so in what is saved. In its place new classifiers learn with
/// [standardised weights](Learner::standardize), which are no part of what is saved either.
pub struct Learner {
    graph: Graph,
    tape: Tape,
    /// For gradients of the pictures, once they have been asked for.
    toward: Option<Tape>,
    /// For each convolution of the graph, if it is learnt so.
    standard: Vec<Option<Standard>>,
    metadata: HashMap<String, String>,
    labels: Vec<String>,
    input_size: Option<(usize, usize)>,
    /// Gradients of a classifier's linear layer.
    linear: (Vec<f32>, Vec<f32>),
    /// Of the last batch.
    shape: Option<Shape>,
}

impl Learner {
    /// Opens a denoiser by name or file as [`crate::open`] does.
    ///
    /// # Errors
    /// [`OpenError`] as from [`crate::open`]; `none` has nothing to learn.
    pub fn open(name: &str) -> Result<Self, OpenError> {
        let model = registry::load_denoiser(name, Precision::F32)?;
        trainable(name, &model)?;
        Ok(Self::new(model, vec![], None))
    }

    /// Opens a classifier by name or file as [`crate::open_classifier`] does.
    ///
    /// # Errors
    /// [`OpenError`] as from [`crate::open_classifier`].
    pub fn open_classifier(name: &str) -> Result<Self, OpenError> {
        let Loaded { model, labels, input_size } = registry::load_classifier(name)?;
        trainable(name, &model)?;
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
        let standard = graph.convs.iter().map(|_| None).collect();
        Self { graph, tape, toward: None, standard, metadata, labels, input_size, linear, shape: None }
    }

    /// From now on learns with standardised weights (Brock et al. 2021, section 4.2), which do in training what batch normalisation
    /// does, without a batch. For new networks: the result changes by the means of the weights.
    pub fn standardize(&mut self) {
        let branches = init::branches(&self.graph);
        for ((standard, conv), branch) in self.standard.iter_mut().zip(&mut self.graph.convs).zip(branches) {
            // The rows of a transposed convolution are not its output channels.
            if !conv.name.is_empty() && conv.kind != Kind::Up2x2 {
                *standard = Some(Standard::begin(conv, branch));
            }
        }
        self.tape.pack(&self.graph);
    }

    /// Whether it learns with standardised weights.
    pub fn is_standardized(&self) -> bool {
        self.standard.iter().any(Option::is_some)
    }

    /// The deviation that each standardised convolution began with: they stay, and are no parameters.
    pub(super) fn deviations(&self) -> impl Iterator<Item = f64> {
        self.standard.iter().flatten().map(|standard| standard.deviation)
    }

    /// Takes them over from a state, if there are any in it. False if they are not as many as there should be.
    pub(super) fn take_deviations(&mut self, deviations: &[f64]) -> bool {
        let fits = deviations.is_empty() || self.deviations().count() == deviations.len();
        for (standard, deviation) in self.standard.iter_mut().flatten().zip(deviations) {
            standard.deviation = *deviation;
        }
        fits
    }

    /// A hash of all that is said of the network beside its weights: sizes, classes, how pictures are normalised.
    pub(super) fn fingerprint(&self) -> blake3::Hash {
        let mut lines: Vec<_> = self.metadata.iter().collect();
        lines.sort();
        let mut hasher = blake3::Hasher::new();
        for text in lines.into_iter().flat_map(|(key, value)| [key, value]) {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        hasher.finalize()
    }

    /// Takes over each tensor that the other network has under the same name in the same shape; all others stay. Gives how many it took
    /// over, and how many there are.
    pub fn adopt(&mut self, other: &Self) -> (usize, usize) {
        let values = other.parameters().map(|parameter| parameter.values);
        let theirs: HashMap<(String, Vec<usize>), &[f32]> = other.shapes().into_iter().zip(values).collect();
        let ours = self.shapes();
        let mut adopted = 0;
        self.update(|index, _, to, _| {
            if let Some(from) = theirs.get(&ours[index]) {
                to.copy_from_slice(from);
                adopted += 1;
            }
        });
        (adopted, ours.len())
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

    fn check_size(&self, batch: &Batch) -> Result<Shape, TrainError> {
        let (count, height, width) = (batch.count(), batch.height(), batch.width());
        let multiple = self.graph.align;
        if !height.is_multiple_of(multiple) || !width.is_multiple_of(multiple) {
            return Err(TrainError::Size { height, width, multiple });
        }
        Ok((count, height, width))
    }

    fn check_denoising(&self, noisy: &Batch, sigma: &[f64]) -> Result<(Shape, Vec<f32>), TrainError> {
        let shape = self.check_size(noisy)?;
        if matches!(self.graph.exit, Exit::Classify { .. }) {
            return Err(TrainError::Task { needed: "denoiser" });
        }
        if sigma.len() != shape.0 || !sigma.iter().all(|s| s.is_finite() && *s >= 0.0) {
            return Err(TrainError::Sigma { found: sigma.len(), count: shape.0, sigma: sigma.to_vec() });
        }
        Ok((shape, sigma.iter().map(|s| *s as f32).collect()))
    }

    /// The gradient of a loss of the cleaned batch for the noisy one. `loss` is given the cleaned batch, and gives its own gradient for
    /// it, of the same shape. What [`Learner::forward`] has left stays.
    ///
    /// # Errors
    /// [`TrainError`] as from [`Learner::forward`], as from `loss`, or [`TrainError::Order`] if its gradient has another shape.
    pub fn toward(
        &mut self,
        noisy: Batch,
        sigma: &[f64],
        loss: impl FnOnce(Batch) -> Result<Batch, TrainError>,
    ) -> Result<Batch, TrainError> {
        let (shape, sigma) = self.check_denoising(&noisy, sigma)?;
        let (count, size) = (shape.0, (shape.1, shape.2));
        let tape = self.toward.get_or_insert_with(|| Tape::new(&self.graph, Want::Pictures));
        tape.pack(&self.graph);
        let result = tape.forward(&self.graph, noisy.into_data(), shape, &sigma);
        let gradient = loss(Batch::trusted(result, count, size))?;
        if (gradient.count(), gradient.height(), gradient.width()) != shape {
            return Err(TrainError::Order);
        }
        let mut pictures = vec![0.0; gradient.data().len()];
        tape.backward(&self.graph, gradient.data(), &mut pictures);
        Ok(Batch::trusted(pictures, count, size))
    }

    /// Cleans a batch, with σ of each picture, and remembers what the way back needs.
    ///
    /// # Errors
    /// [`TrainError`] if it is no denoiser, the size is not one that the network takes without padding, or σ does not fit.
    pub fn forward(&mut self, noisy: Batch, sigma: &[f64]) -> Result<Batch, TrainError> {
        let (shape, sigma) = self.check_denoising(&noisy, sigma)?;
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
        self.standardize_gradients();
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
        self.standardize_gradients();
        Ok(loss)
    }

    /// From the gradients of the weights that the network runs with to those of what is learnt.
    fn standardize_gradients(&mut self) {
        for (standard, gradient) in self.standard.iter_mut().zip(self.tape.gradients()) {
            if let Some(standard) = standard {
                standard.back(&gradient.weight);
            }
        }
    }

    /// All parameters, in an order that stays.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        let convs = self.graph.convs.iter().zip(self.tape.gradients()).zip(&self.standard);
        let convs = convs.filter(|((conv, _), _)| !conv.name.is_empty()).flat_map(|((conv, g), standard)| {
            let layer = conv.name.as_str();
            let bias = Parameter { layer, part: Part::Bias, values: &conv.bias, gradient: &g.bias };
            let part = |part, values, gradient| Parameter { layer, part, values, gradient };
            match standard {
                None => vec![part(Part::Weight, &conv.weight, &g.weight), bias],
                Some(standard) => {
                    let (weight, gain) = (&standard.weight, &standard.gain);
                    vec![
                        part(Part::Weight, &weight.values, &weight.gradient),
                        bias,
                        part(Part::Gain, &gain.values, &gain.gradient),
                    ]
                }
            }
        });
        let linear = match &self.graph.exit {
            Exit::Classify { name, weight, bias, .. } => {
                let part = |part, values, gradient| Parameter { layer: name, part, values, gradient };
                let (weight, bias) = ((weight, &self.linear.0), (bias, &self.linear.1));
                vec![part(Part::Weight, weight.0, weight.1), part(Part::Bias, bias.0, bias.1)]
            }
            Exit::Pictures { .. } => vec![],
        };
        convs.chain(linear)
    }

    /// Lets `change` see place, part, values and gradient of each parameter in the order of [`Learner::parameters`], and takes the
    /// new values.
    pub fn update(&mut self, mut change: impl FnMut(usize, Part, &mut [f32], &[f32])) {
        let mut index = 0;
        let mut change = |part, values: &mut [f32], gradient: &[f32]| {
            change(index, part, values, gradient);
            index += 1;
        };
        let gradients = self.tape.gradients();
        for ((conv, gradient), standard) in self.graph.convs.iter_mut().zip(gradients).zip(&mut self.standard)
        {
            if conv.name.is_empty() {
                continue;
            }
            match standard {
                None => {
                    change(Part::Weight, &mut conv.weight, &gradient.weight);
                    change(Part::Bias, &mut conv.bias, &gradient.bias);
                }
                Some(standard) => {
                    change(Part::Weight, &mut standard.weight.values, &standard.weight.gradient);
                    change(Part::Bias, &mut conv.bias, &gradient.bias);
                    change(Part::Gain, &mut standard.gain.values, &standard.gain.gradient);
                    standard.fill(&mut conv.weight);
                }
            }
        }
        if let Exit::Classify { weight, bias, .. } = &mut self.graph.exit {
            change(Part::Weight, weight, &self.linear.0);
            change(Part::Bias, bias, &self.linear.1);
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
            self.standard.iter_mut().flatten().for_each(|standard| standard.scale_gradients(factor));
            let (weight, bias) = &mut self.linear;
            weight.iter_mut().chain(bias).for_each(|g| *g *= factor);
        }
        norm
    }

    /// Replaces all values, in the order of [`Learner::parameters`].
    pub(super) fn replace(&mut self, values: &[Vec<f32>]) {
        self.update(|index, _, to, _| to.copy_from_slice(&values[index]));
    }

    /// The graph with other values, in the order of [`Learner::parameters`].
    fn graph_of(&self, values: &[&[f32]]) -> Graph {
        let mut graph = self.graph.clone();
        let mut values = values.iter();
        let mut take = |to: &mut Vec<f32>| {
            if let Some(values) = values.next() {
                to.copy_from_slice(values);
            }
        };
        let convs = graph.convs.iter_mut().zip(&self.standard).filter(|(conv, _)| !conv.name.is_empty());
        for (conv, standard) in convs {
            take(&mut conv.weight);
            take(&mut conv.bias);
            if let Some(standard) = standard {
                let mut gain = standard.gain.values.clone();
                take(&mut gain);
                standard.of(&gain, &mut conv.weight);
            }
        }
        if let Exit::Classify { weight, bias, .. } = &mut graph.exit {
            take(weight);
            take(bias);
        }
        graph
    }

    /// The network with other values, ready to run.
    pub(super) fn with(&self, values: &[&[f32]]) -> Frozen {
        Frozen::new(self.graph_of(values))
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
        let graph = self.graph_of(values);
        let mut tensors = Vec::new();
        let mut add = |name: &str, shape: Vec<usize>, weight: &[f32], bias: &[f32]| {
            tensors.push((format!("{name}.weight"), shape, file::bytes(weight)));
            tensors.push((format!("{name}.bias"), vec![bias.len()], file::bytes(bias)));
        };
        for conv in graph.convs.iter().filter(|conv| !conv.name.is_empty()) {
            add(&conv.name, conv.shape().to_vec(), &conv.weight, &conv.bias);
        }
        if let Exit::Classify { name, weight, bias, .. } = &graph.exit {
            add(name, vec![bias.len(), weight.len() / bias.len()], weight, bias);
        }
        file::write_tensors(path, &tensors, &self.metadata)
    }

    /// Name and shape of each parameter, in the order of [`Learner::parameters`].
    pub(super) fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let weights = self.graph.convs.iter().filter(|conv| !conv.name.is_empty()).map(Conv::shape);
        let mut weights = weights.map(|shape| shape.to_vec());
        let shape = |p: Parameter<'_>| {
            let shape = match (p.part, &self.graph.exit) {
                (Part::Weight, Exit::Classify { name, bias, .. }) if p.layer == name => {
                    vec![bias.len(), p.values.len() / bias.len()]
                }
                (Part::Weight, _) => weights.next().unwrap_or_default(),
                (Part::Bias | Part::Gain, _) => vec![p.values.len()],
            };
            (format!("{}.{}", p.layer, p.part), shape)
        };
        self.parameters().map(shape).collect()
    }
}

fn trainable(name: &str, model: &Model) -> Result<(), WeightsError> {
    if model.trainable {
        return Ok(());
    }
    let reason = format!("a network of architecture {} can be run but not trained", model.id.name());
    Err(WeightsError::Architecture { path: name.to_owned(), reason })
}
