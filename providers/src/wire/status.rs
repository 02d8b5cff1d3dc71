//! What an HTTP status means where the body does not say more.

use http::StatusCode;

use super::retry_after;
use crate::{Outcome, Reply};

/// The outcome that the status alone supports, with the API's words as the reason.
///
/// A success status means here that the body was not understood: [`Outcome::Malformed`]. A status from 400 to 499
/// that says nothing else refuses these bytes for good: [`Outcome::BadPicture`].
pub(crate) fn by_status(reply: &Reply, words: &str) -> Outcome {
    let status = reply.status;
    let reason = format!("{status}: {words}");
    match status {
        StatusCode::TOO_MANY_REQUESTS => {
            Outcome::Throttled { retry_after: retry_after(&reply.headers), reason }
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            Outcome::Auth { reason }
        }
        StatusCode::PAYMENT_REQUIRED => Outcome::QuotaSpent { reason },
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE => {
            Outcome::Misconfigured { reason }
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::CONFLICT => {
            Outcome::Transient { reason }
        }
        _ if status.is_redirection() => Outcome::Misconfigured {
            reason: format!("{status}: redirects are not followed, set the final URL"),
        },
        _ if status.is_client_error() => Outcome::BadPicture { reason },
        _ if status.is_server_error() => Outcome::Transient { reason },
        _ => Outcome::Malformed { reason },
    }
}
