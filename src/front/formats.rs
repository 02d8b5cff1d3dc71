//! Which API a request is for, and how much of it is read.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Method, Uri};
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use smoothgate_providers::served::{self, Incoming, Refusal, RefusalClass, ServedApi};

/// How much of a body is read, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// Most bytes, where that is less than what the pictures of the format's own limits take.
    pub bytes: usize,
    /// Most time for all of it to arrive.
    pub time: Duration,
}

impl Default for BodyLimits {
    /// What the format takes; 60 seconds.
    fn default() -> Self {
        Self { bytes: usize::MAX, time: Duration::from_mins(1) }
    }
}

/// The wire formats that a server speaks, in the order in which they are asked whether a request is theirs.
pub struct Formats(Vec<Box<dyn ServedApi>>);

impl std::fmt::Debug for Formats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// Why a body was not read.
#[derive(Debug)]
pub enum ReadError {
    /// To be told to the client, in its API's own shape.
    Refused(Refusal),
    /// The client has gone.
    Gone,
}

impl Formats {
    /// All formats.
    pub fn all() -> Self {
        Self(served::all())
    }

    /// These formats alone.
    ///
    /// # Errors
    /// The first name that is none.
    pub fn of<S: AsRef<str>>(names: &[S]) -> Result<Self, String> {
        let known = served::all();
        let is = |api: &dyn ServedApi, name: &S| api.name() == name.as_ref();
        if let Some(name) = names.iter().find(|name| !known.iter().any(|api| is(api.as_ref(), name))) {
            return Err(name.as_ref().to_owned());
        }
        Ok(Self(known.into_iter().filter(|api| names.iter().any(|name| is(api.as_ref(), name))).collect()))
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|api| api.name())
    }

    /// The format that a request is in, by method, path and headers.
    pub fn find(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<&dyn ServedApi> {
        let body = Bytes::new();
        let incoming = Incoming {
            method,
            path: uri.path(),
            query: uri.query().unwrap_or_default(),
            headers,
            body: &body,
        };
        self.0.iter().find(|api| api.recognises(&incoming)).map(AsRef::as_ref)
    }

    /// Most bytes of a request to `api`: what its pictures take in base64, and room for the JSON around them. Google
    /// limits the JSON itself to 10 MB.
    pub fn max_body(api: &dyn ServedApi) -> usize {
        let limits = api.limits();
        let most = match api.name() {
            "google" => 10 << 20,
            _ => 128 << 20,
        };
        (limits.max_bytes.saturating_mul(limits.pictures_per_call) / 3 * 4).saturating_add(1 << 20).min(most)
    }

    /// The whole body of a request to `api`, within the format's own limits.
    ///
    /// # Errors
    /// As [`read_within`](Self::read_within).
    pub async fn read<B>(api: &dyn ServedApi, headers: &HeaderMap, body: B) -> Result<Bytes, ReadError>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        Self::read_within(api, headers, body, BodyLimits::default()).await
    }

    /// The whole body of a request to `api`.
    ///
    /// # Errors
    /// [`ReadError`] for a body that is too long, compressed or too slow, or a client that went away.
    pub async fn read_within<B>(
        api: &dyn ServedApi,
        headers: &HeaderMap,
        body: B,
        limits: BodyLimits,
    ) -> Result<Bytes, ReadError>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let refused = |class, message: String| Err(ReadError::Refused(Refusal::new(class, message)));
        if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            let message = "compressed bodies are not taken: send it without Content-Encoding".to_owned();
            return refused(RefusalClass::UnsupportedMediaType, message);
        }
        let most = Self::max_body(api).min(limits.bytes);
        let too_large =
            || refused(RefusalClass::BodyTooLarge, format!("the body has more than {most} bytes"));
        let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: usize| length > most) {
            return too_large();
        }
        match tokio::time::timeout(limits.time, Limited::new(body, most).collect()).await {
            Ok(Ok(whole)) => Ok(whole.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => too_large(),
            Ok(Err(_)) => Err(ReadError::Gone),
            Err(_) => refused(RefusalClass::BadRequest, "the body did not arrive in time".to_owned()),
        }
    }
}
