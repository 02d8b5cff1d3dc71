//! From certificates to the answer of an API: labels, scores, headers.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use smoothgate_providers::served::{Asked, FileKind, Found, Inquiry, Refusal, RefusalClass, ServedApi};
use smoothgate_providers::{Answer, Label};

use super::certificate::{Evidence, Made};
use super::route::Route;
use crate::certificate::{Certificate, CertifiedLabel};
use crate::config::OnAbstain;
use crate::question::{Question, normalise};

/// What stands before a label that is not certified.
const UNCERTIFIED: &str = "uncertified:";

/// One picture of a request, answered or not.
pub(super) struct Answered {
    pub(super) result: Result<Found, Refusal>,
    /// What the headers say of it.
    pub(super) line: Line,
}

/// What the headers say of one picture.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    outcome: &'static str,
    radius: Option<f64>,
    radius_original: Option<f64>,
    votes: Option<u64>,
    calls: Option<u64>,
    cost: Option<String>,
    certificate: Option<String>,
    evidence: Option<&'static str>,
}

/// The file that was asked about.
#[derive(Clone, Copy)]
pub(super) struct Of {
    pub(super) kind: FileKind,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Answered {
    /// A picture that got no certificate.
    pub(super) fn refused(refusal: Refusal) -> Self {
        Self { result: Err(refusal), line: Line { outcome: "refused", ..Line::default() } }
    }

    /// A picture with its certificate, answered as the route has it.
    pub(super) fn made(
        api: &dyn ServedApi,
        route: &Route,
        inquiry: &Inquiry,
        asked: &Asked,
        made: &Made,
        shared: bool,
        of: Of,
    ) -> Self {
        let certificate = made.certificate.as_ref().map(|(_, document)| &document.certificate);
        let mut line = Line {
            outcome: "abstained",
            calls: Some(made.calls),
            cost: Some(made.cost.map_or_else(|| "unknown".to_owned(), |cost| cost.to_string())),
            evidence: Some(if shared { Evidence::Shared } else { made.evidence }.name()),
            certificate: made.certificate.as_ref().map(|(id, _)| id.to_string()),
            radius: Some(0.0),
            radius_original: Some(0.0),
            votes: Some(0),
        };
        let labels = certificate.map(Certificate::certified).unwrap_or_default();
        let mut answer = None;
        if let Some(certificate) = certificate {
            line.votes = Some(certificate.draws());
            if !labels.is_empty() {
                line.outcome = "certified";
                line.radius = labels.iter().map(|label| label.radius).reduce(f64::min);
                line.radius_original = labels.iter().map(|label| label.radius_original).reduce(f64::min);
                answer = Some(certified(certificate, &labels));
            }
        }
        // A closed set of labels holds nothing else: a certified label outside of it is no answer to this client.
        // Nor is a reply that would deny what was not asked.
        let answer =
            answer.and_then(|answer| said(inquiry, answer)).filter(|answer| !api.denies(asked, answer));
        if line.outcome == "certified" && answer.is_none() {
            line.outcome = "certified-other";
        }
        let result = match answer {
            Some(answer) => Ok(answer),
            // To say nothing would be to deny, whatever is uncertified.
            None if api.denies(asked, &Answer::default()) => Err(nothing()),
            None => abstained(route.settings.on_abstain, inquiry, certificate, made, &mut line),
        };
        let found = |answer| Found { answer, width: of.width, height: of.height, kind: Some(of.kind) };
        Self { result: result.map(found), line }
    }
}

/// The answer that holds what is certified and nothing else, the highest score first. A label's score is the lower
/// confidence bound of the smoothed pipeline's probability to give it, where the test has one.
fn certified(certificate: &Certificate, labels: &[CertifiedLabel]) -> Answer {
    let mut answer =
        Answer { model_version: certificate.model_versions.first().cloned(), ..Answer::default() };
    for CertifiedLabel { label, question, p_lower, .. } in labels {
        let label = match question {
            Question::Level(level) => {
                // As formats spell their categories, however the question does.
                let category = normalise(level.category()).into_owned();
                answer.levels.insert(category.clone(), level.at_least());
                // For the formats that say it by a label.
                Label { id: Some(category.clone()), name: category, score: *p_lower }
            }
            _ => Label { name: label.clone(), score: *p_lower, id: None },
        };
        answer.labels.push(label);
    }
    by_score(&mut answer.labels);
    answer
}

/// Brings labels into the order that clients of every API expect: the highest score first, so that a number of labels that
/// they ask for is that of the best. Equal scores, and none, stay in the order of the upstream's own answer.
fn by_score(labels: &mut [Label]) {
    labels.sort_by(|a, b| {
        b.score.unwrap_or(f64::NEG_INFINITY).total_cmp(&a.score.unwrap_or(f64::NEG_INFINITY))
    });
}

/// The answer with those of its labels that the client lets choose from, in the client's spelling; `None` without any.
fn said(inquiry: &Inquiry, mut answer: Answer) -> Option<Answer> {
    if !inquiry.choices.is_empty() {
        let choices: HashMap<_, _> =
            inquiry.choices.iter().rev().map(|choice| (normalise(choice), choice)).collect();
        let chosen = |label: Label| {
            let name = (*choices.get(normalise(&label.name).as_ref())?).clone();
            Some(Label { name, ..label })
        };
        answer.labels = answer.labels.into_iter().filter_map(chosen).collect();
    }
    (!answer.labels.is_empty()).then_some(answer)
}

/// Refuses what no certified answer can tell.
pub(super) fn answerable(inquiry: &Inquiry) -> Result<(), Refusal> {
    if inquiry.pictures.iter().all(|asked| asked.only_ids.is_empty()) {
        return Ok(());
    }
    let what = "labels are certified by their names and have no ids: select them by name";
    Err(Refusal::new(RefusalClass::Unsupported, what))
}

/// Adds to the client's filters the spelling of the labels that they name: formats compare names without case only, and
/// labels are the same where questions take them for the same.
pub(super) fn respell(inquiry: &mut Inquiry, answered: &[Answered]) {
    for (asked, answered) in inquiry.pictures.iter_mut().zip(answered) {
        let Ok(found) = &answered.result else { continue };
        for filter in [&mut asked.only, &mut asked.without] {
            let named: Vec<String> = {
                let keys: HashSet<_> = filter.iter().map(|name| normalise(name)).collect();
                let names = found.answer.labels.iter().map(|label| &label.name);
                names.filter(|name| keys.contains(normalise(name).as_ref())).cloned().collect()
            };
            filter.extend(named);
        }
    }
}

fn nothing() -> Refusal {
    Refusal::new(RefusalClass::Abstained, "nothing can be certified about this picture")
}

fn abstained(
    policy: OnAbstain,
    inquiry: &Inquiry,
    certificate: Option<&Certificate>,
    made: &Made,
    line: &mut Line,
) -> Result<Answer, Refusal> {
    let version = certificate.and_then(|certificate| certificate.model_versions.first().cloned());
    let empty = Answer { model_version: version, ..Answer::default() };
    match policy {
        OnAbstain::Empty => Ok(empty),
        OnAbstain::Error => Err(nothing()),
        // A label that must be one of a set cannot be marked.
        OnAbstain::Plain if !inquiry.choices.is_empty() => Err(nothing()),
        OnAbstain::Plain => {
            let Some(plain) = &made.plain else { return Ok(empty) };
            line.outcome = "uncertified";
            let mark = |label: &Label| Label {
                name: format!("{UNCERTIFIED}{}", label.name),
                score: label.score,
                id: None,
            };
            Ok(Answer {
                labels: plain.labels.iter().map(mark).collect(),
                model_version: plain.model_version.clone(),
                ..Answer::default()
            })
        }
    }
}

/// Adds what is known of every picture: one value a picture, in their order, separated by commas. `-` stands where there is
/// none.
pub(super) fn head(reply: &mut Response<Bytes>, route: &Route, lines: &[Line]) {
    let settings = &route.settings;
    let number = |value: Option<f64>| value.map(|value| value.to_string());
    let mut set = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            reply.headers_mut().insert(HeaderName::from_static(name), value);
        }
    };
    let list = |of: &dyn Fn(&Line) -> Option<String>| {
        lines.iter().map(|line| of(line).unwrap_or_else(|| "-".to_owned())).collect::<Vec<_>>().join(", ")
    };
    set("x-smoothgate-route", settings.name.clone());
    set("x-smoothgate-sigma", settings.sigma.to_string());
    set("x-smoothgate-alpha", settings.alpha.to_string());
    set("x-smoothgate-outcome", list(&|line| Some(line.outcome.to_owned())));
    set("x-smoothgate-radius", list(&|line| number(line.radius)));
    set("x-smoothgate-radius-original", list(&|line| number(line.radius_original)));
    set("x-smoothgate-votes", list(&|line| line.votes.map(|votes| votes.to_string())));
    set("x-smoothgate-calls", list(&|line| line.calls.map(|calls| calls.to_string())));
    set("x-smoothgate-cost", list(&|line| line.cost.clone()));
    set("x-smoothgate-certificate", list(&|line| line.certificate.clone()));
    set("x-smoothgate-evidence", list(&|line| line.evidence.map(str::to_owned)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_score_comes_first_and_equal_ones_keep_their_order() {
        let label = |name: &str, score| Label { name: name.to_owned(), score, id: None };
        let mut labels = [
            label("dog", Some(0.7)),
            label("pet", Some(0.9)),
            label("blur", None),
            label("animal", Some(0.9)),
            label("fur", None),
        ];
        by_score(&mut labels);
        assert_eq!(labels.map(|label| label.name), ["pet", "animal", "dog", "blur", "fur"]);
    }
}
