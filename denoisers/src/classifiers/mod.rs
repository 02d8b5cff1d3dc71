//! Picture classifiers: the local stand-in for a remote API, and what denoisers are trained through.

pub(crate) mod things64;

use crate::{BackendError, Batch, Id, WorkerError};

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
    /// The thread that owns the classifier is gone.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

/// Softmax in double precision: `exp(l - max) / sum`.
pub(crate) fn softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f64> = logits.iter().map(|l| f64::from(l - max).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.iter().map(|e| (e / sum) as f32).collect()
}
