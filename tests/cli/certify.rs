//! Certificates and predictions: rows, documents, what is refused.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use super::{PICTURES, code, picture, rows, smoothgate, text};

/// Rows of the sample pictures, and nothing said beside them.
fn samples(more: &[&str]) -> Output {
    smoothgate(&[&["certify", PICTURES, "--format", "jsonl", "--quiet"], more].concat())
}

#[test]
fn jsonl_has_the_promised_fields_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.png");
    picture(&file, 80, 64);
    let out =
        smoothgate(&["certify", file.to_str().unwrap(), "--format", "jsonl", "--seed", "1", "--n", "20"]);
    let line = text(&out.stdout);
    let fields = [
        "image",
        "outcome",
        "label",
        "radius",
        "radius_original",
        "p_lower",
        "sigma",
        "alpha",
        "question",
        "test",
        "votes",
        "calls",
        "failed_votes",
        "counts",
        "seed",
        "provider",
        "model_versions",
        "denoiser",
        "working_size",
        "error",
    ];
    let mut at = 0;
    for field in fields {
        let key = format!("\"{field}\":");
        let found =
            line[at..].find(&key).unwrap_or_else(|| panic!("{key} missing after byte {at} of {line}"));
        at += found + key.len();
    }
    let row = &rows(&out)[0];
    assert_eq!(row["working_size"], serde_json::json!([64, 64]));
    assert_eq!(row["sigma"], 0.25);
    assert_eq!(row["provider"], "local");
    assert!(row["votes"].as_u64().unwrap() <= 40);
    assert_eq!(text(&out.stdout).lines().count(), 1);
}

#[test]
fn same_seed_same_bytes_whatever_the_batch_and_the_threads() {
    let run = |batch: &str, threads: &str, concurrency: &str, jobs: &str| {
        let out = samples(&[
            "--seed",
            "11",
            "--n0",
            "10",
            "--n",
            "20",
            "--batch",
            batch,
            "--threads",
            threads,
            "--concurrency",
            concurrency,
            "--jobs",
            jobs,
        ]);
        assert!(code(&out) <= 1, "{}", text(&out.stderr));
        assert!(out.stderr.is_empty(), "--quiet printed {}", text(&out.stderr));
        out.stdout
    };
    let reference = run("16", "2", "32", "2");
    assert!(!reference.is_empty());
    assert!(run("1", "1", "1", "1") == reference);
    assert!(run("7", "2", "5", "3") == reference);
}

#[test]
fn a_folder_with_broken_pictures_gives_one_certificate_and_clear_failures() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::copy(Path::new(PICTURES).join("spider.png"), at("good.png")).unwrap();
    let mut jpeg = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(90, 90, image::Rgb([9, 80, 200]))
        .write_to(&mut jpeg, image::ImageFormat::Jpeg)
        .unwrap();
    let jpeg = jpeg.into_inner();
    fs::write(at("cut.jpg"), &jpeg[..jpeg.len() / 2]).unwrap();
    fs::write(at("text.png"), "this is not a picture\n").unwrap();
    fs::write(at("bomb.png"), png_header(40_000, 40_000)).unwrap();
    fs::write(at("empty.png"), "").unwrap();

    let out = smoothgate(&["certify", dir.path().to_str().unwrap(), "--format", "jsonl", "--seed", "3"]);
    let rows = rows(&out);
    let outcome = |name: &str| {
        let row = rows.iter().find(|row| row["image"].as_str().unwrap().ends_with(name)).unwrap();
        (row["outcome"].as_str().unwrap().to_owned(), row["error"].as_str().unwrap_or("").to_owned())
    };
    assert_eq!(rows.len(), 5);
    assert_eq!(outcome("good.png"), ("certified".to_owned(), String::new()));
    assert!(rows.iter().any(|row| row["denoiser"] == "photo"), "the built-in one, not its architecture");
    // The columns of the field have no place for it.
    for command in [&["certify", "--quiet"][..], &["label"]] {
        let broken = at("text.png");
        let out = smoothgate(&[command, &[broken.to_str().unwrap(), "--format", "tsv"]].concat());
        let said = text(&out.stderr);
        assert!(
            code(&out) == 2 && said.contains("text.png: ") && said.contains("not a picture"),
            "{command:?}: {said}"
        );
    }
    for (name, part) in [("cut.jpg", ""), ("text.png", ""), ("bomb.png", "40000"), ("empty.png", "empty")] {
        let (outcome, error) = outcome(name);
        assert_eq!(outcome, "failed", "{name}");
        assert!(error.len() > 20 && error.contains(part), "{name}: {error}");
    }
    assert_eq!(code(&out), 2);
}

/// A PNG signature and header that claims a size, and nothing behind it.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut crc = !0u32;
    for &byte in &header {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    png.extend(header);
    png.extend((!crc).to_be_bytes());
    png
}

#[test]
fn what_cannot_certify_is_refused_before_any_call_with_the_number_that_would_do() {
    let out = smoothgate(&["certify", PICTURES, "--n", "9"]);
    assert_eq!(code(&out), 2);
    assert!(text(&out.stderr).contains("at least 10 are needed"), "{}", text(&out.stderr));
    assert!(out.stdout.is_empty());
}

#[test]
fn the_plan_says_votes_radius_and_price() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.png");
    picture(&file, 64, 64);
    let out = smoothgate(&["certify", file.to_str().unwrap(), "--seed", "1"]);
    let plan = text(&out.stderr);
    assert!(plan.contains("at most 120 votes") && plan.contains("0.3751") && plan.contains("free"), "{plan}");
    // No terminal, so no progress line.
    assert!(!plan.contains('\r') && plan.lines().count() == 1, "{plan:?}");
}

