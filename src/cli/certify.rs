//! `smoothgate certify` and `smoothgate predict`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args as ClapArgs;
use smoothgate_providers::Price;

use super::files::check_writable;
use super::inputs::{self, Input};
use super::ledger::{Continued, LedgerOptions, Wanted};
use super::options::{DenoiserOptions, SizeOptions};
use super::output::Format;
use super::plan::{self, Most, PlanOptions};
use super::progress::Progress;
use super::provider::{ConfigOption, ProviderOptions, tell_rate};
use super::resume::{self, Command};
use super::signals::Signals;
use super::test_options::TestOptions;
use super::work::{Desk, Job, Output, Source, Worked};
use super::{Ended, Exit, Failure, at_least_one, counted, runtime};
use crate::certificate::SigningKey;
use crate::certifier::{self, Certifier};
use crate::config::Config;
use crate::dataset::Class;
use crate::engine::{Asked, Engine, Settings, Tests, level_of_claim};
use crate::ledger::{Begin, Cap, Run, RunId, Spec};
use crate::noise::Seed;
use crate::picture::{Encoder, WorkingSize};
use crate::plan::{About, OnRecord};
use crate::question::Question;
use crate::stats::Method;
use crate::tables::TableCache;
use crate::units::{Alpha, Sigma};

/// Options of `certify`.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(flatten)]
    pictures: Pictures,
    #[command(flatten)]
    shared: Shared,
    #[command(flatten)]
    test: TestOptions,
}

/// Options of `predict`.
#[derive(Debug, ClapArgs)]
pub(super) struct PredictArgs {
    #[command(flatten)]
    pictures: Pictures,
    #[command(flatten)]
    shared: Shared,
    /// Votes at most; it stops as soon as the votes to come cannot change the answer
    #[arg(long, default_value_t = 100)]
    n: usize,
}

/// Which pictures.
#[derive(Debug, ClapArgs)]
struct Pictures {
    /// Pictures, folders, quoted patterns, or `-` for standard input
    #[arg(required = true, value_name = "PATH")]
    pictures: Vec<String>,
    /// The true class, for `correct` in the rows of `tsv` and `jsonl`: a label, or `@folder` for the name of each picture's folder
    #[arg(long, value_name = "LABEL|@folder")]
    truth: Option<String>,
}

impl Pictures {
    fn jobs(&self) -> Result<Vec<Job>, Failure> {
        let inputs = inputs::resolve(&self.pictures).map_err(Failure::usage)?;
        let names = inputs::unique_names(&inputs, Input::name);
        let records = inputs::unique_names(&inputs, Input::record);
        let truth = |input: &Input| match self.truth.as_deref() {
            Some("@folder") => input.folder().map(Some).map_err(Failure::usage),
            other => Ok(other.map(str::to_owned)),
        };
        let job =
            |(index, ((input, name), record)): (usize, ((Input, String), String))| -> Result<Job, Failure> {
                Ok(Job {
                    name,
                    record,
                    index,
                    truth: truth(&input)?.map(Class::new),
                    classes: None,
                    source: Source::Input(input),
                })
            };
        inputs.into_iter().zip(names).zip(records).enumerate().map(job).collect()
    }
}

