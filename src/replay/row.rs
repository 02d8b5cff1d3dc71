//! One record put to the question and the test.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::record::{Logged, Record, RecordedAnswer};
use super::{Problem, Replay};
use crate::question::{Choice, Named, Question, normalise};
use crate::stats::{Joint, Reason, Sharing, Test, Vote};

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

/// What a recorded answer about the picture without noise says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum CleanAnswer {
    /// There is none: it was not asked for, or never came.
    #[default]
    Missing,
    /// Its top label; `null` for an answer that holds none.
    Label(Option<String>),
}

impl CleanAnswer {
    fn is_missing(&self) -> bool {
        *self == Self::Missing
    }
}

/// The result for one claim of one record. Serialised it has the documented fields in their order, those without value as `null`.
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
    /// The question as it was asked; for `clean-labels` about one label.
    pub question: String,
    /// The test's name.
    pub test: &'static str,
    /// What the recorded answer about the picture without noise says; left out where there is none.
    #[serde(skip_serializing_if = "CleanAnswer::is_missing")]
    pub clean: CleanAnswer,
    /// The record ended before the test did: the abstention is for want of votes.
    #[serde(skip)]
    pub cut_short: bool,
    /// How this row differs from the logged result; `None` if nothing was logged.
    #[serde(skip)]
    pub against_logged: Option<Vec<Disagreement>>,
    /// The labels of the record that a class map does not know.
    #[serde(skip)]
    pub unmapped: Vec<String>,
    /// In the first row of a record: the draws that its claims used together, as many as the one that used most. They share
    /// them, so the sum of `votes` is no number of calls.
    #[serde(skip)]
    pub draws: Option<usize>,
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
    /// Records.
    pub records: u64,
    /// Of these, records of which some claim is certified.
    pub records_certified: u64,
    /// Rows: one a claim.
    pub rows: u64,
    /// Of these, certified.
    pub certified: u64,
    /// Of these, abstained because the record ended before the test.
    pub cut_short: u64,
    /// Draws used, over all records.
    pub votes: u64,
    /// Sum of the radii.
    pub radius: f64,
    /// Rows with a logged result.
    pub compared: u64,
    /// Of these, different from it.
    pub different: u64,
    /// Labels that a class map does not know, with the number of records that hold them.
    pub unmapped: BTreeMap<String, u64>,
    /// Is some claim of the last record certified?
    certified_last: bool,
}

impl Summary {
    /// Adds a row; those of one record one after another.
    pub fn count(&mut self, row: &Row) {
        let certified = row.outcome == Outcome::Certified;
        if let Some(draws) = row.draws {
            self.records += 1;
            self.votes += draws as u64;
            self.certified_last = false;
        }
        self.records_certified += u64::from(certified && !self.certified_last);
        self.certified_last |= certified;
        self.rows += 1;
        self.certified += u64::from(certified);
        self.cut_short += u64::from(row.cut_short);
        self.radius += row.radius;
        self.compared += u64::from(row.against_logged.is_some());
        self.different += u64::from(row.against_logged.as_ref().is_some_and(|d| !d.is_empty()));
        for label in &row.unmapped {
            *self.unmapped.entry(label.clone()).or_default() += 1;
        }
    }

    /// Adds the rows of another log.
    pub fn add(&mut self, other: Self) {
        self.records += other.records;
        self.records_certified += other.records_certified;
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
        mean(self.certified as f64, self.rows)
    }

    /// Records of which some claim is certified, as a share of all; 0 without records.
    pub fn certified_records_share(&self) -> f64 {
        mean(self.records_certified as f64, self.records)
    }

    /// Certified claims a record; 0 without records.
    pub fn certified_a_record(&self) -> f64 {
        mean(self.certified as f64, self.records)
    }

    /// Draws a record; 0 without records.
    pub fn mean_votes(&self) -> f64 {
        mean(self.votes as f64, self.records)
    }

    /// Radius a row, abstentions as 0; 0 without rows.
    pub fn mean_radius(&self) -> f64 {
        mean(self.radius, self.rows)
    }
}

fn mean(sum: f64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { sum / of as f64 }
}

/// One claim on a record: the question, about one label where the clean answer fixed it, and its test.
struct Claim {
    /// As it was asked, or about one of several labels.
    shown: String,
    /// What is asked of each answer; `None` where the clean answer holds no label to ask about.
    question: Option<Question>,
    test: Test,
    follows: bool,
}

