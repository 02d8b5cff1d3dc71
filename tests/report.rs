//! `smoothgate report` as a user sees it.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]

use std::process::{Command, Output};

fn report(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_smoothgate")).arg("report").args(arguments).output().unwrap()
}

#[test]
fn it_writes_a_page_and_a_drawing_and_prints_the_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let (page, drawing) = (dir.path().join("page.html"), dir.path().join("curve.svg"));
    let logs = ["cohen.tsv", "paper.tsv", "rows.jsonl", "certificates"]
        .map(|log| format!("tests/data/report/{log}"));
    let mut arguments: Vec<&str> = logs.iter().map(String::as_str).collect();
    let files = [page.to_str().unwrap(), drawing.to_str().unwrap()];
    arguments.extend([
        "--out", files[0], "--svg", files[1], "--radii", "0,0.25", "--format", "json", "--price", "0.0015",
    ]);
    let out = report(&arguments);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let numbers: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let counts: Vec<u64> = numbers["series"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["at"][1]["count"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, [2, 1, 1, 0]);
    assert_eq!(numbers["series"][2]["cost"], "0.4515");
    assert!(numbers["series"][0]["calls"].is_null());
    assert!(std::fs::read_to_string(&page).unwrap().starts_with("<!DOCTYPE html>"));
    roxmltree::Document::parse(&std::fs::read_to_string(&drawing).unwrap()).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing partial is left");
}

#[test]
fn a_bad_log_writes_nothing_and_names_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("page.html");
    let out = report(&[
        "tests/data/report/cohen.tsv",
        "tests/data/report/nan.tsv",
        "--out",
        page.to_str().unwrap(),
    ]);
    assert_eq!(out.status.code(), Some(2));
    let message = String::from_utf8(out.stderr).unwrap();
    assert!(message.contains("nan.tsv`, line 3: radius `nan`"), "{message}");
    assert!(!page.exists() && out.stdout.is_empty());
}
