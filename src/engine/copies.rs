//! From draw indices to encoded copies: noise, denoiser, encoder.

use std::sync::Arc;

use bytes::Bytes;
use rayon::prelude::*;
use smoothgate_denoisers::{Batch, DenoiserHandle};
use smoothgate_providers::{EncodedPicture, Format};
use tracing::Instrument as _;

use super::EngineError;
use crate::noise::{NoiseLaw, Seed};
use crate::picture::{Encoder, PictureError, WorkingImage, noisy_planes};
use crate::traces;
use crate::units::Sigma;

/// What it takes to make the copies of one picture. Copy i depends on the seed and i, never on the batch it is in.
#[derive(Clone)]
pub(super) struct Copies {
    pub picture: Arc<WorkingImage>,
    pub law: Arc<NoiseLaw>,
    pub seed: Seed,
    pub sigma: Sigma,
    pub denoiser: DenoiserHandle,
    pub encoder: Encoder,
}

impl Copies {
    /// Makes the copies of `draws`, in order.
    pub(super) async fn make(self, draws: Vec<u64>) -> Result<Vec<(u64, EncodedPicture)>, EngineError> {
        let (height, width) = (self.picture.height(), self.picture.width());
        let this = self.clone();
        let (draws, noisy) = blocking(move || {
            let noisy = this.noisy(&draws);
            (draws, noisy)
        })
        .await?;
        let span = tracing::debug_span!(
            target: traces::TARGET,
            "denoise",
            smoothgate.copies = draws.len() as u64,
            smoothgate.height = height,
            smoothgate.width = width,
        );
        let clean = self.denoiser.denoise(noisy?, self.sigma.get()).instrument(span).await?;
        let encoder = self.encoder;
        blocking(move || {
            let pictures = clean.data().par_chunks(clean.picture_len());
            let copy = |planes: &[f32]| encoded(encoder, planes, width, height);
            pictures.zip(draws).map(|(planes, draw)| Ok((draw, copy(planes)?))).collect()
        })
        .await?
    }

    fn noisy(&self, draws: &[u64]) -> Result<Batch, EngineError> {
        let picture = &self.picture;
        let size = picture.values();
        let mut planes = vec![0f32; draws.len() * size];
        planes.par_chunks_mut(size).zip(draws).try_for_each_init(
            || vec![0i32; size],
            |noise, (copy, &draw)| {
                crate::noise::draw(&self.law, &self.seed, draw, noise);
                noisy_planes(picture, noise, copy)
            },
        )?;
        Batch::new(planes, draws.len(), picture.height() as usize, picture.width() as usize)
            .map_err(|error| EngineError::Worker(error.to_string()))
    }
}

/// Planes as a file that an endpoint can be asked about.
///
/// # Errors
/// [`PictureError`] from [`Encoder::encode`].
pub fn encoded(
    encoder: Encoder,
    planes: &[f32],
    width: u32,
    height: u32,
) -> Result<EncodedPicture, PictureError> {
    let format = match encoder {
        Encoder::Png => Format::Png,
        Encoder::Jpeg(_) => Format::Jpeg,
    };
    let bytes = Bytes::from(encoder.encode(planes, width, height)?);
    Ok(EncodedPicture { bytes, format, width, height })
}

/// Runs arithmetic away from the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| EngineError::Worker(error.to_string()))
}
