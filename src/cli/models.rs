//! `smoothgate models`: which models are part of the program.

use std::io::Write as _;

use anyhow::Context as _;
use clap::Args as ClapArgs;
use serde::Serialize;
use smoothgate_denoisers::{BUILTIN, Builtin, Device, OpenError, Options, Task, open, open_classifier};

use super::output::json_line;
use super::{Ended, Exit, Failure};

/// Options of `models`.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Print one JSON object a model
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line {
    name: &'static str,
    task: &'static str,
    about: &'static str,
    /// Of architecture, weights and precision: what certificates record.
    hash: String,
    numbers: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    license: &'static str,
}

pub(super) fn run(args: &Args) -> Ended {
    let lines: Result<Vec<Line>, OpenError> = BUILTIN.iter().map(line).collect();
    let lines = lines.map_err(Failure::internal)?;
    print(&lines, args.json).context("cannot write the models").map_err(Failure::internal)?;
    Ok(Exit::Success)
}

fn line(model: &Builtin) -> Result<Line, OpenError> {
    let options = Options::on(Device::Cpu);
    let (task, hash) = match model.task {
        Task::Denoise => ("denoiser", open(model.name, &options)?.id().hash()),
        Task::Classify => ("classifier", open_classifier(model.name, &options)?.id().hash()),
    };
    let Builtin { name, about, numbers, license, .. } = *model;
    Ok(Line { name, task, about, hash: hash.to_hex().to_string(), numbers, license })
}

fn print(lines: &[Line], json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        if json {
            json_line(&mut out, line)?;
            continue;
        }
        writeln!(out, "{} ({})\n  {}\n  {}", line.name, line.task, line.about, line.numbers)?;
        writeln!(out, "  hash {}", line.hash)?;
        if !line.license.is_empty() {
            writeln!(out, "  licence {}", line.license)?;
        }
    }
    Ok(())
}