/// Options of everything that gathers votes.
#[derive(Debug, ClapArgs)]
pub(super) struct Shared {
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
    /// `level:CATEGORY>=LIKELIHOOD`, `clean-top` (is the label still there that the picture itself gets? one more call),
    /// `clean-labels[/sequence][/M][>=SCORE]` (which of its M best labels are? a claim each), `topk:K` (is a label among the K
    /// most likely?) or `map:FILE` (your classes from the API's labels). May be given several times: the questions share the
    /// votes and alpha
    #[arg(long, default_value = "top1", value_parser = Question::load)]
    question: Vec<Question>,
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
    pub(super) format: Format,
    /// Write each certificate as a JSON document into this folder, named by the picture's number and name; where another picture has both,
    /// with a piece of its hash
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Sign the certificates with this key (from `smoothgate keys new`)
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    #[command(flatten)]
    ledger: LedgerOptions,
    #[command(flatten)]
    plan: PlanOptions,
    /// Begin a new run with new noise, although one with the same parameters is on record
    #[arg(long, help_heading = "Money", conflicts_with = "no_ledger")]
    new_run: bool,
    /// Print results only: no plan, no progress
    #[arg(long, short)]
    pub(super) quiet: bool,
    /// Copies that the denoiser gets at once (speed and memory only)
    #[arg(long, default_value_t = 16, value_parser = at_least_one, help_heading = "Speed")]
    batch: usize,
    /// Calls in flight for one picture (speed only)
    #[arg(long, default_value_t = 32, value_parser = at_least_one, help_heading = "Speed")]
    concurrency: usize,
    /// Calls in flight for one picture beyond those that the test is sure to need: fewer rounds of waiting for money, since
    /// some will be paid in vain
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Speed")]
    ahead: usize,
    /// Pictures worked on at once (speed only)
    #[arg(long, default_value_t = 2, value_parser = at_least_one, help_heading = "Speed")]
    jobs: usize,
    /// Threads for arithmetic, 256 at most; default: one a core
    #[arg(long, value_parser = threads, help_heading = "Speed")]
    threads: Option<usize>,
}

/// More threads than a machine has processors only wait for each other, and thousands do nothing else.
fn threads(text: &str) -> Result<usize, String> {
    match at_least_one(text)? {
        threads @ ..=256 => Ok(threads),
        _ => Err("it is at most 256".to_owned()),
    }
}

pub(super) fn run(args: Args, config: &ConfigOption, command: &Command) -> Ended {
    let jobs = args.pictures.jobs()?;
    start(&args.shared, Votes::Test(args.test), jobs, config, command).map(|worked| worked.exit)
}

/// `certify --dry-run` under a name of its own; a number stands for that many pictures.
pub(super) fn run_plan(args: plan::PlanArgs, config: &ConfigOption, command: &Command) -> Ended {
    let Args { pictures, mut shared, test } = args.certify;
    shared.plan.dry_run = true;
    shared.plan.json |= args.json;
    shared.plan.count = plan::count(&pictures.pictures);
    let jobs = if shared.plan.count.is_some() { Vec::new() } else { pictures.jobs()? };
    start(&shared, Votes::Test(test), jobs, config, command).map(|worked| worked.exit)
}

pub(super) fn run_predict(args: &PredictArgs, config: &ConfigOption, command: &Command) -> Ended {
    let jobs = args.pictures.jobs()?;
    start(&args.shared, Votes::Predict(args.n), jobs, config, command).map(|worked| worked.exit)
}

impl Shared {
    /// Which run to begin or to continue.
    fn begin(&self, command: &Command) -> Begin {
        match (command.resumed, self.new_run) {
            (Some(run), _) => Begin::Continue(run),
            (None, true) => Begin::New,
            (None, false) => Begin::ContinueOrNew,
        }
    }

    /// The run that would go on, with what it has of these pictures.
    fn before(
        &self,
        config: &Config,
        run: (&Spec, Price, Begin),
        jobs: &[Job],
    ) -> Result<Option<Continued>, Failure> {
        // A number of pictures names none of them.
        if self.plan.count.is_some() {
            return Ok(None);
        }
        self.ledger.continued(config, run, jobs.iter().map(|job| job.record.as_str()))
    }

    /// Is nothing to be sent or written?
    pub(super) fn dry_run(&self) -> bool {
        self.plan.dry_run
    }

    /// Takes the ledger of the run and, where given, other budgets.
    pub(super) fn resume(&mut self, budget: Cap, ledger: &Path) {
        self.ledger.resume(budget, ledger);
    }
}

impl Args {
    /// See [`Shared::resume`].
    pub(super) fn resume(&mut self, budget: Cap, ledger: &Path) {
        self.shared.resume(budget, ledger);
    }
}

impl PredictArgs {
    /// See [`Shared::resume`].
    pub(super) fn resume(&mut self, budget: Cap, ledger: &Path) {
        self.shared.resume(budget, ledger);
    }
}

