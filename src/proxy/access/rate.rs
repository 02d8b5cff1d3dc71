//! How many requests a key may make.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use governor::clock::{Clock as _, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use serde::{Deserialize, Serialize};

/// So many requests in a second, a minute, an hour or a day, for instance `60/m`.
///
/// All of them may come at once; then they come back evenly over the time. So `60/m` is one a second in the long run, and
/// `1/s` is one a second at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    requests: NonZeroU32,
    per: Per,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Per {
    Second,
    Minute,
    Hour,
    Day,
}

impl Per {
    const ALL: [Self; 4] = [Self::Second, Self::Minute, Self::Hour, Self::Day];

    fn letter(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
            Self::Day => "d",
        }
    }

    fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, self.per.letter())
    }
}

/// A text that is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no rate: write for instance `10/s`, `60/m`, `1000/h` or `5000/d`")]
pub struct RateError(String);

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let error = || RateError(text.to_owned());
        let (requests, letter) = text.split_once('/').ok_or_else(error)?;
        let per = Per::ALL.into_iter().find(|per| per.letter() == letter.trim()).ok_or_else(error)?;
        let requests = requests.trim().parse().map_err(|_| error())?;
        Ok(Self { requests, per })
    }
}

impl Serialize for Rate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What is left of a rate.
pub(super) struct Meter {
    rate: Rate,
    cells: RateLimiter<NotKeyed, InMemoryState, MonotonicClock, NoOpMiddleware<std::time::Instant>>,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Meter({})", self.rate)
    }
}

impl Meter {
    pub(super) fn new(rate: Rate) -> Self {
        let each = Duration::from_secs(rate.per.seconds()) / rate.requests.get();
        // Only more than a thousand million requests a second would come to nothing.
        let quota = Quota::with_period(each).unwrap_or_else(|| Quota::per_second(rate.requests));
        let cells = RateLimiter::direct_with_clock(quota.allow_burst(rate.requests), MonotonicClock);
        Self { rate, cells }
    }

    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one request, or says how long to wait for it.
    pub(super) fn take(&self) -> Result<(), Duration> {
        self.cells.check().map_err(|until| until.wait_time_from(MonotonicClock.now()))
    }
}
