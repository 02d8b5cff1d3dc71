//! Which test, from the few numbers that people give.

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stats::{
    LabelRule, Ladder, Method, StatsError, fewest_votes, tau_for_radius, two_classes_can_be_built,
    two_classes_can_be_verified,
};
use crate::units::Radius;

/// Votes at most by default, as a multiple of the fewest that could certify: enough for the power that CERTIFY has with
/// 100 votes.
const HORIZON: usize = 3;

/// The longest table: a radius that needs more is refused by the test, with what it needs.
const MOST_VOTES: usize = 1_000_000;

/// Votes of `cohen` and `fixed` by default: those of the field.
const N0: usize = 20;
const N: usize = 100;

/// Votes of `anytime` by default, and between two looks.
const ANYTIME_VOTES: usize = 1000;
const ANYTIME_EVERY: usize = 25;

/// The share of alpha that `anytime` spends on the strongest rival of a label chosen from the votes.
const RIVAL_SHARE: f64 = 0.1;

/// The tests by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TestName {
    /// Certifies the radii of --radius with the fewest votes: an exact sequential test, against the strongest rival where
    /// the votes choose the label. Of more than 10000 votes (2000 for a radius below sigma), of many long tables and for a
    /// radius of 0 it is table1
    Table,
    /// The same by the label's own votes alone: for very many votes or very small radii, and to check by hand
    Table1,
    /// The largest radius, looked at every 25 votes; stops where more votes gain little
    Anytime,
    /// Cohen et al. 2019: N0 votes choose the label, N others bound it
    Cohen,
    /// N votes choose the label and bound it
    Fixed,
}

impl TestName {
    /// The name as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Table1 => "table1",
            Self::Anytime => "anytime",
            Self::Cohen => "cohen",
            Self::Fixed => "fixed",
        }
    }
}

/// What a user says of a test. What is not said is chosen by [`method`](Self::method).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TestChoice {
    /// The test; by default `table` with radii, else `cohen`.
    pub test: Option<TestName>,
    /// Radii to certify, rising.
    pub radius: Vec<Radius>,
    /// Votes at most, for `table`, `table1` and `anytime`.
    pub n_max: Option<usize>,
    /// `anytime` stops where the next 25 votes would gain less radius than this; 0 never does.
    pub max_radius_gain: Option<f64>,
    /// Selection votes of `cohen`.
    pub n0: Option<usize>,
    /// Estimation votes of `cohen`, all votes of `fixed`.
    pub n: Option<usize>,
}

/// What a test is about.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Whether the label is fixed before the votes.
    pub label: LabelRule,
    /// How many labels may come first, for `topk:K`.
    pub topk: Option<usize>,
    /// Standard deviation of the noise.
    pub sigma: f64,
    /// The level of one claim.
    pub alpha: f64,
    /// Selection and estimation votes that a record holds, where there is one.
    pub recorded: Option<(usize, usize)>,
}

/// Choices that contradict one another. `given` and `other` are the choices' own names, for whoever spells them in
/// another way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// `topk:K` has a test of its own.
    #[error("`topk:K` has a test of its own, with `n0` and `n` votes: leave out `test` and `radius`")]
    TopK,
    /// A number that the test does not know.
    #[error("`{given}` says nothing to the test `{test}`: leave out one of them")]
    Unknown {
        /// The number's name.
        given: &'static str,
        /// The test.
        test: &'static str,
    },
    /// A table certifies radii, and none is given.
    #[error("the test `{0}` certifies radii: say which by `radius`")]
    NoRadius(&'static str),
    /// Radii that do not rise.
    #[error("`radius` names {0} before {1}: write radii in rising order, each once")]
    Falling(String, String),
}

