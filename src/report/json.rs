//! JSON: rows of `certify --format jsonl` (and of a replay), certificate documents, and answer logs with the results that
//! they hold.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::error::ReportError;
use super::read::{Row, Truth, line_at};
use super::series::{Cast, Picture, Setting, Verdict, Votes};
use super::walk::Tested;
use crate::certificate::{self, FORMAT};
use crate::engine::CastVote;
use crate::question::normalise;
use crate::stats::{Plan, Vote};

/// What a report needs of a row. Other fields are not looked at, so that rows may grow.
#[derive(Deserialize)]
pub(super) struct Line {
    image: Option<String>,
    idx: Option<u64>,
    outcome: Word,
    label: Option<String>,
    radius: Option<f64>,
    truth: Option<String>,
    clean: Option<String>,
    sigma: Option<f64>,
    alpha: Option<f64>,
    question: Option<String>,
    test: Option<String>,
    votes: Option<u64>,
    calls: Option<u64>,
    #[serde(alias = "api")]
    provider: Option<String>,
    denoiser: Option<String>,
}

/// What a report needs of a certificate document.
#[derive(Deserialize)]
struct Document {
    format: String,
    outcome: Word,
    label: Option<String>,
    radius: f64,
    noise: Noise,
    denoiser: Named,
    provider: String,
    question: Value,
    test: Test,
    alpha: f64,
    labels: Vec<String>,
    votes: Vec<CastVote>,
    #[serde(skip)]
    plan: Option<Plan>,
    #[serde(skip)]
    whole: Option<Arc<certificate::Certificate>>,
}

/// What a report needs of a record of answers.
#[derive(Deserialize)]
struct Answers {
    api: String,
    denoiser: String,
    sigma: f64,
    idx: u64,
    n0: usize,
    n: usize,
    logged: Option<Logged>,
}

/// What the run concluded that made a log of answers.
#[derive(Deserialize)]
struct Logged {
    correct: Option<bool>,
    radius: String,
    predict: String,
}

#[derive(Deserialize)]
struct Noise {
    sigma: f64,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Test {
    label: Value,
    method: Method,
}

#[derive(Deserialize)]
struct Method {
    test: String,
    n0: Option<usize>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Certified,
    Predicted,
    Abstained,
    Failed,
}

impl From<Word> for Verdict {
    fn from(word: Word) -> Self {
        match word {
            Word::Certified => Self::Certified,
            Word::Predicted => Self::Predicted,
            Word::Abstained => Self::Abstained,
            Word::Failed => Self::Failed,
        }
    }
}

/// Reads JSON values one after another, each a row, a document or a record of answers, on one line or on many.
pub(super) fn rows(file: &str, text: &str, truth: Truth) -> Result<Vec<Row>, ReportError> {
    let bad = |line: usize, what: String| ReportError::Row { file: file.to_owned(), line, what };
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut rows = Vec::new();
    // Lines are counted on from the last value: a log may have very many.
    let (mut counted, mut line) = (0, 1);
    loop {
        let start = values.byte_offset();
        let start = start + text[start..].len() - text[start..].trim_start().len();
        line += line_at(&text.as_bytes()[counted..], start - counted) - 1;
        counted = start;
        let value = match values.next() {
            None => return Ok(rows),
            Some(Ok(value)) => value,
            Some(Err(error)) if error.is_eof() => {
                return Err(bad(line, "the JSON object that starts here is cut off".to_owned()));
            }
            Some(Err(error)) => return Err(bad(error.line(), format!("not JSON: {error}"))),
        };
        let row = row(value, truth).map_err(|what| bad(line, what))?;
        rows.push(row.ok_or_else(|| ReportError::Answers { file: file.to_owned(), line })?);
    }
}

/// The row of a value; `None` for answers without a result.
fn row(value: Value, truth: Truth) -> Result<Option<Row>, String> {
    let unfit = |kind: &'static str| move |error: serde_json::Error| format!("not {kind}: {error}");
    if value.get("format").is_some() {
        return Document::new(value).map_err(unfit("a certificate document"))?.row().map(Some);
    }
    if value.get("names").is_some() && value.get("outcome").is_none() {
        let answers: Answers = serde_json::from_value(value).map_err(unfit("a record of answers"))?;
        return answers.row();
    }
    let line: Line = serde_json::from_value(value).map_err(unfit("a row of `certify --format jsonl`"))?;
    line.row(truth).map(Some)
}

impl Answers {
    /// The result on record. What it calls correct is what the API said about the picture without noise.
    fn row(self) -> Result<Option<Row>, String> {
        let Some(logged) = self.logged else { return Ok(None) };
        let label = (logged.predict != "-1").then_some(logged.predict);
        let verdict = if label.is_some() { Verdict::Certified } else { Verdict::Abstained };
        let radius =
            logged.radius.parse().map_err(|_| format!("radius `{}` is not a number", logged.radius))?;
        let picture = Picture {
            name: self.idx.to_string(),
            verdict,
            radius: checked(verdict, label.as_deref(), Some(radius))?,
            correct: logged.correct,
            label,
            ..Picture::default()
        };
        let setting = Setting {
            provider: Some(self.api),
            denoiser: Some(self.denoiser),
            sigma: Some(self.sigma.to_string()),
            test: Some(format!("{}+{} votes, as logged", self.n0, self.n)),
            ..Setting::default()
        };
        Ok(Some(Row { setting, picture, by_clean_answer: true }))
    }
}

impl Line {
    pub(super) fn row(self, truth: Truth) -> Result<Row, String> {
        let verdict = self.outcome.into();
        let radius = checked(verdict, self.label.as_deref(), self.radius)?;
        let right =
            |truth: &str| self.label.as_deref().is_some_and(|label| normalise(label) == normalise(truth));
        // A row that failed reports no calls and no votes because there is no certificate to count them in.
        let known = |count: Option<u64>| count.filter(|_| verdict != Verdict::Failed);
        let clean = self.clean.as_deref().filter(|_| truth == Truth::Clean && self.truth.is_none());
        let by_clean_answer = clean.is_some();
        let picture = Picture {
            name: self.image.or_else(|| self.idx.map(|idx| idx.to_string())).unwrap_or_default(),
            verdict,
            radius,
            correct: self.truth.as_deref().or(clean).map(right),
            calls: known(self.calls),
            votes: known(self.votes),
            label: self.label,
            ..Picture::default()
        };
        let text = |number: Option<f64>| number.map(|number| number.to_string());
        let setting = Setting {
            provider: self.provider,
            denoiser: self.denoiser,
            sigma: text(self.sigma),
            alpha: text(self.alpha),
            question: self.question,
            test: self.test,
        };
        Ok(Row { setting, picture, by_clean_answer })
    }
}

impl Document {
    fn new(value: Value) -> Result<Self, serde_json::Error> {
        // What only some of a report needs is read as far as it is there.
        let plan = value.get("test").and_then(|test| Plan::deserialize(test).ok());
        let whole = certificate::Document::parse(value.to_string().as_bytes()).ok();
        let mut document: Self = serde_json::from_value(value)?;
        document.plan = plan;
        document.whole = whole.map(|whole| Arc::new(whole.certificate));
        Ok(document)
    }

