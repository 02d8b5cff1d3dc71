//! The linear algebra that the original radius hangs on.
#![expect(clippy::float_cmp, reason = "where equality is asserted, it is meant to the last bit")]

use proptest::prelude::*;

use super::super::decode::Samples;
use super::super::resize::{Axis, apply};
use super::super::*;
use super::*;

fn sized(name: &str, size: &str) -> WorkingImage {
    let options = PictureOptions { size: size.parse().unwrap(), ..PictureOptions::default() };
    WorkingImage::decode(bytes(name), &options).unwrap()
}

#[test]
fn working_sizes() {
    for text in ["native", "224", "640x480"] {
        assert_eq!(text.parse::<WorkingSize>().unwrap().to_string(), text);
    }
    for text in ["", "0", "-1", "224x", "0x5", "x", "224x224x3", "4294967296", "Native"] {
        assert!(matches!(text.parse::<WorkingSize>(), Err(PictureError::Size(_))), "{text}");
    }
    // A crop alone keeps the 8-bit grid and the whole radius: 16x12 to 12x12, columns 2 to 13.
    let cropped = sized("rgb8.png", "12");
    assert_eq!((cropped.width(), cropped.height(), cropped.grid()), (12, 12, Grid::Levels8));
    assert_eq!(distance(&cropped, |x, y| colour(x + 2, y)), 0.0);
    assert_eq!((cropped.preprocessing().op_norm, cropped.preprocessing().rounding_l2), (1.0, 0.0));
    // 16x12 halves to 8x6, then columns 1 to 6.
    let halved = sized("rgb8.png", "6");
    assert_eq!(halved.grid(), Grid::Levels16);
    assert_eq!(halved.preprocessing().scaled, (8, 6));
    let mean = |x: u32, y: u32| {
        let (x, y) = (f64::from(2 * (x + 1)) + 0.5, f64::from(2 * y) + 0.5);
        [15.0 * x, 20.0 * y, 5.0 * x + 10.0 * y]
    };
    assert_eq!(distance(&halved, mean), 0.0);
    let norm = halved.preprocessing().op_norm;
    assert!((0.5..0.5 + 1e-9).contains(&norm), "{norm}");
    let radius = halved.preprocessing().radius_original(0.25);
    assert!(radius < 0.5 && radius > 0.499, "{radius}");
    // Stretched, everything stays.
    let stretch =
        PictureOptions { size: WorkingSize::Square(6), fit: Fit::Stretch, ..PictureOptions::default() };
    let stretched = WorkingImage::decode(bytes("rgb8.png"), &stretch).unwrap();
    assert_eq!(stretched.preprocessing().scaled, (6, 6));
    assert_eq!(stretched.width(), 6);
    // Enlarging costs radius.
    assert!((sized("rgb8.png", "48").preprocessing().op_norm - 4.0).abs() < 1e-9);
    // Too large to work on, and to hold.
    let huge = PictureOptions { size: WorkingSize::Square(5000), ..PictureOptions::default() };
    let error = WorkingImage::decode(bytes("rgb8.png"), &huge).unwrap_err();
    assert!(matches!(error, PictureError::WorkingPixels { width: 5000, .. }), "{error}");
}

