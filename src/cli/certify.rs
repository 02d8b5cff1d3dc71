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
use super::ledger::{LedgerOptions, Wanted};
use super::options::{DenoiserOptions, SizeOptions};
use super::output::{Common, Format, Printer, Row};
use super::plan::{self, Most, Pictures, PlanOptions};
use super::progress::Progress;
use super::provider::{ConfigOption, ProviderOptions};
use super::resume::Command;
use super::signals::Signals;
use super::test_options::{About, TestOptions};
use super::{Ended, Exit, Failure};
use crate::certificate::{Document, Outcome, SigningKey};
use crate::certifier::{self, Certified, Certifier, CertifyError};
use crate::engine::{Engine, EngineError, Settings};
use crate::ledger::{Begin, Cap, RunId};
use crate::noise::Seed;
use crate::picture::{Encoder, PictureOptions, WorkingImage, WorkingSize};
use crate::question::Question;
use crate::stats::Method;
use crate::tables::TableCache;
use crate::units::{Alpha, Sigma};

/// Options of `certify`.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(flatten)]
    shared: Shared,
    #[command(flatten)]
    test: TestOptions,
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
    #[command(flatten)]
    provider: ProviderOptions,
    #[command(flatten)]
    denoiser: DenoiserOptions,
    /// Standard deviation of the noise, in units of [0, 1] pixel values [default: 0.25]
    #[arg(long)]
    sigma: Option<Sigma>,
    /// Probability with which a certificate may be wrong [default: 0.001]
    #[arg(long)]
    alpha: Option<Alpha>,
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
    /// Sign the certificates with this key (from `smoothgate keys new`)
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    /// The true class, for the `correct` column of `tsv`: a label, or `@folder` for the name of each picture's folder
    #[arg(long, value_name = "LABEL|@folder")]
    truth: Option<String>,
    #[command(flatten)]
    ledger: LedgerOptions,
    #[command(flatten)]
    plan: PlanOptions,
    /// Begin a new run with new noise, although one with the same parameters is on record
    #[arg(long, help_heading = "Money", conflicts_with = "no_ledger")]
    new_run: bool,
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

pub(super) fn run(args: Args, config: &ConfigOption, command: &Command) -> Ended {
    start(args.shared, Votes::Test(args.test), config, command)
}

/// `certify --dry-run` under a name of its own.
pub(super) fn run_plan(args: plan::Args, config: &ConfigOption, command: &Command) -> Ended {
    let Args { mut shared, test } = args.certify;
    shared.plan.dry_run = true;
    shared.plan.json |= args.json;
    start(shared, Votes::Test(test), config, command)
}

pub(super) fn run_predict(args: PredictArgs, config: &ConfigOption, command: &Command) -> Ended {
    start(args.shared, Votes::Predict(args.n), config, command)
}

impl Args {
    /// Takes the ledger of the run and, where given, other budgets.
    pub(super) fn resume(&mut self, budget: Cap, ledger: &Path) {
        self.shared.ledger.resume(budget, ledger);
    }
}

impl PredictArgs {
    /// Takes the ledger of the run and, where given, other budgets.
    pub(super) fn resume(&mut self, budget: Cap, ledger: &Path) {
        self.shared.ledger.resume(budget, ledger);
    }
}

/// What the votes are for.
enum Votes {
    Test(TestOptions),
    /// This many at most.
    Predict(usize),
}

fn start(args: Shared, votes: Votes, config: &ConfigOption, command: &Command) -> Ended {
    if let Some(threads) = args.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build_global();
        pool.context("cannot set the number of threads").map_err(Failure::internal)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the asynchronous runtime").map_err(Failure::internal)?;
    let signals = Signals::default();
    runtime.block_on(async {
        tokio::select! {
            ended = certify(args, votes, config, command, &signals) => ended,
            () = signals.listen() => Ok(Exit::Interrupted),
        }
    })
}

