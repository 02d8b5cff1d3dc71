//! Bodies that may be anything.

use serde::de::DeserializeOwned;

use super::shorten;

/// Reads a body as JSON of the form `T`.
///
/// # Errors
/// What came instead, shortened, fit to follow "the reply is not what X documents: ".
pub(crate) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => format!("{} in {}", shorten(&error.to_string()), glimpse(body)),
        serde_json::error::Category::Eof if !body.trim_ascii().is_empty() => {
            format!("JSON cut after {} bytes", body.len())
        }
        _ => glimpse(body),
    })
}

/// Most values in the JSON that a server takes.
const MOST_VALUES: usize = 100_000;

/// The JSON of a stranger. Each value takes memory of its own, dozens of bytes for the two of `0,`, so their number is
/// bounded before any is read.
pub(crate) fn json_of_stranger<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    if has_more_values(body, MOST_VALUES) {
        return Err(format!("JSON of more than {MOST_VALUES} values"));
    }
    json(body)
}

/// Whether a JSON has more values than `most`: each but the first comes after a comma or an opening bracket that is outside
/// of strings.
fn has_more_values(body: &[u8], most: usize) -> bool {
    let (mut rest, mut values) = (body, 1);
    loop {
        let quote = memchr::memchr(b'"', rest).unwrap_or(rest.len());
        let (outside, string) = rest.split_at(quote);
        values += memchr::memchr3_iter(b',', b'[', b'{', outside).take(most).count();
        if values > most {
            return true;
        }
        rest = string.get(1..).unwrap_or_default();
        loop {
            match memchr::memchr2(b'"', b'\\', rest) {
                Some(end) if rest[end] == b'"' => {
                    rest = &rest[end + 1..];
                    break;
                }
                Some(escape) => rest = rest.get(escape + 2..).unwrap_or_default(),
                // It has ended, or it is cut and no JSON.
                None => return false,
            }
        }
    }
}

/// What a body seems to be, in a few words: never the picture, never a credential.
pub(crate) fn glimpse(body: &[u8]) -> String {
    let start = body.trim_ascii_start();
    if start.is_empty() {
        return "an empty body".to_owned();
    }
    let head = &start[..start.len().min(4096)];
    let text = String::from_utf8_lossy(head);
    let page = String::from_utf8_lossy(&head[..head.len().min(64)]).to_ascii_lowercase();
    if page.starts_with("<!doctype html") || page.starts_with("<html") {
        return title(&text).map_or_else(|| "an HTML page".to_owned(), |t| format!("an HTML page, `{t}`"));
    }
    if head.contains(&0) || text.chars().filter(|&c| c == char::REPLACEMENT_CHARACTER).count() > 4 {
        return format!("{} bytes that are not text", body.len());
    }
    format!("`{}`", shorten(&text))
}

fn title(page: &str) -> Option<String> {
    let lower = page.to_ascii_lowercase();
    let from = lower.find("<title>")? + "<title>".len();
    let to = from + lower.get(from..)?.find("</title>")?;
    page.get(from..to).map(shorten).filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_outside_of_strings() {
        for (body, values) in
            [(r"{}", 2), (r"[0,0,0]", 4), (r#"{"a":"[,[,[","b\\":"\"[["}"#, 3), (r#"[["x"],["y","z"]]"#, 6)]
        {
            assert!(!has_more_values(body.as_bytes(), values), "{body}");
            assert!(has_more_values(body.as_bytes(), values - 1), "{body}");
        }
        for cut in ["\"", "[\"\\", "[\"a"] {
            assert!(!has_more_values(cut.as_bytes(), 2), "{cut}");
        }
        let many = format!("[{}0]", "0,".repeat(MOST_VALUES));
        assert!(json::<serde_json::Value>(many.as_bytes()).is_ok());
        assert_eq!(
            json_of_stranger::<serde_json::Value>(many.as_bytes()).unwrap_err(),
            "JSON of more than 100000 values"
        );
    }

    #[test]
    fn each_kind_of_wrong_body_is_named() {
        let problem = |body: &[u8]| json::<Vec<u8>>(body).unwrap_err();
        assert_eq!(problem(b""), "an empty body");
        assert_eq!(problem(b" \r\n"), "an empty body");
        assert_eq!(
            problem(b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head>"),
            "an HTML page, `502 Bad Gateway`"
        );
        assert_eq!(problem(b"<html>"), "an HTML page");
        assert_eq!(problem(b"[1,2"), "JSON cut after 4 bytes");
        assert_eq!(problem(b"upstream connect error"), "`upstream connect error`");
        assert_eq!(problem(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "16 bytes that are not text");
        assert!(problem(b"{\"a\":1}").contains("expected a sequence"));
        assert!(problem("[\"".repeat(200).as_bytes()).len() < 600);
        assert!(problem("[".repeat(100_000).as_bytes()).len() < 400, "deep nesting ends in an error");
    }
}
