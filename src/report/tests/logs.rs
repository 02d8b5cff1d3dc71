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
