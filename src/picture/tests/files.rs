//! Every format and layout, decoded to the pixels that it shows.
#![expect(clippy::float_cmp, reason = "where equality is asserted, it is meant to the last bit")]

use super::super::Grid;
use super::*;

#[test]
fn eight_bit_pictures_keep_every_level() {
    for name in ["rgb8.png", "rgb24.bmp", "lossless.webp", "animated.webp"] {
        let image = native(name);
        assert_eq!((image.width(), image.height(), image.grid()), (W, H, Grid::Levels8), "{name}");
        assert_eq!(distance(&image, colour), 0.0, "{name}");
        assert!(image.pixels().iter().all(|v| v % 256 == 0));
        let p = image.preprocessing();
        assert_eq!((p.op_norm, p.rounding_l2, p.bits, p.filter), (1.0, 0.0, 8, None));
        assert_eq!(p.radius_original(0.25), 0.25);
    }
    for name in ["palette.png", "palette.bmp", "palette.gif", "animated.gif"] {
        assert_eq!(distance(&native(name), |x, _| palette(x)), 0.0, "{name}");
    }
    assert_eq!(distance(&native("grey8.png"), |x, _| [f64::from(15 * x); 3]), 0.0);
    assert_eq!(distance(&native("grey1.png"), |x, y| [f64::from((x + y) % 2 * 255); 3]), 0.0);
}

#[test]
fn transparency_is_white() {
    for name in ["rgba8.png", "lossless_alpha.webp"] {
        let image = native(name);
        assert!(distance(&image, |x, y| over_white(colour(x, y), alpha(x, y))) <= 0.5, "{name}");
        assert_eq!(image.grid(), Grid::Levels8);
    }
    let grey = |x, y| over_white([f64::from(15 * x); 3], alpha(x, y));
    assert!(distance(&native("grey8_alpha.png"), grey) <= 0.5);
    for name in ["palette_transparent.png", "palette_transparent.gif"] {
        let expected = |x, _| if x == 3 { [255.0; 3] } else { palette(x) };
        assert_eq!(distance(&native(name), expected), 0.0, "{name}");
    }
}

#[test]
fn sixteen_bits_stay_sixteen_bits() {
    // The files hold 257 v + 1, so that 8 bits would show.
    let exact = |v: f64| (257.0 * v + 1.0).min(65_535.0) / 65_535.0 * 255.0;
    let half_step = 0.5 / 256.0 + 1e-9;
    assert!(distance(&native("rgb16.png"), |x, y| colour(x, y).map(exact)) <= half_step);
    assert!(distance(&native("grey16.png"), |x, _| [exact(f64::from(15 * x)); 3]) <= half_step);
    let blended = |x, y| over_white(colour(x, y).map(exact), alpha(x, y));
    assert!(distance(&native("rgba16.png"), blended) <= half_step + 0.5 / 257.0);
    let image = native("rgb16.png");
    assert_eq!((image.grid(), image.preprocessing().bits), (Grid::Levels16, 16));
    assert_eq!(image.preprocessing().op_norm, 1.0);
    let half_steps = 0.5 / 65_280.0 * f64::from(W * H * 3).sqrt();
    let rounding = image.preprocessing().rounding_l2;
    assert!(rounding >= half_steps && rounding < half_steps * 1.0001, "{rounding}");
    assert!(image.preprocessing().radius_original(0.25) < 0.25 - 2.0 * half_steps);
    assert_eq!(image.preprocessing().radius_original(half_steps), 0.0);
}

#[test]
fn lossy_pictures_are_close() {
    for (name, levels) in [
        ("rgb.jpg", 4.0),
        ("progressive.jpg", 4.0),
        ("cmyk.jpg", 5.0),
        ("ycck.jpg", 8.0),
        ("lossy.webp", 24.0),
    ] {
        let d = distance(&native(name), colour);
        assert!(d <= levels, "{name}: {d}");
    }
    let d = distance(&native("grey.jpg"), |x, _| [f64::from(15 * x); 3]);
    assert!(d <= 4.0, "{d}");
    assert_eq!(native("rgb_420.jpg").width(), W);
}

#[test]
fn exif_orientation_is_applied() {
    // Where the pixel that is shown at (x, y) is stored, by the EXIF specification (tag 0x0112).
    type Place = fn(u32, u32) -> (u32, u32);
    let stored: [Place; 8] = [
        |x, y| (x, y),
        |x, y| (W - 1 - x, y),
        |x, y| (W - 1 - x, H - 1 - y),
        |x, y| (x, H - 1 - y),
        |x, y| (y, x),
        |x, y| (y, H - 1 - x),
        |x, y| (W - 1 - y, H - 1 - x),
        |x, y| (W - 1 - y, x),
    ];
    for (number, stored) in (1..=8).zip(stored) {
        let image = native(&format!("orientation{number}.jpg"));
        let turned = number >= 5;
        assert_eq!((image.width(), image.height()), if turned { (H, W) } else { (W, H) });
        assert_eq!(image.preprocessing().orientation, number);
        assert_eq!(image.preprocessing().original, (image.width(), image.height()));
        let expected = |x, y| {
            let (x, y) = stored(x, y);
            colour(x, y)
        };
        let d = distance(&image, expected);
        assert!(d <= 4.0, "orientation {number}: {d}");
    }
    for name in ["orientation6.png", "orientation6.webp"] {
        assert_eq!(distance(&native(name), |x, y| colour(y, H - 1 - x)), 0.0, "{name}");
    }
}

#[test]
fn what_follows_a_jpeg_does_not_matter() {
    let mut bytes = bytes("rgb.jpg").to_vec();
    bytes.extend([0; 100]);
    assert_eq!(WorkingImage::decode(&bytes, &PictureOptions::default()).unwrap(), native("rgb.jpg"));
}
