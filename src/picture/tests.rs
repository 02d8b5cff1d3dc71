//! The files of `tests/data/pictures` (made by `make.py` there), what they show, and how far a picture is from it.

mod files;
mod hostile;
mod output;
mod resize;

use super::{PictureOptions, WorkingImage};

macro_rules! file {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../tests/data/pictures/", $name)).as_slice())
    };
}

const FILES: &[(&str, &[u8])] = &[
    file!("rgb8.png"),
    file!("rgba8.png"),
    file!("grey8.png"),
    file!("grey8_alpha.png"),
    file!("grey1.png"),
    file!("grey16.png"),
    file!("rgb16.png"),
    file!("rgba16.png"),
    file!("palette.png"),
    file!("palette_transparent.png"),
    file!("orientation6.png"),
    file!("rgb.jpg"),
    file!("rgb_420.jpg"),
    file!("progressive.jpg"),
    file!("grey.jpg"),
    file!("cmyk.jpg"),
    file!("ycck.jpg"),
    file!("orientation1.jpg"),
    file!("orientation2.jpg"),
    file!("orientation3.jpg"),
    file!("orientation4.jpg"),
    file!("orientation5.jpg"),
    file!("orientation6.jpg"),
    file!("orientation7.jpg"),
    file!("orientation8.jpg"),
    file!("lossless.webp"),
    file!("lossless_alpha.webp"),
    file!("lossy.webp"),
    file!("animated.webp"),
    file!("orientation6.webp"),
    file!("rgb24.bmp"),
    file!("palette.bmp"),
    file!("palette.gif"),
    file!("palette_transparent.gif"),
    file!("animated.gif"),
];

const W: u32 = 16;
const H: u32 = 12;

fn bytes(name: &str) -> &'static [u8] {
    FILES.iter().find(|(n, _)| *n == name).unwrap().1
}

fn native(name: &str) -> WorkingImage {
    WorkingImage::decode(bytes(name), &PictureOptions::default()).unwrap()
}

fn colour(x: u32, y: u32) -> [f64; 3] {
    [15 * x, 20 * y, 5 * x + 10 * y].map(f64::from)
}

fn palette(x: u32) -> [f64; 3] {
    [15 * x, 255 - 15 * x, 7 * x].map(f64::from)
}

fn alpha(x: u32, y: u32) -> f64 {
    if x < 8 { 1.0 } else { f64::from(17 * y + 60) / 255.0 }
}

fn over_white(c: [f64; 3], alpha: f64) -> [f64; 3] {
    c.map(|c| alpha * c + 255.0 * (1.0 - alpha))
}

/// Largest difference of any value from `expected`, in 8-bit levels.
fn distance(image: &WorkingImage, expected: impl Fn(u32, u32) -> [f64; 3]) -> f64 {
    let mut worst = 0.0_f64;
    for (i, pixel) in image.pixels().chunks_exact(3).enumerate() {
        let (x, y) = (i as u32 % image.width(), i as u32 / image.width());
        for (value, expected) in pixel.iter().zip(expected(x, y)) {
            worst = worst.max((f64::from(*value) / 256.0 - expected).abs());
        }
    }
    worst
}