/// What the votes are for.
pub(super) enum Votes {
    Test(TestOptions),
    /// This many at most.
    Predict(usize),
}

/// Works on all jobs and prints a row for each.
pub(super) fn start(
    args: &Shared,
    votes: Votes,
    jobs: Vec<Job>,
    config: &ConfigOption,
    command: &Command,
) -> Result<Worked, Failure> {
    if let Some(threads) = args.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        pool.context("cannot set the number of threads").map_err(Failure::internal)?;
    }
    let runtime = runtime()?;
    let signals = Signals::default();
    runtime.block_on(async {
        tokio::select! {
            worked = certify(args, votes, jobs, config, command, &signals) => worked,
            () = signals.listen() => Ok(Worked::interrupted()),
        }
    })
}

async fn certify(
    args: &Shared,
    votes: Votes,
    jobs: Vec<Job>,
    config: &ConfigOption,
    command: &Command,
    signals: &Signals,
) -> Result<Worked, Failure> {
    let config = config.load()?;
    let open = if args.plan.dry_run { ProviderOptions::open_to_plan } else { ProviderOptions::open };
    let opened = open(&args.provider, &config, args.denoiser.device)?;
    let denoiser = args.denoiser.open(&config.defaults)?;
    let described = opened.endpoint.describe().clone();
    let native = described.native_size.map_or(WorkingSize::Native, WorkingSize::Square);
    let picture = args.size.picture(native);
    let sigma = args.sigma.or(config.defaults.sigma);
    let sigma = sigma.map_or_else(|| Sigma::new(0.25), Ok).map_err(Failure::internal)?;
    let alpha = args.alpha.or(config.defaults.alpha).unwrap_or(Alpha::FIELD);
    let mut asked = asked(&args.question, &votes, sigma, alpha).map_err(Failure::usage)?;
    let Asked { question, method } = asked.remove(0);
    let settings = Settings {
        sigma,
        alpha,
        question,
        method,
        also: asked,
        encoder: args.encode,
        batch: args.batch,
        concurrency: args.concurrency,
        ahead: args.ahead,
    };
    let key = args.sign.as_deref().map(SigningKey::load).transpose().map_err(Failure::usage)?;
    if let Some(folder) = args.out.as_ref().filter(|_| !args.plan.dry_run) {
        make_folder(folder)?;
    }
    let engine = Engine::new(opened.endpoint, denoiser, settings)
        .with_stop(signals.stop.clone())
        .with_table_cache(TableCache::usual());
    let plan = engine.plan().map_err(Failure::usage)?;
    let parameters = certifier::parameters(&engine, &picture, args.seed).map_err(Failure::ledger)?;
    let begin = args.begin(command);
    let before = args.before(&config, (&parameters, described.price, begin), &jobs)?;
    if args.plan.dry_run {
        let json = args.plan.json || args.format == Format::Jsonl;
        plan::show(&engine, &plan, &jobs, &picture, before.as_ref(), &args.plan, json).await?;
        return Ok(Worked::planned());
    }
    let besides = u64::from(engine.settings().asks_clean());
    let (record, spent) = before.map(|before| (before.record, before.spend)).unwrap_or_default();
    let calls = record.calls(jobs.len() as u64, plan.max_votes() as u64, besides);
    if !args.quiet {
        tell!("{}", plan_line(&engine, &plan, jobs.len(), &record, calls));
    }
    let approve = || {
        let LedgerOptions { max_calls, max_cost, .. } = args.ledger;
        let most = Most { price: described.price, calls, spent, max_calls, max_cost };
        most.approve(&args.plan.ask, &config.defaults, Some("`--dry-run`"))
    };
    // A run that goes on was agreed to when it began; one that is not agreed to leaves no record.
    if command.resumed.is_none() {
        approve()?;
    }
    let wanted = Wanted {
        parameters,
        arguments: command.to_json(),
        instance: described.name.clone(),
        price: described.price,
        budgets: opened.budgets,
        pictures: jobs.len() as u64,
        begin,
    };
    let certifier = match args.ledger.begin(&config, wanted).await? {
        None => {
            if !args.quiet {
                let again = if described.price == Price::Free { "begins anew" } else { "is paid for again" };
                tell!(
                    "no record is kept: a run that ends early {again}, and there is nothing to check its certificates against"
                );
            }
            Certifier::without_ledger(engine)
        }
        Some(run) => {
            if !args.quiet && run.resumed() {
                tell!("{}", resumed_line(run.id(), run.in_flight_before()));
            }
            Certifier::with_ledger(engine, run)
        }
    };
    let certifier = certifier.signing(key.map(Arc::new));
    let progress = Progress::new(jobs.len(), args.quiet);
    let output = Output { format: args.format, folder: args.out.as_deref(), quiet: args.quiet };
    let desk = Desk::new(certifier, picture, args.seed, output, &progress);
    let mut worked = tokio::select! {
        worked = desk.work_off(&jobs, args.jobs) => worked?,
        never = tell_rate(&described.name, opened.rate, &progress) => match never {},
    };
    if signals.came() && !worked.complete {
        worked.exit = Exit::Interrupted;
    }
    if let Some(run) = desk.into_run() {
        let ledger = args.ledger.place.ledger.as_ref().or(config.ledger.path.as_ref());
        let again = resume::again(run.id(), ledger.map(PathBuf::as_path));
        finish(run, &worked, args.quiet, &again).await?;
    }
    Ok(worked)
}

