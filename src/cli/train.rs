//! `smoothgate train`: denoisers and classifiers from pictures.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow, bail};
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use smoothgate_denoisers::training::{
    Augment, Cadence, Ended as RunEnded, Event, Learner, Objective, OptimizerKind, Pictures, Run, Schedule,
    Settings, SigmaLaw, SigmaMix, SigmaRange, Source, Split, Surrogate, TrainError, Trainer, Validation,
};

use super::answers::answers;
use super::progress::Steps;
use super::{Ended, Exit, Failure, signals};

/// What is trained.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// A denoiser: by squared error, or so that a classifier says of a denoised picture what it says of the clean one
    Denoiser(DenoiserArgs),
    /// A classifier, on clean pictures or with Gaussian noise (Cohen et al. 2019)
    Classifier(ClassifierArgs),
}

#[derive(Debug, Args)]
pub(super) struct DenoiserArgs {
    /// `mse`: squared error to the clean picture; `stability`: cross-entropy of the classifier's answer to the denoised picture and
    /// its answer to the clean one (Salman et al. 2020); `hybrid`: first one, then the other
    #[arg(long, value_enum, default_value = "mse")]
    objective: ObjectiveName,
    /// Steps of `hybrid` that are `mse`; default: half
    #[arg(long, value_name = "N")]
    mse_steps: Option<u64>,
    /// The classifier itself, a name or safetensors file, for `stability` with a classifier that you have
    #[arg(long, value_name = "NAME|FILE", conflicts_with = "surrogate")]
    classifier: Option<String>,
    /// Classifiers that stand for one that you do not have; they take turns
    #[arg(long, value_name = "NAME|FILE", value_delimiter = ',')]
    surrogate: Vec<String>,
    /// A classifier that nothing is learnt through, whose answers choose the best checkpoint: without one it is that which the first of
    /// the classifiers likes best
    #[arg(long, value_name = "NAME|FILE")]
    judge: Option<String>,
    /// What somebody else, such as an API, says of the pictures, as `smoothgate label --format jsonl` prints it: its first labels
    /// take the place of the classifiers' own answers. Pictures without one are left out
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Noise levels: one, a range, or several of these, each as likely as the others, such as 0.25, 0.02..1.0 or 0.1..1.0,0.25,0.5
    #[arg(long, default_value = "0.25")]
    sigma: SigmaMix,
    /// Add so many times the squared error to the cross-entropy of `stability`, which keeps the denoiser to pictures instead of
    /// patterns that only its classifiers see: much for black boxes, such as 200
    #[arg(long, value_name = "WEIGHT", default_value = "0")]
    mse_weight: f64,
    /// Standard deviation of noise that is added to a denoised picture before a classifier of `stability` sees it, to the same end;
    /// for classifiers that learnt with such noise
    #[arg(long, value_name = "SIGMA", default_value = "0")]
    surrogate_noise: f64,
    /// Divide the logits of the classifiers of `stability` by this, such as 5: one that learnt without noise is too sure of itself on
    /// denoised pictures
    #[arg(long, value_name = "T", default_value = "1")]
    temperature: f64,
    /// Largest norm of the gradient that each picture's cross-entropy of `stability` has for the denoised picture, such as 1: through a
    /// deep classifier pictures differ in it by orders of magnitude, and without a limit the longest are the step
    #[arg(long, value_name = "NORM")]
    picture_clip: Option<f64>,
    /// Divide each picture's error by its noise level, so that all levels count about alike in decibels
    #[arg(long)]
    divide_by_sigma: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct ClassifierArgs {
    /// Noise levels: one, a range, or several of these, such as 0.25, 0..0.5 or 0,0.25; 0 trains on clean pictures
    #[arg(long, default_value = "0")]
    sigma: SigmaMix,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("length").required(true))]
