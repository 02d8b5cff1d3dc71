//! `smoothgate train`: denoisers and classifiers from pictures.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow};
use clap::Subcommand;
use smoothgate_denoisers::training::{
    Cadence, Ended as RunEnded, Event, Learner, Objective, Run, Settings, Surrogate, TrainError, Trainer,
    Validation,
};

use super::answers::answers;
use super::progress::Steps;
use super::train_options::{
    Architecture, AugmentName, ClassifierArgs, Common, DenoiserArgs, ObjectiveName, OptimizerName,
};
use super::{Ended, Exit, Failure, signals};

/// What is trained.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// A denoiser: by squared error, or so that a classifier says of a denoised picture what it says of the clean one
    Denoiser(DenoiserArgs),
    /// A classifier, on clean pictures or with Gaussian noise (Cohen et al. 2019)
    Classifier(ClassifierArgs),
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
    if matches!(common.optimizer, OptimizerName::Adam)
        && (common.momentum.is_some() || common.weight_decay.is_some())
    {
        let error = anyhow!(
            "--momentum and --weight-decay are for `--optimizer sgd`; `adam`, the default, has neither"
        );
        return Err(Failure::usage(error));
    }
    pool.install(|| {
        let trainer = match command {
            Command::Denoiser(args) => denoiser(args),
            Command::Classifier(args) => classifier(args),
        }?;
        go(trainer, common)
    })
}

/// What was given and would change nothing, if there is something: whoever gave it believes that it does.
fn idle(args: &DenoiserArgs) -> Option<&'static str> {
    let through = args.classifier.is_some() || !args.surrogate.is_empty();
    match args.objective {
        ObjectiveName::Mse if through => Some(
            "nothing is learnt through a classifier with `--objective mse`, the default: choose `stability` or `hybrid`, or give it as --judge",
        ),
        ObjectiveName::Mse if args.labels.is_some() => {
            Some("`--objective mse`, the default, learns from no --labels: choose `stability` or `hybrid`")
        }
        ObjectiveName::Mse | ObjectiveName::Stability if args.mse_steps.is_some() => {
            Some("--mse-steps is for `--objective hybrid`")
        }
        _ => None,
    }
}

fn denoiser(args: &DenoiserArgs) -> Result<Trainer, Failure> {
    let common = &args.common;
    if let Some(reason) = idle(args) {
        return Err(Failure::usage(anyhow!(reason)));
    }
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
        let lost =
            pictures.answered(|name| answers.get(name.trim_start_matches("./"))?.as_deref(), first.labels());
        if lost > 0 && !common.quiet {
            tell!(
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
        adversary: args.adversary,
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
            let best =
                if run.trainer().has_best() { format!("{out}/best.safetensors and ") } else { String::new() };
            tell!("done: weights are in {best}{out}/last.safetensors");
            Exit::Success
        }
        RunEnded::Stopped => {
            tell!("stopped after step {}; go on with --resume", run.trainer().steps_made());
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

/// Set by the first interrupt or request to end; the step or validation that is being made is finished, and all is saved. The second
/// ends the process at once: what is on disk then is whole, as files take their places when they are complete.
#[expect(
    clippy::exit,
    clippy::disallowed_methods,
    reason = "the network's threads cannot be stopped within a step, and nothing is paid for here"
)]
fn stop_on_signal() -> std::io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut requests = {
        let _within = runtime.enter();
        signals::Requests::listen()
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            requests.next().await;
            set.store(true, Ordering::Relaxed);
            tell!("stopping after this step, or validation, and saving (again to leave at once)");
            requests.next().await;
            std::process::exit(Exit::Interrupted as i32);
        });
    })?;
    Ok(stop)
}
