//! Google's error codes: `google.rpc.Code` by name (a whole call) and by number (one picture in a 200).

use crate::Outcome;
use crate::wire::retry_after;
use crate::{Reply, wire};

use super::wire::{CallError, EntryError};

/// What a `google.rpc.Code` means for the bytes that were sent.
enum Meaning {
    Throttled,
    Transient,
    Bytes,
    Auth,
    Configuration,
}

fn meaning_of_name(name: &str) -> Option<Meaning> {
    Some(match name {
        "RESOURCE_EXHAUSTED" => Meaning::Throttled,
        "CANCELLED" | "UNKNOWN" | "DEADLINE_EXCEEDED" | "ABORTED" | "INTERNAL" | "UNAVAILABLE"
        | "DATA_LOSS" => Meaning::Transient,
        "UNAUTHENTICATED" | "PERMISSION_DENIED" => Meaning::Auth,
        "INVALID_ARGUMENT"
        | "OUT_OF_RANGE"
        | "NOT_FOUND"
        | "ALREADY_EXISTS"
        | "FAILED_PRECONDITION"
        | "UNIMPLEMENTED" => Meaning::Configuration,
        _ => return None,
    })
}

fn meaning_of_number(code: i64) -> Option<Meaning> {
    Some(match code {
        8 => Meaning::Throttled,
        1 | 2 | 4 | 10 | 13 | 14 | 15 => Meaning::Transient,
        3 | 9 | 11 => Meaning::Bytes,
        7 | 16 => Meaning::Auth,
        5 | 6 | 12 => Meaning::Configuration,
        _ => return None,
    })
}

/// The outcome of one entry that carries an error.
pub(super) fn of_entry(error: &EntryError, reply: &Reply) -> Outcome {
    let reason = format!("error {} of this picture: {}", error.code, wire::shorten(&error.message));
    match meaning_of_number(error.code) {
        Some(Meaning::Throttled) => Outcome::Throttled { retry_after: retry_after(&reply.headers), reason },
        Some(Meaning::Transient) => Outcome::Transient { reason },
        Some(Meaning::Bytes) => Outcome::BadPicture { reason },
        Some(Meaning::Auth) => Outcome::Auth { reason },
        Some(Meaning::Configuration) => Outcome::Misconfigured { reason },
        None => Outcome::Malformed { reason },
    }
}

/// The outcome of a call that failed as a whole.
///
/// A wrong API key comes as status 400 and `INVALID_ARGUMENT`; only the reason tells it from a wrong request. Faults
/// of single pictures come inside a 200, so a whole request that is called invalid is invalid for every picture.
pub(super) fn of_call(error: &CallError, reply: &Reply) -> Outcome {
    let detail = error.reason();
    let words = wire::shorten(&error.message);
    let reason = match (error.status.as_str(), detail) {
        ("", "") => words.clone(),
        (name, "") | ("", name) => format!("{}: {words}", wire::shorten(name)),
        (name, detail) => format!("{} ({}): {words}", wire::shorten(name), wire::shorten(detail)),
    };
    let lower = error.message.to_ascii_lowercase();
    if detail.starts_with("API_KEY_") || detail.starts_with("ACCESS_TOKEN_") || lower.contains("api key") {
        return Outcome::Auth { reason };
    }
    if detail == "BILLING_DISABLED" || (reply.status == 403 && lower.contains("billing")) {
        return Outcome::QuotaSpent { reason };
    }
    if detail == "SERVICE_DISABLED" {
        return Outcome::Misconfigured { reason };
    }
    match meaning_of_name(&error.status) {
        Some(Meaning::Throttled) if lower.contains("per day") || lower.contains("per month") => {
            Outcome::QuotaSpent { reason }
        }
        Some(Meaning::Throttled) => Outcome::Throttled { retry_after: retry_after(&reply.headers), reason },
        Some(Meaning::Transient) => Outcome::Transient { reason },
        Some(Meaning::Auth) => Outcome::Auth { reason },
        Some(Meaning::Configuration) if is_about_size(&lower) => Outcome::BadPicture { reason },
        Some(Meaning::Configuration) => Outcome::Misconfigured { reason },
        Some(Meaning::Bytes) | None => wire::by_status(reply, &reason),
    }
}

/// Does an error (in lower case) say that the request was too large?
pub(super) fn is_about_size(message: &str) -> bool {
    message.contains("payload size") || message.contains("too large") || message.contains("size exceeds")
}
