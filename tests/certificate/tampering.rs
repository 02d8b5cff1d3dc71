//! Every change of a document is found, and what is found without the digest is what the documentation says.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use smoothgate::certificate::{Digest, UNDERIVED, Verdict, Verification, canonical};

use crate::real::{Case, cases};

/// A place in a document: names and positions.
type Path = Vec<Step>;

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Name(String),
    Index(usize),
}

fn at<'v>(value: &'v mut Value, path: &[Step]) -> &'v mut Value {
    path.iter().fold(value, |value, step| match step {
        Step::Name(name) => &mut value[name],
        Step::Index(index) => &mut value[index],
    })
}

/// All places below and including this one.
fn places(value: &Value, path: &Path, out: &mut Vec<Path>) {
    out.push(path.clone());
    let below = |step| [path.clone(), vec![step]].concat();
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| places(value, &below(Step::Name(name.clone())), out));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| places(item, &below(Step::Index(index)), out));
        }
        _ => {}
    }
}

fn shown(path: &[Step]) -> String {
    let step = |step: &Step| match step {
        Step::Name(name) => format!(".{name}"),
        Step::Index(index) => format!("[{index}]"),
    };
    path.iter().map(step).collect::<Vec<_>>().concat().trim_start_matches('.').to_owned()
}

/// A place as [`UNDERIVED`] names it.
fn listed_as(path: &[Step]) -> String {
    match path {
        [Step::Name(claims), Step::Index(_), rest @ ..] if claims == "claims" => {
            let rest = shown(rest);
            if rest.is_empty() { "claims[]".to_owned() } else { format!("claims[].{rest}") }
        }
        path => shown(path),
    }
}

/// Other values for a place.
fn others(value: &Value) -> Vec<Value> {
    let mut others = match value {
        Value::Null => vec![json!("x"), json!(0), json!("out_of_reach"), json!("area")],
        Value::Bool(b) => vec![json!(!b)],
        Value::Number(n) => {
            let n = n.as_f64().unwrap();
            let mut others =
                vec![json!(n + 1.0), json!(n * 2.0), json!(n * 0.999), json!(0), json!(-n), json!("failed")];
            if n.fract() == 0.0 {
                others.extend([json!(n as i64 + 1), json!((n as i64 - 1).max(0)), json!("none")]);
            }
            others
        }
        Value::String(text) => {
            let last = if text.ends_with('0') { "1" } else { "0" };
            let mut cut = text.clone();
            cut.pop();
            let mut others =
                vec![json!(format!("{text}x")), json!(format!("{cut}{last}")), json!(cut), json!("")];
            others.push(json!(text.to_uppercase()));
            if text.len() < 12 {
                let words =
                    ["certified", "abstained", "crop", "stretch", "png", "jpeg", "jpeg:80", "none", "failed"];
                others.extend(words.into_iter().chain(["leader", "fixed", "bilinear"]).map(Value::from));
            }
            others.push(json!(0));
            others
        }
        Value::Array(items) => {
            let mut longer = items.clone();
            longer.extend(items.last().cloned().or(Some(json!("x"))));
            let mut shorter = items.clone();
            shorter.pop();
            let mut turned = items.clone();
            turned.reverse();
            let mut swapped = items.clone();
            if let Some(at) = swapped.windows(2).position(|pair| pair[0] != pair[1]) {
                swapped.swap(at, at + 1);
            }
            vec![json!(longer), json!(shorter), json!(turned), json!(swapped), json!([])]
        }
        Value::Object(_) => vec![json!({})],
    };
    others.push(Value::Null);
    // 1 and 1.0, 0 and -0 are one text.
    others.retain(|other| file(other) != file(value));
    others.dedup();
    others
}

/// Every document that differs from this one in a single place, with the place.
fn tampered(value: &Value, mut each: impl FnMut(&[Step], &Value)) {
    let mut all = Vec::new();
    places(value, &Vec::new(), &mut all);
    for path in all.iter().filter(|path| !path.is_empty()) {
        let mut changed = value.clone();
        let original = at(&mut changed, path).clone();
        for other in others(&original) {
            *at(&mut changed, path) = other;
            each(path, &changed);
        }
        // Taken away, and given another name.
        if let (Step::Name(name), parent) = (path.last().unwrap(), &path[..path.len() - 1]) {
            let mut changed = value.clone();
            let members = at(&mut changed, parent).as_object_mut().unwrap();
            let taken = members.remove(name).unwrap();
            each(path, &changed);
            at(&mut changed, parent).as_object_mut().unwrap().insert(format!("{name}_"), taken);
            each(path, &changed);
        }
    }
    // Something that was not there, in every object.
    for path in &all {
        let mut changed = value.clone();
        if let Value::Object(members) = at(&mut changed, path) {
            members.insert("added".to_owned(), json!(true));
            each(&[path.as_slice(), &[Step::Name("added".to_owned())]].concat(), &changed);
        }
    }
}

