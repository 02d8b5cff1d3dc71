//! The claim, from the decision.

use super::check::{Check, Wrong};
use crate::certificate::Certificate;
use crate::certificate::claim::{Claim, in_words};
use crate::stats::{Decision, round_down};

/// Relative difference of two bounds that are the same but for the last bits of two machines' logarithms. The radius is
/// rounded down by far more than that.
const SAME_BOUND: f64 = 1e-11;

pub(super) fn checks(certificate: &Certificate, decision: &Decision) -> [Check; 3] {
    [claim(certificate, decision), original(certificate), statement(certificate)]
}

fn claim(certificate: &Certificate, decision: &Decision) -> Check {
    let follows = Claim::of(decision, &certificate.test.method);
    let label = follows.class.and_then(|class| certificate.labels.get(class)).cloned();
    let mut wrong: Vec<Wrong> = [
        Wrong::unless_equal("outcome", &certificate.outcome, &follows.outcome),
        Wrong::unless_equal("label", &certificate.label, &label),
        Wrong::unless_equal("radius", &certificate.radius, &follows.radius),
        Wrong::unless_equal("abstained", &certificate.abstained, &follows.abstained),
    ]
    .into_iter()
    .flatten()
    .collect();
    let same = match (certificate.p_lower, follows.p_lower) {
        (Some(stated), Some(follows)) => (stated - follows).abs() <= SAME_BOUND * follows,
        (stated, follows) => stated == follows,
    };
    if !same {
        wrong.extend(Wrong::unless_equal("p_lower", &certificate.p_lower, &follows.p_lower));
    }
    let holds = match (&label, follows.radius > 0.0) {
        (Some(label), true) => format!("the votes certify {label:?} with radius {}", follows.radius),
        (Some(label), false) => format!("the votes show that {label:?} is the most likely answer"),
        (None, _) => "the votes certify nothing, and nothing is claimed".to_owned(),
    };
    Check::unless_wrong("claim", holds, &wrong)
}

fn original(certificate: &Certificate) -> Check {
    let follows = round_down(certificate.picture.preprocessing.radius_original(certificate.radius));
    let wrong = Wrong::unless_equal("radius_original", &certificate.radius_original, &follows);
    let holds = format!("{follows} in the original picture follows from the radius and the resize");
    Check::unless_wrong("radius_original", holds, wrong.as_slice())
}

fn statement(certificate: &Certificate) -> Check {
    let wrong = Wrong::unless_equal("statement", &certificate.statement, &in_words(certificate));
    Check::unless_wrong("statement", "the words say what the numbers say", wrong.as_slice())
}
