//! Provider `local`: a classifier in this process that stands in for a remote API.
//!
//! It gets the same encoded bytes that an API would get, and answers the same label/score lists, so the whole
//! pipeline can be tried with no key and no network. The classifier itself is given by the caller as a [`Backend`]:
//! this crate does not know networks.

use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;

use crate::{
    AskError, Attempt, AttemptEnd, Billed, Description, EncodedPicture, Endpoint, Format, Journal, Limits,
    Outcome, Price,
};

/// What `local` accepts: the same order of magnitude as the public APIs.
pub const LIMITS: Limits = Limits {
    formats: &[Format::Png, Format::Jpeg],
    max_bytes: 20 << 20,
    min_side: 1,
    max_side: 16_384,
    max_pixels: 75_000_000,
    pictures_per_call: 1,
};

/// A base classifier in this process. Called from a blocking thread; must be a function of the bytes alone.
pub trait Backend: Send + Sync + 'static {
    /// Decodes the picture, classifies it and names the outcome.
    fn answer(&self, picture: &EncodedPicture) -> Outcome;

    /// Why it can answer nothing any more, if it broke: asked after an answer that is none, which is then no failure of the picture.
    fn broken(&self) -> Option<String> {
        None
    }

    /// Does it answer in less time than it takes to hand a picture to another thread? Then it may be called from any.
    fn is_quick(&self) -> bool {
        false
    }
}

/// The endpoint over a [`Backend`].
pub struct Local {
    backend: Arc<dyn Backend>,
    description: Description,
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("description", &self.description).finish_non_exhaustive()
    }
}

impl Local {
    /// An endpoint called `name` whose classifier, `model`, works on squares of `native_size` pixels.
    pub fn new(name: impl Into<String>, native_size: u32, model: &str, backend: Arc<dyn Backend>) -> Self {
        Self {
            backend,
            description: Description {
                name: name.into(),
                identity: serde_json::json!({ "kind": "local", "model": model }),
                native_size: Some(native_size),
                limits: LIMITS,
                price: Price::Free,
                quota: None,
            },
        }
    }
}

impl Endpoint for Local {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn ask<'a>(
        &'a self,
        draw: Option<u64>,
        picture: EncodedPicture,
        journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<Outcome, AskError>> {
        Box::pin(async move {
            let digest = *blake3::hash(&picture.bytes).as_bytes();
            let attempt = Attempt { draw, number: 1, price: Price::Free, picture: digest };
            let id = journal.open(&attempt).await?;
            let started = Instant::now();
            let outcome = if let Err(problem) = LIMITS.check(&picture) {
                Outcome::BadPicture { reason: format!("local {problem}") }
            } else {
                let backend = Arc::clone(&self.backend);
                let answered = tokio::task::spawn_blocking(move || backend.answer(&picture)).await;
                let broken = |problem| AskError::Broken { name: self.description.name.clone(), problem };
                let problem = match &answered {
                    Ok(Outcome::Answered(_)) => None,
                    Ok(_) => self.backend.broken(),
                    Err(error) => Some(error.to_string()),
                };
                match (answered, problem) {
                    (Ok(outcome), None) => outcome,
                    (_, problem) => {
                        // It was no call.
                        journal.withdraw(id).await?;
                        return Err(broken(problem.unwrap_or_default()));
                    }
                }
            };
            let end = AttemptEnd {
                outcome: &outcome,
                status: None,
                latency: started.elapsed(),
                billed: Billed::No,
            };
            journal.close(id, end).await?;
            Ok(outcome)
        })
    }
}
