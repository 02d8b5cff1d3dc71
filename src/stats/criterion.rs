//! What final counts prove: the criteria of all tests whose number of votes is fixed in advance.

use super::binomial::{TAIL_ERROR, binom_sf, binom_test_half};
use super::bounds::{last_double, lower_bound, upper_bound};
use super::error::{StatsError, check, check_alpha, check_sigma};
use super::label::LabelRule;
use super::radius::{radius_l2, radius_l2_two_class, report};

/// What the final counts are held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Claim {
    /// `p_A > 1/2` and its radius, by a lower bound on `p_A`.
    Majority,
    /// `Φ⁻¹(p_A) > Φ⁻¹(p_B)` and its radius, by a lower bound on `p_A` at (1-share) α and an upper bound on
    /// the strongest rival at share·α.
    Gap {
        /// The share of α that the rival's bound spends.
        rival_share: f64,
    },
    /// `p_A > p_B`, with no radius, by the two-sided binomial test.
    MostLikely,
}

/// What the final counts prove.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Proof {
    pub(crate) radius: f64,
    pub(crate) p_lower: Option<f64>,
    pub(crate) rival_upper: Option<f64>,
}

/// A claim with its level: everything about a fixed-size test but the number of votes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Criterion {
    pub(crate) claim: Claim,
    pub(crate) sigma: f64,
    pub(crate) alpha: f64,
    pub(crate) label: LabelRule,
}

impl Criterion {
    pub(crate) fn check(&self) -> Result<(), StatsError> {
        check_sigma(self.sigma)?;
        check_alpha(self.alpha)?;
        self.label.check()?;
        if let Claim::Gap { rival_share } = self.claim {
            check(
                "rival_share",
                rival_share,
                rival_share > 0.0 && rival_share < 1.0,
                "strictly between 0 and 1",
            )?;
            if matches!(self.label, LabelRule::Open { .. }) {
                return Err(StatsError::NotExclusive);
            }
        }
        Ok(())
    }

    /// What `agree` votes of `votes` against `rival` prove, if anything.
    pub(crate) fn prove(&self, agree: usize, rival: usize, votes: usize) -> Option<Proof> {
        match self.claim {
            Claim::Majority => {
                let p_lower = self.p_lower(agree, votes, self.alpha).filter(|&p| p > 0.5)?;
                let radius = report(radius_l2(p_lower, self.sigma).ok()?);
                Some(Proof { radius, p_lower: Some(p_lower), rival_upper: None })
            }
            Claim::Gap { rival_share } => {
                let p_lower = self.p_lower(agree, votes, (1.0 - rival_share) * self.alpha)?;
                let rival_upper = upper_bound(rival, votes, rival_share * self.alpha);
                let radius = radius_l2_two_class(p_lower, rival_upper, self.sigma).ok()?;
                let proof =
                    Proof { radius: report(radius), p_lower: Some(p_lower), rival_upper: Some(rival_upper) };
                (radius > 0.0).then_some(proof)
            }
            Claim::MostLikely => {
                let level = match self.label {
                    // Hung and Fithian 2019: the test of the winner against the runner-up needs no
                    // correction.
                    LabelRule::Fixed | LabelRule::Leader => self.alpha,
                    LabelRule::Open { max_labels } => self.alpha / max_labels as f64,
                };
                let wins = agree > rival && binom_test_half(agree, agree + rival).ok()? <= level;
                wins.then_some(Proof { radius: 0.0, p_lower: None, rival_upper: None })
            }
        }
    }

    /// The lower bound on `p_A` at the level that the label rule leaves of `alpha`; `None` where it leaves
    /// nothing.
    fn p_lower(&self, agree: usize, votes: usize, alpha: f64) -> Option<f64> {
        if self.label == LabelRule::Fixed {
            return Some(lower_bound(agree, votes, alpha));
        }
        // The level rises with m, much more slowly than the tail: both sides cross once above 1/2.
        let holds = |m: f64| binom_sf(agree, votes, m) <= self.label.level(m, alpha) * (1.0 - TAIL_ERROR);
        holds(0.5).then(|| last_double(0.5, 1.0, holds))
    }
}
