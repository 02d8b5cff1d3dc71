//! `smoothgate train` as a user sees it.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smoothgate"));
    command.args(arguments);
    command
}

fn smoothgate(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Two folders with pictures of 40x36.
fn data(root: &Path) -> String {
    for (class, step) in [("dark", 1), ("light", 5)] {
        let folder = root.join("data").join(class);
        fs::create_dir_all(&folder).unwrap();
        for i in 0..4u32 {
            let value = |x: u32, y: u32, c: u32| (step * (x * 3 + y * 2 + c * 9 + i * 11) / 2) as u8;
            image::RgbImage::from_fn(40, 36, |x, y| image::Rgb([0, 1, 2].map(|c| value(x, y, c))))
                .save(folder.join(format!("{i}.png")))
                .unwrap();
        }
    }
    root.join("data").display().to_string()
}

const SMALL: &str = "unet:channels=8,8,8;blocks=1,1,1";

#[test]
fn a_denoiser_is_trained_resumed_and_used() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("run").display().to_string());
    let train = |more: &[&str]| {
        let fixed =
            ["train", "denoiser", "--data", &data, "--out", &out, "--arch", SMALL, "--sigma", "0.1..0.5"];
        let length =
            ["--patch", "16", "--batch", "2", "--steps", "6", "--val-every", "3", "--val-count", "2"];
        smoothgate(&[&fixed[..], &length[..], more].concat())
    };
    let (code, stdout, stderr) = train(&[]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("step 3:  sigma 0.100 ") && stdout.contains(" dB"), "{stdout}");
    assert_eq!(stdout.lines().count(), 2);
    let (code, _, stderr) = train(&[]);
    assert!(code == 2 && stderr.contains("at step 6") && stderr.contains("resume"), "{code} {stderr}");
    let (code, _, stderr) = train(&["--resume", "--lr", "0.1"]);
    assert!(code == 2 && stderr.contains("rate was 0.0005, is 0.1"), "{code} {stderr}");
    assert_eq!(train(&["--resume"]).0, 0);

    let model = Path::new(&out).join("last.safetensors").display().to_string();
    let (picture, sheets) = (format!("{data}/light/0.png"), dir.path().join("sheets").display().to_string());
    let (code, stdout, stderr) = smoothgate(&["denoise", &picture, "--denoiser", &model, "--out", &sheets]);
    assert!(code == 0 && stdout.contains("run/last"), "{stdout} {stderr}");
}

#[test]
fn a_classifier_is_trained_and_a_denoiser_through_it() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("run").display().to_string());
    let length = ["--batch", "4", "--epochs", "1.5", "--val-count", "2"];
    let classifier =
        ["train", "classifier", "--data", &data, "--out", &out, "--arch", "cifar-resnet:depth=8;width=4"];
    let (code, stdout, stderr) = smoothgate(&[&classifier[..], &length[..]].concat());
    assert!(
        code == 0 && stdout.starts_with("step 3:  sigma 0.000 ") && stdout.contains(" %"),
        "{stdout} {stderr}"
    );
    let (model, out) = (format!("{out}/best.safetensors"), dir.path().join("second").display().to_string());
    let denoiser =
        ["train", "denoiser", "--data", &data, "--out", &out, "--arch", SMALL, "--objective", "hybrid"];
    let through = ["--surrogate", &model, "--optimizer", "sgd", "--schedule", "step:1:0.5"];
    let (code, stdout, stderr) = smoothgate(&[&denoiser[..], &length[..], &through[..]].concat());
    assert!(code == 0 && stdout.contains(" dB") && stdout.contains(" %"), "{stdout} {stderr}");
}

