//! Rows: one line a claim, of which a picture has one unless it was asked more, as a table, as JSON lines or as the field's tab-separated values.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::certificate::{Certificate, Claim, Outcome};
use crate::question::{Question, normalise};
use crate::report::{Picture, Verdict};
use crate::stats::Reason;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Table,
    /// One JSON object a claim
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
    /// Each question, with its test's name.
    pub asked: Vec<(String, &'static str)>,
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
    question: String,
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
    /// Which of the picture's claims, from 0, and how many there are. Calls are counted in the line of the first.
    claim: usize,
    claims: usize,
    abstained: Option<Reason>,
    truth: Option<&'a str>,
}

impl Row {
    /// One line a claim, or one a question for a picture without a certificate: it failed in the series of each.
    fn lines(&self) -> Vec<Line<'_>> {
        let claims = self.result.as_ref().map_or(&[][..], |certificate| certificate.claims.as_slice());
        let claims: Vec<Option<&Claim>> = match &self.result {
            Err(_) => vec![None; self.common.asked.len()],
            Ok(_) if claims.is_empty() => vec![None],
            Ok(_) => claims.iter().map(Some).collect(),
        };
        let of = claims.len();
        claims.into_iter().enumerate().map(|(at, claim)| self.line(at, of, claim)).collect()
    }

    fn line<'l>(&'l self, at: usize, of: usize, claim: Option<&'l Claim>) -> Line<'l> {
        let common = &self.common;
        let certificate = self.result.as_ref().ok();
        let asked = common.asked.get(at);
        // Calls are the picture's, and counted once.
        let of_picture = |calls: u64| if at == 0 { calls } else { 0 };
        Line {
            image: &self.image,
            outcome: claim.map_or("failed", |claim| word(claim.outcome)),
            label: claim.and_then(|claim| claim.label.as_deref()),
            radius: claim.map(|claim| claim.radius),
            radius_original: claim.map(|claim| claim.radius_original),
            p_lower: claim.and_then(|claim| claim.p_lower),
            sigma: common.sigma,
            alpha: common.alpha,
            question: claim.map_or_else(
                || asked.map(|asked| asked.0.clone()).unwrap_or_default(),
                |claim| shown(&claim.question),
            ),
            test: claim.map_or(asked.map_or("", |asked| asked.1), |claim| claim.test.method.name()),
            votes: claim.map_or(0, |claim| claim.votes.len() as u64),
            calls: of_picture(self.calls),
            failed_votes: claim.map_or(0, Claim::failed_votes),
            counts: claim.map(Claim::counts_by_label).unwrap_or_default(),
            seed: certificate.map(|c| c.noise.seed.to_string()),
            provider: &common.provider,
            model_versions: certificate.map_or(&[], |c| c.model_versions.as_slice()),
            denoiser: &common.denoiser,
            working_size: certificate.map(|c| [c.picture.width, c.picture.height]),
            error: self.result.as_ref().err().map(String::as_str),
            picture_hash: certificate.map(|c| c.picture.hash.as_str()),
            unused_calls: of_picture(self.unused_calls()),
            claim: at,
            claims: of,
            abstained: claim.and_then(|claim| claim.abstained),
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
            self.calls.saturating_sub(certificate.draws() + u64::from(certificate.asked_clean()))
        })
    }

    /// The row as reports count it: one picture a question, in the order of the questions.
    pub(super) fn pictures(&self, questions: usize) -> Vec<Picture> {
        let Ok(certificate) = &self.result else {
            let failed = Picture {
                name: self.image.clone(),
                verdict: Verdict::Failed,
                correct: self.truth.is_some().then_some(false),
                ..Picture::default()
            };
            return vec![failed; questions];
        };
        let picture = |claims: &[Claim]| {
            let each = claims.iter().map(|claim| Picture {
                name: self.image.clone(),
                verdict: match claim.outcome {
                    Outcome::Certified => Verdict::Certified,
                    Outcome::Predicted => Verdict::Predicted,
                    Outcome::Abstained => Verdict::Abstained,
                },
                label: claim.label.clone(),
                radius: claim.radius,
                correct: self.truth.is_some().then(|| self.correct(claim.label.as_deref())),
                calls: Some(self.calls),
                votes: Some(claim.votes.len() as u64),
                ..Picture::default()
            });
            Picture::of_claims(each)
        };
        certificate.questions().filter_map(|(_, claims)| picture(claims)).collect()
    }

    /// Does the claimed label equal the true class? Without a true class: is there a claim at all?
    fn correct(&self, label: Option<&str>) -> bool {
        let Some(label) = label else { return false };
        self.truth.as_deref().is_none_or(|truth| normalise(truth) == normalise(label))
    }
}