    fn row(self) -> Result<Row, String> {
        if self.format != FORMAT {
            return Err(format!("the document's format is `{}`; this version reads `{FORMAT}`", self.format));
        }
        let verdict = self.outcome.into();
        let radius = checked(verdict, self.label.as_deref(), Some(self.radius))?;
        let cast = self.cast()?;
        let setting = Setting {
            provider: Some(self.provider),
            denoiser: Some(self.denoiser.name),
            sigma: Some(self.noise.sigma.to_string()),
            alpha: Some(self.alpha.to_string()),
            question: Some(self.question.as_str().map_or_else(|| self.question.to_string(), str::to_owned)),
            test: Some(self.test.method.test),
        };
        let picture = Picture {
            verdict,
            label: self.label,
            radius,
            votes: Some(cast.cast.len() as u64),
            cast: Some(cast),
            certificate: self.whole,
            ..Picture::default()
        };
        Ok(Row { setting, picture, by_clean_answer: false })
    }

    /// The votes as seen from the claimed or else the leading label.
    fn cast(&self) -> Result<Votes, String> {
        let mut counts = vec![0usize; self.labels.len()];
        for (index, vote) in self.votes.iter().enumerate() {
            if let CastVote::For(label) = vote {
                let count = counts.get_mut(*label).ok_or_else(|| {
                    format!("vote {index} is for label {label}, and there are {} labels", self.labels.len())
                })?;
                *count += 1;
            }
        }
        let leader = (0..counts.len()).rev().max_by_key(|&at| counts[at]);
        let of = match self.label.as_deref() {
            Some(label) => self.labels.iter().position(|known| known == label),
            None => leader,
        };
        let cast = self.votes.iter().map(|&vote| match Vote::from(vote) {
            Vote::For(label) if Some(label) == of => Cast::For,
            Vote::For(_) => Cast::Other,
            Vote::NoLabel => Cast::NoLabel,
            Vote::Failed => Cast::Failed,
        });
        // CERTIFY casts selection votes unless the label was fixed in advance.
        let leads = self.test.label == "leader";
        let selection = self.test.method.n0.filter(|_| leads).unwrap_or(0).min(self.votes.len());
        let tested = self.plan.clone().map(|plan| Tested {
            plan,
            // A label that the question fixes is the first.
            label: (!leads).then_some(0),
            votes: self.votes.iter().map(|&vote| vote.into()).collect(),
        });
        Ok(Votes {
            label: self.label.clone().or_else(|| of.and_then(|at| self.labels.get(at).cloned())),
            cast: cast.collect(),
            selection,
            tested,
        })
    }
}

/// The radius, if it goes with the verdict.
fn checked(verdict: Verdict, label: Option<&str>, radius: Option<f64>) -> Result<f64, String> {
    let radius = match radius {
        None if verdict == Verdict::Certified => return Err("`certified` without a radius".to_owned()),
        radius => radius.unwrap_or(0.0),
    };
    if !(radius >= 0.0 && radius.is_finite()) {
        return Err(format!("radius {radius} is not a number of at least 0"));
    }
    match (verdict.is_claim(), label) {
        (true, None) => Err(format!("`{}` without a label", verdict.word())),
        (false, _) if radius > 0.0 => Err(format!("`{}` with a radius of {radius}", verdict.word())),
        _ => Ok(radius),
    }
}
