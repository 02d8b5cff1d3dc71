//! What the proxy asks of whoever gets pictures that a request only names.

use bytes::Bytes;
use futures::future::BoxFuture;
use smoothgate_providers::served::{Refusal, RefusalClass, Source};

use crate::proxy::access::Caller;

/// Gets pictures from where a request says they are.
pub trait Fetch: Send + Sync + 'static {
    /// The file behind `source`, of at most `most` bytes. Never called for bytes that came in the request.
    ///
    /// # Errors
    /// A [`Refusal`], mostly `PictureUnreachable` or `PictureTooLarge`.
    fn fetch<'a>(
        &'a self,
        caller: &'a Caller,
        source: &'a Source,
        most: usize,
    ) -> BoxFuture<'a, Result<Bytes, Refusal>>;
}

/// Fetches nothing: a server that follows addresses of strangers reaches what they cannot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refused;

impl Fetch for Refused {
    fn fetch<'a>(&'a self, _: &'a Caller, _: &'a Source, _: usize) -> BoxFuture<'a, Result<Bytes, Refusal>> {
        let message = "pictures are not fetched by this server: send the picture in the request";
        Box::pin(async move { Err(Refusal::new(RefusalClass::PictureUnreachable, message)) })
    }
}
