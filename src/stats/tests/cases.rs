//! Every test under every label rule, at the edge of what it may claim, and how often it claims too much.

use rayon::prelude::*;

use super::importance;
use super::pipeline::{Breach, gather};
use super::simulation::{Law, is_false};
use crate::stats::*;

/// The standard deviation of the noise: radii are in its unit.
pub(super) const SIGMA: f64 = 0.25;

/// The share of the dissenting answers that are lost for good.
const LOST: f64 = 0.3;

/// A test with a law under which what it could claim is just false, or false beyond some radius.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) test: Test,
    /// What the base classifier says.
    pub(super) law: Law,
    /// So many labels are asked about, each with this law, independently of each other: a claim about any of them that is
    /// false is an error.
    pub(super) labels: u64,
}

/// An estimate of a probability.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) share: f64,
    /// Its standard error.
    pub(super) error: f64,
}

impl Case {
    pub(super) fn new(name: &'static str, alpha: f64, label: LabelRule, method: Method, law: &[f64]) -> Self {
        let test = Test::new(Plan { sigma: SIGMA, alpha, label, method }).unwrap();
        Self { name, test, law: Law::new(law).losing(LOST), labels: 1 }
    }

    /// The class that is asked about, for a rule that wants one.
    pub(super) fn label(&self) -> Option<usize> {
        (self.test.plan().label != LabelRule::Leader).then_some(0)
    }

    pub(super) fn alpha(&self) -> f64 {
        self.test.plan().alpha
    }

    /// Does a decision claim what is false?
    pub(super) fn is_false(&self, decision: &Decision) -> bool {
        decision.certified().is_some_and(|certified| is_false(&self.test, certified, &self.law))
    }

    /// The share of `runs` runs that end in a false certificate.
    pub(super) fn share(&self, runs: u64, breach: Breach) -> Share {
        let errs = |label: u64, run: u64| {
            let gathered = gather(&self.test, self.label(), &self.law, (label + 1, run), breach);
            self.is_false(&gathered.decision)
        };
        let wrong = |&run: &u64| (0..self.labels).any(|label| errs(label, run));
        let share = (0..runs).into_par_iter().filter(wrong).count() as f64 / runs as f64;
        Share { share, error: (share * (1.0 - share) / runs as f64).sqrt() }
    }

    /// The same by importance sampling, for levels that plain simulation is too short for.
    pub(super) fn share_by_importance(&self, runs: u64) -> Share {
        let Share { share, error } = importance::share(self, runs);
        // The labels are independent of each other.
        let labels = self.labels as f64;
        let other = (1.0 - share).powf(labels - 1.0);
        Share { share: 1.0 - (1.0 - share) * other, error: error * labels * other }
    }

    /// What an estimate may come to where the probability is α: four standard errors above. Where nothing, or next to
    /// nothing, was seen the error is that of α itself.
    pub(super) fn at_most(&self, Share { error, .. }: Share, runs: u64) -> f64 {
        let alpha = self.alpha();
        alpha + 4.0 * error.max((alpha * (1.0 - alpha) / runs as f64).sqrt())
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Plan { label, alpha, method, .. } = self.test.plan();
        write!(f, "{} ({} {label:?}, alpha {alpha}, {:?})", self.name, method.name(), self.law.classes)
    }
}

/// A probability just below one at which the claim would be true.
fn just_below(p: f64) -> f64 {
    p - 1e-9
}

/// The edge of the one-bound claim of a radius.
pub(super) fn tau(radius: f64) -> f64 {
    just_below(tau_for_radius(radius, SIGMA).unwrap())
}

/// The edge of the two-class claim of a radius: the label's probability for a rival that has this share of 1-τ.
pub(super) fn edge(radius: f64, share: f64) -> [f64; 2] {
    let rival = (1.0 - tau(radius)) * share;
    [just_below(normal_cdf(2.0 * radius / SIGMA + normal_quantile(rival))), rival]
}

