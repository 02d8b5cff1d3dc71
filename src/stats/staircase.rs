//! Tests by exact tables: one radius, or a ladder of radii for the price of one.

use serde::{Deserialize, Serialize};

use super::boundary::Boundary;
use super::decision::{Abstained, Certified, Decision, Evidence, Reason};
use super::one_bound::OneBoundTable;
use super::two_class::TwoClassTable;
use super::vote::{Tally, Vote};

/// The table of one radius.
#[derive(Debug, Clone, Copy)]
enum Table<'a> {
    OneBound(&'a OneBoundTable),
    TwoClass(&'a TwoClassTable),
}

impl Table<'_> {
    fn certifies(self, t: usize, agree: usize, rival: usize) -> bool {
        match self {
            Self::OneBound(table) => table.certifies(t, agree),
            Self::TwoClass(table) => table.certifies(t, agree, rival),
        }
    }

    fn lost(self, t: usize, agree: usize, rival: usize) -> bool {
        match self {
            Self::OneBound(table) => table.lost(t, agree),
            Self::TwoClass(table) => table.lost(t, agree, rival),
        }
    }

    fn futile(self, t: usize, agree: usize, rival: usize) -> bool {
        match self {
            Self::OneBound(table) => table.futile(t, agree),
            Self::TwoClass(table) => table.futile(t, agree, rival),
        }
    }

    fn until_certified(self, t: usize, agree: usize, rival: usize) -> Option<usize> {
        match self {
            Self::OneBound(table) => table.until_certified(t, agree),
            Self::TwoClass(table) => table.until_certified(t, agree, rival),
        }
    }

    fn until_lost(self, t: usize, agree: usize, rival: usize) -> usize {
        match self {
            Self::OneBound(table) => table.until_lost(t, agree),
            Self::TwoClass(table) => table.until_lost(t, agree, rival),
        }
    }
}

/// The tables of a ladder, one a radius.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tables {
    /// Of a test with one bound.
    OneBound(Vec<OneBoundTable>),
    /// Of a test against the strongest rival.
    TwoClass(Vec<TwoClassTable>),
}

/// A ladder of rising radii, tested in this order: the certified radius is the last of the unbroken run of
/// certified ones.
///
/// Each rung keeps the full level. A ladder errs only if it passes the lowest rung whose claim is false;
/// which rung that is does not depend on the votes, so the error is that of one table, the largest of them. A
/// label read off the votes is locked when it passes the lowest rung, so a label that is not the most likely
/// one must pass that rung first.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Staircase {
    radii: Vec<f64>,
    tables: Tables,
    n_max: usize,
}

impl Staircase {
    /// A ladder from checked tables, as many as radii.
    pub(crate) fn new(radii: Vec<f64>, tables: Tables, n_max: usize) -> Self {
        Self { radii, tables, n_max }
    }

    pub(crate) fn tables(&self) -> &Tables {
        &self.tables
    }

    pub(crate) fn max_votes(&self) -> usize {
        self.n_max
    }

    pub(crate) fn largest_radius(&self) -> f64 {
        self.radii.last().copied().unwrap_or(0.0)
    }

    fn rungs(&self) -> usize {
        self.radii.len()
    }

    fn table(&self, rung: usize) -> Table<'_> {
        match &self.tables {
            Tables::OneBound(tables) => Table::OneBound(&tables[rung]),
            Tables::TwoClass(tables) => Table::TwoClass(&tables[rung]),
        }
    }

    /// The probability that a certified rung bounds from below.
    fn p_lower(&self, rung: usize) -> Option<f64> {
        match &self.tables {
            Tables::OneBound(tables) => Some(tables[rung].tau),
            Tables::TwoClass(_) => None,
        }
    }
}

/// The votes of one ladder so far.
#[derive(Debug, Clone)]
pub(crate) struct StaircaseRun {
    /// The label fixed in advance, or the one that was the first to pass the lowest rung.
    label: Option<usize>,
    tally: Tally,
    passed: Vec<bool>,
    /// Rungs of the unbroken run from the lowest.
    climbed: usize,
}

impl StaircaseRun {
    pub(crate) fn new(ladder: &Staircase, label: Option<usize>) -> Self {
        Self { label, tally: Tally::new(), passed: vec![false; ladder.rungs()], climbed: 0 }
    }

