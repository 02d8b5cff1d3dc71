//! The votes, through the tests in index order.

use std::collections::HashSet;

use super::check::{Check, Wrong};
use super::test::field;
use crate::certificate::{Certificate, Claim};
use crate::engine::CastVote;
use crate::question::{Question, normalise};
use crate::stats::{Decision, Joint, Reason, Sharing, Test, Vote};

const NAME: &str = "votes";

/// The check on the votes, and the decision on each claim that they lead to.
pub(super) fn replay(certificate: &Certificate, tests: &[Test]) -> (Check, Vec<Decision>) {
    let claims = &certificate.claims;
    let mut wrong: Vec<Wrong> = claims.iter().enumerate().flat_map(|(at, claim)| labels(at, claim)).collect();
    let mut joint = match start(certificate, tests) {
        Ok(joint) => joint,
        Err(failed) => return (failed, Vec::new()),
    };
    for index in 0..certificate.draws() as usize {
        for (at, claim) in claims.iter().enumerate() {
            if claim.votes.len() > index && !joint.counts(at) {
                let says = format!(
                    "the test of claim {at} decided at vote {index} of {}: the {} after it are no evidence and must not be \
                     there",
                    claim.votes.len(),
                    claim.votes.len() - index
                );
                wrong.push(Wrong::new(field(at, &format!("votes[{index}]")), says));
                return (Check::unless_wrong(NAME, "", &wrong), decisions(&joint));
            }
            if claim.votes.len() <= index && joint.counts(at) {
                // Said below, where it is seen that the claim is not decided.
                return (undecided(certificate, &joint, wrong), decisions(&joint));
            }
        }
        joint.push(|at| claims[at].votes.get(index).map_or(Vote::Failed, |&vote| vote.into()));
    }
    if !joint.is_final() {
        return (undecided(certificate, &joint, wrong), decisions(&joint));
    }
    let votes = certificate.draws();
    let holds = match claims.as_slice() {
        [_] => format!("{votes} votes in index order, decided by the last and not before"),
        _ => format!(
            "votes of {votes} draws in index order, each claim decided by its last vote and not before, and all by the last"
        ),
    };
    (Check::unless_wrong(NAME, holds, &wrong), decisions(&joint))
}

fn decisions(joint: &Joint) -> Vec<Decision> {
    (0..joint.len()).map(|at| joint.decision(at)).collect()
}

/// The tests before the first vote, as the questions order them.
fn start(certificate: &Certificate, tests: &[Test]) -> Result<Joint, Check> {
    let mut joint = Joint::new();
    for (_, claims) in certificate.questions() {
        for (n, claim) in claims.iter().enumerate() {
            let at = joint.len();
            if let Some(reason) = nothing_to_ask(claim) {
                joint.add_abstained(reason);
                continue;
            }
            let fixed = claim.question.classes().1;
            let follows = n > 0 && claim.question.sharing() == Sharing::Sequence;
            let added = joint.add(&tests[at], fixed, follows);
            added.map_err(|error| Check::fails(NAME, error.to_string(), [field(at, "test.label")]))?;
        }
    }
    Ok(joint)
}

/// Why a claim has no votes: it asks about labels of the clean answer, and names none.
fn nothing_to_ask(claim: &Claim) -> Option<Reason> {
    let asks_for_a_label = claim.question.asks_clean() && claim.question.fixed_label().is_none();
    asks_for_a_label.then_some(match claim.abstained {
        Some(Reason::NoCleanAnswer) => Reason::NoCleanAnswer,
        _ => Reason::NoCleanLabel,
    })
}

fn undecided(certificate: &Certificate, joint: &Joint, mut wrong: Vec<Wrong>) -> Check {
    for (at, claim) in certificate.claims.iter().enumerate() {
        if joint.counts(at) {
            let says = format!(
                "{} votes do not decide claim {at}: more are missing, and there is no verdict without them",
                claim.votes.len()
            );
            wrong.push(Wrong::new(field(at, "votes"), says));
        }
    }
    Check::unless_wrong(NAME, "", &wrong)
}

/// The labels are those of the votes, numbered in order of first appearance.
fn labels(at: usize, claim: &Claim) -> Vec<Wrong> {
    let (labels, question) = (&claim.labels, &claim.question);
    let mut wrong = Vec::new();
    let mut met = HashSet::new();
    for (index, label) in labels.iter().enumerate() {
        let field = field(at, &format!("labels[{index}]"));
        if !met.insert(normalise(label)) {
            wrong.push(Wrong::new(&field, format!("`{field}`, {label:?}, is a label that stands before it")));
        }
        if let Question::Map(map) = question
            && !map.classes().contains(label)
        {
            wrong
                .push(Wrong::new(&field, format!("`{field}`, {label:?}, is no class of the question's map")));
        }
    }
    // A question that fixes its label numbers it before the first vote.
    let mut next = 0;
    if let Some(fixed) = question.fixed_label() {
        next = 1;
        if labels.as_slice() != [fixed] {
            wrong.push(Wrong::new(field(at, "labels"), format!("the question fixes one label, {fixed:?}")));
        }
    }
    for (index, vote) in claim.votes.iter().enumerate() {
        match *vote {
            CastVote::For(label) if label > next || label >= labels.len() => {
                let says =
                    format!("vote {index} is for label number {label}, which no vote before it introduces");
                wrong.push(Wrong::new(field(at, &format!("votes[{index}]")), says));
                return wrong;
            }
            CastVote::For(label) => next = next.max(label + 1),
            CastVote::Against(_) => {}
        }
    }
    if next < labels.len() {
        let says = format!("`labels` has {} labels, of which only {next} got votes", labels.len());
        wrong.push(Wrong::new(field(at, "labels"), says));
    }
    wrong
}
