//! How alpha is shared: among the noise sampler, the questions, and the claims of each question.
//!
//! The votes are drawn from a table that is within a total-variation distance d of the exact law of one noisy picture
//! ([`NoiseLaw::tv_bound`] times the number of values). All n votes together are then within n d of what they would be
//! under the exact law, so any event, a wrong certificate of any claim included, is at most n d more likely. That much is
//! taken off alpha before the tests are built: one argument for every test and any number of claims, and no test needs to
//! know of it. The share is rounded up to a power of ten of alpha, so that pictures of about the same size share one test.
//!
//! What is left goes to the questions in equal parts (union bound), and a question's part to its claims as its
//! [`Sharing`](crate::stats::Sharing) says. How many claims those are is known before the first vote: the clean answer fixes
//! them.

use std::sync::{Arc, Mutex, PoisonError};

use super::{EngineError, Settings};
use crate::noise::{Grid, NoiseLaw};
use crate::picture::WorkingImage;
use crate::question::Question;
use crate::stats::{Method, Plan, Test};
use crate::tables::TableCache;

/// Shares of alpha that the sampler may take: one in a million to one in a hundred.
const SHARES: [f64; 5] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2];

/// How far the votes of a certificate can be from what they would be under the exact law.
fn distance(law: &NoiseLaw, values: f64, votes: usize) -> f64 {
    law.tv_bound() * values * votes as f64
}

/// The part of `alpha` that is left for the tests of at most `votes` draws on pictures of `values` values; `None` if the
/// sampler would take more than the largest share. What the engine takes, said in one line for the verifier.
pub(crate) fn level_of_tests(alpha: f64, law: &NoiseLaw, values: f64, votes: usize) -> Option<f64> {
    let enough = |share: &f64| distance(law, values, votes) <= alpha * share;
    SHARES.into_iter().find(enough).map(|share| alpha * (1.0 - share))
}

/// The level of each claim of one of `questions` questions, of `left` for all of them, if the question makes `claims` claims.
pub(crate) fn level_of_claim(left: f64, questions: usize, question: &Question, claims: usize) -> f64 {
    question.sharing().level(left / questions as f64, claims)
}

/// The tests of one picture, one a question: all claims of a question go through the same.
#[derive(Clone, Debug)]
pub struct Tests {
    each: Vec<Test>,
}

impl Tests {
    /// One a question, in the order of the settings; at least one.
    pub fn each(&self) -> &[Test] {
        &self.each
    }

    /// The most votes that a picture can take.
    pub fn max_votes(&self) -> usize {
        self.each.iter().map(Test::max_votes).max().unwrap_or(0)
    }

    /// The largest radius that any of them can certify, in the unit of sigma.
    pub fn largest_radius(&self) -> f64 {
        self.each.iter().map(Test::largest_radius).fold(0.0, f64::max)
    }
}

/// The noise laws and tests built so far: both take a moment to build and serve every picture of a run.
#[derive(Debug, Default)]
pub(super) struct Levels {
    laws: Mutex<Vec<Arc<NoiseLaw>>>,
    /// Few: one for each number of claims that a question has made so far.
    tests: Mutex<Vec<Test>>,
    /// Where built tables are kept.
    tables: TableCache,
}

impl Levels {
    /// Keeps built tables in this cache.
    pub(super) fn new(tables: TableCache) -> Self {
        Self { tables, ..Self::default() }
    }

    /// The tests for a picture whose noise costs the least share of alpha, that of all but the largest, where every question
    /// makes as many claims as it can. Refuses what fails where each makes one, which has the largest level: a test by tables
    /// has a largest alpha.
    pub(super) fn usual_tests(&self, settings: &Settings) -> Result<Tests, EngineError> {
        let tests = self.at(settings, SHARES[0], &most_claims(settings))?;
        self.at(settings, SHARES[0], &fewest_claims(settings))?;
        Ok(tests)
    }

    /// The tests that are left of alpha after a share of it, with so many claims a question.
    fn at(&self, settings: &Settings, share: f64, claims: &[usize]) -> Result<Tests, EngineError> {
        let left = settings.alpha.get() * (1.0 - share);
        let each = settings.asked().zip(claims).map(|((question, method), &claims)| {
            let alpha = level_of_claim(left, settings.questions(), question, claims);
            self.test(settings, question, method, alpha)
        });
        Ok(Tests { each: each.collect::<Result<_, _>>()? })
    }

    /// A test, made when it is first asked for.
    fn test(
        &self,
        settings: &Settings,
        question: &Question,
        method: &Method,
        alpha: f64,
    ) -> Result<Test, EngineError> {
        if !question.suits(method) {
            return Err(EngineError::Unsuited { question: question.to_string(), test: method.name() });
        }
        let plan =
            Plan { sigma: settings.sigma.get(), alpha, label: question.label_rule(), method: method.clone() };
        let mut tests = self.tests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = tests.iter().find(|test| *test.plan() == plan) {
            return Ok(known.clone());
        }
        let test = self.tables.test(plan)?;
        tests.push(test.clone());
        Ok(test)
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

    /// The tests for pictures like this one, with so many claims a question.
    pub(super) fn tests(
        &self,
        settings: &Settings,
        law: &NoiseLaw,
        image: &WorkingImage,
        claims: &[usize],
    ) -> Result<Tests, EngineError> {
        let alpha = settings.alpha.get();
        // How many votes a table takes is known before it is built, and a long one takes minutes.
        let methods = settings.asked().map(|(_, method)| method);
        let by_tables =
            methods.filter(|method| method.has_tables()).map(Method::most_votes).max().unwrap_or(0);
        let at_least = distance(law, image.values() as f64, by_tables);
        for share in SHARES.into_iter().filter(|share| at_least <= alpha * share) {
            let tests = self.at(settings, share, claims)?;
            if distance(law, image.values() as f64, tests.max_votes()) <= alpha * share {
                return Ok(tests);
            }
        }
        Err(EngineError::TooFine { alpha, width: image.width(), height: image.height() })
    }
}

/// The fewest claims that each question can make.
pub(super) fn fewest_claims(settings: &Settings) -> Vec<usize> {
    vec![1; settings.questions()]
}

/// The most claims that each question can make.
pub(super) fn most_claims(settings: &Settings) -> Vec<usize> {
    settings.asked().map(|(question, _)| question.most_claims()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Ladder;
    use crate::units::Sigma;

    /// At a share that is too small for it, a table would be made in vain.
    #[test]
    fn tables_are_made_at_the_level_that_is_used_alone() {
        let folder = tempfile::tempdir().unwrap();
        let levels = Levels::new(TableCache::in_folder(folder.path()));
        let method = Method::Table1(Ladder::new(vec![0.25], 20_000));
        let settings = Settings { method, ..Settings::new(Sigma::new(0.25).unwrap()) };
        let image = WorkingImage::from_rgb8(64, 64, &[128; 64 * 64 * 3]).unwrap();
        let law = levels.law(&settings, image.grid()).unwrap();
        let tests = levels.tests(&settings, &law, &image, &[1]).unwrap();
        let left = level_of_tests(settings.alpha.get(), &law, image.values() as f64, 20_000).unwrap();
        assert!(left < settings.alpha.get() * (1.0 - SHARES[1]), "more than two shares would do");
        assert_eq!(tests.each()[0].plan().alpha.to_bits(), left.to_bits());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