/// A question as rows name it: as it was asked, or about one of several labels.
fn shown(question: &Question) -> String {
    if question.most_claims() > 1 { question.to_string() } else { question.asked().to_string() }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Certified => "certified",
        Outcome::Predicted => "predicted",
        Outcome::Abstained => "abstained",
    }
}

/// One JSON document on a line of its own.
pub(super) fn json_line(out: &mut impl Write, value: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

/// Writes rows to standard output.
pub(super) struct Printer {
    format: Format,
    width: usize,
    questions: usize,
    started: bool,
}

impl Printer {
    /// A printer whose first column fits the longest of `names`, for a run of so many questions.
    pub(super) fn new<'a>(format: Format, questions: usize, names: impl Iterator<Item = &'a str>) -> Self {
        let width = names.map(|name| name.chars().count()).max().unwrap_or(0).clamp(7, 60);
        Self { format, width, questions, started: false }
    }

    /// Prints the lines of one row and flushes them, so that a reader of a pipe sees them now.
    pub(super) fn print(&mut self, row: &Row) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        for (at, line) in row.lines().iter().enumerate() {
            // Only there does a line say of which question it is.
            if at > 0 && row.result.is_err() && self.format != Format::Jsonl {
                break;
            }
            match self.format {
                Format::Jsonl => json_line(&mut out, line)?,
                Format::Tsv => self.tsv(&mut out, row, line)?,
                Format::Table => {
                    let claim = row.result.as_ref().ok().and_then(|certificate| certificate.claims.get(at));
                    self.table(&mut out, row, line, claim)?;
                }
            }
            self.started = true;
        }
        out.flush()
    }

    fn tsv(&self, out: &mut impl Write, row: &Row, line: &Line<'_>) -> std::io::Result<()> {
        if !self.started {
            writeln!(out, "idx\tlabel\tpredict\tradius\tcorrect\ttime")?;
        }
        // The columns are the field's, and none is for this.
        if let Some(error) = line.error {
            eprintln!("{}: {error}", row.image);
        }
        let seconds = row.time.as_secs_f64();
        let (hours, rest) = ((seconds / 3600.0).floor(), seconds % 3600.0);
        writeln!(
            out,
            "{}\t{}\t{}\t{:.6}\t{}\t{hours}:{:02}:{:09.6}",
            row.index,
            row.class(row.truth.as_deref()),
            row.class(line.label),
            line.radius.unwrap_or(0.0),
            u8::from(row.correct(line.label)),
            (rest / 60.0).floor(),
            rest % 60.0
        )
    }

    fn table(
        &self,
        out: &mut impl Write,
        row: &Row,
        line: &Line<'_>,
        claim: Option<&Claim>,
    ) -> std::io::Result<()> {
        let width = self.width;
        if !self.started {
            writeln!(
                out,
                "{:width$}  {:<9}  {:<20}  {:>8}  {:>8}  {:>9}",
                "picture", "outcome", "label", "radius", "original", "votes"
            )?;
        }
        write!(out, "{:width$}  {:<9}", row.image, line.outcome)?;
        let Some(claim) = claim else {
            return writeln!(out, "  {}", line.error.unwrap_or_default());
        };
        let radius =
            |r: f64| if r > 0.0 { format!("{:.4}", (r * 1e4).floor() / 1e4) } else { "-".to_owned() };
        let (top, agree) = claim.counts().first().map_or(("-", 0), |&(label, votes)| (label, votes));
        let label = match &claim.label {
            Some(label) => label.clone(),
            None => format!("({top}?)"),
        };
        write!(
            out,
            "  {label:<20}  {:>8}  {:>8}  {:>9}",
            radius(claim.radius),
            radius(claim.radius_original),
            format!("{agree}/{}", claim.votes.len()),
        )?;
        // Of several questions, which one it is.
        if self.questions > 1 { writeln!(out, "  {}", line.question) } else { writeln!(out) }
    }
}
