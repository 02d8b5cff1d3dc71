//! `smoothgate report`: certified accuracy against radius, from logs and from the ledger.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args as ClapArgs, ValueEnum};
use serde::Serialize;
use smoothgate_denoisers::Device;
use smoothgate_providers::Money;

use super::files::write_whole;
use super::ledger::LedgerPath;
use super::output::printable;
use super::provider::ConfigOption;
use super::thumbnails::Thumbnailer;
use super::{Ended, Exit, Failure, counted};
use crate::ledger::{Reader, RunId};
use crate::report::{self, CONFIDENCE, Field, Figures, Page, RunError, Series, Share, Truth};
use crate::tables::TableCache;
use crate::units::Radius;

/// Options of `report`.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Logs, also compressed: rows of `certify`, `evaluate` or `replay` (`--format jsonl|tsv`), tab-separated logs of this
    /// field, answers with their logged results, certificate documents or folders of them, or `-` for standard input. Each
    /// is a series, named after its file, or by `NAME=FILE`
    #[arg(required_unless_present = "run", value_name = "[NAME=]FILE")]
    files: Vec<String>,
    /// A run of the ledger, by its number in `smoothgate runs`; may be given several times
    #[arg(long, value_name = "N")]
    run: Vec<i64>,
    #[command(flatten)]
    ledger: LedgerPath,
    /// What counts as right where a row holds nothing but the provider's answer about the picture without noise
    #[arg(long, value_enum, default_value = "known")]
    truth: TruthName,
    /// Write a self-contained HTML page
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write a drawing as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write a drawing as PNG
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// What --svg and --png draw
    #[arg(long, value_enum, default_value = "curve")]
    figure: Figure,
    /// Draw the curve in panels, one for each value of this: provider, denoiser, sigma, alpha, question or test
    #[arg(long, value_name = "FIELD")]
    panels: Option<Field>,
    /// Draw the votes of this picture; default: the first that has any
    #[arg(long, value_name = "NAME")]
    picture: Option<String>,
    /// Heading of the page and the drawing
    #[arg(long, default_value = "Certified robustness")]
    title: String,
    /// Radii of the table; default: round ones up to the largest certified
    #[arg(long, value_delimiter = ',', value_name = "R,...")]
    radii: Vec<Radius>,
    /// List price of one call, to show what the calls cost; a run of the ledger knows what it cost
    #[arg(long, value_name = "AMOUNT")]
    price: Option<Money>,
    /// Show pictures with noisy and denoised copies on the page: a picture that was certified, or a folder of them; may be
    /// given several times
    #[arg(long, value_name = "PATH", requires = "out")]
    pictures: Vec<String>,
    /// The denoiser of these copies, where it came from a file: that file; default: the built-in one with the
    /// certificate's hash
    #[arg(long, value_name = "NAME|FILE", requires = "pictures")]
    denoiser: Option<String>,
    /// Where that denoiser runs: `auto`, `cpu`, `cuda:N` or `metal`
    #[arg(long, default_value = "auto", requires = "pictures")]
    device: Device,
    /// How the numbers are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// One JSON document
    Json,
}

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// Certified accuracy or share against radius
    Curve,
    /// The votes of one picture in index order, with the boundary of its test
    Votes,
}

/// What counts as right.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum TruthName {
    /// Nothing: such rows give the share of pictures with any certified label
    Known,
    /// That answer: what papers on vision APIs call accuracy
    Clean,
}

pub(super) fn run(args: &Args, config: &ConfigOption) -> Ended {
    if args.figure == Figure::Votes && args.panels.is_some() {
        return Err(Failure::usage(anyhow!(
            "--panels is about the curve: leave it out, or `--figure votes`"
        )));
    }
    let mut series = Vec::new();
    for file in &args.files {
        series.extend(read(file, args.truth)?);
    }
    for one in series.iter().filter(|one| one.repeated() > 0) {
        let rows = counted(one.repeated() as u64, "row");
        tell!("{}: {rows} left out: later ones are about the same pictures", one.name());
    }
    series.extend(runs(args, config)?);
    let mut series = distinct(series);
    if !args.pictures.is_empty() {
        Thumbnailer::open(&args.pictures, args.denoiser.as_deref(), args.device)?.show(&mut series)?;
    }
    let radii = radii(&args.radii, &series);
    // Everything is made before anything is written.
    let tables = TableCache::usual();
    let page = Page {
        title: &args.title,
        series: &series,
        radii: &radii,
        price: args.price,
        tables: tables.clone(),
    };
    let html = args.out.as_ref().map(|_| page.html()).transpose().map_err(Failure::usage)?;
    let drawn = args.svg.is_some() || args.png.is_some();
    let svg = drawn.then(|| draw(args, &series, &tables)).transpose().map_err(Failure::usage)?;
    let png = args.png.as_ref().zip(svg.as_ref()).map(|(_, svg)| report::png(svg)).transpose();
    let png = png.map_err(Failure::internal)?;
    let texts = args.out.iter().zip(&html).chain(args.svg.iter().zip(&svg));
    let files = texts.map(|(file, text)| (file, text.as_bytes()));
    for (file, bytes) in files.chain(args.png.iter().zip(png.as_deref())) {
        write_whole(file, bytes)
            .with_context(|| format!("cannot write `{}`", file.display()))
            .map_err(Failure::internal)?;
    }
    let text = summary(&series, &radii, args.format, args.price)?;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::internal)?;
    Ok(Exit::Success)
}

