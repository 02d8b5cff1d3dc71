//! Errors of both Azure formats.
//!
//! The service nests a precise code in a general one (`InvalidRequest` around `InvalidImageFormat`); the gateway in
//! front of it uses numbers in strings (`"401"`, `"429"`).

use serde::Deserialize;
use serde_json::Value;

use crate::wire::{by_status, json, retry_after, shorten};
use crate::{Outcome, Reply};

#[derive(Deserialize)]
struct Wrapped {
    error: Option<ErrorIn>,
}

#[derive(Deserialize)]
struct ErrorIn {
    code: Option<Value>,
    message: Option<String>,
    #[serde(alias = "innerError")]
    innererror: Option<Box<ErrorIn>>,
}

impl ErrorIn {
    fn code(&self) -> String {
        match &self.code {
            Some(Value::String(code)) => code.clone(),
            Some(Value::Number(code)) => code.to_string(),
            _ => String::new(),
        }
    }
}

/// The outcome of a reply that carries an error, also inside a 200. `None` where it carries none.
pub(crate) fn read(reply: &Reply) -> Option<Outcome> {
    let error = match json::<Wrapped>(&reply.body) {
        Ok(Wrapped { error: Some(error) }) => error,
        // Older gateways leave the wrapper out.
        _ if !reply.status.is_success() => json::<ErrorIn>(&reply.body).ok().filter(|e| e.code.is_some())?,
        _ => return None,
    };
    let inner = error.innererror.as_deref();
    let precise = inner.map(ErrorIn::code).filter(|code| !code.is_empty());
    let words = inner.and_then(|e| e.message.as_deref()).or(error.message.as_deref()).unwrap_or_default();
    let general = error.code();
    let reason = match &precise {
        Some(precise) => format!("{} ({}): {}", shorten(&general), shorten(precise), shorten(words)),
        None => format!("{}: {}", shorten(&general), shorten(words)),
    };
    let lower = format!("{} {words}", error.message.as_deref().unwrap_or_default()).to_ascii_lowercase();
    Some(classify(precise.as_deref().unwrap_or(&general), &lower, reason, reply))
}

fn classify(code: &str, lower: &str, reason: String, reply: &Reply) -> Outcome {
    match code {
        _ if lower.contains("out of call volume quota") => Outcome::QuotaSpent { reason },
        "401" | "403" | "Unauthorized" | "AccessDenied" | "PermissionDenied" | "Forbidden" => {
            Outcome::Auth { reason }
        }
        "429" | "TooManyRequests" | "RateLimitExceeded" => {
            Outcome::Throttled { retry_after: retry_after(&reply.headers), reason }
        }
        "InvalidImageFormat"
        | "InvalidImageSize"
        | "InvalidImageDimension"
        | "InvalidImage"
        | "InvalidImageUrl"
        | "NotSupportedImage"
        | "UnsupportedMediaType"
        | "415" => Outcome::BadPicture { reason },
        "NotSupportedVisualFeature"
        | "NotSupportedFeature"
        | "NotSupportedLanguage"
        | "InvalidDetails"
        | "BadArgument"
        | "InvalidModelVersion"
        | "NotFound"
        | "ResourceNotFound"
        | "404"
        | "405" => Outcome::Misconfigured { reason },
        "FailedToProcess"
        | "Timeout"
        | "InternalServerError"
        | "InternalError"
        | "ServiceUnavailable"
        | "StorageException"
        | "500"
        | "502"
        | "503"
        | "504" => Outcome::Transient { reason },
        // `InvalidRequest` with nothing inside: only the words are left.
        _ if lower.contains("query is invalid") || lower.contains("query parameter") => {
            Outcome::Misconfigured { reason }
        }
        _ => by_status(reply, &reason),
    }
}
