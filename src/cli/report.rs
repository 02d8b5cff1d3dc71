//! `smoothgate report`: certified accuracy against radius, from logs.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args as ClapArgs, ValueEnum};
use serde::Serialize;
use smoothgate_providers::Money;

use super::files::write_whole;
use super::{Ended, Exit, Failure};
use crate::report::{self, CONFIDENCE, Figures, Page, Series, Share};
use crate::units::Radius;

/// Options of `report`.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Logs: rows of `certify --format jsonl|tsv`, tab-separated logs of this field, certificate documents or folders of
    /// them, or `-` for standard input; each is a series, named after its file
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write a self-contained HTML page
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the curve alone as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Heading of the page and the drawing
    #[arg(long, default_value = "Certified robustness")]
    title: String,
    /// Radii of the table; default: round ones up to the largest certified
    #[arg(long, value_delimiter = ',', value_name = "R,...")]
    radii: Vec<Radius>,
    /// List price of one call, to show what the calls cost
    #[arg(long, value_name = "AMOUNT")]
    price: Option<Money>,
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

pub(super) fn run(args: &Args) -> Ended {
    let mut series = Vec::new();
    for file in &args.files {
        series.extend(read(file)?);
    }
    let series = distinct(series);
    let radii = radii(&args.radii, &series);
    // Everything is made before anything is written.
    let page = Page { title: &args.title, series: &series, radii: &radii, price: args.price };
    let html = args.out.as_ref().map(|_| page.html()).transpose().map_err(Failure::usage)?;
    let svg = args.svg.as_ref().map(|_| report::curve(&series, &args.title)).transpose();
    let svg = svg.map_err(Failure::usage)?;
    for (file, text) in args.out.iter().zip(&html).chain(args.svg.iter().zip(&svg)) {
        write_whole(file, text)
            .with_context(|| format!("cannot write `{}`", file.display()))
            .map_err(Failure::internal)?;
    }
    let text = summary(&series, &radii, args.format, args.price)?;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::internal)?;
    Ok(Exit::Success)
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

fn read(file: &Path) -> Result<Vec<Series>, Failure> {
    if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        read.context("cannot read standard input").map_err(Failure::usage)?;
        return report::parse("standard input", &bytes).map_err(Failure::usage);
    }
    report::read(file).map_err(Failure::usage)
}

/// Numbers series of the same name.
fn distinct(series: Vec<Series>) -> Vec<Series> {
    let mut seen = std::collections::HashMap::new();
    series
        .into_iter()
        .map(|one| {
            let times = seen.entry(one.name().to_owned()).or_insert(0usize);
            *times += 1;
            if *times == 1 {
                one
            } else {
                let name = format!("{} ({times})", one.name());
                one.named(name)
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
            vec![printable(one.name()), figures.measure.name().to_owned(), one.pictures().len().to_string()];
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

/// A name without what would move the cursor or colour the terminal.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
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
    name: &'a str,
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
            cost: calls.zip(price).and_then(|(calls, price)| price.times(calls)),
        }
    });
    let document = Document { confidence: CONFIDENCE, radii, series: entries.collect() };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}
