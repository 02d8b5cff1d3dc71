//! How many votes pictures take, one by one: what a picture that was begun has still before it.

use super::expect::simulate;
use super::{Asked, Prior};
use crate::replay;
use crate::stats::StatsError;

/// Votes of each of many pictures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lengths {
    votes: Vec<u64>,
}

impl Lengths {
    /// Of simulated pictures of this prior. The same for the same arguments, on any machine.
    ///
    /// # Errors
    /// None for a test that was made.
    pub fn simulated(asked: &[Asked<'_>], prior: Prior) -> Result<Self, StatsError> {
        let mut votes = Vec::new();
        simulate(asked, prior, |took, _| votes.push(took))?;
        Ok(Self { votes })
    }

    /// Of rows of a [`replay`] of recorded answers, in its order.
    pub fn of_rows<'r>(rows: impl IntoIterator<Item = &'r replay::Row>) -> Self {
        Self { votes: rows.into_iter().filter_map(|row| Some(row.draws? as u64)).collect() }
    }

    /// What pictures that took at least so many votes took beyond them, on average; `None` where none took so many.
    pub fn left_after(&self, votes: u64) -> Option<f64> {
        let left = self.votes.iter().filter_map(|took| took.checked_sub(votes));
        let (number, sum) = left.fold((0_u64, 0_u64), |(number, sum), left| (number + 1, sum + left));
        (number > 0).then(|| sum as f64 / number as f64)
    }
}
