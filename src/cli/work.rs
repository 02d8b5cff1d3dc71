//! Pictures on the way to their rows: read, certified, written, printed in order.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use futures::StreamExt;
use smoothgate_providers::{Fault, Money, OutcomeClass};
use tokio::sync::Semaphore;

use super::files::write_whole;
use super::inputs::Input;
use super::output::{Common, Format, Printer, Row};
use super::progress::Progress;
use super::{Exit, Failure, counted, in_words};
use crate::certificate::{self, Document};
use crate::certifier::{Certified, Certifier, CertifyError};
use crate::dataset::{Class, Sample};
use crate::engine::EngineError;
use crate::ledger::Run;
use crate::noise::Seed;
use crate::picture::{Limits, PictureOptions, WorkingImage};
use crate::report::{Picture, Setting};
use crate::stats::Reason;

/// What every picture of a run is worked on with.
pub(super) struct Desk<'a> {
    certifier: Certifier,
    picture: PictureOptions,
    seed: Option<Seed>,
    /// One file is decoded at a time: a large one takes hundreds of megabytes while it is, and a few when it is done.
    reading: Semaphore,
    output: Output<'a>,
    progress: &'a Progress,
}

/// Where results go.
#[derive(Clone, Copy)]
pub(super) struct Output<'a> {
    /// How rows are printed.
    pub format: Format,
    /// Where certificates are written.
    pub folder: Option<&'a Path>,
    /// Rows only.
    pub quiet: bool,
}

/// One picture to work on.
pub(super) struct Job {
    /// Its name in results, of its own among them.
    pub name: String,
    /// Its name on record, of its own in the run.
    pub record: String,
    /// Its number in its data set, or among the pictures of this command.
    pub index: usize,
    /// Its true class, where that is known.
    pub truth: Option<Class>,
    /// All classes of its data set, where it is from one.
    pub classes: Option<Arc<[Class]>>,
    /// Where its bytes are.
    pub source: Source,
}

/// Where a picture's bytes are.
#[derive(Clone)]
pub(super) enum Source {
    /// A file or standard input.
    Input(Input),
    /// A picture of a data set.
    Sample(Sample),
}

impl Source {
    /// The bytes, no more than the limits allow.
    pub(super) fn read(&self, limits: &Limits) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Input(input) => input.read(limits),
            Self::Sample(sample) => Ok(sample.read(limits.max_bytes)?),
        }
    }

    /// What its certificate's file is called.
    fn stem(&self) -> String {
        match self {
            Self::Input(Input::File(path)) => {
                path.file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
            Self::Input(Input::Stdin) => "stdin".to_owned(),
            Self::Sample(sample) => sample.name.replace(['/', '\\'], "-"),
        }
    }
}

/// What came of all jobs.
pub(super) struct Worked {
    /// The exit code.
    pub exit: Exit,
    /// Has every picture its certificate?
    pub complete: bool,
    /// By question: what its pictures have in common, and those that got a row, for figures.
    pub figures: Vec<(Setting, Vec<Picture>)>,
    /// What one call cost, where that is known.
    pub price: Option<Money>,
    /// Pictures that were not begun, or given up in the middle.
    pub left: u64,
}

impl Worked {
    /// Nothing was to be done but to say what it would take.
    pub(super) fn planned() -> Self {
        Self { exit: Exit::Success, ..Self::interrupted() }
    }

    /// Nothing is known: it was left at once.
    pub(super) fn interrupted() -> Self {
        Self { exit: Exit::Interrupted, complete: false, figures: Vec::new(), price: None, left: 0 }
    }
}

/// How a picture ended.
enum PictureEnd {
    /// With a row, which says so by its exit code.
    Row(Box<Row>, Exit),
    /// Without one: it was not begun, or given up in the middle, since the run ends early.
    Left,
}

impl<'a> Desk<'a> {
    pub(super) fn new(
        certifier: Certifier,
        picture: PictureOptions,
        seed: Option<Seed>,
        output: Output<'a>,
        progress: &'a Progress,
    ) -> Self {
        Self { certifier, picture, seed, reading: Semaphore::new(1), output, progress }
    }

    /// The run that it recorded in.
    pub(super) fn into_run(self) -> Option<Run> {
        self.certifier.run().cloned()
    }

