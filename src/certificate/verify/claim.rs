//! The claims, from the decisions.

use super::check::{Check, Wrong};
use super::test::field;
use crate::certificate::claim::{Conclusion, in_words};
use crate::certificate::{Certificate, Claim};
use crate::stats::{Decision, round_down};

/// Relative difference of two bounds that are the same but for the last bits of two machines' logarithms. The radius is
/// rounded down by far more than that.
const SAME_BOUND: f64 = 1e-11;

pub(super) fn checks(certificate: &Certificate, decisions: &[Decision]) -> [Check; 3] {
    [claims(certificate, decisions), original(certificate), statement(certificate)]
}

fn claims(certificate: &Certificate, decisions: &[Decision]) -> Check {
    let mut wrong = Vec::new();
    for (at, claim) in certificate.claims.iter().enumerate() {
        let decision = decisions.get(at).copied().unwrap_or(Decision::Continue);
        wrong.extend(differs(at, claim, &Conclusion::of(&decision, &claim.test.method)));
    }
    let certified = certificate.certified();
    let shown = certificate.claims.iter().filter(|claim| claim.label.is_some()).count();
    let holds = match (certificate.claims.as_slice(), certified.as_slice()) {
        ([_], [one]) => format!("the votes certify {:?} with radius {}", one.label, one.radius),
        ([Claim { label: Some(label), .. }], []) => {
            format!("the votes show that {label:?} is the most likely answer")
        }
        ([_], _) => "the votes certify nothing, and nothing is claimed".to_owned(),
        (claims, certified) => format!(
            "of {} claims the votes certify {}, show {} more, and leave {} without an answer, as stated",
            claims.len(),
            certified.len(),
            shown - certified.len(),
            claims.len() - shown
        ),
    };
    Check::unless_wrong("claim", holds, &wrong)
}

/// What a claim says that does not follow.
fn differs(at: usize, claim: &Claim, follows: &Conclusion) -> Vec<Wrong> {
    let label = follows.class.and_then(|class| claim.labels.get(class)).cloned();
    let mut wrong: Vec<Wrong> = [
        Wrong::unless_equal(&field(at, "outcome"), &claim.outcome, &follows.outcome),
        Wrong::unless_equal(&field(at, "label"), &claim.label, &label),
        Wrong::unless_equal(&field(at, "radius"), &claim.radius, &follows.radius),
        Wrong::unless_equal(&field(at, "abstained"), &claim.abstained, &follows.abstained),
    ]
    .into_iter()
    .flatten()
    .collect();
    let same = match (claim.p_lower, follows.p_lower) {
        (Some(stated), Some(follows)) => (stated - follows).abs() <= SAME_BOUND * follows,
        (stated, follows) => stated == follows,
    };
    if !same {
        wrong.extend(Wrong::unless_equal(&field(at, "p_lower"), &claim.p_lower, &follows.p_lower));
    }
    wrong
}

fn original(certificate: &Certificate) -> Check {
    let preprocessing = &certificate.picture.preprocessing;
    let wrong: Vec<Wrong> = certificate
        .claims
        .iter()
        .enumerate()
        .filter_map(|(at, claim)| {
            let follows = round_down(preprocessing.radius_original(claim.radius));
            Wrong::unless_equal(&field(at, "radius_original"), &claim.radius_original, &follows)
        })
        .collect();
    let holds = match certificate.claims.as_slice() {
        [one] => {
            format!("{} in the original picture follows from the radius and the resize", one.radius_original)
        }
        _ => "the radii in the original picture follow from those of the claims and the resize".to_owned(),
    };
    Check::unless_wrong("radius_original", holds, &wrong)
}

fn statement(certificate: &Certificate) -> Check {
    let wrong = Wrong::unless_equal("statement", &certificate.statement, &in_words(certificate));
    Check::unless_wrong("statement", "the words say what the numbers say", wrong.as_slice())
}
