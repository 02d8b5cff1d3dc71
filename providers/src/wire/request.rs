//! Building requests.

use http::header::{ACCEPT, CACHE_CONTROL, PRAGMA};
use http::{Method, Request, Uri, request};

use super::shorten;
use crate::{EncodedPicture, Limits, RequestError};

/// A request that cannot be valid, whatever the picture.
pub(crate) fn invalid(provider: &str, problem: impl Into<String>) -> RequestError {
    RequestError::Invalid { provider: provider.to_owned(), problem: problem.into() }
}

/// Checks an endpoint from a configuration and takes away its trailing slashes, so that paths never start with `//`.
pub(crate) fn endpoint(provider: &str, text: &str) -> Result<String, RequestError> {
    let trimmed = text.trim().trim_end_matches('/');
    let wrong = || {
        invalid(provider, format!("`{}` is no endpoint: write for instance `https://host`", shorten(trimmed)))
    };
    let uri: Uri = trimmed.parse().map_err(|_| wrong())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(invalid(provider, "the endpoint must not hold a user name or password"));
    }
    if uri.query().is_some() {
        return Err(invalid(provider, format!("the endpoint `{}` must have no query", uri.path())));
    }
    Ok(trimmed.to_owned())
}

/// A request that asks caches to stay out of the way and wants JSON back.
pub(crate) fn get_ready(method: Method, url: &str) -> request::Builder {
    Request::builder()
        .method(method)
        .uri(url)
        .header(ACCEPT, "application/json")
        .header(CACHE_CONTROL, "no-cache, no-store")
        .header(PRAGMA, "no-cache")
}

/// Checks the number of pictures and each of them against the limits.
pub(crate) fn check(
    provider: &str,
    limits: &Limits,
    pictures: &[EncodedPicture],
) -> Result<(), RequestError> {
    if pictures.is_empty() || pictures.len() > limits.pictures_per_call {
        return Err(RequestError::Count {
            provider: provider.to_owned(),
            most: limits.pictures_per_call,
            got: pictures.len(),
        });
    }
    for picture in pictures {
        limits
            .check(picture)
            .map_err(|problem| RequestError::Limit { provider: provider.to_owned(), problem })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_lose_their_trailing_slash_and_need_a_scheme() {
        assert_eq!(endpoint("x", "https://host/").unwrap(), "https://host");
        assert_eq!(endpoint("x", "http://127.0.0.1:8080/prefix//").unwrap(), "http://127.0.0.1:8080/prefix");
        for bad in [
            "",
            "host:443",
            "ftp://host",
            "https://",
            "https://a b",
            "/path",
            "https://host/?key=1",
            "https://me:secret@host",
        ] {
            assert!(endpoint("x", bad).is_err(), "{bad}");
        }
    }
}
