//! A classifier in this process that stands in for a remote API: the built-in one, or one from a file.
//!
//! Like an API it gets a file, decodes and resizes it itself, and answers a list of labels with scores, best first. The built-in one
//! knows 64 everyday classes and works at 64 by 64 pixels.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use smoothgate_denoisers::{
    Batch, ClassifierHandle, ClassifyError, Device, OpenError, Options, WorkerError, open_classifier,
};
use smoothgate_providers::local::{Backend, Local};
use smoothgate_providers::{Answer, EncodedPicture, Label, Outcome};

use crate::picture::{Fit, PictureOptions, WorkingImage, WorkingSize, planes};

/// How many labels an answer holds at most, as public APIs cut their lists.
const LABELS: usize = 10;

/// The classifier of provider `local` where none is named.
pub const BUILTIN: &str = "things64";

/// What provider `local` is: options of the command line.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A built-in name, or a safetensors file or `PyTorch` checkpoint.
    pub classifier: String,
    /// A file with the names of its classes, a line each, in the order of its outputs, for a classifier whose file does not name them.
    pub labels: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { classifier: BUILTIN.to_owned(), labels: None }
    }
}

impl Settings {
    /// Sets an option given as `NAME=VALUE`.
    ///
    /// # Errors
    /// [`LocalError::Option`] if there is no such option.
    pub fn set_option(&mut self, text: &str) -> Result<(), LocalError> {
        match text.split_once('=') {
            Some(("classifier", name)) => name.clone_into(&mut self.classifier),
            Some(("labels", file)) => self.labels = Some(file.into()),
            _ => return Err(LocalError::Option { text: text.to_owned() }),
        }
        Ok(())
    }
}

/// Opens provider `local` with the built-in classifier.
///
/// # Errors
/// [`LocalError`] where the device cannot be used or no thread can be had.
pub fn open(device: Device) -> Result<Local, LocalError> {
    open_with(&Settings::default(), device)
}

/// Opens provider `local`.
///
/// # Errors
/// As for [`open`], and where there is no such classifier or its labels do not fit it.
pub fn open_with(settings: &Settings, device: Device) -> Result<Local, LocalError> {
    let known = Known::open(settings, device)?;
    let model = known.version.clone();
    Ok(Local::new("local", known.size, &model, Arc::new(known)))
}

/// The classifier alone, for whatever stands in front of it.
///
/// # Errors
/// As for [`open_with`].
pub fn backend(settings: &Settings, device: Device) -> Result<Arc<dyn Backend>, LocalError> {
    Ok(Arc::new(Known::open(settings, device)?))
}

/// Why the classifier could not be opened. The user's to mend, but for the thread.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// The device or the weights.
    #[error("the classifier `{name}` cannot be loaded")]
    Open {
        /// What was asked for.
        name: String,
        /// Why.
        source: OpenError,
    },
    /// The names of its classes.
    #[error("labels {}: {problem}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Not one of [`Settings`].
    #[error("`{text}` is no option of the provider `local`: it has classifier=NAME|FILE and labels=FILE")]
    Option {
        /// What was given.
        text: String,
    },
    /// Its thread.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

struct Known {
    classifier: ClassifierHandle,
    labels: Vec<String>,
    /// The model version that its answers carry: architecture, weights, and labels if they are not those of the file.
    version: String,
    size: u32,
    /// Why its thread or its device gives no answers any more.
    broken: OnceLock<String>,
}

impl Known {
    fn open(settings: &Settings, device: Device) -> Result<Self, LocalError> {
        let name = &settings.classifier;
        let classifier = open_classifier(name, &Options::on(device));
        let classifier = classifier.map_err(|source| LocalError::Open { name: name.clone(), source })?;
        let classifier = ClassifierHandle::spawn(classifier)?;
        let id = classifier.id();
        let version = format!("{}-{}", id.name(), &id.hash().to_hex()[..16]);
        let (labels, version) = match &settings.labels {
            None => (classifier.labels().to_vec(), version),
            Some(path) => {
                let labels = names(path, classifier.labels().len())?;
                let hash = blake3::hash(labels.join("\n").as_bytes()).to_hex();
                (labels, format!("{version}-labels-{}", &hash[..8]))
            }
        };
        let size = classifier.input_size().0 as u32;
        Ok(Self { classifier, labels, version, size, broken: OnceLock::new() })
    }

    fn classify(&self, picture: &EncodedPicture) -> Result<Answer, Outcome> {
        let bad = |error: &dyn std::error::Error| Outcome::BadPicture { reason: error.to_string() };
        let broken = |error: &dyn std::error::Error| Outcome::Transient { reason: error.to_string() };
        let size = WorkingSize::Square(self.size);
        let options = PictureOptions { size, fit: Fit::Stretch, ..PictureOptions::default() };
        let image = WorkingImage::decode(&picture.bytes, &options).map_err(|e| bad(&e))?;
        let (height, width) = (image.height() as usize, image.width() as usize);
        let batch = Batch::new(planes(&image), 1, height, width).map_err(|e| broken(&e))?;
        let scores = self.classifier.classify_blocking(batch).map_err(|error| {
            // All but a wrong size are failures of the classifier, which the next picture would meet as well: as votes, they would settle
            // every picture of the run for good.
            if !matches!(error, ClassifyError::Size { .. }) {
                self.broken.get_or_init(|| error.to_string());
            }
            broken(&error)
        })?;
        let labels = self.labels.iter().zip(scores.into_iter().flatten());
        let mut labels: Vec<Label> =
            labels.map(|(name, score)| Label::new(name.clone(), f64::from(score))).collect();
        labels.sort_by(|a, b| b.score.unwrap_or(0.0).total_cmp(&a.score.unwrap_or(0.0)));
        labels.truncate(LABELS);
        Ok(Answer { labels, model_version: Some(self.version.clone()), ..Answer::default() })
    }
}

