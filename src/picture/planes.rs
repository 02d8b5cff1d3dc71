//! Planar f32 copies, the form in which denoisers take and give pictures.

use super::{PictureError, WHITE, WorkingImage};

/// Writes picture plus noise as three planes (red, green, blue), each `height * width`, in units of `[0, 1]` values and
/// not clipped. `noise` is interleaved like the pixels, in steps of the picture's grid; no noise is given as zeros.
///
/// # Errors
/// [`PictureError::Length`] unless both buffers hold [`WorkingImage::values`] values.
pub fn noisy_planes(image: &WorkingImage, noise: &[i32], planes: &mut [f32]) -> Result<(), PictureError> {
    let expected = image.values();
    check_length("the noise", expected, noise.len())?;
    check_length("the planar copy", expected, planes.len())?;
    let step = i32::from(image.grid().step_in_65280ths());
    let (red, rest) = planes.split_at_mut(expected / 3);
    let (green, blue) = rest.split_at_mut(expected / 3);
    let pixels = image.pixels().chunks_exact(3).zip(noise.chunks_exact(3));
    for ((((x, k), r), g), b) in pixels.zip(red).zip(green).zip(blue) {
        // Exact in f32 before the division: both terms are below 2^23 for every law that can be made.
        let value = |c: usize| (i32::from(x[c]) + k[c] * step) as f32 / f32::from(WHITE);
        (*r, *g, *b) = (value(0), value(1), value(2));
    }
    Ok(())
}

/// The picture itself as three planes, without noise.
pub fn planes(image: &WorkingImage) -> Vec<f32> {
    let pixels = image.pixels();
    let value = |&v: &u16| f32::from(v) / f32::from(WHITE);
    (0..3).flat_map(|channel| pixels.iter().skip(channel).step_by(3).map(value)).collect()
}

/// Three planes of `width * height` values to interleaved 8-bit RGB: cut to `[0, 1]` and rounded to the nearest level.
///
/// # Errors
/// [`PictureError::Length`] when the planes are of another size; [`PictureError::NotFinite`] when a value is no number.
pub fn rgb8(planes: &[f32], width: u32, height: u32) -> Result<Vec<u8>, PictureError> {
    let pixels = width as usize * height as usize;
    check_length("the planar copy", pixels * 3, planes.len())?;
    if let Some(index) = planes.iter().position(|v| !v.is_finite()) {
        return Err(PictureError::NotFinite { index, value: planes[index] });
    }
    let (red, rest) = planes.split_at(pixels);
    let (green, blue) = rest.split_at(pixels);
    let level = |v: f32| (v.clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
    let mut rgb = vec![0; pixels * 3];
    for (((out, &r), &g), &b) in rgb.chunks_exact_mut(3).zip(red).zip(green).zip(blue) {
        out.copy_from_slice(&[level(r), level(g), level(b)]);
    }
    Ok(rgb)
}

/// Peak signal-to-noise ratio in dB of two copies in units of `[0, 1]` values, as they are (neither clipped nor rounded):
/// `-10 log10(mean squared difference)`, infinite for equal copies.
///
/// # Errors
/// [`PictureError::Length`] when they differ in size or are empty.
pub fn psnr(a: &[f32], b: &[f32]) -> Result<f64, PictureError> {
    check_length("the second copy", a.len().max(1), b.len())?;
    let squares = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
    Ok(-10.0 * (squares.sum::<f64>() / a.len() as f64).log10())
}

pub(super) fn check_length(what: &'static str, expected: usize, got: usize) -> Result<(), PictureError> {
    if expected == got { Ok(()) } else { Err(PictureError::Length { what, expected, got }) }
}
