//! The two-class table: an exact sequential test of the gap between a label and its strongest rival.
//!
//! The test certifies at vote `certify_at[F][B]` if the label then has F dissents of which the strongest
//! rival has B. It is as strong as the one-bound table where all dissent goes to one rival, and much stronger
//! where it is spread.

use serde::{Deserialize, Serialize};

use super::one_bound::Operating;
use super::two_class_plane::Plane;

/// A sequential test of "some rival is closer to the label than the gap c = 2r/σ in z-score".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TwoClassTable {
    /// c = 2r/σ, the certified `Φ⁻¹(p_A) - Φ⁻¹(p_B)`, above 0.
    pub gap: f64,
    /// The last vote.
    pub n_max: usize,
    /// `certify_at[F][B]`, B ≤ F: the first vote at which F dissents, B of them for the strongest rival or
    /// failures, certify; 0 for never. A down-set: fewer dissents, or fewer for the rival, never certify
    /// later.
    pub certify_at: Vec<Vec<usize>>,
    /// `go_on_from[F][B]`: with these counts before that vote, the label is given up; 0, or nothing, for
    /// never. Rises with F and B. Has no part in the guarantee.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub go_on_from: Vec<Vec<usize>>,
}

impl TwoClassTable {
    /// What the test does on average for a label of probability `p_a` and one rival of `p_b`, the other
    /// answers being all different.
    pub fn operating(&self, p_a: f64, p_b: f64) -> Operating {
        let (mut votes, mut open) = (0.0, 1.0);
        let certify = self.follow(p_a, p_b, 1e-18, |t, plane| {
            let left = if t < self.n_max { plane.total() } else { 0.0 };
            votes += t as f64 * (open - left);
            open = left;
        });
        Operating { certify, votes }
    }

    /// The first of the two alone, and to about `cutoff` times the votes: what is dropped of the law's edges with each.
    pub(crate) fn certification_within(&self, p_a: f64, p_b: f64, cutoff: f64) -> f64 {
        self.follow(p_a, p_b, cutoff, |_, _| {})
    }

    /// Casts all votes and returns the probability of a certificate; `look` sees what is still open after each.
    fn follow(&self, p_a: f64, p_b: f64, cutoff: f64, mut look: impl FnMut(usize, &Plane)) -> f64 {
        let mut plane = Plane::new([p_a, p_b, (1.0 - p_a - p_b).max(0.0)], cutoff);
        let mut due = self.states_by_vote().into_iter().peekable();
        let mut certified = 0.0;
        for t in 1..=self.n_max {
            plane.step();
            while let Some((_, f, b)) = due.next_if(|&(at, _, _)| at <= t) {
                certified += plane.take(f, b);
            }
            plane.retain(|f, b| self.certifying_vote(f, b).is_some() && !self.is_futile(t, f, b));
            look(t, &plane);
            if plane.is_empty() {
                break;
            }
        }
        certified
    }

    /// The certifying states as (vote, dissents, rival), in the order of the votes.
    fn states_by_vote(&self) -> Vec<(usize, usize, usize)> {
        let mut states = Vec::new();
        for (f, row) in self.certify_at.iter().enumerate() {
            states.extend(row.iter().enumerate().filter(|&(_, &at)| at > 0).map(|(b, &at)| (at, f, b)));
        }
        states.sort_unstable();
        states
    }

    /// Whether the futility rule has the shape that the count of needed votes relies on, and never gives up on votes that
    /// all agree.
    pub(crate) fn futility_is_sane(&self) -> bool {
        let rises = |row: &[usize]| row.windows(2).all(|pair| pair[0] <= pair[1]);
        let below = |pair: &[Vec<usize>]| pair[0].iter().zip(&pair[1]).all(|(upper, lower)| upper <= lower);
        let unanimous = self.go_on_from.first().and_then(|row| row.first()).is_none_or(|&from| from <= 1);
        // A state without an entry is never given up, so a row ends where the states end that can certify.
        let whole = self
            .go_on_from
            .iter()
            .zip(&self.certify_at)
            .all(|(from, at)| from.len() >= at.iter().take_while(|&&at| at > 0).count());
        unanimous
            && whole
            && self.go_on_from.len() <= self.certify_at.len()
            && self.go_on_from.iter().all(|row| rises(row))
            && self.go_on_from.windows(2).all(below)
    }

    fn certifying_vote(&self, dissent: usize, rival: usize) -> Option<usize> {
        let at = *self.certify_at.get(dissent)?.get(rival.min(dissent))?;
        (at > 0).then_some(at)
    }

    /// Whether `agree` of t votes, with `rival` for the strongest rival, certify.
    pub(crate) fn certifies(&self, t: usize, agree: usize, rival: usize) -> bool {
        self.certifying_vote(t - agree, rival).is_some_and(|at| t >= at)
    }

    /// Whether no further votes can certify: in a down-set, the states that can be reached from a state
    /// outside the region are outside as well.
    pub(crate) fn lost(&self, t: usize, agree: usize, rival: usize) -> bool {
        self.certifying_vote(t - agree, rival).is_none()
    }

    /// Whether the futility rule gives up.
    pub(crate) fn futile(&self, t: usize, agree: usize, rival: usize) -> bool {
        self.is_futile(t, t - agree, rival.min(t - agree))
    }

    fn is_futile(&self, t: usize, dissent: usize, rival: usize) -> bool {
        self.go_on_from.get(dissent).and_then(|row| row.get(rival)).is_some_and(|&from| t < from)
    }

    /// Votes until certification if all to come agree; `None` if they cannot certify.
    pub(crate) fn until_certified(&self, t: usize, agree: usize, rival: usize) -> Option<usize> {
        self.certifying_vote(t - agree, rival).map(|at| at.saturating_sub(t))
    }

    /// Votes until the test gives up if all to come are for the strongest rival.
    pub(crate) fn until_lost(&self, t: usize, agree: usize, rival: usize) -> usize {
        let f = t - agree;
        let open = |j: &usize| {
            self.certifying_vote(f + j, rival + j).is_some()
                && !self.is_futile(t + j, f + j, (rival + j).min(f + j))
        };
        (0..self.certify_at.len()).take_while(open).count()
    }
}
