//! `smoothgate plan` and `certify --dry-run`: what it will cost, and whether that was meant.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::Args as ClapArgs;
use serde::Serialize;
use smoothgate_providers::{Money, Price, Quota};

use super::ledger::Continued;
use super::work::Job;
use super::{Failure, certify, counted};
use crate::config::Defaults;
use crate::engine::{Engine, Redraw, Tests, copies};
use crate::ledger::{RunId, Spend};
use crate::noise::Seed;
use crate::picture::{PictureOptions, WorkingImage, WorkingSize};
use crate::plan::{Asked, Basis, Bill, Expected, Extremes, Lengths, OnRecord, Prior, Rate, Total, expect};
use crate::replay::Replay;
use crate::stats::Method;
use crate::tables::TableCache;

/// Pictures, and copies of each, that are made to see how large copies are.
const SAMPLED_PICTURES: usize = 4;
const SAMPLED_COPIES: u64 = 2;

/// Options of `plan`.
#[derive(Debug, ClapArgs)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub certify: certify::Args,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What is assumed about the answers, and what may be spent without asking.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Plan")]
pub(super) struct PlanOptions {
    /// Print what it will take, as `smoothgate plan` does, and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// For the plan: the share of copies that get the same label, or how it is spread over pictures [default: 0.5..1]
    #[arg(long, value_name = "P|P..Q")]
    pub agreement: Option<Prior>,
    /// For the plan: answers of an earlier run instead, as `replay` reads them and `runs export` writes them
    #[arg(long, value_name = "LOG", conflicts_with = "agreement")]
    pub from: Option<PathBuf>,
    #[command(flatten)]
    pub ask: AskOptions,
    #[arg(skip)]
    pub json: bool,
    /// How many pictures, where they are not given.
    #[arg(skip)]
    pub count: Option<u64>,
}

/// What may be spent without asking.
#[derive(Clone, Debug, ClapArgs)]
pub(super) struct AskOptions {
    /// Ask before spending more than this: on a terminal; without one, --yes is needed [default: 1.00USD]
    #[arg(long, value_name = "AMOUNT")]
    pub ask_above: Option<Money>,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// The number of pictures, where one stands in place of their paths.
pub(super) fn count(arguments: &[String]) -> Option<u64> {
    let [one] = arguments else { return None };
    one.parse().ok().filter(|_| !std::path::Path::new(one).exists())
}

/// The machine-readable plan. The names are an interface: fields may be added.
#[derive(Serialize)]
struct Document<'a> {
    provider: &'a str,
    price: Price,
    quota: Option<Quota>,
    denoiser: &'a str,
    sigma: f64,
    alpha: f64,
    question: String,
    test: &'a Method,
    also: Vec<Also<'a>>,
    votes: Extremes,
    expected: &'a Expected,
    bytes_of_a_copy: Option<Bytes>,
    /// The run that would go on; what it has on record is not in the bill.
    on_record: Option<Recorded<'a>>,
    bill: &'a Bill,
}

/// A further question.
#[derive(Serialize)]
struct Also<'a> {
    question: String,
    test: &'a Method,
}

impl<'a> Also<'a> {
    fn of(asked: &'a crate::engine::Asked) -> Self {
        Self { question: asked.question.to_string(), test: &asked.method }
    }
}

/// What is on record already.
#[derive(Serialize)]
struct Recorded<'a> {
    run: RunId,
    #[serde(flatten)]
    record: &'a OnRecord,
}

/// How large a copy is.
#[derive(Clone, Copy, Serialize)]
struct Bytes {
    mean: u64,
    /// Whether copies were made; else it is the size without compression.
    measured: bool,
}