struct Common {
    /// Pictures: a folder (with its folders), a .tar or .tar.gz, or cifar10:FOLDER. A picture's folder is its class
    #[arg(long, value_name = "DIR|TAR|cifar10:DIR")]
    data: Source,
    /// Pictures for validation; default: some of --data are kept apart (of cifar10, the test batch is used)
    #[arg(long, value_name = "DIR|TAR|cifar10:DIR")]
    val: Option<Source>,
    /// How many pictures validation uses
    #[arg(long, value_name = "N")]
    val_count: Option<usize>,
    /// Noise levels of the validation; default: --sigma, or its ends and what lies between
    #[arg(long, value_name = "SIGMA,..", value_delimiter = ',')]
    val_sigma: Vec<f64>,
    /// Weights to begin with: a built-in name or a safetensors file. With --arch as well, a new network takes over the tensors that both
    /// have, by name and shape
    #[arg(long, value_name = "NAME|FILE")]
    init: Option<String>,
    /// An architecture to begin with random weights, such as `unet`, `dncnn:depth=17;width=64`, `cifar-resnet:depth=20`
    #[arg(long, value_name = "NAME[:KEY=VALUE;..]")]
    arch: Option<Architecture>,
    /// Learn with standardised weights, which do what batch normalisation does; what is saved has plain ones [default: true for a
    /// classifier that begins with random weights]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    standardize: Option<bool>,
    /// Folder of the run: checkpoints (state, last, best) and log.jsonl
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Go on with the run in --out, exactly as if it had not been interrupted (same options; begins it if there is none)
    #[arg(long)]
    resume: bool,
    /// Length of the run
    #[arg(long, value_name = "N", group = "length")]
    steps: Option<u64>,
    /// Length of the run in passes through the pictures
    #[arg(long, value_name = "N", group = "length")]
    epochs: Option<f64>,
    /// Pictures a step
    #[arg(long, default_value = "16")]
    batch: usize,
    /// Rows and columns of what is cut out of each picture; default: the classifier's size, or 64
    #[arg(long, value_name = "N")]
    patch: Option<usize>,
    /// How the noise level of each picture is drawn from its range
    #[arg(long, value_enum, default_value = "uniform")]
    sigma_law: LawName,
    /// Learning rate
    #[arg(long, default_value = "0.0005")]
    lr: f64,
    /// What moves the weights
    #[arg(long, value_enum, default_value = "adam")]
    optimizer: OptimizerName,
    /// Momentum of `sgd`
    #[arg(long, default_value = "0.9")]
    momentum: f64,
    /// Weight decay of `sgd`
    #[arg(long, default_value = "0.0001")]
    weight_decay: f64,
    /// Of the learning rate: `constant`, `cosine`, or `step:EVERY:FACTOR`
    #[arg(long, default_value = "cosine", value_parser = schedule)]
    schedule: Schedule,
    /// Steps in which the learning rate rises from 0
    #[arg(long, value_name = "N", default_value = "0")]
    warmup: u64,
    /// Decay of the running average of the weights that is saved; 0 for none
    #[arg(long, value_name = "DECAY", default_value = "0.999")]
    ema: f64,
    /// Largest norm of all gradients together
    #[arg(long, value_name = "NORM")]
    clip: Option<f64>,
    /// What may be done to the pictures: nothing, left-right flips, or turns by right angles as well
    #[arg(long, value_enum)]
    augment: Option<AugmentName>,
    /// How many pixels over the border a cut may reach; default: an eighth of the patch where there are classes
    #[arg(long, value_name = "PIXELS")]
    shift: Option<usize>,
    /// Seed of everything random
    #[arg(long, default_value = "0")]
    seed: u64,
    /// Threads; default: one for each core
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Steps from line to line in the log
    #[arg(long, value_name = "N", default_value = "50")]
    log_every: u64,
    /// Steps from checkpoint to checkpoint
    #[arg(long, value_name = "N", default_value = "500")]
    save_every: u64,
    /// Steps from validation to validation
    #[arg(long, value_name = "N", default_value = "1000")]
    val_every: u64,
    /// Show no progress
    #[arg(long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ObjectiveName {
    Mse,
    Stability,
    Hybrid,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LawName {
    Uniform,
    Sqrt,
    Log,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OptimizerName {
    Adam,
    Sgd,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AugmentName {
    None,
    Flip,
    Turn,
}

/// The metadata of a file of it.
#[derive(Clone, Debug)]
struct Architecture(HashMap<String, String>);

impl FromStr for Architecture {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        let mut metadata = HashMap::from([("arch".to_owned(), name.to_owned())]);
        for option in options.split(';').filter(|option| !option.is_empty()) {
            let Some((key, value)) = option.split_once('=') else {
                bail!("`{option}` is no KEY=VALUE: write for example `unet:channels=48,96,128;blocks=2,2,4`");
            };
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            if metadata.contains_key(&key) {
                bail!("`{key}` is given twice in `{text}`: the architecture's name comes first, without it");
            }
            metadata.insert(key, value);
        }
        Ok(Self(metadata))
    }
}

fn schedule(text: &str) -> anyhow::Result<Schedule> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        ["constant"] => Ok(Schedule::Constant),
        ["cosine"] => Ok(Schedule::Cosine),
        ["step", every, factor] => Ok(Schedule::Step { every: every.parse()?, factor: factor.parse()? }),
        _ => {
            bail!("`{text}` is none of `constant`, `cosine` and `step:EVERY:FACTOR` (such as step:10000:0.5)")
        }
    }
}

