//! Picture classifiers: the local stand-in for a remote API, and what denoisers are trained through.

pub(crate) mod cifar_resnet;
pub(crate) mod efficientnet_lite;
mod residual;
pub(crate) mod resnet;
pub(crate) mod things64;

pub(crate) use cifar_resnet::CIFAR10;

use crate::{
    BackendError, Batch, Id, WorkerError,
    graph::{BatchNorm, Bias, Conv, Kind},
    network::{Model, Network},
    weights::{Weights, WeightsError},
};

/// A deterministic function from pictures to class probabilities.
pub trait Classifier: Send {
    /// Name and content hash.
    fn id(&self) -> &Id;

    /// The classes, in the order of the probabilities.
    fn labels(&self) -> &[String];

    /// Rows and columns it takes; the caller resizes.
    fn input_size(&self) -> (usize, usize);

    /// For each picture, in units of \[0,1\] pixel values, the softmax probability of each class.
    ///
    /// # Errors
    /// [`ClassifyError`] if the pictures have another size than [`Classifier::input_size`], or the machinery fails.
    fn classify(&mut self, batch: Batch) -> Result<Vec<Vec<f32>>, ClassifyError>;
}

/// Why a batch was not classified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClassifyError {
    /// The caller's mistake.
    #[error(
        "pictures are {found:?} (rows, columns), but the classifier takes {expected:?}: resize them first"
    )]
    Size {
        /// Rows and columns given.
        found: (usize, usize),
        /// Rows and columns needed.
        expected: (usize, usize),
    },
    /// The tensor library or the device failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The tensor library or the device failed on a batch that others had a part in.
    #[error("the batch could not be classified: {reason}")]
    Failed {
        /// What it said.
        reason: String,
    },
    /// The thread that owns the classifier is gone.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

/// A loaded classifier, before it is given a device.
pub(crate) struct Loaded {
    pub(crate) model: Model,
    pub(crate) labels: Vec<String>,
    pub(crate) input_size: (usize, usize),
}

/// Builds the classifier that the file is of: metadata `arch` says which, or the names of its tensors do.
pub(crate) fn load(mut weights: Weights) -> Result<Loaded, WeightsError> {
    let stated = weights.metadata("arch").map(str::to_owned);
    match stated.as_deref() {
        Some("things64") => things64::load(&mut weights),
        Some("cifar-resnet") => cifar_resnet::load(&mut weights),
        Some("efficientnet-lite") => efficientnet_lite::load(&mut weights),
        Some("resnet") => resnet::load(&mut weights),
        Some(other) => Err(weights.misfit(format!(
            "metadata `arch` is `{other}`; classifiers are `things64`, `cifar-resnet`, `resnet` and `efficientnet-lite`"
        ))),
        None if weights.has("stem.0.weight") => things64::load(&mut weights),
        None if weights.has("_conv_stem.weight") => efficientnet_lite::load(&mut weights),
        None if resnet::recognises(&weights) => resnet::load(&mut weights),
        None if cifar_resnet::recognises(&weights) => cifar_resnet::load(&mut weights),
        None => Err(weights.misfit(
            "its tensor names are of no known classifier; state the architecture (`things64`, `cifar-resnet`, \
             `resnet`, `efficientnet-lite`) in the metadata as `arch`",
        )),
    }
}

/// Mean and deviation of each colour, which pictures are normalised with: metadata `mean` and `std`, else those of `ImageNet`.
fn colours(weights: &Weights) -> Result<([f32; 3], [f32; 3]), WeightsError> {
    let mean = weights.colours("mean")?.unwrap_or([0.485, 0.456, 0.406]);
    let std = weights.colours("std")?.unwrap_or([0.229, 0.224, 0.225]);
    if std.iter().any(|s| *s <= 0.0) {
        return Err(weights.misfit(format!("metadata `std` is {std:?}, but must be positive")));
    }
    Ok((mean, std))
}

/// A convolution without bias and the batch normalisation after it; or with a bias, and none, where the file was written by this crate:
/// its training has made both one.
fn normalised(
    weights: &Weights,
    (conv, norm): (&str, &str),
    kind: Kind,
    io: (usize, usize),
    eps: f64,
) -> Result<Conv, WeightsError> {
    let merged = weights.has(&format!("{conv}.bias")) && !weights.has(&format!("{norm}.weight"));
    if merged || weights.is_blank() {
        return Conv::load(weights, conv, kind, io, Bias::Required);
    }
    Conv::load(weights, conv, kind, io, Bias::Optional)?.fold(weights, &BatchNorm { name: norm, eps })
}

/// A network that classifies.
pub(crate) struct NetworkClassifier {
    network: Network,
    labels: Vec<String>,
    input_size: (usize, usize),
}

impl NetworkClassifier {
    pub(crate) fn new(network: Network, labels: Vec<String>, input_size: (usize, usize)) -> Self {
        Self { network, labels, input_size }
    }
}

impl Classifier for NetworkClassifier {
    fn id(&self) -> &Id {
        self.network.id()
    }

    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn input_size(&self) -> (usize, usize) {
        self.input_size
    }

    fn classify(&mut self, batch: Batch) -> Result<Vec<Vec<f32>>, ClassifyError> {
        let (found, expected) = ((batch.height(), batch.width()), self.input_size);
        if found != expected {
            return Err(ClassifyError::Size { found, expected });
        }
        Ok(self.network.logits(batch)?.iter().map(|logits| softmax(logits)).collect())
    }
}

/// Softmax in double precision: `exp(l - max) / sum`.
pub(crate) fn softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f64> = logits.iter().map(|l| f64::from(l - max).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.iter().map(|e| (e / sum) as f32).collect()
}
