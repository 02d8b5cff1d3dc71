//! From votes to calls, money, time and bytes.

use serde::Serialize;
use smoothgate_providers::{Money, Price, Quota};

use super::{Expected, Extremes, Lengths, OnRecord};

/// What a run will take, all pictures together, without what is on record already.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bill {
    /// Pictures, those that are finished included.
    pub pictures: u64,
    /// If every picture ends as early as it can.
    pub least: Total,
    /// On average, rounded up to whole calls.
    pub expected: Total,
    /// If no picture ends early.
    pub most: Total,
}

/// One column of a [`Bill`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Total {
    /// Calls: one a vote, and those that are no votes; retries come on top.
    pub calls: u64,
    /// What they cost, exactly; `None` where the price is unknown.
    pub cost: Option<Money>,
    /// Seconds at the quota; `None` where it is unknown.
    pub seconds: Option<f64>,
    /// Bytes sent as pictures; `None` where the size of a copy is unknown.
    pub bytes: Option<u64>,
}

/// What a call takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Its price.
    pub price: Price,
    /// How many may be sent in a minute.
    pub quota: Option<Quota>,
    /// Bytes of one encoded copy.
    pub bytes: Option<u64>,
    /// Calls a picture that are no votes: 1 for a question that asks about the clean picture first.
    pub besides: u64,
}

impl Bill {
    /// The bill for this many pictures. Counts that no number can hold are cut at the largest, amounts of money that none
    /// can hold are `None`.
    pub fn new(pictures: u64, extremes: &Extremes, expected: &Expected, rate: &Rate) -> Self {
        Self::after(&OnRecord::default(), pictures, extremes, expected, &Lengths::default(), rate)
    }

    /// The bill for what is left of this many pictures after what is on record of them. `lengths` are of the same
    /// pictures as `expected`; they are read for pictures that are begun.
    pub fn after(
        record: &OnRecord,
        pictures: u64,
        extremes: &Extremes,
        expected: &Expected,
        lengths: &Lengths,
        rate: &Rate,
    ) -> Self {
        let total = |votes: u64| rate.total(record.calls(pictures, votes, rate.besides));
        let average = record.expected_calls(pictures, expected.votes, rate.besides, extremes, lengths);
        Self {
            pictures,
            least: total(extremes.least_votes),
            expected: rate.total(average.ceil() as u64),
            most: total(extremes.most_votes),
        }
    }
}

impl Rate {
    fn total(&self, calls: u64) -> Total {
        let per_minute = self.quota.map(|quota| {
            // One picture a call.
            quota.pictures_per_minute.map_or(quota.calls_per_minute, |n| n.min(quota.calls_per_minute))
        });
        Total {
            calls,
            cost: self.price.of(calls),
            seconds: per_minute.filter(|&n| n > 0).map(|n| calls as f64 * 60.0 / f64::from(n)),
            bytes: self.bytes.map(|each| each.saturating_mul(calls)),
        }
    }
}
