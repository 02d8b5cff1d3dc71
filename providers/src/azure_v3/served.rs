//! Computer Vision 3.2 as a server.

use bytes::Bytes;
use http::{Method, Response};
use serde_json::{Map, json};

use super::{CATEGORIES, LEVELS, LIMITS};
use crate::azure::{self, picture};
use crate::served::{
    Asked, Call, Feature, FileKind, Found, Incoming, Inquiry, Mark, Presented, Refusal, RefusalClass,
    ServedApi, json_reply, result_of, with_header,
};
use crate::{Answer, Label, Likelihood, Limits};

const JSON: &str = "application/json; charset=utf-8";

/// The wire format of Computer Vision 3.2 on the server's side.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServedAzureV3;

impl ServedApi for ServedAzureV3 {
    fn name(&self) -> &'static str {
        "azure-v3"
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    fn kinds(&self) -> &'static [FileKind] {
        &[FileKind::Jpeg, FileKind::Png, FileKind::Gif, FileKind::Bmp]
    }

    fn recognises(&self, incoming: &Incoming<'_>) -> bool {
        ["analyze", "tag"].iter().any(|operation| incoming.ends_with(&["vision", "v3.2", operation]))
    }

    fn credential(&self, incoming: &Incoming<'_>) -> Option<Presented> {
        azure::ServedAzure.credential(incoming)
    }

    fn decode(&self, incoming: &Incoming<'_>) -> Result<Call, Refusal> {
        if !self.recognises(incoming) {
            return Err(Refusal::new(RefusalClass::NotFound, "Resource not found"));
        }
        incoming.only(&Method::POST)?;
        let pairs = incoming.pairs();
        let features = if incoming.ends_with(&["tag"]) {
            vec![Feature::Labels]
        } else {
            features(pairs.get("visualFeatures").unwrap_or_default())?
        };
        if pairs.get("details").is_some_and(|details| !details.is_empty()) {
            return Err(Refusal::unsupported("details: domain-specific models are not served here"));
        }
        azure::english_only(pairs.get("language"))?;
        let model = azure::model_version(pairs.get("model-version"))?;
        let pictures = vec![Asked { features, ..Asked::labels(picture(incoming)?) }];
        Ok(Call::Inquiry(Inquiry { model, ..Inquiry::about(pictures) }))
    }

    fn encode(&self, inquiry: &Inquiry, results: &[Result<Found, Refusal>], mark: &Mark) -> Response<Bytes> {
        let (asked, found) = match (inquiry.pictures.first(), result_of(results, 0)) {
            (Some(asked), Ok(found)) => (asked, found),
            (_, Err(refusal)) => return self.refuse(&refusal, mark),
            (None, _) => return self.refuse(&Refusal::bad_request("no picture"), mark),
        };
        let labels = &found.answer.labels;
        let mut body = json!({
            "requestId": mark.request_id,
            "metadata": {
                "width": found.width,
                "height": found.height,
                "format": found.kind.map_or("Unknown", format_name),
            },
            "modelVersion": found.answer.model_version.as_deref().unwrap_or("unknown"),
        });
        if asked.wants(Feature::Labels) {
            let tag = |label: &Label| json!({ "name": label.name, "confidence": label.score.unwrap_or(0.0) });
            body["tags"] = labels.iter().filter(|label| category(label).is_none()).map(tag).collect();
        }
        if asked.wants(Feature::Moderation) {
            let mut adult = Map::new();
            for (decision, score, _) in CATEGORIES {
                let (yes, value) = decided(&found.answer, decision);
                // The API itself decides everything.
                if !yes && inquiry.only_certain {
                    continue;
                }
                adult.insert(decision.to_owned(), yes.into());
                adult.insert(score.to_owned(), value.unwrap_or(0.0).into());
            }
            body["adult"] = adult.into();
        }
        with_header(json_reply(200, JSON, &body), "apim-request-id", &mark.request_id)
    }

    fn refuse(&self, refusal: &Refusal, mark: &Mark) -> Response<Bytes> {
        azure::refusal_reply(refusal, mark)
    }

    /// A decision is yes or no: where none is yes, all are no.
    fn denies(&self, asked: &Asked, answer: &Answer) -> bool {
        let yes = |(decision, ..): &(&str, &str, &str)| decided(answer, decision).0;
        asked.wants(Feature::Moderation) && !CATEGORIES.iter().any(yes)
    }
}

fn features(list: &str) -> Result<Vec<Feature>, Refusal> {
    let feature = |name: &str| match name.trim().to_ascii_lowercase().as_str() {
        "tags" => Ok(Feature::Labels),
        "adult" => Ok(Feature::Moderation),
        other => Err(Refusal::unsupported(format!(
            "visualFeatures: `{}` is not served here, only Tags and Adult",
            crate::wire::shorten(other)
        ))),
    };
    if list.is_empty() {
        return Err(Refusal::unsupported(
            "visualFeatures: the default, Categories, is not served here; ask for Tags or Adult",
        ));
    }
    list.split(',').map(feature).collect()
}

/// The decision that a label stands for.
fn category(label: &Label) -> Option<&'static str> {
    CATEGORIES
        .into_iter()
        .find(|(decision, _, name)| label.id.as_deref() == Some(decision) || label.name == *name)
        .map(|(decision, ..)| decision)
}

/// A decision with its score, where one is known: by the label that stands for it, or by the highest of the levels of its categories. No
/// where neither is there.
fn decided(answer: &Answer, decision: &str) -> (bool, Option<f64>) {
    if let Some(label) = answer.labels.iter().find(|label| category(label) == Some(decision)) {
        return (true, label.score);
    }
    let names = LEVELS.into_iter().find(|(of, _)| *of == decision).map_or(&[][..], |(_, names)| names);
    let levels = names.iter().filter_map(|name| Some((name, answer.levels.get(*name)?)));
    let Some((name, level)) = levels.max_by_key(|(_, level)| *level) else { return (false, None) };
    // Of a certified level there is a label of the same name, with its score.
    let of_level = answer.labels.iter().find(|label| label.id.as_deref() == Some(*name));
    (*level >= Likelihood::Possible, of_level.and_then(|label| label.score))
}

/// The format's name as the service writes it.
fn format_name(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Jpeg => "Jpeg",
        FileKind::Png => "Png",
        FileKind::Gif => "Gif",
        FileKind::Bmp => "Bmp",
        other => other.name(),
    }
}
