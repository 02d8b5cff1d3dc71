//! The largest radius that the votes give, valid at every vote: a mixture confidence sequence.

use super::binomial::{ln_binom_sf, ln_pmf};
use super::bounds::last_double;
use super::decision::{Abstained, Certified, Decision, Evidence, Reason};
use super::error::{StatsError, check, check_alpha, check_counts, check_sigma};
use super::label::LabelRule;
use super::radius::{radius_l2, radius_l2_two_class, report};
use super::vote::{Tally, Vote};

/// Weight of the bet that no vote ever dissents.
const UNANIMOUS_WEIGHT: f64 = 0.25;

/// Votes that a test can have at most.
const MOST_VOTES: usize = 100_000_000;

/// The largest gain: more than any radius. A document holds no number without end, and few beyond 2^53.
const MOST_GAIN: f64 = 1000.0;

/// Error granted to the logarithm of the wealth.
const WEALTH_ERROR: f64 = 1e-10;

/// `ln W_m`, the wealth after `agree` votes for the label and `dissent` others of a bettor against p ≤ m:
/// `w [F = 0] m^-S + (1-w) B(S+1, F+1) I_{1-m}(F+1, S+1) / ((1-m) m^S (1-m)^F)`, w = 1/4, for m in [1/2, 1).
///
/// The second part is the average, over q uniform on (m, 1), of the likelihood ratio of q against m; the
/// first that of q = 1. For p ≤ m each is a non-negative supermartingale with mean at most 1, so `W_m` ever
/// reaches 1/α with probability at most α (Ville 1939).
///
/// # Errors
/// [`StatsError::OutOfRange`] for m outside [1/2, 1), [`StatsError::Counts`] for no votes at all.
pub fn anytime_log_wealth(m: f64, agree: usize, dissent: usize) -> Result<f64, StatsError> {
    check_counts(agree, agree.saturating_add(dissent))?;
    Ok(ln_wealth(check("m", m, (0.5..1.0).contains(&m), "at least 1/2 and below 1")?, agree, dissent))
}

fn ln_wealth(m: f64, agree: usize, dissent: usize) -> f64 {
    let votes = agree + dissent;
    // B(S+1, F+1) / (m^S (1-m)^F) = 1 / ((n+1) P(Bin(n, m) = S)).
    let mixture = (1.0 - UNANIMOUS_WEIGHT).ln() + ln_binom_sf(dissent + 1, votes + 1, 1.0 - m)
        - (votes as f64 + 1.0).ln()
        - (1.0 - m).ln()
        - ln_pmf(agree, votes, m, 1.0 - m);
    if dissent > 0 {
        return mixture;
    }
    let unanimous = UNANIMOUS_WEIGHT.ln() - agree as f64 * m.ln();
    mixture.max(unanimous) + (-(mixture - unanimous).abs()).exp().ln_1p()
}

/// A lower bound on the label's probability that holds at all numbers of votes at once: the largest m up to
/// which the wealth has reached 1/level. `None` where not even m = 1/2 is excluded.
///
/// True probability ≥ the result at every vote, with probability ≥ 1-α; the largest result so far is a bound
/// too.
///
/// # Errors
/// [`StatsError::Counts`] and [`StatsError::OutOfRange`] as for [`super::cp_lower`].
pub fn anytime_lower(
    agree: usize,
    votes: usize,
    alpha: f64,
    label: LabelRule,
) -> Result<Option<f64>, StatsError> {
    check_counts(agree, votes)?;
    check_alpha(alpha)?;
    Ok(lower(agree, votes, alpha, label.check()?))
}

fn lower(agree: usize, votes: usize, alpha: f64, label: LabelRule) -> Option<f64> {
    let dissent = votes - agree;
    let excluded = |m: f64| ln_wealth(m, agree, dissent) + label.level(m, alpha).ln() >= WEALTH_ERROR;
    // Up to here the wealth falls with m, because its derivative is
    // W ((F+1)/(1-m) - S/m) - 1/(1-m) or less: what is excluded is an interval.
    let end = agree as f64 / (votes as f64 + 1.0);
    if end <= 0.5 || !excluded(0.5) {
        return None;
    }
    Some(if excluded(end) { end } else { last_double(0.5, end, excluded) })
}

/// The parameters of a test that goes on while it gains radius.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Anytime {
    pub(crate) sigma: f64,
    pub(crate) alpha: f64,
    pub(crate) label: LabelRule,
    /// The last vote.
    pub(crate) n_max: usize,
    /// Votes between two looks.
    pub(crate) every: usize,
    /// No look before this vote ends the test.
    pub(crate) n_min: usize,
    /// The test ends where the next `every` votes would add less than this radius.
    pub(crate) gain: f64,
    /// The share of α that bounds the strongest rival, if it is bounded.
    pub(crate) rival_share: Option<f64>,
}

/// A radius with the bounds it comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bounds {
    radius: f64,
    p_lower: f64,
    rival_upper: Option<f64>,
}

