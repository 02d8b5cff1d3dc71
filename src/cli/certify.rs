//! `smoothgate certify` and `smoothgate predict`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use clap::Args as ClapArgs;
use futures::StreamExt;
use smoothgate_providers::{Fault, Price};
use tokio::sync::Semaphore;

use super::inputs::{self, Input};
use super::options::{DenoiserOptions, ProviderName, SizeOptions, TestName};
use super::output::{Common, Format, Printer, Row};
use super::progress::Progress;
use super::{Ended, Exit, Failure};
use crate::certificate::{Certificate, Outcome};
use crate::engine::{Engine, EngineError, Forgetful, Settings};
use crate::noise::Seed;
use crate::picture::{Encoder, PictureOptions, WorkingImage, WorkingSize};
use crate::question::Question;
use crate::stats::Method;
use crate::units::{Alpha, Sigma};

/// Options of `certify`.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(flatten)]
    shared: Shared,
    /// The statistical test: `cohen` chooses the label by N0 selection votes and bounds it by N others; `fixed` uses
    /// all N votes for both
    #[arg(long, default_value = "cohen")]
    test: TestName,
    /// Selection votes of `cohen`
    #[arg(long, default_value_t = 20)]
    n0: usize,
    /// Estimation votes
    #[arg(long, default_value_t = 100)]
    n: usize,
}

/// Options of `predict`.
#[derive(Debug, ClapArgs)]
pub(super) struct PredictArgs {
    #[command(flatten)]
    shared: Shared,
    /// Votes at most; it stops as soon as the votes to come cannot change the answer
    #[arg(long, default_value_t = 100)]
    n: usize,
}

#[derive(Debug, ClapArgs)]
struct Shared {
    /// Pictures, folders, quoted patterns, or `-` for standard input
    #[arg(required = true, value_name = "PATH")]
    pictures: Vec<String>,
    /// Whom to ask
    #[arg(long, default_value = "local")]
    provider: ProviderName,
    #[command(flatten)]
    denoiser: DenoiserOptions,
    /// Standard deviation of the noise, in units of [0, 1] pixel values
    #[arg(long, default_value = "0.25")]
    sigma: Sigma,
    /// Probability with which a certificate may be wrong
    #[arg(long, default_value_t = Alpha::FIELD)]
    alpha: Alpha,
    /// What is asked of each answer: `top1`, `present:LABEL[>=SCORE]`, `absent:LABEL[>=SCORE]`,
    /// `level:CATEGORY>=LIKELIHOOD` or `map:FILE` (your classes from the API's labels)
    #[arg(long, default_value = "top1", value_parser = Question::load)]
    question: Question,
    /// Seed of the noise for every picture: a number or 64 hexadecimal digits; default: a fresh one for each picture
    #[arg(long, value_name = "HEX|N")]
    seed: Option<Seed>,
    #[command(flatten)]
    size: SizeOptions,
    /// How copies are encoded: `png` or `jpeg:QUALITY`
    #[arg(long, default_value = "png")]
    encode: Encoder,
    /// How results are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Write each certificate as a JSON document into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The true class, for the `correct` column of `tsv`: a label, or `@folder` for the name of each picture's folder
    #[arg(long, value_name = "LABEL|@folder")]
    truth: Option<String>,
    /// Print results only: no plan, no progress
    #[arg(long, short)]
    quiet: bool,
    /// Copies that the denoiser gets at once (speed and memory only)
    #[arg(long, default_value_t = 16, help_heading = "Speed")]
    batch: usize,
    /// Calls in flight for one picture (speed only)
    #[arg(long, default_value_t = 32, help_heading = "Speed")]
    concurrency: usize,
    /// Pictures worked on at once (speed only)
    #[arg(long, default_value_t = 2, help_heading = "Speed")]
    jobs: usize,
    /// Threads for arithmetic; default: one a core
    #[arg(long, help_heading = "Speed")]
    threads: Option<usize>,
}

pub(super) fn run(args: Args) -> Ended {
    let method = args.test.method(args.n0, args.n);
    start(args.shared, method)
}

pub(super) fn run_predict(args: PredictArgs) -> Ended {
    start(args.shared, Method::Predict { n: args.n })
}

fn start(args: Shared, method: Method) -> Ended {
    if let Some(threads) = args.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build_global();
        pool.context("cannot set the number of threads").map_err(Failure::internal)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the asynchronous runtime").map_err(Failure::internal)?;
    runtime.block_on(certify(args, method))
}

async fn certify(args: Shared, method: Method) -> Ended {
    let inputs = inputs::resolve(&args.pictures).map_err(Failure::usage)?;
    let endpoint = args.provider.open(args.denoiser.device)?;
    let denoiser = args.denoiser.open()?;
    let native = endpoint.describe().native_size.map_or(WorkingSize::Native, WorkingSize::Square);
    let picture = args.size.picture(native);
    let settings = Settings {
        sigma: args.sigma,
        alpha: args.alpha,
        question: args.question.clone(),
        method,
        encoder: args.encode,
        batch: args.batch,
        concurrency: args.concurrency,
    };
    if let Some(folder) = &args.out {
        let made = std::fs::create_dir_all(folder);
        made.with_context(|| format!("cannot make the folder `{}`", folder.display()))
            .map_err(Failure::internal)?;
    }
    let engine = Engine::new(endpoint, denoiser, settings);
    let plan = engine.plan().map_err(Failure::usage)?;
    if !args.quiet {
        eprintln!("{}", plan_line(&engine, &plan, inputs.len()));
    }

    let progress = Progress::new(inputs.len(), args.quiet);
    let names: Vec<String> = inputs.iter().map(Input::name).collect();
    let mut printer = Printer::new(args.format, names.iter().map(String::as_str));
    let desk = Desk { engine, picture, reading: Semaphore::new(1), args: &args, progress: &progress };
    let mut done = futures::stream::iter(inputs.iter().enumerate())
        .map(|(index, input)| desk.work(index, input))
        .buffered(args.jobs.max(1));
    let mut exit = Exit::Success;
    while let Some((row, ended)) = done.next().await {
        progress
            .done(|| printer.print(&row))
            .context("cannot write the results")
            .map_err(Failure::internal)?;
        exit = exit.max(ended.exit);
        if ended.stop {
            break;
        }
    }
    progress.finish();
    Ok(exit)
}