pub(super) fn of(replay: &Replay, record: &Record<'_>) -> Result<Vec<Row>, Problem> {
    let claims = claims(replay, record)?;
    let mut joint = Joint::new();
    let mut voters = Vec::with_capacity(claims.len());
    for claim in &claims {
        let voter = claim.question.as_ref();
        let voter = voter.map(|question| Voter::new(question, replay.paper_rules, &record.names));
        match &voter {
            Some(voter) => joint.add(&claim.test, voter.fixed, claim.follows)?,
            None => joint.add_abstained(Reason::NoCleanLabel),
        }
        voters.push(voter);
    }
    let mut votes = vec![0; claims.len()];
    let mut draws = 0;
    for answer in &record.votes {
        if joint.is_final() {
            break;
        }
        joint.push(|claim| {
            votes[claim] += 1;
            voters[claim].as_mut().map_or(Vote::Failed, |voter| voter.vote(answer.as_ref()))
        });
        draws += 1;
    }
    let clean = match record.clean {
        None => CleanAnswer::Missing,
        Some(_) => CleanAnswer::Label(record.clean_label().map(str::to_owned)),
    };
    let mut rows = Vec::with_capacity(claims.len());
    for (at, (claim, voter)) in claims.iter().zip(&voters).enumerate() {
        let decision = joint.decision(at);
        let certified = decision.certified();
        let label = certified.and_then(|certified| voter.as_ref()?.labels.get(certified.class).copied());
        let unmapped = match &claim.question {
            Some(Question::Map(map)) => map.unmapped(record.names.iter().map(|name| &**name)),
            _ => Vec::new(),
        };
        let mut row = Row {
            api: record.api.to_string(),
            denoiser: record.denoiser.to_string(),
            sigma: record.sigma,
            idx: record.idx,
            outcome: if certified.is_some() { Outcome::Certified } else { Outcome::Abstained },
            label: label.map(str::to_owned),
            radius: certified.map_or(0.0, |certified| certified.radius),
            votes: votes[at],
            question: claim.shown.clone(),
            test: claim.test.plan().method.name(),
            clean: clean.clone(),
            cut_short: !decision.is_final(),
            against_logged: None,
            unmapped: unmapped.into_iter().map(str::to_owned).collect(),
            draws: (at == 0).then_some(draws),
            line: 0,
        };
        row.against_logged = record.logged.as_ref().map(|logged| compare(&row, logged));
        rows.push(row);
    }
    Ok(rows)
}

/// The claims that the questions make of a record.
fn claims(replay: &Replay, record: &Record<'_>) -> Result<Vec<Claim>, Problem> {
    let mut claims = Vec::new();
    for (number, asked) in replay.questions.iter().enumerate() {
        let made = if asked.asks_clean() { record.about_clean(asked) } else { vec![asked.clone()] };
        let test = replay.test(record, number, made.len().max(1))?;
        let method = &test.plan().method;
        if !asked.suits(method) {
            return Err(Problem::Unsuited { question: asked.to_string(), test: method.name() });
        }
        let one = |question: Option<Question>, follows| {
            let several = question.as_ref().filter(|question| question.most_claims() > 1);
            let shown = several.unwrap_or(asked).to_string();
            Claim { shown, question, test: test.clone(), follows }
        };
        if made.is_empty() {
            claims.push(one(None, false));
        }
        let in_sequence = asked.sharing() == Sharing::Sequence;
        claims.extend(
            made.into_iter().enumerate().map(|(at, question)| one(Some(question), at > 0 && in_sequence)),
        );
    }
    Ok(claims)
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
        let labels = answer.iter().map(|&(name, score)| Listed {
            name,
            spelling: &self.names[name],
            key: &self.keys[name],
            score,
        });
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
    spelling: &'v str,
    key: &'v str,
    score: Option<f64>,
}

impl Named for Listed<'_> {
    fn spelling(&self) -> &str {
        self.spelling
    }

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.key)
    }

    fn score(&self) -> Option<f64> {
        self.score
    }
}

impl Record<'_> {
    /// The label with the highest score in the clean answer, as `top1` chooses it.
    fn clean_label(&self) -> Option<&str> {
        let keys: Vec<_> = self.names.iter().map(|name| normalise(name)).collect();
        let labels = self.clean.iter().flatten();
        let labels = labels.map(|&(name, score)| Listed {
            name,
            spelling: &self.names[name],
            key: &keys[name],
            score,
        });
        match Question::Top1.choose(labels, &BTreeMap::new()) {
            Some(Choice::Label(label)) => Some(&self.names[label.name]),
            Some(Choice::Class(_)) | None => None,
        }
    }

    /// The questions that the recorded clean answer makes of one that asks for it; none where it is missing, or holds no
    /// label to ask about.
    fn about_clean(&self, asked: &Question) -> Vec<Question> {
        let keys: Vec<_> = self.names.iter().map(|name| normalise(name)).collect();
        let labels = self.clean.iter().flatten();
        asked.about_labels(labels.map(|&(name, score)| Listed {
            name,
            spelling: &self.names[name],
            key: &keys[name],
            score,
        }))
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
