//! `smoothgate keys`: pairs that sign certificates, and the keys of those who call the proxy.

use std::io::Write;
use std::path::PathBuf;

use super::{Ended, Exit, Failure, caller_keys};
use crate::certificate::SigningKey;

/// Commands about keys.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make an Ed25519 key pair that signs certificates, in a file that its owner alone can read
    New(NewArgs),
    /// Print the public half of such a pair, for those who verify
    Public(PublicArgs),
    #[command(flatten)]
    OfCallers(caller_keys::Command),
}

/// Options of `keys new`.
#[derive(Debug, clap::Args)]
pub(super) struct NewArgs {
    /// The file; an existing one is never overwritten
    #[arg(long, value_name = "FILE", default_value = "smoothgate-key.pem")]
    out: PathBuf,
}

/// Options of `keys public`.
#[derive(Debug, clap::Args)]
pub(super) struct PublicArgs {
    /// The file that `keys new` wrote
    #[arg(value_name = "FILE", default_value = "smoothgate-key.pem")]
    key: PathBuf,
}

pub(super) fn run(command: &Command) -> Ended {
    let mut out = std::io::stdout().lock();
    let printed = match command {
        Command::New(args) => {
            let key = SigningKey::generate().map_err(Failure::internal)?;
            key.save(&args.out).map_err(Failure::usage)?;
            writeln!(out, "key {} in {}", key.public().id(), args.out.display())
        }
        Command::Public(args) => {
            let key = SigningKey::load(&args.key).map_err(Failure::usage)?.public();
            write!(out, "{}", key.to_pem())
        }
        Command::OfCallers(command) => {
            drop(out);
            return caller_keys::run(command);
        }
    };
    printed.map_err(Failure::internal)?;
    Ok(Exit::Success)
}
