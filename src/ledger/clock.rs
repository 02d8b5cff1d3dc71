//! Time for the ledger: milliseconds for its records, UTC days and months for its budgets.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the ledger reads the time. Tests give it a clock that jumps.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Arc::new(SystemTime::now))
    }

    /// A clock that answers what `read` answers.
    pub fn of(read: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// Milliseconds since 1970-01-01 UTC; 0 for a clock set before that.
    pub(super) fn now_ms(&self) -> i64 {
        let since = (self.0)().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// A calendar day in UTC: days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Day(pub(super) i64);

impl Day {
    /// The day that contains this instant.
    pub(super) fn of_ms(ms: i64) -> Self {
        Self(ms.div_euclid(86_400_000))
    }

    /// Year, month 1 to 12, day 1 to 31 of the proleptic Gregorian calendar.
    ///
    /// Counted in eras of 400 years (146097 days) that begin on 1 March, so that the leap day is the last of its
    /// year and the month follows from a linear function of the day.
    fn date(self) -> (i64, i64, i64) {
        let days = self.0 + 719_468; // from 0000-03-01
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let months_since_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * months_since_march + 2) / 5 + 1;
        let month = if months_since_march < 10 { months_since_march + 3 } else { months_since_march - 9 };
        let year = 400 * era + year_of_era + i64::from(month <= 2);
        (year, month, day)
    }

    /// `2026-01-31`.
    pub(super) fn name(self) -> String {
        let (y, m, d) = self.date();
        format!("{y:04}-{m:02}-{d:02}")
    }

    /// Months since January of year 0.
    pub(super) fn month_number(self) -> i64 {
        let (y, m, _) = self.date();
        12 * y + m - 1
    }
}

/// `2026-01-31T23:59:59.999Z`, as RFC 3339.
pub(super) fn rfc3339(ms: i64) -> String {
    let of_day = ms.rem_euclid(86_400_000);
    let (h, m, s, milli) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60, of_day % 1000);
    format!("{}T{h:02}:{m:02}:{s:02}.{milli:03}Z", Day::of_ms(ms).name())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known dates, computed with Python's `datetime.date.fromordinal(719163 + n)`.
    #[test]
    fn days_have_their_calendar_names() {
        for (n, name) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (58, "1970-02-28"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (19_782, "2024-02-29"),
            (20_484, "2026-01-31"),
            (20_485, "2026-02-01"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
        ] {
            assert_eq!(Day(n).name(), name);
        }
    }

    #[test]
    fn every_day_of_eight_centuries_follows_the_one_before() {
        let leap = |y: i64| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
        let (mut y, mut m, mut d) = (1970, 1, 1);
        for n in 0..292_194 {
            assert_eq!(Day(n).date(), (y, m, d));
            let length = match m {
                2 if leap(y) => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            d += 1;
            if d > length {
                (d, m) = (1, m + 1);
            }
            if m > 12 {
                (m, y) = (1, y + 1);
            }
        }
    }

    #[test]
    fn months_follow_each_other() {
        assert_eq!(Day(20_484).month_number(), 2026 * 12);
        assert_eq!(Day(20_485).month_number(), 2026 * 12 + 1);
        assert_eq!(Day(-1).month_number() + 1, Day(0).month_number());
    }

    #[test]
    fn instants_have_their_rfc_3339_names() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_769_903_999_999), "2026-01-31T23:59:59.999Z");
    }
}