impl Anytime {
    pub(crate) fn check(&self) -> Result<(), StatsError> {
        check_sigma(self.sigma)?;
        check_alpha(self.alpha)?;
        self.label.check()?;
        check("gain", self.gain, (0.0..=MOST_GAIN).contains(&self.gain), "between 0 and 1000")?;
        if let Some(share) = self.rival_share {
            check("rival_share", share, share > 0.0 && share < 1.0, "strictly between 0 and 1")?;
            if matches!(self.label, LabelRule::Open { .. }) {
                return Err(StatsError::NotExclusive);
            }
        }
        for (name, value) in [("every", self.every), ("n_max", self.n_max)] {
            if value == 0 || value > MOST_VOTES {
                return Err(StatsError::Parameter { name, value, range: "between 1 and 100000000" });
            }
        }
        if self.largest_radius() > 0.0 {
            return Ok(());
        }
        let reaches = |n: usize| self.bounds(n, 0, n).is_some_and(|bounds| bounds.radius > 0.0);
        let needed = super::bounds::first_count(self.n_max + 1, self.n_max + 4096, reaches);
        Err(StatsError::Infeasible {
            claim: "any radius".to_owned(),
            votes: self.n_max,
            needed,
            largest: None,
        })
    }

    /// The largest radius that the votes can give, by unanimity; rounded down.
    pub(crate) fn largest_radius(&self) -> f64 {
        self.bounds(self.n_max, 0, self.n_max).map_or(0.0, |bounds| report(bounds.radius))
    }

    /// The bounds and the radius, not rounded, that `agree` of `votes` give against `rival`.
    fn bounds(&self, agree: usize, rival: usize, votes: usize) -> Option<Bounds> {
        let Some(share) = self.rival_share else {
            let p_lower = lower(agree, votes, self.alpha, self.label)?;
            return Some(Bounds { radius: radius_l2(p_lower, self.sigma).ok()?, p_lower, rival_upper: None });
        };
        // Above 1/2 the label is the most likely one, so its strongest rival is one fixed label too.
        let p_lower = lower(agree, votes, (1.0 - share) * self.alpha, self.label)?;
        let not_rival = lower(votes - rival, votes, share * self.alpha, LabelRule::Fixed).unwrap_or(0.0);
        let rival_upper = (1.0 - not_rival).next_up().min(1.0);
        let radius = radius_l2_two_class(p_lower, rival_upper, self.sigma).ok()?;
        Some(Bounds { radius, p_lower, rival_upper: Some(rival_upper) })
    }

    pub(crate) fn radius(&self, agree: usize, rival: usize, votes: usize) -> f64 {
        self.bounds(agree, rival, votes).map_or(0.0, |bounds| bounds.radius)
    }

    /// The radius gained by the next votes if they agree at the rate so far.
    fn expected_gain(&self, agree: usize, rival: usize, votes: usize) -> f64 {
        let later = votes + self.every;
        let scaled = |count: usize| (2 * count * later + votes) / (2 * votes);
        self.radius(scaled(agree), scaled(rival).min(later - scaled(agree)), later)
            - self.radius(agree, rival, votes)
    }
}

/// The votes of one such test so far.
#[derive(Debug, Clone)]
pub(crate) struct AnytimeRun {
    label: Option<usize>,
    tally: Tally,
    /// The largest radius at any look, and whose it is.
    best: Option<(usize, Bounds)>,
}

impl AnytimeRun {
    pub(crate) fn new(label: Option<usize>) -> Self {
        Self { label, tally: Tally::new(), best: None }
    }

    /// Counts one vote and decides.
    pub(crate) fn push(&mut self, test: &Anytime, vote: Vote) -> Decision {
        self.tally.push(vote);
        let votes = self.tally.votes();
        if !votes.is_multiple_of(test.every) && votes < test.n_max {
            return Decision::Continue;
        }
        self.look(test);
        let Evidence { agree, rival, .. } = self.evidence();
        if votes >= test.n_max {
            self.settle(Reason::Exhausted)
        } else if test.gain > 0.0
            && votes >= test.n_min
            && test.expected_gain(agree, rival, votes) < test.gain
        {
            self.settle(Reason::Futile)
        } else {
            Decision::Continue
        }
    }

    /// Takes the radius of this vote if it is the largest so far.
    fn look(&mut self, test: &Anytime) {
        let Evidence { votes, agree, rival, .. } = self.evidence();
        let Some(class) = self.class() else { return };
        let best_so_far = self.best.map_or(0.0, |(_, bounds)| bounds.radius);
        if let Some(bounds) = test.bounds(agree, rival, votes).filter(|bounds| bounds.radius > best_so_far) {
            self.best = Some((class, bounds));
        }
    }

    /// The decision when no further votes are counted.
    pub(crate) fn settle(&self, reason: Reason) -> Decision {
        let evidence = self.evidence();
        match self.best {
            Some((class, Bounds { radius, p_lower, rival_upper })) => Decision::Certified(Certified {
                class,
                radius: report(radius),
                p_lower: Some(p_lower),
                rival_upper,
                evidence,
            }),
            None => Decision::Abstained(Abstained { reason, class: self.class(), evidence }),
        }
    }

    /// Votes until the next look.
    pub(crate) fn needed(&self, test: &Anytime) -> usize {
        let votes = self.tally.votes();
        (test.every - votes % test.every).min(test.n_max.saturating_sub(votes))
    }

    fn class(&self) -> Option<usize> {
        self.label.or_else(|| self.tally.leader())
    }

    pub(crate) fn evidence(&self) -> Evidence {
        let votes = self.tally.votes();
        let class = self.class();
        Evidence {
            votes,
            selection: 0,
            agree: class.map_or(0, |class| self.tally.agree(class)),
            rival: class.map_or(votes, |class| self.tally.rival(class)),
        }
    }
}
