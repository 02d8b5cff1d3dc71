//! `replay` of recorded answers.

use super::{LOG, code, rows, smoothgate, text};

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
