//! Values that are written as short texts, in files and on the command line.

use std::str::FromStr;
use std::time::Duration;

use super::names::closest;
use crate::emulate::fault::Kind;

/// Calls from one number to another, both included: `3` or `7..9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    first: u64,
    last: u64,
}

impl Span {
    /// Is this call among them?
    pub fn holds(self, call: u64) -> bool {
        (self.first..=self.last).contains(&call)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "`{text}` names no calls: write `3` for the third, `7..9` for three of them, `5..` for all from the fifth"
            )
        };
        let number = |text: &str| text.trim().parse::<u64>().ok().filter(|n| *n > 0);
        let (first, last) = match text.split_once("..") {
            None => (number(text), number(text)),
            Some((first, "")) => (number(first), Some(u64::MAX)),
            Some((first, last)) => (number(first), number(last.trim_start_matches('='))),
        };
        match (first, last) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(bad()),
        }
    }
}

/// How long replies are held back: `200ms`, or evenly spread as `100ms..300ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    least: Duration,
    most: Duration,
}

impl Latency {
    /// Always this long.
    pub fn fixed(latency: Duration) -> Self {
        Self { least: latency, most: latency }
    }

    /// The latency for `unit` drawn evenly from [0, 1).
    pub(super) fn draw(self, unit: f64) -> Duration {
        self.least + self.most.saturating_sub(self.least).mul_f64(unit)
    }
}

impl FromStr for Latency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let (least, most) = (duration(least)?, duration(most)?);
        if least > most {
            return Err(format!("`{text}` ends before it begins: write the shorter time first"));
        }
        Ok(Self { least, most })
    }
}

/// How many calls get a fault: `0.2` for every kind of [`Kind::PASSING`] together, `throttle=0.05` for one kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chance {
    /// The kind; none for all of [`Kind::PASSING`] in equal parts.
    pub kind: Option<Kind>,
    /// The share of calls, 0 to 1.
    pub share: f64,
}

impl FromStr for Chance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, share) = match text.split_once('=') {
            None => (None, text),
            Some((name, share)) => {
                let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
                let unknown = || match closest(name, &names) {
                    Some(near) => format!("no fault is called `{name}` (did you mean `{near}`?)"),
                    None => format!("no fault is called `{name}`: there are {}", names.join(", ")),
                };
                (Some(Kind::by_name(name).ok_or_else(unknown)?), share)
            }
        };
        let share = share.trim().parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
        let share = share.ok_or_else(|| format!("`{text}` is no share: write `0.2` or `throttle=0.05`"))?;
        Ok(Self { kind, share })
    }
}

/// A time with its unit: `250ms`, `1.5s`, `2m`. At most a day.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is no time: write `250ms`, `1.5s` or `2m`, at most a day");
    let text = text.trim();
    let at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(bad)?;
    let (number, unit) = text.split_at(at);
    let number: f64 = number.trim().parse().map_err(|_| bad())?;
    let seconds = match unit {
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        "m" => number * 60.0,
        _ => return Err(bad()),
    };
    Duration::try_from_secs_f64(seconds).ok().filter(|time| time.as_secs() <= 86_400).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_spans() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration(" 1.5 s"), Ok(Duration::from_millis(1500)));
        for bad in ["", "5", "ms", "-1s", "1h", "nans", "1e99s", "s1"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        let span = |text: &str| text.parse::<Span>();
        assert!(span("3").unwrap().holds(3) && !span("3").unwrap().holds(4));
        assert!(span("7..9").unwrap().holds(9) && span("7..=9").unwrap().holds(9));
        assert!(span("5..").unwrap().holds(u64::MAX) && !span("5..").unwrap().holds(4));
        for bad in ["", "0", "9..7", "..3", "x", "1..x", "-1"] {
            assert!(span(bad).is_err(), "{bad}");
        }
        let latency: Latency = "100ms..300ms".parse().unwrap();
        assert_eq!(latency.draw(0.5), Duration::from_millis(200));
        assert_eq!("0ms".parse::<Latency>().unwrap().draw(0.9), Duration::ZERO);
        let chance = |text: &str| text.parse::<Chance>();
        assert_eq!(chance("0.2"), Ok(Chance { kind: None, share: 0.2 }));
        assert_eq!(chance("throttle=0.05"), Ok(Chance { kind: Some(Kind::Throttle), share: 0.05 }));
        assert!(chance("throtle=0.1").unwrap_err().contains("did you mean `throttle`?"));
        for bad in ["", "2", "nan", "reset=", "=0.1", "-0.1"] {
            assert!(chance(bad).is_err(), "{bad}");
        }
        assert!("2s..1s".parse::<Latency>().is_err());
    }
}
