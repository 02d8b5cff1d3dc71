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

/// A command with caches and ledger of its own.
fn smoothgate(home: &std::path::Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smoothgate"));
    command.args(arguments).env("XDG_CACHE_HOME", home).env("XDG_STATE_HOME", home).output().unwrap()
}

#[test]
fn what_is_on_record_is_reported_with_boundary_copies_and_cost() {
    let home = tempfile::tempdir().unwrap();
    let place = |name: &str| home.path().join(name).display().to_string();
    let pictures = ["examples/pictures/spider.png", "examples/pictures/coffee.jpg"];
    let out = smoothgate(
        home.path(),
        &[
            &["certify"],
            &pictures[..],
            &["--radius", "0.1,0.2", "--seed", "3", "--quiet", "--out", &place("out")],
        ]
        .concat(),
    );
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let page = place("page.html");
    // By the folder of the certificates and by the ledger the same; the pictures are found by their hashes.
    let folder = place("out");
    for source in [["--run", "1"].as_slice(), &[folder.as_str()]] {
        let report =
            [&["report"], source, &["--out", &page, "--format", "json", "--pictures", "examples/pictures"]]
                .concat();
        let out = smoothgate(home.path(), &report);
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!((out.status.code(), errors.as_str()), (Some(0), ""));
        let numbers: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        let of_run = source[0] == "--run";
        assert_eq!(numbers["series"][0]["pictures"], 2);
        assert_eq!(numbers["series"][0]["calls"].is_u64(), of_run);
        assert_eq!(numbers["series"][0]["cost"], if of_run { "0".into() } else { serde_json::Value::Null });
        let html = std::fs::read_to_string(&page).unwrap();
        let document = roxmltree::Document::parse(html.trim_start_matches("<!DOCTYPE html>\n")).unwrap();
        let images: Vec<_> = document.descendants().filter(|node| node.has_tag_name("img")).collect();
        // Of each picture itself and four copies, noisy and denoised.
        assert_eq!(images.len(), 2 * (1 + 2 * 4));
        for image in images {
            assert!(image.attribute("src").unwrap().starts_with("data:image/png;base64,"));
            assert!(!image.attribute("alt").unwrap().is_empty());
        }
        assert!(html.matches("certified: radius 0.1<").count() >= 2, "both certify their first radius");
    }
    // One picture's votes alone, as a drawing and as pixels.
    let (svg, png) = (place("votes.svg"), place("votes.png"));
    let name = pictures[0];
    let votes =
        ["report", "--run", "1", "--figure", "votes", "--picture", name, "--svg", &svg, "--png", &png];
    assert_eq!(smoothgate(home.path(), &votes).status.code(), Some(0));
    assert!(std::fs::read_to_string(&svg).unwrap().contains("spider.png: spider, certified"));
    assert_eq!(&std::fs::read(&png).unwrap()[..8], b"\x89PNG\r\n\x1a\n");
    let out = smoothgate(
        home.path(),
        &["report", "--run", "1", "--figure", "votes", "--picture", "x", "--svg", &svg],
    );
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("no votes to draw of a picture called `x`"));
    assert_eq!(smoothgate(home.path(), &["report", "--run", "9"]).status.code(), Some(2));
    assert_eq!(smoothgate(home.path(), &["report"]).status.code(), Some(2));
}

#[test]
fn copies_of_another_picture_are_not_shown() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out").display().to_string();
    let picture = "examples/pictures/spider.png";
    let certify =
        ["certify", picture, "--radius", "0.1", "--seed", "3", "--quiet", "--no-ledger", "--out", &out];
    assert_eq!(smoothgate(home.path(), &certify).status.code(), Some(0));
    // Another picture under the name of the right one.
    let other = home.path().join("spider.png");
    std::fs::copy("examples/pictures/umbrella.png", &other).unwrap();
    let page = home.path().join("page.html").display().to_string();
    let report =
        smoothgate(home.path(), &["report", &out, "--out", &page, "--pictures", other.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&report.stderr).contains("the pictures of 1 certificates are not among"));
    assert!(!std::fs::read_to_string(&page).unwrap().contains("<img"));
}

#[test]
fn logs_are_named_on_the_command_line() {
    let out =
        report(&["paper=tests/data/report/cohen.tsv", "tests/data/report/cohen.tsv", "--format", "json"]);
    let numbers: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(
        (&numbers["series"][0]["name"], &numbers["series"][1]["name"]),
        (&"paper".into(), &"cohen".into())
    );
}
