//! The answers on record, put to the question again.

use smoothgate_providers::Outcome;

use super::check::{Check, Wrong, clip};
use crate::certificate::Certificate;
use crate::engine;
use crate::ledger::StoredPicture;
use crate::question::{Question, normalise};
use crate::stats::Vote;

/// What a vote is for, in words.
fn named(vote: Vote, labels: &[String]) -> String {
    match vote {
        Vote::For(label) => match labels.get(label) {
            Some(label) => format!("for {:?}", normalise(label)),
            None => format!("for label number {label}"),
        },
        Vote::NoLabel => "for no label".to_owned(),
        Vote::Failed => "failed".to_owned(),
    }
}

/// More differences than this are not listed.
const MOST: usize = 20;

pub(super) fn check(certificate: &Certificate, on_record: Option<(&[u8; 32], &StoredPicture)>) -> Check {
    const NAME: &str = "ledger";
    let Some((seed, stored)) = on_record else {
        let says = "the ledger has no draws of this seed on this picture";
        return Check::fails(NAME, says, ["noise.seed", "picture.hash"]);
    };
    if stored.redacted {
        return Check::not_checked(
            NAME,
            "the ledger kept no answers: they were overwritten with the certificate",
        );
    }
    let mut wrong = Vec::new();
    if certificate.noise.seed.as_bytes() != seed {
        wrong.push(Wrong::new("noise.seed", "the ledger has another seed for this picture"));
    }
    let question = &certificate.question;
    wrong.extend(clean(question, stored));
    let mut classes = question.classes().0;
    let mut copies = blake3::Hasher::new();
    let mut versions = Vec::new();
    if let Question::CleanTop(_) = question {
        // What fixed the label before the votes.
        let clean = match stored.clean.as_ref().map(|settled| &settled.outcome) {
            Some(Outcome::Answered(answer)) => Some(answer),
            _ => None,
        };
        versions.extend(clean.map(|answer| answer.model_version.clone()));
        if clean.and_then(|answer| Question::CleanTop(None).about_clean(answer)).as_ref() != Some(question) {
            let says = "the answer on record about the picture without noise does not give this label";
            wrong.push(Wrong::new("question", says));
        }
    }
    for (index, &stated) in certificate.votes.iter().enumerate() {
        let Some(settled) = stored.draws.get(&(index as u64)) else {
            wrong.push(Wrong::new(
                format!("votes[{index}]"),
                format!("the ledger has no outcome for draw {index}"),
            ));
            continue;
        };
        copies.update(&settled.copy);
        if let Outcome::Answered(answer) = &settled.outcome
            && !answer.from_cache
            && !versions.contains(&answer.model_version)
        {
            versions.push(answer.model_version.clone());
        }
        let follows = engine::vote(question, &mut classes, &settled.outcome);
        // By name: one other label would number all those after it anew.
        let follows = named(follows, classes.spellings());
        let stated = named(stated.into(), &certificate.labels);
        if follows != stated {
            let says = format!("vote {index} is {stated}, and the answer on record votes {follows}");
            wrong.push(Wrong::new(format!("votes[{index}]"), clip(says)));
        }
    }
    wrong.truncate(MOST);
    if wrong.is_empty() {
        let versions: Vec<String> = versions.into_iter().flatten().collect();
        let copies = copies.finalize().to_hex().to_string();
        wrong.extend(Wrong::unless_equal("labels", &certificate.labels.as_slice(), &classes.spellings()));
        wrong.extend(Wrong::unless_equal("model_versions", &certificate.model_versions, &versions));
        wrong.extend(Wrong::unless_equal("copies", &certificate.copies, &copies));
    }
    let holds = format!("each of the {} votes is what its answer on record says", certificate.votes.len());
    Check::unless_wrong(NAME, holds, &wrong)
}

/// A label that the clean answer fixed is the one that the clean answer on record fixes.
fn clean(question: &Question, stored: &StoredPicture) -> Option<Wrong> {
    if !matches!(question, Question::CleanTop(_)) {
        return None;
    }
    let answered = stored.clean.as_ref().and_then(|settled| match &settled.outcome {
        Outcome::Answered(answer) => Question::CleanTop(None).about_clean(answer),
        _ => None,
    });
    let says = match answered {
        Some(fixed) if fixed == *question => return None,
        Some(fixed) => format!("the clean answer on record asks `{fixed}`, not `{question}`"),
        None => format!("the ledger has no clean answer that asks `{question}`"),
    };
    Some(Wrong::new("question", clip(says)))
}
