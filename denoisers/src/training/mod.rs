//! Denoisers that learn: a network with its gradients, and the optimisers that move it.
//!
//! Everything here runs on this crate's own kernels, forward and back, and is deterministic: the same batches give the same
//! weights bit for bit, whatever the number of threads.

mod adam;
mod learner;
mod surrogate;

pub use adam::Adam;
pub use learner::{Learner, Parameter};
pub use surrogate::Surrogate;

use crate::Batch;

/// The mean squared error of `result` to `clean`, and its gradient for `result`: the MSE objective (Salman et al. 2020, equation 3).
///
/// # Errors
/// [`TrainError::Order`] if the shapes differ.
pub fn mean_squared_error(result: &Batch, clean: &Batch) -> Result<(f64, Batch), TrainError> {
    let shape = |batch: &Batch| (batch.count(), batch.height(), batch.width());
    if shape(result) != shape(clean) {
        return Err(TrainError::Order);
    }
    let count = result.data().len() as f64;
    let differences = || result.data().iter().zip(clean.data()).map(|(r, c)| r - c);
    let loss = differences().map(|d| f64::from(d) * f64::from(d)).sum::<f64>() / count;
    let gradient = differences().map(|d| d * (2.0 / count) as f32).collect();
    Ok((loss, Batch::trusted(gradient, result.count(), (result.height(), result.width()))))
}

/// Why a training step was not made. All of these are the caller's to fix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Training does not pad, so that no gradient is spent on invented pixels.
    #[error(
        "pictures of {height}x{width} cannot be trained on: rows and columns must be multiples of {multiple}"
    )]
    Size {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// What both must be multiples of.
        multiple: usize,
    },
    /// One σ a picture, each finite and not negative.
    #[error("{found} noise levels, finite and not negative, were given for {count} pictures: {sigma:?}")]
    Sigma {
        /// How many were given.
        found: usize,
        /// How many are needed.
        count: usize,
        /// What was given.
        sigma: Vec<f64>,
    },
    /// One label a picture, each the index of a class.
    #[error("labels {labels:?} do not fit {count} pictures and {classes} classes")]
    Labels {
        /// What was given.
        labels: Vec<usize>,
        /// How many are needed.
        count: usize,
        /// How many classes there are.
        classes: usize,
    },
    /// A gradient does not belong to the last result, or a target not to its result.
    #[error("the gradient has another shape than the last result, or there is no result yet")]
    Order,
    /// The weights could not be written.
    #[error("cannot write weights {path}")]
    Write {
        /// The file.
        path: String,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