pub(super) fn run(command: &Command) -> Ended {
    let common = match command {
        Command::Denoiser(args) => &args.common,
        Command::Classifier(args) => &args.common,
    };
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = common.threads {
        pool = pool.num_threads(threads);
    }
    let pool = pool.build().context("cannot start the threads").map_err(Failure::internal)?;
    pool.install(|| {
        let trainer = match command {
            Command::Denoiser(args) => denoiser(args),
            Command::Classifier(args) => classifier(args),
        }?;
        go(trainer, common)
    })
}

fn denoiser(args: &DenoiserArgs) -> Result<Trainer, Failure> {
    let common = &args.common;
    let create = |metadata| Learner::create(metadata, common.seed).map_err(Failure::usage);
    let open = |init: &String| Learner::open(init).map_err(Failure::usage);
    let learner = match (&common.init, &common.arch) {
        (Some(init), None) => open(init)?,
        (None, None) => create(HashMap::from([("arch".into(), "unet".into())]))?,
        (None, Some(arch)) => create(arch.0.clone())?,
        (Some(init), Some(arch)) => common.adopt(create(arch.0.clone())?, &open(init)?, init)?,
    };
    let learner = common.standardized(learner, false);
    let names = args.classifier.iter().chain(&args.surrogate);
    let surrogates: Vec<Surrogate> =
        names.map(|name| Surrogate::open(name)).collect::<Result<_, _>>().map_err(Failure::usage)?;
    let (mut pictures, validation) = common.pictures(32)?;
    if let Some(file) = &args.labels {
        let Some(first) = surrogates.first() else {
            return Err(Failure::usage(anyhow!(
                "--labels needs --surrogate: nobody can learn through answers alone"
            )));
        };
        let answers = answers(file).map_err(Failure::usage)?;
        let lost = pictures.answered(|name| answers.get(name)?.as_deref(), first.labels());
        if lost > 0 && !common.quiet {
            eprintln!(
                "{lost} pictures are left out: {} has no answer for them that {} knows",
                file.display(),
                first.id()
            );
        }
    }
    let steps = common.length(&pictures)?;
    let objective = match args.objective {
        ObjectiveName::Mse => Objective::Mse,
        ObjectiveName::Stability => Objective::Stability,
        ObjectiveName::Hybrid => Objective::Hybrid { mse_steps: args.mse_steps.unwrap_or(steps / 2) },
    };
    let judge = args.judge.as_deref().map(Surrogate::open).transpose().map_err(Failure::usage)?;
    let through = surrogates.first().or(judge.as_ref()).map(Surrogate::input_size);
    let settings = Settings {
        objective,
        divide_by_sigma: args.divide_by_sigma,
        mse_weight: args.mse_weight,
        surrogate_noise: args.surrogate_noise,
        temperature: args.temperature,
        picture_clip: args.picture_clip,
        answered: args.labels.is_some(),
        ..common.settings(&args.sigma, steps, (through, AugmentName::Turn))
    };
    let trainer = Trainer::new(settings, learner, surrogates, pictures, validation).map_err(failure)?;
    match judge {
        Some(judge) => trainer.judged_by(judge).map_err(failure),
        None => Ok(trainer),
    }
}

