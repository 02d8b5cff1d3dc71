//! Hand-written records, hostile logs, and the published answers of real APIs.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use flate2::{Compression, write::GzEncoder};

use super::*;
use crate::stats::Ladder;

/// One record a line, each with one thing to see: unanimous; two labels in turn; ties; empty answers; two draws without an
/// answer; empty answers as some logs write them; too few draws; labels without scores. All with 3 + 12 votes.
const SMALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/replay/small.jsonl");

fn cohen(asked: &str) -> Replay {
    one(asked, |Design { n0, n, .. }| Ok(Method::Cohen { n0, n }))
}

/// One question at alpha 0.05.
fn one(asked: &str, method: impl Fn(Design) -> Result<Method, StatsError> + Send + Sync + 'static) -> Replay {
    Replay::new(vec![asked.parse().unwrap()], Alpha::new(0.05).unwrap(), method).unwrap()
}

fn rows(replay: &Replay, source: impl Read + Send) -> (Vec<Row>, Result<Summary, ReplayError>) {
    let mut rows = Vec::new();
    let summary = replay.log("log", source, |row| {
        rows.push(row);
        Ok(())
    });
    (rows, summary)
}

fn small(replay: &Replay) -> Vec<Row> {
    let (rows, summary) = rows(replay, File::open(SMALL).unwrap());
    let summary = summary.unwrap();
    assert_eq!((summary.rows, rows.len()), (8, 8));
    assert_eq!(summary.certified as usize, rows.iter().filter(|r| r.outcome == Outcome::Certified).count());
    assert!(rows.iter().enumerate().all(|(n, row)| (row.idx, row.line) == (n as u64, n as u64 + 1)));
    rows
}

/// Label and radius of each row. Radii are 0.25 times the normal quantile of the Clopper-Pearson bound for 12 or 10 of 12
/// votes at level 0.05, computed with `scipy.stats`.
fn claims(replay: &Replay) -> Vec<Option<(String, f64)>> {
    small(replay).into_iter().map(|row| row.label.map(|label| (label, row.radius))).collect()
}

const ALL_12: f64 = 0.192_270;
const TEN_OF_12: f64 = 0.038_943;

fn claim(label: &str, radius: f64) -> (String, f64) {
    (label.to_owned(), radius)
}

#[test]
fn top1_goes_by_score_then_name_and_an_empty_answer_votes_for_nothing() {
    assert_eq!(
        claims(&cohen("top1")),
        [
            Some(claim("dog", ALL_12)),
            None,
            Some(claim("Animal", ALL_12)),
            None,
            Some(claim("dog", TEN_OF_12)),
            None,
            None,
            Some(claim("Cat", ALL_12))
        ]
    );
}

#[test]
fn the_papers_rules_go_by_position_and_certify_a_class_for_empty_answers() {
    let replay = cohen("top1").with_paper_rules().unwrap();
    assert_eq!(
        claims(&replay),
        [
            Some(claim("dog", ALL_12)),
            None,
            Some(claim("Dog", ALL_12)),
            Some(claim("None", ALL_12)),
            Some(claim("dog", TEN_OF_12)),
            Some(claim("None", ALL_12)),
            None,
            Some(claim("Cat", ALL_12))
        ]
    );
    assert!(matches!(cohen("clean-top").with_paper_rules(), Err(Problem::PaperRules(_))));
    assert!(matches!(cohen("present:dog").with_paper_rules(), Err(Problem::PaperRules(_))));
}

#[test]
fn a_fixed_label_needs_no_selection_votes() {
    let rows = small(&cohen("present:dog"));
    let votes: Vec<_> = rows.iter().map(|row| row.votes).collect();
    assert_eq!(votes[..3], [12, 12, 12]);
    let radii: Vec<_> = rows.iter().map(|row| row.radius).collect();
    assert_eq!(radii, [ALL_12, ALL_12, ALL_12, 0.0, ALL_12, 0.0, 0.0, ALL_12]);
    assert!(rows.iter().all(|row| row.label.as_deref().is_none_or(|label| label == "dog")));
    assert_eq!((&*rows[0].question, rows[0].test), ("present:dog", "cohen"));
}

