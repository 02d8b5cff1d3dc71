//! The builder of two-class tables.
//!
//! It only has to find a good region: [`super::verify_two_class`] proves that the region keeps the level, by other
//! means.

use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};

use rayon::prelude::*;

use super::error::{StatsError, check};
use super::normal::{normal_cdf, normal_quantile};
use super::one_bound::Spending;
use super::two_class::TwoClassTable;
use super::two_class_plane::Plane;
use super::verify_two_class::{CORNERS, null_corners};

/// Votes that a two-class table can span at most: building and checking one that long takes minutes (docs/benchmarks.md).
const MOST_VOTES: usize = 10_000;

/// Votes beyond which a table is long.
const LONG: usize = 2000;

/// Null distributions for which the law of the states is followed; the others are reached from the nearest of these. The more
/// votes, the narrower the laws, and a state that is likely under one null must not be unheard of under its anchor, from which its
/// probability is taken: with 16 for 10 000 votes, the check refuses what is built.
const fn anchors(n_max: usize) -> usize {
    if n_max <= LONG {
        8
    } else if n_max <= 7000 {
        16
    } else {
        32
    }
}

/// The least gap of a long table, a radius of σ: the smaller the gap, the more states there are, and the longer everybody
/// who checks a certificate would build.
const LONG_GAP: f64 = 2.0;

/// Whether a table of so many votes can be had for this gap at all.
pub(crate) fn two_classes_can_be_built(gap: f64, n_max: usize) -> bool {
    n_max <= LONG || n_max <= MOST_VOTES && gap >= LONG_GAP
}

/// Points of the null curve at which the likelihood is maximised.
const CURVE: usize = 256;

impl TwoClassTable {
    /// Builds the table for a gap c = 2r/σ above 0, a level in (0, 1) and the last vote. `futility` is as in
    /// `OneBoundTable::build`.
    ///
    /// Votes t = 1, 2, … are gone through with the law of the states (F, B) under each corner null. Each time
    /// the states whose better neighbours all certify are tried in the order of how strongly they speak
    /// against the null, and made certifying if their probability fits in what may be spent by then under
    /// every corner.
    ///
    /// # Errors
    /// [`StatsError::Infeasible`] with the fewest votes that would do; [`StatsError::Parameter`] for an
    /// `n_max` out of range; [`StatsError::OutOfRange`] for a gap that is not positive.
    pub(crate) fn build(gap: f64, level: f64, n_max: usize, futility: f64) -> Result<Self, StatsError> {
        check(
            "2 radius / sigma",
            gap,
            gap > 0.0 && gap <= 16.0,
            "above 0 and at most 16 for a two-class table",
        )?;
        if n_max == 0 || !two_classes_can_be_built(gap, n_max) {
            let range = "between 1 and 10000 for a two-class table, and at most 2000 for a radius below sigma; longer tests have one \
                         bound";
            return Err(StatsError::Parameter { name: "n_max", value: n_max, range });
        }
        let certify_at = Builder::new(gap, level, n_max).run()?;
        let mut table = Self { gap, n_max, certify_at, go_on_from: Vec::new() };
        if futility > 0.0 {
            table.add_futility(futility);
        }
        Ok(table)
    }
}

/// The logarithms of the probabilities of a null distribution.
#[derive(Debug, Clone, Copy)]
struct Null {
    label: f64,
    rival: f64,
    rest: f64,
}

impl Null {
    fn new(p_a: f64, p_b: f64) -> Self {
        Self { label: p_a.ln(), rival: p_b.ln(), rest: (1.0 - p_a - p_b).max(0.0).ln() }
    }

    /// ln of the probability of one sequence with these counts.
    fn ln_likelihood(&self, agree: f64, rival: f64, rest: f64) -> f64 {
        // 0 ln 0 = 0: what has probability 0 does no harm where it did not occur.
        let times = |count: f64, ln: f64| if count > 0.0 { count * ln } else { 0.0 };
        times(agree, self.label) + times(rival, self.rival) + times(rest, self.rest)
    }
}

/// A corner null: how it differs from its anchor, and what has been spent under it.
#[derive(Debug, Clone, Copy)]
struct Corner {
    anchor: usize,
    null: Null,
    spent: f64,
}

/// A state that may be admitted next, ordered by how strongly it speaks against the null.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    ln_evidence: f64,
    dissent: usize,
    rival: usize,
}

impl Eq for Candidate {}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_evidence = self.ln_evidence.total_cmp(&other.ln_evidence);
        by_evidence.then_with(|| (other.dissent, other.rival).cmp(&(self.dissent, self.rival)))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

