//! Recorded answers put to any question and any test, offline and for free.
//!
//! ```text
//! lines of a log ─ parse ─▶ record ─ question ─▶ votes ─ test ─▶ row          (many lines at once, rows in order)
//! ```
//!
//! Several questions share alpha and the votes as in a run, and so do the labels of `clean-labels`: one row a claim.
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
pub use row::{CleanAnswer, Disagreement, Outcome, Row, Summary};

use crate::engine::level_of_claim;
use crate::question::Question;
use crate::stats::{LabelRule, Method, Plan, StatsError, Test};
use crate::tables::TableCache;
use crate::units::Alpha;

/// What the test of a record may depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Design {
    /// Standard deviation of the noise.
    pub sigma: f64,
    /// Which of the questions, from 0.
    pub question: usize,
    /// Whether the question fixes its label before the votes.
    pub label: LabelRule,
    /// K of `topk:K`.
    pub topk: Option<usize>,
    /// What each claim of the question has of alpha, where the question makes as many claims as it can.
    pub alpha: f64,
    /// Selection votes that the record names.
    pub n0: usize,
    /// Estimation votes that the record names.
    pub n: usize,
}

/// Chooses the test of a record.
type MethodFor = dyn Fn(Design) -> Result<Method, StatsError> + Send + Sync;

/// Questions and their tests, ready for any number of records.
pub struct Replay {
    questions: Vec<Question>,
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
    question: usize,
    claims: usize,
}

impl Replay {
    /// `method` chooses the test of a question from what the record is, never from its answers. It is called once for all
    /// records alike. Alpha is spent on each record anew, in equal parts on each of the questions.
    ///
    /// A question about the clean picture takes its labels from the recorded clean answer; where that is missing or holds
    /// none it abstains without a vote.
    ///
    /// # Errors
    /// [`Problem::Questions`] for no question, and for one that is asked twice; [`Problem::Levels`] for one about levels.
    pub fn new(
        questions: Vec<Question>,
        alpha: Alpha,
        method: impl Fn(Design) -> Result<Method, StatsError> + Send + Sync + 'static,
    ) -> Result<Self, Problem> {
        let twice = |at: usize| questions[..at].contains(&questions[at]);
        if questions.is_empty() || (0..questions.len()).any(twice) {
            return Err(Problem::Questions);
        }
        if let Some(level) = questions.iter().find(|question| matches!(question, Question::Level(_))) {
            return Err(Problem::Levels(level.to_string()));
        }
        Ok(Self {
            questions,
            alpha,
            method: Box::new(method),
            paper_rules: false,
            only_sigma: None,
            tables: TableCache::none(),
            tests: Mutex::default(),
        })
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
        if let Some(other) = self.questions.iter().find(|&question| *question != Question::Top1) {
            return Err(Problem::PaperRules(other.to_string()));
        }
        self.paper_rules = true;
        Ok(self)
    }

    /// The questions.
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// The rows of one record, one a claim: question by question, the labels of `clean-labels` in the order of the clean
    /// answer.
    ///
    /// # Errors
    /// [`Problem`] if the record contradicts itself or the test cannot work with its numbers.
    pub fn rows(&self, record: &Record<'_>) -> Result<Vec<Row>, Problem> {
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
                for (line, rows) in rows {
                    for mut row in rows.map_err(|problem| ReplayError::line(name, line, problem))? {
                        row.line = line;
                        summary.count(&row);
                        each(row).map_err(ReplayError::Write)?;
                    }
                }
            }
            Ok(summary)
        })
    }

    /// The rows of a line; none if it is passed over.
    fn line(&self, text: &[u8]) -> Result<Vec<Row>, Problem> {
        let record = Record::parse(text)?;
        if self.only_sigma.is_some_and(|sigma| sigma.total_cmp(&record.sigma).is_ne()) {
            return Ok(Vec::new());
        }
        self.rows(&record)
    }

    /// The test for each of `claims` claims that a question makes of a record, made once for all records alike.
    fn test(&self, record: &Record<'_>, number: usize, claims: usize) -> Result<Test, StatsError> {
        let question = &self.questions[number];
        let key = Key { sigma: record.sigma.to_bits(), n0: record.n0, n: record.n, question: number, claims };
        let slot =
            Arc::clone(self.tests.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default());
        let make = || {
            let (label, topk) = (question.label_rule(), question.topk());
            let level = |claims| level_of_claim(self.alpha.get(), self.questions.len(), question, claims);
            let &Record { sigma, n0, n, .. } = record;
            let most = level(question.most_claims());
            let method = (self.method)(Design { sigma, question: number, label, topk, alpha: most, n0, n })?;
            self.tables.test(Plan { sigma, alpha: level(claims), label, method })
        };
        slot.get_or_init(make).clone()
    }
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay")
            .field("questions", &self.questions)
            .field("alpha", &self.alpha)
            .field("paper_rules", &self.paper_rules)
            .finish_non_exhaustive()
    }
}