fn file(value: &Value) -> Vec<u8> {
    (canonical::text(value).unwrap() + "\n").into_bytes()
}

/// What an attacker does who knows the format: a digest that fits.
fn with_new_digest(value: &Value) -> Value {
    let mut members: Map<String, Value> = value.as_object().unwrap().clone();
    let digest = Digest::of(&members).unwrap();
    members.insert("digest".to_owned(), serde_json::to_value(digest).unwrap());
    Value::Object(members)
}

/// Every vote is changed in the first case, and every 25th in the others.
fn left_out(case: &Case, path: &[Step]) -> bool {
    let first = case.name == cases()[0].name;
    let vote = |step: &[Step]| matches!(step, [Step::Name(name), Step::Index(i), ..] if name == "votes" && i % 25 > 0);
    !first && path.get(2..).is_some_and(vote)
}

#[test]
fn every_single_change_is_found_and_its_field_is_named() {
    for case in cases() {
        let value = case.value();
        let mut changes = 0;
        tampered(&value, |path, changed| {
            if left_out(case, path) {
                return;
            }
            changes += 1;
            let verification = Verification::of(&file(changed));
            let place = shown(path);
            assert!(!verification.holds(), "{}: a change of {place} was not found", case.name);
            let Step::Name(top) = &path[0] else { unreachable!() };
            let wrong: BTreeSet<&str> = verification
                .checks()
                .iter()
                .filter(|check| check.verdict == Verdict::Fails)
                .flat_map(|check| check.fields.iter().map(String::as_str))
                .collect();
            let named = wrong.iter().any(|field| field.starts_with(top.as_str()));
            assert!(named, "{}: a change of {place} was found, but blamed on {wrong:?}", case.name);
        });
        assert!(changes > 500, "{}: {changes}", case.name);
    }
}

#[test]
fn with_a_new_digest_what_goes_unnoticed_is_exactly_what_the_list_says() {
    let mut unnoticed = BTreeSet::new();
    for case in cases() {
        let value = case.value();
        let signed = !value["signature"].is_null();
        tampered(&value, |path, changed| {
            let Step::Name(top) = &path[0] else { unreachable!() };
            if top == "digest" || left_out(case, path) {
                return;
            }
            let verification = Verification::of(&file(&with_new_digest(changed)));
            if signed {
                assert!(
                    !verification.holds(),
                    "{}: a change of {} beside a signature",
                    case.name,
                    shown(path)
                );
            }
            if verification.holds() {
                let place = listed_as(path);
                let listed = UNDERIVED.iter().find(|(field, _)| place.starts_with(field));
                let (field, _) =
                    listed.unwrap_or_else(|| panic!("{}: {place} can be changed unnoticed", case.name));
                unnoticed.insert(*field);
            }
        });
    }
    let listed: BTreeSet<&str> = UNDERIVED.iter().map(|&(field, _)| field).collect();
    assert_eq!(unnoticed, listed, "the list names what cannot be changed unnoticed");
}

#[test]
fn a_signature_taken_off_with_its_signer_and_a_new_digest_leaves_an_unsigned_document() {
    // Nothing in a document can tell that it was signed once; --public-key asks for it.
    let case = cases().iter().find(|case| !case.value()["signature"].is_null()).unwrap();
    let mut value = case.value();
    let key = value["signer"]["public_key"].as_str().unwrap().to_owned();
    value["signer"] = Value::Null;
    value["signature"] = Value::Null;
    let mut verification = Verification::of(&file(&with_new_digest(&value)));
    assert!(verification.holds());
    verification.signed_by(&smoothgate::certificate::PublicKey::from_hex(&key).unwrap());
    assert!(!verification.holds());
    let mut untouched = Verification::of(case.text.as_bytes());
    untouched.signed_by(&smoothgate::certificate::PublicKey::from_hex(&key).unwrap());
    assert!(untouched.holds());
}

