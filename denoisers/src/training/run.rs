//! A run in a folder: checkpoints, log, and the way back to where it was.
//!
//! | file | what |
//! |---|---|
//! | `state.safetensors` | all that the next step depends on |
//! | `last.safetensors` | the weights as of that state, to use; of a later step if the state could not be written any more |
//! | `best.safetensors` | the weights that were best in validation |
//! | `log.jsonl` | losses and validations |

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use super::{
    Measured, TrainError, Trainer, Validation,
    log::{Line, Log},
    state,
};

const STATE: &str = "state.safetensors";
const LAST: &str = "last.safetensors";
const BEST: &str = "best.safetensors";
const LOG: &str = "log.jsonl";

/// How often something happens, in steps; each at least 1. Changes nothing of what is learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cadence {
    /// A line in the log.
    pub log: u64,
    /// A checkpoint.
    pub save: u64,
    /// A validation.
    pub validate: u64,
}

impl Default for Cadence {
    fn default() -> Self {
        Self { log: 50, save: 500, validate: 1000 }
    }
}

/// Something to tell.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A step was made.
    Step {
        /// What it measured.
        measured: Measured,
        /// Pictures that were learnt from in a second, since the run was begun or resumed.
        pictures_per_second: f64,
        /// Time until the end at this speed.
        left: Duration,
    },
    /// The network was validated; not where there is nothing to measure on.
    Validated {
        /// Steps made.
        step: u64,
        /// What was measured.
        validation: Validation,
        /// Whether it is better than all before.
        best: bool,
    },
    /// A checkpoint is on disk.
    Saved {
        /// Steps made.
        step: u64,
    },
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All steps are made.
    Complete,
    /// It was asked to stop, and can be resumed.
    Stopped,
}

/// A trainer with a folder. While there is one, no other process can use the folder.
pub struct Run {
    trainer: Trainer,
    folder: PathBuf,
    cadence: Cadence,
    log: Log,
    saved: Option<u64>,
    _lock: File,
}

impl Run {
    /// Begins a run in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`TrainError`] if there is a run in the folder, or what is left of one, or it cannot be written to.
    pub fn start(trainer: Trainer, folder: &Path, cadence: Cadence) -> Result<Self, TrainError> {
        let lock = lock(folder)?;
        let path = folder.join(STATE);
        if path.exists() {
            let step = state::peek(&path).map(|about| format!("at step {}", about.step));
            let reason = format!(
                "holds a run {}; resume it, or choose another folder",
                step.unwrap_or_else(|e| e.to_string())
            );
            return Err(TrainError::State { path: folder.display().to_string(), reason });
        }
        let left = |name: &&str| folder.join(name).metadata().is_ok_and(|about| about.len() > 0);
        if let Some(name) = [LAST, BEST, LOG].into_iter().find(|name| left(name)) {
            let reason = format!(
                "holds `{name}` of another run, which would be lost; choose another folder, or resume, which begins over it"
            );
            return Err(TrainError::State { path: folder.display().to_string(), reason });
        }
        Self::begin(trainer, folder, cadence, lock)
    }

    fn begin(trainer: Trainer, folder: &Path, cadence: Cadence, lock: File) -> Result<Self, TrainError> {
        let log = Log::open(&folder.join(LOG), 0)?;
        Ok(Self { trainer, folder: folder.to_path_buf(), cadence, log, saved: None, _lock: lock })
    }

    /// Goes on with the run in this folder, exactly as if it had never been interrupted; or begins it if it has no checkpoint yet.
    ///
    /// # Errors
    /// [`TrainError`] if it began with other settings or pictures, or its checkpoint cannot be read.
    pub fn resume(mut trainer: Trainer, folder: &Path, cadence: Cadence) -> Result<Self, TrainError> {
        let (path, lock) = (folder.join(STATE), lock(folder)?);
        if !path.exists() {
            return Self::begin(trainer, folder, cadence, lock);
        }
        state::restore(&mut trainer, &path)?;
        let log = Log::open(&folder.join(LOG), trainer.step)?;
        let saved = Some(trainer.step);
        Ok(Self { trainer, folder: folder.to_path_buf(), cadence, log, saved, _lock: lock })
    }

    /// The trainer as it is now.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// Makes steps until all are made, `stop` is set, or something goes wrong. After an error the last checkpoint is what it was.
    ///
    /// # Errors
    /// [`TrainError`] if the loss is no number any more, or a file cannot be written.
    pub fn go(&mut self, stop: &AtomicBool, mut report: impl FnMut(Event)) -> Result<Ended, TrainError> {
        let (begin, first) = (Instant::now(), self.trainer.step);
        let (steps, batch) = (self.trainer.settings.steps, self.trainer.settings.batch as f64);
        while self.trainer.step < steps {
            if stop.load(Ordering::Relaxed) {
                self.trainer.probe()?;
                self.save(&mut report)?;
                return Ok(Ended::Stopped);
            }
            let measured = self.trainer.step()?;
            let made = (measured.step - first) as f64;
            let seconds = begin.elapsed().as_secs_f64();
            let pictures_per_second = made * batch / seconds.max(1e-9);
            let left = Duration::try_from_secs_f64((steps - measured.step) as f64 * seconds / made);
            let left = left.unwrap_or_default();
            report(Event::Step { measured, pictures_per_second, left });
            self.trainer.means.add(&measured);
            let due = |every: u64| measured.step.is_multiple_of(every.max(1)) || measured.step == steps;
            if due(self.cadence.log) {
                let means = std::mem::take(&mut self.trainer.means);
                self.log.write(&means.line(measured, pictures_per_second))?;
            }
            if due(self.cadence.validate) || due(self.cadence.save) {
                self.trainer.probe()?;
            }
            if due(self.cadence.validate) {
                self.validate(&mut report)?;
            }
            if due(self.cadence.save) {
                self.save(&mut report)?;
            }
        }
        Ok(Ended::Complete)
    }

    fn validate(&mut self, report: &mut impl FnMut(Event)) -> Result<(), TrainError> {
        let validation = self.trainer.validate()?;
        let Some(score) = validation.score else { return Ok(()) };
        let (step, at) = (self.trainer.step, validation.at.clone());
        self.log.write(&Line::Validation { step, score, validation: at })?;
        let best = self.trainer.best.is_none_or(|best| score > best);
        if best {
            self.trainer.learner.save_values(&self.folder.join(BEST), &self.trainer.values())?;
            self.trainer.best = Some(score);
        }
        report(Event::Validated { step, validation, best });
        Ok(())
    }

    fn save(&mut self, report: &mut impl FnMut(Event)) -> Result<(), TrainError> {
        let step = self.trainer.step;
        if self.saved == Some(step) {
            return Ok(());
        }
        // A state says that all that comes before it is done and on the disk.
        self.log.sync()?;
        self.trainer.learner.save_values(&self.folder.join(LAST), &self.trainer.values())?;
        state::save(&self.trainer, &self.folder.join(STATE))?;
        self.saved = Some(step);
        report(Event::Saved { step });
        Ok(())
    }
}

/// Makes the folder, and keeps other processes out of it.
fn lock(folder: &Path) -> Result<File, TrainError> {
    let path = folder.join("lock");
    let error = |source: std::io::Error| TrainError::Write {
        path: path.display().to_string(),
        source: source.into(),
    };
    std::fs::create_dir_all(folder).map_err(error)?;
    let file = File::options().create(true).append(true).open(&path).map_err(error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(TrainError::State {
            path: folder.display().to_string(),
            reason: "another process is training in this folder".into(),
        }),
        Err(std::fs::TryLockError::Error(source)) => Err(error(source)),
    }
}
