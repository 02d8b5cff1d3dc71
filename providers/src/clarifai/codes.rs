//! Clarifai's status codes.

use crate::wire::{by_status, retry_after};
use crate::{Outcome, Reply};

/// All went well.
pub(super) const SUCCESS: i64 = 10_000;
/// Some pictures of the batch failed.
pub(super) const MIXED_STATUS: i64 = 10_010;
/// The call failed, perhaps for one picture's sake.
pub(super) const FAILURE: i64 = 10_020;

/// The outcome of a failure with this code.
pub(super) fn outcome(code: i64, reason: String, reply: &Reply) -> Outcome {
    match code {
        // Hourly limits end by themselves; monthly ones and the account's do not.
        11_003 | 11_005 => Outcome::Throttled { retry_after: retry_after(&reply.headers), reason },
        11_004 | 11_006 => Outcome::QuotaSpent { reason },
        11_001 | 11_002 | 11_007..=11_009 => Outcome::Auth { reason },
        11_100..=11_102 | 21_200 => Outcome::Misconfigured { reason },
        10_030 | 21_351 | 21_354 | 21_355 | 39_996 | 40_030..=40_032 | 98_004 | 99_009 => {
            Outcome::Transient { reason }
        }
        // The 30 thousands are inputs; 40033 is a message that is too large.
        30_000..=30_999 | 40_033 => Outcome::BadPicture { reason },
        _ => by_status(reply, &reason),
    }
}

/// Is this a code that a batch gets for what one of its pictures, or their number, did?
pub(super) fn blames_the_batch(code: i64) -> bool {
    matches!(code, MIXED_STATUS | FAILURE | 30_000..=30_999 | 40_033)
}
