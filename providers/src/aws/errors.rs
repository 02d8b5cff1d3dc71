//! Rekognition's errors by name.
//!
//! The name is in `__type` (bare, after a namespace and `#`, or before `:` and a URL), in `Code`, or in the header
//! `x-amzn-ErrorType`. The status does not tell a throttle from a wrong picture: both come as 400.

use crate::wire::{by_status, retry_after, shorten};
use crate::{Outcome, Reply};

use super::wire::ReplyIn;

/// The error that a body names. `None` where it names none.
pub(super) fn of_body(body: &ReplyIn, reply: &Reply) -> Option<Outcome> {
    let words = body.message.as_deref().or(body.small_message.as_deref()).unwrap_or_default();
    let name = body.kind.as_deref().or(body.code.as_deref())?;
    Some(named(bare(name), words, reply))
}

/// The error that a header names, or else what the status says.
pub(super) fn of_header(reply: &Reply, words: &str) -> Outcome {
    let header = reply.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    match header.map(bare).filter(|name| !name.is_empty()) {
        Some(name) => named(name, words, reply),
        None => by_status(reply, words),
    }
}

/// `ns#Name:http://...` is `Name`.
fn bare(name: &str) -> &str {
    let name = name.rsplit_once('#').map_or(name, |(_, after)| after);
    name.split(':').next().unwrap_or_default().trim()
}

fn named(name: &str, words: &str, reply: &Reply) -> Outcome {
    let reason = match (shorten(name), shorten(words)) {
        (name, words) if words.is_empty() => name,
        (name, words) => format!("{name}: {words}"),
    };
    match name.strip_suffix("Exception").unwrap_or(name) {
        "Throttling"
        | "Throttled"
        | "ProvisionedThroughputExceeded"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "BandwidthLimitExceeded"
        | "LimitExceeded"
        | "SlowDown" => Outcome::Throttled { retry_after: retry_after(&reply.headers), reason },
        "InternalServerError"
        | "InternalServer"
        | "InternalFailure"
        | "ServiceUnavailable"
        | "RequestTimeout"
        | "PriorRequestNotComplete" => Outcome::Transient { reason },
        "InvalidImageFormat"
        | "ImageTooLarge"
        | "InvalidParameter"
        | "InvalidParameterValue"
        | "Validation"
        | "ValidationError"
        | "InvalidS3Object" => Outcome::BadPicture { reason },
        "AccessDenied"
        | "UnrecognizedClient"
        | "InvalidSignature"
        | "SignatureDoesNotMatch"
        | "MissingAuthenticationToken"
        | "ExpiredToken"
        | "IncompleteSignature"
        | "InvalidClientTokenId"
        | "AuthFailure"
        | "NotAuthorized"
        | "OptInRequired"
        | "RequestExpired"
        | "RequestTimeTooSkewed" => Outcome::Auth { reason },
        "HumanLoopQuotaExceeded" | "PaymentRequired" | "SubscriptionRequired" => {
            Outcome::QuotaSpent { reason }
        }
        "ResourceNotFound" | "ResourceNotReady" | "UnknownOperation" | "InvalidAction" | "Serialization" => {
            Outcome::Misconfigured { reason }
        }
        // "Input image dimensions ... exceed maximum dimension" comes under a name that no document gives.
        _ => by_status(reply, &reason),
    }
}