/// Prints the plan.
pub(super) async fn show(
    engine: &Engine,
    tests: &Tests,
    jobs: &[Job],
    options: &PictureOptions,
    before: Option<&Continued>,
    plan: &PlanOptions,
    json: bool,
) -> Result<(), Failure> {
    let settings = engine.settings();
    let described = engine.endpoint().describe();
    let asked = Asked::all(settings, tests);
    let votes = Extremes::of(&asked).map_err(Failure::internal)?;
    let (expected, lengths) = match &plan.from {
        None => {
            let prior = plan.agreement.unwrap_or(Prior::UNKNOWN);
            let expected = expect(&asked, prior).map_err(Failure::internal)?;
            let begun = before.is_some_and(|before| !before.record.started.is_empty());
            let lengths = begun.then(|| Lengths::simulated(&asked, prior)).transpose();
            (expected, lengths.map_err(Failure::internal)?.unwrap_or_default())
        }
        Some(log) => recorded(engine, log).map_err(Failure::usage)?,
    };
    let bytes = match plan.count {
        Some(_) => uncompressed(options),
        None => measured(engine, jobs, options).await?,
    };
    let rate = Rate {
        price: described.price,
        quota: described.quota,
        bytes: bytes.map(|bytes| bytes.mean),
        besides: u64::from(settings.asks_clean()),
    };
    let pictures = plan.count.unwrap_or(jobs.len() as u64);
    let nothing = OnRecord::default();
    let record = before.map_or(&nothing, |before| &before.record);
    let bill = Bill::after(record, pictures, &votes, &expected, &lengths, &rate);
    let text = if json {
        let document = Document {
            provider: &described.name,
            price: described.price,
            quota: described.quota,
            denoiser: engine.denoiser().id().label(),
            sigma: settings.sigma.get(),
            alpha: settings.alpha.get(),
            question: settings.question.to_string(),
            test: &settings.method,
            also: settings.also.iter().map(Also::of).collect(),
            votes,
            expected: &expected,
            bytes_of_a_copy: bytes,
            on_record: before.map(|before| Recorded { run: before.run, record: &before.record }),
            bill: &bill,
        };
        serde_json::to_string(&document).map_err(Failure::internal)? + "\n"
    } else {
        words(engine, &votes, &expected, bytes, before, &bill)
    };
    std::io::stdout().lock().write_all(text.as_bytes()).map_err(Failure::internal)
}

/// The rows of recorded answers under the same questions and tests: their average, and each.
fn recorded(engine: &Engine, log: &std::path::Path) -> anyhow::Result<(Expected, Lengths)> {
    let settings = engine.settings();
    let questions = settings.asked().map(|(question, _)| question.clone()).collect();
    let methods: Vec<_> = settings.asked().map(|(_, method)| method.clone()).collect();
    let replay = Replay::new(questions, settings.alpha, move |design| Ok(methods[design.question].clone()))?;
    let replay = replay.only_sigma(Some(settings.sigma.get())).with_table_cache(TableCache::usual());
    let file = std::fs::File::open(log).with_context(|| format!("cannot open `{}`", log.display()))?;
    let mut rows = Vec::new();
    replay.log(&log.display().to_string(), file, |row| {
        rows.push(row);
        Ok(())
    })?;
    let none = || anyhow!("`{}` holds no picture at sigma {}", log.display(), settings.sigma);
    Ok((Expected::of_rows(&rows).ok_or_else(none)?, Lengths::of_rows(&rows)))
}

/// The size of a copy without compression, where the working size is given.
fn uncompressed(options: &PictureOptions) -> Option<Bytes> {
    let pixels = match options.size {
        WorkingSize::Native => None,
        WorkingSize::Square(side) => Some(u64::from(side).pow(2)),
        WorkingSize::Exact { width, height } => Some(u64::from(width) * u64::from(height)),
    };
    pixels.map(|pixels| Bytes { mean: 3 * pixels, measured: false })
}

/// The mean size of a few copies of a few of the pictures.
async fn measured(engine: &Engine, jobs: &[Job], options: &PictureOptions) -> Result<Option<Bytes>, Failure> {
    let settings = engine.settings();
    let step = jobs.len().div_ceil(SAMPLED_PICTURES).max(1);
    let (mut sum, mut number) = (0, 0);
    for job in jobs.iter().step_by(step) {
        let opened = job.source.read(&options.limits);
        let opened = opened.and_then(|file| Ok(WorkingImage::decode(&file, options)?));
        let image = opened.with_context(|| job.name.clone()).map_err(Failure::usage)?;
        let work = Redraw {
            picture: Arc::new(image),
            sigma: settings.sigma,
            seed: Seed::from_integer(0),
            encoder: settings.encoder,
            draws: SAMPLED_COPIES,
        };
        let limits = &engine.endpoint().describe().limits;
        let mut refused = Ok(());
        copies(&work, engine.denoiser(), |copy| {
            sum += copy.bytes.len() as u64;
            number += 1;
            if let Err(problem) = limits.check(copy) {
                refused = Err(problem);
            }
        })
        .await
        .map_err(Failure::internal)?;
        refused.map_err(|problem| {
            Failure::usage(anyhow!("{}: provider {} {problem}", job.name, engine.endpoint().describe().name))
        })?;
    }
    Ok((number > 0).then(|| Bytes { mean: sum.div_ceil(number), measured: true }))
}

