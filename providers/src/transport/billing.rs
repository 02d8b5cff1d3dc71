//! May a call have been billed? One table, used for every attempt.
//!
//! | What came back | Billed | Why |
//! |---|---|---|
//! | no connection: DNS, refused, TLS, proxy | no | nothing of the request reached the API |
//! | request sent, no whole reply: reset, timeout, cut off | unknown | the API may have done the work |
//! | an answer (2xx) | yes | |
//! | 2xx with a refusal of the picture, or an answer that is no vote | yes | the model has looked at it |
//! | 2xx with "throttled", "credentials", "quota" or "not offered" for the picture | no | refused before any work |
//! | 2xx with "bad picture" or a passing failure for the picture | unknown | APIs do not say |
//! | 2xx that cannot be read | unknown | there may have been an answer in it |
//! | 3xx | no | not followed |
//! | 4xx | no | refused before any work; 429 and AWS' throttling as 400 belong here |
//! | 5xx that says "throttled" | no | AWS throttles with 500 as well |
//! | 503, 529 | no | overloaded: refused before any work |
//! | 500, 502, 504 and other 5xx | unknown | failed while, after or instead of working |
//!
//! "Unknown" counts as billed in budgets ([`Billed::Unknown`]).

use crate::{Billed, OutcomeClass};

/// The table above for a reply of this `status` that an adapter read as `class`.
pub fn of_reply(status: u16, class: OutcomeClass) -> Billed {
    use OutcomeClass as C;
    match (status, class) {
        (_, C::Answered) | (200..=299, C::Refused | C::Unusable) => Billed::Yes,
        (_, C::Throttled | C::Auth | C::QuotaSpent | C::Misconfigured) | (300..=499 | 503 | 529, _) => {
            Billed::No
        }
        _ => Billed::Unknown,
    }
}

/// The table above for a request without a whole reply. `sent`: a byte of it may have reached the API.
pub fn of_loss(sent: bool) -> Billed {
    if sent { Billed::Unknown } else { Billed::No }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_as_documented() {
        use Billed::{No, Unknown, Yes};
        use OutcomeClass as C;
        let rows = [
            (200, C::Answered, Yes),
            (200, C::Refused, Yes),
            (200, C::Unusable, Yes),
            (200, C::Misconfigured, No),
            (404, C::Misconfigured, No),
            (200, C::Throttled, No),
            (200, C::Auth, No),
            (200, C::QuotaSpent, No),
            (200, C::BadPicture, Unknown),
            (200, C::Transient, Unknown),
            (200, C::Malformed, Unknown),
            (302, C::Malformed, No),
            (400, C::BadPicture, No),
            (400, C::Throttled, No),
            (400, C::Malformed, No),
            (429, C::Throttled, No),
            (500, C::Throttled, No),
            (500, C::Transient, Unknown),
            (502, C::Transient, Unknown),
            (503, C::Transient, No),
            (504, C::Transient, Unknown),
            (529, C::Transient, No),
        ];
        for (status, class, billed) in rows {
            assert_eq!(of_reply(status, class), billed, "{status} {class}");
        }
        assert_eq!(of_loss(false), No);
        assert_eq!(of_loss(true), Unknown);
    }
}
