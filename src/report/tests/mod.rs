//! Small logs with known numbers, bad logs, and labels that try to be markup.

#![expect(
    clippy::float_cmp,
    reason = "counts over counts, and the same function called twice, are equal to the last bit"
)]

mod drawings;
mod logs;
mod walk;

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use smoothgate_providers::Money;

use super::Cast::{Failed, For, NoLabel, Other};
use super::*;
use crate::stats::{cp_lower, cp_upper};
use crate::tables::TableCache;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/report").join(name)
}

fn parse(name: &str, bytes: &[u8]) -> Result<Vec<Series>, ReportError> {
    super::parse(name, bytes, Truth::Known)
}

fn one(name: &str) -> Series {
    let mut series = read(&data(name), Truth::Known).unwrap();
    assert_eq!(series.len(), 1);
    series.remove(0)
}

fn error(text: &str) -> String {
    parse("log", text.as_bytes()).unwrap_err().to_string()
}

const HEAD: &str = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n";

fn page(series: &[Series], title: &str) -> String {
    let price = Some("0.0015".parse::<Money>().unwrap());
    Page { title, series, radii: &[0.0, 0.25], price, tables: TableCache::none() }.html().unwrap()
}

/// The elements of a page or a drawing, which must be well-formed XML.
fn elements(markup: &str) -> Vec<(String, String)> {
    let body = markup.trim_start_matches("<!DOCTYPE html>\n");
    let document = roxmltree::Document::parse(body).unwrap();
    let element = |node: roxmltree::Node<'_, '_>| {
        (node.tag_name().name().to_owned(), node.text().unwrap_or_default().to_owned())
    };
    document.descendants().filter(roxmltree::Node::is_element).map(element).collect()
}

#[test]
fn certified_accuracy_counts_as_the_field_counts() {
    let series = one("cohen.tsv");
    assert_eq!((series.name().as_str(), series.measure()), ("cohen", Measure::Accuracy));
    // Right with radii 0.5, 0.25, 0.1; one wrong with 0.7; one abstention.
    let figures = Figures::of(&series, &[0.0, 0.1, 0.100_001, 0.25, 0.5, 0.6]);
    let counts: Vec<usize> = figures.at.iter().map(|(_, share)| share.count).collect();
    assert_eq!(counts, [3, 3, 2, 2, 1, 0]);
    assert_eq!(figures.at[0].1.value, 0.6);
    assert!((figures.average_radius - 0.85 / 5.0).abs() < 1e-15);
    assert_eq!((figures.abstained.count, figures.failed), (1, 0));
    assert_eq!(figures.usage, None);
}

#[test]
fn intervals_are_clopper_pearson() {
    let share = Share::new(3, 5);
    assert_eq!(share.lower, cp_lower(3, 5, 0.025).unwrap());
    assert_eq!(share.upper, cp_upper(3, 5, 0.025).unwrap());
    // from scipy.stats import beta; beta.ppf(.025, 3, 3), beta.ppf(.975, 4, 2)   (scipy 1.17.1)
    assert!((share.lower - 0.146_632_799_634_673_13).abs() < 1e-9, "{share:?}");
    assert!((share.upper - 0.947_255_049_473_683_1).abs() < 1e-9, "{share:?}");
    // beta.ppf(.975, 1, 5)
    let none = Share::new(0, 5);
    assert!(none.lower == 0.0 && (none.upper - 0.521_823_750_104_981_4).abs() < 1e-9, "{none:?}");
    assert_eq!((Share::new(0, 0).lower, Share::new(0, 0).upper), (0.0, 1.0));
}

#[test]
fn other_programs_write_booleans() {
    let series = one("paper.tsv");
    assert_eq!(series.measure(), Measure::Accuracy);
    assert_eq!(series.counted_radii(), [0.337]);
    assert_eq!(series.pictures()[0].verdict, Verdict::Abstained);
}

#[test]
fn without_the_truth_it_is_a_share_and_no_accuracy() {
    for log in ["unknown_truth.tsv", "rows.jsonl", "certificates"] {
        let series = one(log);
        assert_eq!(series.measure(), Measure::Share, "{log}");
        let html = page(&[series], "t");
        assert!(html.contains("Certified share at r") && !html.contains("Certified accuracy"), "{log}");
    }
    assert!(page(&[one("cohen.tsv")], "t").contains("Certified accuracy at r"));
}