fn draw(args: &Args, series: &[Series], tables: &TableCache) -> Result<String, report::ReportError> {
    match (args.figure, args.panels) {
        (Figure::Votes, _) => report::votes(series, args.picture.as_deref(), tables),
        (Figure::Curve, Some(by)) => report::panels(series, by, &args.title),
        (Figure::Curve, None) => report::curve(series, &args.title),
    }
}

/// The runs of the ledger that are asked for.
fn runs(args: &Args, config: &ConfigOption) -> Result<Vec<Series>, Failure> {
    if args.run.is_empty() {
        return Ok(Vec::new());
    }
    let ledger = Reader::open(args.ledger.path(&config.load()?)?).map_err(Failure::ledger)?;
    let mut series = Vec::new();
    for &run in &args.run {
        let found = report::on_record(&ledger, RunId(run)).map_err(|error| match error {
            RunError::Ledger(error) => Failure::ledger(error),
            other => Failure::usage(other),
        })?;
        if found.open > 0 {
            tell!("run {run}: {} pictures have no certificate and are left out", found.open);
        }
        series.extend(found.series);
    }
    Ok(series)
}

/// The radii asked for, or round ones up to the largest that was certified.
pub(super) fn radii(given: &[Radius], series: &[Series]) -> Vec<f64> {
    match given {
        [] => report::default_radii(series),
        given => given.iter().map(|radius| radius.get()).collect(),
    }
}

/// The numbers of `series` at `radii`.
pub(super) fn summary(
    series: &[Series],
    radii: &[f64],
    format: Format,
    price: Option<Money>,
) -> Result<String, Failure> {
    let figures: Vec<Figures> = series.iter().map(|one| Figures::of(one, radii)).collect();
    match format {
        Format::Table => Ok(table(series, &figures)),
        Format::Json => json(series, &figures, radii, price).map_err(Failure::internal),
    }
}

fn read(file: &str, truth: TruthName) -> Result<Vec<Series>, Failure> {
    let truth = match truth {
        TruthName::Known => Truth::Known,
        TruthName::Clean => Truth::Clean,
    };
    let (name, file) = match file.split_once('=') {
        Some((name, path)) if !name.is_empty() && !Path::new(file).exists() => (Some(name), path),
        _ => (None, file),
    };
    let series = if file == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        read.context("cannot read standard input").map_err(Failure::usage)?;
        report::parse("standard input", &bytes, truth)
    } else {
        report::read(Path::new(file), truth)
    };
    let series = series.map_err(Failure::usage)?;
    Ok(match name {
        Some(name) => series.into_iter().map(|one| one.named(name.to_owned())).collect(),
        None => series,
    })
}

/// Numbers series of the same name.
fn distinct(series: Vec<Series>) -> Vec<Series> {
    let mut seen = std::collections::HashMap::new();
    series
        .into_iter()
        .map(|one| {
            let times = seen.entry(one.name()).or_insert(0usize);
            *times += 1;
            if *times == 1 {
                one
            } else {
                let log = format!("{} ({times})", one.log());
                one.named(log)
            }
        })
        .collect()
}

/// Columns for people: shares in percent with their intervals.
fn table(series: &[Series], figures: &[Figures]) -> String {
    let mut head = vec!["series".to_owned(), "measures".to_owned(), "pictures".to_owned()];
    head.extend(figures.first().iter().flat_map(|first| &first.at).map(|(radius, _)| format!("r={radius}")));
    head.extend(["ACR", "abstained", "calls/picture"].map(str::to_owned));
    let mut rows = vec![head];
    for (one, figures) in series.iter().zip(figures) {
        let mut row =
            vec![printable(&one.name()), figures.measure.name().to_owned(), one.pictures().len().to_string()];
        row.extend(figures.at.iter().map(|(_, share)| shown(share)));
        row.push(format!("{:.4}", figures.average_radius));
        row.push(format!("{:.1} %", figures.abstained.value * 100.0));
        let calls = figures.usage.as_ref().filter(|usage| usage.unit == "calls");
        row.push(calls.map_or_else(|| "unknown".to_owned(), |usage| format!("{:.1}", usage.mean())));
        rows.push(row);
    }
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 | 1 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

fn shown(share: &Share) -> String {
    let (lower, upper) = ((share.lower * 1000.0).floor() / 10.0, (share.upper * 1000.0).ceil() / 10.0);
    format!("{:.1} % [{lower:.1}, {upper:.1}]", share.value * 100.0)
}

/// The machine-readable report. The names are an interface: fields may be added.
#[derive(Serialize)]
struct Document<'a> {
    confidence: f64,
    radii: &'a [f64],
    series: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    name: String,
    measure: &'static str,
    pictures: usize,
    at: Vec<&'a Share>,
    average_certified_radius: f64,
    abstained: Share,
    failed: usize,
    calls: Option<u64>,
    mean_calls: Option<f64>,
    cost: Option<Money>,
}

fn json(
    series: &[Series],
    figures: &[Figures],
    radii: &[f64],
    price: Option<Money>,
) -> anyhow::Result<String> {
    let entries = series.iter().zip(figures).map(|(one, figures)| {
        let usage = figures.usage.as_ref().filter(|usage| usage.unit == "calls");
        let calls = usage.map(|usage| usage.total);
        Entry {
            name: one.name(),
            measure: figures.measure.name(),
            pictures: one.pictures().len(),
            at: figures.at.iter().map(|(_, share)| share).collect(),
            average_certified_radius: figures.average_radius,
            abstained: figures.abstained,
            failed: figures.failed,
            calls,
            mean_calls: usage.map(report::Usage::mean),
            cost: figures.cost(one).or(calls.zip(price).and_then(|(calls, price)| price.times(calls))),
        }
    });
    let document = Document { confidence: CONFIDENCE, radii, series: entries.collect() };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}
