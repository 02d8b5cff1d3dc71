//! Headers that every API shares.

use std::time::Duration;

use http::HeaderMap;
use http::header::{AGE, DATE, RETRY_AFTER};

/// The longest pause that is believed. A longer one is a spent quota, or nonsense.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);

/// How long a reply asks to wait: `retry-after-ms` (milliseconds, OpenAI), `x-ms-retry-after-ms` (Azure) or
/// `Retry-After` (RFC 9110, section 10.2.3: seconds, or a date, which is read against the reply's own `Date` so that
/// the two clocks need not agree). At most one day. `None` where there is no such header or it makes no sense.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    for name in ["retry-after-ms", "x-ms-retry-after-ms"] {
        if let Some(pause) = text(name).and_then(|value| seconds(value, 1000.0)) {
            return Some(pause);
        }
    }
    let value = text(RETRY_AFTER.as_str())?;
    seconds(value, 1.0).or_else(|| {
        let until = httpdate::parse_http_date(value).ok()?;
        let now = httpdate::parse_http_date(text(DATE.as_str())?).ok()?;
        // A date in the past asks for no pause.
        Some(until.duration_since(now).unwrap_or_default().min(LONGEST_PAUSE))
    })
}

fn seconds(text: &str, per_second: f64) -> Option<Duration> {
    let value: f64 = text.parse().ok()?;
    let pause = Duration::try_from_secs_f64(value / per_second);
    // A number too large for a duration is a pause all the same.
    pause.map_or((value > 0.0 && !value.is_nan()).then_some(LONGEST_PAUSE), |p| Some(p.min(LONGEST_PAUSE)))
}

/// Does a reply say that a cache produced it?
///
/// Read are `Cache-Status` (RFC 9211), the `X-Cache` family and `CF-Cache-Status` of delivery networks, `X-Compute-Type`
/// (Hugging Face), and an `Age` above zero (RFC 9111, section 5.1).
pub fn from_cache(headers: &HeaderMap) -> bool {
    const FAMILY: [&str; 4] = ["x-cache", "x-cache-status", "x-proxy-cache", "cf-cache-status"];
    let values = |name: &str| {
        let texts = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        texts.map(str::to_ascii_lowercase)
    };
    // After ` from ` stands the name of the host, which may be called anything.
    let said = |item: &str| says_hit(item.split(" from ").next().unwrap_or_default());
    FAMILY.iter().flat_map(|name| values(name)).any(|list| list.split(',').any(said))
        || values("cache-status").any(|list| without_quoted(&list).split(',').any(member_says_hit))
        || values("x-compute-type").any(|kind| matches!(kind.trim(), "cache" | "cached"))
        || values(AGE.as_str()).any(|age| age.trim().parse::<u64>().is_ok_and(|seconds| seconds > 0))
}

/// `HIT`, `TCP_HIT`, `RefreshHit` and the words for what is served while it is checked.
fn says_hit(text: &str) -> bool {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .any(|word| word.ends_with("hit") || matches!(word, "stale" | "updating" | "revalidated" | "cached"))
}

/// A cache of `Cache-Status` (RFC 9211, section 2): its name, which may be anything, and what it did; `hit` is a parameter without a value, or
/// true. Where there is a name alone, it is the status that others write there.
fn member_says_hit(member: &str) -> bool {
    match member.split_once(';') {
        Some((_, parameters)) => parameters.split(';').any(|p| matches!(p.trim(), "hit" | "hit=?1")),
        None => says_hit(member),
    }
}

/// Without what stands in quotation marks: names, in which commas may be.
fn without_quoted(text: &str) -> String {
    text.split('"').step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect()
    }

    #[test]
    fn pauses_are_seconds_milliseconds_or_dates() {
        let read = |pairs: &[_]| retry_after(&headers(pairs));
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(read(&[("retry-after", "0.5")]), Some(Duration::from_millis(500)));
        assert_eq!(
            read(&[("retry-after", "9"), ("retry-after-ms", "250")]),
            Some(Duration::from_millis(250))
        );
        let dates =
            [("date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")];
        assert_eq!(read(&dates), Some(Duration::from_secs(30)));
        assert_eq!(read(&dates[1..]), None, "a date without the reply's own clock says nothing");
    }

    #[test]
    fn senseless_pauses_do_no_harm() {
        let read = |value| retry_after(&headers(&[("retry-after", value)]));
        assert_eq!(read("soon"), None);
        assert_eq!(read("NaN"), None);
        assert_eq!(read("-3"), None);
        assert_eq!(read("1e300"), Some(LONGEST_PAUSE));
        assert_eq!(read("inf"), Some(LONGEST_PAUSE));
        assert_eq!(read("99999999999999999999"), Some(LONGEST_PAUSE));
    }

    #[test]
    fn caches_are_recognised() {
        for (name, value) in [
            ("x-cache", "Hit from cloudfront"),
            ("x-cache", "MISS, HIT"),
            ("x-cache", "TCP_HIT"),
            ("x-cache", "RefreshHit from cloudfront, hit"),
            ("cf-cache-status", "HIT"),
            ("cf-cache-status", "REVALIDATED"),
            ("cache-status", "ExampleCache; hit; ttl=376"),
            ("x-compute-type", "cache"),
            ("x-cache", "RefreshHit from cloudfront"),
            ("cache-status", "\"edge, one\"; fwd=stale, inner; hit"),
            ("cache-status", "HIT"),
            ("x-cache", "HIT from cache.corp.example, MISS from cache2.corp.example"),
            ("age", "12"),
        ] {
            assert!(from_cache(&headers(&[(name, value)])), "{name}: {value}");
        }
        for (name, value) in [
            ("x-cache", "Miss from cloudfront"),
            ("x-cache", "Error from cloudfront"),
            ("x-cache", "MISS from cache.corp.example"),
            ("cache-status", "my-cache; fwd=method"),
            ("cache-status", "\"Edge cache, hit\"; fwd=bypass"),
            ("cache-status", "Edge; fwd=stale"),
            ("cache-status", "hit; hit=?0"),
            ("cf-cache-status", "DYNAMIC"),
            ("cf-cache-status", "BYPASS"),
            ("cache-status", "ExampleName; fwd=uri-miss"),
            ("x-compute-type", "cpu+optimized"),
            ("age", "0"),
            ("cache-control", "no-cache"),
        ] {
            assert!(!from_cache(&headers(&[(name, value)])), "{name}: {value}");
        }
    }
}
