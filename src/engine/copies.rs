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

/// Values of copies that are made in less than a tenth of a millisecond.
const SMALL: usize = 2048;

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
        let small = self.is_small(draws.len());
        let this = self.clone();
        let (draws, noisy) = away(small, move || {
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
        away(small, move || {
            let (data, size) = (clean.data(), clean.picture_len());
            let copy = |(planes, draw): (&[f32], u64)| -> Result<(u64, EncodedPicture), EngineError> {
                Ok((draw, encoded(encoder, planes, width, height)?))
            };
            if small {
                data.chunks(size).zip(draws).map(copy).collect()
            } else {
                data.par_chunks(size).zip(draws).map(copy).collect()
            }
        })
        .await?
    }

    /// Do so many copies take less time than handing them to other threads?
    fn is_small(&self, copies: usize) -> bool {
        copies * self.picture.values() <= SMALL
    }

    fn noisy(&self, draws: &[u64]) -> Result<Batch, EngineError> {
        let picture = &self.picture;
        let size = picture.values();
        let mut planes = vec![0f32; draws.len() * size];
        let room = || vec![0i32; size];
        let one = |noise: &mut Vec<i32>, (copy, draw): (&mut [f32], &u64)| {
            crate::noise::draw(&self.law, &self.seed, *draw, noise);
            noisy_planes(picture, noise, copy)
        };
        if self.is_small(draws.len()) {
            let mut noise = room();
            planes.chunks_mut(size).zip(draws).try_for_each(|each| one(&mut noise, each))?;
        } else {
            planes.par_chunks_mut(size).zip(draws).try_for_each_init(room, one)?;
        }
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

/// Runs arithmetic away from the async threads, unless there is little of it.
async fn away<T: Send + 'static>(
    small: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, EngineError> {
    if small {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| EngineError::Worker(error.to_string()))
}
