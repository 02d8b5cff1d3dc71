//! `smoothgate picture`: facts about picture files.

use std::io::Write;

use super::inputs;
use super::options::SizeOptions;
use super::{Ended, Exit, Failure};
use crate::picture::{WorkingImage, WorkingSize};

/// Commands about pictures.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// BLAKE3 of the working image's pixels, as certificates name it that were made with this --size and --fit (the built-in classifier
    /// works at 64)
    Hash(HashArgs),
}

/// Options of `picture hash`.
#[derive(Debug, clap::Args)]
pub(super) struct HashArgs {
    /// Pictures, folders, quoted patterns, or `-` for standard input
    #[arg(required = true, value_name = "PATH")]
    pictures: Vec<String>,
    #[command(flatten)]
    size: SizeOptions,
}

pub(super) fn run(command: &Command) -> Ended {
    let Command::Hash(args) = command;
    let options = args.size.picture(WorkingSize::Native);
    let mut out = std::io::stdout().lock();
    for input in inputs::resolve(&args.pictures).map_err(Failure::usage)? {
        let bytes = input.read(&options.limits).map_err(Failure::usage)?;
        let image = WorkingImage::decode(&bytes, &options)
            .map_err(|error| Failure::usage(anyhow::Error::new(error).context(input.name())))?;
        writeln!(out, "{}  {}x{}  {}", image.hash(), image.width(), image.height(), input.name())
            .map_err(Failure::internal)?;
    }
    Ok(Exit::Success)
}
