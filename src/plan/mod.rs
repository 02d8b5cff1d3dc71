//! What a certificate will cost before anything is paid: votes, calls, money, time, bytes, and the radius in reach.
//!
//! The least and the most votes follow from the test alone. What it takes on average depends on how often the answers will
//! agree, which nobody knows beforehand: a [`Prior`] says what is assumed, and [`expect`] computes what follows, exactly
//! where the test's own law gives it and else by running the test on simulated votes, with the standard error of that.
//! Answers of an earlier run are a better guide where there are any: [`Expected::of_rows`].
//!
//! A run that goes on has answers on record already, which are not paid again: [`OnRecord`] is taken off the bill.
//!
//! Retries are not foreseen: an attempt that fails and was billed all the same costs on top.

mod bill;
mod choice;
mod expect;
mod lengths;
mod prior;
mod record;
#[cfg(test)]
mod tests;

pub use bill::{Bill, Rate, Total};
pub use choice::{About, ChoiceError, TestChoice, TestName};
pub use expect::{Asked, Basis, Expected, Extremes, expect};
pub use lengths::Lengths;
pub use prior::{Prior, PriorError};
pub use record::{OnRecord, Started};
