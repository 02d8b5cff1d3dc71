//! The command line: one file a command, thin.

#![expect(clippy::print_stderr, reason = "the command line is where words for people are printed")]

mod certify;
mod denoise;
mod exit;
mod inputs;
mod options;
mod output;
mod picture;
mod progress;
mod radius;
mod replay;
mod report;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use exit::Exit;

/// Certified robustness for image-labelling APIs that you can call but not change.
#[derive(Debug, Parser)]
#[command(name = "smoothgate", version, after_help = exit::HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Certify pictures: label and radius within which no perturbation changes it
    Certify(certify::Args),
    /// Predict labels: the most likely answer, without a radius (cheaper)
    Predict(certify::PredictArgs),
    /// Radius from counts: K of N votes agree
    Radius(radius::Args),
    /// Put recorded answers to another question or test, offline
    ///
    /// A log holds one JSON object a line, one picture each: `api`, `denoiser`, `sigma`, `idx` (the picture's number), `n0`
    /// and `n` (selection and estimation votes), `names` (of labels), `clean` (the answer about the picture without noise)
    /// and `votes` (those about its noisy copies). An answer is a list of `[position in names, score]`, `[]` without a
    /// label, `null` for a call that failed. `logged`, if there, holds `predict` (a label or -1) and `radius`.
    Replay(replay::Args),
    /// Show what the denoiser does: picture, noisy copy and denoised copy side by side, with PSNR
    Denoise(denoise::Args),
    /// Certified accuracy against radius from logs: table, curve, HTML page
    Report(report::Args),
    /// Train a denoiser or a classifier on this machine's processor
    #[command(subcommand)]
    Train(train::Command),
    /// Facts about picture files
    #[command(subcommand)]
    Picture(picture::Command),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no error.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            return match error.print() {
                Ok(()) => exit.into(),
                Err(_) => Exit::Failure.into(),
            };
        }
    };
    let ended = match cli.command {
        Command::Certify(args) => certify::run(args),
        Command::Predict(args) => certify::run_predict(args),
        Command::Radius(args) => radius::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Denoise(args) => denoise::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Train(command) => train::run(&command),
        Command::Picture(command) => picture::run(&command),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) if failure.is_broken_pipe() => Exit::Success.into(),
        Err(failure) => {
            eprintln!("error: {:#}", failure.error);
            failure.exit.into()
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

    /// The reader of our output went away (`| head`): it has what it wanted.
    fn is_broken_pipe(&self) -> bool {
        let kinds = self.error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
        kinds.into_iter().any(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// Results of commands.
type Ended = Result<Exit, Failure>;
