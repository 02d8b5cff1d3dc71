//! From a test's decision to a claim, and the claim in words.

use super::{Certificate, Outcome};
use crate::stats::{Decision, Method, Reason};

/// What a decision claims.
pub(super) struct Claim {
    pub(super) outcome: Outcome,
    pub(super) class: Option<usize>,
    pub(super) radius: f64,
    pub(super) p_lower: Option<f64>,
    pub(super) abstained: Option<Reason>,
}

impl Claim {
    pub(super) fn of(decision: &Decision, method: &Method) -> Self {
        match decision {
            Decision::Certified(claim) => Self {
                outcome: if matches!(method, Method::Predict { .. }) {
                    Outcome::Predicted
                } else {
                    Outcome::Certified
                },
                class: Some(claim.class),
                radius: claim.radius,
                p_lower: claim.p_lower,
                abstained: None,
            },
            Decision::Continue | Decision::Abstained(_) => Self {
                outcome: Outcome::Abstained,
                class: None,
                radius: 0.0,
                p_lower: None,
                abstained: match decision {
                    Decision::Abstained(why) => Some(why.reason),
                    _ => None,
                },
            },
        }
    }
}

/// The claim in words. It is about the smoothed pipeline, never about a single call (design contract 11).
pub(super) fn in_words(of: &Certificate) -> String {
    let confidence = 1.0 - of.alpha.get();
    let pipeline = format!(
        "the smoothed pipeline (noise of sigma {} on the {}x{} working image, denoiser {}, provider {}, question {})",
        of.noise.sigma, of.picture.width, of.picture.height, of.denoiser.name, of.provider, of.question
    );
    match (of.outcome, &of.label) {
        (Outcome::Certified, Some(label)) => format!(
            "With probability at least {confidence}, {pipeline} {} for every working image within \
             L2 distance {} of this one, in units of [0, 1] pixel values. This is a statement about the smoothed \
             pipeline, not about a single call to the provider.",
            of.question.claim(label),
            of.radius
        ),
        (Outcome::Predicted, Some(label)) => format!(
            "With probability at least {confidence}, \"{label}\" is the most likely answer of {pipeline} for this \
             picture. This is a statement about the smoothed pipeline, not about a single call to the provider, \
             and it says nothing about other pictures."
        ),
        _ => format!(
            "Nothing is claimed: the votes do not show at level {confidence} what {pipeline} answers."
        ),
    }
}
