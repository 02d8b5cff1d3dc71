//! What was gathered about one picture.

use serde::{Deserialize, Serialize};

use smoothgate_providers::{Outcome, OutcomeClass};

use crate::question::{Classes, Question};
use crate::stats::{Decision, Plan, Vote};

/// What was gathered about one picture: draws, and what they decided about every claim.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The claims, question by question in the order of the settings; at least one a question. The claims of a question that
    /// makes several stand in the order of the clean answer.
    pub claims: Vec<Tested>,
    /// Draws that voted: as many as the claim had votes that took most.
    pub draws: u64,
    /// Was the API asked about the clean picture, one call that is no vote?
    pub asked_clean: bool,
    /// Calls sent, retries, unneeded ones and those of interrupted runs included.
    pub calls: u64,
    /// Model versions in the answers that count: none where the API gives none, else one.
    pub model_versions: Vec<String>,
    /// BLAKE3 over the BLAKE3 of each copy that votes, in index order: what `verify --redraw` compares.
    pub copies: [u8; 32],
    /// How the last draw ended that had no answer, in the API's words where it had some; the clean picture, where there was no such
    /// draw. It voted against every label; why has no part in the certificate.
    pub last_failure: Option<Failure>,
}

/// The end of a call that was not answered.
pub type Failure = (OutcomeClass, String);

/// That end, if it is one.
pub(super) fn failure(outcome: &Outcome) -> Option<Failure> {
    let reason = match outcome {
        Outcome::Answered(answer) if !answer.from_cache => return None,
        Outcome::Answered(_) => "a reply from a cache".to_owned(),
        other => other.reason().unwrap_or_default().to_owned(),
    };
    Some((outcome.class(), reason))
}

/// One claim: a question, its votes, and the test's decision on them.
#[derive(Clone, Debug)]
pub struct Tested {
    /// The test, at the level that was left for this claim.
    pub plan: Plan,
    /// What the votes answer: a question of the settings, about one label of the clean answer where it asks for that. As it
    /// was asked, where there was no such label.
    pub question: Question,
    /// Its decision.
    pub decision: Decision,
    /// The votes that the decision rests on: index order, no gap, nothing beyond the decision.
    pub votes: Vec<Vote>,
    /// The labels behind the class numbers of the votes.
    pub classes: Classes,
}

impl Evidence {
    /// Calls that are behind no vote of their own and no clean answer: sent ahead of the decision, or sent again.
    pub fn unused_calls(&self) -> u64 {
        self.calls.saturating_sub(self.draws + u64::from(self.asked_clean))
    }
}

impl Tested {
    /// How many votes are failures.
    pub fn failed_votes(&self) -> u64 {
        self.votes.iter().filter(|vote| matches!(vote, Vote::Failed)).count() as u64
    }

    /// Votes for each label, most first, ties by first appearance.
    pub fn counts(&self) -> Vec<(&str, u64)> {
        let mut counts: Vec<(&str, u64)> = (0..self.classes.len())
            .filter_map(|class| self.classes.spelling(class))
            .map(|label| (label, 0))
            .collect();
        for vote in &self.votes {
            if let Vote::For(class) = vote
                && let Some(entry) = counts.get_mut(*class)
            {
                entry.1 += 1;
            }
        }
        counts.sort_by_key(|&(_, votes)| std::cmp::Reverse(votes));
        counts
    }
}

/// What the outcome of a draw votes for. Everything but an answer votes against all labels, and a reply from a cache is
/// no answer to this draw (design contracts 3 and 9).
pub(crate) fn vote(question: &Question, classes: &mut Classes, outcome: &Outcome) -> Vote {
    match outcome {
        Outcome::Answered(answer) if !answer.from_cache => match question.vote(answer) {
            Some(label) => Vote::For(classes.class(label)),
            None => Vote::NoLabel,
        },
        _ => Vote::Failed,
    }
}

/// One vote as certificates write it: the position of its label in the list of labels, `"none"` or `"failed"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CastVote {
    /// For the label at this position.
    For(usize),
    /// For no label, or failed.
    Against(Against),
}

/// A vote for no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Against {
    /// Answered, without a label that the question accepts.
    None,
    /// Never answered.
    Failed,
}

impl From<Vote> for CastVote {
    fn from(vote: Vote) -> Self {
        match vote {
            Vote::For(class) => Self::For(class),
            Vote::NoLabel => Self::Against(Against::None),
            Vote::Failed => Self::Against(Against::Failed),
        }
    }
}

impl From<CastVote> for Vote {
    fn from(vote: CastVote) -> Self {
        match vote {
            CastVote::For(class) => Self::For(class),
            CastVote::Against(Against::None) => Self::NoLabel,
            CastVote::Against(Against::Failed) => Self::Failed,
        }
    }
}
