//! JSON: rows of `certify --format jsonl` (and of a replay), and certificate documents.

use serde::Deserialize;
use serde_json::Value;

use super::error::ReportError;
use super::read::{Row, line_at};
use super::series::{Cast, Picture, Setting, Verdict, Votes};
use crate::certificate::FORMAT;
use crate::engine::CastVote;
use crate::question::{Question, normalise};
use crate::stats::Vote;

/// What a report needs of a row. Other fields are not looked at, so that rows may grow.
#[derive(Deserialize)]
struct Line {
    image: Option<String>,
    idx: Option<u64>,
    outcome: Word,
    label: Option<String>,
    radius: Option<f64>,
    truth: Option<String>,
    sigma: Option<f64>,
    alpha: Option<f64>,
    question: Option<String>,
    test: Option<String>,
    votes: Option<u64>,
    calls: Option<u64>,
    #[serde(alias = "api")]
    provider: Option<String>,
    denoiser: Option<String>,
    claim: Option<usize>,
}

/// What a report needs of a certificate document.
#[derive(Deserialize)]
struct Document {
    noise: Noise,
    denoiser: Named,
    provider: String,
    alpha: f64,
    claims: Vec<Claim>,
}

/// What a report needs of a claim.
#[derive(Deserialize)]
struct Claim {
    outcome: Word,
    label: Option<String>,
    radius: f64,
    question: Value,
    test: Test,
    labels: Vec<String>,
    votes: Vec<CastVote>,
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

/// Reads JSON values one after another, each a row or a document, on one line or on many. The claims of one question on one
/// picture are one row ([`Picture::of_claims`]).
pub(super) fn rows(file: &str, text: &str) -> Result<Vec<Row>, ReportError> {
    let bad = |line: usize, what: String| ReportError::Row { file: file.to_owned(), line, what };
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut rows = Rows::default();
    // Lines are counted on from the last value: a log may have very many.
    let (mut counted, mut line) = (0, 1);
    loop {
        let start = values.byte_offset();
        let start = start + text[start..].len() - text[start..].trim_start().len();
        line += line_at(&text.as_bytes()[counted..], start - counted) - 1;
        counted = start;
        let value = match values.next() {
            None => return Ok(rows.list),
            Some(Ok(value)) => value,
            Some(Err(error)) if error.is_eof() => {
                return Err(bad(line, "the JSON object that starts here is cut off".to_owned()));
            }
            Some(Err(error)) => return Err(bad(error.line(), format!("not JSON: {error}"))),
        };
        rows.add(value).map_err(|what| bad(line, what))?;
    }
}

/// Rows so far.
#[derive(Default)]
struct Rows {
    list: Vec<Row>,
    /// Calls of the picture of the last line: they stand in the line of its first claim.
    calls: Option<u64>,
}

impl Rows {
    fn add(&mut self, value: Value) -> Result<(), String> {
        let Some(format) = value.get("format") else {
            let line: Line = serde_json::from_value(value)
                .map_err(|error| format!("not a row of `certify --format jsonl`: {error}"))?;
            let first = line.claim.is_none_or(|claim| claim == 0);
            let several = line.question.as_deref().is_some_and(|question| asked(question).1);
            let (setting, mut picture) = line.row()?;
            if first {
                self.calls = picture.calls;
            } else {
                picture.calls = self.calls;
            }
            self.push(setting, picture, several);
            return Ok(());
        };
        if format != FORMAT {
            return Err(format!("the document's format is {format}; this version reads `{FORMAT}`"));
        }
        let document: Document =
            serde_json::from_value(value).map_err(|error| format!("not a certificate document: {error}"))?;
        let mut last: Option<String> = None;
        for claim in &document.claims {
            let (setting, picture) = document.row(claim)?;
            // Claims of one question, and not those of another document before it.
            let again = last.is_some() && last == setting.question;
            last.clone_from(&setting.question);
            self.push(setting, picture, again);
        }
        Ok(())
    }

    /// Adds a row; to the last one, if they can be claims of one question on one picture.
    fn push(&mut self, setting: Setting, picture: Picture, several: bool) {
        match self.list.last_mut() {
            Some(last) if several && last.0 == setting && last.1.name == picture.name => {
                let both = [last.1.clone(), picture];
                last.1 = Picture::of_claims(both).unwrap_or_else(|| last.1.clone());
            }
            _ => self.list.push((setting, picture)),
        }
    }
}

/// The question as it was asked, without the label that a clean answer gave it; and whether it can make several claims.
fn asked(question: &str) -> (String, bool) {
    match question.parse::<Question>() {
        Ok(question) => (question.asked().to_string(), question.most_claims() > 1),
        // A class map, or a question of another version.
        Err(_) => (question.to_owned(), false),
    }
}

impl Line {
    fn row(self) -> Result<Row, String> {
        let verdict = self.outcome.into();
        let radius = checked(verdict, self.label.as_deref(), self.radius)?;
        let right =
            |truth: &str| self.label.as_deref().is_some_and(|label| normalise(label) == normalise(truth));
        // A row that failed reports no calls and no votes because there is no certificate to count them in.
        let known = |count: Option<u64>| count.filter(|_| verdict != Verdict::Failed);
        let picture = Picture {
            name: self.image.or_else(|| self.idx.map(|idx| idx.to_string())).unwrap_or_default(),
            verdict,
            radius,
            correct: self.truth.as_deref().map(right),
            calls: known(self.calls),
            votes: known(self.votes),
            cast: None,
            label: self.label,
        };
        let text = |number: Option<f64>| number.map(|number| number.to_string());
        let setting = Setting {
            provider: self.provider,
            denoiser: self.denoiser,
            sigma: text(self.sigma),
            alpha: text(self.alpha),
            question: self.question.as_deref().map(|question| asked(question).0),
            test: self.test,
        };
        Ok((setting, picture))
    }
}

impl Document {
    fn row(&self, claim: &Claim) -> Result<Row, String> {
        let verdict = claim.outcome.into();
        let radius = checked(verdict, claim.label.as_deref(), Some(claim.radius))?;
        let cast = claim.cast()?;
        let question = match claim.question.as_str() {
            Some(question) => asked(question).0,
            None => claim.question.to_string(),
        };
        let setting = Setting {
            provider: Some(self.provider.clone()),
            denoiser: Some(self.denoiser.name.clone()),
            sigma: Some(self.noise.sigma.to_string()),
            alpha: Some(self.alpha.to_string()),
            question: Some(question),
            test: Some(claim.test.method.test.clone()),
        };
        let picture = Picture {
            name: String::new(),
            verdict,
            label: claim.label.clone(),
            radius,
            correct: None,
            calls: None,
            votes: Some(cast.cast.len() as u64),
            cast: Some(cast),
        };
        Ok((setting, picture))
    }
}

impl Claim {
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
        Ok(Votes {
            label: self.label.clone().or_else(|| of.and_then(|at| self.labels.get(at).cloned())),
            cast: cast.collect(),
            selection,
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