/// A folder that certificates can be written into, before there are any.
fn make_folder(folder: &Path) -> Result<(), Failure> {
    let made = std::fs::create_dir_all(folder);
    let made = made.with_context(|| format!("cannot make the folder `{}`", folder.display()));
    made.and_then(|()| check_writable(&folder.join(".smoothgate"))).map_err(Failure::internal)
}

/// The questions with their tests, at least one.
fn asked(questions: &[Question], votes: &Votes, sigma: Sigma, alpha: Alpha) -> anyhow::Result<Vec<Asked>> {
    let method = |question: &Question| match votes {
        Votes::Predict(n) => Ok(Method::Predict { n: *n }),
        Votes::Test(options) => options.only_method(About {
            label: question.label_rule(),
            topk: question.topk(),
            sigma: sigma.get(),
            alpha: level_of_claim(alpha.get(), questions.len(), question, question.most_claims()),
            recorded: None,
        }),
    };
    questions
        .iter()
        .map(|question| Ok(Asked { question: question.clone(), method: method(question)? }))
        .collect()
}

/// Ends the sitting on the run, and says how to go on where it ended early.
async fn finish(run: Run, worked: &Worked, quiet: bool, again: &str) -> Result<(), Failure> {
    run.finish(worked.complete).await.map_err(Failure::ledger)?;
    let ended_early = matches!(worked.exit, Exit::Budget | Exit::Interrupted) || worked.left > 0;
    if !quiet && ended_early {
        let left = match worked.left {
            0 => String::new(),
            n => format!(", {} left", counted(n, "picture")),
        };
        let once = if worked.exit == Exit::Budget {
            " once its budget is raised (--max-calls, --max-cost, or in the configuration) or begins anew"
        } else {
            ""
        };
        tell!("everything answered so far is kept{left}: `{again}` goes on{once}");
    }
    Ok(())
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

/// One line before the first call: what it takes and what it can give. `calls` are those that are left at most.
fn plan_line(engine: &Engine, plan: &Tests, pictures: usize, record: &OnRecord, calls: u64) -> String {
    let votes = plan.max_votes();
    let cost = match engine.endpoint().describe().price {
        Price::Free => "free".to_owned(),
        price @ (Price::PerPicture(_) | Price::Unknown) => {
            price.of(calls).map_or("price unknown".to_owned(), |c| format!("{c} at most"))
        }
    };
    let radius = plan.largest_radius();
    let reach = if radius > 0.0 { format!("largest radius {radius:.4}") } else { "no radius".to_owned() };
    let finished = match record.finished {
        0 => String::new(),
        n => format!(" ({n} finished before)"),
    };
    let pictures = counted(pictures as u64, "picture");
    format!("{pictures}{finished}, at most {votes} votes each: {reach}, {cost}")
}
