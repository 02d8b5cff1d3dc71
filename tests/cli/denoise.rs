//! `denoise` and `bench denoiser`.

use super::{PICTURES, code, rows, smoothgate, text};

#[test]
fn denoise_writes_a_sheet_and_gains_decibels() {
    let dir = tempfile::tempdir().unwrap();
    let coffee = format!("{PICTURES}/coffee.jpg");
    let out =
        smoothgate(&["denoise", &coffee, "--size", "96", "--out", dir.path().to_str().unwrap(), "--json"]);
    assert_eq!(code(&out), 0, "{}", text(&out.stderr));
    let row = &rows(&out)[0];
    assert_eq!(row["written"].as_str(), dir.path().join("0000.png").to_str());
    assert!(row["psnr_denoised"].as_f64().unwrap() > row["psnr_noisy"].as_f64().unwrap() + 5.0, "{row}");
    let sheet = image::open(dir.path().join("0000.png")).unwrap();
    assert_eq!((sheet.width(), sheet.height()), (3 * 96, 96));
}

#[test]
fn denoise_makes_a_table_of_noise_levels() {
    let coffee = format!("{PICTURES}/coffee.jpg");
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("set.tar");
    let mut tar = tar::Builder::new(std::fs::File::create(&archive).unwrap());
    for name in ["coffee.jpg", "more/coffee.jpg"] {
        tar.append_path_with_name(&coffee, name).unwrap();
    }
    tar.finish().unwrap();
    let archive = archive.to_str().unwrap();
    let twice = smoothgate(&["denoise", "-", "-"]);
    assert!(code(&twice) == 2 && text(&twice.stderr).contains("given twice"), "{}", text(&twice.stderr));
    let common = ["denoise", archive, "--size", "64", "--sigma", "25/255,0.5"];
    let out = smoothgate(&common);
    assert_eq!(code(&out), 0, "{}", text(&out.stderr));
    let table = text(&out.stdout);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.lines().nth(1).unwrap().starts_with("0.0980    25.0         2"), "{table}");
    let out = smoothgate(&[&common[..], &["--json"]].concat());
    let rows = rows(&out);
    assert_eq!(rows.len(), 6);
    let mean = &rows[5];
    assert_eq!((mean["pictures"].as_u64(), mean["sigma"].as_f64()), (Some(2), Some(0.5)));
    let of = |row: &serde_json::Value, key: &str| row[key].as_f64().unwrap();
    for key in ["psnr_denoised", "ssim_denoised"] {
        let both = [1, 3].map(|row| of(&rows[row], key));
        assert!((of(mean, key) - f64::midpoint(both[0], both[1])).abs() < 1e-9, "{key}");
    }
    // Each picture has noise of its own.
    assert!((of(&rows[1], "psnr_noisy") - of(&rows[3], "psnr_noisy")).abs() > 1e-6);
    assert!(of(mean, "ssim_denoised") > of(mean, "ssim_noisy") + 0.2);
}

#[test]
fn denoise_asks_a_classifier_what_it_still_sees() {
    let common = ["denoise", PICTURES, "--classifier", "things64", "--sigma", "0.02,0.5"];
    let out = smoothgate(&[&common[..], &["--json"]].concat());
    assert_eq!(code(&out), 0, "{}", text(&out.stderr));
    let rows = rows(&out);
    let means = &rows[rows.len() - 2..];
    let share = |row: &serde_json::Value, key: &str| row[key].as_f64().unwrap();
    // Hardly any noise changes hardly any answer; where there is much, the denoiser is what helps.
    assert!(share(&means[0], "same_denoised") > 0.9, "{}", means[0]);
    assert!(share(&means[1], "same_denoised") > share(&means[1], "same_noisy") + 0.2, "{}", means[1]);
    // Pictures without a class: nothing can be right.
    assert!(means[0].get("right_denoised").is_none());
    // A line for each picture carries what the share is of.
    let (lines, count) = (&rows[..rows.len() - 2], means[1]["pictures"].as_u64().unwrap() as f64);
    let at_half = lines.iter().filter(|row| row["sigma"].as_f64() == Some(0.5));
    let same = at_half.filter(|row| row["same_denoised"].as_bool().unwrap()).count() as f64;
    assert!((share(&means[1], "same_denoised") - same / count).abs() < 1e-12);
    let table = smoothgate(&common);
    let table = text(&table.stdout);
    assert!(table.lines().next().unwrap().contains("same answer noisy"), "{table}");
    assert!(table.lines().nth(2).unwrap().ends_with(" %"), "{table}");
    let out = smoothgate(&[&common[..], &["--size", "48"]].concat());
    assert_eq!(code(&out), 2);
    assert!(text(&out.stderr).contains("give --size 64x64"), "{}", text(&out.stderr));
}

