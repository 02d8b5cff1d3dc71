//! One line of a log: all answers about one picture under one denoiser and sigma.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

use super::error::Problem;
use super::reader::MAX_LINE;

/// How some logs write an answer without a label: a label of this name with score 0, alone.
const NO_LABEL: &str = "None";

/// One answer: positions of labels in [`Record::names`] with their scores, in the API's order. Empty: answered without
/// a label.
pub(super) type RecordedAnswer = Vec<(usize, Option<f64>)>;

/// The recorded answers about one picture.
///
/// As JSON, an answer is a list of `[position in names, score or null]`, `[]` where the API gave no label, and `null`
/// where it never answered. An answer that holds nothing but a label `None` with score 0 is how some logs write an
/// answer without a label, and is read as one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Record<'a> {
    /// The API.
    #[serde(borrow)]
    pub api: Cow<'a, str>,
    /// The denoiser before it.
    #[serde(borrow)]
    pub denoiser: Cow<'a, str>,
    /// Standard deviation of the noise, in units of \[0, 1\] pixel values.
    pub sigma: f64,
    /// The picture's number in its data set.
    pub idx: u64,
    /// Selection votes: the first of `votes`.
    pub n0: usize,
    /// Estimation votes: those after the selection votes.
    pub n: usize,
    /// The names of all labels in this record.
    #[serde(borrow, deserialize_with = "names")]
    pub(super) names: Vec<Cow<'a, str>>,
    /// The answer about the picture without noise.
    #[serde(default)]
    pub(super) clean: Option<RecordedAnswer>,
    /// The answers about noisy copies in index order; `None` for one that never came.
    pub(super) votes: Vec<Option<RecordedAnswer>>,
    /// What the run that made the log concluded.
    #[serde(borrow, default)]
    pub logged: Option<Logged<'a>>,
}

/// What the run that made a log concluded.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Logged<'a> {
    /// The label that was certified; `-1` for an abstention.
    #[serde(borrow)]
    pub predict: Cow<'a, str>,
    /// The radius, with three decimals.
    #[serde(borrow)]
    pub radius: Cow<'a, str>,
}

/// Strings borrowed where they hold no escapes; serde borrows no strings inside lists by itself.
fn names<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Cow<'a, str>>, D::Error> {
    #[derive(Deserialize)]
    struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
    let names: Vec<Name<'a>> = Vec::deserialize(deserializer)?;
    Ok(names.into_iter().map(|name| name.0).collect())
}

impl<'a> Record<'a> {
    /// Reads one line.
    ///
    /// # Errors
    /// [`Problem::Syntax`], [`Problem::NoSuchName`], [`Problem::TooLong`].
    pub fn parse(line: &'a [u8]) -> Result<Self, Problem> {
        if line.len() > MAX_LINE {
            return Err(Problem::TooLong(MAX_LINE));
        }
        let mut record: Self = serde_json::from_slice(line)?;
        let names = record.names.len();
        let placeholder = record.names.iter().position(|name| name == NO_LABEL);
        let answers = record.clean.iter_mut().map(|answer| (None, answer));
        let votes =
            record.votes.iter_mut().enumerate().filter_map(|(n, vote)| Some((Some(n), vote.as_mut()?)));
        for (number, answer) in answers.chain(votes) {
            if let Some(&(index, _)) = answer.iter().find(|(index, _)| *index >= names) {
                let place = number.map_or("the clean answer".to_owned(), |n| format!("vote {n}"));
                return Err(Problem::NoSuchName { place, index, names });
            }
            if let [(index, Some(0.0))] = answer[..]
                && Some(index) == placeholder
            {
                answer.clear();
            }
        }
        Ok(record)
    }

    /// How many draws are recorded, those without an answer included.
    pub fn draws(&self) -> usize {
        self.votes.len()
    }
}
