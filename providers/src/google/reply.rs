//! From a reply to outcomes.

use std::collections::BTreeMap;

use super::errors;
use super::wire::{BatchReply, Entry, likelihood};
use crate::wire::{answered, by_status, for_all, glimpse, json, shorten, unit_score};
use crate::{Answer, Label, Outcome, Reply};

/// One outcome a picture.
pub(super) fn read(pictures: usize, reply: &Reply, safe_search: bool) -> Vec<Outcome> {
    let batch: BatchReply = match json(&reply.body) {
        Ok(batch) => batch,
        Err(problem) => return for_all(pictures, &by_status(reply, &problem)),
    };
    if let Some(error) = &batch.error {
        return for_all(pictures, &errors::of_call(error, reply));
    }
    if !reply.status.is_success() {
        return for_all(pictures, &by_status(reply, &glimpse(&reply.body)));
    }
    let entries = batch.responses.unwrap_or_default();
    if entries.len() != pictures {
        // Which picture an entry speaks of is known by its place alone.
        let reason = format!("{} entries for {pictures} pictures", entries.len());
        return for_all(pictures, &Outcome::Malformed { reason });
    }
    entries
        .into_iter()
        .map(|entry| one(entry, reply, safe_search).unwrap_or_else(|outcome| outcome))
        .collect()
}

fn one(entry: Entry, reply: &Reply, safe_search: bool) -> Result<Outcome, Outcome> {
    if let Some(error) = entry.error.as_ref().filter(|error| error.code != 0) {
        return Err(errors::of_entry(error, reply));
    }
    let mut labels = Vec::new();
    for entity in entry.label_annotations.unwrap_or_default() {
        if entity.description.is_empty() {
            return Err(Outcome::Malformed { reason: "a label annotation without a description".to_owned() });
        }
        let score = unit_score(&entity.description, entity.score, 1.0)?;
        let id = Some(entity.mid).filter(|mid| !mid.is_empty());
        labels.push(Label { name: entity.description, score: Some(score), id });
    }
    let levels = match entry.safe_search_annotation {
        Some(found) => found
            .categories()
            .into_iter()
            .map(|(category, value)| {
                let step = likelihood(value.as_ref()).ok_or_else(|| Outcome::Unusable {
                    reason: format!(
                        "`{category}` is {}, which is no step of the scale",
                        shorten(&value.unwrap_or_default().to_string())
                    ),
                })?;
                Ok((category.to_owned(), step))
            })
            .collect::<Result<BTreeMap<_, _>, Outcome>>()?,
        None if safe_search => {
            return Err(Outcome::Malformed {
                reason: "no safeSearchAnnotation, which was asked for".to_owned(),
            });
        }
        None => BTreeMap::new(),
    };
    Ok(answered(reply, Answer { labels, levels, ..Answer::default() }))
}

/// Was the call refused for the size of all pictures together?
pub(super) fn too_large_together(reply: &Reply) -> bool {
    reply.status == http::StatusCode::PAYLOAD_TOO_LARGE
        || json::<BatchReply>(&reply.body)
            .ok()
            .and_then(|batch| batch.error)
            .is_some_and(|error| errors::is_about_size(&error.message.to_ascii_lowercase()))
}
