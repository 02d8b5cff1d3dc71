//! Rows: one a picture, as a table, as JSON lines or as the field's tab-separated values.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::certificate::{Certificate, Outcome};
use crate::question::{Question, normalise};
use crate::report::{Picture, Verdict};

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Table,
    /// One JSON object a picture
    Jsonl,
    /// `idx label predict radius correct time`, tab separated, as this field's plot scripts read it
    Tsv,
}

/// What happened to one picture.
pub(super) struct Row {
    /// The picture's name as given.
    pub image: String,
    /// The picture's number in its data set, or among all pictures, from 0.
    pub index: usize,
    /// The certificate, or why there is none.
    pub result: Result<Certificate, String>,
    /// Calls sent, retries included.
    pub calls: u64,
    /// The true class, where it was given.
    pub truth: Option<String>,
    /// All classes of the data set, where the picture is from one.
    pub classes: Option<Arc<[String]>>,
    /// From reading the file to the verdict.
    pub time: Duration,
    /// What the row shares with all others of the run.
    pub common: Common,
}

/// What all rows of a run have in common, for pictures that got no certificate.
#[derive(Clone)]
pub(super) struct Common {
    pub sigma: f64,
    pub alpha: f64,
    pub question: String,
    pub test: String,
    pub provider: String,
    pub denoiser: String,
}

/// The machine-readable row. The names and their order are an interface: fields may be added at the end.
#[derive(Serialize)]
struct Line<'a> {
    image: &'a str,
    outcome: &'a str,
    label: Option<&'a str>,
    radius: Option<f64>,
    radius_original: Option<f64>,
    p_lower: Option<f64>,
    sigma: f64,
    alpha: f64,
    question: &'a str,
    test: &'a str,
    votes: u64,
    calls: u64,
    failed_votes: u64,
    counts: BTreeMap<&'a str, u64>,
    seed: Option<String>,
    provider: &'a str,
    model_versions: &'a [String],
    denoiser: &'a str,
    working_size: Option<[u32; 2]>,
    error: Option<&'a str>,
    picture_hash: Option<&'a str>,
    unused_calls: u64,
    truth: Option<&'a str>,
}

impl Row {
    fn line(&self) -> Line<'_> {
        let common = &self.common;
        let certificate = self.result.as_ref().ok();
        Line {
            image: &self.image,
            outcome: self.outcome(),
            label: certificate.and_then(|c| c.label.as_deref()),
            radius: certificate.map(|c| c.radius),
            radius_original: certificate.map(|c| c.radius_original),
            p_lower: certificate.and_then(|c| c.p_lower),
            sigma: common.sigma,
            alpha: common.alpha,
            question: &common.question,
            test: &common.test,
            votes: certificate.map_or(0, |c| c.votes.len() as u64),
            calls: self.calls,
            failed_votes: certificate.map_or(0, Certificate::failed_votes),
            counts: certificate.map(Certificate::counts_by_label).unwrap_or_default(),
            seed: certificate.map(|c| c.noise.seed.to_string()),
            provider: &common.provider,
            model_versions: certificate.map_or(&[], |c| c.model_versions.as_slice()),
            denoiser: &common.denoiser,
            working_size: certificate.map(|c| [c.picture.width, c.picture.height]),
            error: self.result.as_ref().err().map(String::as_str),
            picture_hash: certificate.map(|c| c.picture.hash.as_str()),
            unused_calls: self.unused_calls(),
            truth: self.truth.as_deref(),
        }
    }

    /// A class as the field's programs write it: its number in the data set where there is one (a label that is no class of
    /// the set gets the number after the last), else its name; -1 for none.
    fn class(&self, label: Option<&str>) -> String {
        let Some(label) = label else { return "-1".to_owned() };
        match &self.classes {
            Some(classes) => {
                let label = normalise(label);
                let number = classes.iter().position(|class| normalise(class) == label);
                number.unwrap_or(classes.len()).to_string()
            }
            None => label.replace(['\t', '\n', '\r'], " "),
        }
    }

    /// Calls that are behind no vote of their own and no clean answer: sent ahead of the decision, or sent again.
    pub(super) fn unused_calls(&self) -> u64 {
        self.result.as_ref().map_or(0, |certificate| {
            let clean = u64::from(matches!(certificate.question, Question::CleanTop(_)));
            self.calls.saturating_sub(certificate.votes.len() as u64 + clean)
        })
    }

    /// The row as reports count it.
    pub(super) fn picture(&self) -> Picture {
        let certificate = self.result.as_ref().ok();
        Picture {
            name: self.image.clone(),
            verdict: match certificate.map(|certificate| certificate.outcome) {
                Some(Outcome::Certified) => Verdict::Certified,
                Some(Outcome::Predicted) => Verdict::Predicted,
                Some(Outcome::Abstained) => Verdict::Abstained,
                None => Verdict::Failed,
            },
            label: certificate.and_then(|certificate| certificate.label.clone()),
            radius: certificate.map_or(0.0, |certificate| certificate.radius),
            correct: self.truth.is_some().then(|| self.correct()),
            calls: certificate.is_some().then_some(self.calls),
            votes: certificate.map(|certificate| certificate.votes.len() as u64),
            ..Picture::default()
        }
    }

    fn outcome(&self) -> &'static str {
        match &self.result {
            Ok(certificate) => match certificate.outcome {
                Outcome::Certified => "certified",
                Outcome::Predicted => "predicted",
                Outcome::Abstained => "abstained",
            },
            Err(_) => "failed",
        }
    }

    /// Does the claimed label equal the true class? Without a true class: is there a claim at all?
    fn correct(&self) -> bool {
        let Ok(Some(label)) = self.result.as_ref().map(|c| c.label.as_deref()) else { return false };
        self.truth.as_deref().is_none_or(|truth| normalise(truth) == normalise(label))
    }
}

