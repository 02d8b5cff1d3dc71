//! Amazon Rekognition as a server.

use bytes::Bytes;
use http::{Method, Response};
use serde_json::json;

use super::wire::{
    FiltersIn, ImageIn, LabelOut, LabelsOut, ModerationLabelOut, ModerationOut, ObjectIn, RequestIn,
    SettingsIn,
};
use super::{AMZ_JSON, LIMITS};
use crate::Limits;
use crate::served::{
    Asked, Call, Feature, FileKind, Found, Incoming, Inquiry, Mark, Presented, Refusal, RefusalClass,
    ServedApi, Source, json_reply, result_of, with_header, with_pause,
};
use crate::wire::decode_base64;

/// The wire format of Rekognition on the server's side.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServedAws;

impl ServedApi for ServedAws {
    fn name(&self) -> &'static str {
        "aws"
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    fn kinds(&self) -> &'static [FileKind] {
        &[FileKind::Jpeg, FileKind::Png]
    }

    fn recognises(&self, incoming: &Incoming<'_>) -> bool {
        incoming.header("x-amz-target").is_some_and(|target| target.starts_with("RekognitionService."))
    }

    fn credential(&self, incoming: &Incoming<'_>) -> Option<Presented> {
        incoming.authorization("AWS4-HMAC-SHA256").map(|_| Presented::SigV4)
    }

    fn decode(&self, incoming: &Incoming<'_>) -> Result<Call, Refusal> {
        incoming.only(&Method::POST)?;
        let feature = match incoming.header("x-amz-target") {
            Some("RekognitionService.DetectLabels") => Feature::Labels,
            Some("RekognitionService.DetectModerationLabels") => Feature::Moderation,
            _ => {
                return Err(Refusal::new(
                    RefusalClass::NotFound,
                    "only DetectLabels and DetectModerationLabels are served here",
                ));
            }
        };
        if incoming.media_type().is_some_and(|media| media != AMZ_JSON) {
            return Err(Refusal::new(
                RefusalClass::UnsupportedMediaType,
                format!("Content-Type must be {AMZ_JSON}"),
            ));
        }
        let request: RequestIn = incoming.json()?;
        refuse_other_features(&request)?;
        let image = request.image.ok_or_else(|| Refusal::bad_request("Image is missing"))?;
        let mut asked = Asked { features: vec![feature], ..Asked::labels(source(image)?) };
        let default = match feature {
            Feature::Labels => 55.0,
            Feature::Moderation => 50.0,
        };
        let least = request.min_confidence.unwrap_or(default);
        if !(0.0..=100.0).contains(&least) {
            return Err(Refusal::bad_request("MinConfidence must be from 0 to 100"));
        }
        asked.least = Some(least / 100.0);
        if feature == Feature::Labels {
            let most = usize::try_from(request.max_labels.unwrap_or(1000))
                .map_err(|_| Refusal::bad_request("MaxLabels must not be negative"))?;
            asked.most = Some(most.min(1000));
            let filters = request.settings.and_then(|settings| settings.general_labels).unwrap_or_default();
            asked.only = filters.only;
            asked.without = filters.without;
        }
        Ok(Call::Inquiry(Inquiry::about(vec![asked])))
    }

    fn encode(&self, inquiry: &Inquiry, results: &[Result<Found, Refusal>], mark: &Mark) -> Response<Bytes> {
        let (asked, found) = match (inquiry.pictures.first(), result_of(results, 0)) {
            (Some(asked), Ok(found)) => (asked, found),
            (_, Err(refusal)) => return self.refuse(&refusal, mark),
            (None, _) => return self.refuse(&Refusal::bad_request("Image is missing"), mark),
        };
        let version = found.answer.model_version.clone();
        let labels = asked.select(&found.answer).into_iter();
        let response = if asked.wants(Feature::Moderation) {
            let moderation_labels = labels
                .map(|label| ModerationLabelOut {
                    name: label.name.clone(),
                    confidence: label.score.map(percent),
                    parent_name: "",
                    taxonomy_level: 1,
                })
                .collect();
            let body =
                ModerationOut { moderation_labels, moderation_model_version: version, content_types: [] };
            json_reply(200, AMZ_JSON, &body)
        } else {
            let labels = labels
                .map(|label| LabelOut {
                    name: label.name.clone(),
                    confidence: label.score.map(percent),
                    instances: [],
                    parents: [],
                    aliases: [],
                    categories: [],
                })
                .collect();
            json_reply(200, AMZ_JSON, &LabelsOut { labels, label_model_version: version })
        };
        with_header(response, "x-amzn-requestid", &mark.request_id)
    }

    fn refuse(&self, refusal: &Refusal, mark: &Mark) -> Response<Bytes> {
        let (usual, status) = code(refusal.class);
        let name = refusal.aws_code.unwrap_or(usual);
        // botocore reads `__type` alone, the JavaScript SDK `Code` or the header as well.
        let body =
            json!({ "__type": name, "Code": name, "Message": refusal.message, "message": refusal.message });
        let response = json_reply(status, AMZ_JSON, &body);
        let response = with_header(response, "x-amzn-errortype", name);
        with_pause(with_header(response, "x-amzn-requestid", &mark.request_id), refusal)
    }
}

