//! A request as a server received it.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use super::{Presented, Refusal, RefusalClass};

/// A whole request.
#[derive(Clone, Copy)]
pub struct Incoming<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path as it came, percent-encoded, without the query.
    pub path: &'a str,
    /// The query as it came, without the question mark. Empty where there is none.
    pub query: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body, decompressed and put together from its chunks.
    pub body: &'a Bytes,
}

/// Says nothing of header values, query and body: they hold credentials and pictures.
impl std::fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({} bytes)", self.method, self.path, self.body.len())
    }
}

impl<'a> Incoming<'a> {
    /// The path's parts, decoded, without empty ones: SDKs that are given an endpoint with a trailing slash send
    /// paths that begin with `//`.
    pub fn segments(&self) -> Vec<Cow<'a, str>> {
        self.parts().collect()
    }

    fn parts(&self) -> impl DoubleEndedIterator<Item = Cow<'a, str>> {
        self.path.split('/').filter(|part| !part.is_empty()).map(percent_decoded)
    }

    /// Does the path end in these parts? What stands before them is the server's own prefix.
    pub fn ends_with(&self, parts: &[&str]) -> bool {
        let mut own = self.parts().rev();
        parts.iter().rev().all(|part| own.next().is_some_and(|own| own == *part))
    }

    /// The query's pairs, decoded.
    pub(crate) fn pairs(&self) -> Pairs<'a> {
        Pairs(form_urlencoded::parse(self.query.as_bytes()).collect())
    }

    /// A header as text, trimmed.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
    }

    /// The media type of the body in lower case, without parameters. `None` where no type is given.
    pub fn media_type(&self) -> Option<String> {
        let value = self.header(CONTENT_TYPE.as_str())?;
        Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }

    /// The credential after a scheme in `Authorization`, for instance `Bearer`.
    pub(crate) fn authorization(&self, scheme: &str) -> Option<SecretString> {
        let (found, rest) = self.header(AUTHORIZATION.as_str())?.split_once(' ')?;
        let rest = rest.trim();
        (found.eq_ignore_ascii_case(scheme) && !rest.is_empty()).then(|| SecretString::from(rest))
    }

    /// A bearer token.
    pub(crate) fn bearer(&self) -> Option<Presented> {
        self.authorization("Bearer").map(Presented::Bearer)
    }

    /// A key in a header of its own.
    pub(crate) fn key_header(&self, name: &str) -> Option<Presented> {
        let key = self.header(name).filter(|key| !key.is_empty())?;
        Some(Presented::Key(SecretString::from(key)))
    }

    /// The body as JSON.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Refusal> {
        crate::wire::json_of_stranger(self.body).map_err(|problem| {
            Refusal::new(RefusalClass::BadRequest, format!("the body is not valid: {problem}"))
        })
    }

    /// Only this method is allowed on this path.
    pub(crate) fn only(&self, method: &Method) -> Result<(), Refusal> {
        if self.method == method {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalClass::MethodNotAllowed,
            format!("{} is not allowed here: use {method}", self.method),
        ))
    }
}

/// A decoded query.
#[derive(Debug)]
pub(crate) struct Pairs<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl Pairs<'_> {
    /// The first value under `name`, whose case does not matter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_ref())
    }
}

/// A path part, decoded; left as it is where it does not decode to text.
fn percent_decoded(part: &str) -> Cow<'_, str> {
    percent_decode_str(part).decode_utf8().unwrap_or(Cow::Borrowed(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(path: &str, query: &str, look: impl FnOnce(&Incoming<'_>) -> T) -> T {
        look(&Incoming {
            method: &Method::POST,
            path,
            query,
            headers: &HeaderMap::new(),
            body: &Bytes::from_static(b"secret"),
        })
    }

    #[test]
    fn doubled_slashes_and_escapes_are_seen_through() {
        for path in ["/computervision/imageanalysis:analyze", "//computervision//imageanalysis%3Aanalyze/"] {
            assert!(with(path, "", |i| i.ends_with(&["computervision", "imageanalysis:analyze"])), "{path}");
        }
        assert!(!with("/a", "", |i| i.ends_with(&["x", "a"])));
        with("/%ff", "", |i| assert_eq!(i.segments(), ["%ff"]));
    }

    #[test]
    fn queries_are_decoded_and_their_names_have_no_case() {
        with("/", "features=Tags%2CCaption&%24alt=json%3Benum-encoding%3Dint&Key=a+b", |i| {
            let pairs = i.pairs();
            assert_eq!(pairs.get("Features"), Some("Tags,Caption"));
            assert_eq!(pairs.get("$alt"), Some("json;enum-encoding=int"));
            assert_eq!(pairs.get("key"), Some("a b"));
            assert_eq!(pairs.get("missing"), None);
        });
    }

    #[test]
    fn debug_shows_neither_query_nor_body() {
        let shown = with("/path", "key=secret", |i| format!("{i:?}"));
        assert_eq!(shown, "POST /path (6 bytes)");
    }
}