/// Writes rows to standard output.
pub(super) struct Printer {
    format: Format,
    width: usize,
    started: bool,
}

impl Printer {
    /// A printer whose first column fits the longest of `names`.
    pub(super) fn new<'a>(format: Format, names: impl Iterator<Item = &'a str>) -> Self {
        let width = names.map(|name| name.chars().count()).max().unwrap_or(0).clamp(7, 60);
        Self { format, width, started: false }
    }

    /// Prints one row and flushes it, so that a reader of a pipe sees it now.
    pub(super) fn print(&mut self, row: &Row) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        match self.format {
            Format::Jsonl => {
                serde_json::to_writer(&mut out, &row.line())?;
                writeln!(out)?;
            }
            Format::Tsv => self.tsv(&mut out, row)?,
            Format::Table => self.table(&mut out, row)?,
        }
        self.started = true;
        out.flush()
    }

    fn tsv(&self, out: &mut impl Write, row: &Row) -> std::io::Result<()> {
        if !self.started {
            writeln!(out, "idx\tlabel\tpredict\tradius\tcorrect\ttime")?;
        }
        let line = row.line();
        let seconds = row.time.as_secs_f64();
        let (hours, rest) = ((seconds / 3600.0).floor(), seconds % 3600.0);
        writeln!(
            out,
            "{}\t{}\t{}\t{:.6}\t{}\t{hours}:{:02}:{:09.6}",
            row.index,
            row.class(row.truth.as_deref()),
            row.class(line.label),
            line.radius.unwrap_or(0.0),
            u8::from(row.correct()),
            (rest / 60.0).floor(),
            rest % 60.0
        )
    }

    fn table(&self, out: &mut impl Write, row: &Row) -> std::io::Result<()> {
        let width = self.width;
        if !self.started {
            writeln!(
                out,
                "{:width$}  {:<9}  {:<20}  {:>8}  {:>8}  {:>9}",
                "picture", "outcome", "label", "radius", "original", "votes"
            )?;
        }
        let line = row.line();
        write!(out, "{:width$}  {:<9}", row.image, line.outcome)?;
        match &row.result {
            Err(error) => writeln!(out, "  {error}"),
            Ok(certificate) => {
                let radius =
                    |r: f64| if r > 0.0 { format!("{:.4}", (r * 1e4).floor() / 1e4) } else { "-".to_owned() };
                let (top, agree) =
                    certificate.counts().first().map_or(("-", 0), |&(label, votes)| (label, votes));
                let label = match &certificate.label {
                    Some(label) => label.clone(),
                    None => format!("({top}?)"),
                };
                writeln!(
                    out,
                    "  {label:<20}  {:>8}  {:>8}  {:>9}",
                    radius(certificate.radius),
                    radius(certificate.radius_original),
                    format!("{agree}/{}", certificate.votes.len()),
                )
            }
        }
    }
}
