//! No denoiser at all: the baseline of the paper, where the classifier sees the noise.

use crate::{Batch, DenoiseError, Denoiser, Id};

/// Gives every picture back as it came. Known as `none`.
#[derive(Debug)]
pub struct Identity {
    id: Id,
}

impl Default for Identity {
    fn default() -> Self {
        Self { id: Id::new("none", blake3::hash(b"smoothgate denoiser: identity")) }
    }
}

impl Denoiser for Identity {
    fn id(&self) -> &Id {
        &self.id
    }

    fn denoise(&mut self, batch: Batch, sigma: f64) -> Result<Batch, DenoiseError> {
        DenoiseError::check_sigma(sigma)?;
        Ok(batch)
    }

    fn passes_through(&self) -> bool {
        true
    }
}