impl TestChoice {
    /// Refuses choices that contradict one another, before anything is looked at. `topk` says that the question is
    /// `topk:K`.
    ///
    /// # Errors
    /// [`ChoiceError`].
    pub fn check(&self, topk: bool) -> Result<(), ChoiceError> {
        let test = self.test();
        if topk && test != TestName::Cohen {
            return Err(ChoiceError::TopK);
        }
        let tables = matches!(test, TestName::Table | TestName::Table1);
        let given = [
            ("radius", !self.radius.is_empty(), tables),
            ("n_max", self.n_max.is_some(), tables || test == TestName::Anytime),
            ("max_radius_gain", self.max_radius_gain.is_some(), test == TestName::Anytime),
            ("n0", self.n0.is_some(), test == TestName::Cohen),
            ("n", self.n.is_some(), matches!(test, TestName::Cohen | TestName::Fixed)),
        ];
        if let Some((given, ..)) = given.into_iter().find(|(_, given, known)| *given && !known) {
            return Err(ChoiceError::Unknown { given, test: test.name() });
        }
        if tables && self.radius.is_empty() {
            return Err(ChoiceError::NoRadius(test.name()));
        }
        let falls = |pair: &&[Radius]| !pair.is_sorted_by(|a, b| a < b);
        match self.radius.windows(2).find(falls) {
            Some([lower, upper]) => Err(ChoiceError::Falling(lower.to_string(), upper.to_string())),
            _ => Ok(()),
        }
    }

    /// The test. What can never certify is found by whoever makes it, before anything is paid.
    ///
    /// # Errors
    /// [`StatsError`] for a radius that no test can have.
    pub fn method(&self, about: About) -> Result<Method, StatsError> {
        let recorded = about.recorded;
        let all = recorded.map(|(n0, n)| n0.saturating_add(n));
        // Of a record without selection votes, whose test took none, the first are taken where a label has to be chosen.
        let usable = recorded.filter(|&(n0, _)| n0 > 0 || about.label != LabelRule::Leader);
        let n0 = self.n0.or(usable.map(|(n0, _)| n0)).unwrap_or(N0);
        let rest = usable.map(|(_, n)| n).or(all.map(|all| all.saturating_sub(n0)));
        let n = self.n.or(rest).unwrap_or(N);
        if let Some(k) = about.topk {
            return Ok(Method::Topk { k, n0, n });
        }
        Ok(match self.test() {
            TestName::Cohen => Method::Cohen { n0, n },
            TestName::Fixed => Method::Fixed { n: self.n.or(all).unwrap_or(N), rival_share: None },
            TestName::Anytime => Method::Anytime {
                n_max: self.n_max.or(all).unwrap_or(ANYTIME_VOTES),
                every: ANYTIME_EVERY,
                gain: self.max_radius_gain.unwrap_or(0.01),
                n_min: 0,
                rival_share: (about.label == LabelRule::Leader).then_some(RIVAL_SHARE),
            },
            name @ (TestName::Table | TestName::Table1) => {
                let usual = self.horizon(about)?;
                let n_max = self.n_max.unwrap_or(all.map_or(usual, |all| usual.min(all)));
                let ladder = Ladder::new(self.radius.iter().map(|radius| radius.get()).collect(), n_max);
                // Of a label fixed in advance, all dissent is the one rival's: a second bound can gain nothing. And
                // neither a long test, nor many radii, nor one of 0 are refused for want of it.
                let can = |&radius: &f64| {
                    radius > 0.0 && two_classes_can_be_built(2.0 * radius / about.sigma, n_max)
                };
                let suits = two_classes_can_be_verified(&ladder) && ladder.radii.iter().all(can);
                let two_classes = about.label == LabelRule::Leader && suits;
                if name == TestName::Table && two_classes {
                    Method::Table(ladder)
                } else {
                    Method::Table1(ladder)
                }
            }
        })
    }

    fn test(&self) -> TestName {
        self.test.unwrap_or(if self.radius.is_empty() { TestName::Cohen } else { TestName::Table })
    }

    /// Votes at most where nobody says how many.
    fn horizon(&self, about: About) -> Result<usize, StatsError> {
        let largest = self.radius.last().map_or(0.0, |radius| radius.get());
        let tau = tau_for_radius(largest, about.sigma)?;
        // A radius that no double can tell from certainty is refused with a reason by the test itself.
        let fewest = if tau < 1.0 { fewest_votes(tau, about.alpha)? } else { usize::MAX };
        Ok(fewest.saturating_mul(HORIZON).min(MOST_VOTES))
    }
}