#[test]
fn absence_is_certified_on_empty_answers_and_never_by_failures() {
    let claims = claims(&cohen("absent:dog"));
    assert_eq!(claims[3], Some(claim("absent:dog", ALL_12)));
    assert_eq!(claims[0], None);
    let failed = br#"{"api":"a","denoiser":"none","sigma":0.25,"idx":0,"n0":3,"n":12,"names":[],
        "votes":[null,null,null,null,null,null,null,null,null,null,null,null,null,null,null]}"#;
    for asked in ["absent:dog", "present:dog", "top1"] {
        let row = &cohen(asked).rows(&Record::parse(failed).unwrap()).unwrap()[0];
        assert_eq!((row.outcome, row.cut_short), (Outcome::Abstained, false), "{asked}");
    }
}

#[test]
fn clean_top_asks_about_the_label_of_the_clean_answer() {
    let rows = small(&cohen("clean-top"));
    let labels: Vec<_> = rows.iter().map(|row| row.label.as_deref()).collect();
    assert_eq!(
        labels,
        [Some("dog"), Some("Animal"), Some("Dog"), None, Some("dog"), None, None, Some("Cat")]
    );
    assert_eq!((rows[3].votes, rows[3].question.as_str()), (0, "clean-top"));
}

#[test]
fn contract_05_a_label_chosen_from_the_votes_is_paid_for_and_a_fixed_one_is_not() {
    let fixed =
        |asked: &str| one(asked, |Design { n0, n, .. }| Ok(Method::Fixed { n: n0 + n, rival_share: None }));
    let (chosen, given) = (&small(&fixed("top1"))[4], &small(&fixed("present:dog"))[4]);
    assert_eq!((chosen.label.as_deref(), given.label.as_deref()), (Some("dog"), Some("dog")));
    let bound = crate::stats::cp_lower(13, 15, 0.05).unwrap();
    let radius = crate::stats::round_down(crate::stats::radius_l2(bound, 0.25).unwrap());
    assert!((given.radius - radius).abs() < 1.5e-6, "{} {radius}", given.radius);
    assert!(chosen.radius < given.radius, "{} {}", chosen.radius, given.radius);
}

#[test]
fn a_topk_question_is_put_to_its_own_test_only() {
    let topk = |asked: &str| one(asked, |Design { n0, n, .. }| Ok(Method::Topk { k: 2, n0, n }));
    let (two, one) = (small(&topk("topk:2")), small(&cohen("top1")));
    assert_eq!((two[0].label.as_deref(), two[0].test), (Some("dog"), "topk"));
    assert!(two[0].radius > 0.0 && one[0].radius > 0.0);
    let record = std::fs::read("tests/data/replay/small.jsonl").unwrap();
    let first = record.split(|&byte| byte == b'\n').next().unwrap();
    let record = Record::parse(first).unwrap();
    for replay in [topk("top1"), topk("topk:3"), cohen("topk:2")] {
        assert!(matches!(replay.rows(&record), Err(Problem::Unsuited { .. })), "{replay:?}");
    }
}

#[test]
fn a_record_that_ends_before_the_test_abstains_and_says_so() {
    let rows = small(&cohen("top1"));
    assert!(rows[6].cut_short && rows[6].votes == 9 && rows[6].outcome == Outcome::Abstained);
    assert!(rows.iter().filter(|row| row.idx != 6).all(|row| !row.cut_short));
}

#[test]
fn rows_are_compared_with_the_log() {
    let at = |alpha: f64| {
        let method = |Design { n0, n, .. }| Ok(Method::Cohen { n0, n });
        let asked = vec![Question::CleanTop(None)];
        let row = &small(&Replay::new(asked, Alpha::new(alpha).unwrap(), method).unwrap())[0];
        row.against_logged.clone().unwrap()
    };
    assert_eq!(at(0.001), []);
    let differs = &at(0.05)[..];
    assert!(matches!(differs, [Disagreement { field: "radius", .. }]), "{differs:?}");
    let rows = small(&cohen("absent:dog"));
    assert_eq!(rows[0].against_logged.as_ref().unwrap()[0].to_string(), "label -1 replayed, dog logged");
    assert_eq!(rows[1].against_logged, None);
}

