//! The plan as a TOML file: the raw form, and the way from it to the checked one.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::names::closest;
use super::text::{Span, duration};
use super::{Latency, Plan, PlanError, Rate, Scripted};
use crate::emulate::fault::{Fault, Kind};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlan {
    #[serde(default)]
    seed: u64,
    latency: Option<Spanned<String>>,
    #[serde(default)]
    latency_by_label: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    rate: Vec<Spanned<RawRate>>,
    #[serde(default)]
    script: Vec<Spanned<RawScripted>>,
    #[serde(default)]
    model: Vec<Spanned<RawModel>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRate {
    fault: Kind,
    share: f64,
    #[serde(default)]
    apis: Vec<Spanned<String>>,
    status: Option<u16>,
    retry_after: Option<Spanned<String>>,
    pause: Option<Spanned<String>>,
    billed: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScripted {
    fault: Kind,
    calls: Spanned<RawCalls>,
    api: Option<Spanned<String>>,
    status: Option<u16>,
    retry_after: Option<Spanned<String>>,
    pause: Option<Spanned<String>>,
    billed: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a number of a call, or a text such as \"7..9\"")]
enum RawCalls {
    One(u64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModel {
    from: u64,
    version: String,
}

/// A problem and where it is in the text.
type Problem = (Range<usize>, String);

/// See [`Plan::parse`].
pub(super) fn parse(text: &str) -> Result<Plan, PlanError> {
    let at = |(span, problem): Problem| PlanError::Text { line: line(text, span.start), problem };
    let raw: RawPlan = toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or_default();
        at((span, nearest(error.message())))
    })?;
    let plan = checked(raw).map_err(at)?;
    plan.check()?;
    Ok(plan)
}

fn checked(raw: RawPlan) -> Result<Plan, Problem> {
    let mut plan = Plan { seed: raw.seed, ..Plan::default() };
    if let Some(latency) = raw.latency {
        plan.latency = latency.get_ref().parse::<Latency>().map_err(|problem| (latency.span(), problem))?;
    }
    for (label, time) in raw.latency_by_label {
        plan.latency_by_label.insert(label.to_lowercase(), time_of(&time)?);
    }
    for entry in raw.rate {
        let (span, raw) = (entry.span(), entry.into_inner());
        let options = Options {
            kind: raw.fault,
            status: raw.status,
            retry_after: raw.retry_after,
            pause: raw.pause,
            billed: raw.billed,
        };
        let apis = raw.apis.into_iter().map(api).collect::<Result<_, _>>()?;
        plan.rates.push(Rate { fault: options.fault(&span)?, share: raw.share, apis });
    }
    for entry in raw.script {
        let (span, raw) = (entry.span(), entry.into_inner());
        let options = Options {
            kind: raw.fault,
            status: raw.status,
            retry_after: raw.retry_after,
            pause: raw.pause,
            billed: raw.billed,
        };
        let text = match raw.calls.get_ref() {
            RawCalls::One(call) => call.to_string(),
            RawCalls::Text(text) => text.clone(),
        };
        let calls = text.parse::<Span>().map_err(|problem| (raw.calls.span(), problem))?;
        let api = raw.api.map(api).transpose()?;
        plan.script.push(Scripted { fault: options.fault(&span)?, calls, api });
    }
    for entry in raw.model {
        let (span, RawModel { from, version }) = (entry.span(), entry.into_inner());
        if version.is_empty() {
            return Err((span, "`version` is empty: name the version that answers show".to_owned()));
        }
        if plan.models.last().is_some_and(|(before, _)| *before >= from) {
            let problem =
                "`from` is not larger than the one before it: order the versions by their first call";
            return Err((span, problem.to_owned()));
        }
        plan.models.push((from, version));
    }
    Ok(plan)
}

/// What both tables of faults may say.
struct Options {
    kind: Kind,
    status: Option<u16>,
    retry_after: Option<Spanned<String>>,
    pause: Option<Spanned<String>>,
    billed: Option<bool>,
}

impl Options {
    fn fault(self, span: &Range<usize>) -> Result<Fault, Problem> {
        let kind = self.kind;
        let only = |given: bool, key: &str, kinds: &[Kind]| {
            if !given || kinds.contains(&kind) {
                return Ok(());
            }
            let names: Vec<String> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
            Err((span.clone(), format!("`{key}` means nothing for `{kind}`, only for {}", names.join(", "))))
        };
        only(self.status.is_some(), "status", &[Kind::ServerError, Kind::Html])?;
        only(self.retry_after.is_some(), "retry_after", &[Kind::Throttle])?;
        only(self.pause.is_some(), "pause", &[Kind::Drip])?;
        let either: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.may_be_billed()).collect();
        only(self.billed.is_some(), "billed", &either)?;
        let statuses = if kind == Kind::Html { 200..=599 } else { 500..=599 };
        if let Some(status) = self.status.filter(|status| !statuses.contains(status)) {
            let problem = format!("`status` {status} is not from {} to {}", statuses.start(), statuses.end());
            return Err((span.clone(), problem));
        }
        let mut fault = Fault::new(kind);
        fault.status = self.status;
        fault.retry_after = self.retry_after.as_ref().map(time_of).transpose()?;
        fault.pause = self.pause.as_ref().map_or(Ok(fault.pause), time_of)?;
        fault.billed = self.billed.unwrap_or(false);
        Ok(fault)
    }
}

