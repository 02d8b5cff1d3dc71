//! Where two JSON values differ.

use serde_json::Value;

use super::check::{Wrong, clip};

/// More differences than this are not listed.
const MOST: usize = 20;

/// The places at which `found` is not `expected`, parents first.
pub(super) fn differences(found: &Value, expected: &Value) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    compare("", Some(found), Some(expected), &mut wrong);
    wrong
}

fn compare(path: &str, found: Option<&Value>, expected: Option<&Value>, wrong: &mut Vec<Wrong>) {
    if wrong.len() >= MOST {
        return;
    }
    match (found, expected) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(&path, a.get(name), b.get(name), wrong);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}[{index}]"), Some(a), Some(b), wrong);
            }
        }
        // One number may be written in two ways (`1` and `1.0`); the canonical text has one.
        (Some(Value::Number(a)), Some(Value::Number(b))) if a.as_f64() == b.as_f64() => {}
        (a, b) if a == b => {}
        (Some(_), None) => wrong.push(Wrong::new(path, format!("`{path}` is no field of this format"))),
        (None, _) => wrong.push(Wrong::new(path, format!("`{path}` is missing"))),
        (Some(a), Some(b)) => {
            wrong.push(Wrong::new(path, clip(format!("`{path}` is {a} where the format has {b}"))));
        }
    }
}
