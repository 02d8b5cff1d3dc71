//! `smoothgate resume`: goes on with a run as it was started.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::Args as ClapArgs;
use serde_json::{Value, json};
use smoothgate_providers::Money;

use super::ledger::LedgerPath;
use super::provider::ConfigOption;
use super::{Cli, Ended, Failure};
use crate::ledger::{Cap, Reader, RunId, RunReport};

/// Options of `resume`.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The run, as `smoothgate runs` numbers them; default: the latest that is not finished
    run: Option<i64>,
    #[command(flatten)]
    place: LedgerPath,
    /// Most calls of the whole run, what it has made before included
    #[arg(long, value_name = "N")]
    max_calls: Option<u64>,
    /// Most that the whole run may cost, what it has spent before included
    #[arg(long, value_name = "AMOUNT")]
    max_cost: Option<Money>,
}

/// The command that goes on with a run, for whoever is to type it: with the ledger, where it is not the usual one. What else it was
/// started with the run keeps.
pub(super) fn again(run: RunId, ledger: Option<&Path>) -> String {
    let whole = |file: &Path| std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let ledger = ledger.map(|file| format!(" --ledger {}", quoted(&whole(file).display().to_string())));
    format!("smoothgate resume {run}{}", ledger.unwrap_or_default())
}

/// As one word of a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@%,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The command line of this process, and the run that it goes on with.
pub(super) struct Command {
    /// The arguments after the program's name.
    pub arguments: Vec<String>,
    /// The run, for `resume`.
    pub resumed: Option<RunId>,
}

impl Command {
    /// What this process was started with.
    pub(super) fn of_process() -> Self {
        let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
        Self { arguments: arguments.collect(), resumed: None }
    }

    /// What a run keeps of it.
    pub(super) fn to_json(&self) -> Value {
        let folder = std::env::current_dir().ok().map(|folder| folder.display().to_string());
        json!({ "arguments": self.arguments, "folder": folder })
    }

    /// What a run kept, with the folder in which it was started.
    fn of_json(kept: &Value, run: RunId) -> anyhow::Result<(Self, Option<PathBuf>)> {
        let arguments =
            kept["arguments"].as_array().map(|all| all.iter().map(|a| a.as_str().map(str::to_owned)));
        let arguments: Option<Vec<String>> = arguments.and_then(Iterator::collect);
        let Some(arguments) = arguments else {
            bail!("run {run} does not say how it was started: give its command again");
        };
        Ok((Self { arguments, resumed: Some(run) }, kept["folder"].as_str().map(PathBuf::from)))
    }
}

/// The latest run that is not finished and can be gone on with: those of `serve` and `label` say nothing of how.
fn latest(reader: &Reader) -> Result<Option<RunReport>, Failure> {
    for id in reader.unfinished().map_err(Failure::ledger)? {
        let kept = reader.run(id).map_err(Failure::ledger)?;
        if Command::of_json(&kept.arguments, id).is_ok() {
            return Ok(Some(kept));
        }
    }
    Ok(None)
}

pub(super) fn run(args: &Args, config: &ConfigOption) -> Ended {
    let path = args.place.path(&config.load()?)?;
    let path = std::path::absolute(&path).unwrap_or(path);
    let given = config.config.clone().map(|file| std::path::absolute(&file).unwrap_or(file));
    let reader = Reader::open(&path).map_err(Failure::ledger)?;
    let kept = match args.run {
        Some(run) => reader.run(RunId(run)).map_err(Failure::ledger)?,
        None => latest(&reader)?.ok_or_else(|| {
            Failure::usage(anyhow!(
                "every run in {} that can be gone on with is finished: `smoothgate runs` lists them",
                path.display()
            ))
        })?,
    };
    let id = kept.summary.id;
    drop(reader);
    let (command, folder) = Command::of_json(&kept.arguments, id).map_err(Failure::usage)?;
    if let Some(folder) = folder {
        let entered = std::env::set_current_dir(&folder);
        entered
            .with_context(|| {
                format!("run {id} was started in `{}`, which cannot be entered", folder.display())
            })
            .map_err(Failure::usage)?;
    }
    let program = "smoothgate".to_owned();
    let mut cli =
        <Cli as clap::Parser>::try_parse_from(std::iter::once(program).chain(command.arguments.clone()))
            .map_err(|error| {
                Failure::usage(anyhow!("run {id} was started by another version, in other words: {error}"))
            })?;
    // Prices, budgets and credentials are those of the file that is named now.
    if given.is_some() {
        cli.config.config = given;
    }
    // What is not said now is as it was said last, which may not have been when the run was started.
    let last = kept.summary.budget;
    let budget = Cap { calls: args.max_calls.or(last.calls), cost: args.max_cost.or(last.cost) };
    // The ledger that holds the run, also where the run found it by default.
    cli.resume(budget, &path, &command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_names_the_ledger_that_was_given() {
        assert_eq!(again(RunId(3), None), "smoothgate resume 3");
        assert_eq!(again(RunId(3), Some(Path::new("/a/l.db"))), "smoothgate resume 3 --ledger /a/l.db");
        let odd = again(RunId(3), Some(Path::new("/a b/l'.db")));
        assert_eq!(odd, r"smoothgate resume 3 --ledger '/a b/l'\''.db'");
    }
}
