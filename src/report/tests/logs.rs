//! The formats that logs come in.

use std::io::Write as _;

use super::{data, error, parse};
use crate::report::{Field, Measure, ReportError, Truth, Verdict, read};

const ANSWERS: &str = concat!(
    r#"{"api":"azure","denoiser":"mse","sigma":0.25,"idx":7,"n0":20,"n":100,"names":["dog","cat"],"clean":[[0,0.9]],"#,
    r#""votes":[[[0,0.8]],[],null],"logged":{"correct":true,"radius":"0.123","label":"dog","predict":"dog"}}"#
);

fn replayed(clean: &str) -> String {
    let row = |idx: u32, outcome: &str, label: &str, radius: f64, clean: &str| {
        format!(
            "{{\"api\":\"azure\",\"denoiser\":\"mse\",\"sigma\":0.25,\"idx\":{idx},\"outcome\":\"{outcome}\",\
             \"label\":{label},\"radius\":{radius},\"votes\":46,\"question\":\"top1\",\"test\":\"table\",\"clean\":{clean}}}\n"
        )
    };
    row(0, "certified", "\"Dog\"", 0.25, clean) + &row(1, "abstained", "null", 0.0, "\"cat\"")
}

#[test]
fn answers_give_the_result_that_they_hold() {
    let abstained = ANSWERS.replace("\"predict\":\"dog\"", "\"predict\":\"-1\"");
    let abstained = abstained.replace("true", "false").replace("0.123", "0.000");
    let log = format!("{ANSWERS}\n{abstained}\n");
    let series = parse("azure", log.as_bytes()).unwrap();
    let [one] = &series[..] else { panic!("{series:?}") };
    assert_eq!((one.measure(), one.counted_radii()), (Measure::Agreement, &[0.123][..]));
    assert_eq!(one.setting().get(Field::Test), Some("20+100 votes, as logged"));
    assert_eq!(one.pictures()[1].verdict, Verdict::Abstained);
    // Other numbers of votes are another series.
    let more = ANSWERS.replace("\"n\":100", "\"n\":1000");
    assert_eq!(parse("azure", format!("{ANSWERS}\n{more}").as_bytes()).unwrap().len(), 2);
    // Answers alone are for `replay`.
    let bare = ANSWERS.replace(
        ",\"logged\":{\"correct\":true,\"radius\":\"0.123\",\"label\":\"dog\",\"predict\":\"dog\"}",
        "",
    );
    assert!(matches!(parse("log", bare.as_bytes()), Err(ReportError::Answers { line: 1, .. })), "{bare}");
    assert!(error(&ANSWERS.replace("\"0.123\"", "\"far\"")).contains("line 1: radius `far` is not a number"));
    assert!(error(&ANSWERS.replace("\"0.123\"", "\"NaN\"")).contains("line 1: radius NaN"));
    assert!(error(&ANSWERS.replace("\"sigma\":0.25", "\"sigma\":\"x\"")).contains("not a record of answers"));
}

#[test]
fn a_replay_is_a_share_unless_its_clean_answers_are_the_truth() {
    // A clean answer without a label agrees with nothing.
    for clean in ["\"dog\"", "\"wolf\"", "null"] {
        let log = replayed(clean);
        let known = parse("replay", log.as_bytes()).unwrap();
        assert_eq!((known[0].measure(), known[0].count_at(0.25)), (Measure::Share, 1));
        let by_clean = crate::report::parse("replay", log.as_bytes(), Truth::Clean).unwrap();
        let right = usize::from(clean == "\"dog\"");
        assert_eq!((by_clean[0].measure(), by_clean[0].count_at(0.25)), (Measure::Agreement, right));
    }
    // A truth of its own goes before the clean answer.
    let log = replayed("\"dog\"").replace("\"votes\":46", "\"votes\":46,\"truth\":\"wolf\"");
    let both = crate::report::parse("replay", log.as_bytes(), Truth::Clean).unwrap();
    assert_eq!((both[0].measure(), both[0].count_at(0.25)), (Measure::Accuracy, 0));
}

#[test]
fn a_replay_is_the_same_as_tabs_and_as_json() {
    let tabs = "api\tdenoiser\tsigma\tidx\toutcome\tlabel\tradius\tvotes\tquestion\ttest\tclean\n\
                azure\tmse\t0.25\t0\tcertified\tDog\t0.250000\t46\ttop1\ttable\tdog\n\
                azure\tmse\t0.25\t1\tabstained\t\t0.000000\t46\ttop1\ttable\tcat\n";
    let read = |log: &str| crate::report::parse("log", log.as_bytes(), Truth::Clean).unwrap().remove(0);
    let (tabs, json) = (read(tabs), read(&replayed("\"dog\"")));
    assert_eq!((tabs.pictures(), tabs.setting()), (json.pictures(), json.setting()));
    let bad = |row: &str| error(&format!("idx\toutcome\tlabel\tradius\n{row}\n"));
    assert!(bad("0\tcertified\tx").contains("line 2: 3 fields where the header names 4"));
    assert!(bad("0\tcertified\tx\tfar").contains("line 2: radius `far` is not a number"));
    assert!(bad("0\tperhaps\tx\t0.1").contains("line 2: not a row of `replay`"));
    assert!(bad("0\tcertified\t\t0.1").contains("line 2: `certified` without a label"));
}