async fn certify(
    mut args: Shared,
    votes: Votes,
    config: &ConfigOption,
    command: &Command,
    signals: &Signals,
) -> Ended {
    args.plan.json |= args.format == Format::Jsonl;
    let config = config.load()?;
    let pictures = Pictures::resolve(&args.pictures, args.plan.dry_run)?;
    let opened = args.provider.open(&config, args.denoiser.device)?;
    let denoiser = args.denoiser.open(&config.defaults)?;
    let described = opened.endpoint.describe().clone();
    let native = described.native_size.map_or(WorkingSize::Native, WorkingSize::Square);
    let picture = args.size.picture(native);
    let sigma = args.sigma.or(config.defaults.sigma);
    let sigma = sigma.map_or_else(|| Sigma::new(0.25), Ok).map_err(Failure::internal)?;
    let alpha = args.alpha.or(config.defaults.alpha).unwrap_or(Alpha::FIELD);
    let method = match votes {
        Votes::Predict(n) => Method::Predict { n },
        Votes::Test(options) => {
            let about =
                About { label: args.question.label_rule(), sigma: sigma.get(), alpha, recorded: None };
            options.only_method(about).map_err(Failure::usage)?
        }
    };
    let settings = Settings {
        sigma,
        alpha,
        question: args.question.clone(),
        method,
        encoder: args.encode,
        batch: args.batch,
        concurrency: args.concurrency,
    };
    let key = args.sign.as_deref().map(SigningKey::load).transpose().map_err(Failure::usage)?;
    if let Some(folder) = args.out.as_ref().filter(|_| !args.plan.dry_run) {
        let made = std::fs::create_dir_all(folder);
        made.with_context(|| format!("cannot make the folder `{}`", folder.display()))
            .map_err(Failure::internal)?;
    }
    let engine = Engine::new(opened.endpoint, denoiser, settings)
        .with_stop(signals.stop.clone())
        .with_table_cache(TableCache::usual());
    let plan = engine.plan().map_err(Failure::usage)?;
    let inputs = match pictures {
        Pictures::Files(inputs) if !args.plan.dry_run => inputs,
        pictures => return plan::show(&engine, &plan, &pictures, &picture, &args.plan).await,
    };
    if !args.quiet {
        eprintln!("{}", plan_line(&engine, &plan, inputs.len()));
    }
    if command.resumed.is_none() {
        let calls = (plan.max_votes() as u64).saturating_mul(inputs.len() as u64);
        let LedgerOptions { max_calls, max_cost, .. } = args.ledger;
        Most { price: described.price, calls, max_calls, max_cost }.approve(&args.plan, &config.defaults)?;
    }
    let wanted = Wanted {
        parameters: certifier::parameters(&engine, &picture, args.seed).map_err(Failure::ledger)?,
        arguments: command.to_json(),
        instance: described.name,
        price: described.price,
        budgets: opened.budgets,
        pictures: inputs.len() as u64,
        begin: match (command.resumed, args.new_run) {
            (Some(run), _) => Begin::Continue(run),
            (None, true) => Begin::New,
            (None, false) => Begin::ContinueOrNew,
        },
    };
    let certifier = match args.ledger.begin(&config, wanted).await? {
        None => Certifier::without_ledger(engine),
        Some(run) => {
            if !args.quiet && run.resumed() {
                eprintln!("{}", resumed_line(run.id(), run.in_flight_before()));
            }
            Certifier::with_ledger(engine, run)
        }
    };
    let certifier = certifier.signing(key);
    let names = inputs::unique_names(&inputs);
    let progress = Progress::new(inputs.len(), args.quiet);
    let desk = Desk { certifier, picture, reading: Semaphore::new(1), args: &args, progress: &progress };
    let (mut exit, complete) = desk.work_off(&inputs, &names).await?;
    if signals.came() && !complete {
        exit = Exit::Interrupted;
    }
    let Some(run) = desk.certifier.run().cloned() else { return Ok(exit) };
    drop(desk);
    let id = run.id();
    run.finish(complete).await.map_err(Failure::ledger)?;
    if !args.quiet && matches!(exit, Exit::Budget | Exit::Interrupted) {
        let raise = if exit == Exit::Budget { " with a larger --max-calls or --max-cost" } else { "" };
        eprintln!("everything answered so far is kept: `smoothgate resume {id}`{raise} goes on");
    }
    Ok(exit)
}

fn resumed_line(run: RunId, in_flight: u64) -> String {
    let known = format!("run {run} goes on: what is on record is not asked again (--new-run begins another)");
    match in_flight {
        0 => known,
        n => format!(
            "{known}; {n} calls were out when it was ended: they count as spent and are asked once more"
        ),
    }
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
    certifier: Certifier,
    picture: PictureOptions,
    /// One file is decoded at a time: a large one takes hundreds of megabytes while it is, and a few when it is done.
    reading: Semaphore,
    args: &'a Shared,
    progress: &'a Progress,
}

/// How a picture ended.
enum PictureEnd {
    /// With a row, which says so by its exit code.
    Row(Box<Row>, Exit),
    /// Without one: it was not begun, or given up in the middle, since the run ends early.
    Left,
}

