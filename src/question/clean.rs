//! Questions about labels that the answer about the clean picture fixes.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use super::error::QuestionError;
use super::label::{Presence, Score};
use super::rank::{Named, reaches, score};
use crate::stats::Sharing;

/// The question's name.
pub(super) const NAME: &str = "clean-labels";

/// Labels that are asked about where nobody says how many, and at most.
const USUAL_LABELS: usize = 20;
const MOST_LABELS: usize = 100;

/// Are the labels of the clean picture still in the answer? One claim a label, all on the same votes.
///
/// As text `clean-labels[/even|/sequence][/M][>=SCORE]`: how the claims share the level, how many labels at most (20 unless
/// said otherwise, 100 at most), and the score that a label must have, in the clean answer to be asked about and in the
/// others to count as present. In documents the label of one claim stands in it, and nothing is left out:
/// `clean-labels/even/20:LABEL>=SCORE`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CleanLabels {
    sharing: Sharing,
    most: usize,
    at_least: Option<Score>,
    about: Option<Presence>,
}

impl CleanLabels {
    /// The labels of the clean answer that have this score or more, `most` of them, the highest scores first.
    ///
    /// # Errors
    /// [`QuestionError::CleanLabels`] for no labels or more than 100.
    pub fn new(sharing: Sharing, most: usize, at_least: Option<Score>) -> Result<Self, QuestionError> {
        if (1..=MOST_LABELS).contains(&most) {
            return Ok(Self { sharing, most, at_least, about: None });
        }
        Err(QuestionError::CleanLabels(most.to_string()))
    }

    /// How the claims share the level.
    pub fn sharing(&self) -> Sharing {
        self.sharing
    }

    /// How many labels are asked about at most.
    pub fn most(&self) -> usize {
        self.most
    }

    /// The least score.
    pub fn at_least(&self) -> Option<Score> {
        self.at_least
    }

    /// The label of one claim; `None` before there is a clean answer.
    pub(super) fn about(&self) -> Option<&Presence> {
        self.about.as_ref()
    }

    /// The question before there was a clean answer.
    pub(super) fn asked(&self) -> Self {
        Self { about: None, ..self.clone() }
    }

    /// One question a label of the clean answer. The order and the set are those of the clean answer alone, fixed before
    /// any vote: highest score first, among equal ones the normalised name that is first in code-point order, those without
    /// a score last, as the API named them. Each label once; one that no question can name is passed over.
    pub(super) fn about_labels<L: Named>(&self, labels: impl Iterator<Item = L>) -> Vec<Self> {
        let least = self.at_least.map(Score::get);
        let mut labels: Vec<L> = labels.filter(|label| reaches(label, least)).collect();
        labels.sort_by(|a, b| match (score(a), score(b)) {
            (Some(x), Some(y)) => y.total_cmp(&x).then_with(|| a.key().cmp(&b.key())),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        });
        let mut met = HashSet::new();
        labels.retain(|label| met.insert(label.key().into_owned()));
        let named = labels.iter().filter_map(|label| Presence::new(label.spelling(), self.at_least).ok());
        named.take(self.most).map(|about| Self { about: Some(about), ..self.clone() }).collect()
    }
}

impl Default for CleanLabels {
    fn default() -> Self {
        Self { sharing: Sharing::default(), most: USUAL_LABELS, at_least: None, about: None }
    }
}

fn word(sharing: Sharing) -> &'static str {
    match sharing {
        Sharing::Even => "even",
        Sharing::Sequence => "sequence",
    }
}

impl fmt::Display for CleanLabels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if let Some(about) = &self.about {
            return write!(f, "/{}/{}:{about}", word(self.sharing), self.most);
        }
        let usual = Self::default();
        if self.sharing != usual.sharing {
            write!(f, "/{}", word(self.sharing))?;
        }
        if self.most != usual.most {
            write!(f, "/{}", self.most)?;
        }
        self.at_least.map_or(Ok(()), |score| write!(f, ">={}", score.get()))
    }
}

impl FromStr for CleanLabels {
    type Err = QuestionError;

    fn from_str(text: &str) -> Result<Self, QuestionError> {
        let bad = || QuestionError::CleanLabels(text.to_owned());
        let rest = text.trim().strip_prefix(NAME).ok_or_else(bad)?;
        let (options, about, score) = match (rest.split_once(':'), rest.split_once(">=")) {
            // A label may hold either sign, options hold none.
            (Some((options, label)), _) if !options.contains(">=") => (options, Some(label), None),
            (_, Some((options, score))) => (options, None, Some(score)),
            (_, None) => (rest, None, None),
        };
        let usual = Self::default();
        let (mut sharing, mut most) = (None, None);
        let mut words = options.split('/').map(str::trim);
        if words.next() != Some("") {
            return Err(bad());
        }
        for option in words {
            match option {
                "even" if sharing.is_none() => sharing = Some(Sharing::Even),
                "sequence" if sharing.is_none() => sharing = Some(Sharing::Sequence),
                number if most.is_none() => most = Some(number.parse().map_err(|_| bad())?),
                _ => return Err(bad()),
            }
        }
        let at_least = score.map(str::parse).transpose()?;
        let asked = Self::new(sharing.unwrap_or(usual.sharing), most.unwrap_or(usual.most), at_least)
            .map_err(|_| bad())?;
        let Some(about) = about else { return Ok(asked) };
        let about: Presence = about.parse()?;
        Ok(Self { at_least: about.at_least(), about: Some(about), ..asked })
    }
}