    /// Works on all jobs, so many at once, and prints a row for each in order.
    pub(super) async fn work_off(&self, jobs: &[Job], at_once: usize) -> Result<Worked, Failure> {
        let questions = self.certifier.engine().settings().questions();
        let mut printer =
            Printer::new(self.output.format, questions, jobs.iter().map(|job| job.name.as_str()));
        let mut done = futures::stream::iter(jobs).map(|job| self.work(job)).buffered(at_once.max(1));
        let mut worked = Worked {
            exit: Exit::Success,
            complete: true,
            figures: self.settings().map(|setting| (setting, Vec::new())).collect(),
            price: self.certifier.engine().endpoint().describe().price.of(1),
            left: 0,
        };
        let mut printed = Ok(());
        let mut unused = 0;
        while let Some(end) = done.next().await {
            match end {
                PictureEnd::Row(row, ended) => {
                    worked.exit = worked.exit.max(ended);
                    worked.complete &= row.result.is_ok();
                    for ((_, pictures), picture) in worked.figures.iter_mut().zip(row.pictures(questions)) {
                        pictures.push(picture);
                    }
                    unused += row.unused_calls();
                    if printed.is_ok() {
                        printed = self.progress.done(|| printer.print(&row));
                    }
                    if printed.is_err() {
                        // Nobody reads on. What is out comes back and is recorded; nothing more is sent.
                        self.certifier.engine().stop().stop();
                    }
                }
                PictureEnd::Left => {
                    worked.complete = false;
                    worked.left += 1;
                }
            }
        }
        self.progress.finish();
        if unused > 0 && !self.output.quiet {
            tell!("{unused} calls are behind no vote of their own: sent ahead of a decision, or sent again");
        }
        match printed {
            // Whoever closes the pipe after the last picture has read what they wanted; before it, the run has failed them.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe && worked.left > 0 => {
                tell!("nobody reads the results any more: {} left out", counted(worked.left, "picture"));
                worked.exit = worked.exit.max(Exit::Failure);
            }
            printed => printed.context("cannot write the results").map_err(Failure::internal)?,
        }
        Ok(worked)
    }

    /// What is to be said of a picture, some of whose calls were not answered. Where none was, that is no abstention that anybody
    /// would call a result. In an outage the next picture would fare no better; what an API says to one picture is not said to all.
    fn unanswered(&self, job: &Job, certified: &Certified) -> Option<Exit> {
        let certificate = &certified.document.certificate;
        let longest = certificate.claims.iter().max_by_key(|claim| claim.votes.len())?;
        let (failed, all) = (longest.failed_votes(), certificate.draws());
        let never = certificate.claims.iter().all(|claim| claim.abstained == Some(Reason::NoCleanAnswer));
        let name = &job.name;
        let last = match &certified.last_failure {
            Some((class, reason)) if reason.is_empty() => format!(" (the last: {class})"),
            Some((class, reason)) => format!(" (the last: {class}: {reason})"),
            // Of a certificate on record it is not known any more.
            None => String::new(),
        };
        if failed < all || (all == 0 && !never) {
            if failed > 0 {
                let votes = counted(failed, "vote");
                self.progress.say(&format!("{name}: {votes} without an answer{last}"));
            }
            return None;
        }
        self.progress.warn(&format!(
            "{name}: no call about it was answered{last}; as another picture, or with --new-run, it is certified anew"
        ));
        let class = certified.last_failure.as_ref().map(|(class, _)| *class);
        if class.is_some_and(OutcomeClass::may_retry) {
            self.certifier.engine().stop().stop();
        }
        Some(Exit::Failure)
    }

    async fn work(&self, job: &Job) -> PictureEnd {
        let started = Instant::now();
        if self.certifier.engine().stop().is_stopped() {
            return PictureEnd::Left;
        }
        let mut calls = 0;
        let (result, exit) = match self.certificate(job).await {
            Ok(certified) => {
                calls = certified.calls;
                let unanswered = self.unanswered(job, &certified);
                let document = certified.document;
                let complete = document.certificate.is_complete();
                let exit = unanswered.unwrap_or(if complete { Exit::Success } else { Exit::Abstained });
                match self.write(job, &document) {
                    Ok(()) => (Ok(document.certificate), exit),
                    Err(error) => {
                        self.certifier.engine().stop().stop();
                        (Err(in_words(&error)), Exit::Failure)
                    }
                }
            }
            Err(PictureFailure::Input(error)) => (Err(in_words(&error)), Exit::Usage),
            Err(PictureFailure::Certify(error)) if error.is_interrupted() => {
                return PictureEnd::Left;
            }
            Err(PictureFailure::Certify(error)) => {
                let exit = match error.fault() {
                    _ if error.is_budget() => Exit::Budget,
                    Fault::User => Exit::Usage,
                    Fault::Provider | Fault::Us => Exit::Failure,
                };
                if error.stops_run() {
                    self.certifier.engine().stop().stop();
                }
                (Err(error.to_string()), exit)
            }
        };
        let row = Row {
            image: job.name.clone(),
            index: job.index,
            result,
            calls,
            truth: job.truth.clone(),
            classes: job.classes.clone(),
            time: started.elapsed(),
            common: self.common(),
        };
        PictureEnd::Row(Box::new(row), exit)
    }

    fn common(&self) -> Common {
        let engine = self.certifier.engine();
        let settings = engine.settings();
        Common {
            sigma: settings.sigma.get(),
            alpha: settings.alpha.get(),
            asked: settings.asked().map(|(question, method)| (question.to_string(), method.name())).collect(),
            provider: engine.endpoint().describe().name.clone(),
            denoiser: engine.denoiser().id().label().to_owned(),
        }
    }

    /// What the pictures of each question have in common.
    fn settings(&self) -> impl Iterator<Item = Setting> {
        let Common { sigma, alpha, provider, denoiser, .. } = self.common();
        self.certifier.engine().settings().asked().map(move |(question, method)| Setting {
            provider: Some(provider.clone()),
            denoiser: Some(denoiser.clone()),
            sigma: Some(sigma.to_string()),
            alpha: Some(alpha.to_string()),
            question: Some(question.to_string()),
            test: Some(method.name().to_owned()),
        })
    }

    async fn certificate(&self, job: &Job) -> Result<Certified, PictureFailure> {
        let image = self.read(&job.source).await?;
        let watch = |at| self.progress.votes(&job.name, at);
        Ok(self.certifier.certify(&job.record, image, self.seed, &watch).await?)
    }

    async fn read(&self, source: &Source) -> Result<Arc<WorkingImage>, PictureFailure> {
        let _turn = self.reading.acquire().await.map_err(|error| worker(&error))?;
        let (source, options) = (source.clone(), self.picture);
        let decoded = tokio::task::spawn_blocking(move || {
            let bytes = source.read(&options.limits)?;
            Ok(WorkingImage::decode(&bytes, &options)?)
        });
        let image = decoded.await.map_err(|error| worker(&error))?;
        image.map(Arc::new).map_err(PictureFailure::Input)
    }

    /// Writes the certificate under the picture's number in its data set and its name, which another selection of the set does
    /// not change: a picture has one file in a folder.
    fn write(&self, job: &Job, document: &Document) -> anyhow::Result<()> {
        let Some(folder) = self.output.folder else { return Ok(()) };
        let stem = format!("{:04}-{}", job.index, job.source.stem());
        let picture = &document.certificate.picture;
        let mut path = folder.join(format!("{stem}.json"));
        if is_of_another(&path, picture) {
            // Two folders of pictures may have the same name in the same place.
            path = folder.join(format!("{stem}-{}.json", picture.hash.get(..8).unwrap_or_default()));
        }
        write_whole(&path, &document.to_text()?)
            .with_context(|| format!("cannot write the certificate `{}`", path.display()))
    }
}

/// Does the file hold the certificate of another picture? That of the same picture at another size is none: it is written
/// over, as one with another noise is.
fn is_of_another(path: &Path, picture: &certificate::Picture) -> bool {
    let held = std::fs::read(path).ok().and_then(|bytes| Document::parse(&bytes).ok());
    held.is_some_and(|held| {
        let held = held.certificate.picture;
        let (theirs, ours) = (&held.preprocessing, &picture.preprocessing);
        let made_alike = (held.width, held.height, theirs.fit) == (picture.width, picture.height, ours.fit);
        theirs.original != ours.original || (made_alike && held.hash != picture.hash)
    })
}

/// Why a picture got no certificate.
enum PictureFailure {
    /// Its file.
    Input(anyhow::Error),
    /// The pipeline or the ledger.
    Certify(CertifyError),
}

impl From<CertifyError> for PictureFailure {
    fn from(error: CertifyError) -> Self {
        Self::Certify(error)
    }
}

/// A thread of this process died.
fn worker(error: &dyn std::error::Error) -> PictureFailure {
    PictureFailure::Certify(EngineError::Worker(error.to_string()).into())
}
