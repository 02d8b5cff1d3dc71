//! Questions about one label or category that is fixed before the votes.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use smoothgate_providers::Likelihood;

use super::error::QuestionError;
use super::names::normalise;
use super::rank::{Named, reaches};

/// A least score: a number from 0 to 1, compared exactly (`score >= s`, in doubles).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score(f64);

// No NaN gets in, so equality is an equivalence.
impl Eq for Score {}

impl std::hash::Hash for Score {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl Score {
    /// Checks the range.
    ///
    /// # Errors
    /// [`QuestionError::Score`] outside \[0, 1\] and for NaN.
    pub fn new(score: f64) -> Result<Self, QuestionError> {
        // Adding zero makes one of the two zeros.
        let known = (0.0..=1.0).contains(&score).then_some(Self(score + 0.0));
        known.ok_or_else(|| QuestionError::Score(score.to_string()))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Score {
    type Err = QuestionError;

    fn from_str(text: &str) -> Result<Self, QuestionError> {
        let score = text.trim().parse().map_err(|_| QuestionError::Score(text.trim().to_owned()))?;
        Self::new(score).map_err(|_| QuestionError::Score(text.trim().to_owned()))
    }
}

/// A name as a question can write it: trimmed, not empty, one line, and without the sign of a threshold.
fn name(given: &str) -> Result<String, QuestionError> {
    let name = given.trim();
    let problem = match name {
        "" => "it is empty",
        _ if name.contains(">=") => "`>=` begins a threshold, and there can be one",
        _ if name.chars().any(char::is_control) => "it has control characters",
        _ => return Ok(name.to_owned()),
    };
    Err(QuestionError::Name { given: given.to_owned(), problem })
}

/// One label, and the score from which on it counts as present.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Presence {
    label: String,
    key: String,
    at_least: Option<Score>,
    absence: String,
}

impl Presence {
    /// The label as one wants to read it; case and composition of accents do not matter. Without a least score any
    /// mention counts, scored or not; with one, a label without a score never counts.
    ///
    /// # Errors
    /// [`QuestionError::Name`].
    pub fn new(label: &str, at_least: Option<Score>) -> Result<Self, QuestionError> {
        let label = name(label)?;
        let key = normalise(&label).into_owned();
        let mut presence = Self { label, key, at_least, absence: String::new() };
        presence.absence = format!("absent:{presence}");
        Ok(presence)
    }

    /// The label.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The least score.
    pub fn at_least(&self) -> Option<Score> {
        self.at_least
    }

    /// The name of the class "not present".
    pub(super) fn absence(&self) -> &str {
        &self.absence
    }

    pub(super) fn holds<L: Named>(&self, mut labels: impl Iterator<Item = L>) -> bool {
        let least = self.at_least.map(Score::get);
        labels.any(|label| reaches(&label, least) && label.key() == self.key)
    }
}

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)?;
        self.at_least.map_or(Ok(()), |score| write!(f, ">={}", score.0))
    }
}

impl FromStr for Presence {
    type Err = QuestionError;

    fn from_str(text: &str) -> Result<Self, QuestionError> {
        match text.rsplit_once(">=") {
            Some((label, score)) => Self::new(label, Some(score.parse()?)),
            None => Self::new(text, None),
        }
    }
}

/// One category of a moderation feature, and the likelihood from which on it counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Level {
    category: String,
    key: String,
    at_least: Likelihood,
    claim: String,
}

impl Level {
    /// The category (`adult`, `violence`, ...; case does not matter) and its least likelihood. A category that an answer
    /// does not hold, or holds as `UNKNOWN`, does not count.
    ///
    /// # Errors
    /// [`QuestionError::Name`], and [`QuestionError::Level`] for `UNKNOWN`, which is no step of the scale.
    pub fn new(category: &str, at_least: Likelihood) -> Result<Self, QuestionError> {
        let category = name(category)?;
        let claim = format!("{category}>={}", step(at_least));
        if at_least == Likelihood::Unknown {
            return Err(QuestionError::Level(claim));
        }
        let key = normalise(&category).into_owned();
        Ok(Self { category, key, at_least, claim })
    }

    /// The category.
    pub fn category(&self) -> &str {
        &self.category
    }

    /// The least likelihood.
    pub fn at_least(&self) -> Likelihood {
        self.at_least
    }

    /// The name of the class, as it is written after `level:`.
    pub(super) fn claim(&self) -> &str {
        &self.claim
    }

    pub(super) fn holds(&self, levels: &BTreeMap<String, Likelihood>) -> bool {
        levels.iter().any(|(category, &level)| level >= self.at_least && normalise(category) == self.key)
    }
}

impl FromStr for Level {
    type Err = QuestionError;

    fn from_str(text: &str) -> Result<Self, QuestionError> {
        let unknown = || QuestionError::Level(text.trim().to_owned());
        let (category, wanted) = text.rsplit_once(">=").ok_or_else(unknown)?;
        let wanted = wanted.trim();
        let at_least =
            STEPS.into_iter().find(|&s| step(s).eq_ignore_ascii_case(wanted)).ok_or_else(unknown)?;
        Self::new(category, at_least)
    }
}

/// The scale.
const STEPS: [Likelihood; 5] = [
    Likelihood::VeryUnlikely,
    Likelihood::Unlikely,
    Likelihood::Possible,
    Likelihood::Likely,
    Likelihood::VeryLikely,
];

/// A step as APIs write it.
fn step(likelihood: Likelihood) -> &'static str {
    match likelihood {
        Likelihood::Unknown => "UNKNOWN",
        Likelihood::VeryUnlikely => "VERY_UNLIKELY",
        Likelihood::Unlikely => "UNLIKELY",
        Likelihood::Possible => "POSSIBLE",
        Likelihood::Likely => "LIKELY",
        Likelihood::VeryLikely => "VERY_LIKELY",
    }
}
