//! Files that are cut, damaged, no pictures, or bombs: always an error that names it, never a panic.

use proptest::prelude::*;

use super::super::*;
use super::*;

proptest! {
    #[test]
    fn damaged_files_never_panic(file in 0..FILES.len(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = FILES[file].1.to_vec();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let options = PictureOptions {
            size: WorkingSize::Square(8),
            limits: Limits { max_pixels: 1_000_000, max_decode_bytes: 8_000_000, ..Limits::default() },
            ..PictureOptions::default()
        };
        let _ = WorkingImage::decode(&bytes, &options);
    }
}

/// Every file cut at every byte: an error, unless only the end marker or padding is missing.
#[test]
fn truncated_files_are_errors() {
    for (name, bytes) in FILES {
        let whole = native(name);
        for n in 0..bytes.len() {
            match WorkingImage::decode(&bytes[..n], &PictureOptions::default()) {
                Err(error) => assert!(!error.to_string().is_empty()),
                Ok(image) => {
                    assert_eq!(image, whole, "{name} cut at {n} of {} is another picture", bytes.len());
                    assert!(!name.ends_with("jpg"), "{name} cut at {n} of {}", bytes.len());
                }
            }
        }
    }
    let cut = &bytes("rgb.jpg")[..600];
    let error = WorkingImage::decode(cut, &PictureOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "the JPEG file ends in the middle of the picture; fetch or save it again");
}

fn refuse(bytes: &[u8]) -> PictureError {
    WorkingImage::decode(bytes, &PictureOptions::default()).unwrap_err()
}

#[test]
fn what_is_no_picture_is_named() {
    assert!(matches!(refuse(b""), PictureError::Empty));
    let error = refuse(b"hello, I am called cat.png\n").to_string();
    assert!(error.starts_with("not a picture") && error.contains("\"hello, I am \""), "{error}");
    assert!(matches!(refuse(b"%PDF-1.7\n"), PictureError::UnknownFormat { .. }));
    // TIFF is known to the library below, but not decoded.
    assert!(matches!(refuse(b"II*\0\x08\0\0\0\0\0"), PictureError::UnknownFormat { .. }));
    assert!(matches!(
        refuse(b"BM is how this text begins"),
        PictureError::Damaged { .. } | PictureError::Truncated { .. }
    ));
    let directory = WorkingImage::open(std::path::Path::new("."), &PictureOptions::default()).unwrap_err();
    assert!(matches!(directory, PictureError::Read { .. }), "{directory}");
    let limits = Limits { max_bytes: 50, ..Limits::default() };
    let options = PictureOptions { limits, ..PictureOptions::default() };
    let error = WorkingImage::decode(bytes("rgb8.png"), &options).unwrap_err();
    assert!(matches!(error, PictureError::TooManyBytes { limit: 50 }));
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([8, 2, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    png.extend(&chunk);
    png.extend(crc(&chunk).to_be_bytes());
    png
}

#[test]
fn bombs_are_refused_by_their_header() {
    // The bare header, and one that an empty IDAT chunk follows, so that a decoder would go on to it.
    let mut png = png_header(40_000, 40_000);
    for rest in [&b""[..], b"\0\0\0\0IDAT\x35\xaf\x06\x1e"] {
        png.extend(rest);
        let error = refuse(&png);
        assert!(
            matches!(error, PictureError::TooManyPixels { width: 40_000, height: 40_000, .. }),
            "{error}"
        );
    }

    let mut gif = bytes("palette.gif").to_vec();
    gif[6..10].fill(0xFF);
    assert!(matches!(refuse(&gif), PictureError::TooManyPixels { width: 65_535, .. }));

    let mut bmp = bytes("rgb24.bmp").to_vec();
    bmp[18..22].copy_from_slice(&30_000_u32.to_le_bytes());
    bmp[22..26].copy_from_slice(&30_000_u32.to_le_bytes());
    assert!(matches!(refuse(&bmp), PictureError::TooManyPixels { height: 30_000, .. }));

    // Lossless WebP: 14 bits each of width - 1 and height - 1 after the signature byte 0x2F, then 4 other bits.
    let mut webp = bytes("lossless.webp").to_vec();
    let at = webp.iter().position(|&b| b == 0x2F).unwrap() + 1;
    let other = webp[at + 3] & 0xF0;
    webp[at..at + 4].copy_from_slice(&(0x3FFE_u32 | 0x3FFE << 14).to_le_bytes());
    webp[at + 3] |= other;
    let error = refuse(&webp);
    assert!(matches!(error, PictureError::TooManyPixels { width: 16_383, height: 16_383, .. }), "{error}");

    let mut jpeg = bytes("rgb.jpg").to_vec();
    let at = jpeg.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap() + 5;
    jpeg[at..at + 4].fill(0xFF);
    assert!(matches!(refuse(&jpeg), PictureError::TooManyPixels { width: 65_535, .. }));

    // Few pixels, but too many bytes.
    let limits = Limits { max_decode_bytes: 100, ..Limits::default() };
    for name in ["rgb8.png", "rgb.jpg", "lossless.webp", "rgb24.bmp", "palette.gif"] {
        let options = PictureOptions { limits, ..PictureOptions::default() };
        let error = WorkingImage::decode(bytes(name), &options).unwrap_err();
        assert!(matches!(error, PictureError::TooMuchMemory { limit: 100, .. }), "{name}: {error}");
    }
    assert!(matches!(refuse(&png_header(0, 5)), PictureError::Damaged { .. }));
}
