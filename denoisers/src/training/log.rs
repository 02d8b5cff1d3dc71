//! What happened in a run: one JSON object a line.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Measured, Quality, TrainError, file};

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

/// Sums since the last line of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Means {
    count: f64,
    loss: f64,
    norm: f64,
    psnr: Option<f64>,
}

impl Means {
    pub(super) fn add(&mut self, measured: &Measured) {
        self.count += 1.0;
        self.loss += measured.loss;
        self.norm += measured.norm;
        self.psnr = measured.psnr.map(|psnr| psnr + self.psnr.unwrap_or(0.0));
    }

    pub(super) fn line(&self, measured: Measured, pictures_per_second: f64) -> Line {
        Line::Steps {
            step: measured.step,
            loss: self.loss / self.count,
            psnr: measured.psnr.and(self.psnr).map(|psnr| psnr / self.count),
            norm: self.norm / self.count,
            rate: measured.rate,
            pictures_per_second,
        }
    }

    /// What a checkpoint holds of them.
    pub(super) fn numbers(&self) -> Vec<f64> {
        [self.count, self.loss, self.norm].into_iter().chain(self.psnr).collect()
    }

    /// The same back; `None` for fewer numbers.
    pub(super) fn of_numbers(numbers: &[f64]) -> Option<Self> {
        let (&[count, loss, norm], psnr) = numbers.split_first_chunk()?;
        Some(Self { count, loss, norm, psnr: psnr.first().copied() })
    }
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

    /// Waits until the disk has it.
    pub(super) fn sync(&self) -> Result<(), TrainError> {
        self.file.sync_data().map_err(|source| TrainError::Write {
            path: self.path.display().to_string(),
            source: source.into(),
        })
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