#[test]
fn a_class_map_reports_labels_it_does_not_know() {
    let map = crate::question::ClassMap::from_toml("m", "dog = [\"Dog\"]\n\"\" = [\"cat\"]").unwrap();
    let method = |Design { n0, n, .. }| Ok(Method::Cohen { n0, n });
    let replay = Replay::new(vec![Question::Map(map)], Alpha::new(0.05).unwrap(), method).unwrap();
    let (rows, summary) = rows(&replay, File::open(SMALL).unwrap());
    assert_eq!(rows[1].label.as_deref(), Some("dog"));
    assert_eq!(rows[3].label, None);
    let unmapped: Vec<_> = summary.unwrap().unmapped.into_iter().collect();
    assert_eq!(unmapped, [("Animal".to_owned(), 7), ("None".to_owned(), 1)]);
}

#[test]
fn gzip_is_told_by_its_content_and_may_have_several_members() {
    let plain = std::fs::read(SMALL).unwrap();
    let (first, second) = plain.split_at(1500);
    let mut packed = Vec::new();
    for part in [first, second] {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(part).unwrap();
        packed.extend(encoder.finish().unwrap());
    }
    let replay = cohen("top1");
    assert_eq!(rows(&replay, packed.as_slice()).0, small(&replay));
    // Cut off in the middle: the rows before count, and the error names the last of them.
    let (whole, error) = rows(&replay, &packed[..packed.len() - 20]);
    assert!(
        matches!(&error, Err(ReplayError::Read { after, .. }) if *after as usize == whole.len()),
        "{error:?}"
    );
}