fn classifier(args: &ClassifierArgs) -> Result<Trainer, Failure> {
    let common = &args.common;
    let (mut pictures, mut validation) = common.pictures(2000)?;
    let open = |init: &String| Learner::open_classifier(init).map_err(Failure::usage);
    let learner = match (&common.init, &common.arch) {
        (Some(init), None) => open(init)?,
        (init, Some(Architecture(metadata))) => {
            let mut metadata = metadata.clone();
            if let Some(class) = pictures.classes.iter().find(|class| class.contains('|')) {
                let error = anyhow!(
                    "class `{class}` has a `|` in its name, which separates classes: rename its folder"
                );
                return Err(Failure::usage(error));
            }
            metadata.entry("classes".into()).or_insert_with(|| pictures.classes.join("|"));
            let new = Learner::create_classifier(metadata, common.seed).map_err(Failure::usage)?;
            match init {
                Some(init) => common.adopt(new, &open(init)?, init)?,
                None => new,
            }
        }
        (None, None) => {
            let error = anyhow!("give --arch (`cifar-resnet`, `things64`, `efficientnet-lite`) or --init");
            return Err(Failure::usage(error));
        }
    };
    let learner = common.standardized(learner, common.init.is_none());
    for set in [&mut pictures, &mut validation] {
        set.classes_as(learner.labels()).map_err(Failure::usage)?;
    }
    let steps = common.length(&pictures)?;
    let settings = Settings {
        objective: Objective::Classes,
        ..common.settings(&args.sigma, steps, (learner.input_size(), AugmentName::Flip))
    };
    Trainer::new(settings, learner, vec![], pictures, validation).map_err(failure)
}

impl Common {
    /// Those to learn from, and those for validation.
    fn pictures(&self, default_count: usize) -> Result<(Pictures, Pictures), Failure> {
        let count = self.val_count.unwrap_or(default_count);
        let pictures = self.data.read(Split::Train).map_err(Failure::usage)?;
        let other = self.val.as_ref().or_else(|| self.data.has_test_split().then_some(&self.data));
        match other {
            Some(source) => Ok((pictures, source.read(Split::Test).map_err(Failure::usage)?.thin(count))),
            None => Ok(pictures.hold_out(count)),
        }
    }

    /// A new network with what it has in common with the one of `--init`.
    fn adopt(&self, mut new: Learner, init: &Learner, name: &str) -> Result<Learner, Failure> {
        let (adopted, all) = new.adopt(init);
        if adopted == 0 {
            let error =
                anyhow!("`--init {name}` has no tensor in common with `--arch`: begin without one of them");
            return Err(Failure::usage(error));
        }
        if !self.quiet {
            eprintln!("{adopted} of {all} tensors begin as those of {name}, the others at random");
        }
        Ok(new)
    }

    fn standardized(&self, mut learner: Learner, usual: bool) -> Learner {
        if self.standardize.unwrap_or(usual) {
            learner.standardize();
        }
        learner
    }

    fn length(&self, pictures: &Pictures) -> Result<u64, Failure> {
        match (self.steps, self.epochs) {
            (Some(steps), _) => Ok(steps),
            (None, Some(epochs)) if epochs > 0.0 && epochs.is_finite() => {
                Ok((epochs * pictures.all.len() as f64 / self.batch.max(1) as f64).ceil() as u64)
            }
            _ => Err(Failure::usage(anyhow!("--epochs must be a positive number"))),
        }
    }

    /// What both kinds of runs have in common; `size` is that of a classifier's pictures, if there is one.
    fn settings(
        &self,
        sigma: &SigmaMix,
        steps: u64,
        (size, usual): (Option<(usize, usize)>, AugmentName),
    ) -> Settings {
        let patch = self.patch.or(size.map(|size| size.0)).unwrap_or(64);
        let (usual, shift) = match size {
            Some((size, _)) => (AugmentName::Flip, size / 8),
            None => (usual, 0),
        };
        let augment = self.augment.unwrap_or(usual);
        Settings {
            objective: Objective::Mse,
            sigma: sigma.clone(),
            sigma_law: match self.sigma_law {
                LawName::Uniform => SigmaLaw::Uniform,
                LawName::Sqrt => SigmaLaw::Sqrt,
                LawName::Log => SigmaLaw::Log,
            },
            divide_by_sigma: false,
            mse_weight: 0.0,
            surrogate_noise: 0.0,
            temperature: 1.0,
            picture_clip: None,
            steps,
            batch: self.batch,
            patch,
            seed: self.seed,
            optimizer: match self.optimizer {
                OptimizerName::Adam => OptimizerKind::adam(),
                OptimizerName::Sgd => {
                    OptimizerKind::Sgd { momentum: self.momentum, weight_decay: self.weight_decay }
                }
            },
            rate: self.lr,
            schedule: self.schedule,
            warmup: self.warmup,
            average: self.ema,
            clip: self.clip,
            augment: Augment {
                flip: matches!(augment, AugmentName::Flip),
                turn: matches!(augment, AugmentName::Turn),
                shift: self.shift.unwrap_or(shift),
            },
            validation_sigma: if self.val_sigma.is_empty() { levels(sigma) } else { self.val_sigma.clone() },
            data: String::new(),
            validation: String::new(),
            network: String::new(),
            surrogates: vec![],
            judge: None,
            answered: false,
            standardized: false,
        }
    }
}

