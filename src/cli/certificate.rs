//! `smoothgate certificate`: about the document's format.

use std::io::Write;

use super::{Ended, Exit, Failure};
use crate::certificate::schema;

/// Commands about the format.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print the JSON Schema of certificate documents
    Schema,
}

pub(super) fn run(command: Command) -> Ended {
    let Command::Schema = command;
    std::io::stdout().lock().write_all(schema().as_bytes()).map_err(Failure::internal)?;
    Ok(Exit::Success)
}
