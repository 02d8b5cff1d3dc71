//! Pictures and what was certified about them, as logs tell it.

use std::str::FromStr;
use std::sync::Arc;

use super::error::ReportError;
use super::thumbnails::Thumbnails;
use super::walk::Tested;
use crate::certificate::Certificate;
use crate::ledger::Spend;

/// How one picture ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// A label with a radius.
    Certified,
    /// A label without a radius (`predict`): its radius is 0.
    Predicted,
    /// No claim.
    #[default]
    Abstained,
    /// No verdict: the file, the provider or the program failed. It counts as a picture without a claim.
    Failed,
}

impl Verdict {
    /// Whether there is a claim.
    pub fn is_claim(self) -> bool {
        matches!(self, Self::Certified | Self::Predicted)
    }

    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Certified => "certified",
            Self::Predicted => "predicted",
            Self::Abstained => "abstained",
            Self::Failed => "failed",
        }
    }
}

/// One vote, as seen from the label that is claimed (or, where none is, has the most votes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast {
    /// For that label.
    For,
    /// For another.
    Other,
    /// Answered, without a label.
    NoLabel,
    /// Never answered.
    Failed,
}

/// The votes of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Votes {
    /// The label claimed, or the one with the most votes; none where no label got any.
    pub label: Option<String>,
    /// In index order.
    pub cast: Vec<Cast>,
    /// How many of the first votes only chose the label.
    pub selection: usize,
    /// The test that they went through, where the log has it.
    pub tested: Option<Tested>,
}

/// One row of a log; by default nothing is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// File name, index or whatever else the log calls it.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// The label claimed.
    pub label: Option<String>,
    /// Certified L2 radius in units of \[0, 1\] pixel values: finite, at least 0, and 0 without a claim.
    pub radius: f64,
    /// Whether the label is the right one; `None` where the log does not say what is right.
    pub correct: Option<bool>,
    /// Calls sent for it, retries included, where the log has them.
    pub calls: Option<u64>,
    /// Votes that the verdict rests on, where the log has their number.
    pub votes: Option<u64>,
    /// The votes themselves, where the log has them.
    pub cast: Option<Votes>,
    /// The whole certificate, where the log has it.
    pub certificate: Option<Arc<Certificate>>,
    /// The picture and copies of it, where somebody made them.
    pub thumbnails: Option<Thumbnails>,
}

impl Picture {
    /// One picture of the claims of one question on it: certified if any of them is. The claim that stands for all is the one
    /// with the largest radius, of those with the right label where the truth is known and any has it; the first of equal ones.
    /// `None` without claims.
    pub fn of_claims(claims: impl IntoIterator<Item = Self>) -> Option<Self> {
        let right = |picture: &Self| picture.verdict.is_claim() && picture.correct != Some(false);
        let rank = |picture: &Self| (right(picture), picture.verdict.is_claim(), picture.radius);
        claims.into_iter().reduce(|best, next| {
            let votes = best.votes.max(next.votes);
            let calls = best.calls.max(next.calls);
            let one = if rank(&next) > rank(&best) { next } else { best };
            Self { calls, votes, ..one }
        })
    }
}

/// What the pictures of a series have in common, as far as the log says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// Provider (or API).
    pub provider: Option<String>,
    /// Denoiser.
    pub denoiser: Option<String>,
    /// Standard deviation of the noise.
    pub sigma: Option<String>,
    /// Probability that a certificate is wrong.
    pub alpha: Option<String>,
    /// What was asked of each answer.
    pub question: Option<String>,
    /// The statistical test.
    pub test: Option<String>,
}

/// What settings may differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// [`Setting::provider`].
    Provider,
    /// [`Setting::denoiser`].
    Denoiser,
    /// [`Setting::sigma`].
    Sigma,
    /// [`Setting::alpha`].
    Alpha,
    /// [`Setting::question`].
    Question,
    /// [`Setting::test`].
    Test,
}

impl Field {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::Provider, Self::Denoiser, Self::Sigma, Self::Alpha, Self::Question, Self::Test];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Denoiser => "denoiser",
            Self::Sigma => "sigma",
            Self::Alpha => "alpha",
            Self::Question => "question",
            Self::Test => "test",
        }
    }
}

/// A name that is none of [`Field`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of provider, denoiser, sigma, alpha, question and test")]
pub struct UnknownField(String);

impl FromStr for Field {
    type Err = UnknownField;

    fn from_str(text: &str) -> Result<Self, UnknownField> {
        let named = Self::ALL.into_iter().find(|field| field.name() == text);
        named.ok_or_else(|| UnknownField(text.to_owned()))
    }
}

impl Setting {
    /// The value of a field, where it is known.
    pub fn get(&self, field: Field) -> Option<&str> {
        match field {
            Field::Provider => self.provider.as_deref(),
            Field::Denoiser => self.denoiser.as_deref(),
            Field::Sigma => self.sigma.as_deref(),
            Field::Alpha => self.alpha.as_deref(),
            Field::Question => self.question.as_deref(),
            Field::Test => self.test.as_deref(),
        }
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known =
            Field::ALL.into_iter().filter_map(|field| Some(format!("{} {}", field.name(), self.get(field)?)));
        f.write_str(&known.collect::<Vec<_>>().join(", "))
    }
}

