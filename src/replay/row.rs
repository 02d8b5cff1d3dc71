//! One record put to the question and the test.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::record::{Logged, Record, RecordedAnswer};
use super::{Problem, Replay};
use crate::question::{Choice, Named, Question, clean_top, normalise};
use crate::stats::{Decision, LabelRule, Vote};

/// The paper's class for an answer without a label.
const PAPER_NONE: &str = "None";

/// The paper's mark of an abstention.
const PAPER_ABSTAINS: &str = "-1";

/// Half a unit of the third decimal that logs give, and a little more: their radii and ours are rounded.
const LOGGED_RADIUS_ERROR: f64 = 0.000_502;

/// How a record ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// A label with a radius.
    Certified,
    /// No claim.
    Abstained,
}

/// The result for one record. Serialised it has the documented fields in their order, those without value as `null`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The API.
    pub api: String,
    /// The denoiser.
    pub denoiser: String,
    /// Standard deviation of the noise, in units of \[0, 1\] pixel values.
    pub sigma: f64,
    /// The picture's number in its data set.
    pub idx: u64,
    /// The end.
    pub outcome: Outcome,
    /// The certified label.
    pub label: Option<String>,
    /// The certified radius, in the units of sigma, rounded down to 6 decimals; 0 for none.
    pub radius: f64,
    /// Votes that the test used.
    pub votes: usize,
    /// The question.
    pub question: String,
    /// The test's name.
    pub test: &'static str,
    /// The top label of the recorded answer about the picture without noise.
    pub clean: Option<String>,
    /// The record ended before the test did: the abstention is for want of votes.
    #[serde(skip)]
    pub cut_short: bool,
    /// How this row differs from the logged result; `None` if nothing was logged.
    #[serde(skip)]
    pub against_logged: Option<Vec<Disagreement>>,
    /// The labels of the record that a class map does not know.
    #[serde(skip)]
    pub unmapped: Vec<String>,
    /// The line of the log, from 1; 0 for a record that came from elsewhere.
    #[serde(skip)]
    pub line: u64,
}

/// One difference between a row and what its log concluded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// `label` or `radius`.
    pub field: &'static str,
    /// As replayed; `-1` for an abstention.
    pub replayed: String,
    /// As logged.
    pub logged: String,
}

impl std::fmt::Display for Disagreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} replayed, {} logged", self.field, self.replayed, self.logged)
    }
}

/// Sums over rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Rows.
    pub rows: u64,
    /// Of these, certified.
    pub certified: u64,
    /// Of these, abstained because the record ended before the test.
    pub cut_short: u64,
    /// Votes used, over all rows.
    pub votes: u64,
    /// Sum of the radii.
    pub radius: f64,
    /// Rows with a logged result.
    pub compared: u64,
    /// Of these, different from it.
    pub different: u64,
    /// Labels that a class map does not know, with the number of records that hold them.
    pub unmapped: BTreeMap<String, u64>,
}

impl Summary {
    /// Adds a row.
    pub fn count(&mut self, row: &Row) {
        self.rows += 1;
        self.certified += u64::from(row.outcome == Outcome::Certified);
        self.cut_short += u64::from(row.cut_short);
        self.votes += row.votes as u64;
        self.radius += row.radius;
        self.compared += u64::from(row.against_logged.is_some());
        self.different += u64::from(row.against_logged.as_ref().is_some_and(|d| !d.is_empty()));
        for label in &row.unmapped {
            *self.unmapped.entry(label.clone()).or_default() += 1;
        }
    }

    /// Adds the rows of another log.
    pub fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.certified += other.certified;
        self.cut_short += other.cut_short;
        self.votes += other.votes;
        self.radius += other.radius;
        self.compared += other.compared;
        self.different += other.different;
        for (label, rows) in other.unmapped {
            *self.unmapped.entry(label).or_default() += rows;
        }
    }

    /// Certified rows, as a share of all; 0 without rows.
    pub fn certified_share(&self) -> f64 {
        self.mean(self.certified as f64)
    }

    /// Votes a row; 0 without rows.
    pub fn mean_votes(&self) -> f64 {
        self.mean(self.votes as f64)
    }

    /// Radius a row, abstentions as 0; 0 without rows.
    pub fn mean_radius(&self) -> f64 {
        self.mean(self.radius)
    }

    fn mean(&self, sum: f64) -> f64 {
        if self.rows == 0 { 0.0 } else { sum / self.rows as f64 }
    }
}

