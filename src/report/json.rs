//! JSON: rows of `certify --format jsonl` (and of a replay), certificate documents, and answer logs with the results that
//! they hold.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::Value;
use smoothgate_denoisers::{Precision, builtin_denoiser};

use super::error::ReportError;
use super::read::{Identity, Row, Truth, line_at};
use super::series::{Cast, Picture, Setting, Verdict, Votes};
use super::walk::Tested;
use crate::certificate::{self, FORMAT};
use crate::dataset::same_class;
use crate::engine::CastVote;
use crate::question::{Question, normalise};
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
    #[serde(default)]
    clean: Clean,
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
    /// Whether the label is right, where the program that knew the classes said so.
    correct: Option<bool>,
    seed: Option<String>,
    picture_hash: Option<String>,
}

/// The provider's answer about the picture without noise.
#[derive(Default, Deserialize)]
#[serde(from = "Option<String>")]
enum Clean {
    /// The row says nothing of it.
    #[default]
    Unknown,
    /// Its label; none where it is `null`.
    Label(Option<String>),
}

impl From<Option<String>> for Clean {
    fn from(label: Option<String>) -> Self {
        Self::Label(label)
    }
}

/// What a report needs of a certificate document.
#[derive(Deserialize)]
struct Document {
    noise: Noise,
    denoiser: Named,
    provider: String,
    alpha: f64,
    claims: Vec<Claim>,
    /// The whole of it, where it is one.
    #[serde(skip)]
    whole: Option<Arc<certificate::Certificate>>,
}

/// What a report needs of a claim.
#[derive(Deserialize)]
struct Claim {
    outcome: Word,
    label: Option<String>,
    radius: f64,
    question: Value,
    test: Tests,
    labels: Vec<String>,
    votes: Vec<CastVote>,
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
    /// Absent in documents that are no certificates of ours.
    #[serde(default)]
    blake3: String,
}

impl Named {
    /// The built-in denoiser's name, as rows have it, or the beginning of the hash beside the architecture, which several share.
    fn label(&self) -> String {
        static KNOWN: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let find = || {
            let precision = Precision::of_name(&self.name);
            match builtin_denoiser(&self.blake3, precision) {
                Some(name) => format!("{name}{}", precision.suffix()),
                None if self.blake3.is_empty() => self.name.clone(),
                None => format!("{}@{}", self.name, self.blake3.get(..8).unwrap_or_default()),
            }
        };
        // Finding one opens the built-in models.
        known.entry(format!("{}@{}", self.name, self.blake3)).or_insert_with(find).clone()
    }
}

/// A test: what a report needs of it, and the whole of it where it is one.
struct Tests {
    named: Test,
    plan: Option<Plan>,
}

impl<'de> Deserialize<'de> for Tests {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let plan = Plan::deserialize(&value).ok();
        let named = Test::deserialize(value).map_err(serde::de::Error::custom)?;
        Ok(Self { named, plan })
    }
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

