//! Which pictures a command is about.

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};

use crate::picture::{Format, Limits};

/// One picture to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

impl Input {
    /// The name under which results report it: the path as given, or `-`.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "-".to_owned(),
        }
    }

    /// The name under which it is on record: its path without what says nothing, such as `./` before it.
    pub(super) fn record(&self) -> String {
        let Self::File(path) = self else { return self.name() };
        let telling = path.components().filter(|part| *part != Component::CurDir);
        telling.collect::<PathBuf>().display().to_string()
    }

    /// Reads the file's bytes, no more than the limits allow.
    pub(super) fn read(&self, limits: &Limits) -> anyhow::Result<Vec<u8>> {
        let most = limits.max_bytes;
        let mut bytes = Vec::new();
        match self {
            Self::File(path) => {
                let file =
                    std::fs::File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
                file.take(most.saturating_add(1)).read_to_end(&mut bytes)
            }
            Self::Stdin => std::io::stdin().lock().take(most.saturating_add(1)).read_to_end(&mut bytes),
        }
        .with_context(|| format!("cannot read `{}`", self.name()))?;
        Ok(bytes)
    }

    /// The name of the folder that holds the file: the true class in data sets with a folder a class.
    ///
    /// # Errors
    /// Standard input, a file in no folder with a name, a folder that cannot be looked up.
    pub(super) fn folder(&self) -> anyhow::Result<String> {
        let Self::File(path) = self else {
            bail!("standard input is in no folder: give its true class by `--truth LABEL`");
        };
        let folder = path.parent().unwrap_or(path);
        if let Some(name) = folder.file_name() {
            return Ok(name.to_string_lossy().into_owned());
        }
        // `x.png`, `./x.png`, `../x.png`: the path as it was given does not say.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let whole = folder.canonicalize();
        let whole = whole.with_context(|| format!("cannot look up the folder of `{}`", path.display()))?;
        match whole.file_name() {
            Some(name) => Ok(name.to_string_lossy().into_owned()),
            None => bail!(
                "the folder of `{}` has no name: give its true class by `--truth LABEL`",
                path.display()
            ),
        }
    }
}

/// Resolves what was typed: files as they are, folders to the pictures in them (sorted, not recursive), patterns to
/// what they match, `-` to standard input.
///
/// # Errors
/// A path that does not exist, a pattern without a match, a folder without a picture.
pub(super) fn resolve(arguments: &[String]) -> anyhow::Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for argument in arguments {
        if argument == "-" {
            if inputs.contains(&Input::Stdin) {
                bail!("`-` (standard input) holds one picture and was given twice");
            }
            inputs.push(Input::Stdin);
            continue;
        }
        let path = Path::new(argument);
        if path.is_dir() {
            inputs.extend(folder(path)?.into_iter().map(Input::File));
        } else if path.exists() {
            inputs.push(Input::File(path.to_path_buf()));
        } else if argument.contains(['*', '?', '[']) {
            inputs.extend(pattern(argument)?.into_iter().map(Input::File));
        } else {
            bail!(
                "`{argument}` does not exist: give a picture, a folder, a quoted pattern or `-` for standard input"
            );
        }
    }
    Ok(inputs)
}

/// A name for each picture that is its own: a picture given twice is certified twice.
pub(super) fn unique_names(inputs: &[Input], name: impl Fn(&Input) -> String) -> Vec<String> {
    let mut seen = std::collections::HashMap::new();
    let unique = |input: &Input| {
        let name = name(input);
        let times = seen.entry(name.clone()).or_insert(0u32);
        *times += 1;
        if *times == 1 { name } else { format!("{name}#{times}") }
    };
    inputs.iter().map(unique).collect()
}

fn pattern(text: &str) -> anyhow::Result<Vec<PathBuf>> {
    let matches = glob::glob(text).with_context(|| format!("`{text}` is not a valid pattern"))?;
    let mut files: Vec<PathBuf> = matches.filter_map(Result::ok).filter(|path| path.is_file()).collect();
    if files.is_empty() {
        bail!("nothing matches `{text}`");
    }
    files.sort();
    Ok(files)
}

fn folder(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(path).with_context(|| format!("cannot list `{}`", path.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.with_context(|| format!("cannot list `{}`", path.display()))?.path();
        if file.is_file() && is_picture(&file) {
            files.push(file);
        }
    }
    if files.is_empty() {
        bail!("`{}` holds no picture (PNG, JPEG, WebP, BMP or GIF)", path.display());
    }
    files.sort();
    Ok(files)
}

/// Named like a picture, or one by its first bytes. A broken picture should be reported, a README passed over.
fn is_picture(path: &Path) -> bool {
    Format::is_named(path) || {
        let mut head = Vec::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(32).read_to_end(&mut head));
        read.is_ok() && Format::sniff(&head).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_sorted_and_pass_over_other_files() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in [
            ("b.png", &b""[..]),
            ("a.JPG", b"x"),
            ("README.md", b"# hi"),
            ("raw", b"\x89PNG\r\n\x1a\n"),
            ("empty", b""),
        ] {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        let found = resolve(&[dir.path().display().to_string()]).unwrap();
        let names: Vec<String> = found
            .iter()
            .map(|i| match i {
                Input::File(p) => p.file_name().unwrap().to_string_lossy().into_owned(),
                Input::Stdin => "-".into(),
            })
            .collect();
        assert_eq!(names, ["a.JPG", "b.png", "raw"]);
    }

    #[test]
    fn what_cannot_be_found_is_named() {
        for (bad, part) in [("no/such.png", "does not exist"), ("no/such/*.png", "nothing matches")] {
            let error = resolve(&[bad.into()]).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(bad), "{error}");
        }
        assert!(resolve(&["-".into(), "-".into()]).is_err());
        let dir = tempfile::tempdir().unwrap();
        assert!(
            resolve(&[dir.path().display().to_string()])
                .unwrap_err()
                .to_string()
                .contains("holds no picture")
        );
    }
}
