//! What can be wrong with a question.

use std::io;

/// Why a text is no question. The caller's to mend; nothing was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuestionError {
    /// No question begins like this.
    #[error(
        "`{0}` is not a question: write `top1` (which label has the highest score?), `present:LABEL`, \
         `present:LABEL>=SCORE`, `absent:LABEL`, `level:CATEGORY>=LIKELIHOOD`, `clean-top` (is the label still there that \
         the clean picture gets?), `clean-labels` or `clean-labels>=SCORE` (which of its labels are?), `topk:K` or `map:FILE`"
    )]
    Unknown(String),
    /// A question about no label, or about one that cannot be written back.
    #[error(
        "`{given}` is not the name of a label: {problem}; write it as the API spells it (case does not matter)"
    )]
    Name {
        /// What was given.
        given: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// How many labels is no number of them.
    #[error(
        "`{0}` is not how many labels may come first: write for instance `topk:3`, with a number from 1 to 100"
    )]
    K(String),
    /// Options of `clean-labels` that are none.
    #[error(
        "`{0}` says nothing that `clean-labels` knows: write `clean-labels[/even|/sequence][/M][>=SCORE]`, for instance \
         `clean-labels/10>=0.5`, with M, the most labels that are asked about, from 1 to 100"
    )]
    CleanLabels(String),
    /// A threshold that is no score.
    #[error("`{0}` is not a score: scores are numbers from 0 to 1 (an API's 80 % is 0.8)")]
    Score(String),
    /// A likelihood question without a category, a comparison or a step of the scale.
    #[error(
        "`{0}` does not name a category and a likelihood: write for instance `level:adult>=LIKELY`; the steps are \
         VERY_UNLIKELY, UNLIKELY, POSSIBLE, LIKELY and VERY_LIKELY"
    )]
    Level(String),
    /// A class map was named where no file may be read.
    #[error("`{0}` names a file, which is not read here: load the map first (`Question::load`)")]
    NotLoaded(String),
    /// The class map cannot be used.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// Why a class map cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The file cannot be read.
    #[error("the class map `{name}` cannot be read: {source}")]
    Read {
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The file is not what its name says.
    #[error("the class map `{name}` is not valid: {problem}")]
    Syntax {
        /// The file.
        name: String,
        /// Where and what.
        problem: String,
    },
    /// One label in two classes.
    #[error(
        "the class map `{name}` puts the label `{label}` into `{one}` and into `{other}`: keep one of them"
    )]
    TwoClasses {
        /// The file.
        name: String,
        /// The label.
        label: String,
        /// Its first class.
        one: String,
        /// Its second class.
        other: String,
    },
    /// No label belongs to any class.
    #[error("the class map `{0}` has no class: nothing could be voted for")]
    Empty(String),
    /// Not the map that a certificate or a command names.
    #[error(
        "the class map `{name}` has the hash {found}, not {wanted}: it was changed, or it is another file"
    )]
    Changed {
        /// The file.
        name: String,
        /// Its hash.
        found: String,
        /// The hash that was asked for.
        wanted: String,
    },
}