#[test]
fn a_bad_line_is_named_and_the_rows_before_it_count() {
    let good = std::fs::read_to_string(SMALL).unwrap();
    let good = good.lines().next().unwrap();
    for (bad, word) in [
        ("{\"api\":", "not a record"),
        ("[]", "not a record"),
        (
            r#"{"api":"a","denoiser":"d","sigma":0.25,"idx":0,"n0":1,"n":9,"names":["x"],"votes":[[[1,0.5]]]}"#,
            "vote 0 names label 1",
        ),
        (
            r#"{"api":"a","denoiser":"d","sigma":0.25,"idx":0,"n0":1,"n":9,"names":[],"clean":[[0,1]],"votes":[]}"#,
            "the clean answer names",
        ),
        (r#"{"api":"a","denoiser":"d","sigma":-1,"idx":0,"n0":1,"n":9,"names":[],"votes":[]}"#, "sigma = -1"),
        (
            r#"{"api":"a","denoiser":"d","sigma":0.25,"idx":0,"n0":1,"n":2,"names":[],"votes":[]}"#,
            "2 votes can never certify",
        ),
    ] {
        let log = format!("{good}\n\n{good}\n{bad}\n{good}\n");
        let (rows, error) = rows(&cohen("top1"), log.as_bytes());
        assert_eq!(rows.len(), 2, "{bad}");
        let message = error.unwrap_err().to_string();
        assert!(message.contains("`log`, line 4") && message.contains(word), "{message}");
    }
}

#[test]
fn a_line_without_end_is_refused_before_it_fills_the_memory() {
    let (rows, error) = rows(&cohen("top1"), io::repeat(b'x'));
    assert!(rows.is_empty());
    assert!(
        matches!(error, Err(ReplayError::Line { line: 1, problem: Problem::TooLong(_), .. })),
        "{error:?}"
    );
}

#[test]
fn a_writer_that_fails_ends_the_replay() {
    let log = std::fs::read_to_string(SMALL).unwrap().repeat(500);
    let replay = cohen("top1");
    let error = replay.log("log", log.as_bytes(), |_| Err(io::ErrorKind::BrokenPipe.into())).unwrap_err();
    assert!(matches!(error, ReplayError::Write(_)));
}

/// Several labels of a clean answer, and what is certified of them by a table computed elsewhere: labels.py, beside it.
const LABELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/replay/labels.jsonl");

#[expect(clippy::unnecessary_wraps, reason = "what a design is asked for")]
fn table(design: Design) -> Result<Method, StatsError> {
    let n_max = design.n0 + design.n;
    Ok(Method::Table1(Ladder { radii: vec![0.1], n_max, futility: 0.0 }))
}

/// By record: the labels that are certified, with the votes that took.
fn certified(asked: &str) -> Vec<Vec<(String, usize)>> {
    let (rows, summary) = rows(&one(asked, table), File::open(LABELS).unwrap());
    let mut records: Vec<Vec<(String, usize)>> = Vec::new();
    for row in &rows {
        if row.draws.is_some() {
            records.push(Vec::new());
        }
        records.last_mut().unwrap().extend(row.label.clone().map(|label| (label, row.votes)));
    }
    let summary = summary.unwrap();
    assert_eq!((summary.records, summary.rows), (5, rows.len() as u64));
    let some = records.iter().filter(|labels| !labels.is_empty()).count();
    assert_eq!(summary.records_certified as usize, some);
    assert_eq!(summary.certified as usize, records.iter().flatten().count());
    records
}

fn labels(of: &[(&str, usize)]) -> Vec<(String, usize)> {
    of.iter().map(|&(label, votes)| (label.to_owned(), votes)).collect()
}

#[test]
fn contract_06_labels_of_the_clean_answer_share_alpha_evenly() {
    let expected = [
        labels(&[("Dog", 14), ("Animal", 14), ("Grass", 14)]),
        labels(&[("Animal", 14), ("Whiskers", 14)]),
        labels(&[("plant", 29), ("Tree", 29), ("Green", 29)]),
        labels(&[]),
        labels(&[("Car", 13)]),
    ];
    assert_eq!(certified("clean-labels"), expected);
    assert_eq!(certified("clean-labels/even/20"), expected);
}

#[test]
fn contract_06_labels_of_the_clean_answer_in_sequence_end_with_the_first_that_fails() {
    let expected = [
        labels(&[("Dog", 12), ("Animal", 12)]),
        labels(&[]),
        labels(&[("plant", 25), ("Tree", 25), ("Green", 25)]),
        labels(&[]),
        labels(&[("Car", 12)]),
    ];
    assert_eq!(certified("clean-labels/sequence"), expected);
}

#[test]
fn clean_labels_asks_about_so_many_and_from_a_score_on() {
    let asked = |question: &str| -> Vec<String> {
        let (rows, _) = rows(&one(question, table), File::open(LABELS).unwrap());
        rows.into_iter().filter(|row| row.idx < 2).map(|row| row.question).collect()
    };
    // One claim is named as it was asked, like that of `clean-top`.
    assert_eq!(asked("clean-labels/1"), ["clean-labels/1"; 2]);
    let scored = [
        "clean-labels/sequence/20:Dog>=0.8",
        "clean-labels/sequence/20:Animal>=0.8",
        "clean-labels/sequence/20:Cat>=0.8",
        "clean-labels/sequence/20:Animal>=0.8",
        "clean-labels/sequence/20:Whiskers>=0.8",
    ];
    assert_eq!(asked("clean-labels/sequence>=0.8"), scored);
    // One label alone has the whole level.
    assert_eq!(certified("clean-labels/1")[0], labels(&[("Dog", 12)]));
}

#[test]
fn several_questions_share_alpha_and_the_votes() {
    let asked = ["present:dog", "clean-labels/2", "top1"];
    let together = Replay::new(
        asked.iter().map(|asked| asked.parse().unwrap()).collect(),
        Alpha::new(0.15).unwrap(),
        table,
    )
    .unwrap();
    let (all, summary) = rows(&together, File::open(LABELS).unwrap());
    let mut alone: Vec<Row> = Vec::new();
    for asked in asked {
        alone.extend(rows(&one(asked, table), File::open(LABELS).unwrap()).0);
    }
    alone.sort_by_key(|row| row.idx);
    let strip = |row: &Row| Row { draws: None, ..row.clone() };
    assert_eq!(all.iter().map(strip).collect::<Vec<_>>(), alone.iter().map(strip).collect::<Vec<_>>());
    // A record takes as many draws as the question that takes most.
    let most = |rows: &[Row], idx: u64| rows.iter().filter(|row| row.idx == idx).map(|row| row.votes).max();
    let draws: usize = all.iter().filter_map(|row| row.draws).sum();
    assert_eq!(draws, (0..5).map(|idx| most(&alone, idx).unwrap()).sum::<usize>());
    assert_eq!(summary.unwrap().votes as usize, draws);
}

#[test]
fn no_question_and_one_asked_twice_are_refused() {
    for asked in [vec![], vec![Question::Top1, "present:a".parse().unwrap(), Question::Top1]] {
        assert!(matches!(Replay::new(asked, Alpha::FIELD, table), Err(Problem::Questions)));
    }
    let level = Replay::new(vec!["level:adult>=LIKELY".parse().unwrap()], Alpha::FIELD, table);
    assert!(matches!(level, Err(Problem::Levels(question)) if question == "level:adult>=LIKELY"));
}

/// Every logged result of the published experiment on two APIs (Salman et al. 2020), for whoever has the answers.
#[test]
fn every_logged_row_of_the_published_experiment_is_reproduced() {
    let root = std::env::var_os("SMOOTHGATE_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")), PathBuf::from);
    for (file, wanted) in [("azure.jsonl.gz", 1800), ("google.jsonl.gz", 1600)] {
        let path = root.join("votes").join(file);
        let Ok(log) = File::open(&path) else {
            eprintln!("SKIPPED: no {}; set SMOOTHGATE_SHARED to the folder that holds it", path.display());
            continue;
        };
        let method = |Design { n0, n, .. }| Ok(Method::Cohen { n0, n });
        let replay = Replay::new(vec![Question::Top1], Alpha::FIELD, method).unwrap();
        let (rows, summary) = rows(&replay.with_paper_rules().unwrap(), log);
        let summary = summary.unwrap();
        let different: Vec<_> =
            rows.iter().filter(|row| row.against_logged.as_ref().is_none_or(|d| !d.is_empty())).collect();
        assert!(different.is_empty(), "{file}: {} differ, first {:?}", different.len(), different[0]);
        assert_eq!((summary.rows, summary.compared), (wanted, wanted), "{file}");
    }
}

