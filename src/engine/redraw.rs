//! Copies without anybody asked about them: those of a finished certificate made again, or a few to see how large they are.

use std::sync::Arc;

use smoothgate_denoisers::DenoiserHandle;
use smoothgate_providers::EncodedPicture;

use super::EngineError;
use super::copies::Copies;
use crate::noise::{NoiseLaw, Seed};
use crate::picture::{Encoder, WorkingImage};
use crate::units::Sigma;

/// Copies in memory at once.
const BATCH: u64 = 16;

/// Which copies.
#[derive(Clone, Debug)]
pub struct Redraw {
    /// The picture.
    pub picture: Arc<WorkingImage>,
    /// Standard deviation of the noise.
    pub sigma: Sigma,
    /// The seed of the draws.
    pub seed: Seed,
    /// How copies are encoded.
    pub encoder: Encoder,
    /// How many: draws 0, 1, ...
    pub draws: u64,
}

/// BLAKE3 over the BLAKE3 of each copy in index order: [`Evidence::copies`](super::Evidence::copies) of the same draws.
///
/// # Errors
/// [`EngineError::Noise`], [`EngineError::Denoiser`], [`EngineError::Picture`], [`EngineError::Worker`].
pub async fn redraw(work: &Redraw, denoiser: &DenoiserHandle) -> Result<[u8; 32], EngineError> {
    let mut hasher = blake3::Hasher::new();
    copies(work, denoiser, |copy| _ = hasher.update(blake3::hash(&copy.bytes).as_bytes())).await?;
    Ok(*hasher.finalize().as_bytes())
}

/// Makes the copies and gives each to `each`, in index order.
///
/// # Errors
/// As [`redraw`].
pub async fn copies(
    work: &Redraw,
    denoiser: &DenoiserHandle,
    mut each: impl FnMut(&EncodedPicture),
) -> Result<(), EngineError> {
    let law = Arc::new(NoiseLaw::new(work.sigma.get(), work.picture.grid())?);
    let copies = Copies {
        picture: Arc::clone(&work.picture),
        law,
        seed: work.seed,
        sigma: work.sigma,
        denoiser: denoiser.clone(),
        encoder: work.encoder,
    };
    let mut first = 0;
    while first < work.draws {
        let after = work.draws.min(first + BATCH);
        for (_, copy) in copies.clone().make((first..after).collect()).await? {
            each(&copy);
        }
        first = after;
    }
    Ok(())
}
