//! Forms with files (RFC 7578), as far as image APIs use them: one part that holds the picture.

use bytes::Bytes;
use http::header::CONTENT_TYPE;

use super::{Incoming, Refusal};

/// The contents of the first part of a form.
///
/// # Errors
/// A [`Refusal`] where the body is not a form with that boundary.
pub(crate) fn first_part(incoming: &Incoming<'_>) -> Result<Bytes, Refusal> {
    let boundary = incoming
        .header(CONTENT_TYPE.as_str())
        .and_then(boundary)
        .ok_or_else(|| Refusal::bad_request("the Content-Type has no boundary"))?;
    let opening = format!("--{boundary}\r\n");
    let closing = format!("\r\n--{boundary}");
    let body = incoming.body;
    let part = || {
        let headers = find(body, opening.as_bytes(), 0)? + opening.len();
        // A part without headers begins with an empty line.
        let content = match body.get(headers..headers + 2)? {
            b"\r\n" => headers + 2,
            _ => find(body, b"\r\n\r\n", headers)? + 4,
        };
        // An empty part's closing line begins where its contents would.
        let end = find(body, closing.as_bytes(), content.checked_sub(2)?)?;
        Some(body.slice(content..end.max(content)))
    };
    part().ok_or_else(|| Refusal::bad_request("the form has no complete part"))
}

/// The boundary of a `multipart/form-data` media type.
fn boundary(content_type: &str) -> Option<String> {
    let value = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    })?;
    // RFC 2046, section 5.1.1: 1 to 70 characters.
    (1..=70).contains(&value.len()).then(|| value.to_owned())
}

fn find(body: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    body.get(from..)?.windows(wanted.len()).position(|window| window == wanted).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, Method};

    fn part(content_type: &str, body: &'static [u8]) -> Result<Bytes, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        first_part(&Incoming {
            method: &Method::POST,
            path: "/",
            query: "",
            headers: &headers,
            body: &Bytes::from_static(body),
        })
    }

    #[test]
    fn the_first_part_is_taken_byte_for_byte() {
        let form = b"--b0\r\nContent-Disposition: form-data; name=\"x\"; filename=\"f\"\r\n\r\n\r\n--b\r\n\0\r\n--b0--\r\n";
        assert_eq!(part("multipart/form-data; boundary=b0", form).unwrap(), &b"\r\n--b\r\n\0"[..]);
        assert_eq!(part("multipart/form-data; charset=x; Boundary=\"b0\"", form).unwrap().len(), 8);
        assert_eq!(part("multipart/form-data; boundary=b", b"--b\r\n\r\nxy\r\n--b--").unwrap(), &b"xy"[..]);
        assert_eq!(
            part("multipart/form-data; boundary=b", b"--b\r\nA: b\r\n\r\n\r\n--b--").unwrap(),
            &b""[..]
        );
    }

    #[test]
    fn broken_forms_are_refused() {
        for (content_type, body) in [
            ("multipart/form-data", &b"--b\r\n\r\nx\r\n--b--"[..]),
            ("multipart/form-data; boundary=", b"--\r\n\r\nx\r\n----"),
            ("multipart/form-data; boundary=b", b""),
            ("multipart/form-data; boundary=b", b"--b\r\n"),
            ("multipart/form-data; boundary=b", b"--b\r\n\r\nno end"),
            ("multipart/form-data; boundary=b", b"--b\r\nHeader: x\r\n"),
        ] {
            assert!(part(content_type, body).is_err(), "{content_type}");
        }
    }
}
