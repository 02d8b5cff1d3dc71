//! The votes, through the test in index order.

use std::collections::HashSet;

use super::check::{Check, Wrong};
use crate::certificate::Certificate;
use crate::engine::CastVote;
use crate::question::{Question, normalise};
use crate::stats::{Decision, Test};

const NAME: &str = "votes";

/// The check on the votes, and the decision that they lead to.
pub(super) fn replay(certificate: &Certificate, test: &Test) -> (Check, Decision) {
    let mut wrong = labels(certificate);
    let fixed = certificate.question.classes().1;
    let mut run = match test.start(fixed) {
        Ok(run) => run,
        Err(error) => return (Check::fails(NAME, error.to_string(), ["test.label"]), Decision::Continue),
    };
    let votes = &certificate.votes;
    for (index, &vote) in votes.iter().enumerate() {
        if run.push(vote.into()).is_final() && index + 1 < votes.len() {
            let says = format!(
                "the test decided at vote {} of {}: the {} after it are no evidence and must not be there",
                index + 1,
                votes.len(),
                votes.len() - index - 1
            );
            wrong.push(Wrong::new(format!("votes[{}]", index + 1), says));
            break;
        }
    }
    let decision = run.decision();
    if !decision.is_final() {
        let says = format!(
            "{} votes decide nothing: at least {} more are missing, and there is no verdict without them",
            votes.len(),
            run.needed()
        );
        wrong.push(Wrong::new("votes", says));
    }
    let holds = format!("{} votes in index order, decided by the last and not before", votes.len());
    (Check::unless_wrong(NAME, holds, &wrong), decision)
}

/// The labels are those of the votes, numbered in order of first appearance.
fn labels(certificate: &Certificate) -> Vec<Wrong> {
    let (labels, question) = (&certificate.labels, &certificate.question);
    let mut wrong = Vec::new();
    let mut met = HashSet::new();
    for (index, label) in labels.iter().enumerate() {
        let field = format!("labels[{index}]");
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
            wrong.push(Wrong::new("labels", format!("the question fixes one label, {fixed:?}")));
        }
    }
    for (index, vote) in certificate.votes.iter().enumerate() {
        match *vote {
            CastVote::For(label) if label > next || label >= labels.len() => {
                let says =
                    format!("vote {index} is for label number {label}, which no vote before it introduces");
                wrong.push(Wrong::new(format!("votes[{index}]"), says));
                return wrong;
            }
            CastVote::For(label) => next = next.max(label + 1),
            CastVote::Against(_) => {}
        }
    }
    if next < labels.len() {
        let says = format!("`labels` has {} labels, of which only {next} got votes", labels.len());
        wrong.push(Wrong::new("labels", says));
    }
    wrong
}
