//! What a test takes for one picture, at least, at most and on average.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::Prior;
use crate::engine::{Settings, Tests};
use crate::replay;
use crate::stats::{Joint, LabelRule, Method, Sharing, StatsError, Test, Vote};

/// Votes that simulations cast in all, at most; and pictures.
const SIMULATED_VOTES: usize = 2_000_000;
const SIMULATED_PICTURES: usize = 4_000;

/// One question of a run, as far as a plan needs it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'t> {
    /// The test of each of its claims.
    pub test: &'t Test,
    /// How many claims it makes: of a question about the labels of the clean picture, as many as it can.
    pub claims: usize,
    /// How they share its level.
    pub sharing: Sharing,
    /// Whether it may turn out to ask nothing, because the clean picture has no label.
    pub asks_clean: bool,
}

impl<'t> Asked<'t> {
    /// One claim, about nothing that the clean answer says.
    pub fn one(test: &'t Test) -> Self {
        Self { test, claims: 1, sharing: Sharing::Even, asks_clean: false }
    }

    /// The questions of an engine's settings with its [`plan`](crate::engine::Engine::plan).
    pub fn all(settings: &Settings, tests: &'t Tests) -> Vec<Self> {
        let asked = settings.asked().zip(tests.each()).map(|((question, _), test)| Self {
            test,
            claims: question.most_claims(),
            sharing: question.sharing(),
            asks_clean: question.asks_clean(),
        });
        asked.collect()
    }
}

/// The claims of these questions before the first vote.
fn start<'t>(asked: impl IntoIterator<Item = &'t Asked<'t>>) -> Result<Joint, StatsError> {
    let mut joint = Joint::new();
    for one in asked {
        for claim in 0..one.claims {
            joint.add(one.test, fixed(one.test), claim > 0 && one.sharing == Sharing::Sequence)?;
        }
    }
    Ok(joint)
}

/// What follows from the tests alone.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Extremes {
    /// Before this many votes no decision can fall, whatever they say.
    pub least_votes: u64,
    /// With this many votes everything is certified where all agree.
    pub votes_if_all_agree: u64,
    /// No run asks for more.
    pub most_votes: u64,
    /// The largest radius that can be certified, in the unit of sigma.
    pub largest_radius: f64,
}

/// What the tests do on average.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Expected {
    /// Votes a picture.
    pub votes: f64,
    /// The standard error of that; 0 where it was computed exactly, `None` where there was but one picture.
    pub votes_error: Option<f64>,
    /// The share of claims, one a picture unless more is asked, that are certified (predicted, for `predict`).
    pub certified: f64,
    /// Where these numbers come from.
    pub basis: Basis,
}

/// Where an expectation comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Basis {
    /// The law of the test, for this prior.
    Law {
        /// What was assumed.
        agreement: String,
    },
    /// The test run on simulated votes, for this prior, from a fixed seed.
    Simulation {
        /// What was assumed.
        agreement: String,
        /// Simulated pictures.
        pictures: u64,
    },
    /// The test run on recorded answers.
    Record {
        /// Recorded pictures.
        pictures: u64,
        /// Of these, those whose record ended before the test did: the expectation is then too low.
        cut_short: u64,
    },
}

