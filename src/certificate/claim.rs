//! From a test's decision to a claim, and the claim in words.

use super::{Certificate, Claim, Outcome};
use crate::stats::{Decision, Method, Reason};

/// What a decision claims.
pub(super) struct Conclusion {
    pub(super) outcome: Outcome,
    pub(super) class: Option<usize>,
    pub(super) radius: f64,
    pub(super) p_lower: Option<f64>,
    pub(super) abstained: Option<Reason>,
}

impl Conclusion {
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

/// The claims in words. They are about the smoothed pipeline, never about a single call (design contract 11).
pub(super) fn in_words(of: &Certificate) -> String {
    match of.claims.as_slice() {
        [claim] => one_in_words(of, claim),
        claims => several_in_words(of, claims),
    }
}

/// The pipeline, and the question if there is but one.
fn pipeline(of: &Certificate, question: Option<&Claim>) -> String {
    let question = question.map_or_else(String::new, |claim| format!(", question {}", claim.question));
    format!(
        "the smoothed pipeline (noise of sigma {} on the {}x{} working image, denoiser {}, provider {}{question})",
        of.noise.sigma, of.picture.width, of.picture.height, of.denoiser.name, of.provider
    )
}

fn one_in_words(of: &Certificate, claim: &Claim) -> String {
    let confidence = 1.0 - of.alpha.get();
    let pipeline = pipeline(of, Some(claim));
    match (claim.outcome, &claim.label) {
        (Outcome::Certified, Some(label)) => format!(
            "With probability at least {confidence}, {pipeline} {} for every working image within \
             L2 distance {} of this one, in units of [0, 1] pixel values. This is a statement about the smoothed \
             pipeline, not about a single call to the provider.",
            claim.question.claim(label),
            claim.radius
        ),
        (Outcome::Predicted, Some(label)) => format!(
            "With probability at least {confidence}, \"{label}\" is the most likely answer of {pipeline} for this \
             picture. This is a statement about the smoothed pipeline, not about a single call to the provider, \
             and it says nothing about other pictures."
        ),
        _ => match claim.abstained {
            Some(Reason::NoCleanLabel) => format!(
                "Nothing is claimed: the provider gives the picture itself no label that {pipeline} could be asked about."
            ),
            Some(Reason::NoCleanAnswer) => format!(
                "Nothing is claimed: the provider never answered about the picture itself, so there is no label that \
                 {pipeline} could be asked about."
            ),
            _ => format!(
                "Nothing is claimed: the votes do not show at level {confidence} what {pipeline} answers."
            ),
        },
    }
}

/// All claims in their order, those that abstained included: the words of another order, or of fewer claims, are others.
fn several_in_words(of: &Certificate, claims: &[Claim]) -> String {
    let confidence = 1.0 - of.alpha.get();
    let pipeline = pipeline(of, None);
    let each = claims.iter().map(|claim| match (claim.outcome, &claim.label) {
        (Outcome::Certified, Some(label)) => format!(
            "asked `{}`, it {} for every working image within L2 distance {} of this one",
            claim.question,
            claim.question.claim(label),
            claim.radius
        ),
        (Outcome::Predicted, Some(label)) => {
            format!("asked `{}`, its most likely answer for this picture is \"{label}\"", claim.question)
        }
        _ => format!("asked `{}`, nothing is claimed", claim.question),
    });
    let each = each.collect::<Vec<_>>().join("; ");
    if claims.iter().all(|claim| claim.outcome == Outcome::Abstained) {
        return format!("Nothing is claimed at level {confidence} of {pipeline}: {each}.");
    }
    format!(
        "With probability at least {confidence} all of this holds together for {pipeline}: {each}. Distances are in units of \
         [0, 1] pixel values. This is a statement about the smoothed pipeline, not about a single call to the provider."
    )
}
