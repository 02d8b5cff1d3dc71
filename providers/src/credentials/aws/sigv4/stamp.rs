//! Times as signatures write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time as `20150830T123600Z` and `20150830`.
pub(super) struct Stamp {
    pub(super) time: String,
    pub(super) date: String,
}

impl Stamp {
    pub(super) fn at(now: SystemTime) -> Self {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let date = format!("{year:04}{month:02}{day:02}");
        let time = format!("{date}T{:02}{:02}{:02}Z", rest / 3600, rest / 60 % 60, rest % 60);
        Self { time, date }
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. Years are counted from March, so
/// that the leap day is a year's last and the lengths of months follow 153 days in 5 months.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // From 0000-03-01.
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// The inverse of [`Stamp`], `None` for any other text.
pub(in crate::credentials::aws) fn parse_time(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    // The form differs from RFC 3339's only by its separators; HTTP dates share the calendar.
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten()
    };
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
    if year < 1970 || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // At most one day of a year's 366 has this date: found from an estimate that is never too late.
    let from = (year - 1970) * 365 + month.checked_sub(1)? * 28;
    let day = (from..from + 800).find(|d| civil(*d) == (year, month, day))?;
    Some(UNIX_EPOCH + Duration::from_secs(day * 86_400 + hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_both_ways_over_leap_years() {
        for (seconds, text) in
            [(0, "19700101T000000Z"), (951_782_400, "20000229T000000Z"), (1_440_938_160, "20150830T123600Z")]
        {
            assert_eq!(Stamp::at(UNIX_EPOCH + Duration::from_secs(seconds)).time, text);
        }
        for day in (0..60_000).step_by(13) {
            let at = UNIX_EPOCH + Duration::from_secs(day * 86_400 + day % 86_400);
            assert_eq!(parse_time(&Stamp::at(at).time), Some(at));
        }
        for bad in [
            "",
            "20150830T123600",
            "20150231T000000Z",
            "2015083\u{e9}T12360Z",
            "20151301T000000Z",
            "00000101T000000Z",
        ] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }
}
