//! `plan`, `certify --dry-run`, and the question before money is spent.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const PICTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures");

/// The program in a folder of its own, with a paid provider that nobody answers for.
fn smoothgate(folder: &Path, arguments: &[&str]) -> Output {
    let config = "[providers.paid]\nkind = \"google\"\nprice = \"0.0015USD\"\ncredentials = { key = \"env::NO_KEY\" }\n";
    std::fs::write(folder.join("smoothgate.toml"), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_smoothgate"));
    command
        .args(arguments)
        .current_dir(folder)
        .env("XDG_STATE_HOME", folder.join("state"))
        .env("HOME", folder);
    command.env("NO_KEY", "none").env_remove("SMOOTHGATE_CONFIG").output().unwrap()
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    let out = smoothgate(folder, arguments);
    assert_eq!(out.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn a_plan_says_calls_cost_time_and_radius_and_sends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let plan = json(
        dir.path(),
        &["plan", "1000", "--provider", "paid", "--size", "64", "--json", "--agreement", "1"],
    );
    assert_eq!(
        (&plan["bill"]["least"]["calls"], &plan["bill"]["most"]["calls"]),
        (&20_000.into(), &120_000.into())
    );
    assert_eq!(plan["bill"]["most"]["cost"].as_str().unwrap().parse::<f64>(), Ok(180.0));
    assert_eq!(plan["expected"]["votes"], 120.0);
    assert_eq!(plan["expected"]["certified"], 1.0);
    let calls_per_minute = plan["quota"]["calls_per_minute"].as_f64().unwrap();
    assert_eq!(plan["bill"]["most"]["seconds"], 120_000.0 * 60.0 / calls_per_minute);
    assert_eq!(
        (&plan["bytes_of_a_copy"]["mean"], &plan["bytes_of_a_copy"]["measured"]),
        (&12_288.into(), &false.into())
    );
    assert!((plan["votes"]["largest_radius"].as_f64().unwrap() - 0.3751).abs() < 1e-4);
    assert!(!dir.path().join("state").exists(), "a plan leaves no record");
}

#[test]
fn a_plan_needs_no_account_and_a_run_says_once_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    for provider in ["google", "aws", "azure", "azure-v3", "clarifai"] {
        let plan = json(dir.path(), &["plan", "10", "--provider", provider, "--size", "100", "--json"]);
        assert_eq!(plan["bill"]["most"]["calls"], 1200, "{provider}");
    }
    let picture = format!("{PICTURES}/spider.png");
    let planned = smoothgate(dir.path(), &["plan", &picture, "--provider", "google"]);
    let words = String::from_utf8(planned.stdout).unwrap();
    assert!(words.contains("1 picture, provider google ($0.0015 a call)"), "{words}");
    let refused = smoothgate(dir.path(), &["certify", &picture, "--provider", "google", "--yes"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(said.matches("no Google credentials").count(), 1, "{said}");
}

#[test]
fn a_dry_run_is_the_plan_of_the_same_arguments_and_copies_are_measured() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = [PICTURES, "--radius", "0.1", "--agreement", "0.9..1"];
    let plan = json(dir.path(), &[&["plan", "--json"], &arguments[..]].concat());
    let dry = json(dir.path(), &[&["certify", "--dry-run", "--format", "jsonl"], &arguments[..]].concat());
    assert_eq!(plan, dry);
    assert_eq!((&plan["bill"]["pictures"], &plan["price"]), (&11.into(), &"free".into()));
    assert_eq!(plan["bytes_of_a_copy"]["measured"], true);
    let (least, most) = (&plan["bill"]["least"], &plan["bill"]["most"]);
    assert!(least["calls"].as_u64() < plan["bill"]["expected"]["calls"].as_u64());
    assert!(plan["bill"]["expected"]["calls"].as_u64() < most["calls"].as_u64());
    assert!(plan["expected"]["votes_error"].as_f64().unwrap() > 0.0);
    let words = smoothgate(dir.path(), &[&["plan"], &arguments[..]].concat());
    let words = String::from_utf8(words.stdout).unwrap();
    for part in [
        "11 pictures, provider local (free)",
        "expected",
        "simulated pictures of agreement 0.9..1, which is assumed",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
}

#[test]
fn answers_of_an_earlier_run_are_the_better_guide() {
    let dir = tempfile::tempdir().unwrap();
    let log = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/answers.jsonl");
    let first: Value =
        serde_json::from_str(std::fs::read_to_string(log).unwrap().lines().next().unwrap()).unwrap();
    let sigma = first["sigma"].to_string();
    let plan = json(
        dir.path(),
        &["plan", "100", "--json", "--from", log, "--sigma", &sigma, "--n0", "5", "--n", "20"],
    );
    assert_eq!(plan["expected"]["from"], Value::Null);
    assert_eq!(plan["expected"]["basis"]["from"], "record");
    assert!(plan["expected"]["basis"]["pictures"].as_u64().unwrap() > 0);
    let other = smoothgate(dir.path(), &["plan", "100", "--from", log, "--sigma", "1.7"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&other.stderr).contains("no picture at sigma 1.7"));
}

/// A picture that has its certificate is not planned for, one that was begun only with what is left of it.
#[test]
fn a_plan_takes_off_what_the_run_has_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let pictures = ["spider.png", "rocket.jpg", "bananas.png"].map(|name| format!("{PICTURES}/{name}"));
    let arguments = |command, more: &[&'static str]| -> Vec<String> {
        // A fixed seed: with another a picture may end with the very last call of the budget, and none is left in the middle.
        let test =
            ["--size", "32", "--denoiser", "none", "--n0", "5", "--n", "25", "--sigma", "0.5", "--seed", "1"];
        let all = [command].into_iter().chain(test).chain(more.iter().copied()).map(str::to_owned);
        all.chain(pictures.clone()).collect()
    };
    let run = |arguments: &[String]| {
        smoothgate(dir.path(), &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let plan = |more: &[&'static str]| -> Value {
        let out = run(&arguments("plan", &[&["--json"], more].concat()));
        assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice(&out.stdout).unwrap()
    };
    let whole = plan(&[]);
    assert_eq!((&whole["on_record"], &whole["bill"]["most"]["calls"]), (&Value::Null, &90.into()));

    // The budget ends in the middle of the second picture or of the third.
    let stopped = run(&arguments("certify", &["--max-calls", "40", "--jobs", "1", "--quiet"]));
    assert_eq!(stopped.status.code(), Some(4), "{}", String::from_utf8_lossy(&stopped.stderr));
    let shown = smoothgate(dir.path(), &["runs", "show", "1", "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let shown = shown["pictures"].as_array().unwrap();
    let finished = shown.iter().filter(|picture| picture["certified"] == true).count() as u64;
    let begun: Vec<u64> = shown
        .iter()
        .filter(|picture| picture["certified"] == false)
        .map(|picture| picture["settled"].as_u64().unwrap())
        .collect();
    assert!(finished >= 1 && begun.len() == 1 && begun[0] > 0, "{shown:?}");

    let rest = plan(&[]);
    assert_eq!(rest["on_record"]["run"], 1);
    assert_eq!(rest["on_record"]["finished"], finished);
    assert_eq!(rest["on_record"]["started"][0]["votes"], begun[0]);
    let left = |bill: &str| rest["bill"][bill]["calls"].as_u64().unwrap();
    assert_eq!(left("most"), 30 * (3 - finished) - begun[0]);
    assert!(left("least") <= left("expected") && left("expected") <= left("most"), "{rest}");
    // Another run, and a run without a record, begin at nothing.
    assert_eq!(plan(&["--new-run"]), whole);
    assert_eq!(plan(&["--no-ledger"]), whole);
    assert_eq!(plan(&["--alpha", "0.01"])["on_record"], Value::Null);
    let words = String::from_utf8(run(&arguments("plan", &[])).stdout).unwrap();
    let part = format!("run 1 goes on: {finished} of 3 pictures finished, 1 begun with {} votes", begun[0]);
    assert!(words.contains(&part), "{words}");

    // What is planned at most is no less than what it takes, and afterwards nothing is left.
    let ended = run(&arguments("certify", &["--quiet"]));
    assert!(ended.status.code().unwrap() <= 1, "{}", String::from_utf8_lossy(&ended.stderr));
    let shown = smoothgate(dir.path(), &["runs", "show", "1", "--json"]);
    let calls = serde_json::from_slice::<Value>(&shown.stdout).unwrap()["spend"]["calls"].as_u64().unwrap();
    assert!((40 + left("least")..=40 + left("most")).contains(&calls), "{calls} calls, {rest}");
    let nothing = plan(&[]);
    assert_eq!(nothing["on_record"]["finished"], 3);
    for total in ["least", "expected", "most"] {
        assert_eq!(nothing["bill"][total]["calls"], 0, "{total}");
    }
}

#[test]
fn much_money_is_not_spent_without_a_yes() {
    let dir = tempfile::tempdir().unwrap();
    let refused = smoothgate(dir.path(), &["certify", PICTURES, "--provider", "paid"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    // 11 pictures, 120 votes each, $0.0015 a vote.
    assert!(said.contains("up to $1.98 for 1320 calls") && said.contains("--yes"), "{said}");
    // Free providers never ask, and a limit that is not reached does not either.
    let free = smoothgate(
        dir.path(),
        &["certify", &format!("{PICTURES}/spider.png"), "--n", "20", "--ask-above", "0"],
    );
    assert!(free.status.code().unwrap() <= 1);
}