#[test]
fn fields_in_another_order_and_white_space_are_found() {
    for case in cases() {
        let pretty = serde_json::to_string_pretty(&case.value()).unwrap();
        let Value::Object(members) = case.value() else { panic!() };
        let backwards: Vec<String> =
            members.iter().rev().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
        let backwards = format!("{{{}}}\n", backwards.join(","));
        let spelt = case.text.replacen("\"alpha\":0.001", "\"alpha\":1e-3", 1);
        for text in [pretty, backwards, spelt, case.text.trim_end().to_owned(), format!(" {}", case.text)] {
            let verification = Verification::of(text.as_bytes());
            let failed: Vec<_> = verification
                .checks()
                .iter()
                .filter(|check| check.verdict == Verdict::Fails)
                .map(|check| check.name)
                .collect();
            assert_eq!(failed, ["canonical"], "{}", case.name);
        }
    }
}

/// The checks that fail once the digest is made anew.
fn failing(changed: &Value) -> Vec<&'static str> {
    let verification = Verification::of(&file(&with_new_digest(changed)));
    verification
        .checks()
        .iter()
        .filter(|check| check.verdict == Verdict::Fails)
        .map(|check| check.name)
        .collect()
}

#[test]
fn votes_beyond_the_decision_missing_votes_and_late_decisions_are_found() {
    for case in cases() {
        // A claim that there was nothing to ask for has no votes.
        let at = case.certificate().claims.iter().position(|claim| !claim.votes.is_empty()).unwrap();
        let mut more = case.value();
        more["claims"][at]["votes"].as_array_mut().unwrap().push(json!(0));
        assert!(failing(&more).contains(&"votes"), "{}: one more", case.name);
        let mut fewer = case.value();
        fewer["claims"][at]["votes"].as_array_mut().unwrap().pop();
        assert!(failing(&fewer).contains(&"votes"), "{}: one less", case.name);
    }
    // Unanimous votes let the ladder certify long before: the same claim from more votes is none of this test.
    let case = cases().iter().find(|case| case.name.contains("table,")).unwrap();
    let mut late = case.value();
    for vote in late["claims"][0]["votes"].as_array_mut().unwrap() {
        *vote = json!(0);
    }
    assert_eq!(failing(&late), ["votes"]);
}

#[test]
fn consistent_lies_about_the_level_and_the_bound_are_found() {
    let case = &cases()[0];
    // A level that leaves nothing for the sampler.
    let mut value = case.value();
    value["claims"][0]["test"]["alpha"] = value["alpha"].clone();
    assert!(failing(&value).contains(&"level"));
    // A norm of the resize that is too small, with the original radius that would follow from it.
    let case = &cases()[1];
    let mut certificate = case.certificate();
    certificate.picture.preprocessing.op_norm /= 2.0;
    let radius = certificate.picture.preprocessing.radius_original(certificate.claims[0].radius);
    certificate.claims[0].radius_original = smoothgate::stats::round_down(radius);
    let text = smoothgate::certificate::Document::seal(certificate, None).unwrap().to_text().unwrap();
    let verification = Verification::of(text.as_bytes());
    let failed: Vec<_> = verification
        .checks()
        .iter()
        .filter(|check| check.verdict == Verdict::Fails)
        .map(|check| check.name)
        .collect();
    assert_eq!(failed, ["preprocessing"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_changed_byte_is_found(case in 0..13_usize, at in any::<prop::sample::Index>(), byte: u8) {
        let case = &cases()[case];
        let mut bytes = case.text.clone().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        prop_assert!(!Verification::of(&bytes).holds(), "byte {} of {}", at, case.name);
    }

    #[test]
    fn any_two_votes_that_change_places_are_found(case in 0..13_usize, a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
        let mut value = cases()[case].value();
        let votes = value["claims"][0]["votes"].as_array_mut().unwrap();
        prop_assume!(!votes.is_empty());
        let a = a.index(votes.len());
        let other: Vec<usize> = (0..votes.len()).filter(|&i| votes[i] != votes[a]).collect();
        let b = *b.get(&other);
        votes.swap(a, b);
        let verification = Verification::of(&file(&value));
        let digest = verification.checks().iter().find(|check| check.name == "digest").unwrap();
        prop_assert_eq!(&digest.fields, &["claims[0].votes".to_owned()]);
    }
}
