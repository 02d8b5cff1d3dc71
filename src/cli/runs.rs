//! `smoothgate runs`: what is on record.

use std::io::Write;

use anyhow::anyhow;
use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use super::ledger::LedgerPath;
use super::output::printable;
use super::provider::ConfigOption;
use super::{Ended, Exit, Failure, runtime};
use crate::config::Config;
use crate::ledger::{Ledger, LogHead, LogLine, Options, Reader, RunId, RunReport, RunSummary, Spend};
use crate::question::Question;
use crate::stats::LabelRule;

/// Options of `runs`.
#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, ClapArgs)]
struct ListArgs {
    #[command(flatten)]
    place: LedgerPath,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All runs, oldest first
    List(ListArgs),
    /// One run with its parameters, attempts and pictures
    Show(ShowArgs),
    /// Write the answers of a run as an answer log, which `replay` reads
    Export(ExportArgs),
    /// Remove runs with their pictures, answers and certificates; what they spent stays counted
    Rm(RemoveArgs),
}

#[derive(Debug, ClapArgs)]
struct ShowArgs {
    /// The run's number
    run: i64,
    #[command(flatten)]
    place: LedgerPath,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, ClapArgs)]
struct ExportArgs {
    /// The run's number
    run: i64,
    #[command(flatten)]
    place: LedgerPath,
    /// The format
    #[arg(long, value_enum, default_value = "jsonl")]
    format: ExportFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ExportFormat {
    /// One JSON object a picture: the answer-log format
    Jsonl,
    /// The certificates, one JSON document a line
    Certificates,
}

#[derive(Debug, ClapArgs)]
struct RemoveArgs {
    /// The runs' numbers
    #[arg(required = true)]
    runs: Vec<i64>,
    #[command(flatten)]
    place: LedgerPath,
}

pub(super) fn run(args: &Args, config: &ConfigOption) -> Ended {
    let config = config.load()?;
    let mut out = std::io::stdout().lock();
    match &args.command {
        None => list(&mut out, &args.list, &config)?,
        Some(Command::List(args)) => list(&mut out, args, &config)?,
        Some(Command::Show(args)) => show(&mut out, args, &config)?,
        Some(Command::Export(args)) => export(&mut out, args, &config)?,
        Some(Command::Rm(args)) => remove(args, &config)?,
    }
    Ok(Exit::Success)
}

fn reader(place: &LedgerPath, config: &Config) -> Result<Reader, Failure> {
    Reader::open(place.path(config)?).map_err(Failure::ledger)
}

fn json(out: &mut impl Write, value: &impl serde::Serialize) -> Result<(), Failure> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(std::io::Error::from)?;
    Ok(writeln!(out)?)
}

fn list(out: &mut impl Write, args: &ListArgs, config: &Config) -> Result<(), Failure> {
    let path = args.place.path(config)?;
    // Whoever never certified anything has no ledger, and no runs; a file that was named is one that there is.
    let runs = if path.exists() || args.place.ledger.is_some() {
        Reader::open(&path).and_then(|reader| reader.runs()).map_err(Failure::ledger)?
    } else {
        Vec::new()
    };
    if args.json {
        return json(out, &runs);
    }
    if runs.is_empty() {
        return Ok(writeln!(out, "no runs in {}", path.display())?);
    }
    writeln!(
        out,
        "{:>5}  {:<20}  {:<16}  {:<11}  {:>9}  {:>8}  spent",
        "run", "begun", "provider", "state", "pictures", "calls"
    )?;
    for run in &runs {
        let of = run.expected.unwrap_or(run.pictures).max(run.pictures);
        writeln!(
            out,
            "{:>5}  {:<20}  {:<16}  {:<11}  {:>9}  {:>8}  {}",
            run.id.to_string(),
            run.begun.split('.').next().unwrap_or(&run.begun),
            printable(&run.instance),
            state(run),
            format!("{}/{of}", run.certified),
            run.spend.calls,
            spent(&run.spend),
        )?;
    }
    Ok(())
}

fn state(run: &RunSummary) -> &'static str {
    match (&run.finished, run.active) {
        (_, true) => "running",
        (Some(_), false) => "finished",
        (None, false) => "interrupted",
    }
}

/// What was spent, and what of it nobody knows.
fn spent(spend: &Spend) -> String {
    let unsure = match spend.unknown.checked_add(spend.reserved) {
        Some(unsure) if unsure == smoothgate_providers::Money::ZERO => String::new(),
        Some(unsure) => format!(" (and {unsure} perhaps)"),
        None => " (and more than can be counted perhaps)".to_owned(),
    };
    let unpriced = match spend.unpriced {
        0 => String::new(),
        n => format!(", and {n} calls at an unknown price"),
    };
    format!("{}{unsure}{unpriced}", spend.billed)
}

