//! The seam between the pipeline and whatever cleans its pictures.

use std::ops::RangeInclusive;

use crate::{BackendError, Batch, Id, WorkerError};

/// A deterministic function from noisy pictures to clean ones.
///
/// Each picture's result depends on that picture and σ alone, bit for bit: not on its neighbours in the batch, on how a
/// sequence was cut into batches, or on the number of threads.
pub trait Denoiser: Send {
    /// Name and content hash.
    fn id(&self) -> &Id;

    /// Cleans `batch`, which carries Gaussian noise of standard deviation `sigma` in units of \[0,1\] pixel values.
    /// The result has the same shape and, like the input, is not clipped.
    ///
    /// # Errors
    /// [`DenoiseError`] if `sigma` is negative or not finite, or the machinery below fails.
    fn denoise(&mut self, batch: Batch, sigma: f64) -> Result<Batch, DenoiseError>;

    /// How many pictures of `height` x `width` one call should get so that the hardware is busy and latency stays low;
    /// at least 1. Any other number works as well and gives the same bits.
    fn preferred_batch(&self, height: usize, width: usize) -> usize {
        preferred_batch(height, width)
    }

    /// Multiplications and additions, direct convolution's, that a picture of `height` x `width` takes; `None` if it is not a network of
    /// convolutions.
    fn operations(&self, _height: usize, _width: usize) -> Option<f64> {
        None
    }

    /// Does it give every picture back as it came? Then nobody need wait for its thread.
    fn passes_through(&self) -> bool {
        false
    }

    /// The noise levels it was trained for, if it says so. Outside them it still works and a certificate still holds,
    /// but the pictures will be poor.
    fn trained_sigma(&self) -> Option<RangeInclusive<f64>> {
        None
    }
}

impl<D: Denoiser + ?Sized> Denoiser for Box<D> {
    fn id(&self) -> &Id {
        (**self).id()
    }

    fn denoise(&mut self, batch: Batch, sigma: f64) -> Result<Batch, DenoiseError> {
        (**self).denoise(batch, sigma)
    }

    fn preferred_batch(&self, height: usize, width: usize) -> usize {
        (**self).preferred_batch(height, width)
    }

    fn operations(&self, height: usize, width: usize) -> Option<f64> {
        (**self).operations(height, width)
    }

    fn passes_through(&self) -> bool {
        (**self).passes_through()
    }

    fn trained_sigma(&self) -> Option<RangeInclusive<f64>> {
        (**self).trained_sigma()
    }
}

/// As many pictures as make a hundred thousand pixels: enough to fill a few cores, little enough to wait for.
pub(crate) fn preferred_batch(height: usize, width: usize) -> usize {
    (100_000 / height.saturating_mul(width).max(1)).clamp(1, 64)
}

/// Why a batch was not denoised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DenoiseError {
    /// The caller's mistake.
    #[error("sigma is {0}, but a standard deviation is finite and not negative")]
    Sigma(f64),
    /// The tensor library or the device failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The thread that owns the denoiser is gone.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

impl DenoiseError {
    pub(crate) fn check_sigma(sigma: f64) -> Result<(), Self> {
        // As the networks are told it.
        if (sigma as f32).is_finite() && sigma >= 0.0 { Ok(()) } else { Err(Self::Sigma(sigma)) }
    }

    /// Whether the same call might succeed later: only a device that was out of memory or busy gives hope.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Backend(_))
    }
}