impl Extremes {
    /// Of these questions.
    ///
    /// # Errors
    /// None for tests that were made.
    pub fn of(asked: &[Asked<'_>]) -> Result<Self, StatsError> {
        // A picture without a label of its own is not asked about what it would fix.
        let least_votes = start(asked.iter().filter(|one| !one.asks_clean))?.needed() as u64;
        let mut joint = start(asked)?;
        let mut votes_if_all_agree = 0;
        while !joint.is_final() {
            joint.push(|_| Vote::For(0));
            votes_if_all_agree += 1;
        }
        let tests = || asked.iter().map(|one| one.test);
        Ok(Self {
            least_votes,
            votes_if_all_agree,
            most_votes: tests().map(Test::max_votes).max().unwrap_or(0) as u64,
            largest_radius: tests().map(Test::largest_radius).fold(0.0, f64::max),
        })
    }
}

/// What the tests take on average for pictures of this prior. The same numbers for the same arguments, on any machine.
///
/// Exact for one claim about a label fixed by the question, a test by a one-bound table of one radius and a prior of one
/// share: then it is a sum over the table's states. Claims are simulated as if the answers to them were independent of one
/// another, but agreed equally often.
///
/// # Errors
/// None for tests that were made.
pub fn expect(asked: &[Asked<'_>], prior: Prior) -> Result<Expected, StatsError> {
    let agreement = prior.to_string();
    if let [Asked { test, claims: 1, .. }] = asked
        && let Some(share) = prior.point().filter(|_| has_a_law(test))
        && let Some(law) = test.operating(share, Prior::rival(share))
    {
        let basis = Basis::Law { agreement };
        return Ok(Expected { votes: law.votes, votes_error: Some(0.0), certified: law.certify, basis });
    }
    let mut sums = Sums::default();
    simulate(asked, prior, |votes, certified| sums.add(votes as f64, certified))?;
    let pictures = sums.pictures;
    Ok(sums.expected(Basis::Simulation { agreement, pictures }))
}

/// Runs the tests on simulated pictures of this prior, from a fixed seed, and tells of each how many votes it took and
/// which share of its claims was certified.
pub(super) fn simulate(
    asked: &[Asked<'_>],
    prior: Prior,
    mut each: impl FnMut(u64, f64),
) -> Result<(), StatsError> {
    let votes_of = |one: &Asked<'_>| one.test.max_votes().saturating_mul(one.claims);
    let most = asked.iter().map(votes_of).fold(0, usize::saturating_add);
    let pictures = (SIMULATED_VOTES / most.max(1)).clamp(200, SIMULATED_PICTURES);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let before = start(asked)?;
    for _ in 0..pictures {
        let share = prior.draw(&mut rng);
        let mut joint = before.clone();
        let mut votes = 0;
        while !joint.is_final() {
            // Votes that agree are label 0, the rival's 1, and no other label comes twice.
            joint.push(|_| Prior::vote(share, votes + 2, &mut rng));
            votes += 1;
        }
        let certified = (0..joint.len()).filter(|&claim| joint.decision(claim).certified().is_some()).count();
        each(votes as u64, certified as f64 / joint.len().max(1) as f64);
    }
    Ok(())
}

/// The law follows one label: it is that of the test only where no rival can take the lead.
fn has_a_law(test: &Test) -> bool {
    let one_radius = match &test.plan().method {
        Method::Table1(ladder) => ladder.radii.len() == 1,
        _ => false,
    };
    one_radius && test.plan().label == LabelRule::Fixed
}

impl Expected {
    /// From rows of a [`replay`] of recorded answers through these tests, in its order; `None` without rows.
    pub fn of_rows<'r>(rows: impl IntoIterator<Item = &'r replay::Row>) -> Option<Self> {
        let (mut sums, mut cut_short) = (Sums::default(), 0);
        let (mut claims, mut certified) = (0u64, 0u64);
        let mut cut_before = false;
        for row in rows {
            if let Some(draws) = row.draws {
                sums.add(draws as f64, 0.0);
                cut_before = false;
            }
            cut_short += u64::from(row.cut_short && !cut_before);
            cut_before |= row.cut_short;
            claims += 1;
            certified += u64::from(row.outcome == replay::Outcome::Certified);
        }
        let pictures = sums.pictures;
        (pictures > 0).then(|| Self {
            certified: certified as f64 / claims as f64,
            ..sums.expected(Basis::Record { pictures, cut_short })
        })
    }
}

/// The class that is asked about, for a test that wants one.
fn fixed(test: &Test) -> Option<usize> {
    (test.plan().label != LabelRule::Leader).then_some(0)
}

/// Running sums over pictures.
#[derive(Default)]
struct Sums {
    pictures: u64,
    certified: f64,
    votes: f64,
    squares: f64,
}

impl Sums {
    fn add(&mut self, votes: f64, certified: f64) {
        self.pictures += 1;
        self.certified += certified;
        self.votes += votes;
        self.squares += votes * votes;
    }

    fn expected(self, basis: Basis) -> Expected {
        let n = self.pictures as f64;
        let mean = self.votes / n;
        let variance = (self.squares - n * mean * mean).max(0.0) / (n - 1.0);
        Expected {
            votes: mean,
            votes_error: (self.pictures > 1).then(|| (variance / n).sqrt()),
            certified: self.certified / n,
            basis,
        }
    }
}
