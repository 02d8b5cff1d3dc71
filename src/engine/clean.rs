//! The answer about the picture without noise, for questions that depend on it.
//!
//! It is asked before the first noisy copy is made, so what it fixes is fixed before the votes, and it is no vote. It is
//! asked once, for all questions together: memory keeps it like any draw, under no number.

use std::sync::Arc;

use smoothgate_providers::{EncodedPicture, Outcome};

use super::copies::encoded;
use super::evidence::{Failure, failure};
use super::flight::{Model, ask};
use super::meter::Meter;
use super::{Engine, EngineError, Memory};
use crate::picture::{WorkingImage, planes};
use crate::question::Question;
use crate::stats::Reason;

/// What the clean answer fixes.
pub(super) struct Clean {
    /// By question of the settings: the questions that its votes answer, one a claim, or why there is nothing to ask.
    pub claims: Vec<Result<Vec<Question>, Reason>>,
    /// The model that answered; votes of another one do not count beside it.
    pub model: Option<Model>,
    /// Calls that were sent for it by this process.
    pub calls: u64,
    /// What it ended with, if not with an answer.
    pub failure: Option<Failure>,
}

impl Clean {
    /// How many claims each question makes, for the sharing of its level; 1 where there is nothing to ask.
    pub(super) fn numbers(&self) -> Vec<usize> {
        self.claims.iter().map(|claims| claims.as_ref().map_or(1, Vec::len)).collect()
    }
}

/// Makes the questions of the settings ones that noisy copies can answer. Asks about `picture` as it is, neither denoised nor
/// resized again: whatever the API says to it, the labels are fixed before the votes.
pub(super) async fn settle(
    engine: &Engine,
    memory: &dyn Memory,
    picture: &Arc<WorkingImage>,
) -> Result<Clean, EngineError> {
    let settings = &engine.settings;
    if !settings.asks_clean() {
        let claims = settings.asked().map(|(question, _)| Ok(vec![question.clone()])).collect();
        return Ok(Clean { claims, model: None, calls: 0, failure: None });
    }
    let (outcome, calls) = outcome(engine, memory, picture).await?;
    let claims = settings.asked().map(|(question, _)| about(question, &outcome)).collect();
    let model = match &outcome {
        // A reply from a cache says nothing about the model that answers now.
        Outcome::Answered(answer) if !answer.from_cache => Some(Model::of(answer)),
        _ => None,
    };
    Ok(Clean { claims, model, calls, failure: failure(&outcome) })
}

/// What came of asking about `picture` as it is, from memory where it is known, and the calls that were sent for it.
pub(super) async fn outcome(
    engine: &Engine,
    memory: &dyn Memory,
    picture: &Arc<WorkingImage>,
) -> Result<(Outcome, u64), EngineError> {
    let meter = Meter::new(memory.as_journal());
    if let Some(settled) = memory.recall(None) {
        return Ok((settled.outcome, 0));
    }
    if engine.stop.is_stopped() {
        return Err(EngineError::Interrupted);
    }
    let mut asking = Box::pin(ask(engine, memory, &meter, None, copy(engine, picture)?));
    let asked = tokio::select! {
        asked = &mut asking => asked,
        () = engine.stop.stopped() => {
            // As with votes: what is out is recorded, what waits is not sent.
            meter.shut();
            engine.stop.wait_for(meter.until_landed(async { _ = asking.await })).await;
            return Err(EngineError::Interrupted);
        }
    };
    Ok((asked?.1.outcome, meter.sent()))
}

/// The questions that the votes answer, by what came of asking about the clean picture. A reply from a cache fixes labels as
/// well as any other: it is no vote.
pub(crate) fn about(question: &Question, clean: &Outcome) -> Result<Vec<Question>, Reason> {
    match clean {
        _ if !question.asks_clean() => Ok(vec![question.clone()]),
        Outcome::Answered(answer) => {
            let claims = question.about_clean(answer);
            if claims.is_empty() { Err(Reason::NoCleanLabel) } else { Ok(claims) }
        }
        _ => Err(Reason::NoCleanAnswer),
    }
}

fn copy(engine: &Engine, picture: &WorkingImage) -> Result<EncodedPicture, EngineError> {
    let copy = encoded(engine.settings.encoder, &planes(picture), picture.width(), picture.height())?;
    let endpoint = engine.endpoint.describe();
    let checked = endpoint.limits.check(&copy);
    checked.map_err(|problem| EngineError::Unacceptable { provider: endpoint.name.clone(), problem })?;
    Ok(copy)
}
