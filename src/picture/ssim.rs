//! Structural similarity of two pictures.

use super::PictureError;

/// Rows and columns of the window.
const WINDOW: usize = 11;
/// Deviation of its weights, in pixels.
const DEVIATION: f64 = 1.5;
/// `(0.01 L)²` and `(0.03 L)²` for values from 0 to L = 1.
const C1: f64 = 1e-4;
const C2: f64 = 9e-4;

/// The structural similarity of two pictures in units of `[0, 1]` values, three planes of `height * width` each: the mean over planes and
/// over all places where the 11x11 Gaussian window lies within the picture (Wang et al. 2004, equation 13, with the
/// parameters of section III.C); 1 for equal pictures.
///
/// # Errors
/// [`PictureError::Length`] when they differ in size, or are smaller than the window.
pub fn ssim(a: &[f32], b: &[f32], height: u32, width: u32) -> Result<f64, PictureError> {
    let (height, width) = (height as usize, width as usize);
    for copy in [a, b] {
        super::planes::check_length("a copy", 3 * height * width, copy.len())?;
    }
    super::planes::check_length("its shorter side", WINDOW, height.min(width).min(WINDOW))?;
    let weights = weights();
    let planes = a.chunks_exact(height * width).zip(b.chunks_exact(height * width));
    let sum: f64 = planes.map(|(a, b)| plane(a, b, width, &weights)).sum();
    Ok(sum / 3.0)
}

/// Those of the window, in one direction; their sum is 1.
fn weights() -> [f64; WINDOW] {
    let middle = (WINDOW / 2) as f64;
    let weights: [f64; WINDOW] =
        std::array::from_fn(|i| (-(i as f64 - middle).powi(2) / (2.0 * DEVIATION * DEVIATION)).exp());
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

fn plane(a: &[f32], b: &[f32], width: usize, weights: &[f64; WINDOW]) -> f64 {
    let local = |of: fn(f64, f64) -> f64| -> Vec<f64> {
        let values: Vec<f64> = a.iter().zip(b).map(|(a, b)| of(f64::from(*a), f64::from(*b))).collect();
        mean(&values, width, weights)
    };
    let (a1, b1) = (local(|a, _| a), local(|_, b| b));
    let (aa, bb, ab) = (local(|a, _| a * a), local(|_, b| b * b), local(|a, b| a * b));
    let mut sum = 0.0;
    for i in 0..a1.len() {
        let (a, b) = (a1[i], b1[i]);
        let (variances, covariance) = (aa[i] - a * a + bb[i] - b * b, ab[i] - a * b);
        sum += (2.0 * a * b + C1) * (2.0 * covariance + C2) / ((a * a + b * b + C1) * (variances + C2));
    }
    sum / a1.len() as f64
}

/// The weighted mean around each place where the window fits, rows first.
fn mean(values: &[f64], width: usize, weights: &[f64; WINDOW]) -> Vec<f64> {
    let across: Vec<f64> = values
        .chunks_exact(width)
        .flat_map(|row| row.windows(WINDOW).map(|part| part.iter().zip(weights).map(|(v, w)| v * w).sum()))
        .collect();
    let columns = width + 1 - WINDOW;
    let rows = across.len() / columns + 1 - WINDOW;
    (0..rows * columns).map(|at| (0..WINDOW).map(|i| across[at + i * columns] * weights[i]).sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ```python
    /// from skimage.metrics import structural_similarity
    /// i = np.arange(3 * 20 * 27).reshape(3, 20, 27)
    /// a = ((i * 37) % 101 / 100).astype(np.float32)
    /// b = np.clip(a + (((i * 53) % 89) / 88 - .5) * .4, 0, 1).astype(np.float32)
    /// structural_similarity(a.astype(float), b.astype(float), channel_axis=0, gaussian_weights=True, sigma=1.5,
    ///                       use_sample_covariance=False, data_range=1.0)
    /// ```
    #[test]
    fn it_equals_scikit_image() {
        let a: Vec<f32> = (0..3 * 20 * 27).map(|i| (f64::from(i * 37 % 101) / 100.0) as f32).collect();
        let noise = |i: usize| ((i * 53 % 89) as f64 / 88.0 - 0.5) * 0.4;
        let b: Vec<f32> =
            a.iter().enumerate().map(|(i, v)| (f64::from(*v) + noise(i)).clamp(0.0, 1.0) as f32).collect();
        let found = ssim(&a, &b, 20, 27).unwrap();
        assert!((found - 0.929_416_169_9).abs() < 1e-6, "{found}");
        assert!((ssim(&a, &a, 20, 27).unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn copies_that_do_not_fit_are_refused() {
        assert!(ssim(&[0.5; 300], &[0.5; 300], 10, 10).is_err());
        assert!(ssim(&[0.5; 432], &[0.5; 300], 12, 12).is_err());
    }
}
