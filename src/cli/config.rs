//! `smoothgate config`: check, show, start and describe the configuration.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use smoothgate_providers::credentials::Environment;

use super::provider::ConfigOption;
use super::{Ended, Exit, Failure};
use crate::config::Config;

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check the file, the options of every instance and whether its credentials are there; nothing is sent
    Check,
    /// Show what is in force, every default written out; it holds no secret
    Show(ShowArgs),
    /// Write a commented example to start from
    Init(InitArgs),
    /// Print the JSON Schema of the file, for editors
    Schema,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Print JSON instead of TOML
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Where to write it; a file that is there is left alone
    #[arg(default_value = "smoothgate.toml")]
    path: PathBuf,
}

pub(super) fn run(command: &Command, config: &ConfigOption) -> Ended {
    let text = match command {
        Command::Check => return check(config),
        Command::Show(args) => show(args, &config.load()?)?,
        Command::Init(args) => {
            init(args)?;
            return Ok(Exit::Success);
        }
        Command::Schema => serde_json::to_string_pretty(&Config::schema()).map_err(Failure::internal)? + "\n",
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(Exit::Success)
}

fn check(option: &ConfigOption) -> Ended {
    let config = option.load()?;
    let environment = Environment::process();
    let mut out = std::io::stdout().lock();
    match &config.path {
        Some(path) => writeln!(out, "{}: valid", path.display())?,
        None => writeln!(
            out,
            "no configuration file: every provider has its defaults (`smoothgate config init` writes one)"
        )?,
    }
    let mut exit = Exit::Success;
    for instance in config.instances() {
        match instance.open(&environment).map(|endpoint| (endpoint.credential(), endpoint.check())) {
            Ok((status, Ok(()))) => {
                writeln!(out, "{}: ready ({} from {})", instance.name, status.kind, status.source)?;
            }
            Ok((_, Err(error))) => {
                writeln!(out, "{}: {error}", instance.name)?;
                exit = Exit::Usage;
            }
            Err(error) => {
                writeln!(out, "{error}")?;
                exit = Exit::Usage;
            }
        }
    }
    Ok(exit)
}

fn show(args: &ShowArgs, config: &Config) -> Result<String, Failure> {
    let effective = config.effective();
    if args.json {
        return Ok(serde_json::to_string_pretty(&effective).map_err(Failure::internal)? + "\n");
    }
    let from = config.path.as_ref().map_or("no file: all defaults".to_owned(), |p| p.display().to_string());
    Ok(format!("# {from}\n{}", toml::to_string(&effective).map_err(Failure::internal)?))
}

fn init(args: &InitArgs) -> Result<(), Failure> {
    let path = &args.path;
    let mut file = std::fs::File::create_new(path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            return Failure::usage(anyhow!("`{}` is there already and was left as it is", path.display()));
        }
        Failure::usage(anyhow::Error::from(error).context(format!("cannot write `{}`", path.display())))
    })?;
    let written = file.write_all(Config::EXAMPLE.as_bytes());
    written.with_context(|| format!("cannot write `{}`", path.display())).map_err(Failure::internal)?;
    tell!("wrote {}", path.display());
    Ok(())
}