/// Golden values of 7x10 to 3x4 by `OpenCV` 5.0 `INTER_AREA` in f64 and Pillow 13 `BILINEAR` in mode F, and of the
/// upper left 3x4 to 6x5 by the latter.
#[test]
fn filters_equal_those_of_others() {
    let picture = |w: u32, h: u32| -> Vec<u8> {
        (0..h)
            .flat_map(|y| (0..w).flat_map(move |x| [((37 * x + 91 * y + 13 * x * y) % 256) as u8; 3]))
            .collect()
    };
    let run = |filter, (w, h): (u32, u32), (to_w, to_h): (u32, u32)| -> Vec<f64> {
        let horizontal = Axis::new(filter, w, u64::from(to_w), 0, to_w);
        let vertical = Axis::new(filter, h, u64::from(to_h), 0, to_h);
        let out = apply(&Samples::Bits8(picture(w, h)), &vertical, &horizontal);
        out.chunks_exact(3).map(|p| f64::from(p[0]) / 256.0).collect()
    };
    let area = [
        94.7143, 132.6571, 143.2857, 108.0857, 121.6857, 143.1714, 135.9714, 142.8286, 104.7714, 153.6857,
        128.6571, 133.6857,
    ];
    let smaller = [
        111.1818, 137.4343, 135.8743, 121.5325, 125.1711, 146.3835, 133.1035, 139.6952, 109.7273, 145.48,
        134.3771, 138.5455,
    ];
    let larger = [
        0.0, 25.9, 55.5, 85.1, 111.0, 22.75, 50.925, 83.125, 115.325, 143.5, 68.25, 100.975, 138.375,
        175.775, 208.5, 113.75, 151.025, 161.625, 172.225, 209.5, 159.25, 201.075, 152.875, 104.675, 146.5,
        182.0, 226.1, 148.5, 70.9, 115.0,
    ];
    let close = |ours: Vec<f64>, theirs: &[f64]| {
        assert_eq!(ours.len(), theirs.len());
        for (a, b) in ours.iter().zip(theirs) {
            assert!((a - b).abs() < 0.5 / 256.0 + 1e-4, "{a} {b}");
        }
    };
    close(run(Filter::Area, (10, 7), (4, 3)), &area);
    close(run(Filter::Bilinear, (10, 7), (4, 3)), &smaller);
    close(run(Filter::Bilinear, (4, 3), (5, 6)), &larger);
}

/// Largest singular values by LAPACK (numpy 2.4) of matrices that numpy built, both axes n to 224; 9 digits.
#[test]
fn norms_are_those_of_a_singular_value_decomposition() {
    let table = [
        (224, 1.0, 1.0),
        (256, 0.875, 0.877_809_010),
        (448, 0.5, 0.500_622_731),
        (500, 0.448, 0.448_994_913),
        (640, 0.35, 0.351_101_420),
        (1024, 0.218_75, 0.219_513_993),
        (32, 7.0, 7.0),
    ];
    for (n, area, bilinear) in table {
        for (filter, norm) in [(Filter::Area, area), (Filter::Bilinear, bilinear)] {
            let bound = Axis::new(filter, n, 224, 0, 224).norm_bound().powi(2);
            assert!(bound >= norm - 1e-9, "{filter} {n}: {bound} is below {norm}");
            assert!(bound <= norm * (1.0 + 1e-4), "{filter} {n}: {bound} is far above {norm}");
        }
    }
    let cropped = |filter| Axis::new(filter, 333, 300, 38, 224).norm_bound();
    assert!((cropped(Filter::Area) - 0.949_157_996).abs() < 1e-8);
    let bilinear = cropped(Filter::Bilinear);
    assert!((0.950_640_522..0.951).contains(&bilinear), "{bilinear}");
}

/// Applies the map to values of any sign: the matrix of `axis` by probing with unit vectors through `apply`.
fn matrix(axis: &Axis, n: usize) -> Vec<Vec<f64>> {
    let one = Axis::new(Filter::Area, 1, 1, 0, 1);
    (0..n)
        .map(|j| {
            let mut values = vec![0_u16; n * 3];
            values[j * 3] = 65_535;
            let out = apply(&Samples::Bits16(values), &one, axis);
            out.chunks_exact(3).map(|p| f64::from(p[0]) / f64::from(WHITE)).collect()
        })
        .collect()
}

fn length(v: &[f64]) -> f64 {
    v.iter().map(|v| v * v).sum::<f64>().sqrt()
}