#[test]
fn a_clean_answer_without_a_label_is_told_from_none() {
    let record = |clean: &str| {
        let votes = ["[[0,0.9]]"; 13].join(",");
        let log = format!(
            "{{\"api\":\"a\",\"denoiser\":\"d\",\"sigma\":0.25,\"idx\":0,\"n0\":1,\"n\":12,\"names\":[\"x\"],{clean}\"votes\":[{votes}]}}"
        );
        let (rows, summary) = rows(&cohen("top1"), log.as_bytes());
        summary.unwrap();
        serde_json::to_string(&rows[0]).unwrap()
    };
    let measured = |row: &str| {
        let series = crate::report::parse("replay", row.as_bytes(), crate::report::Truth::Clean).unwrap();
        (series[0].measure(), series[0].count_at(0.1))
    };
    for missing in ["", "\"clean\":null,"] {
        let row = record(missing);
        assert!(!row.contains("clean"), "{row}");
        assert_eq!(measured(&row), (crate::report::Measure::Share, 1), "nothing to agree with");
    }
    for (clean, written, right) in [("\"clean\":[],", "null", 0), ("\"clean\":[[0,0.9]],", "\"x\"", 1)] {
        let row = record(clean);
        assert!(row.ends_with(&format!("\"clean\":{written}}}")), "{row}");
        assert_eq!(measured(&row), (crate::report::Measure::Agreement, right));
    }
}
