//! How good a network is on pictures that it has not learnt from.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    Objective, Settings, Surrogate, TrainError,
    data::Pictures,
    draws::Draws,
    frozen::Frozen,
    sample::{add_noise, middle},
};
use crate::Batch;

/// Rows and columns of a denoiser's validation picture, at most: its middle.
const SIDE: usize = 256;
/// Pictures that are classified together.
const BATCH: usize = 32;

/// What was measured at one noise level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Standard deviation of the noise.
    pub sigma: f64,
    /// Of a denoiser: the mean over pictures of the peak signal-to-noise ratio of its result, clipped to \[0,1\], in dB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psnr: Option<f64>,
    /// The share of noisy pictures with the right class: the picture's own for a classifier; for a denoiser that learns stability or has a
    /// judge, what that judge, else the first classifier, says of the clean picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
}

/// Of a whole validation set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// At each of the settings' noise levels.
    pub at: Vec<Quality>,
    /// What the best checkpoint is chosen by: the mean of accuracies where there are any, of PSNRs elsewhere. None if there was nothing to
    /// measure on.
    pub score: Option<f64>,
}

/// Measures a network; the noise is a function of the seed, the picture and σ.
pub(super) fn validate(
    network: &mut Frozen,
    surrogate: Option<&mut Surrogate>,
    pictures: &Pictures,
    settings: &Settings,
) -> Result<Validation, TrainError> {
    let mut at = Vec::new();
    if !pictures.all.is_empty() {
        if settings.objective == Objective::Classes {
            for &sigma in &settings.validation_sigma {
                let accuracy = classes(network, pictures, settings, sigma);
                at.push(Quality { sigma, psnr: None, accuracy: Some(accuracy) });
            }
        } else {
            at = denoised(network, surrogate, pictures, settings)?;
        }
    }
    let mean =
        |values: Vec<f64>| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
    let accuracy = mean(at.iter().filter_map(|q| q.accuracy).collect());
    let psnr = mean(at.iter().filter_map(|q| q.psnr).collect());
    Ok(Validation { score: accuracy.or(psnr), at })
}

fn draws(settings: &Settings, sigma: f64) -> Draws {
    Draws::new(settings.seed, &format!("validation {sigma}"))
}

fn classes(network: &mut Frozen, pictures: &Pictures, settings: &Settings, sigma: f64) -> f64 {
    let (patch, draws) = (settings.patch, draws(settings, sigma));
    let mut right = 0;
    for (b, batch) in pictures.all.chunks(BATCH).enumerate() {
        let noisy: Vec<f32> = batch
            .par_iter()
            .enumerate()
            .flat_map_iter(|(i, picture)| {
                let (clean, _) = middle(picture, patch, patch);
                let mut noisy = clean.clone();
                add_noise(&clean, sigma, &mut draws.of((b * BATCH + i) as u64), &mut noisy);
                noisy
            })
            .collect();
        let found = network.classify(noisy, (batch.len(), patch, patch));
        right += batch.iter().zip(found).filter(|(picture, found)| picture.class == Some(*found)).count();
    }
    right as f64 / pictures.all.len() as f64
}

fn denoised(
    network: &mut Frozen,
    mut surrogate: Option<&mut Surrogate>,
    pictures: &Pictures,
    settings: &Settings,
) -> Result<Vec<Quality>, TrainError> {
    let levels = &settings.validation_sigma;
    let mut sums = vec![(0.0, 0usize); levels.len()];
    for (i, picture) in pictures.all.iter().enumerate() {
        let (most, multiple) = match &surrogate {
            Some(surrogate) => (surrogate.input_size().0, surrogate.input_size().0),
            None => (SIDE, 1),
        };
        let (clean, size) = middle(picture, most, multiple);
        let batch = |data| Batch::trusted(data, 1, size);
        let expected = match &mut surrogate {
            Some(surrogate) => Some(surrogate.classify(batch(clean.clone()))?),
            None => None,
        };
        for (&sigma, (psnr, right)) in levels.iter().zip(&mut sums) {
            let mut noisy = clean.clone();
            add_noise(&clean, sigma, &mut draws(settings, sigma).of(i as u64), &mut noisy);
            let result = network.denoise(noisy, size, sigma);
            *psnr += decibels(&result, &clean);
            if let (Some(surrogate), Some(expected)) = (&mut surrogate, &expected) {
                *right += usize::from(surrogate.classify(batch(result))? == *expected);
            }
        }
    }
    let count = pictures.all.len() as f64;
    let quality = |(&sigma, (psnr, right)): (&f64, (f64, usize))| Quality {
        sigma,
        psnr: Some(psnr / count),
        accuracy: surrogate.is_some().then_some(right as f64 / count),
    };
    Ok(levels.iter().zip(sums).map(quality).collect())
}

/// The peak signal-to-noise ratio of a result, clipped to \[0,1\]; at most 100 dB. NaN if any value of the result is.
fn decibels(result: &[f32], clean: &[f32]) -> f64 {
    let square = |(r, c): (&f32, &f32)| (f64::from(r.clamp(0.0, 1.0)) - f64::from(*c)).powi(2);
    let error = result.iter().zip(clean).map(square).sum::<f64>() / clean.len() as f64;
    // Written so that a NaN is not taken for the larger of the two.
    let decibels = -10.0 * error.log10();
    if decibels > 100.0 { 100.0 } else { decibels }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decibels_are_those_of_the_definition() {
        let clean = [0.0, 0.5, 1.0, 0.25];
        assert!((decibels(&[0.1, 0.6, 0.9, 0.35], &clean) - 20.0).abs() < 1e-5);
        assert!((decibels(&[-5.0, 0.5, 7.0, 0.25], &clean) - 100.0).abs() < 1e-12);
        assert!(decibels(&[0.0, f32::NAN, 1.0, 0.25], &clean).is_nan());
    }
}