/// Reads JSON values one after another, each a row, a document or a record of answers, on one line or on many. The claims of one question on one
/// picture are one row ([`Picture::of_claims`]).
pub(super) fn rows(file: &str, text: &str, truth: Truth) -> Result<Vec<Row>, ReportError> {
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
        if rows.add(value, truth).map_err(|what| bad(line, what))?.is_none() {
            return Err(ReportError::Answers { file: file.to_owned(), line });
        }
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
    /// Adds the rows of a value; `None` for answers without a result.
    fn add(&mut self, value: Value, truth: Truth) -> Result<Option<()>, String> {
        let Some(format) = value.get("format") else {
            if value.get("names").is_some() && value.get("outcome").is_none() {
                let answers: Answers = serde_json::from_value(value)
                    .map_err(|error| format!("not a record of answers: {error}"))?;
                let row = answers.row()?;
                return Ok(row.map(|row| self.list.push(row)));
            }
            let line: Line = serde_json::from_value(value)
                .map_err(|error| format!("not a row of `certify --format jsonl`: {error}"))?;
            let first = line.claim.is_none_or(|claim| claim == 0);
            let several = line.question.as_deref().is_some_and(|question| asked(question).1);
            let mut row = line.row(truth)?;
            if first {
                self.calls = row.picture.calls;
            } else {
                row.picture.calls = self.calls;
            }
            self.push(row, several);
            return Ok(Some(()));
        };
        if format != FORMAT {
            return Err(format!("the document's format is {format}; this version reads `{FORMAT}`"));
        }
        let digest = value.pointer("/digest/document").and_then(Value::as_str).map(str::to_owned);
        let whole = certificate::Document::parse(value.to_string().as_bytes()).ok();
        let mut document: Document =
            serde_json::from_value(value).map_err(|error| format!("not a certificate document: {error}"))?;
        document.whole = whole.map(|whole| Arc::new(whole.certificate));
        let mut last: Option<String> = None;
        for claim in &document.claims {
            let mut row = document.row(claim)?;
            row.identity = digest.clone().map(Identity::Document);
            // Claims of one question, and not those of another document before it.
            let again = last.is_some() && last == row.setting.question;
            last.clone_from(&row.setting.question);
            self.push(row, again);
        }
        Ok(Some(()))
    }

    /// Adds a row; to the last one, if they can be claims of one question on one picture.
    fn push(&mut self, row: Row, several: bool) {
        match self.list.last_mut() {
            Some(last)
                if several
                    && last.setting == row.setting
                    && last.picture.name == row.picture.name
                    && last.identity == row.identity =>
            {
                let both = [last.picture.clone(), row.picture];
                last.picture = Picture::of_claims(both).unwrap_or_else(|| last.picture.clone());
            }
            _ => self.list.push(row),
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
        Ok(Some(Row { setting, picture, by_clean_answer: true, identity: None }))
    }
}

impl Line {
    pub(super) fn row(self, truth: Truth) -> Result<Row, String> {
        let verdict = self.outcome.into();
        let radius = checked(verdict, self.label.as_deref(), self.radius)?;
        let right = |truth: &str| self.label.as_deref().is_some_and(|label| same_class(truth, label));
        let correct = self.truth.as_deref().map(|truth| self.correct.unwrap_or_else(|| right(truth)));
        let same =
            |clean: &str| self.label.as_deref().is_some_and(|label| normalise(label) == normalise(clean));
        // A row that failed reports no calls and no votes because there is no certificate to count them in.
        let known = |count: Option<u64>| count.filter(|_| verdict != Verdict::Failed);
        // With a clean answer that holds no label nothing agrees.
        let agrees = match &self.clean {
            Clean::Label(label) if truth == Truth::Clean && self.truth.is_none() => {
                Some(label.as_deref().is_some_and(same))
            }
            _ => None,
        };
        let by_clean_answer = agrees.is_some();
        let identity = match (self.image.clone(), self.seed) {
            (Some(image), Some(seed)) => Some(Identity::Row { image, hash: self.picture_hash, seed }),
            (Some(image), None) if verdict == Verdict::Failed => Some(Identity::Failed { image }),
            _ => None,
        };
        let picture = Picture {
            name: self.image.or_else(|| self.idx.map(|idx| idx.to_string())).unwrap_or_default(),
            verdict,
            radius,
            correct: correct.or(agrees),
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
            question: self.question.as_deref().map(|question| asked(question).0),
            test: self.test,
        };
        Ok(Row { setting, picture, by_clean_answer, identity })
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
            denoiser: Some(self.denoiser.label()),
            sigma: Some(self.noise.sigma.to_string()),
            alpha: Some(self.alpha.to_string()),
            question: Some(question),
            test: Some(claim.test.named.method.test.clone()),
        };
        let picture = Picture {
            verdict,
            label: claim.label.clone(),
            radius,
            votes: Some(cast.cast.len() as u64),
            cast: Some(cast),
            certificate: self.whole.clone(),
            ..Picture::default()
        };
        Ok(Row { setting, picture, by_clean_answer: false, identity: None })
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
        let leads = self.test.named.label == "leader";
        let selection = self.test.named.method.n0.filter(|_| leads).unwrap_or(0).min(self.votes.len());
        let tested = self.test.plan.clone().map(|plan| Tested {
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