/// What a share of pictures measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The right label is certified (the truth of every picture is known).
    Accuracy,
    /// The label is certified that the provider gives the picture without noise: what the papers on vision APIs, which
    /// have no other truth, call accuracy.
    Agreement,
    /// Some label is certified.
    Share,
}

impl Measure {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "certified accuracy",
            Self::Agreement => "certified agreement with the clean answer",
            Self::Share => "certified share",
        }
    }

    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Agreement => "agreement",
            Self::Share => "share",
        }
    }
}

/// One line of a curve: pictures certified under one setting. Never empty.
#[derive(Clone, Debug)]
pub struct Series {
    log: String,
    /// What sets it apart from the other series of its log.
    marks: Vec<(Field, String)>,
    setting: Setting,
    measure: Measure,
    pictures: Vec<Picture>,
    /// The radii of the pictures that count, ascending.
    radii: Vec<f64>,
    spend: Option<Spend>,
    /// Rows of its log that were left out.
    repeated: usize,
}

impl Series {
    /// A series of at least one picture.
    ///
    /// It measures accuracy if the truth of every picture is known, else the share of pictures with any claim.
    ///
    /// # Errors
    /// [`ReportError::Empty`] without a picture, named after the series.
    pub fn new(name: String, setting: Setting, pictures: Vec<Picture>) -> Result<Self, ReportError> {
        if pictures.is_empty() {
            return Err(ReportError::Empty { file: name });
        }
        let known = pictures.iter().all(|picture| picture.correct.is_some());
        let measure = if known { Measure::Accuracy } else { Measure::Share };
        let one = Self {
            log: name,
            marks: Vec::new(),
            setting,
            measure,
            pictures,
            radii: Vec::new(),
            spend: None,
            repeated: 0,
        };
        Ok(one.counted())
    }

    /// The same, counting what `measure` says.
    fn counted(mut self) -> Self {
        let counts = |picture: &&Picture| {
            picture.verdict.is_claim() && (self.measure == Measure::Share || picture.correct == Some(true))
        };
        self.radii = self.pictures.iter().filter(counts).map(|picture| picture.radius).collect();
        self.radii.sort_by(f64::total_cmp);
        self
    }

    /// What it is called: its log and what sets it apart from the others there.
    pub fn name(&self) -> String {
        self.name_of(|_| true)
    }

    /// Its name without the value of `field`, for where that is said already.
    pub fn name_without(&self, field: Field) -> String {
        self.name_of(|mark| mark != field)
    }

    fn name_of(&self, wanted: impl Fn(Field) -> bool) -> String {
        let marks: Vec<String> = self
            .marks
            .iter()
            .filter(|(field, _)| wanted(*field))
            .map(|(field, value)| match field {
                Field::Sigma | Field::Alpha => format!("{} {value}", field.name()),
                _ if value == UNKNOWN => format!("{} {value}", field.name()),
                _ => value.clone(),
            })
            .collect();
        if marks.is_empty() { self.log.clone() } else { format!("{}: {}", self.log, marks.join(", ")) }
    }

    /// The same series of a log of another name.
    #[must_use]
    pub fn named(mut self, log: String) -> Self {
        self.log = log;
        self
    }

    /// The name of its log.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// The same, set apart from other series of its log by these fields.
    #[must_use]
    pub(super) fn marked(mut self, fields: &[Field]) -> Self {
        let value = |field: Field| self.setting.get(field).unwrap_or(UNKNOWN).to_owned();
        self.marks = fields.iter().map(|&field| (field, value(field))).collect();
        self
    }

    /// The same, where the truth of its pictures is what the provider said about them without noise.
    #[must_use]
    pub(super) fn by_clean_answers(mut self) -> Self {
        if self.measure == Measure::Accuracy {
            self.measure = Measure::Agreement;
        }
        self
    }

    /// The same, with what it cost.
    #[must_use]
    pub(super) fn costing(mut self, spend: Spend) -> Self {
        self.spend = Some(spend);
        self
    }

    /// The same, of a log that has so many more rows that say nothing new.
    #[must_use]
    pub(super) fn repeating(mut self, repeated: usize) -> Self {
        self.repeated = repeated;
        self
    }

    /// How many rows of its log were left out because others say the same: a picture counts once.
    pub fn repeated(&self) -> usize {
        self.repeated
    }

    /// What its pictures have in common.
    pub fn setting(&self) -> &Setting {
        &self.setting
    }

    /// What its shares measure.
    pub fn measure(&self) -> Measure {
        self.measure
    }

    /// Its pictures, in the order of the log.
    pub fn pictures(&self) -> &[Picture] {
        &self.pictures
    }

    /// Shows a picture with copies of it.
    pub fn show(&mut self, picture: usize, thumbnails: Thumbnails) {
        if let Some(picture) = self.pictures.get_mut(picture) {
            picture.thumbnails = Some(thumbnails);
        }
    }

    /// The radii of the pictures that count for its measure, ascending.
    pub fn counted_radii(&self) -> &[f64] {
        &self.radii
    }

    /// What it cost by the ledger, retries and what nobody knows included.
    pub fn spend(&self) -> Option<&Spend> {
        self.spend.as_ref()
    }

    /// How many pictures are certified (for accuracy: with the right label) at `radius` or more, as this field counts.
    pub fn count_at(&self, radius: f64) -> usize {
        self.radii.len() - self.radii.partition_point(|&certified| certified < radius)
    }
}

/// What stands for a value that a log does not have.
const UNKNOWN: &str = "unknown";
