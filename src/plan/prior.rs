//! What is assumed about answers that nobody has seen.

use std::fmt;
use std::str::FromStr;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::stats::Vote;

/// How often the noisy copies of a picture get the same label, over pictures: evenly spread between two shares, which may
/// be one. Of what is left, half goes to one rival and the rest to labels that come once each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Prior {
    least: f64,
    most: f64,
}

/// An agreement that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no agreement: write the share of copies that get the same label, `0.95`, or a spread, `0.7..1`"
)]
pub struct PriorError(String);

/// The share of the dissent that one rival gets: where the tests against a rival tune their futility, too.
const RIVAL_SHARE: f64 = 0.5;

impl Prior {
    /// Evenly between 0.5, where nothing can be certified, and 1: knowing nothing about the pictures.
    pub const UNKNOWN: Self = Self { least: 0.5, most: 1.0 };

    /// Evenly between two shares.
    ///
    /// # Errors
    /// [`PriorError`] unless 0 ≤ `least` ≤ `most` ≤ 1.
    pub fn new(least: f64, most: f64) -> Result<Self, PriorError> {
        let fits = 0.0 <= least && least <= most && most <= 1.0;
        if fits { Ok(Self { least, most }) } else { Err(PriorError(format!("{least}..{most}"))) }
    }

    /// The one share, where there is one.
    pub(super) fn point(&self) -> Option<f64> {
        (self.least >= self.most).then_some(self.least)
    }

    /// The probabilities of the label and of its strongest rival where the label has this share.
    pub(super) fn rival(agreement: f64) -> f64 {
        (1.0 - agreement) * RIVAL_SHARE
    }

    /// The share of a picture.
    pub(super) fn draw(&self, rng: &mut ChaCha8Rng) -> f64 {
        self.least + (self.most - self.least) * rng.random::<f64>()
    }

    /// A vote about a picture of this share. `fresh` numbers labels that were not met yet.
    pub(super) fn vote(agreement: f64, fresh: usize, rng: &mut ChaCha8Rng) -> Vote {
        let uniform = rng.random::<f64>();
        if uniform < agreement {
            Vote::For(0)
        } else if uniform < agreement + Self::rival(agreement) {
            Vote::For(1)
        } else {
            Vote::For(fresh)
        }
    }
}

impl fmt::Display for Prior {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.point() {
            Some(share) => share.fmt(f),
            None => write!(f, "{}..{}", self.least, self.most),
        }
    }
}

impl FromStr for Prior {
    type Err = PriorError;

    fn from_str(text: &str) -> Result<Self, PriorError> {
        let bad = || PriorError(text.to_owned());
        let share = |text: &str| text.trim().parse::<f64>().map_err(|_| bad());
        let (least, most) = match text.split_once("..") {
            Some((least, most)) => (share(least)?, share(most)?),
            None => (share(text)?, share(text)?),
        };
        Self::new(least, most).map_err(|_| bad())
    }
}