struct Builder {
    gap: f64,
    n_max: usize,
    spending: Spending,
    fewest: usize,
    /// No state with more dissents is tried: a limit to the work only.
    most_dissent: usize,
    anchors: Vec<(Null, Plane)>,
    corners: Vec<Corner>,
    evidence: Evidence,
    certify_at: Vec<Vec<usize>>,
    frontier: BTreeSet<(usize, usize)>,
}

impl Builder {
    fn new(gap: f64, level: f64, n_max: usize) -> Self {
        let tau = normal_cdf(0.5 * gap);
        let spending = Spending::new(level, tau, n_max);
        let fewest = spending.fewest_votes(tau);
        let share = f64::min(0.75, 2.2 * (1.0 - tau));
        let most_dissent = n_max.min((n_max as f64 * share) as usize + 4);
        let nulls = null_corners(gap, CORNERS);
        let count = anchors(n_max);
        let stride = CORNERS / count;
        // Far below any probability that matters, and light enough for the likelihood ratios to the next
        // corners.
        let plane = |(a, b): (f64, f64)| Plane::new([a, b, (1.0 - a - b).max(0.0)], 1e-35);
        let anchors = (0..count).map(|k| nulls[k * stride + stride / 2]);
        let anchors = anchors.map(|(a, b)| (Null::new(a, b), plane((a, b)))).collect();
        let corner = |(i, &(a, b)): (usize, &(f64, f64))| Corner {
            anchor: i / stride,
            null: Null::new(a, b),
            spent: 0.0,
        };
        Self {
            gap,
            n_max,
            spending,
            fewest,
            most_dissent,
            anchors,
            corners: nulls.iter().enumerate().map(corner).collect(),
            evidence: Evidence::new(gap, tau, n_max),
            certify_at: Vec::new(),
            frontier: BTreeSet::from([(0, 0)]),
        }
    }

    fn run(mut self) -> Result<Vec<Vec<usize>>, StatsError> {
        // Where not even unanimity is enough there is nothing to build.
        let last = if self.fewest > self.n_max { 0 } else { self.n_max };
        for t in 1..=last {
            let most = self.most_dissent;
            let step = |(_, plane): &mut (Null, Plane)| {
                plane.step();
                plane.forget_dissents_from(most + 1);
            };
            if self.n_max > LONG {
                self.anchors.par_iter_mut().for_each(step);
            } else {
                self.anchors.iter_mut().for_each(step);
            }
            self.admit(t);
        }
        if self.certify_at.is_empty() {
            let claim = format!("a gap of {:.6} sigma", 0.5 * self.gap);
            return Err(StatsError::Infeasible {
                claim,
                votes: self.n_max,
                needed: self.fewest,
                largest: None,
            });
        }
        Ok(self.certify_at)
    }

    /// Admits what can be admitted at vote t.
    fn admit(&mut self, t: usize) {
        let cap = self.spending.by(t);
        let candidate = |evidence: &Evidence, (dissent, rival): (usize, usize)| {
            let ln_evidence = evidence.ln(t, dissent, rival);
            (ln_evidence > f64::NEG_INFINITY).then_some(Candidate { ln_evidence, dissent, rival })
        };
        let open = self.frontier.iter().copied().filter(|&(f, _)| f <= t);
        let mut heap: BinaryHeap<Candidate> =
            open.filter_map(|state| candidate(&self.evidence, state)).collect();
        while let Some(Candidate { dissent, rival, .. }) = heap.pop() {
            if !self.spend(t, dissent, rival, cap) {
                continue;
            }
            self.frontier.remove(&(dissent, rival));
            if self.certify_at.len() <= dissent {
                self.certify_at.push(vec![0; dissent + 1]);
            }
            self.certify_at[dissent][rival] = t;
            for (f, b) in [(dissent + 1, rival), (dissent + 1, rival + 1), (dissent, rival + 1)] {
                if self.is_next(f, b) && self.frontier.insert((f, b)) && f <= t {
                    heap.extend(candidate(&self.evidence, (f, b)));
                }
            }
        }
    }

