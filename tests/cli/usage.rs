//! What all commands share: help, wrong usage, standard input and output.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{PICTURES, code, program, smoothgate, text};

#[test]
fn radius_prints_bound_and_radius() {
    let out = smoothgate(&["radius", "--agree", "100", "--votes", "100", "--sigma", "0.25", "--json"]);
    let bound: Value = serde_json::from_slice(&out.stdout).unwrap();
    // 0.001^(1/100), and 0.25 times its normal quantile rounded down to 6 digits.
    assert!((bound["p_lower"].as_f64().unwrap() - 0.933_254_300_796_991).abs() < 1e-12);
    assert_eq!(bound["radius"], 0.375_118);
    // The next digits are 797: a bound is rounded down where it is printed, too.
    let printed = smoothgate(&["radius", "--agree", "100", "--votes", "100", "--sigma", "0.25"]);
    assert!(text(&printed.stdout).starts_with("p_lower 0.933254300  "), "{}", text(&printed.stdout));
    let abstain = smoothgate(&["radius", "--agree", "50", "--votes", "100", "--sigma", "0.25"]);
    assert!(text(&abstain.stdout).contains("abstain"));
    for bad in [["101", "100"], ["0", "0"]] {
        let out = smoothgate(&["radius", "--agree", bad[0], "--votes", bad[1], "--sigma", "0.25"]);
        assert_eq!(code(&out), 2);
        assert!(text(&out.stderr).starts_with("error: "), "{}", text(&out.stderr));
    }
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
fn shells_get_what_they_complete() {
    for shell in ["bash", "zsh", "fish"] {
        let out = smoothgate(&["completions", shell]);
        assert_eq!(code(&out), 0);
        let script = text(&out.stdout);
        assert!(script.contains("certify") && script.contains("max-cost"), "{shell}");
    }
    assert_eq!(code(&smoothgate(&["completions", "tcsh"])), 2);
}

/// What is below 0 is refused for that, with its own value.
#[test]
fn negative_numbers_are_values() {
    for (option, value) in [("--sigma", "-1"), ("--alpha", "-0.1"), ("--n", "-5"), ("--max-calls", "-3")] {
        let out = smoothgate(&["certify", PICTURES, option, value]);
        let said = text(&out.stderr);
        assert_eq!(code(&out), 2, "{said}");
        assert!(said.contains(&format!("invalid value '{value}' for '{option}")), "{said}");
    }
}

#[test]
fn a_number_that_would_do_nothing_is_refused() {
    for option in ["--jobs", "--batch", "--concurrency", "--threads"] {
        let out = smoothgate(&["certify", PICTURES, option, "0"]);
        assert_eq!(code(&out), 2, "{option}");
        assert!(text(&out.stderr).contains("at least 1"), "{}", text(&out.stderr));
    }
    let level = smoothgate(&["serve", "--log-level", "inof"]);
    assert_eq!(code(&level), 2);
    assert!(text(&level.stderr).contains("`inof` is no level"), "{}", text(&level.stderr));
    let size = smoothgate(&["bench", "denoiser", "--size", "100000"]);
    assert_eq!(code(&size), 2, "{}", text(&size.stderr));
    // A file that is named is one that there is.
    assert_eq!(code(&smoothgate(&["runs", "--ledger", "no-such.db"])), 2);
}

/// Who reads on would take code 0 for certificates of everything.
#[test]
fn a_reader_that_goes_away_ends_the_run_and_that_is_said() {
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
    assert_eq!(out.status.code(), Some(3), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("nobody reads the results any more"), "{}", text(&out.stderr));
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