/// The ends of a range and their geometric middle, or the one level; of several ranges, their ends.
fn levels(sigma: &SigmaMix) -> Vec<f64> {
    if let [SigmaRange { low, high }] = *sigma.ranges()
        && low < high
    {
        return vec![low, (low.max(high / 100.0) * high).sqrt(), high];
    }
    let mut levels: Vec<f64> = sigma.ranges().iter().flat_map(|range| [range.low, range.high]).collect();
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    levels
}

fn go(trainer: Trainer, common: &Common) -> Ended {
    let cadence = Cadence { log: common.log_every, save: common.save_every, validate: common.val_every };
    let open = if common.resume { Run::resume } else { Run::start };
    let mut run = open(trainer, &common.out, cadence).map_err(failure)?;
    let steps = Steps::new(run.trainer().settings().steps, run.trainer().steps_made(), common.quiet);
    let stop = stop_on_signal().context("cannot listen for signals").map_err(Failure::internal)?;
    let mut printed = Ok(());
    let ended = run.go(&stop, |event| match event {
        Event::Step { measured, pictures_per_second, left } => {
            steps.made(measured.step, measured.loss, pictures_per_second, left);
        }
        Event::Validated { step, validation, best } => {
            let line = steps.aside(|| print(step, &validation, best));
            printed = std::mem::replace(&mut printed, Ok(())).and(line);
        }
        _ => {}
    });
    steps.finish();
    let ended = ended.map_err(failure)?;
    printed.context("cannot write the results").map_err(Failure::internal)?;
    let out = common.out.display();
    Ok(match ended {
        RunEnded::Complete => {
            let best = if common.out.join("best.safetensors").exists() {
                format!("{out}/best.safetensors and ")
            } else {
                String::new()
            };
            eprintln!("done: weights are in {best}{out}/last.safetensors");
            Exit::Success
        }
        RunEnded::Stopped => {
            eprintln!("stopped after step {}; go on with --resume", run.trainer().steps_made());
            Exit::Interrupted
        }
    })
}

fn print(step: u64, validation: &Validation, best: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "step {step}:")?;
    for quality in &validation.at {
        write!(out, "  sigma {:.3}", quality.sigma)?;
        if let Some(psnr) = quality.psnr {
            write!(out, " {psnr:.2} dB")?;
        }
        if let Some(accuracy) = quality.accuracy {
            write!(out, " {:.1} %", 100.0 * accuracy)?;
        }
    }
    writeln!(out, "{}", if best { "  best" } else { "" })
}

fn failure(error: TrainError) -> Failure {
    match error {
        TrainError::Write { .. } | TrainError::Diverged { .. } => Failure::internal(error),
        _ => Failure::usage(error),
    }
}

/// Set by the first interrupt or request to end; the step that is being made is finished and saved.
fn stop_on_signal() -> std::io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            signals::signal().await;
            set.store(true, Ordering::Relaxed);
        });
    })?;
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_and_schedules_are_read() {
        let Architecture(metadata) = "unet:channels=8,16,32; blocks=1,1,1".parse().unwrap();
        assert_eq!((metadata["arch"].as_str(), metadata["channels"].as_str()), ("unet", "8,16,32"));
        assert_eq!(metadata["blocks"], "1,1,1");
        assert!("unet:channels".parse::<Architecture>().is_err());
        assert!("unet:arch=dncnn".parse::<Architecture>().is_err());
        assert_eq!(schedule("step:100:0.5").unwrap(), Schedule::Step { every: 100, factor: 0.5 });
        for bad in ["step", "step:1", "linear", "step:x:1"] {
            assert!(schedule(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn validation_looks_at_the_whole_range() {
        let of = |sigma: &str| levels(&sigma.parse().unwrap());
        assert_eq!(of("0.25"), [0.25]);
        assert_eq!(of("0.5,0.1..1.0,0.25"), [0.1, 0.25, 0.5, 1.0]);
        let three = of("0.04..1.0");
        assert!((three[1] - 0.2).abs() < 1e-12 && three.len() == 3);
    }
}