#[test]
fn the_log_of_the_published_experiment_has_no_header() {
    let log = "0\tFalse\t0.000\twindow\t-1\n1\tTrue\t0.337\ttree\ttree\n";
    for log in [log.to_owned(), format!("idx\tcorrect\tradius\tlabel\tpredict\n{log}")] {
        let series = parse("log", log.as_bytes()).unwrap();
        assert_eq!((series[0].measure(), series[0].counted_radii()), (Measure::Agreement, &[0.337][..]));
        assert_eq!(series[0].pictures().len(), 2);
    }
    assert!(error(&log.replace("0.337", "nan")).contains("line 2: radius `nan`"));
    // Five other columns are no such log.
    assert!(error("a\tb\tc\td\te\n").contains("not a log that is known here"));
}

#[test]
fn logs_may_be_compressed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("paper.jsonl.gz");
    let pack = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    std::fs::write(&file, pack(ANSWERS.as_bytes())).unwrap();
    let series = read(&file, Truth::Known).unwrap();
    assert_eq!((series[0].name().as_str(), series[0].count_at(0.1)), ("paper", 1));
    // Cut off in the middle, it is unreadable and no shorter log.
    let whole = pack(&std::fs::read(data("rows.jsonl")).unwrap());
    std::fs::write(&file, &whole[..whole.len() - 9]).unwrap();
    assert!(matches!(read(&file, Truth::Known), Err(ReportError::Read { .. })));
}

/// A row of `certify --format jsonl`.
fn row(image: &str, seed: &str, more: &str) -> String {
    format!(
        "{{\"image\":\"{image}\",\"outcome\":\"certified\",\"label\":\"hot_dog\",\"radius\":0.25,\"sigma\":0.25,\"question\":\"top1\",\
         \"test\":\"cohen\",\"votes\":9,\"calls\":9,\"seed\":\"{seed}\",\"picture_hash\":\"00\"{more}}}\n"
    )
}

#[test]
fn a_run_that_was_printed_twice_counts_each_picture_once() {
    let failed = |image: &str| {
        row(image, "", "")
            .replace("certified", "failed")
            .replace("\"hot_dog\"", "null")
            .replace("0.25,\"sigma\"", "null,\"sigma\"")
            .replace("\"seed\":\"\",\"picture_hash\":\"00\"", "\"seed\":null,\"picture_hash\":null")
    };
    // The budget ended before b; the run went on, and printed its rows from the first.
    let (a, b) = (row("a", "1", ""), row("b", "2", ""));
    let log = a.clone() + &failed("b") + &a + &b;
    let series = parse("rows", log.as_bytes()).unwrap();
    let [one] = &series[..] else { panic!("{series:?}") };
    let names: Vec<&str> = one.pictures().iter().map(|picture| picture.name.as_str()).collect();
    assert_eq!((names, one.repeated(), one.count_at(0.25)), (vec!["a", "b"], 2, 2));
    // Other noise is another certificate, and the last word on a picture may be that it failed.
    let log = a.clone() + &row("a", "3", "") + &failed("b") + &failed("c");
    let series = parse("rows", log.as_bytes()).unwrap();
    assert_eq!((series[0].pictures().len(), series[0].repeated()), (4, 0));
}

#[test]
fn a_certificate_in_two_files_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let document = std::fs::read_to_string(data("certificates").join("0000-hostile.json")).unwrap();
    let sealed = |digest: &str| {
        let digest = format!("{{ \"digest\": {{ \"document\": \"{digest}\" }},");
        document.replacen('{', &digest, 1)
    };
    // Two selections of a set, which older versions numbered by themselves.
    for (name, digest) in [("0037-x", "ab"), ("0071-x", "ab"), ("0072-y", "cd")] {
        std::fs::write(folder.path().join(name).with_extension("json"), sealed(digest)).unwrap();
    }
    let series = read(folder.path(), Truth::Known).unwrap();
    let names: Vec<&str> = series[0].pictures().iter().map(|picture| picture.name.as_str()).collect();
    assert_eq!((names, series[0].repeated()), (vec!["0071-x", "0072-y"], 1));
}

#[test]
fn a_label_is_right_as_it_is_written_in_folders_too() {
    for (more, right) in [
        (",\"truth\":\"hot dog\"", 1),
        (",\"truth\":\"Hot_Dog\"", 1),
        (",\"truth\":\"hotdog\"", 0),
        // Who knew the class said more than its name does.
        (",\"truth\":\"hot dog\",\"correct\":false", 0),
        (",\"truth\":\"sausage\",\"correct\":true", 1),
        (",\"truth\":\"hot dog\",\"correct\":null", 1),
    ] {
        let series = parse("rows", row("a", "1", more).as_bytes()).unwrap();
        assert_eq!((series[0].measure(), series[0].count_at(0.25)), (Measure::Accuracy, right), "{more}");
    }
}
