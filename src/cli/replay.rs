//! `smoothgate replay`.

use std::fs::File;
use std::io::{BufWriter, Read, Write};

use anyhow::Context;
use clap::{Args as ClapArgs, ValueEnum};

use super::output::{Format, json_line, printable};
use super::test_options::TestOptions;
use super::{Ended, Exit, Failure};
use crate::plan::About;
use crate::question::Question;
use crate::replay::{Design, Outcome, Replay, ReplayError, Row, Summary};
use crate::tables::TableCache;
use crate::units::{Alpha, Sigma};

/// Labels that a class map does not know, as many as the summary names.
const UNMAPPED_SHOWN: usize = 20;

/// Options of `replay`.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Logs with one JSON record a line, plain or gzip, or `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    logs: Vec<String>,
    /// What is asked of each answer: a question of `certify`; `clean-top` and `clean-labels` take their labels from the
    /// recorded clean answer. May be given several times: the questions share the votes and alpha
    #[arg(long, default_value = "top1", value_parser = Question::load)]
    question: Vec<Question>,
    #[command(flatten)]
    test: TestOptions,
    /// Only the records of this standard deviation of the noise
    #[arg(long)]
    sigma: Option<Sigma>,
    /// Probability with which a certificate may be wrong
    #[arg(long, default_value_t = Alpha::FIELD)]
    alpha: Alpha,
    /// How results are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Compare each row with the result in the log and report every difference
    #[arg(long, value_enum)]
    against: Option<Against>,
    /// Vote as in the paper's experiment on vision APIs (`top1` only): for the label that stands first, whatever its
    /// score, and for a class `None` where an answer is empty
    #[arg(long)]
    paper_rules: bool,
    /// Print rows only: no summary
    #[arg(long, short)]
    quiet: bool,
}

/// What rows are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Against {
    /// The results that the logs hold
    Logged,
}

