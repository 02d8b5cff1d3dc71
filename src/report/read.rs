//! From files to series.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::ReportError;
use super::series::{Picture, Series, Setting};
use super::{json, tsv};

/// A picture with the setting under which it was certified.
pub(super) type Row = (Setting, Picture);

/// Reads a log: a file of rows, a certificate document, or a folder of certificate documents (`*.json`, not recursive,
/// in the order of their names). The format is recognised by content.
///
/// A log is one series, named after the file; if its rows come from different settings, it is one series a setting.
///
/// # Errors
/// [`ReportError`], naming file and line.
pub fn read(path: &Path) -> Result<Vec<Series>, ReportError> {
    let name =
        path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
    let failed = |path: &Path, source| ReportError::Read { file: path.display().to_string(), source };
    if !path.is_dir() {
        let rows = rows(&path.display().to_string(), &fs::read(path).map_err(|e| failed(path, e))?)?;
        return grouped(stem(&name), named(stem(&name), rows).collect());
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut files: Vec<PathBuf> =
        entries.map_err(|e| failed(path, e))?.iter().map(fs::DirEntry::path).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let shown = file.display().to_string();
        let documents = rows(&shown, &fs::read(&file).map_err(|e| failed(&file, e))?)?;
        all.extend(named(&file.file_stem().unwrap_or_default().to_string_lossy(), documents));
    }
    if all.is_empty() {
        return Err(ReportError::Empty { file: path.display().to_string() });
    }
    grouped(&name, all)
}

/// Reads the bytes of a log that is not a file; `name` is what errors and the series are called by.
///
/// # Errors
/// [`ReportError`], naming `name` and the line.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Vec<Series>, ReportError> {
    grouped(name, rows(name, bytes)?)
}

/// The file's name without an ending that says no more than its format.
fn stem(name: &str) -> &str {
    let known = [".jsonl", ".json", ".tsv", ".txt", ".log"];
    known.iter().find_map(|ending| name.strip_suffix(ending)).filter(|stem| !stem.is_empty()).unwrap_or(name)
}

/// Names after their file the pictures that have no name: a document does not hold its picture's.
fn named(file: &str, rows: Vec<Row>) -> impl Iterator<Item = Row> {
    rows.into_iter().map(move |(setting, picture)| {
        let name = if picture.name.is_empty() { file.to_owned() } else { picture.name };
        (setting, Picture { name, ..picture })
    })
}

/// The rows of one file, at least one.
fn rows(file: &str, bytes: &[u8]) -> Result<Vec<Row>, ReportError> {
    let text = std::str::from_utf8(bytes).map_err(|error| ReportError::NotText {
        file: file.to_owned(),
        line: line_at(bytes, error.valid_up_to()),
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let rows = match text.trim_start().chars().next() {
        None => Vec::new(),
        Some('{') => json::rows(file, text)?,
        Some(_) => tsv::rows(file, text)?,
    };
    if rows.is_empty() { Err(ReportError::Empty { file: file.to_owned() }) } else { Ok(rows) }
}

/// The line, from 1, of the byte at `offset`.
pub(super) fn line_at(bytes: &[u8], offset: usize) -> usize {
    1 + bytes.iter().take(offset).filter(|&&byte| byte == b'\n').count()
}

/// One series a setting, in order of first appearance.
fn grouped(name: &str, rows: Vec<Row>) -> Result<Vec<Series>, ReportError> {
    let mut groups: Vec<(Setting, Vec<Picture>)> = Vec::new();
    for (setting, picture) in rows {
        match groups.iter_mut().find(|(known, _)| *known == setting) {
            Some((_, pictures)) => pictures.push(picture),
            None => groups.push((setting, vec![picture])),
        }
    }
    let names: Vec<String> = if groups.len() == 1 {
        vec![name.to_owned()]
    } else {
        let first = groups.first().map(|(setting, _)| setting.clone()).unwrap_or_default();
        let differs: Vec<bool> = (0..first.fields().len())
            .map(|i| groups.iter().any(|(setting, _)| setting.fields()[i] != first.fields()[i]))
            .collect();
        groups.iter().map(|(setting, _)| split_name(name, setting, &differs)).collect()
    };
    groups
        .into_iter()
        .zip(names)
        .map(|((setting, pictures), name)| Series::new(name, setting, pictures))
        .collect()
}

/// The log's name and what sets this group apart from its others.
fn split_name(log: &str, setting: &Setting, differs: &[bool]) -> String {
    let parts = setting.fields().into_iter().zip(differs).filter(|&(_, &differs)| differs).map(
        |((field, value), _)| match field {
            "sigma" | "alpha" => format!("{field} {}", value.unwrap_or("unknown")),
            _ => value.map_or_else(|| format!("{field} unknown"), str::to_owned),
        },
    );
    format!("{log}: {}", parts.collect::<Vec<_>>().join(", "))
}