    /// Spends the probability of a state under every corner, if it fits everywhere.
    fn spend(&mut self, t: usize, dissent: usize, rival: usize, cap: f64) -> bool {
        let counts = [t - dissent, rival, dissent - rival].map(|count| count as f64);
        let likelihood = |null: &Null| null.ln_likelihood(counts[0], counts[1], counts[2]);
        // All sequences that lead to a state have the same probability, so the state's probability under one
        // null is that under another times the ratio for one sequence.
        let known: Vec<(f64, f64)> =
            self.anchors.iter().map(|(null, plane)| (plane.at(dissent, rival), likelihood(null))).collect();
        let mass = |corner: &Corner| {
            let (at_anchor, ln_at_anchor) = known[corner.anchor];
            carried(at_anchor, likelihood(&corner.null) - ln_at_anchor)
        };
        let masses: Vec<f64> = self.corners.iter().map(mass).collect();
        let fits = self.corners.iter().zip(&masses).all(|(corner, mass)| corner.spent + mass <= cap);
        if fits {
            for (corner, mass) in self.corners.iter_mut().zip(&masses) {
                corner.spent += mass;
            }
            for (_, plane) in &mut self.anchors {
                plane.take(dissent, rival);
            }
        }
        fits
    }

    /// Whether a state is one that keeps the region a down-set and is not in it.
    fn is_next(&self, dissent: usize, rival: usize) -> bool {
        let within = rival <= dissent && dissent <= self.most_dissent;
        let admitted =
            |f: usize, b: usize| self.certify_at.get(f).and_then(|row| row.get(b)).is_some_and(|&at| at > 0);
        within
            && !admitted(dissent, rival)
            && (rival == 0 || admitted(dissent, rival - 1))
            && (rival + 1 > dissent || admitted(dissent - 1, rival))
            && (rival == 0 || admitted(dissent - 1, rival - 1))
    }
}

/// A probability under one null from that under another and the logarithm of the ratio of the two. Nothing stays nothing, however
/// large the ratio: for a state that is far from both it overflows.
fn carried(probability: f64, ln_ratio: f64) -> f64 {
    if probability > 0.0 { probability * ln_ratio.exp() } else { 0.0 }
}

/// How strongly counts speak against the null: a mixture likelihood over the largest likelihood of the null
/// curve.
struct Evidence {
    gap: f64,
    curve: Vec<Null>,
    /// ln Γ(i + 1) and ln Γ(i + ½) for i = 0, 1, …
    ln_gamma: Vec<(f64, f64)>,
}

impl Evidence {
    fn new(gap: f64, tau: f64, n_max: usize) -> Self {
        let point = |i: usize| {
            let b = (1.0 - tau) * (i as f64 / CURVE as f64).powf(1.5);
            let a = if i == CURVE { tau } else { normal_cdf(gap + normal_quantile(b)) };
            let rest = 1.0 - a - b;
            // The end of the curve has no rest; what occurred all the same has hardly any likelihood there.
            Null { label: a.ln(), rival: b.ln(), rest: if rest > 1e-15 { rest.ln() } else { -1e6 } }
        };
        let mut ln_gamma = vec![(0.0, std::f64::consts::PI.sqrt().ln())];
        for i in 0..=n_max {
            let (whole, half) = ln_gamma[i];
            ln_gamma.push((whole + (i as f64 + 1.0).ln(), half + (i as f64 + 0.5).ln()));
        }
        Self { gap, curve: (1..=CURVE).map(point).collect(), ln_gamma }
    }

    /// ln of 4/5 of a Dirichlet(1, ½, ½) mixture plus 1/5 for no dissent at all, over the null's likelihood;
    /// -∞ for counts that do not speak against the null.
    fn ln(&self, t: usize, dissent: usize, rival: usize) -> f64 {
        let (agree, rest) = (t - dissent, dissent - rival);
        let within = |p: f64| p.clamp(1e-12, 1.0 - 1e-12);
        let z_label = normal_quantile(within(agree as f64 / t as f64));
        let z_rival = normal_quantile(within((rival as f64).max(0.5) / t as f64));
        if agree == 0 || z_label - z_rival <= self.gap {
            return f64::NEG_INFINITY;
        }
        let half = |i: usize| self.ln_gamma[i].1;
        let mut mixture =
            0.8_f64.ln() + self.ln_gamma[agree].0 - self.ln_gamma[t + 1].0 + half(rival) + half(rest)
                - 2.0 * half(0);
        if dissent == 0 {
            let atom = 0.2_f64.ln();
            mixture = mixture.max(atom) + (-(mixture - atom).abs()).exp().ln_1p();
        }
        let likelihood = |null: &Null| null.ln_likelihood(agree as f64, rival as f64, rest as f64);
        mixture - self.curve.iter().map(likelihood).fold(f64::NEG_INFINITY, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::carried;

    #[test]
    fn a_state_that_nobody_reaches_costs_nothing_however_unlikely_the_anchor_finds_it() {
        assert_eq!(carried(0.0, 800.0).to_bits(), 0.0_f64.to_bits());
        assert!((carried(1e-30, 60.0) - 1e-30 * 60.0_f64.exp()).abs() < 1e-12);
    }
}