/// One line before the first call: what it takes and what it can give.
fn plan_line(engine: &Engine, plan: &crate::stats::Test, pictures: usize) -> String {
    let votes = plan.max_votes();
    let cost = match engine.endpoint().describe().price {
        Price::Free => "free".to_owned(),
        price @ (Price::PerPicture(_) | Price::Unknown) => {
            price.of((votes * pictures) as u64).map_or("price unknown".to_owned(), |c| format!("{c} at most"))
        }
    };
    let radius = plan.largest_radius();
    let reach = if radius > 0.0 { format!("largest radius {radius:.4}") } else { "no radius".to_owned() };
    format!("{pictures} pictures, at most {votes} votes each: {reach}, {cost}")
}

/// What every picture of a run is worked on with.
struct Desk<'a> {
    engine: Engine,
    picture: PictureOptions,
    /// One file is decoded at a time: a large one takes hundreds of megabytes while it is, and a few when it is done.
    reading: Semaphore,
    args: &'a Shared,
    progress: &'a Progress,
}

/// How a picture ended, for the exit code.
struct PictureEnd {
    exit: Exit,
    /// No further picture can succeed.
    stop: bool,
}

impl Desk<'_> {
    async fn work(&self, index: usize, input: &Input) -> (Row, PictureEnd) {
        let started = Instant::now();
        let (result, end) = match self.certificate(input).await {
            Ok(certificate) => {
                let exit =
                    if certificate.outcome == Outcome::Abstained { Exit::Abstained } else { Exit::Success };
                match self.write(index, input, &certificate) {
                    Ok(()) => (Ok(certificate), PictureEnd { exit, stop: false }),
                    Err(error) => (Err(format!("{error:#}")), PictureEnd { exit: Exit::Failure, stop: true }),
                }
            }
            Err(PictureFailure::Input(error)) => {
                (Err(format!("{error:#}")), PictureEnd { exit: Exit::Usage, stop: false })
            }
            Err(PictureFailure::Engine(error)) => {
                let exit = match error.fault() {
                    _ if error.is_budget() => Exit::Budget,
                    Fault::User => Exit::Usage,
                    Fault::Provider | Fault::Us => Exit::Failure,
                };
                let stop = error.is_budget() || matches!(error, EngineError::Stopped { .. });
                (Err(error.to_string()), PictureEnd { exit, stop })
            }
        };
        let settings = self.engine.settings();
        let row = Row {
            image: input.name(),
            index,
            result,
            truth: self.truth(input),
            time: started.elapsed(),
            common: Common {
                sigma: settings.sigma.get(),
                alpha: settings.alpha.get(),
                question: settings.question.to_string(),
                test: settings.method.name().to_owned(),
                provider: self.engine.endpoint().describe().name.clone(),
                denoiser: self.engine.denoiser().id().name().to_owned(),
            },
        };
        (row, end)
    }

    async fn certificate(&self, input: &Input) -> Result<Certificate, PictureFailure> {
        let image = self.read(input).await?;
        // Only now: a fresh seed is drawn after the picture is fixed.
        let seed = match self.args.seed {
            Some(seed) => seed,
            None => Seed::fresh().map_err(EngineError::from)?,
        };
        let name = input.name();
        let watch = |at| self.progress.votes(&name, at);
        let evidence = self.engine.gather(Arc::clone(&image), seed, &Forgetful, &watch).await?;
        Ok(Certificate::new(&self.engine, &image, seed, &evidence))
    }

    async fn read(&self, input: &Input) -> Result<Arc<WorkingImage>, PictureFailure> {
        let _turn = self.reading.acquire().await.map_err(|error| EngineError::Worker(error.to_string()))?;
        let (input, options) = (input.clone(), self.picture);
        let decoded = tokio::task::spawn_blocking(move || {
            let bytes = input.read(&options.limits)?;
            Ok(WorkingImage::decode(&bytes, &options)?)
        });
        let image = decoded.await.map_err(|error| EngineError::Worker(error.to_string()))?;
        image.map(Arc::new).map_err(PictureFailure::Input)
    }

    fn truth(&self, input: &Input) -> Option<String> {
        match self.args.truth.as_deref() {
            Some("@folder") => input.folder(),
            other => other.map(str::to_owned),
        }
    }

    fn write(&self, index: usize, input: &Input, certificate: &Certificate) -> anyhow::Result<()> {
        let Some(folder) = &self.args.out else { return Ok(()) };
        let stem = match input {
            Input::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Input::Stdin => "stdin".to_owned(),
        };
        let path = folder.join(format!("{index:04}-{stem}.json"));
        let text = serde_json::to_string_pretty(certificate)?;
        write_whole(&path, &text)
            .with_context(|| format!("cannot write the certificate `{}`", path.display()))
    }
}

/// Writes beside the target and renames, so that a reader never sees half a document.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let partial = path.with_extension("json.partial");
    std::fs::write(&partial, format!("{text}\n"))?;
    std::fs::rename(&partial, path)
}

/// Why a picture got no certificate.
enum PictureFailure {
    /// Its file.
    Input(anyhow::Error),
    /// The pipeline.
    Engine(EngineError),
}

impl From<EngineError> for PictureFailure {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}