#[test]
fn denoise_says_how_many_classes_are_still_right() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("set.tar");
    let mut tar = tar::Builder::new(std::fs::File::create(&archive).unwrap());
    let coffee = format!("{PICTURES}/coffee.jpg");
    for folder in ["espresso", "no-such-class"] {
        tar.append_path_with_name(&coffee, format!("{folder}/coffee.jpg")).unwrap();
    }
    tar.finish().unwrap();
    let archive = archive.to_str().unwrap();
    let out = smoothgate(&[
        "denoise",
        archive,
        "--classifier",
        "things64",
        "--sigma",
        "0.05",
        "--skip",
        "2",
        "--json",
    ]);
    assert_eq!(code(&out), 0, "{}", text(&out.stderr));
    let mean = rows(&out).pop().unwrap();
    assert!(mean["right_clean"].is_f64() && mean["right_denoised"].is_f64(), "{mean}");
    let out = smoothgate(&["denoise", archive, "--classifier", "things64", "--sigma", "0.05", "--json"]);
    let mean = rows(&out).pop().unwrap();
    assert!(mean["same_denoised"].is_f64() && mean.get("right_denoised").is_none(), "{mean}");
}

#[test]
fn bench_denoiser_says_what_it_measured() {
    let bench = |options: &[&str]| {
        let short = ["bench", "denoiser", "--time", "1ms", "--size", "16x24", "--batch", "2"];
        smoothgate(&[&short[..], options].concat())
    };
    for (precision, name) in [("f32", "photo"), ("bf16", "photo-bf16")] {
        let out = bench(&["--precision", precision, "--device", "cpu", "--json"]);
        assert_eq!(code(&out), 0, "{}", text(&out.stderr));
        let row = &rows(&out)[0];
        assert_eq!((&row["denoiser"], &row["width"], &row["height"]), (&name.into(), &16.into(), &24.into()));
        let number = |field: &str| row[field].as_f64().unwrap();
        assert!(number("rounds") >= 3.0 && number("ms_fastest") <= number("ms_per_picture"), "{row}");
        // 48 channels at half resolution, 96 at a quarter, 128 at an eighth; see `denoisers/benches/denoise.rs`.
        assert!((number("gflop_per_picture") - 10.83 * 384.0 / 50176.0).abs() < 0.001, "{row}");
        let rate = number("gflop_per_picture") / number("ms_per_picture") * 1e3;
        assert!((number("gflop_per_second") / rate - 1.0).abs() < 1e-9, "{row}");
        assert!(number("peak_gflop_per_second") > 0.0 && number("share_of_peak") > 0.0, "{row}");
        let memory = ["load_memory_bytes", "peak_memory_bytes"].map(|field| row[field].as_u64());
        assert!(memory[0] <= memory[1] && memory[0].is_some() == memory[1].is_some(), "{row}");
    }
    let none = bench(&["--denoiser", "none"]);
    assert!(text(&none.stdout).contains("ms a picture") && !text(&none.stdout).contains("GFLOP"));
    assert_eq!(code(&smoothgate(&["bench", "denoiser", "--size", "native"])), 2);
    assert_eq!(code(&bench(&["--precision", "fp8"])), 2);
}