pub(super) fn of(replay: &Replay, record: &Record<'_>) -> Result<Row, Problem> {
    let question = replay.asked.about(record);
    let label_rule = question.as_ref().map_or(LabelRule::Fixed, Question::label_rule);
    let test = replay.test(record, label_rule)?;
    if let Some(question) = question.as_ref().filter(|question| !question.suits(&test.plan().method)) {
        return Err(Problem::Unsuited { question: question.to_string(), test: test.plan().method.name() });
    }
    let mut row = Row {
        api: record.api.to_string(),
        denoiser: record.denoiser.to_string(),
        sigma: record.sigma,
        idx: record.idx,
        outcome: Outcome::Abstained,
        label: None,
        radius: 0.0,
        votes: 0,
        question: replay.asked.to_string(),
        test: test.plan().method.name(),
        clean: record.clean_top().map(str::to_owned),
        cut_short: false,
        against_logged: None,
        unmapped: Vec::new(),
        line: 0,
    };
    if let Some(question) = &question {
        let mut voter = Voter::new(question, replay.paper_rules, &record.names);
        let mut run = test.start(voter.fixed)?;
        for answer in &record.votes {
            if run.decision().is_final() {
                break;
            }
            run.push(voter.vote(answer.as_ref()));
            row.votes += 1;
        }
        match run.decision() {
            Decision::Certified(claim) => {
                row.outcome = Outcome::Certified;
                row.label = voter.labels.get(claim.class).map(|&label| label.to_owned());
                row.radius = claim.radius;
            }
            Decision::Continue => row.cut_short = true,
            Decision::Abstained(_) => {}
        }
        if let Question::Map(map) = question {
            let names = record.names.iter().map(|name| &**name);
            row.unmapped = map.unmapped(names).into_iter().map(str::to_owned).collect();
        }
    }
    row.against_logged = record.logged.as_ref().map(|logged| compare(&row, logged));
    Ok(row)
}

/// Makes votes of the answers of one record. Names are normalised once a record, not once a vote.
struct Voter<'r> {
    question: &'r Question,
    paper_rules: bool,
    names: &'r [Cow<'r, str>],
    /// What names are compared by.
    keys: Vec<Cow<'r, str>>,
    /// By class: how it is spelt.
    labels: Vec<&'r str>,
    /// By what names are compared by, or a class of the question: its class.
    class_of: HashMap<String, usize>,
    /// By name, once it was voted for: its class.
    class_of_name: Vec<Option<usize>>,
    /// The class that is asked about, if it is fixed.
    fixed: Option<usize>,
}

impl<'r> Voter<'r> {
    fn new(question: &'r Question, paper_rules: bool, names: &'r [Cow<'r, str>]) -> Self {
        let key = |name: &'r Cow<'r, str>| if paper_rules { Cow::Borrowed(&**name) } else { normalise(name) };
        let mut voter = Self {
            question,
            paper_rules,
            names,
            keys: names.iter().map(key).collect(),
            labels: Vec::new(),
            class_of: HashMap::new(),
            class_of_name: vec![None; names.len()],
            fixed: None,
        };
        voter.fixed = question.fixed_label().map(|label| voter.class(label, label));
        voter
    }

    /// The vote of one answer; failed, if there is none.
    fn vote(&mut self, answer: Option<&RecordedAnswer>) -> Vote {
        let Some(answer) = answer else { return Vote::Failed };
        if self.paper_rules {
            return Vote::For(match answer.first() {
                Some(&(name, _)) => self.class_of_name(name),
                None => self.class(PAPER_NONE, PAPER_NONE),
            });
        }
        let labels = answer.iter().map(|&(name, score)| Listed { name, key: &self.keys[name], score });
        let choice = self.question.choose(labels, &BTreeMap::new()).map(|choice| match choice {
            Choice::Label(label) => Ok(label.name),
            Choice::Class(class) => Err(class),
        });
        match choice {
            Some(Ok(name)) => Vote::For(self.class_of_name(name)),
            Some(Err(class)) => Vote::For(self.class(class, class)),
            None => Vote::NoLabel,
        }
    }

    fn class_of_name(&mut self, name: usize) -> usize {
        if let Some(class) = self.class_of_name[name] {
            return class;
        }
        let (key, label) = (self.keys[name].to_string(), &self.names[name]);
        let class = self.class(&key, label);
        self.class_of_name[name] = Some(class);
        class
    }

    /// The class of a key, with this spelling if it is new. Classes are numbered as they are met.
    fn class(&mut self, key: &str, label: &'r str) -> usize {
        if let Some(&class) = self.class_of.get(key) {
            return class;
        }
        self.labels.push(label);
        self.class_of.insert(key.to_owned(), self.labels.len() - 1);
        self.labels.len() - 1
    }
}

/// A label of a recorded answer.
struct Listed<'v> {
    name: usize,
    key: &'v str,
    score: Option<f64>,
}

impl Named for Listed<'_> {
    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.key)
    }

    fn score(&self) -> Option<f64> {
        self.score
    }
}

impl Record<'_> {
    /// The top label of the clean answer: highest score, ties to the one that the API named first.
    pub fn clean_top(&self) -> Option<&str> {
        let keys: Vec<_> = self.names.iter().map(|name| normalise(name)).collect();
        let labels = self.clean.iter().flatten();
        let labels = labels.map(|&(name, score)| Listed { name, key: &keys[name], score });
        clean_top(labels).map(|label| &*self.names[label.name])
    }
}

/// How the row differs from what was logged: in the label or abstention, or in the third decimal of the radius.
fn compare(row: &Row, logged: &Logged<'_>) -> Vec<Disagreement> {
    let mut different = Vec::new();
    let replayed = row.label.as_deref().unwrap_or(PAPER_ABSTAINS);
    if replayed != logged.predict {
        different.push(Disagreement {
            field: "label",
            replayed: replayed.to_owned(),
            logged: logged.predict.to_string(),
        });
    }
    let close = logged.radius.parse::<f64>().is_ok_and(|r| (r - row.radius).abs() <= LOGGED_RADIUS_ERROR);
    if !close {
        different.push(Disagreement {
            field: "radius",
            replayed: format!("{:.6}", row.radius),
            logged: logged.radius.to_string(),
        });
    }
    different
}
