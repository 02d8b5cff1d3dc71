//! The answer about the picture without noise, for questions that depend on it.
//!
//! It is asked before the first noisy copy is made, so what it fixes is fixed before the votes, and it is no vote. It is
//! asked once: memory keeps it like any draw, under no number.

use std::sync::Arc;

use smoothgate_providers::{Answer, EncodedPicture, Outcome};

use super::copies::encoded;
use super::flight::{Model, ask};
use super::meter::Meter;
use super::{Engine, EngineError, Memory};
use crate::picture::{WorkingImage, planes};
use crate::question::Question;

/// What the clean answer fixes.
pub(super) struct Clean {
    /// The question that the votes answer.
    pub question: Question,
    /// The model that answered; votes of another one do not count beside it.
    pub model: Option<Model>,
    /// Calls that were sent for it by this process.
    pub calls: u64,
}

/// Makes the question of the settings one that noisy copies can answer. Asks about `picture` as it is, neither denoised nor
/// resized again: whatever the API says to it, the label is fixed before the votes.
pub(super) async fn settle(
    engine: &Engine,
    memory: &dyn Memory,
    picture: &Arc<WorkingImage>,
) -> Result<Clean, EngineError> {
    let question = &engine.settings.question;
    if !question.asks_clean() {
        return Ok(Clean { question: question.clone(), model: None, calls: 0 });
    }
    let (answer, calls) = answer(engine, memory, picture).await?;
    let nothing = || EngineError::NoCleanLabel { provider: engine.endpoint.describe().name.clone() };
    let answer = answer.ok_or_else(nothing)?;
    let question = question.about_clean(&answer).ok_or_else(nothing)?;
    Ok(Clean { question, model: Some(Model::of(&answer)), calls })
}

/// The answer about `picture` as it is, from memory where it is known, and the calls that were sent for it.
pub(super) async fn answer(
    engine: &Engine,
    memory: &dyn Memory,
    picture: &Arc<WorkingImage>,
) -> Result<(Option<Answer>, u64), EngineError> {
    let meter = Meter::new(memory.as_journal());
    let settled = match memory.recall(None) {
        Some(settled) => settled,
        None => ask(engine, memory, &meter, None, copy(engine, picture)?).await?.1,
    };
    let answer = match settled.outcome {
        Outcome::Answered(answer) => Some(answer),
        _ => None,
    };
    Ok((answer, meter.sent()))
}

fn copy(engine: &Engine, picture: &WorkingImage) -> Result<EncodedPicture, EngineError> {
    let copy = encoded(engine.settings.encoder, &planes(picture), picture.width(), picture.height())?;
    let endpoint = engine.endpoint.describe();
    let checked = endpoint.limits.check(&copy);
    checked.map_err(|problem| EngineError::Unacceptable { provider: endpoint.name.clone(), problem })?;
    Ok(copy)
}