/// All of them at one level.
pub(super) fn cases(alpha: f64) -> Vec<Case> {
    let mut cases = Vec::new();
    for rule in [LabelRule::Fixed, LabelRule::Leader] {
        largest_radius(alpha, rule, &mut cases);
        tables(alpha, rule, &mut cases);
    }
    open_vocabularies(alpha, &mut cases);
    cases
}

/// Tests that claim what they can, at laws on both sides of 1/2.
fn largest_radius(alpha: f64, rule: LabelRule, cases: &mut Vec<Case>) {
    let mut add = |name, method: Method, law: &[f64]| cases.push(Case::new(name, alpha, rule, method, law));
    let anytime =
        |every, gain, rival_share| Method::Anytime { n_max: 60, every, gain, n_min: 0, rival_share };
    for (p, share) in [(0.5, 1.0), (0.8, 0.4)] {
        let (one, two) = ([p, 1.0 - p], [p, (1.0 - p) * share]);
        add("CERTIFY", Method::Cohen { n0: 10, n: 60 }, &one);
        add("fixed number, one bound", Method::Fixed { n: 60, rival_share: None }, &one);
        add("fixed number, two bounds", Method::Fixed { n: 60, rival_share: Some(0.1) }, &two);
        add("anytime, one bound", anytime(10, 0.0, None), &one);
        add("anytime, two bounds", anytime(10, 0.0, Some(0.1)), &two);
    }
    add("anytime, impatient", anytime(10, 0.01, None), &[0.8, 0.2]);
    add("PREDICT", Method::Predict { n: 60 }, &[0.5, 0.5]);
    add("PREDICT", Method::Predict { n: 60 }, &[0.3, 0.3, 0.2]);
    // The third of three, and the second of two beyond its radius.
    add("top 2", Method::Topk { k: 2, n0: 5, n: 60 }, &[0.25, 0.25, 0.25]);
    add("top 2", Method::Topk { k: 2, n0: 5, n: 60 }, &[0.3, 0.6]);
}

/// Tests by tables, at the edge of what each claims.
fn tables(alpha: f64, rule: LabelRule, cases: &mut Vec<Case>) {
    let mut add = |name, method: Method, law: &[f64]| cases.push(Case::new(name, alpha, rule, method, law));
    let ladder = |radii: &[f64], futility| Ladder { radii: radii.to_vec(), n_max: 100, futility };
    let law = |radius| [tau(radius), 1.0 - tau(radius)];
    for radius in [0.0, 0.1, 0.25] {
        add("table, one bound", Method::Table1(ladder(&[radius], 0.0)), &law(radius));
    }
    add("table, one bound, gives up", Method::Table1(ladder(&[0.25], 0.05)), &law(0.25));
    for (radius, share) in [(0.1, 1.0), (0.1, 0.2), (0.25, 1.0), (0.25, 0.3)] {
        add("table, two classes", Method::Table(ladder(&[radius], 0.0)), &edge(radius, share));
    }
    let radii = [0.05, 0.1, 0.2];
    for radius in radii {
        add("ladder, one bound", Method::Table1(ladder(&radii, 0.0)), &law(radius));
        add("ladder, two classes", Method::Table(ladder(&radii, 0.0)), &edge(radius, 0.5));
    }
}

/// As many labels as an answer can hold, each present with a probability just below what is claimed.
fn open_vocabularies(alpha: f64, cases: &mut Vec<Case>) {
    let p = tau(0.05);
    for max_labels in [1, 4] {
        for (name, method) in [
            ("table, one bound", Method::Table1(Ladder { radii: vec![0.05], n_max: 100, futility: 0.0 })),
            ("fixed number, one bound", Method::Fixed { n: 60, rival_share: None }),
            (
                "anytime, one bound",
                Method::Anytime { n_max: 60, every: 10, gain: 0.0, n_min: 0, rival_share: None },
            ),
            ("CERTIFY", Method::Cohen { n0: 1, n: 60 }),
        ] {
            let case = Case::new(name, alpha, LabelRule::Open { max_labels }, method, &[p, 1.0 - p]);
            cases.push(Case { labels: max_labels as u64, ..case });
        }
    }
}