#[test]
fn rows_that_failed_are_not_certified_and_their_calls_are_not_known() {
    let series = one("rows.jsonl");
    let figures = Figures::of(&series, &[0.2, 0.3]);
    assert_eq!(figures.at.iter().map(|(_, s)| (s.count, s.of)).collect::<Vec<_>>(), [(2, 4), (1, 4)]);
    assert_eq!((figures.abstained.count, figures.failed), (1, 1));
    assert!((figures.average_radius - 0.575 / 4.0).abs() < 1e-15);
    let usage = figures.usage.unwrap();
    assert_eq!((usage.unit, usage.total, usage.each.as_slice()), ("calls", 301, [60, 120, 121].as_slice()));
    assert_eq!(usage.median(), 120.0);
    // 301 calls at $0.0015.
    assert!(page(&[series], "t").contains("$0.4515"));
}

#[test]
fn rows_of_several_settings_are_several_series() {
    let row = |denoiser: &str, idx: u32| {
        format!(
            "{{\"api\":\"azure\",\"denoiser\":\"{denoiser}\",\"sigma\":0.25,\"idx\":{idx},\"outcome\":\"certified\",\
             \"label\":\"x\",\"radius\":0.1,\"votes\":20,\"question\":\"top1\",\"test\":\"table\"}}\n"
        )
    };
    let log = row("mse", 0) + &row("none", 0) + &row("mse", 1);
    let series = parse("replay", log.as_bytes()).unwrap();
    let names: Vec<_> = series.iter().map(|one| (one.name(), one.pictures().len())).collect();
    assert_eq!(names, [("replay: mse".to_owned(), 2), ("replay: none".to_owned(), 1)]);
    assert_eq!(Figures::of(&series[0], &[]).usage.unwrap().unit, "votes");
}

#[test]
fn a_truth_in_a_row_is_compared_as_labels_are() {
    let row = r#"{"image":"a","outcome":"certified","label":"Dog","truth":"dog","radius":0.1}"#;
    let series = parse("log", row.as_bytes()).unwrap();
    assert_eq!((series[0].measure(), series[0].count_at(0.1)), (Measure::Accuracy, 1));
}

#[test]
fn votes_are_seen_from_the_label() {
    let series = one("certificates");
    let picture = &series.pictures()[0];
    assert_eq!((picture.name.as_str(), picture.calls, picture.votes), ("0000-hostile", None, Some(10)));
    let votes = picture.cast.as_ref().unwrap();
    assert_eq!(votes.selection, 2);
    assert_eq!(votes.cast, [For, For, For, Other, For, For, NoLabel, Failed, For, For]);
    assert_eq!(strip::words(votes), "7 of 10 votes, 1 for others, 1 for no label, 1 failed");
}

