//! The way of one picture's votes through its test: after each vote, the votes against the label and what the test holds
//! them against.

use crate::stats::{Boundary, Evidence, Method, Plan, StatsError, Test, Vote};
use crate::tables::TableCache;

/// The longest tests whose boundary is drawn. A document of a stranger must not make a report build tables for minutes.
const MOST_VOTES: usize = 20_000;
const MOST_TWO_CLASS_VOTES: usize = 1_000;
const MOST_RADII: usize = 16;

/// The votes of a picture with the test that they went through.
#[derive(Clone, Debug, PartialEq)]
pub struct Tested {
    /// The test.
    pub plan: Plan,
    /// The class that is asked about, if it was fixed before the votes.
    pub label: Option<usize>,
    /// In index order.
    pub votes: Vec<Vote>,
}

impl Tested {
    /// Sends the votes through the test anew. `None` where the test is too long to be built for a drawing, or cannot be
    /// made from what the document says.
    pub fn walk(&self, tables: &TableCache) -> Option<Walk> {
        let (votes, radii) = match &self.plan.method {
            Method::Table(ladder) => {
                (ladder.n_max.saturating_mul(MOST_VOTES / MOST_TWO_CLASS_VOTES), ladder.radii.len())
            }
            Method::Table1(ladder) => (ladder.n_max, ladder.radii.len()),
            Method::Cohen { n0, n } | Method::Topk { n0, n, .. } => (n0.saturating_add(*n), 1),
            Method::Predict { n } | Method::Fixed { n, .. } => (*n, 1),
            Method::Anytime { n_max, .. } => (*n_max, 1),
        };
        if votes > MOST_VOTES || radii > MOST_RADII || self.votes.len() > MOST_VOTES {
            return None;
        }
        let test = tables.test(self.plan.clone()).ok()?;
        Walk::of(&test, self.label, self.votes.iter().copied()).ok()
    }
}

/// The votes of a picture, each with what it was held against.
#[derive(Clone, Debug, PartialEq)]
pub struct Walk {
    /// Radii of the test, lowest first: one entry a radius in [`Boundary::certify`]. None where the test finds the radius.
    pub radii: Vec<f64>,
    /// One a vote, in index order.
    pub steps: Vec<Step>,
    /// Was the label fixed before the votes?
    pub fixed: bool,
    /// The end of the walk as the test says it: its radius, or `None` for an abstention.
    pub certified: Option<f64>,
}

/// Where the test stood after a vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Votes so far that count against the label, which is the one that led then or was fixed.
    pub against: usize,
    /// Did this vote only choose the label?
    pub selection: bool,
    /// What the votes against were held against; `None` for a test that does not go by it.
    pub boundary: Option<Boundary>,
}

/// What a vote says when its votes against are held against the boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// Go on.
    GoOn,
    /// The radius of this number is certified (counted from 0).
    Certifies(usize),
    /// No further radius.
    GivesUp,
}

impl Walk {
    /// The walk of these votes through `test`, up to its end.
    ///
    /// # Errors
    /// [`StatsError::LabelNotFixed`] as for [`Test::start`].
    pub fn of(
        test: &Test,
        label: Option<usize>,
        votes: impl IntoIterator<Item = Vote>,
    ) -> Result<Self, StatsError> {
        let mut run = test.start(label)?;
        let mut steps = Vec::new();
        for vote in votes {
            // After the end of the test a vote is no evidence.
            if run.decision().is_final() {
                break;
            }
            run.push(vote);
            let Evidence { votes, selection, agree, .. } = run.evidence();
            let counted = votes - selection;
            steps.push(Step { against: counted - agree, selection: counted == 0, boundary: run.boundary() });
        }
        let radii = match &test.plan().method {
            Method::Table(ladder) | Method::Table1(ladder) => ladder.radii.clone(),
            _ => Vec::new(),
        };
        Ok(Self {
            radii,
            steps,
            fixed: label.is_some(),
            certified: run.decision().certified().map(|claim| claim.radius),
        })
    }

    /// What each vote says by the drawn boundary alone. A radius counts once all lower ones do, which may be at a vote
    /// before.
    pub fn says(&self) -> Vec<Says> {
        let radii = self.radii.len().max(1);
        let mut passed = vec![false; radii];
        let mut climbed = 0;
        let mut says = |step: &Step| {
            let Some(boundary) = step.boundary.as_ref().filter(|_| !step.selection) else {
                return Says::GoOn;
            };
            for (rung, most) in boundary.certify.iter().enumerate() {
                // Before the lowest radius is certified, a label that the votes choose may still lose the lead.
                if rung == 0 || self.fixed || passed.first() == Some(&true) {
                    passed[rung] |= most.is_some_and(|most| step.against <= most);
                }
            }
            let now = passed.iter().take_while(|&&passed| passed).count();
            let before = std::mem::replace(&mut climbed, now);
            if now > before {
                Says::Certifies(now - 1)
            } else if boundary.give_up.is_some_and(|least| step.against >= least) {
                Says::GivesUp
            } else {
                Says::GoOn
            }
        };
        self.steps.iter().map(&mut says).collect()
    }
}