/// The plan for people.
fn words(
    engine: &Engine,
    votes: &Extremes,
    expected: &Expected,
    bytes: Option<Bytes>,
    before: Option<&Continued>,
    bill: &Bill,
) -> String {
    let settings = engine.settings();
    let described = engine.endpoint().describe();
    let price = match described.price {
        Price::Free => "free".to_owned(),
        Price::PerPicture(each) => format!("{each} a call"),
        Price::Unknown => "price unknown".to_owned(),
    };
    let questions: Vec<_> = settings.asked().map(|(question, _)| question.to_string()).collect();
    let mut tests: Vec<_> = settings.asked().map(|(_, method)| method.name()).collect();
    tests.dedup();
    let mut lines = vec![
        format!(
            "{}, provider {} ({price}), question {}, test {}, sigma {}, alpha {}",
            counted(bill.pictures, "picture"),
            described.name,
            questions.join(" and "),
            tests.join(" and "),
            settings.sigma,
            settings.alpha
        ),
        format!("{:<10}{:>12}{:>14}{:>12}{:>12}", "", "calls", "cost", "time", "upload"),
    ];
    let free = described.price == Price::Free;
    for (name, total) in [("least", &bill.least), ("expected", &bill.expected), ("most", &bill.most)] {
        lines.push(row(name, total, free));
    }
    lines.push(match votes.largest_radius {
        radius if radius > 0.0 => format!(
            "a picture takes {} to {} votes; {} that all agree certify it; the largest radius is {radius}",
            votes.least_votes, votes.most_votes, votes.votes_if_all_agree
        ),
        _ => format!(
            "a picture takes {} to {} votes, {} where all agree; no radius",
            votes.least_votes, votes.most_votes, votes.votes_if_all_agree
        ),
    });
    let error = match expected.votes_error {
        Some(error) if error > 0.0 => format!(" (standard error {error:.1})"),
        Some(_) | None => String::new(),
    };
    let from = match &expected.basis {
        Basis::Law { agreement } => format!("computed for an agreement of {agreement}, which is assumed"),
        Basis::Simulation { agreement, pictures } => {
            format!("{pictures} simulated pictures of agreement {agreement}, which is assumed")
        }
        Basis::Record { pictures, cut_short: 0 } => format!("{pictures} recorded pictures"),
        Basis::Record { pictures, cut_short } => {
            format!(
                "{pictures} recorded pictures, of which {cut_short} end before the test does: it will take more"
            )
        }
    };
    let done = if votes.largest_radius > 0.0 { "certified" } else { "predicted" };
    let several =
        settings.asked().any(|(question, _)| question.most_claims() > 1) || !settings.also.is_empty();
    let of = if several { " of the claims" } else { "" };
    lines.push(format!(
        "expected: {:.1} votes a picture{error}, {:.1} %{of} {done}; from {from}",
        expected.votes,
        expected.certified * 100.0
    ));
    if let Some(Bytes { mean, measured }) = bytes {
        let how = if measured { "as a few copies were" } else { "without compression" };
        lines.push(format!("a copy is {}, {how}", size(mean)));
    }
    if let Some(before) = before {
        lines.push(before.words(bill.pictures));
    }
    lines.push("retries come on top".to_owned());
    lines.join("\n") + "\n"
}

