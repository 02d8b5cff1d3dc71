//! Recorded answers put to any question and any test, offline and for free.
//!
//! ```text
//! lines of a log ─ parse ─▶ record ─ question ─▶ votes ─ test ─▶ row          (many lines at once, rows in order)
//! ```
//!
//! A replayed row is what a run would have said that got these answers. It is as good as the noise and the record behind
//! it; and a question or a radius that is chosen after looking at the rows is an analysis, not a certificate.

mod error;
mod reader;
mod record;
mod row;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rayon::prelude::*;

pub use error::{Problem, ReplayError};
pub use record::{Logged, Record};
pub use row::{Disagreement, Outcome, Row, Summary};

use crate::question::{Presence, Question};
use crate::stats::{LabelRule, Method, Plan, StatsError, Test};
use crate::tables::TableCache;
use crate::units::Alpha;

/// What is asked of the answers of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The same question for every record.
    Question(Question),
    /// Is the top label of the recorded clean answer still present? It is fixed before the votes of the record. A record whose clean answer is missing or empty asks nothing, and abstains without a vote.
    CleanTop,
}

impl Asked {
    /// The question about this record, if it has one.
    fn about(&self, record: &Record<'_>) -> Option<Question> {
        match self {
            Self::Question(question) if !question.asks_clean() => Some(question.clone()),
            Self::Question(_) | Self::CleanTop => {
                let label = record.clean_top()?;
                // A name that no question can write is no label to ask about.
                Presence::new(label, None).ok().map(Question::Present)
            }
        }
    }
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Question(question) => question.fmt(f),
            Self::CleanTop => f.write_str("clean-top"),
        }
    }
}

impl std::str::FromStr for Asked {
    type Err = crate::question::QuestionError;

    /// `clean-top`, or a question as [`Question::load`] reads it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim() == "clean-top" { Ok(Self::CleanTop) } else { Question::load(text).map(Self::Question) }
    }
}

/// What the test of a record may depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Design {
    /// Standard deviation of the noise.
    pub sigma: f64,
    /// Whether the question fixes its label before the votes.
    pub label: LabelRule,
    /// Selection votes that the record names.
    pub n0: usize,
    /// Estimation votes that the record names.
    pub n: usize,
}

/// Chooses the test of a record.
type MethodFor = dyn Fn(Design) -> Result<Method, StatsError> + Send + Sync;

/// A question and a test, ready for any number of records.
pub struct Replay {
    asked: Asked,
    alpha: Alpha,
    method: Box<MethodFor>,
    paper_rules: bool,
    only_sigma: Option<f64>,
    tables: TableCache,
    tests: Mutex<HashMap<Key, Slot>>,
}

/// A test that is made when the first record asks for it, while others that need it wait.
type Slot = Arc<OnceLock<Result<Test, StatsError>>>;

/// Records with the same key share a test.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    sigma: u64,
    n0: usize,
    n: usize,
    fixed: bool,
}

impl Replay {
    /// `method` chooses the test of a record from what the record is, never from its answers. It is called once for all
    /// records alike. Alpha is spent on each record anew.
    pub fn new(
        asked: Asked,
        alpha: Alpha,
        method: impl Fn(Design) -> Result<Method, StatsError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            asked,
            alpha,
            method: Box::new(method),
            paper_rules: false,
            only_sigma: None,
            tables: TableCache::none(),
            tests: Mutex::default(),
        }
    }

    /// Passes over the records of another sigma, without a row.
    #[must_use]
    pub fn only_sigma(mut self, sigma: Option<f64>) -> Self {
        self.only_sigma = sigma;
        self
    }

    /// Keeps the tables of tests in this cache, and takes them from it.
    #[must_use]
    pub fn with_table_cache(mut self, tables: TableCache) -> Self {
        self.tables = tables;
        self
    }

    /// With the rules of the published experiment on vision APIs (Salman et al. 2020) where they differ from ours: an
    /// answer votes for the label that stands first, whatever its score; names are compared as they are spelt; an empty
    /// answer votes for a class `None`, which can be certified. They define `top1` only.
    ///
    /// # Errors
    /// [`Problem::PaperRules`] for another question.
    pub fn with_paper_rules(mut self) -> Result<Self, Problem> {
        if self.asked != Asked::Question(Question::Top1) {
            return Err(Problem::PaperRules(self.asked.to_string()));
        }
        self.paper_rules = true;
        Ok(self)
    }

    /// The question.
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// The row of one record.
    ///
    /// # Errors
    /// [`Problem`] if the record contradicts itself or the test cannot work with its numbers.
    pub fn row(&self, record: &Record<'_>) -> Result<Row, Problem> {
        row::of(self, record)
    }

    /// Replays a log of one JSON record a line, plain or gzip, and gives each row to `each` in the log's order. `name` is
    /// for messages. Memory holds a few hundred lines at a time.
    ///
    /// # Errors
    /// [`ReplayError`] with the line: the first that cannot be read ends the replay, after all rows before it. The
    /// summary of those is lost, what `each` was given is not.
    pub fn log(
        &self,
        name: &str,
        source: impl Read + Send,
        mut each: impl FnMut(Row) -> io::Result<()>,
    ) -> Result<Summary, ReplayError> {
        let mut summary = Summary::default();
        std::thread::scope(|scope| {
            // The reader unpacks the next lines while these are worked on, and stops when nobody takes them any more.
            let (send, batches) = sync_channel(2);
            scope.spawn(move || reader::batches(source, |batch| send.send(batch).is_ok()));
            for batch in batches {
                let lines = batch.map_err(|(line, source)| ReplayError::read(name, line, source))?;
                let rows: Vec<_> = lines.par_iter().map(|(line, text)| (*line, self.line(text))).collect();
                for (line, row) in rows {
                    let row = row.map_err(|problem| ReplayError::line(name, line, problem))?;
                    let Some(mut row) = row else { continue };
                    row.line = line;
                    summary.count(&row);
                    each(row).map_err(ReplayError::Write)?;
                }
            }
            Ok(summary)
        })
    }

    /// The row of a line; `None` if it is passed over.
    fn line(&self, text: &[u8]) -> Result<Option<Row>, Problem> {
        let record = Record::parse(text)?;
        if self.only_sigma.is_some_and(|sigma| sigma.total_cmp(&record.sigma).is_ne()) {
            return Ok(None);
        }
        self.row(&record).map(Some)
    }

    /// The test for a record, made once for all records alike.
    fn test(&self, record: &Record<'_>, label: LabelRule) -> Result<Test, StatsError> {
        let key = Key {
            sigma: record.sigma.to_bits(),
            n0: record.n0,
            n: record.n,
            fixed: label == LabelRule::Fixed,
        };
        let slot =
            Arc::clone(self.tests.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default());
        let make = || {
            let method = (self.method)(Design { sigma: record.sigma, label, n0: record.n0, n: record.n })?;
            self.tables.test(Plan { sigma: record.sigma, alpha: self.alpha.get(), label, method })
        };
        slot.get_or_init(make).clone()
    }
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay")
            .field("asked", &self.asked)
            .field("alpha", &self.alpha)
            .field("paper_rules", &self.paper_rules)
            .finish_non_exhaustive()
    }
}
