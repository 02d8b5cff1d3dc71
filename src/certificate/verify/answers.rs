//! The answers on record, put to the question again.

use serde_json::Value;
use smoothgate_providers::Outcome;

use super::check::{Check, Wrong, clip};
use super::settings;
use super::test::field;
use crate::certificate::{Certificate, Claim};
use crate::engine;
use crate::ledger::StoredPicture;
use crate::question::{Question, normalise};
use crate::stats::Vote;

/// What a ledger holds of one picture of one run.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// The seed of the picture's draws.
    pub seed: &'a [u8; 32],
    /// What the run was begun with: [`certifier::parameters`](crate::certifier::parameters).
    pub parameters: &'a Value,
    /// What came of the draws.
    pub stored: &'a StoredPicture,
}

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

pub(super) fn check(certificate: &Certificate, on_record: Option<Recorded<'_>>) -> Check {
    const NAME: &str = "ledger";
    let Some(Recorded { seed, parameters, stored }) = on_record else {
        let says = "the ledger has no draws of this seed on this picture";
        return Check::fails(NAME, says, ["noise.seed", "picture.hash"]);
    };
    let mut wrong = settings::differences(certificate, parameters);
    if certificate.noise.seed.as_bytes() != seed {
        wrong.push(Wrong::new("noise.seed", "the ledger has another seed for this picture"));
    }
    if stored.redacted {
        // Of another run's answers it does not matter that they are gone.
        return if wrong.is_empty() {
            let says = "the ledger kept no answers: they were overwritten with the certificate";
            Check::not_checked(NAME, says)
        } else {
            Check::unless_wrong(NAME, "", &wrong)
        };
    }
    wrong.extend(fixed_labels(certificate, stored));
    wrong.extend(draws(certificate, stored));
    let mut at = 0;
    for (_, claims) in certificate.questions() {
        for claim in claims {
            wrong.extend(votes(at, claim, stored));
            at += 1;
        }
    }
    wrong.truncate(MOST);
    let holds = match certificate.claims.as_slice() {
        [one] => format!(
            "the run on record was begun with these settings, and each of the {} votes is what its answer on record says",
            one.votes.len()
        ),
        _ => format!(
            "the run on record was begun with these settings, and the votes of each of the {} draws are what its answer on \
             record says",
            certificate.draws()
        ),
    };
    Check::unless_wrong(NAME, holds, &wrong)
}

/// Labels that the clean answer fixed, and their order, are those that the clean answer on record fixes.
fn fixed_labels(certificate: &Certificate, stored: &StoredPicture) -> Vec<Wrong> {
    let (mut wrong, mut at) = (Vec::new(), 0);
    for (asked, claims) in certificate.questions() {
        let first = at;
        at += claims.len();
        if !asked.asks_clean() {
            continue;
        }
        let Some(clean) = &stored.clean else {
            let says = format!("the ledger has no outcome about the clean picture, which `{asked}` asks for");
            wrong.push(Wrong::new(field(first, "question"), clip(says)));
            continue;
        };
        let stated: Vec<&Question> = claims.iter().map(|claim| &claim.question).collect();
        match engine::about(&asked, &clean.outcome) {
            Ok(follow) if follow.iter().collect::<Vec<_>>() == stated => {}
            Ok(follow) => {
                let differs = (0..stated.len().max(follow.len()))
                    .find(|&n| stated.get(n).copied() != follow.get(n))
                    .unwrap_or_default();
                let says = match (stated.get(differs), follow.get(differs)) {
                    (Some(stated), Some(follows)) => {
                        format!("the clean answer on record asks `{follows}`, not `{stated}`")
                    }
                    (Some(stated), None) => format!("the clean answer on record does not ask `{stated}`"),
                    (None, Some(follows)) => {
                        format!("the clean answer on record asks `{follows}` too, which is left out")
                    }
                    (None, None) => continue,
                };
                let place = first + differs.min(claims.len() - 1);
                wrong.push(Wrong::new(field(place, "question"), clip(says)));
            }
            Err(reason) if claims.iter().all(|claim| claim.abstained == Some(reason)) => {}
            Err(_) => {
                let says = format!("the ledger has no clean answer that asks `{}`", claims[0].question);
                wrong.push(Wrong::new(field(first, "question"), clip(says)));
            }
        }
    }
    wrong
}

/// Model and copies of the draws.
fn draws(certificate: &Certificate, stored: &StoredPicture) -> Vec<Wrong> {
    let clean = stored.clean.iter().filter(|_| certificate.asked_clean());
    let draws = (0..certificate.draws()).filter_map(|draw| stored.draws.get(&draw));
    let mut copies = blake3::Hasher::new();
    draws.clone().for_each(|settled| _ = copies.update(&settled.copy));
    let mut versions = Vec::new();
    for settled in clean.chain(draws) {
        if let Outcome::Answered(answer) = &settled.outcome
            && !answer.from_cache
            && !versions.contains(&answer.model_version)
        {
            versions.push(answer.model_version.clone());
        }
    }
    let versions: Vec<String> = versions.into_iter().flatten().collect();
    let copies = copies.finalize().to_hex().to_string();
    // Where a draw is missing, that is said, and its copy cannot be among them.
    let complete = (0..certificate.draws()).all(|draw| stored.draws.contains_key(&draw));
    [
        Wrong::unless_equal("model_versions", &certificate.model_versions, &versions),
        Wrong::unless_equal("copies", &certificate.copies, &copies).filter(|_| complete),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Every vote of a claim is what the question makes of the outcome on record.
fn votes(at: usize, claim: &Claim, stored: &StoredPicture) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let mut classes = claim.question.classes().0;
    for (index, &stated) in claim.votes.iter().enumerate() {
        let place = || field(at, &format!("votes[{index}]"));
        let Some(settled) = stored.draws.get(&(index as u64)) else {
            wrong.push(Wrong::new(place(), format!("the ledger has no outcome for draw {index}")));
            continue;
        };
        let follows = engine::vote(&claim.question, &mut classes, &settled.outcome);
        // By name: one other label would number all those after it anew.
        let follows = named(follows, classes.spellings());
        let stated = named(stated.into(), &claim.labels);
        if follows != stated {
            let says = format!("vote {index} is {stated}, and the answer on record votes {follows}");
            wrong.push(Wrong::new(place(), clip(says)));
        }
    }
    if wrong.is_empty() {
        let labels = claim.labels.as_slice();
        wrong.extend(Wrong::unless_equal(&field(at, "labels"), &labels, &classes.spellings()));
    }
    wrong
}