    /// Counts one vote and decides.
    pub(crate) fn push(&mut self, ladder: &Staircase, vote: Vote) -> Decision {
        self.tally.push(vote);
        self.climb(ladder);
        let Evidence { votes: t, agree, rival, .. } = self.evidence();
        if self.climbed == ladder.rungs() {
            return self.settle(ladder, Reason::Exhausted);
        }
        // A rung that cannot be passed any more breaks the run: those above it do not count.
        let next = ladder.table(self.climbed);
        if next.lost(t, agree, rival) {
            self.settle(ladder, Reason::OutOfReach)
        } else if next.futile(t, agree, rival) {
            self.settle(ladder, Reason::Futile)
        } else if t >= ladder.n_max {
            self.settle(ladder, Reason::Exhausted)
        } else {
            Decision::Continue
        }
    }

    fn climb(&mut self, ladder: &Staircase) {
        let Some(class) = self.class() else { return };
        let Evidence { votes: t, agree, rival, .. } = self.evidence();
        for rung in 0..ladder.rungs() {
            self.passed[rung] |= ladder.table(rung).certifies(t, agree, rival);
            if self.passed[0] {
                self.label = Some(class);
            } else if self.label.is_none() {
                // The leader may still change, so nothing above the lowest rung can be certified for it.
                break;
            }
        }
        self.climbed = self.passed.iter().take_while(|&&passed| passed).count();
    }

    /// The decision when no further votes are counted.
    pub(crate) fn settle(&self, ladder: &Staircase, reason: Reason) -> Decision {
        let evidence = self.evidence();
        match (self.climbed.checked_sub(1), self.label) {
            (Some(rung), Some(class)) => Decision::Certified(Certified {
                class,
                radius: ladder.radii[rung],
                p_lower: ladder.p_lower(rung),
                rival_upper: None,
                evidence,
            }),
            _ => Decision::Abstained(Abstained { reason, class: self.class(), evidence }),
        }
    }

    /// Further votes that are needed whatever they say; at least 1 while the test is open.
    pub(crate) fn needed(&self, ladder: &Staircase) -> usize {
        let Evidence { votes: t, agree, rival, .. } = self.evidence();
        let mut needed = ladder.n_max.saturating_sub(t);
        // The run from here to the top breaks at some rung, or all of them are passed; no rung is decided
        // before those below it.
        let mut climbed_in = 0;
        for rung in (self.climbed..ladder.rungs()).filter(|&rung| !self.passed[rung]) {
            let table = ladder.table(rung);
            needed = needed.min(table.until_lost(t, agree, rival).max(climbed_in));
            climbed_in = climbed_in.max(table.until_certified(t, agree, rival).unwrap_or(usize::MAX));
        }
        needed.min(climbed_in).max(1)
    }

    /// Further votes up to the earliest at which the next radius can be certified.
    pub(crate) fn ramp(&self, ladder: &Staircase, patience: usize) -> usize {
        let Evidence { votes: t, agree, rival, .. } = self.evidence();
        let needed = self.needed(ladder);
        if t < patience || self.climbed == ladder.rungs() {
            return needed;
        }
        ladder.table(self.climbed).until_certified(t, agree, rival).unwrap_or(needed)
    }

    /// What the votes against the label are held against at the vote that was counted last.
    pub(crate) fn boundary(&self, ladder: &Staircase) -> Boundary {
        let Evidence { votes: t, rival, .. } = self.evidence();
        // In both kinds of tables more votes against the label, or more of them for the rival, never help.
        let certify = |rung: usize| {
            let certifies =
                |&against: &usize| ladder.table(rung).certifies(t, t - against, rival.min(against));
            (0..=t).take_while(certifies).last()
        };
        let certify: Vec<Option<usize>> = (0..ladder.rungs()).map(certify).collect();
        // Of a test that is over, what its last vote was held against.
        let next = self.climbed.min(ladder.rungs() - 1);
        let give_up = (0..=t).find(|&against| {
            let (table, agree, rival) = (ladder.table(next), t - against, rival.min(against));
            let last = t >= ladder.n_max && !table.certifies(t, agree, rival);
            last || table.lost(t, agree, rival) || table.futile(t, agree, rival)
        });
        Boundary { certify, give_up }
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
