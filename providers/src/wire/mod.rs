//! What all adapters share: reading bodies and headers safely, and building requests.

mod body;
mod headers;
mod picture;
mod request;
mod status;
mod text;
mod time;

pub(crate) use body::{glimpse, json, json_of_stranger};
pub use headers::{from_cache, retry_after};
pub(crate) use picture::{base64, decode_base64, fit_base64};
pub(crate) use request::{check, endpoint, get_ready, invalid};
pub(crate) use status::by_status;
pub use text::shorten;
pub(crate) use time::rfc3339;

use crate::{Answer, Outcome, Reply};

/// The same outcome for every picture of a call.
pub(crate) fn for_all(pictures: usize, outcome: &Outcome) -> Vec<Outcome> {
    vec![outcome.clone(); pictures]
}

/// An answer, marked where the reply says that a cache gave it.
pub(crate) fn answered(reply: &Reply, mut answer: Answer) -> Outcome {
    answer.from_cache = from_cache(&reply.headers);
    Outcome::Answered(answer)
}

/// A score of an API whose scale ends at `top`, on the scale of 0 to 1.
///
/// APIs compute in single precision, so a hair beyond the ends is rounding and is clamped. Anything further is
/// another scale than the documented one (0 to 100 against 0 to 1), and every threshold would be wrong: such an
/// answer is [`Outcome::Unusable`].
pub(crate) fn unit_score(label: &str, score: f64, top: f64) -> Result<f64, Outcome> {
    let unit = score / top;
    if !(-1e-6..=1.0 + 1e-6).contains(&unit) {
        return Err(Outcome::Unusable {
            reason: format!("`{}` has score {score} where 0 to {top} is documented", shorten(label)),
        });
    }
    Ok(unit.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_another_scale_are_never_guessed() {
        assert!(unit_score("dog", 98.5, 1.0).is_err());
        assert!(unit_score("dog", 150.0, 100.0).is_err());
        assert!(unit_score("dog", -0.5, 1.0).is_err());
        assert!(unit_score("dog", f64::NAN, 1.0).is_err());
        assert_eq!(unit_score("dog", 1.000_000_1, 1.0), Ok(1.0));
        assert_eq!(unit_score("dog", 98.5, 100.0), Ok(0.985));
    }
}
