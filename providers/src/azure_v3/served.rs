//! Computer Vision 3.2 as a server.

use bytes::Bytes;
use http::{Method, Response};
use serde_json::{Map, json};

use super::{CATEGORIES, LIMITS};
use crate::azure::{self, picture};
use crate::served::{
    Asked, Call, Feature, FileKind, Found, Incoming, Inquiry, Mark, Presented, Refusal, RefusalClass,
    ServedApi, json_reply, result_of, with_header,
};
use crate::{Label, Limits};

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
                let label = labels.iter().find(|label| category(label) == Some(decision));
                adult.insert(decision.to_owned(), label.is_some().into());
                adult.insert(score.to_owned(), label.and_then(|label| label.score).unwrap_or(0.0).into());
            }
            body["adult"] = adult.into();
        }
        with_header(json_reply(200, JSON, &body), "apim-request-id", &mark.request_id)
    }

    fn refuse(&self, refusal: &Refusal, mark: &Mark) -> Response<Bytes> {
        azure::refusal_reply(refusal, mark)
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
