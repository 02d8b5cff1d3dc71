//! Networks that learn.
//!
//! A [`Learner`] is a network with its gradients; [`Adam`] and [`Sgd`] move it; a [`Surrogate`] is the frozen classifier that a
//! denoiser can be trained through. A [`Trainer`] makes steps on [`Pictures`] as its [`Settings`] say; a [`Run`] keeps a trainer's
//! checkpoints and log in a folder, and goes on where an earlier one stopped.
//!
//! Everything here runs on this crate's own kernels, forward and back, and is deterministic: the same settings and pictures give the
//! same weights bit for bit, whatever the number of threads, and wherever the run was interrupted.

mod adam;
mod data;
mod draws;
mod file;
mod frozen;
mod init;
mod learner;
mod log;
mod loss;
mod optimizer;
mod parameter;
mod run;
mod sample;
mod schedule;
mod settings;
mod sgd;
mod standard;
mod state;
mod surrogate;
mod trainer;
mod validate;

pub use adam::Adam;
pub use data::{DataError, Picture, Pictures, Source, Split};
pub use learner::Learner;
pub use loss::{mean_squared_error, weighted_squared_error};
pub use optimizer::OptimizerKind;
pub use parameter::{Parameter, Part};
pub use run::{Cadence, Ended, Event, Run};
pub use sample::Augment;
pub use schedule::Schedule;
pub use settings::{Objective, Settings, SigmaLaw, SigmaMix, SigmaRange};
pub use sgd::Sgd;
pub use surrogate::Surrogate;
pub use trainer::{Measured, Trainer};
pub use validate::{Quality, Validation};

/// Why a training step was not made, or a run not begun or ended. Unless it says otherwise, the caller's to mend.
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
    /// A denoiser where a classifier is needed, or the other way round.
    #[error("this needs a {needed}, and the network is none")]
    Task {
        /// `denoiser` or `classifier`.
        needed: &'static str,
    },
    /// A classifier takes pictures of one size only.
    #[error("classifier {name} takes pictures of {height}x{width}: choose patches of that size")]
    Input {
        /// The classifier.
        name: String,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// Settings that make no run.
    #[error("{reason}")]
    Settings {
        /// What does not fit, and what would.
        reason: String,
    },
    /// The pictures.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The weights left the numbers. Checkpoints from before are kept.
    #[error(
        "step {step} gave loss {loss} with gradients of norm {norm}: the run has diverged; begin again from an earlier \
         checkpoint with a lower learning rate, a warm-up or clipped gradients"
    )]
    Diverged {
        /// The step.
        step: u64,
        /// Its loss.
        loss: f64,
        /// The norm of its gradients.
        norm: f64,
    },
    /// A folder of a run that cannot be gone on with.
    #[error("{path}: {reason}")]
    State {
        /// The file or folder.
        path: String,
        /// What does not fit.
        reason: String,
    },
    /// A file could not be written: a full disk, missing permission. An older file of that name is still whole; the run can be
    /// resumed once there is room.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: String,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
