//! `smoothgate completions`: what a shell completes.

use clap::{Args as ClapArgs, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Ended, Exit, Failure};

/// Options of `completions`.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Ended {
    // First into memory: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "smoothgate", &mut script);
    std::io::Write::write_all(&mut std::io::stdout().lock(), &script).map_err(Failure::internal)?;
    Ok(Exit::Success)
}
