//! Objectives and their gradients.

use super::TrainError;
use crate::{Batch, classifiers::softmax};

/// The mean squared error of `result` to `clean`, and its gradient for `result`: the MSE objective (Salman et al. 2020, equation 3).
///
/// # Errors
/// [`TrainError::Order`] if the shapes differ.
pub fn mean_squared_error(result: &Batch, clean: &Batch) -> Result<(f64, Batch), TrainError> {
    weighted_squared_error(result, clean, &vec![1.0; result.count()])
}

/// The same, with the error of each picture times its weight.
///
/// # Errors
/// [`TrainError::Order`] if the shapes differ, or there is not one weight a picture.
pub fn weighted_squared_error(
    result: &Batch,
    clean: &Batch,
    weights: &[f32],
) -> Result<(f64, Batch), TrainError> {
    let shape = |batch: &Batch| (batch.count(), batch.height(), batch.width());
    if shape(result) != shape(clean) || weights.len() != result.count() {
        return Err(TrainError::Order);
    }
    let count = result.data().len() as f64;
    let mut loss = 0.0;
    let mut gradient = Vec::with_capacity(result.data().len());
    for ((result, clean), weight) in result.pictures().zip(clean.pictures()).zip(weights) {
        let mut error = 0.0;
        let factor = (2.0 / count) as f32 * weight;
        gradient.extend(result.iter().zip(clean).map(|(r, c)| {
            let difference = r - c;
            error += f64::from(difference) * f64::from(difference);
            difference * factor
        }));
        loss += error * f64::from(*weight);
    }
    Ok((loss / count, Batch::trusted(gradient, result.count(), (result.height(), result.width()))))
}

/// The mean cross-entropy in nats, and its gradient for the logits of each picture.
pub(super) fn cross_entropy(
    logits: &[Vec<f32>],
    labels: &[usize],
) -> Result<(f64, Vec<Vec<f32>>), TrainError> {
    let (count, classes) = (logits.len(), logits.first().map_or(0, Vec::len));
    if classes == 0 {
        return Err(TrainError::Task { needed: "classifier" });
    }
    if labels.len() != count || labels.iter().any(|label| *label >= classes) {
        return Err(TrainError::Labels { labels: labels.to_vec(), count, classes });
    }
    let mut loss = 0.0;
    let mut gradients = Vec::with_capacity(count);
    for (logits, label) in logits.iter().zip(labels) {
        let mut gradient = softmax(logits);
        // The logarithm of the sum is taken apart, as a small probability would lose its digits.
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|l| f64::from(l - max).exp()).sum();
        loss += sum.ln() - f64::from(logits[*label] - max);
        gradient[*label] -= 1.0;
        for g in &mut gradient {
            *g /= count as f32;
        }
        gradients.push(gradient);
    }
    Ok((loss / count as f64, gradients))
}

/// The index of the largest, the first of several.
pub(super) fn first(values: &[f32]) -> usize {
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = i;
        }
    }
    best
}
