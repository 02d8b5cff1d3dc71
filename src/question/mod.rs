//! What is asked of each answer: the rule that makes an answer a vote.
//!
//! A question is a fixed function of one answer, so any question is sound: it is part of the classifier that is
//! smoothed. It must be chosen before the first noisy vote.
//!
//! | text | vote | label |
//! |---|---|---|
//! | `top1` | for the label with the highest score | chosen from the votes |
//! | `present:LABEL`, `present:LABEL>=s` | for LABEL if the answer holds it (with score s or more) | fixed |
//! | `absent:LABEL`, `absent:LABEL>=s` | for `absent:LABEL` if not | fixed |
//! | `level:CATEGORY>=LIKELIHOOD` | for that, if the category is rated so or higher | fixed |
//! | `clean-top` | for the top label of the picture's own clean answer, if the answer holds it | fixed |
//! | `clean-labels`, `clean-labels>=s` | for each label of the clean answer that the answer holds (with score s or more) | fixed |
//! | `topk:K` | as `top1`; asked is whether the label is among the K most likely ones | chosen from the votes |
//! | `map:FILE` | for the user's class of the highest-scored label that has one | chosen from the votes |
//!
//! `clean-labels` is many questions at once: [`Question::about_clean`] makes one of each label, and each is a claim of its own on
//! the same draws; [`Sharing`] says how they share the level.
//!
//! Names are compared by [`normalise`], never by spelling. A label that is fixed before the votes costs nothing; one
//! that is chosen from them is paid for in the test (contract 5): [`Question::label_rule`] says which it is.

mod clean;
mod error;
mod label;
mod map;
mod names;
mod rank;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use smoothgate_providers::{Answer, Likelihood};

pub use clean::CleanLabels;
pub use error::{MapError, QuestionError};
pub use label::{Level, Presence, Score};
pub use map::ClassMap;
pub use names::{Classes, normalise};
pub(crate) use rank::Named;

use crate::stats::{LabelRule, Method, Sharing};

/// The largest K of `topk:K`.
const MOST_K: usize = 100;

/// A vote rule.
///
/// As text it reads and writes the forms in the table above. In documents a class map is written out in full.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "Wire", try_from = "Wire")]
#[non_exhaustive]
pub enum Question {
    /// Which label comes first? The paper's question: the label with the highest score gets the vote.
    ///
    /// Tie rule: among labels with exactly the highest score, the one whose normalised name comes first in code-point
    /// order. APIs do not promise an order among ties, so their order must not decide. Labels without a score come
    /// after all scored ones; if no label has a score, the API's first label gets the vote.
    Top1,
    /// Which label is among the k most likely ones? Votes are those of [`Self::Top1`]; the claim is weaker, and certified at
    /// larger radii (Jia et al. 2020). It needs [`Method::Topk`] with the same k.
    TopK(usize),
    /// Is this label in the answer? Votes for the label, or for none. Ancestors and synonyms cannot split the vote.
    Present(Presence),
    /// Is it not in the answer? The complement of [`Self::Present`] on every answer, the empty one included; a failure
    /// is no answer and votes for neither.
    Absent(Presence),
    /// Is this category rated so likely? Votes for `CATEGORY>=LIKELIHOOD`, or for none.
    Level(Level),
    /// Is the top label of the clean picture still in the answer? The API is asked about the picture without noise first,
    /// and [`Self::about_clean`] makes the question that the votes answer: [`Self::Present`] for that label. `None` before.
    /// As text `clean-top`, and `clean-top:LABEL` in documents.
    CleanTop(Option<Presence>),
    /// Are the labels of the clean picture still in the answer? [`Self::about_clean`] makes a question of each label, which
    /// is the claim of that label.
    CleanLabels(CleanLabels),
    /// Which of the user's classes? Labels are gone through as for [`Self::Top1`], best first, and the first that
    /// belongs to a class gives the vote to it; an answer without any such label votes for none.
    Map(ClassMap),
}

/// What a question chooses from an answer.
pub(crate) enum Choice<'q, L> {
    /// A label of the answer.
    Label(L),
    /// A class that the question names.
    Class(&'q str),
}

impl Question {
    /// Reads a question as the command line writes it, and the file of `map:FILE`. A map may be followed by `#` and its
    /// hash, as [`Display`](fmt::Display) writes it; it must then be that map.
    ///
    /// Not for text from strangers, who could name any file; [`FromStr`] reads none.
    ///
    /// # Errors
    /// [`QuestionError`].
    pub fn load(text: &str) -> Result<Self, QuestionError> {
        // Which label the clean answer has is for the API to say.
        let Some(named) = text.trim().strip_prefix("map:") else {
            let question: Self = text.parse()?;
            return if question == question.asked() {
                Ok(question)
            } else {
                Err(QuestionError::Unknown(text.to_owned()))
            };
        };
        let (file, hash) = ClassMap::split_hash(named);
        let map = ClassMap::load(Path::new(file))?;
        Ok(Self::Map(match hash {
            Some(hash) => map.expecting(hash)?,
            None => map,
        }))
    }

