//! The wire format of an API, as pure functions.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};

use crate::{EncodedPicture, Limits, Outcome, Price, Quota};

/// An adapter to one API: its request, its reply, its limits and its price.
///
/// Adapters do no I/O, keep no state and hold no secret: credentials are applied to the finished request by the
/// transport, which also retries, limits and records. So a recorded reply is all that a test needs, and adding an
/// API is adding one folder.
pub trait Provider: Send + Sync + 'static {
    /// The provider's name on the command line and in certificates, for instance `google`.
    fn name(&self) -> &str;

    /// What one call may carry.
    fn limits(&self) -> &Limits;

    /// The default quota of an account, where the API publishes one.
    fn quota(&self) -> Option<Quota>;

    /// The list price of one picture.
    fn price(&self) -> Price;

    /// The request that asks about these pictures (at most [`Limits::pictures_per_call`]), without credentials.
    ///
    /// It carries whatever the API offers to keep caches out of the way: an answer from a cache is not a draw.
    ///
    /// # Errors
    /// [`RequestError`] where the pictures do not fit the API's limits. Nothing was sent.
    fn request(&self, pictures: &[EncodedPicture]) -> Result<Request<Bytes>, RequestError>;

    /// A request that shows whether the credentials are accepted and that no price list counts: it carries no picture.
    /// `None` where the API offers nothing of the kind.
    ///
    /// Its reply is read by status and by [`outcomes`](Self::outcomes): whatever is not a rejection of the caller, also
    /// the complaint that there is no picture, says that the caller is known.
    fn probe(&self) -> Option<Request<Bytes>> {
        None
    }

    /// One outcome for each picture of the request, in the order of the request, from a whole reply.
    ///
    /// Total: whatever the bytes are, it returns exactly `pictures` outcomes and never panics.
    fn outcomes(&self, pictures: usize, reply: &Reply) -> Vec<Outcome>;

    /// Whether this reply failed pictures only because they shared a call, so that each picture without an answer
    /// deserves one call of its own.
    ///
    /// The transport then sends the same bytes again, one picture a call, and takes that outcome instead. It asks
    /// only where the request held several pictures; a reply to a single picture speaks for that picture.
    fn ask_singly(&self, pictures: usize, reply: &Reply) -> bool {
        let _ = (pictures, reply);
        false
    }

    /// How many of the first pictures of `pictures` fit into one call, by count and by bytes. At least 1 where
    /// there is a picture.
    fn fit(&self, pictures: &[EncodedPicture]) -> usize {
        pictures.len().min(self.limits().pictures_per_call)
    }
}

/// A whole reply to one request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, decompressed.
    pub body: Bytes,
}

/// A request that could not be built. Nothing was sent and nothing is owed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A picture breaks a limit of the API.
    #[error("{provider} {problem}")]
    Limit {
        /// The provider's name.
        provider: String,
        /// The limit, the picture's value and what to change.
        problem: String,
    },
    /// More pictures than one call may carry, or none.
    #[error("{provider} takes 1 to {most} pictures a call, not {got}")]
    Count {
        /// The provider's name.
        provider: String,
        /// Most pictures a call.
        most: usize,
        /// Pictures given.
        got: usize,
    },
    /// The configured endpoint, header or template does not make a valid request.
    #[error("{provider}: no valid request can be built: {problem}")]
    Invalid {
        /// The provider's name.
        provider: String,
        /// What is wrong with it.
        problem: String,
    },
}
