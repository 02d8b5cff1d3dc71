//! `--ledger` and what belongs to it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::Args;
use smoothgate_providers::{Money, Price};

use super::Failure;
use crate::config::{BudgetsOverTime, Config};
use crate::ledger::{
    self, Begin, Budgets, Cap, Ledger, LedgerError, Options, Reader, Run, RunId, RunSpec, Spend,
};
use crate::plan::{OnRecord, Started};

/// Where a command finds the ledger.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct LedgerPath {
    /// The ledger: the file in which calls, answers and certificates are kept; default: in the user's state folder
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
}

impl LedgerPath {
    /// The file that counts.
    pub(super) fn path(&self, config: &Config) -> Result<PathBuf, Failure> {
        match self.ledger.clone().or_else(|| config.ledger.path.clone()) {
            Some(path) => Ok(path),
            None => ledger::default_path(|name| std::env::var_os(name)).map_err(Failure::ledger),
        }
    }
}

/// What is recorded, and what may be spent.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Money")]
pub(super) struct LedgerOptions {
    #[command(flatten)]
    pub place: LedgerPath,
    /// Keep no record: an interrupted run cannot be resumed and is paid for again, budgets cannot be kept, and nothing
    /// is left to check a certificate against
    #[arg(long, conflicts_with_all = ["ledger", "max_calls", "max_cost"])]
    pub no_ledger: bool,
    /// Most calls of this run, retries and earlier sittings included
    #[arg(long, value_name = "N")]
    pub max_calls: Option<u64>,
    /// Most that this run may cost: `5.00USD`. A call that may have been billed counts as billed
    #[arg(long, value_name = "AMOUNT")]
    pub max_cost: Option<Money>,
}

/// A run that is on record and would go on.
pub(super) struct Continued {
    pub run: RunId,
    /// What it has of the pictures at hand.
    pub record: OnRecord,
    pub spend: Spend,
}

impl Continued {
    /// What is on record, in words.
    pub(super) fn words(&self, pictures: u64) -> String {
        let Self { run, record: OnRecord { finished, started }, .. } = self;
        let votes: u64 = started.iter().map(|started| started.votes).sum();
        let begun = match started.len() {
            0 => String::new(),
            n => format!(", {n} begun with {votes} votes"),
        };
        format!(
            "run {run} goes on: {finished} of {pictures} pictures finished{begun}; what is on record is not paid again"
        )
    }
}

/// What a run needs to be found again and to be charged.
pub(super) struct Wanted {
    pub parameters: ledger::Spec,
    pub arguments: serde_json::Value,
    pub instance: String,
    pub price: Price,
    pub budgets: BudgetsOverTime,
    pub pictures: u64,
    /// Which run to begin or to continue.
    pub begin: Begin,
}

impl LedgerOptions {
    /// Takes the ledger of a run and, where given, other budgets.
    pub(super) fn resume(&mut self, budget: Cap, ledger: &Path) {
        self.place.ledger = Some(ledger.to_owned());
        self.max_calls = budget.calls.or(self.max_calls);
        self.max_cost = budget.cost.or(self.max_cost);
    }

    /// Looks up, without a change to the ledger, the run that [`begin`](Self::begin) would continue, and what it has on
    /// record of the pictures with these names.
    pub(super) fn continued<'n>(
        &self,
        config: &Config,
        (parameters, price, begin): (&ledger::Spec, Price, Begin),
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<Option<Continued>, Failure> {
        // Without a place for it there is no ledger yet; whoever begins a run is told so.
        let Some(path) = self.place.path(config).ok().filter(|path| !self.no_ledger && path.exists()) else {
            return Ok(None);
        };
        let reader = match Reader::open(&path) {
            Ok(reader) => reader,
            Err(older @ LedgerError::Older { .. }) => {
                tell!("{older}; what it holds is not taken off the plan");
                return Ok(None);
            }
            Err(error) => return Err(Failure::ledger(error)),
        };
        let run = match begin {
            Begin::New => None,
            Begin::Continue(run) => Some(run),
            Begin::ContinueOrNew => reader.latest_with(parameters).map_err(Failure::ledger)?,
        };
        let Some(run) = run else { return Ok(None) };
        let (summary, pictures) = reader.progress(run).map_err(Failure::ledger)?;
        if summary.active && price == Price::Free && begin == Begin::ContinueOrNew {
            // A run beside it will begin.
            return Ok(None);
        }
        let names: HashSet<&str> = names.into_iter().collect();
        let mut record = OnRecord::default();
        for picture in pictures.iter().filter(|picture| names.contains(picture.name.as_str())) {
            if picture.certified {
                record.finished += 1;
            } else {
                record.started.push(Started { votes: picture.settled, clean: picture.clean });
            }
        }
        Ok(Some(Continued { run, record, spend: summary.spend }))
    }

    /// Begins or continues the run, or says `None` where no record is wanted.
    pub(super) async fn begin(&self, config: &Config, wanted: Wanted) -> Result<Option<Run>, Failure> {
        if self.no_ledger {
            if wanted.budgets != BudgetsOverTime::default() {
                let error = anyhow::anyhow!(
                    "`{}` has a budget in the configuration, and budgets are kept in the ledger: run without --no-ledger",
                    wanted.instance
                );
                return Err(Failure::usage(error));
            }
            return Ok(None);
        }
        let path = self.place.path(config)?;
        let options = Options { answers: config.ledger.answers, ..Options::default() };
        let opened = tokio::task::spawn_blocking(move || Ledger::open(path, &options)).await;
        let ledger = opened.map_err(Failure::internal)?.map_err(Failure::ledger)?;
        let run = Cap { calls: self.max_calls, cost: self.max_cost };
        let free = wanted.price == Price::Free;
        let spec = RunSpec {
            parameters: wanted.parameters,
            arguments: wanted.arguments,
            instance: wanted.instance,
            price: wanted.price,
            budgets: Budgets { run, day: wanted.budgets.day, month: wanted.budgets.month },
            pictures: Some(wanted.pictures),
        };
        let begin = wanted.begin;
        match ledger.begin_run(spec.clone(), begin).await {
            // Nothing can be paid twice where nothing costs anything: two processes may work side by side.
            Err(LedgerError::AlreadyRunning { .. }) if free && begin == Begin::ContinueOrNew => {
                ledger.begin_run(spec, Begin::New).await.map(Some).map_err(Failure::ledger)
            }
            other => other.map(Some).map_err(Failure::ledger),
        }
    }
}
