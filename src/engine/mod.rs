//! The pipeline: noise, denoise, encode, ask, vote in index order, test, stop.
//!
//! ```text
//! working image ─ draw(seed, i) ─▶ denoiser ─▶ encoder ─▶ endpoint ─▶ outcome i ─┐
//!      ▲ no further than the test allows (dispatch)                              │ any order
//!      └────────────── test ◀── vote 0, 1, 2, … in index order ◀── question ◀────┘
//! ```
//!
//! One stream of outcomes serves every claim: each has its question, its votes and its test, and all count the same draws.
//!
//! It is one stream with back-pressure. While one batch of copies is on the wire the denoiser works on the next, and
//! never further ahead than the tests allow: a copy is only made when its vote is needed. All futures are polled by
//! the task that certifies, so dropping that future cancels everything that was not sent.

mod clean;
mod copies;
mod error;
mod evidence;
mod flight;
mod level;
mod memory;
mod meter;
mod order;
mod redraw;
mod settings;
mod stop;

pub(crate) use clean::about;
pub use copies::encoded;
pub use error::EngineError;
pub(crate) use evidence::vote;
pub use evidence::{Against, CastVote, Evidence, Failure, Tested};
pub use level::Tests;
pub(crate) use level::{level_of_claim, level_of_tests};
pub use memory::{Forgetful, Memory, Settled};
pub use order::Order;
pub use redraw::{Redraw, copies, redraw};
pub use settings::{Asked, Settings};
pub use stop::Stop;

use std::sync::Arc;

use smoothgate_denoisers::DenoiserHandle;
use smoothgate_providers::{Answer, Endpoint, Outcome};

use crate::noise::Seed;
use crate::picture::WorkingImage;
use crate::tables::TableCache;

/// A smoothed classifier: an endpoint behind noise and a denoiser, and the settings of its certificates.
///
/// Cheap to clone; clones share the endpoint, the denoiser thread and the limits of both.
#[derive(Clone)]
pub struct Engine {
    endpoint: Arc<dyn Endpoint>,
    denoiser: DenoiserHandle,
    settings: Arc<Settings>,
    levels: Arc<level::Levels>,
    stop: Stop,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("endpoint", &self.endpoint.describe().name)
            .field("denoiser", self.denoiser.id())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// How far a picture has come, told after every vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Votes counted so far.
    pub votes: u64,
    /// The most votes that the tests can use.
    pub most: u64,
    /// Calls sent so far, retries included.
    pub calls: u64,
}

impl Engine {
    /// Joins an endpoint, a denoiser and settings.
    pub fn new(endpoint: Arc<dyn Endpoint>, denoiser: DenoiserHandle, settings: Settings) -> Self {
        Self {
            endpoint,
            denoiser,
            settings: Arc::new(settings),
            levels: Arc::default(),
            stop: Stop::default(),
        }
    }

    /// The same engine, ended early by `stop`.
    #[must_use]
    pub fn with_stop(self, stop: Stop) -> Self {
        Self { stop, ..self }
    }

    /// The same engine, asking through `endpoint`, which must be described the same: one that looks on at the calls.
    #[must_use]
    pub fn asking(self, endpoint: Arc<dyn Endpoint>) -> Self {
        Self { endpoint, ..self }
    }

    /// What ends it early.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Keeps the tables of tests in this cache, and takes them from it; without this call every process builds its own.
    #[must_use]
    pub fn with_table_cache(mut self, tables: TableCache) -> Self {
        self.levels = Arc::new(level::Levels::new(tables));
        self
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &dyn Endpoint {
        self.endpoint.as_ref()
    }

    /// The denoiser.
    pub fn denoiser(&self) -> &DenoiserHandle {
        &self.denoiser
    }

    /// The tests before any picture is known, at the levels that are left for all but the largest pictures and where every
    /// question makes as many claims as it can: what it takes at most and the largest radius it can give. What can never
    /// certify is refused here.
    ///
    /// # Errors
    /// [`EngineError::Stats`] for a test that cannot work, [`EngineError::Unsuited`], [`EngineError::AskedTwice`],
    /// [`EngineError::Unverifiable`].
    pub fn plan(&self) -> Result<Tests, EngineError> {
        self.check_settings()?;
        self.levels.usual_tests(&self.settings)
    }

    /// The tests for pictures like this one, where every question makes as many claims as it can: at the levels that are left
    /// after the noise sampler's own error is paid for. What can never certify is refused here, before anything is paid, and
    /// what cannot be tested where the clean answer holds but one label.
    ///
    /// # Errors
    /// As [`Self::plan`], and [`EngineError::TooFine`], [`EngineError::Noise`].
    pub fn tests_for(&self, picture: &WorkingImage) -> Result<Tests, EngineError> {
        self.check_settings()?;
        let law = self.levels.law(&self.settings, picture.grid())?;
        let tests = self.levels.tests(&self.settings, &law, picture, &level::most_claims(&self.settings))?;
        self.levels.tests(&self.settings, &law, picture, &level::fewest_claims(&self.settings))?;
        Ok(tests)
    }

    /// A question that is asked twice would share alpha with itself, and its claims could not be told apart. What nobody could
    /// verify is not worth its price.
    fn check_settings(&self) -> Result<(), EngineError> {
        let mut met = std::collections::HashSet::new();
        match self.settings.asked().find(|&(question, _)| !met.insert(question)) {
            Some((question, _)) => Err(EngineError::AskedTwice { question: question.to_string() }),
            None => Ok(self.settings.check_work()?),
        }
    }

    /// What the endpoint says about `picture` as it is, without noise; `None` where it does not answer. It is no vote. Asked
    /// once: `memory` keeps it like any draw, under no number.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn clean_answer(
        &self,
        picture: &Arc<WorkingImage>,
        memory: &dyn Memory,
    ) -> Result<Option<Answer>, EngineError> {
        Ok(match clean::outcome(self, memory, picture).await?.0 {
            Outcome::Answered(answer) => Some(answer),
            _ => None,
        })
    }

    /// Gathers votes on `picture` until every claim is decided. No call is made that no open claim surely needs, but for those
    /// that the settings allow ahead.
    ///
    /// Draw i of the noise is a function of `seed` and i alone, so the same seed gives the same evidence whatever the
    /// batch size, the number of threads or the order of the answers. Use a fresh seed, drawn after the picture is
    /// fixed, for every new certificate: choosing a seed by its result voids the guarantee.
    ///
    /// Questions that depend on the clean answer ask for that first, once. Where it holds no label to ask about, the question
    /// has one claim, which has abstained without a vote.
    ///
    /// `memory` keeps every attempt and every outcome before it counts; a draw that it already knows is not asked
    /// again. `watch` is called after every vote.
    ///
    /// # Errors
    /// [`EngineError`]. No error is a vote, and none yields a certificate; whatever was answered is in `memory`.
    pub async fn gather(
        &self,
        picture: Arc<WorkingImage>,
        seed: Seed,
        memory: &dyn Memory,
        watch: &(dyn Fn(Progress) + Sync),
    ) -> Result<Evidence, EngineError> {
        // What can never certify is refused before the first call.
        self.tests_for(&picture)?;
        let clean = clean::settle(self, memory, &picture).await?;
        flight::Flight::new(self, memory, picture, seed, clean)?.run(watch).await
    }
}
