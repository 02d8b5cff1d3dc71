//! The command line: one file a command, thin.

/// Says something to people on standard error. `eprintln!` would end the program where nobody reads there any more.
macro_rules! tell {
    ($($words:tt)*) => {
        $crate::cli::output::tell(format_args!($($words)*))
    };
}

mod answers;
mod bench;
mod caller_keys;
mod certificate;
mod certify;
mod completions;
mod config;
mod denoise;
mod emulate;
mod evaluate;
mod exit;
mod files;
mod guard;
mod inputs;
mod judge;
mod keys;
mod label;
mod ledger;
mod log;
mod models;
mod options;
mod output;
mod picture;
mod plan;
mod progress;
mod provider;
mod providers;
mod radius;
mod replay;
mod report;
mod resume;
mod runs;
mod serve;
mod signals;
mod test_options;
mod thumbnails;
mod traces;
mod train;
mod train_options;
mod verify;
mod work;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use exit::Exit;

/// Certified robustness for image-labelling APIs that you can call but not change.
#[derive(Debug, Parser)]
#[command(name = "smoothgate", version, after_help = exit::HELP, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    config: provider::ConfigOption,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Certify pictures: label and radius within which no perturbation changes it
    Certify(certify::Args),
    /// What certifying will take: calls, money, time, bytes and the radius in reach; nothing is sent
    ///
    /// Takes what `certify` takes, or the number of pictures in their place.
    Plan(plan::PlanArgs),
    /// Predict labels: the most likely answer, without a radius (cheaper)
    Predict(certify::PredictArgs),
    /// Certify a labelled data set: certified accuracy against radius, with what it took
    Evaluate(evaluate::Args),
    /// Go on with a run that was interrupted, stopped by its budget or killed
    Resume(resume::Args),
    /// The runs on record: list, show, export, remove
    Runs(runs::Args),
    /// What a provider says about pictures as they are: one plain call each, no noise, no certificate
    Label(label::Args),
    /// Whom one can ask, their limits and prices, and whether the credentials are complete
    Providers(providers::Args),
    /// The configuration: check, show, start one
    #[command(subcommand)]
    Config(config::Command),
    /// Radius from counts: K of N votes agree
    Radius(radius::Args),
    /// Put recorded answers to another question or test, offline
    ///
    /// A log holds one JSON object a line, one picture each: `api`, `denoiser`, `sigma`, `idx` (the picture's number), `n0`
    /// and `n` (selection and estimation votes), `names` (of labels), `clean` (the answer about the picture without noise)
    /// and `votes` (those about its noisy copies). An answer is a list of `[position in names, score]`, `[]` without a
    /// label, `null` for a call that failed. `logged`, if there, holds `predict` (a label or -1) and `radius`.
    Replay(replay::Args),
    /// What the denoiser does: PSNR and SSIM at several noise levels, and with --out pictures side by side
    Denoise(denoise::Args),
    /// Certified accuracy against radius from logs and runs: table, drawings, HTML page
    Report(report::Args),
    /// Check certificates: everything that follows from them is computed anew
    Verify(verify::Args),
    /// Keys that sign certificates (new, public), and those of callers of the proxy (issue, list, change, revoke)
    #[command(subcommand)]
    Keys(keys::Command),
    /// The format of certificates
    #[command(subcommand)]
    Certificate(certificate::Command),
    /// Serve the formats of the public APIs in front of the built-in classifier, with faults on purpose
    Emulate(emulate::Args),
    /// Answer in the formats of the public APIs with labels that are certified: point a client at it
    ///
    /// The routes of the configuration say which requests go where, and with which question and test. With --provider all requests
    /// go there, with the defaults, and the routes do not count.
    Serve(serve::Args),
    /// The denoisers and classifiers that are part of the program
    Models(models::Args),
    /// How fast the local half is on this machine: `bench denoiser`
    #[command(subcommand)]
    Bench(bench::Command),
    /// Train a denoiser or a classifier on this machine's processor
    #[command(subcommand)]
    Train(train::Command),
    /// Facts about picture files
    #[command(subcommand)]
    Picture(picture::Command),
    /// What a shell completes: a script for `bash`, `zsh`, `fish`, `elvish` or `powershell`
    Completions(completions::Args),
}

/// A number of things that there must be any of.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it is at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("it is a whole number of at least 1 ({error})")),
    }
}

