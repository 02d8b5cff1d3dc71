//! One picture after another: from a working image to a certificate on record.
//!
//! A [`Certifier`] joins an [`Engine`] with a run of the [`ledger`](crate::ledger), or with nothing that remembers. With
//! a ledger a picture that has its certificate costs nothing, and one that was interrupted goes on with the same draws:
//! what was answered is not asked again.

use std::sync::Arc;

use serde_json::{Value, json};
use smoothgate_providers::{Answer, AskError, Fault, JournalError};

use crate::certificate::{Certificate, Document, DocumentError, SigningKey};
use crate::engine::{Engine, EngineError, Evidence, Failure, Forgetful, Memory, Progress};
use crate::ledger::{Caller, LedgerError, PictureId, PictureSpec, Run, Spec};
use crate::noise::{self, Seed};
use crate::picture::{PictureOptions, WorkingImage};

/// Certifies pictures under one set of settings. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Certifier {
    engine: Engine,
    run: Option<Run>,
    key: Option<Arc<SigningKey>>,
    caller: Option<Arc<Caller>>,
    unknown: bool,
}

/// What came of one picture.
#[derive(Clone, Debug)]
pub struct Certified {
    /// The certificate as it is written down. The same for a picture that was interrupted and one that was not.
    pub document: Document,
    /// Calls sent for it, those of interrupted sittings included.
    pub calls: u64,
    /// Of the calls of earlier sittings, those that were billed or may have been.
    pub billable_before: u64,
    /// Its number in the ledger, where there is one.
    pub record: Option<PictureId>,
    /// How the last draw ended that had no answer; nothing for a certificate that was on record.
    pub last_failure: Option<Failure>,
}

/// Why a picture got no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertifyError {
    /// The pipeline.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The certificate on record cannot be read by this version.
    #[error(
        "the certificate of {picture} on record cannot be read ({source}); begin a new run to certify it anew"
    )]
    Stored {
        /// The picture's name.
        picture: String,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// The certificate cannot be written down: ours to mend.
    #[error("the certificate cannot be written down (please report it): {0}")]
    Document(#[from] DocumentError),
}

impl CertifyError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Engine(error) => error.fault(),
            Self::Ledger(error) => error.fault(),
            Self::Stored { .. } => Fault::User,
            Self::Document(_) => Fault::Us,
        }
    }

    /// Did a budget end it?
    pub fn is_budget(&self) -> bool {
        match self {
            Self::Engine(error) => error.is_budget(),
            Self::Ledger(error) => matches!(error, LedgerError::Budget(_)),
            Self::Stored { .. } | Self::Document(_) => false,
        }
    }

    /// Was it told to stop?
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Self::Engine(EngineError::Interrupted))
    }

    /// Is other than it was what the run knows of the picture, so that it cannot be gone on with?
    pub fn is_changed(&self) -> bool {
        let error = match self {
            Self::Ledger(error) => Some(error),
            Self::Engine(EngineError::Ask(AskError::Journal(JournalError::Storage(source)))) => {
                source.downcast_ref()
            }
            _ => None,
        };
        matches!(error, Some(LedgerError::Changed { .. }))
    }

    /// Would every other picture end the same way?
    pub fn stops_run(&self) -> bool {
        let engine = match self {
            // A picture that changed concerns no other; a ledger that cannot be written concerns all.
            _ if self.is_changed() => return false,
            Self::Engine(error) => error,
            Self::Ledger(_) => return true,
            Self::Stored { .. } | Self::Document(_) => return false,
        };
        match engine {
            EngineError::Stopped { .. } | EngineError::Interrupted => true,
            EngineError::Ask(error) => match error {
                AskError::Journal(_)
                | AskError::Credential(_)
                | AskError::Stopped { .. }
                | AskError::Broken { .. } => true,
                AskError::Request(_) => false,
            },
            _ => false,
        }
    }
}

impl Certifier {
    /// A certifier that keeps nothing: an interrupted picture starts again, and pays again.
    pub fn without_ledger(engine: Engine) -> Self {
        Self { engine, run: None, key: None, caller: None, unknown: false }
    }

    /// A certifier that records in `run`, whose parameters must be [`parameters`] of the same engine.
    pub fn with_ledger(engine: Engine, run: Run) -> Self {
        Self { engine, run: Some(run), key: None, caller: None, unknown: false }
    }

    /// Signs every certificate with this key, one that is on record already included.
    #[must_use]
    pub fn signing(self, key: Option<Arc<SigningKey>>) -> Self {
        Self { key, ..self }
    }

    /// The same certifier for one of several callers, whose account in the ledger is charged beside the run's.
    #[must_use]
    pub fn charging(self, caller: Option<Arc<Caller>>) -> Self {
        Self { caller, ..self }
    }

    /// The same certifier with this engine, whose settings must be the same: one with a switch of its own, or one that asks
    /// through an endpoint that looks on.
    #[must_use]
    pub fn with_engine(self, engine: Engine) -> Self {
        Self { engine, ..self }
    }

