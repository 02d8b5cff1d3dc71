//! Folders and manifests.

use std::path::{Path, PathBuf};

use super::{DatasetError, Sample, Source};
use crate::picture::Format;

/// Deeper folders than this are not looked into.
const DEPTH: usize = 8;

/// A folder with a folder a class.
pub(super) fn folder(root: &Path) -> Result<Vec<Sample>, DatasetError> {
    let mut samples = Vec::new();
    walk(root, root, &mut Vec::with_capacity(DEPTH), &mut samples)?;
    Ok(samples)
}

/// `above` are the folders that are being looked into, as they are without links: a link that leads back to one of them, or to
/// one that holds it, would count its pictures again, under another class.
fn walk(
    root: &Path,
    folder: &Path,
    above: &mut Vec<PathBuf>,
    samples: &mut Vec<Sample>,
) -> Result<(), DatasetError> {
    let fail = |source| DatasetError::Read { path: folder.to_owned(), source };
    let own = folder.canonicalize().map_err(fail)?;
    if above.iter().any(|above| above.starts_with(&own)) {
        return Ok(());
    }
    above.push(own);
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_dir() && above.len() <= DEPTH {
            walk(root, &path, above, samples)?;
        } else if Format::is_named(&path)
            && let Ok(below) = path.strip_prefix(root)
            && let Some(class) = class(below)
        {
            samples.push(Sample::new(below.display().to_string(), class, Source::File(path.clone())));
        }
    }
    above.pop();
    Ok(())
}

/// The class of a path below the root: its first folder. Files beside the class folders have none.
pub(super) fn class(below: &Path) -> Option<String> {
    let mut parts = below.components();
    let first = parts.next()?.as_os_str().to_string_lossy().into_owned();
    parts.next().map(|_| first)
}

/// A CSV file with a header.
pub(super) fn manifest(path: &Path) -> Result<Vec<Sample>, DatasetError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| DatasetError::Read { path: path.to_owned(), source })?;
    let wrong = |line: usize, problem: String| DatasetError::Row { path: path.to_owned(), line, problem };
    // Spreadsheets begin a file with a byte-order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut rows = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let Some((at, header)) = rows.next() else { return Ok(Vec::new()) };
    let header = fields(header).map_err(|problem| wrong(at + 1, problem))?;
    let column = |names: [&str; 3]| {
        let found = header.iter().position(|field| names.contains(&field.to_ascii_lowercase().as_str()));
        found.ok_or_else(|| wrong(at + 1, format!("the header names no column `{}`", names[0])))
    };
    let (file, label) = (column(["path", "image", "file"])?, column(["label", "class", "truth"])?);
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let mut samples: Vec<Sample> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for (at, line) in rows {
        let row = fields(line).map_err(|problem| wrong(at + 1, problem))?;
        if row.len() != header.len() {
            let problem = format!("{} fields where the header names {}", row.len(), header.len());
            return Err(wrong(at + 1, problem));
        }
        let (name, truth) = (row[file].clone(), row[label].clone());
        if name.is_empty() || truth.is_empty() {
            return Err(wrong(at + 1, "an empty path or label".to_owned()));
        }
        if !seen.insert(name.clone()) {
            return Err(wrong(at + 1, format!("`{name}` is listed twice")));
        }
        let source = Source::File(folder.join(&name));
        samples.push(Sample::new(name, truth, source));
    }
    Ok(samples)
}

/// The fields of one CSV line (RFC 4180, without line breaks inside fields).
fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.trim_end_matches('\r').chars().peekable();
    while let Some(character) = characters.next() {
        let last = fields.len() - 1;
        match (character, quoted) {
            ('"', true) if characters.peek() == Some(&'"') => {
                fields[last].push('"');
                characters.next();
            }
            ('"', true) => quoted = false,
            ('"', false) if fields[last].is_empty() => quoted = true,
            (',', false) => fields.push(String::new()),
            (other, _) => fields[last].push(other),
        }
    }
    if quoted {
        return Err("a quotation mark is not closed".to_owned());
    }
    Ok(fields.into_iter().map(|field| field.trim().to_owned()).collect())
}
