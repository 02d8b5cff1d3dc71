//! What happened in a run: one JSON object a line.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Quality, TrainError, file};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    /// Means since the line before.
    Steps {
        step: u64,
        loss: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        psnr: Option<f64>,
        norm: f64,
        rate: f64,
        pictures_per_second: f64,
    },
    Validation {
        step: u64,
        score: f64,
        validation: Vec<Quality>,
    },
}

pub(super) struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Goes on after this step: what an interrupted run wrote after its last checkpoint will be written again.
    pub(super) fn open(path: &Path, after: u64) -> Result<Self, TrainError> {
        #[derive(Deserialize)]
        struct Step {
            step: u64,
        }
        let error =
            |source: io::Error| TrainError::Write { path: path.display().to_string(), source: source.into() };
        let old = match std::fs::read_to_string(path) {
            Ok(old) => old,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(error(e)),
        };
        let kept: String = old
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .filter(|line| serde_json::from_str::<Step>(line).is_ok_and(|line| line.step <= after))
            .collect();
        if kept != old || old.is_empty() {
            file::write(path, kept.as_bytes())?;
        }
        let file = File::options().append(true).open(path).map_err(error)?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    pub(super) fn write(&mut self, line: &Line) -> Result<(), TrainError> {
        let mut text = serde_json::to_string(line).unwrap_or_default();
        text.push('\n');
        self.file.write_all(text.as_bytes()).map_err(|source| TrainError::Write {
            path: self.path.display().to_string(),
            source: source.into(),
        })
    }
}