    /// The label that this answer votes for, as the API or the question spells it; `None` where it votes for no label.
    pub fn vote<'a>(&'a self, answer: &'a Answer) -> Option<&'a str> {
        self.choose(answer.labels.iter(), &answer.levels).map(|choice| match choice {
            Choice::Label(label) => label.name.as_str(),
            Choice::Class(class) => class,
        })
    }

    /// [`Self::vote`] on labels that are held in another way.
    pub(crate) fn choose<L: Named>(
        &self,
        mut labels: impl Iterator<Item = L>,
        levels: &BTreeMap<String, Likelihood>,
    ) -> Option<Choice<'_, L>> {
        match self {
            Self::Top1 | Self::TopK(_) => rank::first(labels).map(Choice::Label),
            Self::Present(what) | Self::CleanTop(Some(what)) => {
                what.holds(labels.by_ref()).then(|| Choice::Class(what.label()))
            }
            Self::CleanLabels(asked) => {
                let what = asked.about()?;
                what.holds(labels.by_ref()).then(|| Choice::Class(what.label()))
            }
            Self::CleanTop(None) => None,
            Self::Absent(what) => (!what.holds(labels.by_ref())).then(|| Choice::Class(what.absence())),
            Self::Level(what) => what.holds(levels).then(|| Choice::Class(what.claim())),
            Self::Map(map) => {
                let of_a_class = labels.filter(|label| map.class_of_key(&label.key()).is_some());
                rank::first(of_a_class).and_then(|label| map.class_of_key(&label.key())).map(Choice::Class)
            }
        }
    }

    /// The one label that can be voted for, where the question fixes it before the votes.
    pub fn fixed_label(&self) -> Option<&str> {
        match self {
            Self::Top1 | Self::TopK(_) | Self::Map(_) | Self::CleanTop(None) => None,
            Self::Present(what) | Self::CleanTop(Some(what)) => Some(what.label()),
            Self::CleanLabels(asked) => asked.about().map(Presence::label),
            Self::Absent(what) => Some(what.absence()),
            Self::Level(what) => Some(what.claim()),
        }
    }

    /// Whether a test must pay for the choice of the label (contract 5).
    pub fn label_rule(&self) -> LabelRule {
        match self {
            Self::Top1 | Self::TopK(_) | Self::Map(_) => LabelRule::Leader,
            Self::Present(_)
            | Self::CleanTop(_)
            | Self::CleanLabels(_)
            | Self::Absent(_)
            | Self::Level(_) => LabelRule::Fixed,
        }
    }

    /// K of `topk:K`.
    pub fn topk(&self) -> Option<usize> {
        if let Self::TopK(k) = *self { Some(k) } else { None }
    }

    /// Does the test prove what the question asks? Only [`Method::Topk`] proves that a label is among the k most likely ones,
    /// and it proves nothing else.
    pub fn suits(&self, method: &Method) -> bool {
        match (self, method) {
            (Self::TopK(asked), Method::Topk { k, .. }) => asked == k,
            (Self::TopK(_), _) | (_, Method::Topk { .. }) => false,
            _ => true,
        }
    }

    /// What is claimed of the smoothed pipeline where `label` is certified, as in "it answers ...".
    pub fn claim(&self, label: &str) -> String {
        match self {
            Self::TopK(k) => format!("has \"{label}\" among its {k} most likely answers"),
            _ => format!("answers \"{label}\""),
        }
    }

    /// Is it about labels of the clean picture, which the API is asked about before any noisy one?
    pub fn asks_clean(&self) -> bool {
        matches!(self, Self::CleanTop(_) | Self::CleanLabels(_))
    }

    /// The question as it was asked: without the label that a clean answer gave it.
    #[must_use]
    pub fn asked(&self) -> Self {
        match self {
            Self::CleanTop(_) => Self::CleanTop(None),
            Self::CleanLabels(asked) => Self::CleanLabels(asked.asked()),
            other => other.clone(),
        }
    }

    /// The questions that the votes answer, once the clean answer is known, each a claim of its own. `clean-top` is about
    /// the label with the highest score, among equal ones the one that the API named first: the order of this one answer is
    /// fixed before any vote, so it may decide. `clean-labels` is about each of the labels that it asks for. None, where the
    /// answer holds no label to ask about; a question that asks nothing of the clean picture is returned as it is.
    pub fn about_clean(&self, clean: &Answer) -> Vec<Self> {
        self.about_labels(clean.labels.iter())
    }

    /// [`Self::about_clean`] on labels that are held in another way.
    pub(crate) fn about_labels<L: Named>(&self, labels: impl Iterator<Item = L>) -> Vec<Self> {
        match self {
            Self::CleanTop(_) => {
                let top = rank::named_first(labels);
                let named = top.and_then(|label| Presence::new(label.spelling(), None).ok());
                named.into_iter().map(|label| Self::CleanTop(Some(label))).collect()
            }
            Self::CleanLabels(asked) => {
                asked.about_labels(labels).into_iter().map(Self::CleanLabels).collect()
            }
            other => vec![other.clone()],
        }
    }

    /// How many claims it can make at most.
    pub fn most_claims(&self) -> usize {
        if let Self::CleanLabels(asked) = self { asked.most() } else { 1 }
    }

    /// How its claims share its level, where it can make several.
    pub fn sharing(&self) -> Sharing {
        if let Self::CleanLabels(asked) = self { asked.sharing() } else { Sharing::Even }
    }

    /// The classes before the first vote, and the fixed label's number among them.
    pub(crate) fn classes(&self) -> (Classes, Option<usize>) {
        let mut classes = Classes::default();
        let fixed = self.fixed_label().map(|label| classes.class(label));
        (classes, fixed)
    }

    /// The tie rule in words, for certificates.
    pub fn tie_rule(&self) -> &'static str {
        match self {
            Self::Top1 | Self::TopK(_) => {
                "highest score; ties to the normalised name that is first in code-point order"
            }
            Self::Map(_) => {
                "highest score among the labels of a class; ties to the normalised label that is first in code-point \
                 order"
            }
            Self::Present(_) | Self::Absent(_) | Self::Level(_) => "none needed: one label is asked about",
            Self::CleanTop(_) => {
                "highest score of the clean answer; ties to the label that the API named first"
            }
            Self::CleanLabels(_) => {
                "highest score of the clean answer first; ties to the normalised name that is first in code-point order"
            }
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top1 => f.write_str("top1"),
            Self::TopK(k) => write!(f, "topk:{k}"),
            Self::Present(what) => write!(f, "present:{what}"),
            Self::CleanTop(None) => f.write_str("clean-top"),
            Self::CleanTop(Some(what)) => write!(f, "clean-top:{what}"),
            Self::CleanLabels(asked) => asked.fmt(f),
            Self::Absent(what) => f.write_str(what.absence()),
            Self::Level(what) => write!(f, "level:{}", what.claim()),
            Self::Map(map) => write!(f, "map:{map}"),
        }
    }
}

