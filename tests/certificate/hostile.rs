//! Documents from somebody who means harm: an answer, in bounded time, and never a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use smoothgate::certificate::{Digest, Verification, canonical};

use crate::real::cases;

/// The document with this at a place, sealed anew.
fn with(case: usize, pointer: &str, value: Value) -> Vec<u8> {
    let mut document = cases()[case].value();
    *document.pointer_mut(pointer).unwrap() = value;
    sealed(&document)
}

fn sealed(document: &Value) -> Vec<u8> {
    let mut members: Map<String, Value> = document.as_object().unwrap().clone();
    if let Ok(digest) = Digest::of(&members) {
        members.insert("digest".to_owned(), serde_json::to_value(digest).unwrap());
    }
    serde_json::to_vec(&Value::Object(members)).unwrap()
}

fn refused(bytes: &[u8]) -> String {
    let verification = Verification::of(bytes);
    assert!(!verification.holds());
    verification.checks().iter().map(|check| check.says.as_str()).collect::<Vec<_>>().join("\n")
}

#[test]
fn absurd_parameters_build_nothing() {
    let huge = [1_000_001_u64, 1_000_000_000_000, (1 << 53) - 1, u64::MAX];
    for n in huge {
        for (case, pointer) in [
            (0, "/claims/0/test/method/n"),
            (0, "/claims/0/test/method/n0"),
            (3, "/claims/0/test/method/n"),
            (4, "/claims/0/test/method/n_max"),
            (5, "/claims/0/test/method/n_max"),
            (8, "/claims/0/test/method/n_max"),
            (8, "/claims/0/test/method/every"),
            (8, "/claims/0/test/method/n_min"),
        ] {
            refused(&with(case, pointer, json!(n)));
        }
        refused(&with(0, "/claims/0/test/method", json!({"test": "topk", "k": n, "n0": 3, "n": 10})));
        refused(&with(0, "/claims/0/test/method", json!({"test": "topk", "k": 2, "n0": n, "n": n})));
        refused(&with(1, "/picture/preprocessing/original", json!([n, n])));
        refused(&with(1, "/picture/width", json!(n)));
    }
    let radii: Vec<f64> = (1..100_000).map(|i| f64::from(i) * 1e-6).collect();
    for case in [4, 5] {
        assert!(
            refused(&with(case, "/claims/0/test/method/radii", json!(radii)))
                .contains("is the most that is checked")
        );
    }
    for (pointer, value) in [
        ("/picture/width", json!(0)),
        ("/picture/preprocessing/original", json!([0, 0])),
        ("/picture/preprocessing/original", json!([1, u32::MAX])),
        ("/picture/preprocessing/scaled", json!([0, 0])),
        ("/picture/preprocessing/op_norm", json!(0)),
        ("/picture/preprocessing/op_norm", json!(-1)),
        ("/picture/preprocessing/rounding_l2", json!(-1e300)),
        ("/noise/sigma", json!(1e300)),
        ("/claims/0/test/sigma", json!(0)),
        ("/claims/0/test/alpha", json!(-0.1)),
        ("/claims/0/test/alpha", json!(5e-324)),
        ("/alpha", json!(5e-324)),
        ("/claims/0/test/label", json!({"open": {"max_labels": 0}})),
        ("/claims/0/question", json!("map:/etc/passwd")),
        ("/claims/0/question", json!({"map": {"name": "x", "classes": {}}})),
        ("/claims/0/labels", json!(vec!["a"; 10_000])),
        ("/claims", json!([])),
        ("/claims", json!(vec![cases()[1].value()["claims"][0].clone(); 1001])),
        ("/claims/0/votes", json!([u64::MAX])),
        ("/claims/0/votes", json!(vec![7; 120])),
    ] {
        refused(&with(1, pointer, value));
    }
}

#[test]
fn json_that_two_readers_read_differently_is_refused() {
    let text = &cases()[0].text;
    let twice = text.replacen('{', "{\"alpha\":9,", 1);
    assert!(refused(twice.as_bytes()).contains("twice"));
    let inner = text.replacen("\"noise\":{", "\"noise\":{\"sigma\":1,", 1);
    assert!(refused(inner.as_bytes()).contains("twice"));
    for number in ["NaN", "Infinity", "-Infinity", "1e999", "01", "+1", "0x1", "9007199254740993"] {
        let changed = text.replacen("\"alpha\":0.001", &format!("\"alpha\":{number}"), 1);
        assert_ne!(&changed, text);
        refused(changed.as_bytes());
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    refused(deep.as_bytes());
    refused(text.replacen("\"signer\":null", &format!("\"signer\":{deep}"), 1).as_bytes());
    refused(b"");
    refused(b"[]\n");
    refused(b"null\n");
    refused(&[0xff; 64]);
    refused(format!("{text}{text}").as_bytes());
    assert!(refused(&vec![b' '; canonical::MAX_BYTES + 1]).contains("longer"));
}

#[test]
fn a_text_that_takes_many_times_its_size_in_memory_is_refused_while_it_is_read() {
    let many = |item: &str, times: usize| {
        let items = format!("{item},").repeat(times);
        refused(format!("[{items}0]").as_bytes())
    };
    assert!(many("{\"a\":0}", 200_000).contains("more than 100000 objects"));
    assert!(many("0", 5_000_000).contains("more than 4000000 values"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_u64..200).prop_map(Value::from),
        ".{0,12}".prop_map(Value::String),
        "[0-9a-f]{64}".prop_map(Value::String),
        prop_oneof!["top1", "none", "failed", "fixed", "leader", "crop"].prop_map(Value::String),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::btree_map("[a-z_]{1,8}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Every place in a document, as a pointer.
fn pointers(value: &Value, prefix: &str, out: &mut Vec<String>) {
    out.push(prefix.to_owned());
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| pointers(value, &format!("{prefix}/{name}"), out));
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .take(3)
                .for_each(|(i, item)| pointers(item, &format!("{prefix}/{i}"), out));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn anything_in_any_place_gets_an_answer(
        case in 0..13_usize,
        place in any::<prop::sample::Index>(),
        second in any::<prop::sample::Index>(),
        one in any_json(),
        other in any_json(),
    ) {
        let mut document = cases()[case].value();
        let mut all = Vec::new();
        pointers(&document, "", &mut all);
        all.remove(0);
        *document.pointer_mut(&all[place.index(all.len())]).unwrap() = one;
        if let Some(at) = document.pointer_mut(&all[second.index(all.len())]) {
            *at = other;
        }
        let bytes = sealed(&document);
        let answered = catch_unwind(AssertUnwindSafe(|| Verification::of(&bytes).checks().len()));
        prop_assert!(answered.is_ok_and(|checks| checks > 0), "{}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn arbitrary_bytes_get_an_answer(bytes: Vec<u8>, text in "[\\[\\]{}:,\"0-9a-z .eE+-]{0,200}") {
        prop_assert!(!Verification::of(&bytes).holds());
        prop_assert!(!Verification::of(text.as_bytes()).holds());
    }
}
