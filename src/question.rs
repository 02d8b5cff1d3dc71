//! What is asked of each answer: the rule that makes an answer a vote.
//!
//! A question is a fixed function of one answer, so any question is sound: it is part of the classifier that is
//! smoothed. It must be chosen before the first noisy vote.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use smoothgate_providers::Answer;

/// A vote rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[non_exhaustive]
pub enum Question {
    /// Which label comes first? The paper's question: the label with the highest score gets the vote.
    ///
    /// Tie rule: among labels with exactly the highest score, the one whose normalised name comes first in code-point
    /// order. APIs do not promise an order among ties, so their order must not decide. Labels without a score come
    /// after all scored ones; if no label has a score, the API's first label gets the vote.
    Top1,
}

impl Question {
    /// The tie rule in words, for certificates.
    pub const TIE_RULE: &str = "highest score; ties to the normalised name that is first in code-point order";

    /// The label that this answer votes for, as the API spells it; `None` where it votes for no label.
    pub fn vote<'a>(&self, answer: &'a Answer) -> Option<&'a str> {
        match self {
            Self::Top1 => top1(answer),
        }
    }
}

fn top1(answer: &Answer) -> Option<&str> {
    let best = answer.labels.iter().filter_map(|label| label.score).filter(|s| !s.is_nan()).reduce(f64::max);
    let Some(best) = best else {
        return answer.labels.first().map(|label| label.name.as_str());
    };
    answer
        .labels
        .iter()
        .filter(|label| label.score == Some(best))
        .min_by_key(|label| normalise(&label.name).into_owned())
        .map(|label| label.name.as_str())
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top1 => f.write_str("top1"),
        }
    }
}

impl From<Question> for String {
    fn from(question: Question) -> Self {
        question.to_string()
    }
}

impl TryFrom<String> for Question {
    type Error = QuestionError;

    fn try_from(text: String) -> Result<Self, QuestionError> {
        text.parse()
    }
}

impl FromStr for Question {
    type Err = QuestionError;

    fn from_str(text: &str) -> Result<Self, QuestionError> {
        match text.trim() {
            "top1" => Ok(Self::Top1),
            other => Err(QuestionError { text: other.to_owned() }),
        }
    }
}

/// A text that names no question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a question: write `top1` (which label has the highest score?)")]
pub struct QuestionError {
    text: String,
}

/// A label's name for comparisons: Unicode NFC, then full case folding, then NFC again.
///
/// APIs change the case of their labels between versions and languages; `Dog`, `dog` and `DOG` are one label, and so
/// are composed and decomposed accents.
pub fn normalise(name: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii() && !c.is_ascii_uppercase();
    if name.chars().all(is_plain) {
        return Cow::Borrowed(name);
    }
    let nfc = icu_normalizer::ComposingNormalizerBorrowed::new_nfc();
    let composed = nfc.normalize(name);
    let folded = icu_casemap::CaseMapper::new().fold_string(&composed);
    Cow::Owned(nfc.normalize(&folded).into_owned())
}

/// Gives each label a class index in order of first appearance, and remembers its first spelling.
#[derive(Clone, Debug, Default)]
pub struct Classes {
    spellings: Vec<String>,
    index: HashMap<String, usize>,
}

impl Classes {
    /// The class of this label; a new one if its normalised name was not seen before.
    pub fn class(&mut self, label: &str) -> usize {
        let key = normalise(label);
        if let Some(&class) = self.index.get(key.as_ref()) {
            return class;
        }
        let class = self.spellings.len();
        self.index.insert(key.into_owned(), class);
        self.spellings.push(label.to_owned());
        class
    }

    /// The spelling in which a class was first seen.
    pub fn spelling(&self, class: usize) -> Option<&str> {
        self.spellings.get(class).map(String::as_str)
    }

    /// All spellings, in order of first appearance.
    pub fn spellings(&self) -> &[String] {
        &self.spellings
    }

    /// How many labels were seen.
    pub fn len(&self) -> usize {
        self.spellings.len()
    }

    /// Was no label seen?
    pub fn is_empty(&self) -> bool {
        self.spellings.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use smoothgate_providers::Label;

    #[test]
    fn the_highest_score_wins_wherever_it_stands() {
        let answer = Answer::of([("Cat", 0.2), ("Dog", 0.9), ("Bird", 0.5)]);
        assert_eq!(Question::Top1.vote(&answer), Some("Dog"));
    }

    #[test]
    fn ties_do_not_depend_on_the_order_of_the_answer() {
        let tied = [("Vulture", 0.996), ("Bird", 0.996), ("animal", 0.996), ("Wing", 0.5)];
        let forward = Answer::of(tied);
        let backward = Answer::of(tied.into_iter().rev());
        assert_eq!(Question::Top1.vote(&forward), Some("animal"));
        assert_eq!(Question::Top1.vote(&backward), Some("animal"));
    }

    #[test]
    fn labels_without_scores_keep_their_order_and_come_last() {
        let bare = |name: &str| Label { name: name.into(), score: None, id: None };
        let unscored = Answer { labels: vec![bare("b"), bare("a")], ..Answer::default() };
        assert_eq!(Question::Top1.vote(&unscored), Some("b"));
        let mixed = Answer { labels: vec![bare("b"), Label::new("z", 0.01)], ..Answer::default() };
        assert_eq!(Question::Top1.vote(&mixed), Some("z"));
        let nan = Answer::of([("n", f64::NAN), ("x", 0.1)]);
        assert_eq!(Question::Top1.vote(&nan), Some("x"));
    }

    #[test]
    fn contract_03_an_empty_answer_votes_for_no_label() {
        assert_eq!(Question::Top1.vote(&Answer::default()), None);
    }

    #[test]
    fn case_and_composition_do_not_split_a_label() {
        for (a, b) in [("Dog", "DOG"), ("Café", "cafe\u{301}"), ("Straße", "STRASSE"), ("ΣΊΣΥΦΟΣ", "σίσυφος")]
        {
            assert_eq!(normalise(a), normalise(b), "{a} {b}");
        }
        assert_ne!(normalise("dog"), normalise("dogs"));
        let mut classes = Classes::default();
        assert_eq!((classes.class("Dog"), classes.class("Cat"), classes.class("dog")), (0, 1, 0));
        assert_eq!(classes.spelling(0), Some("Dog"));
    }

    #[test]
    fn unknown_questions_are_refused_by_name() {
        assert!("top5".parse::<Question>().unwrap_err().to_string().contains("top5"));
        assert_eq!("top1".parse::<Question>().unwrap().to_string(), "top1");
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(name in "\\PC{0,12}") {
            let once = normalise(&name).into_owned();
            prop_assert_eq!(normalise(&once).into_owned(), once);
        }
    }
}
