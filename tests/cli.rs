//! The command line as a user sees it: output, exit codes, files.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// The program with a state folder and a configuration of its own: none.
fn program(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smoothgate"));
    command.env("XDG_STATE_HOME", state).env("XDG_CONFIG_HOME", state).env_remove("SMOOTHGATE_CONFIG");
    command
}

fn smoothgate(arguments: &[&str]) -> Output {
    let state = tempfile::tempdir().unwrap();
    program(state.path()).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn rows(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A small picture that the test makes itself.
fn picture(path: &Path, width: u32, height: u32) {
    image::RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 3) as u8, (y * 2) as u8, (x ^ y) as u8]))
        .save(path)
        .unwrap();
}

const PICTURES: &str = "examples/pictures";

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
        let out = smoothgate(&[
            "certify",
            PICTURES,
            "--format",
            "jsonl",
            "--quiet",
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
        let out = smoothgate(&[
            "certify",
            PICTURES,
            "--format",
            "jsonl",
            "--quiet",
            "--seed",
            "1",
            "--denoiser",
            denoiser,
        ]);
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
fn radius_prints_bound_and_radius() {
    let out = smoothgate(&["radius", "--agree", "100", "--votes", "100", "--sigma", "0.25", "--json"]);
    let bound: Value = serde_json::from_slice(&out.stdout).unwrap();
    // 0.001^(1/100), and 0.25 times its normal quantile rounded down to 6 digits.
    assert!((bound["p_lower"].as_f64().unwrap() - 0.933_254_300_796_991).abs() < 1e-12);
    assert_eq!(bound["radius"], 0.375_118);
    let abstain = smoothgate(&["radius", "--agree", "50", "--votes", "100", "--sigma", "0.25"]);
    assert!(text(&abstain.stdout).contains("abstain"));
    for bad in [["101", "100"], ["0", "0"]] {
        let out = smoothgate(&["radius", "--agree", bad[0], "--votes", bad[1], "--sigma", "0.25"]);
        assert_eq!(code(&out), 2);
        assert!(text(&out.stderr).starts_with("error: "), "{}", text(&out.stderr));
    }
}

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

#[test]
fn help_lists_the_exit_codes_and_bad_usage_is_code_2() {
    let help = smoothgate(&["--help"]);
    assert_eq!(code(&help), 0);
    for line in ["0  all certified", "1  finished", "2  wrong usage", "3  provider", "4  budget"] {
        assert!(text(&help.stdout).contains(line), "{line}");
    }
    for bad in [
        vec!["certify"],
        vec!["certify", "no-such-file.png"],
        vec!["certify", PICTURES, "--sigma", "64"],
        vec!["certify", PICTURES, "--alpha", "0"],
        vec!["certify", PICTURES, "--question", "best"],
        vec!["certify", PICTURES, "--encode", "gif"],
        vec!["certify", PICTURES, "--denoiser", "no-such-model"],
        vec!["certify", PICTURES, "--device", "cuda:0"],
        vec!["certify", PICTURES, "--seed", "xyz"],
        vec!["certify", PICTURES, "--size", "0"],
        vec!["frobnicate"],
    ] {
        let out = smoothgate(&bad);
        assert_eq!(code(&out), 2, "{bad:?}: {}", text(&out.stderr));
        assert!(!out.stderr.is_empty() && out.stdout.is_empty(), "{bad:?}");
    }
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

const LOG: &str = "tests/data/replay/small.jsonl";

#[test]
fn replay_prints_a_row_a_record_in_the_logs_order() {
    let out = smoothgate(&["replay", LOG, LOG, "--alpha", "0.05", "--format", "jsonl"]);
    assert_eq!(code(&out), 0, "{}", text(&out.stderr));
    let first = text(&out.stdout).lines().next().unwrap().to_owned();
    assert_eq!(
        first,
        r#"{"api":"demo","denoiser":"none","sigma":0.25,"idx":0,"outcome":"certified","label":"dog","radius":0.19227,"votes":15,"question":"top1","test":"cohen","clean":"dog"}"#
    );
    let order: Vec<u64> = rows(&out).iter().map(|row| row["idx"].as_u64().unwrap()).collect();
    assert_eq!(order, (0..8).chain(0..8).collect::<Vec<_>>());
    let summary = text(&out.stderr);
    assert!(summary.contains("16 rows, 50.0 % certified"), "{summary}");
    assert!(summary.contains("2 rows abstain only because their record has fewer votes"), "{summary}");

    let tsv =
        smoothgate(&["replay", LOG, "--alpha", "0.05", "--format", "tsv", "--test", "fixed", "--quiet"]);
    assert!(tsv.stderr.is_empty(), "{}", text(&tsv.stderr));
    let tsv = text(&tsv.stdout);
    assert!(tsv.starts_with("api\tdenoiser\tsigma\tidx\toutcome\tlabel\tradius\tvotes\tquestion\ttest\n"));
    assert!(tsv.lines().all(|line| line.split('\t').count() == 10), "{tsv}");
    let table = smoothgate(&["replay", LOG, "--alpha", "0.05", "--question", "clean-top"]);
    assert!(text(&table.stdout).contains("clean-top"));
}

#[test]
fn replay_reports_what_differs_from_the_log() {
    let same = smoothgate(&["replay", LOG, "--against", "logged", "--quiet"]);
    assert_eq!((code(&same), text(&same.stderr)), (0, String::new()));
    let other = smoothgate(&["replay", LOG, "--against", "logged", "--alpha", "0.05"]);
    assert_eq!(code(&other), 1);
    let report = text(&other.stderr);
    assert!(
        report
            .contains("small.jsonl:1: demo, none, sigma 0.25, idx 0: radius 0.192270 replayed, 0.039 logged"),
        "{report}"
    );
    assert!(report.contains("1 of 1 rows with a logged result differ"), "{report}");
}

#[test]
fn replay_refuses_what_it_cannot_use() {
    for bad in [
        vec!["replay"],
        vec!["replay", "no-such-log.jsonl"],
        vec!["replay", "README.md"],
        vec!["replay", LOG, "--n", "3"],
        vec!["replay", LOG, "--question", "present:dog", "--paper-rules"],
        vec!["replay", LOG, "--question", "map:no-such-map.toml"],
    ] {
        let out = smoothgate(&bad);
        assert_eq!(code(&out), 2, "{bad:?}: {}", text(&out.stderr));
        assert!(!out.stderr.is_empty() && out.stdout.is_empty(), "{bad:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::process::Stdio;
    let state = tempfile::tempdir().unwrap();
    let mut child = program(state.path())
        .args(["certify", PICTURES, "--quiet", "--n", "12", "--n0", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
}

#[test]
fn one_picture_comes_from_standard_input() {
    use std::io::Write;
    use std::process::Stdio;
    let mut child = Command::new(env!("CARGO_BIN_EXE_smoothgate"))
        .args(["picture", "hash", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let bytes = fs::read(Path::new(PICTURES).join("coffee.jpg")).unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let out = child.wait_with_output().unwrap();
    let file = smoothgate(&["picture", "hash", &format!("{PICTURES}/coffee.jpg")]);
    assert_eq!(text(&out.stdout)[..64], text(&file.stdout)[..64]);
}

/// Runs `keys` in a folder and gives its exit code and what it printed.
fn keys(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = program(folder);
    let command = command.current_dir(folder).env_remove("SMOOTHGATE_KEYS").arg("keys").args(arguments);
    let out = command.output().unwrap();
    (code(&out), text(&out.stdout) + &text(&out.stderr))
}

#[test]
fn keys_of_callers_are_issued_listed_changed_and_revoked() {
    use smoothgate::proxy::access::{KeyFile, Keyring, Master};
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| keys(dir.path(), arguments);
    assert_eq!(run(&["list"]), (0, "no keys in smoothgate-keys.json\n".to_owned()));
    let (code, issued) =
        run(&["issue", "photo desk", "--rate", "60/m", "--max-cost", "5.00USD", "--route", "a,b-*"]);
    assert_eq!(code, 0, "{issued}");
    assert!(issued.contains("routes a,b-*, 60/m, at most $5.00"), "{issued}");
    let token = issued.lines().find(|line| line.starts_with("sg_")).unwrap().to_owned();
    let id = token.split('_').nth(1).unwrap();
    let (code, pair) = run(&["issue", "archive", "--aws", "--json", "--expires", "2999-01-01"]);
    let pair: Value = serde_json::from_str(&pair).unwrap();
    assert_eq!((code, &pair["expires"]), (0, &"2999-01-01T00:00:00Z".into()));
    let access_key = pair["access_key_id"].as_str().unwrap();

    // The secret that is printed is the one that the server will derive.
    let master = Master::read(
        &format!("file::{}", dir.path().join("smoothgate-keys.master").display()).parse().unwrap(),
        &smoothgate::providers::credentials::Environment::process(),
    )
    .unwrap();
    let path = dir.path().join("smoothgate-keys.json");
    let pair_id = KeyFile::read(&path).unwrap().keys()[1].id;
    let secret = secrecy::ExposeSecret::expose_secret(&master.secret(pair_id)).to_owned();
    assert_eq!(
        (pair["secret_access_key"].as_str(), access_key),
        (Some(secret.as_str()), pair_id.for_aws().as_str())
    );
    assert_eq!(Keyring::open(&path, Some(master)).unwrap().active(), 2);

    let (_, list) = run(&["list"]);
    let (_, json) = run(&["list", "--json"]);
    for shown in [&list, &json] {
        assert!(shown.contains(id) && shown.contains("photo desk"), "{shown}");
        assert!(!shown.contains(&token) && !shown.contains(&secret));
    }
    assert_eq!(run(&["change", id]).0, 2, "nothing to change");
    let (code, changed) = run(&["change", id, "--max-cost", "none", "--max-calls", "7", "--rate", "1/s"]);
    assert_eq!(code, 0, "{changed}");
    assert!(changed.contains("1/s, at most 7 calls") && !changed.contains("$5.00"), "{changed}");
    assert_eq!(run(&["revoke", id, "aaaaaaaaaaaaaaaa"]).0, 2, "all of them or none");
    assert_eq!(run(&["revoke", id, access_key]).0, 0);
    let (code, error) = run(&["change", id, "--name", "x"]);
    assert!(code == 2 && error.contains("revoked"), "{error}");
    let (_, list) = run(&["list", "--json"]);
    let list: Vec<Value> = serde_json::from_str(&list).unwrap();
    assert!(list.iter().all(|key| key["state"] == "revoked"), "{list:?}");

    for bad in [
        &["issue"][..],
        &["issue", "x", "--rate", "fast"],
        &["issue", "x", "--max-cost", "-1"],
        &["issue", "x", "--expires", "someday"],
        &["issue", "x", "--route", ""],
        &["issue", "x", "--aws", "--master", "0123456789"],
        &["issue", "x", "--aws", "--master", "env::ABSENT"],
        &["revoke", &token],
        &["change", &token, "--name", "x"],
    ] {
        let (code, error) = run(bad);
        assert_eq!(code, 2, "{bad:?}: {error}");
        assert!(
            !error.contains(&token) && !error.contains("0123456789"),
            "secrets are not repeated: {error}"
        );
    }
}

/// A set of two classes that a map makes the provider answer as their folders are called.
#[test]
fn labels_that_are_written_as_folders_are_right() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for (class, picture) in [("hot_dog", "coffee.jpg"), ("n01534433_junco", "spider.png")] {
        fs::create_dir_all(at("set").join(class)).unwrap();
        fs::copy(Path::new(PICTURES).join(picture), at("set").join(class).join(picture)).unwrap();
    }
    fs::write(at("map.toml"), "hot_dog = [\"espresso\"]\nn01534433_junco = [\"spider\"]\n").unwrap();
    let (set, question) = (at("set").display().to_string(), format!("map:{}", at("map.toml").display()));
    let evaluate = |format: &str| {
        let arguments =
            ["evaluate", &set, "--question", &question, "--radius", "0.1", "--seed", "3", "--quiet"];
        program(dir.path()).args(arguments).args(["--format", format]).output().unwrap()
    };
    let out = evaluate("jsonl");
    let all = rows(&out);
    let of = |field: &str| all.iter().map(|row| row[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("label"), ["hot_dog", "n01534433_junco"], "{}", text(&out.stderr));
    assert_eq!((of("truth"), of("correct")), (vec!["hot dog".into(), "junco".into()], vec![true.into(); 2]));
    fs::write(at("rows.jsonl"), &out.stdout).unwrap();
    let report = program(dir.path())
        .arg("report")
        .arg(at("rows.jsonl"))
        .args(["--radii", "0.1", "--format", "json"])
        .output();
    let report = report.unwrap();
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let one = &report["series"][0];
    assert_eq!((&one["measure"], &one["at"][0]["count"]), (&"certified accuracy".into(), &2.into()));
    let table = text(&evaluate("tsv").stdout);
    let judged: Vec<Vec<&str>> = table.lines().skip(1).map(|line| line.split('\t').collect()).collect();
    let judged: Vec<[&str; 3]> = judged.iter().map(|row| [row[1], row[2], row[4]]).collect();
    assert_eq!(judged, [["0", "0", "1"], ["1", "1", "1"]], "{table}");
}

#[test]
fn a_picture_has_one_certificate_in_a_folder_and_two_pictures_have_two() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    for folder in ["set/cat", "set/dog", "a", "b"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    for (n, file) in
        ["set/cat/x.png", "set/cat/y.png", "set/dog/x.png", "a/x.png", "b/x.png"].iter().enumerate()
    {
        let pixel = |x: u32, y: u32| image::Rgb([(x * 3) as u8, (y * 2) as u8, (n * 40) as u8]);
        image::RgbImage::from_fn(64, 64, pixel).save(at(file)).unwrap();
    }
    let files = |folder: &str| {
        let entries = fs::read_dir(at(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let run = |command: &str, pictures: &str, out: &str, more: &[&str]| {
        let (pictures, out) = (at(pictures), at(out));
        let short = ["--out", &out, "--seed", "1", "--denoiser", "none", "--n0", "1", "--n", "10", "--quiet"];
        let done = smoothgate(&[&[command, &pictures], &short[..], more].concat());
        assert!(code(&done) <= 1, "{}", text(&done.stderr));
    };
    run("evaluate", "set", "sampled", &["--skip", "2"]);
    assert_eq!(files("sampled"), ["0000-cat-x.png.json", "0002-dog-x.png.json"]);
    run("evaluate", "set", "sampled", &[]);
    assert_eq!(files("sampled"), ["0000-cat-x.png.json", "0001-cat-y.png.json", "0002-dog-x.png.json"]);

    // Of the same name in the same place: neither takes the other's, whatever is done again.
    for folder in ["a", "b", "a", "b"] {
        run("certify", folder, "both", &[]);
    }
    let both = files("both");
    assert_eq!(both.len(), 2, "{both:?}");
    assert_eq!(both[1], "0000-x.png.json");
    assert!(both[0].starts_with("0000-x.png-"), "{both:?}");
}

#[test]
fn the_true_class_is_the_folders_name_also_where_the_path_does_not_say_it() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("wrongclass");
    fs::create_dir(&folder).unwrap();
    fs::copy(Path::new(PICTURES).join("coffee.jpg"), folder.join("coffee.jpg")).unwrap();
    let certify = |pictures: &str| {
        let arguments = [
            "certify", pictures, "--truth", "@folder", "--format", "tsv", "--seed", "2", "--n0", "2", "--n",
            "20", "--quiet",
        ];
        program(dir.path()).current_dir(&folder).args(arguments).output().unwrap()
    };
    for pictures in ["coffee.jpg", ".", "./coffee.jpg", "*.jpg"] {
        let out = certify(pictures);
        let table = text(&out.stdout);
        let fields: Vec<&str> = table.lines().nth(1).unwrap().split('\t').collect();
        assert_eq!([fields[1], fields[2], fields[4]], ["wrongclass", "espresso", "0"], "{pictures}: {table}");
    }
    let out = certify("-");
    assert_eq!(code(&out), 2);
    assert!(text(&out.stderr).contains("give its true class by `--truth LABEL`"), "{}", text(&out.stderr));
}

#[cfg(unix)]
#[test]
fn names_break_no_row_and_move_no_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("a\tb\u{1b}[2J.jpg");
    fs::copy(Path::new(PICTURES).join("coffee.jpg"), &picture).unwrap();
    let picture = picture.to_str().unwrap();
    for (format, tabs) in [("tsv", 3), ("table", 0)] {
        let out = text(&smoothgate(&["label", picture, "--top", "1", "--format", format]).stdout);
        assert!(out.contains("a b\u{fffd}[2J.jpg"), "{out:?}");
        assert_eq!(out.matches('\t').count(), tabs, "{out:?}");
    }
    let state = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| text(&program(state.path()).args(arguments).output().unwrap().stdout);
    let table = run(&["certify", picture, "--n0", "2", "--n", "20", "--seed", "1"]);
    let shown = run(&["runs", "show", "1"]);
    for out in [table, shown] {
        assert!(out.contains("a b\u{fffd}[2J.jpg") && !out.contains(['\t', '\u{1b}']), "{out:?}");
    }
    // A record of a stranger.
    let log = dir.path().join("log.jsonl");
    let record = fs::read_to_string(LOG).unwrap().lines().next().unwrap().to_owned();
    let record = record.replace("\"demo\"", "\"de\\u001b[2Jmo\"").replace("\"dog\"", "\"d\\u001b[2Jog\"");
    fs::write(&log, record).unwrap();
    for format in ["table", "tsv"] {
        let replay = ["replay", log.to_str().unwrap(), "--alpha", "0.05", "--format", format, "--quiet"];
        let out = text(&smoothgate(&replay).stdout);
        assert!(out.contains("de\u{fffd}[2Jmo") && out.contains("d\u{fffd}[2Jog"), "{out:?}");
        assert!(!out.contains('\u{1b}'), "{out:?}");
    }
}
