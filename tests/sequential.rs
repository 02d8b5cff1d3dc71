//! Sequential tests from the command line: radii, votes at most, the cache of tables.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const PICTURE: &str = "examples/pictures/spider.png";
const LOG: &str = "tests/data/replay/small.jsonl";

fn smoothgate(cache: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smoothgate"));
    command.args(arguments).env("XDG_CACHE_HOME", cache).env("XDG_STATE_HOME", cache).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn rows(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn certify_by_radius_stops_where_the_votes_show_it_and_keeps_its_tables() {
    let cache = tempfile::tempdir().unwrap();
    let out = cache.path().join("certificates");
    let certify = |more: &[&str]| {
        let fixed = [
            "certify",
            PICTURE,
            "--sigma",
            "0.12",
            "--alpha",
            "0.05",
            "--seed",
            "5",
            "--format",
            "jsonl",
            "--no-ledger",
        ];
        smoothgate(cache.path(), &[&fixed, more].concat())
    };
    let first = certify(&["--radius", "0.02,0.05", "--out", out.to_str().unwrap()]);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    let row = &rows(&first)[0];
    assert_eq!((&row["test"], &row["radius"]), (&"table".into(), &0.05.into()));
    let votes = row["votes"].as_u64().unwrap();
    assert!(votes < 20 && row["calls"] == votes, "{row}");
    assert!(text(&first.stderr).contains("largest radius 0.05"), "{}", text(&first.stderr));
    let tables = cache.path().join("smoothgate/tables");
    let kept: Vec<_> = fs::read_dir(&tables).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");

    // The certificate says what was tested: radii, horizon, level.
    let file = fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
    let certificate: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let test = &certificate["claims"][0]["test"];
    assert_eq!(test["method"]["radii"], serde_json::json!([0.02, 0.05]));
    assert!(test["method"]["n_max"].as_u64().unwrap() >= votes && test["label"] == "leader", "{test}");

    // With the tables of the cache, with damaged ones and without a folder for any, the bytes are the same.
    let with_cache = certify(&["--radius", "0.02,0.05", "--quiet"]);
    assert_eq!(with_cache.stdout, first.stdout);
    fs::write(&kept[0], "damaged").unwrap();
    assert_eq!(certify(&["--radius", "0.02,0.05", "--quiet"]).stdout, first.stdout);
    assert!(fs::metadata(&kept[0]).unwrap().len() > 100, "the damaged file was not replaced");
    let mut homeless = Command::new(env!("CARGO_BIN_EXE_smoothgate"));
    for variable in ["XDG_CACHE_HOME", "XDG_STATE_HOME", "HOME", "LOCALAPPDATA"] {
        homeless.env_remove(variable);
    }
    homeless
        .args(["certify", PICTURE, "--sigma", "0.12", "--alpha", "0.05", "--seed", "5", "--format", "jsonl"]);
    let homeless = homeless.args(["--radius", "0.02,0.05", "--quiet", "--no-ledger"]).output().unwrap();
    assert_eq!((text(&homeless.stderr), homeless.stdout), (String::new(), first.stdout));
}

#[test]
fn a_radius_out_of_reach_is_refused_with_what_would_do() {
    let cache = tempfile::tempdir().unwrap();
    let refused = smoothgate(cache.path(), &["certify", PICTURE, "--radius", "0.5", "--n-max", "100"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.stdout.is_empty());
    let message = text(&refused.stderr);
    for part in ["radius 0.5 with sigma 0.25", "at least 30", "largest radius within reach is 0.37"] {
        assert!(message.contains(part), "{message}");
    }
    for (bad, part) in [
        (vec!["certify", PICTURE, "--test", "table"], "--radius R"),
        (vec!["certify", PICTURE, "--radius", "0.25,0.1"], "rising"),
        (vec!["certify", PICTURE, "--radius", "0.25", "--n", "100"], "`--n`"),
        (vec!["certify", PICTURE, "--radius", "5", "--n-max", "100"], "8 sigma"),
        (vec!["replay", LOG, "--test", "anytime", "--radius", "0.1"], "--radius"),
        (vec!["replay", LOG, "--radius", "0.25"], "largest radius within reach"),
    ] {
        let out = smoothgate(cache.path(), &bad);
        assert_eq!(out.status.code(), Some(2), "{bad:?}");
        assert!(out.stdout.is_empty() && text(&out.stderr).contains(part), "{bad:?}: {}", text(&out.stderr));
    }
}

#[test]
fn replay_takes_the_same_tests() {
    let cache = tempfile::tempdir().unwrap();
    let replay = |more: &[&str]| {
        let fixed = ["replay", LOG, "--alpha", "0.05", "--format", "jsonl", "--quiet"];
        let out = smoothgate(cache.path(), &[&fixed, more].concat());
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        rows(&out)
    };
    let cohen = replay(&[]);
    let table = replay(&["--radius", "0.05"]);
    assert_eq!((table.len(), &table[0]["test"]), (cohen.len(), &"table".into()));
    assert!(table.iter().any(|row| row["outcome"] == "certified" && row["radius"] == 0.05));
    let votes = |rows: &[Value]| rows.iter().map(|row| row["votes"].as_u64().unwrap()).sum::<u64>();
    assert!(votes(&table) < votes(&cohen), "{} and {}", votes(&table), votes(&cohen));
    assert_eq!(replay(&["--radius", "0.05", "--question", "clean-top"])[0]["test"], "table1");
    assert_eq!(replay(&["--test", "anytime", "--n-max", "15"])[0]["test"], "anytime");
    assert_eq!(replay(&["--sigma", "0.25"]).len(), cohen.len());
    assert_eq!(replay(&["--sigma", "0.12"]).len(), 0);
}
