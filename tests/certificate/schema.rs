//! The published schema, held against real documents by a checker of the few keywords that it uses.

use serde_json::{Value, json};
use smoothgate::certificate::{Document, schema};

use crate::real::cases;

/// Whether `value` is what `rule` says; a keyword that this checker does not know fails the test.
fn fits(root: &Value, rule: &Value, value: &Value) -> bool {
    let rule = rule.as_object().unwrap();
    rule.iter().all(|(keyword, said)| match keyword.as_str() {
        "$schema" | "title" | "description" | "$defs" => true,
        "$ref" => {
            let pointer = said.as_str().unwrap().trim_start_matches('#');
            fits(root, root.pointer(pointer).unwrap(), value)
        }
        "type" => {
            let is = |name: &Value| match name.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "number" => value.is_number(),
                "integer" => value.as_f64().is_some_and(|n| n.fract() == 0.0),
                "null" => value.is_null(),
                other => panic!("type {other}"),
            };
            said.as_array().map_or_else(|| is(said), |names| names.iter().any(is))
        }
        "const" => said == value,
        "enum" => said.as_array().unwrap().contains(value),
        "oneOf" => said.as_array().unwrap().iter().filter(|rule| fits(root, rule, value)).count() == 1,
        "required" => value.as_object().is_none_or(|members| {
            said.as_array().unwrap().iter().all(|name| members.contains_key(name.as_str().unwrap()))
        }),
        "properties" => value.as_object().is_none_or(|members| {
            let said = said.as_object().unwrap();
            members.iter().all(|(name, value)| said.get(name).is_none_or(|rule| fits(root, rule, value)))
        }),
        "additionalProperties" => value.as_object().is_none_or(|members| {
            let known = rule.get("properties").and_then(Value::as_object);
            let mut rest =
                members.iter().filter(|(name, _)| known.is_none_or(|known| !known.contains_key(*name)));
            if said == &json!(false) {
                rest.next().is_none()
            } else {
                rest.all(|(_, value)| fits(root, said, value))
            }
        }),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| fits(root, said, item))),
        "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= said.as_u64().unwrap()),
        "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= said.as_u64().unwrap()),
        "minimum" => value.as_f64().is_none_or(|n| n >= said.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|n| n <= said.as_f64().unwrap()),
        "exclusiveMinimum" => value.as_f64().is_none_or(|n| n > said.as_f64().unwrap()),
        "exclusiveMaximum" => value.as_f64().is_none_or(|n| n < said.as_f64().unwrap()),
        "pattern" => value.as_str().is_none_or(|text| matches(said.as_str().unwrap(), text)),
        other => panic!("the schema uses `{other}`, which this test does not know"),
    })
}

/// The patterns of the schema.
fn matches(pattern: &str, text: &str) -> bool {
    if let Some(digits) = pattern.strip_prefix("^[0-9a-f]{").and_then(|rest| rest.strip_suffix("}$")) {
        let hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        return text.len() == digits.parse::<usize>().unwrap() && text.chars().all(hex);
    }
    match pattern {
        "^(png|jpeg:[1-9][0-9]{0,2})$" => {
            text == "png" || text.strip_prefix("jpeg:").is_some_and(|q| q.parse::<u16>().is_ok())
        }
        "^(top1$|topk:|present:|absent:|level:|clean-top|clean-labels)" => {
            let starts = ["topk:", "present:", "absent:", "level:", "clean-top", "clean-labels"];
            text == "top1" || starts.iter().any(|start| text.starts_with(start))
        }
        other => panic!("pattern {other}"),
    }
}

#[test]
fn real_documents_fit_the_schema_and_changed_ones_do_not() {
    let rules: Value = serde_json::from_str(schema()).unwrap();
    for case in cases() {
        let value = case.value();
        assert!(fits(&rules, &rules, &value), "{}", case.name);
        for name in value.as_object().unwrap().keys() {
            let mut changed = value.clone();
            let taken = changed.as_object_mut().unwrap().remove(name).unwrap();
            assert!(!fits(&rules, &rules, &changed), "{}: without {name}", case.name);
            changed[name] = json!([{}]);
            assert!(!fits(&rules, &rules, &changed), "{}: {name} as something else", case.name);
            changed[name] = taken;
            changed["more"] = json!(1);
            assert!(!fits(&rules, &rules, &changed), "{}: with more", case.name);
        }
        for (pointer, bad) in [
            ("/copies", json!("AB")),
            ("/noise/sigma", json!(0)),
            ("/noise/seed", json!("g")),
            ("/claims", json!([])),
            ("/claims/0/votes", json!(["x"])),
            ("/claims/0/votes", json!([-1])),
            ("/claims/0/test/method", json!({"test": "cohen", "n": 3})),
            ("/claims/0/test/method", json!({"test": "magic"})),
            ("/digest/fields/alpha", json!("0")),
            ("/picture/preprocessing/scaled", json!([1])),
            ("/claims/0/question", json!("anything")),
        ] {
            let mut changed = value.clone();
            *changed.pointer_mut(pointer).unwrap() = bad;
            assert!(!fits(&rules, &rules, &changed), "{}: {pointer}", case.name);
        }
    }
}

#[test]
fn what_the_schema_requires_is_what_the_program_requires() {
    let rules: Value = serde_json::from_str(schema()).unwrap();
    let required = |of: &Value| -> Vec<String> {
        of["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let names = |of: &Value| {
        let mut names: Vec<String> = of.as_object().unwrap().keys().cloned().collect();
        names.sort();
        names
    };
    let value = cases()[0].value();
    for (rules, pointer) in [(&rules, ""), (&rules["properties"]["claims"]["items"], "/claims/0")] {
        let whole = value.pointer(pointer).unwrap();
        assert_eq!(required(rules), names(whole));
        for name in required(rules) {
            let mut changed = value.clone();
            changed.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(&name);
            let text = serde_json::to_vec(&changed).unwrap();
            let read = Document::parse(&text);
            // What may be null is read without being there, and verified as missing.
            assert!(
                read.is_err() || whole[&name].is_null() || name == "label" || name == "p_lower",
                "{name}"
            );
        }
    }
}
