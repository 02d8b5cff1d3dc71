//! When to send the same bytes again: bounded, with full jitter, honouring `Retry-After`.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use super::SettingsError;

/// How often and how soon the same bytes are sent again. Which ends may be tried again is
/// [`OutcomeClass::may_retry`](crate::OutcomeClass::may_retry)'s to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Most attempts at one draw, the first included. At least 1.
    pub attempts: u32,
    /// The first pause is drawn evenly from 0 to this, the second from 0 to twice this, and so on.
    pub base: Duration,
    /// The longest such pause.
    pub longest: Duration,
    /// The longest `Retry-After` that is waited for in full. A longer one is cut to this.
    pub retry_after_longest: Duration,
}

impl Default for RetryPolicy {
    /// Eight attempts: where one call in five fails, one draw in 400 000 goes without an answer.
    fn default() -> Self {
        Self {
            attempts: 8,
            base: Duration::from_millis(500),
            longest: Duration::from_secs(20),
            retry_after_longest: Duration::from_mins(1),
        }
    }
}

impl RetryPolicy {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if self.attempts == 0 {
            return Err(SettingsError::Range { setting: "retry.attempts", range: "at least 1" });
        }
        Ok(())
    }

    /// The pause before retry number `retry` (1 for the first), for `unit` drawn evenly from [0, 1).
    ///
    /// Full jitter: evenly from zero to the exponential bound, so that calls that failed together do not come back
    /// together. After a `Retry-After` the jitter comes on top of it, never before its end.
    pub fn pause(&self, retry: u32, asked: Option<Duration>, unit: f64) -> Duration {
        let doublings = retry.saturating_sub(1).min(31);
        let bound = self.base.saturating_mul(1 << doublings).min(self.longest);
        match asked {
            None => bound.mul_f64(unit.clamp(0.0, 1.0)),
            Some(asked) => {
                asked.min(self.retry_after_longest)
                    + self.base.min(self.longest).mul_f64(unit.clamp(0.0, 1.0))
            }
        }
    }
}

/// How long a reply asks to wait: `retry-after-ms`, or `Retry-After` in seconds or as an HTTP date (RFC 9110,
/// section 10.2.3). A date in the past is no wait. `None` where there is nothing readable.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.trim().to_owned());
    if let Some(ms) = text("retry-after-ms").and_then(|t| t.parse::<u64>().ok()) {
        return Some(Duration::from_millis(ms));
    }
    let text = text("retry-after")?;
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    // Some servers send a fraction, which the standard does not have.
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let at = httpdate::parse_http_date(&text).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut map = HeaderMap::new();
        map.insert(name, value.parse().unwrap());
        map
    }

    #[test]
    fn both_forms_of_retry_after() {
        // The date of RFC 9110's example, one minute before it.
        let now = httpdate::parse_http_date("Fri, 31 Dec 1999 23:58:59 GMT").unwrap();
        let read = |value: &str| retry_after(&headers("retry-after", value), now);
        assert_eq!(read("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::from_mins(1)));
        assert_eq!(read("Friday, 31-Dec-99 23:59:59 GMT"), Some(Duration::from_mins(1)));
        assert_eq!(read("Fri, 31 Dec 1999 23:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("120"), Some(Duration::from_mins(2)));
        assert_eq!(read(" 0 "), Some(Duration::ZERO));
        assert_eq!(read("1.5"), Some(Duration::from_millis(1500)));
        for unreadable in ["", "soon", "-5", "NaN", "inf", "1e400", "99999999999999999999999999999999"] {
            let _ = read(unreadable); // Whatever it is read as, never a panic.
        }
        assert_eq!(read("soon"), None);
        assert_eq!(read("-5"), None);
        assert_eq!(retry_after(&headers("retry-after-ms", "250"), now), Some(Duration::from_millis(250)));
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    proptest! {
        #[test]
        fn pauses_stay_in_their_bounds(retry in 1u32..1000, unit in 0.0..1.0f64, asked in proptest::option::of(0u64..1_000_000)) {
            let policy = RetryPolicy::default();
            let pause = policy.pause(retry, asked.map(Duration::from_secs), unit);
            match asked {
                None => prop_assert!(pause <= policy.longest && pause <= policy.base * 2u32.saturating_pow(retry - 1)),
                Some(asked) => {
                    let asked = Duration::from_secs(asked).min(policy.retry_after_longest);
                    prop_assert!(pause >= asked && pause <= asked + policy.base);
                }
            }
        }
    }
}
