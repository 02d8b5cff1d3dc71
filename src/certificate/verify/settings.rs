//! What the run on record was begun with, held against what the document says that it was.

use serde_json::{Value, json};

use super::check::{Wrong, clip};
use super::test::field;
use crate::certificate::{Certificate, canonical};
use crate::question::Question;
use crate::stats::Method;

/// What differs. `parameters` are those of [`certifier::parameters`](crate::certifier::parameters); a name that is not there was
/// not recorded, and says nothing.
pub(super) fn differences(certificate: &Certificate, parameters: &Value) -> Vec<Wrong> {
    let provider = &parameters["provider"];
    let stated = [
        ("noise.sigma", json!(certificate.noise.sigma), &parameters["sigma"]),
        ("noise.generator", json!(certificate.noise.generator), &parameters["noise"]),
        ("alpha", json!(certificate.alpha), &parameters["alpha"]),
        ("denoiser", json!(certificate.denoiser), &parameters["denoiser"]),
        ("encoder", json!(certificate.encoder), &parameters["encoder"]),
        ("provider", json!(certificate.provider), &provider["name"]),
        ("provider_settings", certificate.provider_settings.clone(), &provider["identity"]),
    ];
    let mut wrong = Vec::new();
    for (name, stated, on_record) in stated {
        // As texts: 1 and 1.0 are one number, and a document has one way to write it.
        if !on_record.is_null() && text(&stated) != text(on_record) {
            wrong.push(other(name, &text(&stated), &text(on_record)));
        }
    }
    wrong.extend(questions(certificate, parameters));
    wrong
}

fn text(value: &Value) -> String {
    canonical::text(value).unwrap_or_else(|_| value.to_string())
}

fn other(field: &str, stated: &str, on_record: &str) -> Wrong {
    let says = format!("`{field}` says {stated}, but the run on record was begun with {on_record}");
    Wrong::new(field, clip(says))
}

/// The questions and their tests.
fn questions(certificate: &Certificate, parameters: &Value) -> Vec<Wrong> {
    if parameters["question"].is_null() {
        return Vec::new();
    }
    let also = parameters["also"].as_array().into_iter().flatten();
    let on_record: Vec<&Value> = std::iter::once(parameters).chain(also).collect();
    let stated: Vec<_> = certificate.questions().collect();
    if stated.len() != on_record.len() {
        let asked = |n: usize| format!("{n} questions");
        return vec![other("claims", &asked(stated.len()), &asked(on_record.len()))];
    }
    let (mut wrong, mut at) = (Vec::new(), 0);
    for ((question, claims), on_record) in stated.iter().zip(on_record) {
        // Read, and not compared as texts: a map is the same under another name.
        if serde_json::from_value::<Question>(on_record["question"].clone()).ok().as_ref() != Some(question) {
            let stated = json!(question);
            wrong.push(other(&field(at, "question"), &text(&stated), &text(&on_record["question"])));
        }
        let test = serde_json::from_value::<Method>(on_record["test"].clone()).ok();
        for claim in *claims {
            if test.as_ref() != Some(&claim.test.method) {
                let stated = json!(claim.test.method);
                wrong.push(other(&field(at, "test.method"), &text(&stated), &text(&on_record["test"])));
            }
            at += 1;
        }
    }
    wrong
}
