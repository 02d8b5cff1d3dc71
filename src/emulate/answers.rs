//! From pictures to what the classifier says about them.

use std::sync::Arc;

use smoothgate_providers::local::Backend;
use smoothgate_providers::served::{
    Asked, Feature, FileKind, Found, Inquiry, Refusal, RefusalClass, ServedApi, Source,
};
use smoothgate_providers::{Answer, EncodedPicture, Outcome};

use crate::front;

/// A result for each picture of a call.
pub(super) type Results = Vec<Result<Found, Refusal>>;

/// Looks at every picture of a call. Takes as long as the classifier does: not for an asynchronous task.
pub(super) fn answers(
    api: &dyn ServedApi,
    inquiry: &Inquiry,
    backend: &Arc<dyn Backend>,
    moderation: Option<&Arc<dyn Backend>>,
) -> Results {
    inquiry.pictures.iter().map(|asked| one(api, asked, backend, moderation)).collect()
}

fn one(
    api: &dyn ServedApi,
    asked: &Asked,
    backend: &Arc<dyn Backend>,
    moderation: Option<&Arc<dyn Backend>>,
) -> Result<Found, Refusal> {
    let (picture, kind) = admitted(api, asked)?;
    let mut answer = Answer::default();
    if asked.wants(Feature::Labels) {
        answer = of(backend, &picture)?;
    }
    if let Some(backend) = moderation.filter(|_| asked.wants(Feature::Moderation)) {
        let found = of(backend, &picture)?;
        answer.labels.extend(found.labels);
        answer.levels.extend(found.levels);
        answer.model_version = answer.model_version.or(found.model_version);
    }
    Ok(Found { answer, width: picture.width, height: picture.height, kind: Some(kind) })
}

/// The picture, where the API would look at it.
fn admitted(api: &dyn ServedApi, asked: &Asked) -> Result<(EncodedPicture, FileKind), Refusal> {
    let unreachable = |what: &str| {
        let message = format!("{what} are not fetched by this emulator: send the picture in the request");
        Err(Refusal::new(RefusalClass::PictureUnreachable, message))
    };
    match &asked.source {
        Source::Bytes(bytes) => front::look(api, bytes),
        Source::Url(_) => unreachable("URLs"),
        Source::Object { .. } => unreachable("objects in stores"),
    }
}

fn of(backend: &Arc<dyn Backend>, picture: &EncodedPicture) -> Result<Answer, Refusal> {
    let outcome = backend.answer(picture);
    match outcome {
        Outcome::Answered(answer) => Ok(answer),
        Outcome::BadPicture { .. } => Err(Refusal::new(RefusalClass::BadPicture, "Bad image data.")),
        Outcome::Refused { .. } => {
            Err(Refusal::new(RefusalClass::BadPicture, "The classifier refuses to look at the picture."))
        }
        other => Err(Refusal::from_upstream(&other)
            .unwrap_or_else(|| Refusal::new(RefusalClass::Internal, "no answer"))),
    }
}