impl FromStr for Question {
    type Err = QuestionError;

    fn from_str(text: &str) -> Result<Self, QuestionError> {
        let text = text.trim();
        match text.split_once(':') {
            None if text == "top1" => Ok(Self::Top1),
            None if text == "clean-top" => Ok(Self::CleanTop(None)),
            _ if text.starts_with(clean::NAME) => Ok(Self::CleanLabels(text.parse()?)),
            Some(("topk", k)) => match k.trim().parse() {
                Ok(k @ 1..=MOST_K) => Ok(Self::TopK(k)),
                _ => Err(QuestionError::K(k.trim().to_owned())),
            },
            Some(("present", what)) => Ok(Self::Present(what.parse()?)),
            Some(("clean-top", what)) => Ok(Self::CleanTop(Some(what.parse()?))),
            Some(("absent", what)) => Ok(Self::Absent(what.parse()?)),
            Some(("level", what)) => Ok(Self::Level(what.parse()?)),
            Some(("map", _)) => Err(QuestionError::NotLoaded(text.to_owned())),
            _ => Err(QuestionError::Unknown(text.to_owned())),
        }
    }
}

/// A question in documents.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Wire {
    Text(String),
    Map { map: map::Whole },
}

impl From<Question> for Wire {
    fn from(question: Question) -> Self {
        match &question {
            Question::Map(map) => Self::Map { map: map.into() },
            other => Self::Text(other.to_string()),
        }
    }
}

impl TryFrom<Wire> for Question {
    type Error = QuestionError;

    fn try_from(wire: Wire) -> Result<Self, QuestionError> {
        match wire {
            Wire::Text(text) => text.parse(),
            Wire::Map { map } => Ok(Self::Map(map.try_into()?)),
        }
    }
}