fn row(name: &str, total: &Total, free: bool) -> String {
    let unknown = || "unknown".to_owned();
    let cost = match total.cost {
        Some(_) if free => "free".to_owned(),
        Some(cost) => cost.to_string(),
        None => unknown(),
    };
    let time = match total.seconds {
        None => "no quota".to_owned(),
        Some(seconds) => {
            let whole = seconds.ceil() as u64;
            format!("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
        }
    };
    let upload = total.bytes.map_or_else(unknown, size);
    format!("{name:<10}{:>12}{cost:>14}{time:>12}{upload:>12}", total.calls)
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// What a run may spend, at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    pub price: Price,
    /// Calls that the tests can still ask for.
    pub calls: u64,
    /// What the run has spent before, which counts for its limits.
    pub spent: Spend,
    pub max_calls: Option<u64>,
    pub max_cost: Option<Money>,
}

impl Most {
    /// What has to be agreed to, in words; `None` where it is not above the limit.
    fn above(&self, limit: Money) -> Option<String> {
        let calls = self.max_calls.map_or(self.calls, |most| {
            let left = most.saturating_sub(self.spent.calls);
            left.min(self.calls)
        });
        if self.price == Price::Free || calls == 0 {
            return None;
        }
        match (self.price.of(calls), self.max_cost) {
            // The ledger refuses a budget of money where the price is unknown.
            (None, Some(_)) => None,
            (None, None) => Some(format!("{calls} calls at an unknown price")),
            (Some(cost), most) => {
                let spent = self.spent.at_most().unwrap_or(Money::ZERO);
                let left = most.map(|most| most.checked_sub(spent).unwrap_or(Money::ZERO));
                let cost = left.map_or(cost, |left| left.min(cost));
                (cost > limit).then(|| format!("up to {cost} for {calls} calls"))
            }
        }
    }

    /// Asks whether so much was meant; refuses where nobody can be asked. `plan` is what shows more about it, where there is such
    /// a thing.
    pub(super) fn approve(
        &self,
        options: &AskOptions,
        defaults: &Defaults,
        plan: Option<&str>,
    ) -> Result<(), Failure> {
        let limit = options.ask_above.or(defaults.ask_above).unwrap_or(Money::new(1, 0));
        let Some(much) = self.above(limit).filter(|_| !options.yes) else { return Ok(()) };
        if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
            _ = write!(std::io::stderr(), "This may take {much}, retries not counted. Go on? [y/N] ");
            let mut answer = String::new();
            std::io::stdin().lock().read_line(&mut answer).map_err(Failure::internal)?;
            if matches!(answer.trim(), "y" | "Y" | "yes") {
                return Ok(());
            }
            return Err(Failure::usage(anyhow!("not agreed to: nothing was sent")));
        }
        let shows = plan.map_or_else(String::new, |plan| format!("; {plan} shows the plan"));
        if self.price == Price::Unknown {
            return Err(Failure::usage(anyhow!(
                "this may take {much}: say what a call costs (`price` of the provider in smoothgate.toml), or give --yes{shows}"
            )));
        }
        Err(Failure::usage(anyhow!(
            "this may take {much}, which is above --ask-above {limit}: give --yes, or limit it by --max-cost or --max-calls{shows}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_above_the_limit_is_asked_about() {
        let limit: Money = "1.00USD".parse().unwrap();
        let spent = Spend::default();
        let most = |price, calls| Most { price, calls, spent, max_calls: None, max_cost: None };
        let each = Price::PerPicture(Money::new(1, 3));
        assert_eq!(most(Price::Free, u64::MAX).above(limit), None);
        assert_eq!(most(each, 1000).above(limit), None);
        assert_eq!(most(each, 1001).above(limit).unwrap(), "up to $1.001 for 1001 calls");
        assert!(most(Price::Unknown, 1).above(limit).unwrap().contains("unknown price"));
        assert_eq!(most(Price::Unknown, 0).above(limit), None, "what is on record costs nothing");
        let capped = Most { max_cost: Some(limit), ..most(each, 5000) };
        assert_eq!(capped.above(limit), None);
        let capped = Most { max_calls: Some(900), ..most(each, 5000) };
        assert_eq!(capped.above(limit), None);
        let capped = Most { max_cost: Some(limit), ..most(Price::Unknown, 5000) };
        assert_eq!(capped.above(limit), None, "the ledger refuses it with better words");

        // What was spent before is part of what the limits allow in all.
        let five: Money = "5.00USD".parse().unwrap();
        let spent = Spend { calls: 4500, billed: Money::new(45, 1), ..Spend::default() };
        let capped = Most { max_cost: Some(five), ..most(each, 5000) };
        assert!(capped.above(limit).is_some());
        assert_eq!(Most { spent, ..capped }.above(limit), None);
        let capped = Most { max_calls: Some(5000), ..most(each, 5000) };
        assert!(capped.above(limit).is_some());
        assert_eq!(Most { spent, ..capped }.above(limit), None);
    }
}
