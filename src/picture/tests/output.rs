//! Noise on the grid, copies back to levels and to files, and the hash.
#![expect(clippy::float_cmp, reason = "where equality is asserted, it is meant to the last bit")]

use proptest::prelude::*;

use super::super::*;
use super::*;

proptest! {
    #[test]
    fn png_is_lossless(w in 1_u32..40, h in 1_u32..40, rgb in prop::collection::vec(any::<u8>(), 40 * 40 * 3)) {
        let rgb = &rgb[..(w * h * 3) as usize];
        let image = WorkingImage::from_rgb8(w, h, rgb).unwrap();
        let mut planes = vec![0.0; image.values()];
        noisy_planes(&image, &vec![0; image.values()], &mut planes).unwrap();
        let png = Encoder::Png.encode(&planes, w, h).unwrap();
        let back = WorkingImage::decode(&png, &PictureOptions::default()).unwrap();
        prop_assert_eq!(back.pixels(), image.pixels());
        prop_assert_eq!(back.hash(), image.hash());
    }
}

#[test]
fn noise_is_added_in_steps_of_the_grid_and_not_clipped() {
    let image = WorkingImage::from_rgb8(2, 1, &[0, 128, 255, 10, 20, 30]).unwrap();
    let mut planes = [0.0; 6];
    noisy_planes(&image, &[-100, 0, 300, 1, -1, 0], &mut planes).unwrap();
    let expected = [-100, 11, 128, 19, 555, 30].map(|v| v as f32 / 255.0);
    assert_eq!(planes, expected);
    assert_eq!(rgb8(&planes, 2, 1).unwrap(), [0, 128, 255, 11, 19, 30]);
    let sixteen = native("rgb16.png");
    let mut planes = vec![0.0; sixteen.values()];
    noisy_planes(&sixteen, &vec![3; sixteen.values()], &mut planes).unwrap();
    assert_eq!(planes[0], f32::from(sixteen.pixels()[0] + 3) / 65_280.0);
    for (noise, planes) in [(5, 6), (6, 5)] {
        let error = noisy_planes(&image, &vec![0; noise], &mut vec![0.0; planes]).unwrap_err();
        assert!(matches!(error, PictureError::Length { expected: 6, got: 5, .. }));
    }
    assert!(matches!(
        WorkingImage::from_rgb8(2, 2, &[0; 11]),
        Err(PictureError::Length { expected: 12, .. })
    ));
    assert!(matches!(WorkingImage::from_rgb8(0, 2, &[]), Err(PictureError::WorkingPixels { .. })));
}

#[test]
fn values_that_are_no_numbers_are_errors() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let planes = [0.5, 0.5, 0.5, 0.5, bad, 0.5];
        let error = Encoder::Png.encode(&planes, 2, 1).unwrap_err();
        assert!(matches!(error, PictureError::NotFinite { index: 4, .. }), "{error}");
    }
}

#[test]
fn encoders_are_text_and_their_jpeg_is_full_chroma() {
    for text in ["png", "jpeg:1", "jpeg:95", "jpeg:100"] {
        let encoder: Encoder = text.parse().unwrap();
        assert_eq!(encoder.to_string(), text);
        let json = serde_json::to_string(&encoder).unwrap();
        assert_eq!(serde_json::from_str::<Encoder>(&json).unwrap(), encoder);
    }
    for text in ["", "PNG", "jpeg", "jpeg:", "jpeg:0", "jpeg:101", "jpeg:95.5", "webp", "jpeg:-1"] {
        assert!(matches!(text.parse::<Encoder>(), Err(PictureError::Encoder(_))), "{text}");
    }
    let image = native("rgb8.png");
    let mut planes = vec![0.0; image.values()];
    noisy_planes(&image, &vec![0; image.values()], &mut planes).unwrap();
    let jpeg = Encoder::Jpeg(95).encode(&planes, W, H).unwrap();
    assert_eq!(jpeg, Encoder::Jpeg(95).encode(&planes, W, H).unwrap());
    let frame = jpeg.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    // Sampling factors of the three components in the frame header.
    assert_eq!([jpeg[frame + 11], jpeg[frame + 14], jpeg[frame + 17]], [0x11; 3]);
    let back = WorkingImage::decode(&jpeg, &PictureOptions::default()).unwrap();
    assert!(distance(&back, colour) <= 5.0);
    assert!(matches!(Encoder::Jpeg(0).encode(&planes, W, H), Err(PictureError::Encoder(_))));
}

#[test]
fn psnr_of_a_known_difference() {
    let a = [0.1_f32, 0.2, 0.3, 0.4];
    let b = a.map(|v| v + 0.1);
    assert!((psnr(&a, &b).unwrap() - 20.0).abs() < 1e-5);
    assert_eq!(psnr(&a, &a).unwrap(), f64::INFINITY);
    assert!(psnr(&a, &b[..3]).is_err());
    assert!(psnr(&[], &[]).is_err());
}

#[test]
fn hash_depends_on_size_grid_and_pixels_only() {
    let image = native("rgb8.png");
    // b"smoothgate working image 1\0", 16, 12, 255 and the pixels, by the BLAKE3 of Python.
    assert_eq!(image.hash().to_string(), HASH);
    assert_eq!(image.hash(), native("lossless.webp").hash());
    let rgb: Vec<u8> = image.pixels().iter().map(|v| (v / 256) as u8).collect();
    assert_eq!(image.hash(), WorkingImage::from_rgb8(W, H, &rgb).unwrap().hash());
    assert_ne!(image.hash(), WorkingImage::from_rgb8(H, W, &rgb).unwrap().hash());
    assert_ne!(image.hash(), native("grey8.png").hash());
    let json = serde_json::to_string(&image.hash()).unwrap();
    assert_eq!(serde_json::from_str::<PictureHash>(&json).unwrap(), image.hash());
}

const HASH: &str = "8c81b572bd37cb1f5c6364f827aaadb1d7ebcc130e3d5af00adda696a7f7d12d";