impl Desk<'_> {
    /// Works on all pictures, prints a row for each in order. Says the exit code, and whether every picture has its
    /// certificate.
    async fn work_off(&self, inputs: &[Input], names: &[String]) -> Result<(Exit, bool), Failure> {
        let mut printer = Printer::new(self.args.format, names.iter().map(String::as_str));
        let mut done = futures::stream::iter(inputs.iter().zip(names).enumerate())
            .map(|(index, (input, name))| self.work(index, input, name))
            .buffered(self.args.jobs.max(1));
        let (mut exit, mut complete, mut printed) = (Exit::Success, true, Ok(()));
        while let Some(end) = done.next().await {
            match end {
                PictureEnd::Row(row, ended) => {
                    exit = exit.max(ended);
                    complete &= row.result.is_ok();
                    if printed.is_ok() {
                        printed = self.progress.done(|| printer.print(&row));
                    }
                    if printed.is_err() {
                        // Nobody reads on. What is out comes back and is recorded; nothing more is sent.
                        self.certifier.engine().stop().stop();
                    }
                }
                PictureEnd::Left => complete = false,
            }
        }
        self.progress.finish();
        printed.context("cannot write the results").map_err(Failure::internal)?;
        Ok((exit, complete))
    }

    async fn work(&self, index: usize, input: &Input, name: &str) -> PictureEnd {
        let started = Instant::now();
        if self.certifier.engine().stop().is_stopped() {
            return PictureEnd::Left;
        }
        let mut calls = 0;
        let (result, exit) = match self.certificate(input, name).await {
            Ok(certified) => {
                calls = certified.calls;
                let document = certified.document;
                let abstained = document.certificate.outcome == Outcome::Abstained;
                let exit = if abstained { Exit::Abstained } else { Exit::Success };
                match self.write(index, input, &document) {
                    Ok(()) => (Ok(document.certificate), exit),
                    Err(error) => {
                        self.certifier.engine().stop().stop();
                        (Err(format!("{error:#}")), Exit::Failure)
                    }
                }
            }
            Err(PictureFailure::Input(error)) => (Err(format!("{error:#}")), Exit::Usage),
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
        let engine = self.certifier.engine();
        let settings = engine.settings();
        let row = Row {
            image: name.to_owned(),
            index,
            result,
            calls,
            truth: self.truth(input),
            time: started.elapsed(),
            common: Common {
                sigma: settings.sigma.get(),
                alpha: settings.alpha.get(),
                question: settings.question.to_string(),
                test: settings.method.name().to_owned(),
                provider: engine.endpoint().describe().name.clone(),
                denoiser: engine.denoiser().id().name().to_owned(),
            },
        };
        PictureEnd::Row(Box::new(row), exit)
    }

    async fn certificate(&self, input: &Input, name: &str) -> Result<Certified, PictureFailure> {
        let image = self.read(input).await?;
        let watch = |at| self.progress.votes(name, at);
        Ok(self.certifier.certify(name, image, self.args.seed, &watch).await?)
    }

    async fn read(&self, input: &Input) -> Result<Arc<WorkingImage>, PictureFailure> {
        let _turn = self.reading.acquire().await.map_err(|error| worker(&error))?;
        let (input, options) = (input.clone(), self.picture);
        let decoded = tokio::task::spawn_blocking(move || {
            let bytes = input.read(&options.limits)?;
            Ok(WorkingImage::decode(&bytes, &options)?)
        });
        let image = decoded.await.map_err(|error| worker(&error))?;
        image.map(Arc::new).map_err(PictureFailure::Input)
    }

    fn truth(&self, input: &Input) -> Option<String> {
        match self.args.truth.as_deref() {
            Some("@folder") => input.folder(),
            other => other.map(str::to_owned),
        }
    }

    fn write(&self, index: usize, input: &Input, document: &Document) -> anyhow::Result<()> {
        let Some(folder) = &self.args.out else { return Ok(()) };
        let stem = match input {
            Input::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Input::Stdin => "stdin".to_owned(),
        };
        let path = folder.join(format!("{index:04}-{stem}.json"));
        write_whole(&path, &document.to_text()?)
            .with_context(|| format!("cannot write the certificate `{}`", path.display()))
    }
}

/// Writes beside the target and renames, so that a reader never sees half a document.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let partial = path.with_extension("json.partial");
    std::fs::write(&partial, text)?;
    std::fs::rename(&partial, path)
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
