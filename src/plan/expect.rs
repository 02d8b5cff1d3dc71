//! What a test takes for one picture, at least, at most and on average.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::Prior;
use crate::replay;
use crate::stats::{Decision, LabelRule, Method, StatsError, Test, Vote};

/// Votes that simulations cast in all, at most; and pictures.
const SIMULATED_VOTES: usize = 2_000_000;
const SIMULATED_PICTURES: usize = 4_000;

/// What follows from the test alone.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Extremes {
    /// Before this many votes no decision can fall, whatever they say.
    pub least_votes: u64,
    /// With this many votes it certifies where all agree.
    pub votes_if_all_agree: u64,
    /// No run asks for more.
    pub most_votes: u64,
    /// The largest radius that it can certify, in the unit of sigma.
    pub largest_radius: f64,
}

/// What a test does on average.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Expected {
    /// Votes a picture.
    pub votes: f64,
    /// The standard error of that; 0 where it was computed exactly, `None` where there was but one picture.
    pub votes_error: Option<f64>,
    /// The share of pictures that are certified (predicted, for `predict`).
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
    /// Of this test.
    ///
    /// # Errors
    /// None for a test that was made.
    pub fn of(test: &Test) -> Result<Self, StatsError> {
        let mut run = test.start(fixed(test))?;
        let least_votes = run.needed() as u64;
        while !run.push(Vote::For(0)).is_final() {}
        Ok(Self {
            least_votes,
            votes_if_all_agree: run.evidence().votes as u64,
            most_votes: test.max_votes() as u64,
            largest_radius: test.largest_radius(),
        })
    }
}

/// What the test takes on average for pictures of this prior. The same numbers for the same arguments, on any machine.
///
/// Exact for a label fixed by the question, a test by a one-bound table of one radius and a prior of one share: then it is a sum
/// over the table's states.
///
/// # Errors
/// None for a test that was made.
pub fn expect(test: &Test, prior: Prior) -> Result<Expected, StatsError> {
    let agreement = prior.to_string();
    let one_radius = match &test.plan().method {
        Method::Table1(ladder) => ladder.radii.len() == 1,
        _ => false,
    };
    // The law follows one label: it is that of the test only where no rival can take the lead.
    let one_label = test.plan().label == LabelRule::Fixed;
    if let Some(share) = prior.point().filter(|_| one_radius && one_label)
        && let Some(law) = test.operating(share, Prior::rival(share))
    {
        let basis = Basis::Law { agreement };
        return Ok(Expected { votes: law.votes, votes_error: Some(0.0), certified: law.certify, basis });
    }
    let mut sums = Sums::default();
    simulate(test, prior, |votes, certified| sums.add(votes as f64, certified))?;
    let pictures = sums.pictures;
    Ok(sums.expected(Basis::Simulation { agreement, pictures }))
}

/// Runs the test on simulated pictures of this prior, from a fixed seed, and tells of each how many votes it took and
/// whether it was certified.
pub(super) fn simulate(test: &Test, prior: Prior, mut each: impl FnMut(u64, bool)) -> Result<(), StatsError> {
    let pictures = (SIMULATED_VOTES / test.max_votes().max(1)).clamp(200, SIMULATED_PICTURES);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    for _ in 0..pictures {
        let share = prior.draw(&mut rng);
        let mut run = test.start(fixed(test))?;
        let mut votes = 0;
        let decision = loop {
            // Votes that agree are label 0, the rival's 1, and no other label comes twice.
            let decision = run.push(Prior::vote(share, votes + 2, &mut rng));
            votes += 1;
            if decision.is_final() {
                break decision;
            }
        };
        each(votes as u64, matches!(decision, Decision::Certified(_)));
    }
    Ok(())
}

impl Expected {
    /// From rows of a [`replay`] of recorded answers through this test; `None` without rows.
    pub fn of_rows<'r>(rows: impl IntoIterator<Item = &'r replay::Row>) -> Option<Self> {
        let (mut sums, mut cut_short) = (Sums::default(), 0);
        for row in rows {
            sums.add(row.votes as f64, row.outcome == replay::Outcome::Certified);
            cut_short += u64::from(row.cut_short);
        }
        let pictures = sums.pictures;
        (pictures > 0).then(|| sums.expected(Basis::Record { pictures, cut_short }))
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
    certified: u64,
    votes: f64,
    squares: f64,
}

impl Sums {
    fn add(&mut self, votes: f64, certified: bool) {
        self.pictures += 1;
        self.certified += u64::from(certified);
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
            certified: self.certified as f64 / n,
            basis,
        }
    }
}
