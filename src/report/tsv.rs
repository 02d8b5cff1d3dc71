//! Tab-separated logs: ours, Cohen's and those of Salman et al.

use super::error::ReportError;
use super::json::Line;
use super::read::{Row, Truth};
use super::series::{Picture, Setting, Verdict};

/// The columns of the log of Salman et al. 2020 on vision APIs, which has no header when it was written call by call.
const VISION_API: [&str; 5] = ["idx", "correct", "radius", "label", "predict"];

/// Where the columns are.
struct Columns {
    all: usize,
    idx: Option<usize>,
    label: usize,
    predict: usize,
    radius: usize,
    correct: usize,
}

/// Reads the rows under a header that names at least `label`, `predict`, `radius` and `correct`; the rows of `replay
/// --format tsv`; or, without a header, those of the published experiment on vision APIs.
///
/// `predict` -1 is an abstention. `label` -1 is a truth that is not known, as `certify` writes it without `--truth`.
pub(super) fn rows(file: &str, text: &str, truth: Truth) -> Result<Vec<Row>, ReportError> {
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line))
        .filter(|(_, l)| !l.trim().is_empty())
        .peekable();
    let Some(&(at, first)) = lines.peek() else { return Ok(Vec::new()) };
    let names: Vec<&str> = first.split('\t').map(str::trim).collect();
    let bad = |line: usize, what: String| ReportError::Row { file: file.to_owned(), line, what };
    if names.contains(&"outcome") {
        lines.next();
        let row = |(line, text): (usize, &str)| replayed(&names, text, truth).map_err(|what| bad(line, what));
        return lines.map(row).collect();
    }
    let headless = names.len() == VISION_API.len()
        && names[0].parse::<u64>().is_ok()
        && names[2].parse::<f64>().is_ok()
        && boolean(names[1]).is_ok();
    let columns = if headless {
        columns(file, at, &VISION_API)?
    } else {
        lines.next();
        columns(file, at, &names)?
    };
    // The published experiment took the API's answer about the clean picture for the truth.
    let by_clean_answer = headless || names == VISION_API;
    let mut before = String::new();
    lines
        .map(|(line, text)| {
            let picture = picture(&columns, text).map_err(|what| bad(line, what))?;
            if !picture.name.is_empty() && picture.name == before {
                let what = format!(
                    "picture {before} has a line before this one: a log of several claims or questions does not say which line is of \
                     which; write it with `--format jsonl`"
                );
                return Err(bad(line, what));
            }
            before.clone_from(&picture.name);
            Ok(Row { setting: Setting::default(), picture, by_clean_answer, identity: None })
        })
        .collect()
}

fn columns(file: &str, line: usize, names: &[&str]) -> Result<Columns, ReportError> {
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

fn fields(line: &str, all: usize) -> Result<Vec<&str>, String> {
    let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
    if fields.len() == all {
        return Ok(fields);
    }
    let given = fields.len();
    Err(format!("{given} fields where the header names {all} (separated by tabs); was the log cut off?"))
}

fn boolean(field: &str) -> Result<bool, String> {
    match field {
        "1" | "True" | "true" => Ok(true),
        "0" | "False" | "false" => Ok(false),
        other => Err(format!("correct `{other}` is neither 0 nor 1")),
    }
}

fn picture(columns: &Columns, line: &str) -> Result<Picture, String> {
    let fields = fields(line, columns.all)?;
    let radius: f64 = fields[columns.radius]
        .parse()
        .ok()
        .filter(|radius: &f64| *radius >= 0.0 && radius.is_finite())
        .ok_or_else(|| format!("radius `{}` is not a number of at least 0", fields[columns.radius]))?;
    let correct = boolean(fields[columns.correct])?;
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
        ..Picture::default()
    })
}

/// A row of `replay --format tsv`: the fields of its JSON lines under their names.
fn replayed(names: &[&str], line: &str, truth: Truth) -> Result<Row, String> {
    let fields = fields(line, names.len())?;
    let value = |(&name, &field): (&&str, &&str)| {
        let value = match (name, field) {
            (_, "") => serde_json::Value::Null,
            ("sigma" | "radius" | "idx" | "votes", _) => serde_json::from_str::<serde_json::Number>(field)
                .map_err(|_| format!("{name} `{field}` is not a number"))?
                .into(),
            _ => field.into(),
        };
        Ok::<_, String>((name.to_owned(), value))
    };
    let row: serde_json::Map<_, _> = names.iter().zip(&fields).map(value).collect::<Result<_, _>>()?;
    let row: Line =
        serde_json::from_value(row.into()).map_err(|error| format!("not a row of `replay`: {error}"))?;
    row.row(truth)
}
