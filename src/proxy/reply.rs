//! From certificates to the answer of an API: labels, scores, headers.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use smoothgate_providers::served::{FileKind, Found, Inquiry, Refusal, RefusalClass};
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
    pub(super) fn made(route: &Route, inquiry: &Inquiry, made: &Made, shared: bool, of: Of) -> Self {
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
        let answer = answer.and_then(|answer| said(inquiry, answer));
        if line.outcome == "certified" && answer.is_none() {
            line.outcome = "certified-other";
        }
        let result = match answer {
            Some(answer) => Ok(answer),
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
                answer.levels.insert(level.category().to_owned(), level.at_least());
                // For the formats that say it by a label.
                let category = level.category().to_owned();
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

/// The answer with those of its labels that the client lets choose from; `None` without any.
fn said(inquiry: &Inquiry, mut answer: Answer) -> Option<Answer> {
    let choices = &inquiry.choices;
    let named = |label: &Label| choices.iter().any(|choice| normalise(choice) == normalise(&label.name));
    answer.labels.retain(|label| choices.is_empty() || named(label));
    (!answer.labels.is_empty()).then_some(answer)
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
    let error = || Refusal::new(RefusalClass::Abstained, "nothing can be certified about this picture");
    match policy {
        OnAbstain::Empty => Ok(empty),
        OnAbstain::Error => Err(error()),
        // A label that must be one of a set cannot be marked.
        OnAbstain::Plain if !inquiry.choices.is_empty() => Err(error()),
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
