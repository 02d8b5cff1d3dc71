//! The answer-log format: one line of JSON a picture, with every answer it got.
//!
//! A picture under one denoiser and one sigma makes one line. Label names are listed once; an answer is a list of
//! `[index into names, score]` in the API's order. `[]` is an answer without any label, `null` a draw that was given up or answered from a cache.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use smoothgate_providers::{Answer, Outcome};

use super::StoredPicture;

/// What the caller knows of a picture's line besides its answers.
#[derive(Clone, Debug, PartialEq)]
pub struct LogHead {
    /// The API that answered.
    pub api: String,
    /// The denoiser, `none` for none.
    pub denoiser: String,
    /// The noise level in units of [0, 1] pixel values.
    pub sigma: f64,
    /// The picture's number in its collection.
    pub idx: u64,
    /// How many of the first draws are selection votes.
    pub n0: u64,
    /// How many votes the run's test can take after them, where that is known: how many it took in the end was decided by the
    /// answers, and is no design of a test.
    pub n: Option<u64>,
    /// The result on record, where there is one: copied to the line.
    pub logged: Option<Value>,
}

/// One line of an answer log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// The API that answered.
    pub api: String,
    /// The denoiser.
    pub denoiser: String,
    /// The noise level in units of [0, 1] pixel values.
    pub sigma: f64,
    /// The picture's number in its collection.
    pub idx: u64,
    /// How many votes are selection votes: the first.
    pub n0: u64,
    /// How many can follow them. The test may have ended earlier, with fewer `votes`.
    pub n: u64,
    /// Every label that occurs, in the order of first occurrence: votes first, then the clean answer.
    pub names: Vec<String>,
    /// The clean answer; `None` where it was not asked for or was given up.
    pub clean: Option<LoggedAnswer>,
    /// The answers of draws 0, 1, 2, ...; `None` where a draw was given up.
    pub votes: Vec<Option<LoggedAnswer>>,
    /// The result on record, where there is one.
    pub logged: Option<Value>,
}

/// Labels as `(index into names, score)` in the API's order. The score is `None` where the API gave none.
pub type LoggedAnswer = Vec<(usize, Option<f64>)>;

/// Why a picture has no line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its answers were overwritten when its certificate was stored, as the ledger's retention asked")]
pub struct Overwritten;

impl LogLine {
    /// The line of a picture. Its votes are the draws settled without a gap from draw 0: a draw in flight is neither an
    /// answer nor a failure, and what lies behind it is no evidence without it.
    ///
    /// # Errors
    /// [`Overwritten`] where its answers are no longer on record.
    pub fn of(head: &LogHead, stored: &StoredPicture) -> Result<Self, Overwritten> {
        if stored.redacted {
            return Err(Overwritten);
        }
        let mut names = Names::default();
        let settled = stored.draws.iter().zip(0_u64..).take_while(|((draw, _), i)| *draw == i);
        let votes: Vec<_> = settled.map(|((_, settled), _)| names.logged(&settled.outcome)).collect();
        // It is no vote: one from a cache fixes labels as well as any other.
        let clean = stored.clean.as_ref().and_then(|settled| match &settled.outcome {
            Outcome::Answered(answer) => Some(names.answer(answer)),
            _ => None,
        });
        Ok(Self {
            api: head.api.clone(),
            denoiser: head.denoiser.clone(),
            sigma: head.sigma,
            idx: head.idx,
            n0: head.n0,
            n: head.n.unwrap_or((votes.len() as u64).saturating_sub(head.n0)),
            names: names.list,
            clean,
            votes,
            logged: head.logged.clone(),
        })
    }
}

/// Numbers label names as they come.
#[derive(Default)]
struct Names {
    list: Vec<String>,
    known: HashMap<String, usize>,
}

impl Names {
    fn logged(&mut self, outcome: &Outcome) -> Option<LoggedAnswer> {
        match outcome {
            // An answer from a cache is no draw, so it counts as a failure.
            Outcome::Answered(answer) if !answer.from_cache => Some(self.answer(answer)),
            _ => None,
        }
    }

    fn answer(&mut self, answer: &Answer) -> LoggedAnswer {
        let number = |name: &String| {
            *self.known.entry(name.clone()).or_insert_with(|| {
                self.list.push(name.clone());
                self.list.len() - 1
            })
        };
        let scores = answer.labels.iter().map(|label| label.score);
        answer.labels.iter().map(|label| &label.name).map(number).zip(scores).collect()
    }
}
