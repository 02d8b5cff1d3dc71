//! The selection votes of Cohen et al. 2019: they choose the label and are no evidence for it.

use super::vote::{Tally, Vote};

/// The label of a test: fixed in advance, chosen by selection votes, or left open.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    label: Option<usize>,
    tally: Tally,
    /// Selection votes of the test.
    size: usize,
}

impl Selection {
    pub(crate) fn new(label: Option<usize>, size: usize) -> Self {
        Self { label, tally: Tally::new(), size }
    }

    /// Selection votes seen.
    pub(crate) fn votes(&self) -> usize {
        self.tally.votes()
    }

    /// Selection votes still to come.
    pub(crate) fn left(&self) -> usize {
        self.size - self.tally.votes()
    }

    /// Counts a selection vote; the last one chooses the label that most of them were for. None is chosen
    /// where more answers had no label at all: "no label" was the winner then, and cannot be certified.
    pub(crate) fn push(&mut self, vote: Vote) {
        self.tally.push(vote);
        if self.left() == 0 {
            let wins = |&label: &usize| self.tally.agree(label) >= self.tally.no_label();
            self.label = self.tally.leader().filter(wins);
        }
    }

    /// The label, once it is known.
    pub(crate) fn label(&self) -> Option<usize> {
        self.label
    }

    /// The label, or the one that leads so far.
    pub(crate) fn leader(&self) -> Option<usize> {
        self.label.or_else(|| self.tally.leader())
    }

    /// Whether some label is certain to be chosen, whatever the votes to come say.
    pub(crate) fn will_choose(&self) -> bool {
        let leader = self.tally.leader().map_or(0, |label| self.tally.agree(label));
        leader > 0 && leader >= self.tally.no_label() + self.left()
    }
}