#[test]
fn bad_logs_are_refused_with_their_line() {
    assert!(error("").contains("holds no rows"));
    assert!(error(" \n\n").contains("holds no rows"));
    assert!(error(HEAD).contains("holds no rows"));
    assert!(error("name,radius\n").contains("`log`, line 1: not a log"));
    let row = |radius: &str, predict: &str, correct: &str| {
        format!("{HEAD}0\t1\t{predict}\t{radius}\t{correct}\t0\n")
    };
    for radius in ["nan", "NaN", "inf", "-0.1", "", "x", "1e999"] {
        let message = error(&row(radius, "1", "1"));
        assert!(message.contains(&format!("line 2: radius `{radius}` is not a number")), "{message}");
    }
    assert!(error(&row("0.1", "1", "2")).contains("line 2: correct `2`"));
    assert!(error(&row("0.1", "-1", "0")).contains("line 2: an abstention"));
    assert!(error(&format!("{HEAD}0\t1\t1\n")).contains("line 2: 3 fields where the header names 6"));
    assert!(error("idx\tlabel\tpredict\tcorrect\ttime\n0\t1\t1\t1\t0\n").contains("no column `radius`"));
    // Claims of one picture, which nothing tells apart.
    let claims = error(&format!("{HEAD}0\t1\t1\t0.2\t1\t0\n1\t1\t1\t0.2\t1\t0\n1\t1\t2\t0.1\t0\t0\n"));
    assert!(claims.contains("line 4") && claims.contains("jsonl"), "{claims}");
    let message = read(&data("nan.tsv"), Truth::Known).unwrap_err().to_string();
    assert!(message.contains("nan.tsv`, line 3: radius `nan`"), "{message}");

    let good = r#"{"outcome":"abstained"}"#;
    assert!(
        error(&format!("{good}\n\n{{\"outcome\":\"cert"))
            .contains("line 3: the JSON object that starts here is cut")
    );
    assert!(
        error(&format!("{good}\n{{\"outcome\":\"certified\",\"radius\":NaN}}")).contains("line 2: not JSON")
    );
    assert!(error(&format!("{good}\n{{\"outcome\":\"perhaps\"}}")).contains("line 2: not a row"));
    assert!(error(r#"{"outcome":"certified","label":"x"}"#).contains("without a radius"));
    assert!(error(r#"{"outcome":"certified","radius":0.1}"#).contains("without a label"));
    assert!(error(r#"{"outcome":"abstained","radius":0.1}"#).contains("with a radius"));
    assert!(error(r#"{"outcome":"certified","label":"x","radius":-1}"#).contains("radius -1"));
    let document = std::fs::read_to_string(data("certificates/0000-hostile.json")).unwrap();
    assert!(error(&document.replace("[1, 1,", "[9, 1,")).contains("vote 0 is for label 9"));
    assert!(error(&document.replace("certificate 2", "certificate 99")).contains("certificate 99"));
    let bytes = [HEAD.as_bytes(), b"\xff"].concat();
    assert!(parse("log", &bytes).unwrap_err().to_string().contains("line 2: not UTF-8"));
    let folder = tempfile::tempdir().unwrap();
    assert!(read(folder.path(), Truth::Known).unwrap_err().to_string().contains("holds no rows"));
    assert!(matches!(read(&folder.path().join("none"), Truth::Known), Err(ReportError::Read { .. })));
}

#[test]
fn one_row_and_no_certificate_are_drawn() {
    let one_row = parse("one", format!("{HEAD}0\t1\t1\t0.5\t1\t0\n").as_bytes()).unwrap();
    let none = parse("none", format!("{HEAD}0\t1\t-1\t0.0\t0\t0\n").as_bytes()).unwrap();
    assert_eq!(default_radii(&none), [0.0]);
    assert_eq!(default_radii(&one_row), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]);
    for series in [one_row, none] {
        let svg = curve(&series, "t").unwrap();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        elements(&svg);
        elements(&page(&series, "t"));
    }
}

#[test]
fn the_line_falls_at_each_radius_to_the_share_beyond_it() {
    let svg = curve(&[one("cohen.tsv")], "t").unwrap();
    let document = roxmltree::Document::parse(&svg).unwrap();
    let line = document.descendants().find(|node| node.attribute("class") == Some("line s0 d0")).unwrap();
    let path = line.attribute("d").unwrap();
    // Plot: y = 430 - 396 share, so shares 0.6, 0.4, 0.2 and 0 are at these heights, in this order.
    let heights: Vec<&str> = path.split('V').skip(1).map(|part| part.split('H').next().unwrap()).collect();
    assert!(path.starts_with("M50 192.4H"), "{path}");
    assert_eq!(heights, ["271.6", "350.8", "430"]);
    // Radii 0.1, 0.25, 0.5 on one scale from 50.
    let at: Vec<f64> =
        path.split('H').skip(1).map(|part| part.split('V').next().unwrap().parse().unwrap()).collect();
    assert!(
        ((at[1] - 50.0) / (at[0] - 50.0) - 2.5).abs() < 1e-3
            && ((at[2] - 50.0) / (at[0] - 50.0) - 5.0).abs() < 1e-3
    );
}

#[test]
fn labels_cannot_become_markup() {
    let series = [one("certificates"), one("rows.jsonl")];
    let hostile = "</title><script>alert(1)</script>\u{0} \" ' & \u{202e} 🐟";
    let html = page(&series, hostile);
    assert!(!html.contains("<script") && !html.contains('\u{202e}'));
    let found = elements(&html);
    assert!(found.iter().all(|(tag, _)| tag != "script"));
    let shown = |text: &str| found.iter().any(|(_, inside)| inside == text);
    assert!(shown("<script>alert(\"x\")</script> 🐟 \u{fffd}evil"));
    assert!(shown("</title><script>alert(1)</script>\u{fffd} \" ' & \u{fffd} 🐟"));
    elements(&curve(&series, hostile).unwrap());
}

#[test]
fn long_names_are_cut_in_the_drawing_and_whole_in_the_table() {
    let long = "a very long name 🐟 ".repeat(50);
    let series = one("cohen.tsv").named(long.clone());
    let svg = curve(std::slice::from_ref(&series), "t").unwrap();
    let label = elements(&svg).into_iter().find(|(_, text)| text.ends_with('…')).unwrap().1;
    assert!(label.chars().count() < 60, "{label}");
    assert!(elements(&page(&[series], "t")).contains(&("bdi".to_owned(), long)));
}

#[test]
fn a_page_loads_nothing_and_runs_nothing() {
    let html = page(&[one("cohen.tsv"), one("rows.jsonl"), one("certificates")], "t");
    for outside in ["http://", "https://", "url(", "src=", "href=", "@import", "<script", "onload"] {
        assert!(!html.contains(outside), "{outside}");
    }
    // In HTML an element that is closed in its tag stays open unless it is void.
    let found = html.split("/>").map(|part| part.rsplit('<').next().unwrap().split(' ').next().unwrap());
    let closed: Vec<&str> = found.collect();
    let void = ["meta", "line", "path", "rect", "img"];
    assert!(closed[..closed.len() - 1].iter().all(|tag| void.contains(tag)), "{closed:?}");
}

#[test]
fn too_many_series_are_refused() {
    let many = vec![one("cohen.tsv"); MAX_SERIES + 1];
    assert!(matches!(curve(&many, "t"), Err(ReportError::TooManySeries { given: 19, most: 18 })));
    elements(&curve(&many[..MAX_SERIES], "t").unwrap());
}

#[test]
fn bins_cover_all_counts_in_round_steps() {
    let bins = histogram::Bins::of(&[60, 119, 120, 1000], 60, 1000);
    assert_eq!((bins.start, bins.step), (50, 50));
    assert_eq!(bins.pictures.iter().sum::<usize>(), 4);
    assert_eq!(histogram::Bins::of(&[7], 7, 7).pictures, [1]);
    assert_eq!(histogram::Bins::of(&[0, u64::MAX], 0, u64::MAX).pictures.iter().sum::<usize>(), 2);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse("log", &bytes);
    }

    #[test]
    fn any_label_survives_the_page(label in "\\PC*", name in ".*") {
        let row = serde_json::json!({"outcome": "certified", "label": label, "radius": 0.5, "image": name});
        let series = parse(&name, row.to_string().as_bytes()).unwrap();
        elements(&page(&series, &label));
        elements(&curve(&series, &label).unwrap());
    }

    #[test]
    fn the_share_falls_with_the_radius(radii in proptest::collection::vec(0.0f64..3.0, 1..60)) {
        let row = |(idx, radius): (usize, &f64)| format!("{idx}\t1\t1\t{radius}\t1\t0\n");
        let rows: Vec<String> = radii.iter().enumerate().map(row).collect();
        let rows = rows.concat();
        let series = parse("log", format!("{HEAD}{rows}").as_bytes()).unwrap().remove(0);
        let asked: Vec<f64> = (0..31).map(|i| f64::from(i) / 10.0).collect();
        let figures = Figures::of(&series, &asked);
        for ((radius, share), after) in figures.at.iter().zip(figures.at.iter().skip(1)) {
            prop_assert!(share.count >= after.1.count);
            prop_assert_eq!(share.count, radii.iter().filter(|r| *r >= radius).count());
        }
    }
}