    /// The same certifier for pictures that the run does not know, as whoever asked it a moment ago can tell: they are not
    /// looked for. One that it does know is refused before anything is sent ([`CertifyError::is_changed`]).
    #[must_use]
    pub fn of_unknown(self, unknown: bool) -> Self {
        Self { unknown, ..self }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The run it records in.
    pub fn run(&self) -> Option<&Run> {
        self.run.as_ref()
    }

    /// Certifies `image` under `name`, which must be its own in the run. `seed` counts for a picture that the run does
    /// not know; one that it knows goes on with the seed on record. A fresh seed is drawn where none is given.
    ///
    /// The certificate is on the disk when it returns, and with it every answer that it rests on.
    ///
    /// # Errors
    /// [`CertifyError`]; whatever was answered is on record.
    pub async fn certify(
        &self,
        name: &str,
        image: Arc<WorkingImage>,
        seed: Option<Seed>,
        watch: &(dyn Fn(Progress) + Sync),
    ) -> Result<Certified, CertifyError> {
        // Only now that the picture is fixed.
        let seed = match seed {
            Some(seed) => seed,
            None => Seed::fresh().map_err(EngineError::from)?,
        };
        let Some(run) = &self.run else {
            return Ok(self.gather(image, seed, &Forgetful, watch).await?.0);
        };
        let spec = spec(name, &image, seed)?;
        let picture = if self.unknown {
            run.unknown_picture_for(self.caller(), spec)
        } else {
            run.picture_for(self.caller(), spec).await?
        };
        if let Some(text) = &picture.stored().certificate {
            run.published().await?;
            let stored = |source| CertifyError::Stored { picture: name.to_owned(), source };
            let stored = Document::parse(text.as_bytes()).map_err(stored)?;
            let document = match &self.key {
                Some(key) => Document::seal(stored.certificate, Some(key))?,
                None => stored,
            };
            return Ok(Certified {
                document,
                calls: picture.stored().attempts,
                billable_before: picture.stored().billable,
                record: picture.id(),
                last_failure: None,
            });
        }
        let (mut certified, text) =
            self.gather(image, Seed::from_bytes(*picture.seed()), &picture, watch).await?;
        certified.record = Some(picture.store_certificate(&text).await?);
        certified.billable_before = picture.stored().billable;
        Ok(certified)
    }

    fn caller(&self) -> Option<Caller> {
        self.caller.as_deref().cloned()
    }

    /// The certificate, and its text.
    async fn gather(
        &self,
        image: Arc<WorkingImage>,
        seed: Seed,
        memory: &dyn Memory,
        watch: &(dyn Fn(Progress) + Sync),
    ) -> Result<(Certified, String), CertifyError> {
        let evidence = self.engine.gather(Arc::clone(&image), seed, memory, watch).await?;
        let certificate = Certificate::new(&self.engine, &image, seed, &evidence);
        let (document, text) = Document::write(certificate, self.key.as_deref())?;
        let Evidence { calls, last_failure, .. } = evidence;
        Ok((Certified { document, calls, billable_before: 0, record: None, last_failure }, text))
    }

    /// What the endpoint says about the picture as it is, without noise: no vote, and nothing certified. Asked once and kept
    /// in the run like any other answer, for a picture that the run knows under `name`; without a run it is asked each
    /// time. `None` where it cannot be answered.
    ///
    /// # Errors
    /// [`CertifyError`].
    pub async fn plain(&self, name: &str, image: Arc<WorkingImage>) -> Result<Option<Answer>, CertifyError> {
        let Some(run) = &self.run else {
            return Ok(self.engine.clean_answer(&image, &Forgetful).await?);
        };
        let seed = Seed::fresh().map_err(EngineError::from)?;
        let picture = run.picture_for(self.caller(), spec(name, &image, seed)?).await?;
        let answer = self.engine.clean_answer(&image, &picture).await?;
        picture.recorded().await?;
        Ok(answer)
    }
}

/// What a run knows a picture by.
fn spec(name: &str, image: &WorkingImage, seed: Seed) -> Result<PictureSpec, LedgerError> {
    let parameters = json!({
        "hash": image.hash().to_string(),
        "width": image.width(),
        "height": image.height(),
        "preprocessing": image.preprocessing(),
    });
    Ok(PictureSpec { name: name.to_owned(), parameters: Spec::new(&parameters)?, seed: *seed.as_bytes() })
}

/// Everything that decides the certificates of a run: two runs are the same run exactly when these are equal. `seed` is
/// the one given for every picture, where one was.
///
/// # Errors
/// [`LedgerError::Invalid`] where they have no JSON form.
pub fn parameters(
    engine: &Engine,
    pictures: &PictureOptions,
    seed: Option<Seed>,
) -> Result<Spec, LedgerError> {
    let settings = engine.settings();
    let endpoint = engine.endpoint().describe();
    let denoiser = engine.denoiser().id();
    let test = |method| serde_json::to_value(method).unwrap_or(Value::Null);
    let mut parameters = json!({
        "sigma": settings.sigma,
        "alpha": settings.alpha,
        "question": settings.question,
        "test": test(&settings.method),
        "encoder": settings.encoder.to_string(),
        "denoiser": { "name": denoiser.name(), "blake3": denoiser.hash().to_hex().to_string() },
        "provider": { "name": endpoint.name, "identity": endpoint.identity },
        "picture": { "size": pictures.size.to_string(), "fit": pictures.fit, "filter": pictures.filter },
        "noise": noise::RNG_VERSION,
        "seed": seed,
    });
    // Only where there are some, so that runs of one question are named as they always were.
    if !settings.also.is_empty() {
        let also = settings
            .also
            .iter()
            .map(|asked| json!({ "question": asked.question, "test": test(&asked.method) }));
        parameters["also"] = also.collect();
    }
    Spec::new(&parameters)
}
