//! Errors of chat completion servers.

use serde_json::Value;

use crate::wire::{by_status, retry_after, shorten};
use crate::{Outcome, Reply};

/// What servers say, in lower case, where a model takes no pictures at all.
const BLIND: [&str; 4] = [
    "image_url is only supported by certain models",
    "does not support image",
    "not a multimodal model",
    "image_url is not supported",
];

/// The outcome of a body that carries an error. `None` where it carries none.
///
/// The error is an object under `error`; older vLLM puts its members at the top, beside `"object": "error"`; some
/// servers give a bare text.
pub(super) fn read(body: &Value, reply: &Reply) -> Option<Outcome> {
    let error = match body.get("error") {
        Some(Value::Null) | None if body.get("object").and_then(Value::as_str) == Some("error") => body,
        Some(Value::Null) | None => return None,
        Some(error) => error,
    };
    if let Some(words) = error.as_str() {
        return Some(by_status(reply, &shorten(words)));
    }
    let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
    let (kind, code, words) = (text("type"), text("code"), text("message"));
    let name = [code, kind].into_iter().find(|name| !name.is_empty()).unwrap_or("error");
    let reason = format!("{}: {}", shorten(name), shorten(words));
    Some(classify(kind, code, &words.to_ascii_lowercase(), reason, reply))
}

fn classify(kind: &str, code: &str, words: &str, reason: String, reply: &Reply) -> Outcome {
    match code {
        // A spent quota also comes as 429, where waiting does not help.
        "insufficient_quota" | "billing_hard_limit_reached" | "billing_not_active" => {
            return Outcome::QuotaSpent { reason };
        }
        "content_filter" | "content_policy_violation" | "moderation_blocked" => {
            return Outcome::Refused { reason };
        }
        "rate_limit_exceeded" => {
            return Outcome::Throttled { retry_after: retry_after(&reply.headers), reason };
        }
        "invalid_api_key" | "account_deactivated" => return Outcome::Auth { reason },
        "model_not_found" | "DeploymentNotFound" => return Outcome::Misconfigured { reason },
        _ => {}
    }
    match kind {
        "insufficient_quota" => Outcome::QuotaSpent { reason },
        "authentication_error" | "permission_error" => Outcome::Auth { reason },
        "server_error" | "overloaded_error" | "InternalServerError" => Outcome::Transient { reason },
        _ if !matches!(reply.status.as_u16(), 200 | 400 | 422) => by_status(reply, &reason),
        // About the kind of the part, and not about this picture.
        _ if BLIND.iter().any(|says| words.contains(says)) => Outcome::Misconfigured { reason },
        _ if code.contains("image") || words.contains("image") => Outcome::BadPicture { reason },
        // The request is the same for every picture but for the picture.
        "invalid_request_error" | "BadRequestError" | "NotFoundError" => Outcome::Misconfigured { reason },
        _ => by_status(reply, &reason),
    }
}
