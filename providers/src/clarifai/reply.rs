//! From a reply to outcomes.

use super::codes;
use super::wire::{Output, ReplyIn, Status};
use crate::wire::{answered, by_status, for_all, glimpse, json, shorten, unit_score};
use crate::{Answer, Label, Outcome, Reply};

/// One outcome a picture.
pub(super) fn read(pictures: usize, reply: &Reply) -> Vec<Outcome> {
    let body: ReplyIn = match json(&reply.body) {
        Ok(body) => body,
        Err(problem) => return for_all(pictures, &by_status(reply, &problem)),
    };
    let Some(status) = &body.status else {
        return for_all(pictures, &by_status(reply, &format!("no `status` in {}", glimpse(&reply.body))));
    };
    let outputs = body.outputs.unwrap_or_default();
    match status.code {
        codes::SUCCESS | codes::MIXED_STATUS if outputs.len() != pictures => {
            // Which picture an output speaks of is known by its place alone.
            let reason = format!("{} outputs for {pictures} pictures", outputs.len());
            for_all(pictures, &Outcome::Malformed { reason })
        }
        codes::SUCCESS | codes::MIXED_STATUS => {
            outputs.into_iter().map(|output| one(output, reply).unwrap_or_else(|failure| failure)).collect()
        }
        codes::FAILURE if pictures > 1 => {
            // Every picture is said to have failed, the good ones under codes that are not theirs.
            let reason = format!("the batch failed as a whole: {}", words(status));
            for_all(pictures, &Outcome::Transient { reason })
        }
        code => {
            // With one picture its own status is the more precise.
            let own = outputs.first().and_then(|output| output.status.as_ref());
            let own = own.filter(|own| pictures == 1 && own.code != codes::SUCCESS && own.code != 0);
            let (code, words) = own.map_or((code, words(status)), |own| (own.code, self::words(own)));
            for_all(pictures, &codes::outcome(code, words, reply))
        }
    }
}

fn one(output: Output, reply: &Reply) -> Result<Outcome, Outcome> {
    let Some(status) = output.status.filter(|status| status.code != 0) else {
        return Err(Outcome::Malformed { reason: "an output without a status".to_owned() });
    };
    if status.code != codes::SUCCESS {
        return Err(codes::outcome(status.code, words(&status), reply));
    }
    let concepts = output.data.and_then(|data| data.concepts).unwrap_or_default();
    let labels = concepts
        .into_iter()
        .map(|concept| {
            let name = if concept.name.is_empty() { concept.id.clone() } else { concept.name };
            if name.is_empty() {
                return Err(Outcome::Malformed { reason: "a concept without a name".to_owned() });
            }
            let score = Some(unit_score(&name, concept.value, 1.0)?);
            Ok(Label { name, score, id: Some(concept.id).filter(|id| !id.is_empty()) })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let version = output.model.and_then(|model| model.model_version).map(|version| version.id);
    let model_version = version.filter(|version| !version.is_empty());
    Ok(answered(reply, Answer { labels, model_version, ..Answer::default() }))
}

fn words(status: &Status) -> String {
    let Status { code, description, details } = status;
    let clean = |text: &Option<String>| shorten(text.as_deref().unwrap_or_default());
    match (clean(description), clean(details)) {
        (description, details) if details.is_empty() => format!("status {code}: {description}"),
        (description, details) => format!("status {code}: {description}, {details}"),
    }
}

/// Did the call fail because of what its pictures are together?
pub(super) fn blames_the_batch(reply: &Reply) -> bool {
    reply.status == http::StatusCode::PAYLOAD_TOO_LARGE
        || json::<ReplyIn>(&reply.body)
            .ok()
            .and_then(|body| body.status)
            .is_some_and(|status| codes::blames_the_batch(status.code))
}