#[test]
fn what_cannot_be_trained_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("run").display().to_string());
    let bad = dir.path().join("data/dark/bad.png");
    let refused = |arguments: &[&str], part: &str| {
        let fixed = ["--data", &data, "--out", &out, "--steps", "1"];
        let (code, _, stderr) = smoothgate(&[arguments, &fixed[..]].concat());
        assert!(code == 2 && stderr.contains(part), "{arguments:?}: {code} {stderr}");
        assert!(!Path::new(&out).join("state.safetensors").exists());
    };
    let denoiser = ["train", "denoiser"];
    refused(&[&denoiser[..], &["--objective", "stability"]].concat(), "needs a classifier");
    refused(&[&denoiser[..], &["--mse-weight", "5"]].concat(), "belong to the stability objective");
    for (idle, reason) in [
        (&["--surrogate", "things64"][..], "--objective mse"),
        (&["--classifier", "things64"], "--judge"),
        (&["--labels", "answers.jsonl"], "no --labels"),
        (&["--mse-steps", "5"], "`--objective hybrid`"),
        (&["--weight-decay", "0.1"], "`--optimizer sgd`"),
        (&["--momentum", "0.5"], "`--optimizer sgd`"),
    ] {
        refused(&[&denoiser[..], idle].concat(), reason);
    }
    refused(&[&denoiser[..], &["--arch", "vgg"]].concat(), "`vgg`");
    refused(&[&denoiser[..], &["--arch", "unet:width=96"]].concat(), "`width` means nothing");
    refused(&[&denoiser[..], &["--patch", "64"]].concat(), "smaller than the 64x64");
    refused(&[&denoiser[..], &["--sigma", "loud"]].concat(), "loud");
    refused(&["train", "classifier"], "--arch");
    refused(&["train", "classifier", "--init", "things64"], "none of the classifier's 64");
    fs::write(&bad, "no picture").unwrap();
    refused(&denoiser, "bad.png");
}

#[test]
fn models_are_listed_with_hash_and_licence() {
    let (code, stdout, _) = smoothgate(&["models", "--json"]);
    let models: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = models.iter().map(|m| m["name"].as_str().unwrap()).collect();
    let denoisers = "none photo cifar10 cifar10-mse cifar10-whitebox";
    assert_eq!((code, names.join(" ")), (0, format!("{denoisers} things64 cifar10-resnet20")));
    assert!(models.iter().all(|m| m["hash"].as_str().unwrap().len() == 64));
    assert!(models[0].get("license").is_none() && models[1]["license"] == "MIT OR Apache-2.0");
    let (code, text, _) = smoothgate(&["models"]);
    assert!(code == 0 && text.contains(models[1]["hash"].as_str().unwrap()), "{text}");
}

#[cfg(unix)]
#[test]
fn a_request_to_end_leaves_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("run"));
    let folder = out.display().to_string();
    let train = ["train", "denoiser", "--data", &data, "--out", &folder, "--arch", SMALL, "--patch", "16"];
    let endless = ["--steps", "1000000000", "--val-every", "1", "--save-every", "1000000000"];
    let mut child = command(&[&train[..], &endless[..]].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first validation says that steps are being made.
    let begin = Instant::now();
    while !out.join("best.safetensors").exists() {
        assert!(begin.elapsed() < Duration::from_mins(5) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.code() == Some(130) && stderr.contains("--resume"), "{stderr}");
    assert!(out.join("state.safetensors").exists() && out.join("last.safetensors").exists());
}

/// The second request is not kept waiting by a validation that takes long.
#[cfg(unix)]
#[test]
fn a_second_request_to_end_is_obeyed_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("run").display().to_string());
    let train = ["train", "denoiser", "--data", &data, "--out", &out, "--arch", SMALL, "--patch", "16"];
    // A validation of so many noise levels that it takes hours.
    let levels = vec!["0.25"; 20_000].join(",");
    let long = [
        "--steps",
        "1000",
        "--val-every",
        "1",
        "--val-count",
        "4",
        "--val-sigma",
        &levels,
        "--log-every",
        "1",
    ];
    let mut child = command(&[&train[..], &long[..]].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = Path::new(&out).join("log.jsonl");
    let begin = Instant::now();
    while !fs::read_to_string(&log).is_ok_and(|text| text.contains('\n')) {
        assert!(begin.elapsed() < Duration::from_mins(5) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
    let id = child.id().to_string();
    let terminate = || assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    terminate();
    let mut said = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    while !said.contains("again to leave") {
        assert!(lines.read_line(&mut said).unwrap() > 0, "{said}");
    }
    terminate();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
}
