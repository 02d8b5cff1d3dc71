//! Tab-separated logs: ours, Cohen's and those of Salman et al.

use super::error::ReportError;
use super::read::Row;
use super::series::{Picture, Setting, Verdict};

/// Where the columns are.
struct Columns {
    all: usize,
    idx: Option<usize>,
    label: usize,
    predict: usize,
    radius: usize,
    correct: usize,
}

/// Reads the rows under a header that names at least `label`, `predict`, `radius` and `correct`.
///
/// `predict` -1 is an abstention. `label` -1 is a truth that is not known, as `certify` writes it without `--truth`.
pub(super) fn rows(file: &str, text: &str) -> Result<Vec<Row>, ReportError> {
    let mut lines =
        text.lines().enumerate().map(|(at, line)| (at + 1, line)).filter(|(_, l)| !l.trim().is_empty());
    let Some((at, header)) = lines.next() else { return Ok(Vec::new()) };
    let columns = columns(file, at, header)?;
    lines
        .map(|(line, text)| {
            let bad = |what: String| ReportError::Row { file: file.to_owned(), line, what };
            picture(&columns, text).map_err(bad).map(|picture| (Setting::default(), picture))
        })
        .collect()
}

fn columns(file: &str, line: usize, header: &str) -> Result<Columns, ReportError> {
    let names: Vec<&str> = header.split('\t').map(str::trim).collect();
    let at = |name: &str| names.iter().position(|&n| n == name);
    // `predict` and `correct` alone are a log of PREDICT, which claims no radius.
    if let (Some(_), Some(_), None) = (at("predict"), at("correct"), at("radius")) {
        let what = "the header has no column `radius`: a log of predictions holds no certificates".to_owned();
        return Err(ReportError::Row { file: file.to_owned(), line, what });
    }
    let unknown = || ReportError::UnknownFormat { file: file.to_owned(), line };
    Ok(Columns {
        all: names.len(),
        idx: at("idx"),
        label: at("label").ok_or_else(unknown)?,
        predict: at("predict").ok_or_else(unknown)?,
        radius: at("radius").ok_or_else(unknown)?,
        correct: at("correct").ok_or_else(unknown)?,
    })
}

fn picture(columns: &Columns, line: &str) -> Result<Picture, String> {
    let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
    if fields.len() != columns.all {
        return Err(format!(
            "{} fields where the header names {} (separated by tabs); was the log cut off?",
            fields.len(),
            columns.all
        ));
    }
    let radius: f64 = fields[columns.radius]
        .parse()
        .ok()
        .filter(|radius: &f64| *radius >= 0.0 && radius.is_finite())
        .ok_or_else(|| format!("radius `{}` is not a number of at least 0", fields[columns.radius]))?;
    let correct = match fields[columns.correct] {
        "1" | "True" | "true" => true,
        "0" | "False" | "false" => false,
        other => return Err(format!("correct `{other}` is neither 0 nor 1")),
    };
    let label = (fields[columns.predict] != "-1").then(|| fields[columns.predict].to_owned());
    if label.is_none() && (correct || radius > 0.0) {
        return Err("an abstention (predict -1) that is correct or has a radius".to_owned());
    }
    Ok(Picture {
        name: columns.idx.map(|at| fields[at].to_owned()).unwrap_or_default(),
        verdict: if label.is_some() { Verdict::Certified } else { Verdict::Abstained },
        label,
        radius,
        correct: (fields[columns.label] != "-1").then_some(correct),
        calls: None,
        votes: None,
        cast: None,
    })
}
