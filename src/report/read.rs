//! From files to series.

use std::collections::HashSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::error::ReportError;
use super::series::{Field, Picture, Series, Setting};
use super::{json, tsv};

/// How every gzip stream begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The longest log, unpacked.
const MOST: u64 = 4 << 30;

/// A picture with the setting under which it was certified.
pub(super) struct Row {
    pub setting: Setting,
    pub picture: Picture,
    /// Is what counts as right the provider's answer about the picture without noise?
    pub by_clean_answer: bool,
    /// What tells whether another row says the same, where the log has that.
    pub identity: Option<Identity>,
}

/// What tells one certificate from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Identity {
    /// The digest of its document.
    Document(String),
    /// Of a row: the picture's name and hash, and the seed of its draws.
    Row { image: String, hash: Option<String>, seed: String },
    /// Of a row without a certificate: the picture's name alone.
    Failed { image: String },
}

/// What counts as right where a row holds the provider's answer about the picture without noise, and no other truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Truth {
    /// Nothing: such rows give shares.
    #[default]
    Known,
    /// That answer, as in the papers on vision APIs.
    Clean,
}

/// Reads a log: a file of rows, a certificate document, or a folder of certificate documents (`*.json`, not recursive,
/// in the order of their names). The format is recognised by content; files may be compressed by gzip.
///
/// What is there several times counts once, as it was said last: the same document in several files, the rows of a run that
/// was printed again when it went on, a failure on a picture that has a later row ([`Series::repeated`]).
///
/// A log is one series, named after the file; if its rows come from different settings, it is one series a setting.
///
/// # Errors
/// [`ReportError`], naming file and line.
pub fn read(path: &Path, truth: Truth) -> Result<Vec<Series>, ReportError> {
    let name =
        path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
    let failed = |path: &Path, source| ReportError::Read { file: path.display().to_string(), source };
    if !path.is_dir() {
        let bytes = fs::read(path).map_err(|e| failed(path, e))?;
        let rows = rows(&path.display().to_string(), &bytes, truth)?;
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
        let documents = rows(&shown, &fs::read(&file).map_err(|e| failed(&file, e))?, truth)?;
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
pub fn parse(name: &str, bytes: &[u8], truth: Truth) -> Result<Vec<Series>, ReportError> {
    grouped(name, rows(name, bytes, truth)?)
}

/// The file's name without endings that say no more than its format.
fn stem(name: &str) -> &str {
    let cut = |name: &str, endings: &[&str]| {
        let cut = endings.iter().find_map(|ending| name.strip_suffix(ending)).filter(|stem| !stem.is_empty());
        cut.map_or(name.len(), str::len)
    };
    let name = &name[..cut(name, &[".gz"])];
    &name[..cut(name, &[".jsonl", ".json", ".tsv", ".txt", ".log"])]
}

/// Names after their file the pictures that have no name: a document does not hold its picture's.
fn named(file: &str, rows: Vec<Row>) -> impl Iterator<Item = Row> {
    rows.into_iter().map(move |mut row| {
        if row.picture.name.is_empty() {
            file.clone_into(&mut row.picture.name);
        }
        row
    })
}

/// A picture, and what tells whether another row says the same.
type Told = (Picture, Option<Identity>);

/// The rows of one file, at least one.
pub(super) fn rows(file: &str, bytes: &[u8], truth: Truth) -> Result<Vec<Row>, ReportError> {
    let unpacked = if bytes.starts_with(&GZIP) { Some(unpacked(file, bytes)?) } else { None };
    let bytes = unpacked.as_deref().unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| ReportError::NotText {
        file: file.to_owned(),
        line: line_at(bytes, error.valid_up_to()),
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let rows = match text.trim_start().chars().next() {
        None => Vec::new(),
        Some('{') => json::rows(file, text, truth)?,
        Some(_) => tsv::rows(file, text, truth)?,
    };
    if rows.is_empty() { Err(ReportError::Empty { file: file.to_owned() }) } else { Ok(rows) }
}

fn unpacked(file: &str, bytes: &[u8]) -> Result<Vec<u8>, ReportError> {
    let mut unpacked = Vec::new();
    let read = MultiGzDecoder::new(bytes).take(MOST + 1).read_to_end(&mut unpacked);
    read.map_err(|source| ReportError::Read { file: file.to_owned(), source })?;
    if unpacked.len() as u64 > MOST {
        return Err(ReportError::TooLarge { file: file.to_owned(), most: MOST });
    }
    Ok(unpacked)
}

/// The line, from 1, of the byte at `offset`.
pub(super) fn line_at(bytes: &[u8], offset: usize) -> usize {
    1 + bytes.iter().take(offset).filter(|&&byte| byte == b'\n').count()
}

/// One series a setting, in order of first appearance.
pub(super) fn grouped(log: &str, rows: Vec<Row>) -> Result<Vec<Series>, ReportError> {
    let mut groups: Vec<(Setting, bool, Vec<Told>)> = Vec::new();
    for Row { setting, picture, by_clean_answer, identity } in rows {
        match groups.iter_mut().find(|(known, ..)| *known == setting) {
            Some((_, by_clean, pictures)) => {
                *by_clean |= by_clean_answer;
                pictures.push((picture, identity));
            }
            None => groups.push((setting, by_clean_answer, vec![(picture, identity)])),
        }
    }
    let first = groups.first().map(|(setting, ..)| setting.clone()).unwrap_or_default();
    let differs = |&field: &Field| groups.iter().any(|(setting, ..)| setting.get(field) != first.get(field));
    let differ: Vec<Field> = Field::ALL.into_iter().filter(differs).collect();
    let mut series = Vec::with_capacity(groups.len());
    for (setting, by_clean, pictures) in groups {
        let all = pictures.len();
        let pictures = once(pictures);
        let repeated = all - pictures.len();
        let one = Series::new(log.to_owned(), setting, pictures)?.marked(&differ).repeating(repeated);
        series.push(if by_clean { one.by_clean_answers() } else { one });
    }
    Ok(series)
}

/// The pictures of one setting, each as it was said last: without those of which a later row says the same, or which another row says
/// than that they failed.
fn once(pictures: Vec<Told>) -> Vec<Picture> {
    let (mut said, mut named) = (HashSet::new(), HashSet::new());
    let mut last: Vec<Picture> = Vec::with_capacity(pictures.len());
    let mut failed = HashSet::new();
    for (picture, identity) in pictures.into_iter().rev() {
        let again = match identity {
            Some(Identity::Failed { image }) => {
                failed.insert(image.clone());
                !named.insert(image)
            }
            Some(Identity::Row { image, .. }) if failed.contains(&image) => true,
            Some(Identity::Row { image, hash, seed }) => {
                named.insert(image.clone());
                !said.insert(Identity::Row { image, hash, seed })
            }
            Some(document) => !said.insert(document),
            None => false,
        };
        if !again {
            last.push(picture);
        }
    }
    last.reverse();
    last
}