pub(super) fn run(args: &Args) -> Ended {
    for question in &args.question {
        args.test.check(question.topk().is_some()).map_err(Failure::usage)?;
    }
    let options = args.test.clone();
    let method = move |Design { sigma, label, topk, alpha, n0, n, .. }| {
        options.method(About { label, topk, sigma, alpha, recorded: Some((n0, n)) })
    };
    let mut replay = Replay::new(args.question.clone(), args.alpha, method)
        .map_err(Failure::usage)?
        .only_sigma(args.sigma.map(Sigma::get))
        .with_table_cache(TableCache::usual());
    if args.paper_rules {
        replay = replay.with_paper_rules().map_err(Failure::usage)?;
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut printer = Printer { format: args.format, started: false };
    let mut summary = Summary::default();
    for log in &args.logs {
        let source: Box<dyn Read + Send> = if log == "-" {
            Box::new(std::io::stdin())
        } else {
            Box::new(File::open(log).with_context(|| format!("cannot open `{log}`")).map_err(Failure::usage)?)
        };
        let replayed = replay.log(log, source, |row| {
            if args.against.is_some() {
                report(log, &row);
            }
            printer.print(&mut out, &row)
        });
        let flushed = out.flush().context("cannot write the rows").map_err(Failure::internal);
        summary.add(replayed.map_err(|error| match error {
            ReplayError::Line { .. } => Failure::usage(error),
            other => Failure::internal(other),
        })?);
        flushed?;
    }
    if !args.quiet {
        summarise(&summary, args.against.is_some());
    }
    let different = args.against.is_some() && summary.different > 0;
    Ok(if different { Exit::Abstained } else { Exit::Success })
}

/// Names every difference from the logged result.
fn report(log: &str, row: &Row) {
    for difference in row.against_logged.iter().flatten() {
        let Row { api, denoiser, sigma, idx, line, .. } = row;
        tell!("{log}:{line}: {api}, {denoiser}, sigma {sigma}, idx {idx}: {difference}");
    }
}

fn summarise(summary: &Summary, compared: bool) {
    if summary.rows == summary.records {
        tell!(
            "{} rows, {:.1} % certified, {:.1} votes a row, mean radius {:.4}",
            summary.rows,
            100.0 * summary.certified_share(),
            summary.mean_votes(),
            summary.mean_radius()
        );
    } else {
        tell!(
            "{} pictures, {} claims: {:.1} % certified, {:.2} a picture, at least one of {:.1} % of the pictures; {:.1} votes \
             a picture, mean radius {:.4}",
            summary.records,
            summary.rows,
            100.0 * summary.certified_share(),
            summary.certified_a_record(),
            100.0 * summary.certified_records_share(),
            summary.mean_votes(),
            summary.mean_radius()
        );
    }
    if summary.cut_short > 0 {
        tell!(
            "{} rows abstain only because their record has fewer votes than the test wants",
            summary.cut_short
        );
    }
    if compared {
        tell!("{} of {} rows with a logged result differ from it", summary.different, summary.compared);
    }
    if !summary.unmapped.is_empty() {
        let mut unmapped: Vec<_> = summary.unmapped.iter().collect();
        unmapped.sort_by_key(|&(_, rows)| std::cmp::Reverse(rows));
        let most: Vec<_> =
            unmapped.iter().take(UNMAPPED_SHOWN).map(|(l, rows)| format!("{l} ({rows})")).collect();
        tell!(
            "{} labels are not in the class map (with the rows that hold them): {}{}",
            unmapped.len(),
            most.join(", "),
            if unmapped.len() > most.len() { ", ..." } else { "" }
        );
    }
}

/// Writes rows.
struct Printer {
    format: Format,
    started: bool,
}

impl Printer {
    fn print(&mut self, out: &mut impl Write, row: &Row) -> std::io::Result<()> {
        let first = !std::mem::replace(&mut self.started, true);
        match self.format {
            Format::Jsonl => json_line(out, row),
            Format::Tsv => tsv(out, row, first),
            Format::Table => table(out, row, first),
        }
    }
}

fn outcome(row: &Row) -> &'static str {
    match row.outcome {
        Outcome::Certified => "certified",
        Outcome::Abstained => "abstained",
    }
}

fn tsv(out: &mut impl Write, row: &Row, first: bool) -> std::io::Result<()> {
    if first {
        writeln!(out, "api\tdenoiser\tsigma\tidx\toutcome\tlabel\tradius\tvotes\tquestion\ttest")?;
    }
    writeln!(
        out,
        "{}\t{}\t{}\t{}\t{}\t{}\t{:.6}\t{}\t{}\t{}",
        printable(&row.api),
        printable(&row.denoiser),
        row.sigma,
        row.idx,
        outcome(row),
        row.label.as_deref().map(printable).unwrap_or_default(),
        row.radius,
        row.votes,
        printable(&row.question),
        row.test
    )
}

fn table(out: &mut impl Write, row: &Row, first: bool) -> std::io::Result<()> {
    if first {
        writeln!(
            out,
            "{:<10}  {:<14}  {:>5}  {:>5}  {:<9}  {:<24}  {:>8}  {:>5}  {:<12}  test",
            "api", "denoiser", "sigma", "idx", "outcome", "label", "radius", "votes", "question"
        )?;
    }
    let radius =
        if row.radius > 0.0 { format!("{:.4}", (row.radius * 1e4).floor() / 1e4) } else { "-".to_owned() };
    writeln!(
        out,
        "{:<10}  {:<14}  {:>5}  {:>5}  {:<9}  {:<24}  {radius:>8}  {:>5}  {:<12}  {}",
        printable(&row.api),
        printable(&row.denoiser),
        row.sigma,
        row.idx,
        outcome(row),
        printable(row.label.as_deref().unwrap_or("-")),
        row.votes,
        printable(&row.question),
        row.test
    )
}