fn time_of(text: &Spanned<String>) -> Result<std::time::Duration, Problem> {
    duration(text.get_ref()).map_err(|problem| (text.span(), problem))
}

fn api(name: Spanned<String>) -> Result<String, Problem> {
    let known = smoothgate_providers::served::all();
    let names: Vec<&str> = known.iter().map(|api| api.name()).collect();
    if names.contains(&name.get_ref().as_str()) {
        return Ok(name.into_inner());
    }
    let hint =
        closest(name.get_ref(), &names).map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
    Err((name.span(), format!("no API is called `{}`{hint}: there are {}", name.get_ref(), names.join(", "))))
}

fn line(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

/// The parser's words about an unknown key or kind name all known ones: the nearest of them is put in front.
fn nearest(message: &str) -> String {
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (Some(unknown), true) = (names.first(), message.starts_with("unknown ")) else {
        return message.trim().to_owned();
    };
    match closest(unknown, &names[1..]) {
        Some(near) => format!("{} (did you mean `{near}`?)", message.trim()),
        None => message.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const WHOLE: &str = r#"
seed = 7
latency = "10ms..30ms"

[latency_by_label]
Dog = "300ms"

[[rate]]
fault = "throttle"
share = 0.05
apis = ["google", "aws"]
retry_after = "2s"

[[rate]]
fault = "server-error"
share = 0.01
status = 502
billed = true

[[script]]
calls = 3
fault = "drip"
pause = "1ms"

[[script]]
calls = "7..9"
api = "azure-v3"
fault = "reset"

[[model]]
from = 1
version = "a"

[[model]]
from = 40
version = "b"
"#;

    #[test]
    fn a_whole_plan() {
        let plan = Plan::parse(WHOLE).unwrap();
        assert_eq!(plan.seed, 7);
        assert_eq!(plan.latency_of_label("dog"), Duration::from_millis(300));
        assert_eq!(plan.latency_of_label("cat"), Duration::ZERO);
        assert_eq!(plan.rates[0].fault.retry_after, Some(Duration::from_secs(2)));
        assert_eq!(plan.rates[0].apis, ["google", "aws"]);
        assert_eq!(plan.rates[1].fault.status, Some(502));
        assert!(plan.rates[1].fault.billed);
        assert_eq!(plan.script[0].fault.pause, Duration::from_millis(1));
        assert_eq!(plan.script[1].api.as_deref(), Some("azure-v3"));
        assert_eq!(plan.models, [(1, "a".to_owned()), (40, "b".to_owned())]);
        assert_eq!(Plan::parse("").unwrap(), Plan::default());
    }

    /// A plan with a mistake, the line it is on, and a word that the error must say.
    const MISTAKES: &[(&str, usize, &str)] = &[
        ("seed = 1\nlatancy = \"1s\"", 2, "did you mean `latency`?"),
        ("\n[[rate]]\nfault = \"throtle\"\nshare = 0.1", 3, "did you mean `throttle`?"),
        ("[[rate]]\nfault = \"throttle\"\nshares = 0.1", 3, "did you mean `share`?"),
        ("[[rate]]\nfault = \"reset\"\nshare = 0.1\napis = [\"googel\"]", 4, "did you mean `google`?"),
        ("[[script]]\nfault = \"reset\"\ncalls = \"9..7\"", 3, "names no calls"),
        ("[[script]]\nfault = \"reset\"\ncalls = 0", 3, "names no calls"),
        ("[[script]]\nfault = \"reset\"", 1, "calls"),
        ("[[script]]\nfault = \"reset\"\ncalls = 1\npause = \"1s\"", 1, "`pause` means nothing for `reset`"),
        ("[[script]]\nfault = \"throttle\"\ncalls = 1\nbilled = true", 1, "`billed` means nothing"),
        ("[[script]]\nfault = \"server-error\"\ncalls = 1\nstatus = 404", 1, "500 to 599"),
        ("latency = \"quick\"", 1, "is no time"),
        ("latency = 5", 1, "string"),
        ("seed = ", 1, ""),
        (
            "[[model]]\nfrom = 5\nversion = \"a\"\n[[model]]\nfrom = 5\nversion = \"b\"",
            4,
            "order the versions",
        ),
        ("[[model]]\nfrom = 5\nversion = \"\"", 1, "`version` is empty"),
    ];

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, line, words) in MISTAKES {
            match Plan::parse(text) {
                Err(PlanError::Text { line: at, problem }) => {
                    assert_eq!((at, problem.contains(words)), (*line, true), "{text}\n{problem}");
                }
                other => panic!("{text}\n{other:?}"),
            }
        }
        assert!(matches!(
            Plan::parse("[[rate]]\nfault = \"reset\"\nshare = 1.5"),
            Err(PlanError::Share { .. })
        ));
    }
}