/// The lines of a file, as many as there are classes.
fn names(path: &Path, classes: usize) -> Result<Vec<String>, LocalError> {
    let wrong = |problem: String| LocalError::Labels { path: path.to_owned(), problem };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let names: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    if names.len() != classes || names.iter().any(String::is_empty) {
        let problem = format!("{} lines where the classifier has {classes} classes", names.len());
        return Err(wrong(format!("{problem}; give each of them one line with its name")));
    }
    Ok(names)
}

impl Backend for Known {
    fn answer(&self, picture: &EncodedPicture) -> Outcome {
        self.classify(picture).map_or_else(|outcome| outcome, Outcome::Answered)
    }

    fn broken(&self) -> Option<String> {
        self.broken.get().cloned()
    }
}

#[cfg(test)]
mod tests {
    use smoothgate_denoisers::{Classifier, Id};
    use smoothgate_providers::{AskError, Endpoint as _, Unrecorded};

    use super::*;

    fn settings(options: &[&str]) -> Settings {
        let mut settings = Settings::default();
        for option in options {
            settings.set_option(option).unwrap();
        }
        settings
    }

    #[test]
    fn other_labels_are_another_model_version() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("labels.txt");
        std::fs::write(&file, (0..64).map(|i| format!("class {i}")).collect::<Vec<_>>().join("\n")).unwrap();
        let option = format!("labels={}", file.display());
        let plain = Known::open(&settings(&[]), Device::Cpu).unwrap();
        let named = Known::open(&settings(&[&option]), Device::Cpu).unwrap();
        assert_eq!((plain.labels.len(), named.labels[63].as_str()), (64, "class 63"));
        assert!(named.version.starts_with(&plain.version) && named.version != plain.version);
        let grey = vec![0.5; 3 * 64 * 64];
        let picture = crate::engine::encoded(crate::picture::Encoder::Png, &grey, 64, 64).unwrap();
        let answer = |known: &Known| known.classify(&picture).unwrap();
        let (plain, named) = (answer(&plain), answer(&named));
        assert_eq!(plain.labels[0].score, named.labels[0].score);
        assert!(named.labels[0].name.starts_with("class "));
    }

    /// Panics.
    struct Fragile(Box<dyn Classifier>);

    impl Classifier for Fragile {
        fn id(&self) -> &Id {
            self.0.id()
        }

        fn labels(&self) -> &[String] {
            self.0.labels()
        }

        fn input_size(&self) -> (usize, usize) {
            self.0.input_size()
        }

        fn classify(&mut self, _: Batch) -> Result<Vec<Vec<f32>>, ClassifyError> {
            panic!("out of order")
        }
    }

    /// A failed vote for every picture to come would be on record for good.
    #[test]
    fn a_classifier_that_broke_ends_the_run_and_casts_no_votes() {
        let mut known = Known::open(&settings(&[]), Device::Cpu).unwrap();
        let picture =
            crate::engine::encoded(crate::picture::Encoder::Png, &vec![0.5; 3 * 64 * 64], 64, 64).unwrap();
        assert!(matches!(known.answer(&picture), Outcome::Answered(_)) && known.broken().is_none());
        let broken = Fragile(open_classifier("things64", &Options::on(Device::Cpu)).unwrap());
        known.classifier = ClassifierHandle::spawn(Box::new(broken)).unwrap();
        let endpoint = Local::new("local", 64, "x", Arc::new(known));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for _ in 0..3 {
            let asked = runtime.block_on(endpoint.ask(Some(0), picture.clone(), &Unrecorded));
            assert!(matches!(asked, Err(AskError::Broken { .. })), "{asked:?}");
            let failed = crate::certifier::CertifyError::Engine(asked.unwrap_err().into());
            assert!(failed.stops_run(), "{failed}");
        }
    }

    #[test]
    fn bad_options_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("labels.txt");
        std::fs::write(&file, "one\ntwo\n").unwrap();
        let error = Known::open(&settings(&[&format!("labels={}", file.display())]), Device::Cpu).err();
        let error = error.unwrap().to_string();
        assert!(error.contains("2 lines") && error.contains("64 classes"), "{error}");
        let error = Settings::default().set_option("model=x").unwrap_err().to_string();
        assert!(error.contains("classifier="), "{error}");
        assert!(matches!(
            Known::open(&settings(&["classifier=no/such.safetensors"]), Device::Cpu),
            Err(LocalError::Open { .. })
        ));
    }
}
