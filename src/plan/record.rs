//! What a run that goes on has on record already.

use serde::Serialize;

use super::{Extremes, Lengths};

/// What is on record of the pictures that a run is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OnRecord {
    /// Pictures that have their certificate: they cost nothing more.
    pub finished: u64,
    /// Pictures that were begun and not finished: they cost what is left.
    pub started: Vec<Started>,
}

/// A picture that was begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Started {
    /// Votes on record: draws that are answered or given up.
    pub votes: u64,
    /// Whether the answer about the clean picture is on record, for a question that asks for it.
    pub clean: bool,
}

impl OnRecord {
    /// Calls that are left for `pictures` pictures, these among them, if each takes so many votes and `besides` calls
    /// that are no votes. Cut at the largest number.
    pub fn calls(&self, pictures: u64, votes: u64, besides: u64) -> u64 {
        let new = self.new_pictures(pictures).saturating_mul(votes.saturating_add(besides));
        let left = |started: &Started| votes.saturating_sub(started.votes) + started.besides(besides);
        self.started.iter().map(left).fold(new, u64::saturating_add)
    }

    /// The same on average, where a picture takes `votes` votes on average, and one that is begun what such pictures took
    /// that went on as long.
    pub(super) fn expected_calls(
        &self,
        pictures: u64,
        votes: f64,
        besides: u64,
        extremes: &Extremes,
        lengths: &Lengths,
    ) -> f64 {
        let new = self.new_pictures(pictures) as f64 * (votes + besides as f64);
        let left = |started: &Started| {
            let most = extremes.most_votes.saturating_sub(started.votes) as f64;
            let least = extremes.least_votes.saturating_sub(started.votes) as f64;
            let votes = lengths.left_after(started.votes).unwrap_or(most);
            votes.clamp(least, most) + started.besides(besides) as f64
        };
        self.started.iter().map(left).fold(new, std::ops::Add::add)
    }

    /// Pictures of so many that nothing is on record of.
    fn new_pictures(&self, pictures: u64) -> u64 {
        pictures.saturating_sub(self.finished).saturating_sub(self.started.len() as u64)
    }
}

impl Started {
    /// Calls that are left of those that are no votes.
    fn besides(&self, besides: u64) -> u64 {
        if self.clean { besides.saturating_sub(1) } else { besides }
    }
}
