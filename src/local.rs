//! The built-in classifier that stands in for a remote API.
//!
//! It knows 64 everyday classes and works at 64 by 64 pixels. Like an API it gets a file, decodes and resizes it itself,
//! and answers a list of labels with scores, best first.

use std::sync::Arc;

use smoothgate_denoisers::{
    Batch, ClassifierHandle, Device, OpenError, Options, WorkerError, open_classifier,
};
use smoothgate_providers::local::{Backend, Local};
use smoothgate_providers::{Answer, EncodedPicture, Label, Outcome};

use crate::picture::{Fit, PictureOptions, WorkingImage, WorkingSize, planes};

/// How many labels an answer holds at most, as public APIs cut their lists.
const LABELS: usize = 10;

/// Opens provider `local` with the built-in weights.
///
/// # Errors
/// [`LocalError`] where the device cannot be used or no thread can be had.
pub fn open(device: Device) -> Result<Local, LocalError> {
    let things = Things::open(device)?;
    let model = version(&things.classifier);
    Ok(Local::new("local", things.size, &model, Arc::new(things)))
}

/// The classifier alone, for whatever stands in front of it.
///
/// # Errors
/// As for [`open`].
pub fn backend(device: Device) -> Result<Arc<dyn Backend>, LocalError> {
    Ok(Arc::new(Things::open(device)?))
}

/// Why the built-in classifier could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The device or the weights.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its thread.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

struct Things {
    classifier: ClassifierHandle,
    size: u32,
}

impl Things {
    fn open(device: Device) -> Result<Self, LocalError> {
        let classifier = ClassifierHandle::spawn(open_classifier("things64", &Options::on(device))?)?;
        let size = classifier.input_size().0 as u32;
        Ok(Self { classifier, size })
    }

    fn classify(&self, picture: &EncodedPicture) -> Result<Answer, Outcome> {
        let bad = |error: &dyn std::error::Error| Outcome::BadPicture { reason: error.to_string() };
        let broken = |error: &dyn std::error::Error| Outcome::Transient { reason: error.to_string() };
        let size = WorkingSize::Square(self.size);
        let options = PictureOptions { size, fit: Fit::Stretch, ..PictureOptions::default() };
        let image = WorkingImage::decode(&picture.bytes, &options).map_err(|e| bad(&e))?;
        let (height, width) = (image.height() as usize, image.width() as usize);
        let batch = Batch::new(planes(&image), 1, height, width).map_err(|e| broken(&e))?;
        let scores = self.classifier.classify_blocking(batch).map_err(|e| broken(&e))?;
        let labels = self.classifier.labels().iter().zip(scores.into_iter().flatten());
        let mut labels: Vec<Label> =
            labels.map(|(name, score)| Label::new(name.clone(), f64::from(score))).collect();
        labels.sort_by(|a, b| b.score.unwrap_or(0.0).total_cmp(&a.score.unwrap_or(0.0)));
        labels.truncate(LABELS);
        Ok(Answer { labels, model_version: Some(version(&self.classifier)), ..Answer::default() })
    }
}

/// The model version that its answers carry.
fn version(classifier: &ClassifierHandle) -> String {
    format!("things64-{}", &classifier.id().hash().to_hex()[..16])
}

impl Backend for Things {
    fn answer(&self, picture: &EncodedPicture) -> Outcome {
        self.classify(picture).map_or_else(|outcome| outcome, Outcome::Answered)
    }
}
