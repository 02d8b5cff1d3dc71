//! Votes, and their tally in index order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What one draw said.
///
/// Classes are numbered by the caller in the order in which they first appear, so that a tie goes to the
/// label that was met first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vote {
    /// The answer was this class.
    For(usize),
    /// The answer held no label: an answer like any other, which can be the strongest rival but is never
    /// certified.
    NoLabel,
    /// There was no usable answer. It counts against every label and for the strongest rival, so that
    /// whatever decides which draws fail cannot help a certificate.
    Failed,
}

/// How often each class was voted for in a prefix of the votes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    by_class: BTreeMap<usize, usize>,
    no_label: usize,
    failed: usize,
    votes: usize,
}

impl Tally {
    /// No votes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one more vote.
    pub fn push(&mut self, vote: Vote) {
        self.votes += 1;
        match vote {
            Vote::For(class) => *self.by_class.entry(class).or_default() += 1,
            Vote::NoLabel => self.no_label += 1,
            Vote::Failed => self.failed += 1,
        }
    }

    /// All votes, failures included.
    pub fn votes(&self) -> usize {
        self.votes
    }

    /// Votes for a class; 0 for one never met.
    pub fn agree(&self, class: usize) -> usize {
        self.by_class.get(&class).copied().unwrap_or(0)
    }

    /// Draws that got no usable answer.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// Answers without a label.
    pub fn no_label(&self) -> usize {
        self.no_label
    }

    /// The class with the most votes, on a tie the one with the lowest number; `None` before any vote for a
    /// class.
    pub fn leader(&self) -> Option<usize> {
        let earlier_first = |(class, count): (&usize, &usize)| (*count, std::cmp::Reverse(*class));
        self.by_class.iter().max_by_key(|&entry| earlier_first(entry)).map(|(&class, _)| class)
    }

    /// The most that the truth behind these votes can hold for one rival of `class`: the votes of the
    /// strongest other answer, no label included, plus every failure.
    pub fn rival(&self, class: usize) -> usize {
        self.others(class).max().unwrap_or(0) + self.failed
    }

    /// The same for each of the k strongest rivals, the strongest first; every failure counts for each of
    /// them.
    pub fn rivals(&self, class: usize, k: usize) -> Vec<usize> {
        let mut rivals: Vec<usize> = self.others(class).collect();
        rivals.sort_unstable_by(|a, b| b.cmp(a));
        rivals.resize(k, 0);
        rivals.iter().map(|count| count + self.failed).collect()
    }

    /// The votes of every answer that is not `class`, no label included.
    fn others(&self, class: usize) -> impl Iterator<Item = usize> {
        let others = self.by_class.iter().filter(move |&(&other, _)| other != class).map(|(_, &count)| count);
        others.chain([self.no_label])
    }
}

impl FromIterator<Vote> for Tally {
    fn from_iter<I: IntoIterator<Item = Vote>>(votes: I) -> Self {
        let mut tally = Self::new();
        votes.into_iter().for_each(|vote| tally.push(vote));
        tally
    }
}