/// A number below 0 is a value, which its option refuses with a reason, and no option that nobody knows.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    let values = |argument: clap::Arg| {
        let takes = argument.get_action().takes_values();
        if takes { argument.allow_negative_numbers(true) } else { argument }
    };
    command.mut_args(values).mut_subcommands(with_negative_numbers)
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let matches = with_negative_numbers(Cli::command()).try_get_matches();
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no error.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            return match error.print() {
                // Whoever closes a pipe has read what they wanted.
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Exit::Failure.into(),
                Ok(()) | Err(_) => exit.into(),
            };
        }
    };
    let ended = cli.run();
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) if failure.is_broken_pipe() => Exit::Success.into(),
        Err(failure) => {
            tell!("error: {}", in_words(&failure.error));
            failure.exit.into()
        }
    }
}

/// An error and its causes in one line. Some messages hold their cause's already.
fn in_words(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |words, cause| match words.as_str() {
        "" => cause,
        said if said.contains(&cause) => words,
        said => format!("{said}: {cause}"),
    })
}

/// `1 picture`, `2 pictures`.
fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

impl Cli {
    fn run(self) -> Ended {
        let config = &self.config;
        match self.command {
            Command::Certify(args) => certify::run(args, config, &resume::Command::of_process()),
            Command::Plan(args) => certify::run_plan(args, config, &resume::Command::of_process()),
            Command::Predict(args) => certify::run_predict(&args, config, &resume::Command::of_process()),
            Command::Evaluate(args) => evaluate::run(args, config, &resume::Command::of_process()),
            Command::Resume(args) => resume::run(&args, config),
            Command::Runs(args) => runs::run(&args, config),
            Command::Label(args) => label::run(&args, config),
            Command::Providers(args) => providers::run(&args, config),
            Command::Config(command) => config::run(&command, config),
            Command::Radius(args) => radius::run(&args),
            Command::Replay(args) => replay::run(&args),
            Command::Denoise(args) => denoise::run(&args, config),
            Command::Report(args) => report::run(&args, config),
            Command::Verify(args) => verify::run(&args, config),
            Command::Keys(command) => keys::run(&command),
            Command::Certificate(command) => certificate::run(command),
            Command::Emulate(args) => emulate::run(&args),
            Command::Serve(args) => serve::run(&args, config),
            Command::Models(args) => models::run(&args),
            Command::Bench(command) => bench::run(&command, config),
            Command::Train(command) => train::run(&command),
            Command::Picture(command) => picture::run(&command),
            Command::Completions(args) => completions::run(&args),
        }
    }

    /// Goes on with the run that this command line started.
    fn resume(
        self,
        budget: crate::ledger::Cap,
        ledger: &std::path::Path,
        command: &resume::Command,
    ) -> Ended {
        match self.command {
            Command::Certify(mut args) => {
                args.resume(budget, ledger);
                certify::run(args, &self.config, command)
            }
            Command::Predict(mut args) => {
                args.resume(budget, ledger);
                certify::run_predict(&args, &self.config, command)
            }
            Command::Evaluate(mut args) => {
                args.resume(budget, ledger);
                evaluate::run(args, &self.config, command)
            }
            _ => Err(Failure::usage(anyhow::anyhow!("its command cannot be resumed"))),
        }
    }
}

/// Why a command ended early, and with which exit code.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    /// The caller's to mend.
    fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Usage, error: error.into() }
    }

    /// The provider's, the disk's or ours.
    fn internal(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Failure, error: error.into() }
    }

    /// The ledger: mostly the caller's to mend.
    fn ledger(error: crate::ledger::LedgerError) -> Self {
        use crate::ledger::LedgerError::{Budget, Full, Storage};
        let exit = match &error {
            Budget(_) => Exit::Budget,
            Full { .. } | Storage { .. } => Exit::Failure,
            other if other.fault() == smoothgate_providers::Fault::User => Exit::Usage,
            _ => Exit::Failure,
        };
        Self { exit, error: error.into() }
    }

    /// The reader of our output went away (`| head`): it has what it wanted.
    fn is_broken_pipe(&self) -> bool {
        let kinds = self.error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
        kinds.into_iter().any(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// What asynchronous work runs on.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the asynchronous runtime").map_err(Failure::internal)
}

/// Of results that could not be written.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::internal(anyhow::Error::from(error).context("cannot write the results"))
    }
}

/// Results of commands.
type Ended = Result<Exit, Failure>;