/// What would change the answer and is not offered.
fn refuse_other_features(request: &RequestIn) -> Result<(), Refusal> {
    for feature in request.features.iter().flatten() {
        if feature != "GENERAL_LABELS" {
            return Err(Refusal::unsupported("Features: only GENERAL_LABELS is served here"));
        }
    }
    if request.human_loop_config.is_some() {
        return Err(Refusal::unsupported("HumanLoopConfig is not served here"));
    }
    if request.project_version.is_some() {
        return Err(Refusal::unsupported("ProjectVersion is not served here"));
    }
    let Some(SettingsIn { general_labels, image_properties }) = &request.settings else { return Ok(()) };
    if image_properties.is_some() {
        return Err(Refusal::unsupported("Settings.ImageProperties is not served here"));
    }
    let by_category =
        |filters: &FiltersIn| !filters.only_categories.is_empty() || !filters.without_categories.is_empty();
    if general_labels.as_ref().is_some_and(by_category) {
        return Err(Refusal::unsupported("Settings.GeneralLabels: filters by category are not served here"));
    }
    Ok(())
}

fn source(image: ImageIn) -> Result<Source, Refusal> {
    match (image.bytes, image.object) {
        (Some(text), None) => decode_base64(&text)
            .map(|bytes| Source::Bytes(bytes.into()))
            .ok_or_else(|| Refusal::bad_request("Image.Bytes is not base64")),
        (None, Some(ObjectIn { bucket: Some(bucket), name: Some(name), version })) => {
            Ok(Source::Object { bucket, name, version })
        }
        (None, Some(_)) => Err(Refusal::bad_request("Image.S3Object needs Bucket and Name")),
        (Some(_), Some(_)) => Err(Refusal::bad_request("Image has both Bytes and S3Object")),
        (None, None) => Err(Refusal::bad_request("Image has neither Bytes nor S3Object")),
    }
}

/// A score on the API's scale, in single precision widened to double, as the API prints it. So a score that was read
/// from the API and divided by 100 comes back as the same number.
fn percent(score: f64) -> f64 {
    f64::from((score * 100.0) as f32)
}

/// The error's name and its status.
fn code(class: RefusalClass) -> (&'static str, u16) {
    use RefusalClass as C;
    match class {
        C::BadRequest | C::PictureTooSmall => ("InvalidParameterException", 400),
        C::Unsupported => ("ValidationException", 400),
        C::NotFound | C::MethodNotAllowed => ("UnknownOperationException", 400),
        C::UnsupportedMediaType => ("SerializationException", 400),
        C::BadPicture => ("InvalidImageFormatException", 400),
        C::BodyTooLarge | C::PictureTooLarge => ("ImageTooLargeException", 400),
        C::PictureUnreachable => ("InvalidS3ObjectException", 400),
        C::Unauthenticated => ("InvalidSignatureException", 400),
        C::UnknownKey => ("UnrecognizedClientException", 400),
        C::Forbidden | C::QuotaSpent => ("AccessDeniedException", 400),
        C::Throttled => ("ThrottlingException", 400),
        C::Abstained => ("AbstainedException", 400),
        // A 500 and not a 503: the API documents no other.
        C::Unavailable | C::Internal => ("InternalServerError", 500),
    }
}