proptest! {
    /// What is applied (seen through unit impulses, each output rounded to half a step) never lengthens a vector by
    /// more than the bound, least of all the vector that the power method finds.
    #[test]
    fn the_norm_bound_holds(
        n in 1_u32..60, scaled in 1_u32..60, cut in 0_u32..20, bilinear: bool,
        random in prop::collection::vec(-1.0_f64..1.0, 60),
    ) {
        let filter = if bilinear { Filter::Bilinear } else { Filter::Area };
        let offset = cut.min((scaled - 1) / 2);
        let count = scaled - 2 * offset;
        let axis = Axis::new(filter, n, u64::from(scaled), u64::from(offset), count);
        let columns = matrix(&axis, n as usize);
        let bound = axis.norm_bound();
        let rounding = 0.5 / 65_280.0 * f64::from(n * count).sqrt();
        let times = |v: &[f64]| -> Vec<f64> {
            (0..count as usize).map(|i| columns.iter().zip(v).map(|(c, v)| c[i] * v).sum()).collect()
        };
        let mut v = random[..n as usize].to_vec();
        prop_assume!(length(&v) > 1e-3);
        for _ in 0..20 {
            let size = length(&v);
            let image = times(&v);
            prop_assert!(length(&image) <= (bound + rounding) * size);
            let back: Vec<f64> = columns.iter().map(|c| c.iter().zip(&image).map(|(a, b)| a * b).sum()).collect();
            if length(&back) < 1e-9 { break; }
            v = back.iter().map(|b| b / length(&back)).collect();
        }
        // Constants stay constants.
        for value in times(&vec![1.0; n as usize]) {
            prop_assert!((value - 1.0).abs() <= f64::from(n) * 0.5 / 65_280.0 + 1e-9);
        }
    }

    /// Two originals at a distance give working images at most `op_norm` times as far, plus the roundings; this is
    /// the inequality on which `radius_original` stands.
    #[test]
    fn working_images_are_no_farther_than_recorded(
        (w, h) in (1_u32..24, 1_u32..24), (to_w, to_h) in (1_u32..24, 1_u32..24),
        a in prop::collection::vec(any::<u8>(), 24 * 24 * 3), b in prop::collection::vec(any::<u8>(), 24 * 24 * 3),
        stretch: bool, bilinear: bool,
    ) {
        let options = PictureOptions {
            size: WorkingSize::Exact { width: to_w, height: to_h },
            fit: if stretch { Fit::Stretch } else { Fit::Crop },
            filter: if bilinear { Filter::Bilinear } else { Filter::Area },
            ..PictureOptions::default()
        };
        let n = (w * h * 3) as usize;
        let work = |rgb: &[u8]| {
            let mut png = Vec::new();
            image::ImageEncoder::write_image(
                image::codecs::png::PngEncoder::new(&mut png), rgb, w, h, image::ExtendedColorType::Rgb8,
            ).unwrap();
            WorkingImage::decode(&png, &options).unwrap()
        };
        let (x, y) = (work(&a[..n]), work(&b[..n]));
        prop_assert_eq!((x.width(), x.height()), (to_w, to_h));
        prop_assert_eq!(x.preprocessing(), y.preprocessing());
        prop_assert_eq!(x.grid(), y.grid());
        let original: Vec<f64> = a[..n].iter().zip(&b).map(|(a, b)| (f64::from(*a) - f64::from(*b)) / 255.0).collect();
        let working: Vec<f64> = x.pixels().iter().zip(y.pixels())
            .map(|(a, b)| (f64::from(*a) - f64::from(*b)) / f64::from(WHITE)).collect();
        let p = x.preprocessing();
        prop_assert!(length(&working) <= p.op_norm * length(&original) + 2.0 * p.rounding_l2 + 1e-12);
        // Said as a radius: an original within radius_original(R) is a working image within R.
        let radius = length(&working);
        prop_assert!(p.radius_original(radius * (1.0 - 1e-9)) <= length(&original) + 1e-12);
    }
}

#[test]
fn preprocessing_survives_json() {
    let p = sized("rgb8.png", "7").preprocessing().clone();
    let json = serde_json::to_string(&p).unwrap();
    assert_eq!(serde_json::from_str::<Preprocessing>(&json).unwrap(), p);
}
