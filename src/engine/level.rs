//! What the noise sampler costs in alpha.
//!
//! The votes are drawn from a table that is within a total-variation distance d of the exact law of one noisy picture
//! ([`NoiseLaw::tv_bound`] times the number of values). All n votes together are then within n d of what they would be
//! under the exact law, so any event, a wrong certificate included, is at most n d more likely. That much is taken
//! off alpha before the test is built: one argument for every test, and no test needs to know of it.
//!
//! The share is rounded up to a power of ten of alpha, so that pictures of about the same size share one test.

use std::sync::{Arc, Mutex, PoisonError};

use super::{EngineError, Settings};
use crate::noise::{Grid, NoiseLaw};
use crate::picture::WorkingImage;
use crate::stats::Test;
use crate::tables::TableCache;

/// Shares of alpha that the sampler may take: one in a million to one in a hundred.
const SHARES: [f64; 5] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2];

/// How far the votes of a certificate can be from what they would be under the exact law.
fn distance(law: &NoiseLaw, values: f64, votes: usize) -> f64 {
    law.tv_bound() * values * votes as f64
}

/// The level that is left for a test of at most `votes` votes on pictures of `values` values, of `alpha` in all; `None`
/// if the sampler would take more than the largest share. What the engine takes, said in one line for the verifier.
pub(crate) fn level_of_test(alpha: f64, law: &NoiseLaw, values: f64, votes: usize) -> Option<f64> {
    let enough = |share: &f64| distance(law, values, votes) <= alpha * share;
    SHARES.into_iter().find(enough).map(|share| alpha * (1.0 - share))
}

/// The noise laws and tests built so far: both take a moment to build and serve every picture of a run.
#[derive(Debug, Default)]
pub(super) struct Levels {
    laws: Mutex<Vec<Arc<NoiseLaw>>>,
    /// By share.
    tests: Mutex<[Option<Test>; SHARES.len()]>,
    /// Where built tables are kept.
    tables: TableCache,
}

impl Levels {
    /// Keeps built tables in this cache.
    pub(super) fn new(tables: TableCache) -> Self {
        Self { tables, ..Self::default() }
    }

    /// The test for a picture whose noise costs the least share of alpha: that of all but the largest.
    pub(super) fn usual_test(&self, settings: &Settings) -> Result<Test, EngineError> {
        let mut tests = self.tests.lock().unwrap_or_else(PoisonError::into_inner);
        self.at(settings, SHARES[0], &mut tests[0]).cloned()
    }

    /// The test that is left of alpha after a share of it, made when it is first asked for.
    fn at<'s>(
        &self,
        settings: &Settings,
        share: f64,
        slot: &'s mut Option<Test>,
    ) -> Result<&'s Test, EngineError> {
        if !settings.question.suits(&settings.method) {
            let (question, test) = (settings.question.to_string(), settings.method.name());
            return Err(EngineError::Unsuited { question, test });
        }
        Ok(match slot {
            Some(test) => test,
            None => slot.insert(self.tables.test(settings.plan(settings.alpha.get() * (1.0 - share)))?),
        })
    }

    /// The noise law on this grid.
    pub(super) fn law(&self, settings: &Settings, grid: Grid) -> Result<Arc<NoiseLaw>, EngineError> {
        let mut laws = self.laws.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(law) = laws.iter().find(|law| law.grid() == grid) {
            return Ok(Arc::clone(law));
        }
        let law = Arc::new(NoiseLaw::new(settings.sigma.get(), grid)?);
        laws.push(Arc::clone(&law));
        Ok(law)
    }

    /// The test for pictures like this one.
    pub(super) fn test(
        &self,
        settings: &Settings,
        law: &NoiseLaw,
        image: &WorkingImage,
    ) -> Result<Test, EngineError> {
        let alpha = settings.alpha.get();
        let mut tests = self.tests.lock().unwrap_or_else(PoisonError::into_inner);
        for (share, slot) in SHARES.into_iter().zip(tests.iter_mut()) {
            let test = self.at(settings, share, slot)?;
            if distance(law, image.values() as f64, test.max_votes()) <= alpha * share {
                return Ok(test.clone());
            }
        }
        Err(EngineError::TooFine { alpha, width: image.width(), height: image.height() })
    }
}
