//! Image denoisers for denoised smoothing (Salman et al., 2020), and the small classifiers that tests and the local
//! provider need.
//!
//! The seam is [`Denoiser`]: a noisy [`Batch`] and the noise level σ go in, a batch of the same shape comes out. It may be
//! any deterministic function: the certificate treats it as post-processing of the noisy picture, so its quality decides
//! how much is certified, never whether a certificate is right.
//!
//! [`open`] gives a denoiser by name or from a safetensors file; [`DenoiserHandle::spawn`] gives it a thread of its own and an
//! asynchronous front. Networks are described once, as a graph of convolutions, and run from that description.
//!
//! ```
//! use smoothgate_denoisers::{Batch, Options, open};
//!
//! let mut denoiser = open("photo", &Options::default())?;
//! let noisy = Batch::new(vec![0.5; 3 * 20 * 30], 1, 20, 30)?;
//! let clean = denoiser.denoise(noisy, 0.25)?;
//! assert_eq!((clean.height(), clean.width()), (20, 30));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod architectures;
mod batch;
mod candle;
mod checkpoint;
pub mod classifiers;
mod denoiser;
mod device;
mod gather;
mod graph;
mod id;
mod identity;
mod kernels;
mod network;
mod packed;
mod pad;
mod precision;
mod registry;
pub mod speed;
mod together;
pub mod training;
mod weights;
pub mod whole;
mod worker;

pub use batch::{Batch, BatchError};
pub use classifiers::{Classifier, ClassifyError};
pub use denoiser::{DenoiseError, Denoiser};
pub use device::{Device, DeviceError};
pub use gather::DenoiserStats;
pub use id::Id;
pub use identity::Identity;
pub use network::BackendError;
pub use precision::{Precision, UnknownPrecision};
pub use registry::{
    BUILTIN, Builtin, Engine, OpenError, Options, Task, builtin_denoiser, open, open_classifier,
};
pub use weights::WeightsError;
pub use worker::{ClassifierHandle, DenoiserHandle, WorkerError};