#[test]
fn tsv_is_what_plot_scripts_read() {
    let out = smoothgate(&[
        "certify", PICTURES, "--format", "tsv", "--seed", "5", "--quiet", "--truth", "Espresso",
    ]);
    let table = text(&out.stdout);
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("idx\tlabel\tpredict\tradius\tcorrect\ttime"));
    let mut correct = 0;
    for (index, line) in lines.enumerate() {
        let fields: Vec<&str> = line.split('\t').collect();
        assert_eq!(fields.len(), 6, "{line}");
        assert_eq!(fields[0].parse::<usize>().unwrap(), index);
        assert_eq!(fields[1], "Espresso");
        assert!(fields[3].parse::<f64>().unwrap() >= 0.0);
        let is_correct = fields[4].parse::<u8>().unwrap() == 1;
        assert_eq!(is_correct, fields[2] == "espresso", "{line}");
        correct += usize::from(is_correct);
        let time: Vec<f64> = fields[5].split(':').map(|part| part.parse().unwrap()).collect();
        assert_eq!(time.len(), 3);
    }
    assert!(correct >= 1, "{table}");
}

#[test]
fn the_denoised_pipeline_certifies_more_and_further_than_the_baseline() {
    let run = |denoiser: &str| {
        let out = samples(&["--seed", "1", "--denoiser", denoiser]);
        let rows = rows(&out);
        let certified: Vec<f64> = rows
            .iter()
            .filter(|row| row["outcome"] == "certified")
            .map(|row| row["radius"].as_f64().unwrap())
            .collect();
        (certified.len(), certified.iter().sum::<f64>())
    };
    let (denoised, none) = (run("auto"), run("none"));
    assert!(denoised.0 > none.0, "{denoised:?} against {none:?}");
    assert!(denoised.1 > none.1, "{denoised:?} against {none:?}");
}

#[test]
fn certificates_are_written_whole_and_say_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let out_dir = dir.path().join("certificates");
    let coffee = format!("{PICTURES}/coffee.jpg");
    let out = smoothgate(&["certify", &coffee, "--seed", "2", "--quiet", "--out", out_dir.to_str().unwrap()]);
    assert_eq!(code(&out), 0, "{}", text(&out.stderr));
    let path = out_dir.join("0000-coffee.jpg.json");
    let document = fs::read_to_string(&path).unwrap();
    let certificate: smoothgate::certificate::Certificate = serde_json::from_str(&document).unwrap();
    let claim = &certificate.claims[0];
    assert_eq!(claim.label.as_deref(), Some("espresso"));
    assert_eq!(claim.votes.len(), 120);
    assert!(claim.radius_original > claim.radius, "{document}");
    assert_eq!(fs::read_dir(&out_dir).unwrap().count(), 1, "a partial file was left");
    // The hash is the one that `picture hash` prints for the same working size.
    let hash = smoothgate(&["picture", "hash", &coffee, "--size", "64"]);
    assert!(text(&hash.stdout).starts_with(&certificate.picture.hash));
}

#[test]
fn predict_answers_without_a_radius_and_with_fewer_calls() {
    let coffee = format!("{PICTURES}/coffee.jpg");
    let out = smoothgate(&["predict", &coffee, "--seed", "2", "--format", "jsonl", "--quiet"]);
    assert_eq!(code(&out), 0, "{}", text(&out.stderr));
    let row = &rows(&out)[0];
    assert_eq!(
        (&row["outcome"], &row["label"], &row["radius"]),
        (&"predicted".into(), &"espresso".into(), &0.0.into())
    );
    assert!(row["calls"].as_u64().unwrap() <= 100);
}

#[test]
fn a_question_about_a_fixed_label_needs_no_selection_votes() {
    let coffee = format!("{PICTURES}/coffee.jpg");
    let ask = |question: &str| {
        let out = smoothgate(&[
            "certify",
            &coffee,
            "--seed",
            "1",
            "--quiet",
            "--format",
            "jsonl",
            "--question",
            question,
        ]);
        (code(&out), rows(&out).remove(0))
    };
    let (exit, present) = ask("present:Espresso");
    assert_eq!(
        (exit, &present["label"], &present["votes"]),
        (0, &"Espresso".into(), &100.into()),
        "{present}"
    );
    assert_eq!(present["question"], "present:Espresso");
    assert!(present["radius"].as_f64().unwrap() > 0.37);
    let (exit, absent) = ask("absent:lion");
    assert_eq!((exit, &absent["label"]), (0, &"absent:lion".into()), "{absent}");
    let (exit, wrong) = ask("present:lion");
    assert_eq!((exit, &wrong["label"]), (1, &Value::Null), "{wrong}");
}

#[test]
fn a_class_map_is_recorded_whole_in_the_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let map = dir.path().join("drinks.tsv");
    fs::write(&map, "espresso\thot drink\nteapot\thot drink\nbeer bottle\tcold drink\n").unwrap();
    let (coffee, question) = (format!("{PICTURES}/coffee.jpg"), format!("map:{}", map.display()));
    let folder = dir.path().join("out");
    let out = smoothgate(&[
        "certify",
        &coffee,
        "--seed",
        "1",
        "--quiet",
        "--question",
        &question,
        "--out",
        folder.to_str().unwrap(),
    ]);
    assert_eq!(code(&out), 0, "{}", text(&out.stderr));
    let file = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let document: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let claim = &document["claims"][0];
    assert_eq!(claim["label"], "hot drink");
    assert_eq!(claim["question"]["map"]["classes"]["hot drink"], serde_json::json!(["espresso", "teapot"]));
}
