//! Many certificates from one set of votes, as a user meets them.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const COFFEE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/coffee.jpg");
const LOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/replay/labels.jsonl");

/// The program in a folder of its own, with its ledger there.
fn smoothgate(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smoothgate"));
    command
        .args(arguments)
        .current_dir(folder)
        .env("XDG_STATE_HOME", folder.join("state"))
        .env("HOME", folder);
    command.env_remove("SMOOTHGATE_CONFIG").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs it, and gives what it prints where it ends with this code.
fn run(folder: &Path, arguments: &[&str], code: i32) -> (String, String) {
    let out = smoothgate(folder, arguments);
    let (stdout, stderr) = (text(&out.stdout), text(&out.stderr));
    assert_eq!(out.status.code(), Some(code), "{arguments:?}: {stdout}{stderr}");
    (stdout, stderr)
}

fn rows(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// `certify` with two questions on one picture: the labels of the clean answer, and one that is never there.
const CERTIFY: [&str; 15] = [
    "certify",
    COFFEE,
    "--question",
    "clean-labels/sequence/3",
    "--question",
    "present:lion",
    "--radius",
    "0.05",
    "--n-max",
    "42",
    "--seed",
    "2",
    "--quiet",
    "--format",
    "jsonl",
];

#[test]
fn one_set_of_votes_gives_a_line_a_claim_and_one_document() {
    let dir = tempfile::tempdir().unwrap();
    let certify = [&CERTIFY[..], &["--out", "certificates"]].concat();
    // Nothing is certified of the second question.
    let (stdout, _) = run(dir.path(), &certify, 1);
    let lines = rows(&stdout);
    assert_eq!(lines.len(), 4, "{stdout}");
    let column = |name: &str| -> Vec<&Value> { lines.iter().map(|line| &line[name]).collect() };
    assert_eq!(column("claim"), [0, 1, 2, 3]);
    assert_eq!(column("claims"), [4, 4, 4, 4]);
    assert_eq!((column("label")[0], column("outcome")[0]), (&"espresso".into(), &"certified".into()));
    assert_eq!((column("label")[3], column("outcome")[3]), (&Value::Null, &"abstained".into()));
    assert_eq!(column("question")[0], "clean-labels/sequence/3:espresso");
    assert_eq!(column("question")[3], "present:lion");
    // Calls are counted once: the draws of the claim that took most, and the clean picture.
    let calls: u64 = lines.iter().map(|line| line["calls"].as_u64().unwrap()).sum();
    let votes = lines.iter().map(|line| line["votes"].as_u64().unwrap()).max().unwrap();
    assert_eq!((calls, lines[0]["calls"].as_u64().unwrap()), (votes + 1, votes + 1));

    let document = "certificates/0000-coffee.jpg.json";
    let (verified, _) =
        run(dir.path(), &["verify", document, "--picture", COFFEE, "--redraw", "--ledger"], 0);
    assert!(verified.contains("together") && !verified.contains("FAILS"), "{verified}");
    let parsed: Value =
        serde_json::from_str(&std::fs::read_to_string(dir.path().join(document)).unwrap()).unwrap();
    assert_eq!(parsed["claims"].as_array().unwrap().len(), 4);

    // The same command finds its run: nothing is asked again, and the lines are the same.
    let (again, _) = run(dir.path(), &CERTIFY, 1);
    assert_eq!(rows(&again), lines);
    // Another question is another run.
    let other = [&CERTIFY[..4], &CERTIFY[6..]].concat();
    run(dir.path(), &other, 0);
    let runs: Value = serde_json::from_str(&run(dir.path(), &["runs", "--json"], 0).0).unwrap();
    assert_eq!(runs.as_array().unwrap().len(), 2, "{runs}");

    // The answers on record, put to the same questions, say the same.
    let (log, _) = run(dir.path(), &["runs", "export", "1"], 0);
    std::fs::write(dir.path().join("log.jsonl"), &log).unwrap();
    let replay = [&["replay", "log.jsonl"][..], &CERTIFY[2..10], &["--format", "jsonl"]];
    let (replayed, summary) = run(dir.path(), &replay.concat(), 0);
    let same = |rows: &[Value], name: &str| rows.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    for name in ["question", "outcome", "label", "radius"] {
        assert_eq!(same(&rows(&replayed), name), same(&lines, name), "{name}");
    }
    assert!(summary.contains("1 pictures, 4 claims"), "{summary}");

    // A report counts a question on a picture once, from lines and from documents.
    std::fs::write(dir.path().join("rows.jsonl"), &stdout).unwrap();
    for source in ["rows.jsonl", "certificates"] {
        let report = run(dir.path(), &["report", source, "--format", "json"], 0).0;
        let report: Value = serde_json::from_str(&report).unwrap();
        let series = report["series"].as_array().unwrap();
        assert_eq!(series.len(), 2, "{report}");
        for (one, certified) in series.iter().zip([1, 0]) {
            assert_eq!(
                (&one["pictures"], &one["at"][0]["count"]),
                (&1.into(), &certified.into()),
                "{report}"
            );
        }
    }
    let report: Value =
        serde_json::from_str(&run(dir.path(), &["report", "rows.jsonl", "--format", "json"], 0).0).unwrap();
    assert_eq!(report["series"][1]["calls"], calls, "the questions of a picture share its calls");
}

#[test]
fn tables_and_tsv_have_a_line_a_claim() {
    let dir = tempfile::tempdir().unwrap();
    let with = |format: &'static str| [&CERTIFY[..14], &[format], &["--no-ledger"]].concat();
    let (table, _) = run(dir.path(), &with("table"), 1);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 5, "{table}");
    assert!(
        lines[1].contains("espresso") && lines[1].ends_with("clean-labels/sequence/3:espresso"),
        "{table}"
    );
    assert!(lines[4].contains("abstained") && lines[4].ends_with("present:lion"), "{table}");
    let (tsv, _) = run(dir.path(), &with("tsv"), 1);
    let lines: Vec<&str> = tsv.lines().collect();
    assert_eq!((lines.len(), lines[0]), (5, "idx\tlabel\tpredict\tradius\tcorrect\ttime"));
    assert!(lines[1].starts_with("0\t-1\tespresso\t0.050000\t1\t"), "{tsv}");
    assert!(lines[4].starts_with("0\t-1\t-1\t0.000000\t0\t"), "{tsv}");
}

#[test]
fn plans_of_several_questions_say_what_all_take_together() {
    let dir = tempfile::tempdir().unwrap();
    let plan = |more: &[&str]| {
        let line = [&["plan", "10", "--radius", "0.1", "--json"][..], more].concat();
        serde_json::from_str::<Value>(&run(dir.path(), &line, 0).0).unwrap()
    };
    let one = plan(&["--question", "present:a"]);
    let two = plan(&["--question", "present:a", "--question", "clean-labels/5"]);
    assert_eq!(
        (&one["also"], &two["also"][0]["question"]),
        (&serde_json::json!([]), &"clean-labels/5".into())
    );
    let most = |plan: &Value| plan["bill"]["most"]["calls"].as_u64().unwrap();
    let votes = |plan: &Value| plan["votes"]["most_votes"].as_u64().unwrap();
    assert!(votes(&two) > votes(&one));
    assert_eq!((most(&one), most(&two)), (10 * votes(&one), 10 * (votes(&two) + 1)));
    // Recorded answers are a better guide, and are put to the same questions.
    let from = ["--from", LOG, "--n-max", "60"];
    let recorded =
        plan(&[&from[..], &["--question", "clean-labels", "--question", "top1", "--alpha", "0.1"]].concat());
    assert_eq!(recorded["expected"]["basis"]["pictures"], 5, "{recorded}");
    let words = run(
        dir.path(),
        &["plan", "3", "--radius", "0.1", "--question", "clean-labels/2", "--question", "top1"],
        0,
    )
    .0;
    assert!(words.contains("question clean-labels/2 and top1") && words.contains("of the claims"), "{words}");
}

#[test]
fn recorded_answers_are_replayed_under_several_questions() {
    let dir = tempfile::tempdir().unwrap();
    let replay = |more: &[&str]| {
        let line = [&["replay", LOG, "--radius", "0.1", "--alpha", "0.05"][..], more].concat();
        run(dir.path(), &line, 0)
    };
    let (tsv, summary) = replay(&["--question", "clean-labels", "--format", "tsv"]);
    // 4 + 3 + 3 + 2 labels, and one line that says that the clean answer of a picture holds none.
    assert_eq!(tsv.lines().count(), 1 + 13, "{tsv}");
    assert!(summary.starts_with("5 pictures, 13 claims: "), "{summary}");
    let (both, summary) = replay(&["--question", "clean-top", "--question", "top1", "--format", "jsonl"]);
    let questions: Vec<String> =
        rows(&both).iter().map(|row| row["question"].as_str().unwrap().to_owned()).collect();
    assert_eq!(questions, ["clean-top", "top1"].repeat(5));
    assert!(summary.starts_with("5 pictures, 10 claims: "), "{summary}");
    for bad in [
        &["--question", "top1", "--question", "top1"][..],
        &["--question", "clean-labels/0"],
        &["--question", "clean-labels:dog"],
        &["--question", "top1", "--question", "topk:2"],
    ] {
        let line = [&["replay", LOG, "--radius", "0.1"][..], bad].concat();
        run(dir.path(), &line, 2);
    }
}

#[test]
fn data_sets_are_evaluated_a_series_a_question() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("set/espresso")).unwrap();
    std::fs::copy(COFFEE, dir.path().join("set/espresso/coffee.jpg")).unwrap();
    let evaluate = ["evaluate", "set", "--summary", "summary.json", "--no-ledger"];
    run(dir.path(), &[&evaluate[..], &CERTIFY[2..]].concat(), 0);
    // In a table the accuracy is part of the results.
    let table = ["evaluate", "set", "--no-ledger", "--n-max", "20", "--radius", "0.05", "--quiet"];
    let out = run(dir.path(), &table, 0).0;
    assert!(out.contains("certified accuracy"), "{out}");
    // Found out before anything is asked.
    let nowhere = ["evaluate", "set", "--summary", "no/such/summary.json", "--no-ledger"];
    run(dir.path(), &nowhere, 2);
    let summary = std::fs::read_to_string(dir.path().join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let series = summary["series"].as_array().unwrap();
    assert_eq!(series.len(), 2, "{summary}");
    for (one, right) in series.iter().zip([1, 0]) {
        assert_eq!((&one["measure"], &one["at"][0]["count"]), (&"certified accuracy".into(), &right.into()));
    }

    // A picture that fails does so in the series of each question, in a report as in the summary.
    std::fs::write(dir.path().join("set/espresso/broken.jpg"), "no picture").unwrap();
    let asked = ["--question", "top1", "--question", "clean-top", "--n-max", "20", "--radius", "0.05"];
    let out = run(dir.path(), &[&evaluate[..], &asked, &["--format", "jsonl", "--quiet"]].concat(), 2);
    std::fs::write(dir.path().join("rows.jsonl"), out.0).unwrap();
    let report = run(dir.path(), &["report", "rows.jsonl", "--format", "json"], 0).0;
    let report: Value = serde_json::from_str(&report).unwrap();
    let series = report["series"].as_array().unwrap();
    assert_eq!(series.len(), 2, "{report}");
    assert!(series.iter().all(|one| one["pictures"] == 2 && one["failed"] == 1), "{report}");
}