fn show(out: &mut impl Write, args: &ShowArgs, config: &Config) -> Result<(), Failure> {
    let report = reader(&args.place, config)?.run(RunId(args.run)).map_err(Failure::ledger)?;
    if args.json {
        return json(out, &report);
    }
    Ok(describe(out, &report)?)
}

fn describe(out: &mut impl Write, report: &RunReport) -> std::io::Result<()> {
    let run = &report.summary;
    writeln!(out, "run {} on {}: {}", run.id, printable(&run.instance), state(run))?;
    writeln!(out, "begun     {}", run.begun)?;
    if let Some(finished) = &run.finished {
        writeln!(out, "finished  {finished}")?;
    }
    write!(out, "spent     {} in {} calls", spent(&run.spend), run.spend.calls)?;
    if let Some(calls) = run.budget.calls {
        write!(out, ", of at most {calls} calls")?;
    }
    if let Some(cost) = run.budget.cost {
        write!(out, ", of at most {cost}")?;
    }
    let mut ends: Vec<String> = report.attempts.iter().map(|(class, n)| format!("{n} {class}")).collect();
    if report.unknown > 0 {
        ends.push(format!("{} of unknown end", report.unknown));
    }
    if report.in_flight > 0 {
        ends.push(format!("{} out", report.in_flight));
    }
    writeln!(out, "\nattempts  {}\nparameters", ends.join(", "))?;
    if let Some(fields) = report.parameters.as_object() {
        for (name, value) in fields {
            writeln!(out, "  {name} = {}", printable(&value.to_string()))?;
        }
    }
    writeln!(out, "pictures")?;
    let width = report.pictures.iter().map(|p| p.name.chars().count()).max().unwrap_or(0).min(60);
    for picture in &report.pictures {
        let state = if picture.certified { "certificate" } else { "open" };
        writeln!(
            out,
            "  {:width$}  {state:<11}  {} draws settled ({} given up), {} attempts",
            printable(&picture.name),
            picture.settled,
            picture.given_up,
            picture.attempts
        )?;
    }
    Ok(())
}

fn export(out: &mut impl Write, args: &ExportArgs, config: &Config) -> Result<(), Failure> {
    let reader = reader(&args.place, config)?;
    let run = RunId(args.run);
    let report = reader.run(run).map_err(Failure::ledger)?;
    let parameters = &report.parameters;
    // As many votes as the run was begun for.
    let votes = |name: &str| parameters["test"][name].as_u64();
    let (n0, n) = match votes("n_max") {
        Some(n_max) => (0, Some(n_max)),
        None if fixes_labels(parameters) => (0, votes("n")),
        None => (votes("n0").unwrap_or_default(), votes("n")),
    };
    let mut head = LogHead {
        api: report.summary.instance.clone(),
        denoiser: parameters["denoiser"]["name"].as_str().unwrap_or_default().to_owned(),
        sigma: parameters["sigma"].as_f64().unwrap_or_default(),
        idx: 0,
        n0,
        n,
        logged: None,
    };
    let mut overwritten = 0u64;
    let mut failed = None;
    let each = reader.stored(run, |_, _, _, stored| {
        let line = match args.format {
            ExportFormat::Certificates => stored.certificate.map(|text| Ok(text.trim_end().to_owned())),
            ExportFormat::Jsonl => {
                let line = LogLine::of(&head, &stored).ok();
                overwritten += u64::from(line.is_none());
                line.map(|line| serde_json::to_string(&line))
            }
        };
        head.idx += 1;
        match line {
            Some(Ok(line)) if failed.is_none() => failed = writeln!(out, "{line}").err(),
            Some(Err(error)) => failed = Some(error.into()),
            Some(Ok(_)) | None => {}
        }
    });
    each.map_err(Failure::ledger)?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    if overwritten > 0 {
        tell!("{overwritten} pictures are left out: their answers were overwritten once they were certified");
    }
    Ok(())
}

/// Whether no question of a run takes votes to choose its label: then there were none, whatever its test could take.
fn fixes_labels(parameters: &serde_json::Value) -> bool {
    let also = parameters["also"].as_array().into_iter().flatten().map(|asked| &asked["question"]);
    let fixed = |question: &serde_json::Value| {
        let question = question.as_str().and_then(|question| question.parse::<Question>().ok());
        question.is_some_and(|question| question.label_rule() == LabelRule::Fixed)
    };
    std::iter::once(&parameters["question"]).chain(also).all(fixed)
}

fn remove(args: &RemoveArgs, config: &Config) -> Result<(), Failure> {
    let path = args.place.path(config)?;
    if !path.exists() {
        return Err(Failure::usage(anyhow!("there is no ledger at {}", path.display())));
    }
    let runtime = runtime()?;
    runtime.block_on(async {
        let ledger = Ledger::open(path, &Options::default()).map_err(Failure::ledger)?;
        for run in &args.runs {
            ledger.remove_run(RunId(*run)).await.map_err(Failure::ledger)?;
            tell!("removed run {run}");
        }
        Ok(())
    })
}
