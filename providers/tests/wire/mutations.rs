//! Every decoder, in both directions, fed with the fixtures and with what mutation makes of them.

use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};
use smoothgate_providers::served;

#[path = "../../fuzz/src/drive.rs"]
#[expect(unreachable_pub, reason = "the fuzz crate takes the same file as a public module")]
mod drive;

/// A fixture: the adapter's name, the file's name, whether it is a request, and its bytes.
struct Seed {
    adapter: &'static str,
    file: String,
    request: bool,
    bytes: Vec<u8>,
}

fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for adapter in drive::names() {
        let folder =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(adapter.replace('-', "_"));
        let mut files: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for path in files {
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            let request = file.starts_with("request_");
            seeds.push(Seed { adapter, file, request, bytes: std::fs::read(path).unwrap() });
        }
    }
    seeds
}

fn run(seed: &Seed, bytes: &[u8]) {
    if seed.request {
        drive::request(seed.adapter, bytes);
    } else {
        drive::reply(seed.adapter, bytes);
    }
}

/// Something done to bytes.
#[derive(Clone, Debug)]
enum Mutation {
    Cut(Index),
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    Repeat(Index, Index),
    /// Another value in the place of one somewhere in the JSON of the body.
    Replace(Index, Value),
    /// A key or an element less.
    Drop(Index),
}

fn values() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1.5),
        json!(99.9),
        json!(1e308),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(""),
        json!("x".repeat(5000)),
        json!("\u{0}\u{202e}\u{e9}"),
        json!("0.5:1:dog"),
        json!([]),
        json!({}),
        json!([[[[]]]]),
        json!([null, null]),
        json!({ "code": 3, "message": 7 }),
        json!({ "label": "dog" }),
    ])
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let at = any::<Index>;
    let one = prop_oneof![
        1 => at().prop_map(Mutation::Cut),
        2 => (at(), any::<u8>()).prop_map(|(i, b)| Mutation::Flip(i, b)),
        2 => (at(), prop::collection::vec(any::<u8>(), 1..8)).prop_map(|(i, b)| Mutation::Insert(i, b)),
        1 => (at(), at()).prop_map(|(a, b)| Mutation::Remove(a, b)),
        1 => (at(), at()).prop_map(|(a, b)| Mutation::Repeat(a, b)),
        8 => (at(), values()).prop_map(|(i, v)| Mutation::Replace(i, v)),
        3 => at().prop_map(Mutation::Drop),
    ];
    prop::collection::vec(one, 1..4)
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let range = |a: &Index, b: &Index, length: usize| {
            let (a, b) = (a.index(length + 1), b.index(length + 1));
            a.min(b)..a.max(b)
        };
        match self {
            Self::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
            Self::Flip(at, mask) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] ^= mask;
            }
            Self::Flip(..) => {}
            Self::Insert(at, what) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, what.iter().copied());
            }
            Self::Remove(a, b) => drop(bytes.drain(range(a, b, bytes.len()))),
            Self::Repeat(a, b) => {
                let range = range(a, b, bytes.len());
                let again = bytes[range.clone()].to_vec();
                bytes.splice(range.start..range.start, again);
            }
            Self::Replace(at, value) => in_json(bytes, |body| {
                let mut count = nodes(body);
                count = at.index(count);
                visit(body, &mut count, &mut |node| *node = value.clone());
            }),
            Self::Drop(at) => in_json(bytes, |body| {
                let mut count = at.index(nodes(body));
                visit(body, &mut count, &mut |node| match node {
                    Value::Array(list) if !list.is_empty() => drop(list.remove(at.index(list.len()))),
                    Value::Object(object) if !object.is_empty() => {
                        let key = object.keys().nth(at.index(object.len())).cloned().unwrap();
                        object.remove(&key);
                    }
                    other => *other = Value::Null,
                });
            }),
        }
    }
}

fn in_json(bytes: &mut Vec<u8>, change: impl FnOnce(&mut Value)) {
    let Some(at) = bytes.windows(2).position(|pair| pair == b"\n\n") else { return };
    let Ok(mut body) = serde_json::from_slice(&bytes[at + 2..]) else { return };
    change(&mut body);
    bytes.truncate(at + 2);
    bytes.extend(body.to_string().into_bytes());
}

fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(nodes).sum(),
        Value::Object(object) => object.values().map(nodes).sum(),
        _ => 0,
    }
}

/// Calls `change` on the node that many nodes away in depth-first order.
fn visit(value: &mut Value, left: &mut usize, change: &mut dyn FnMut(&mut Value)) -> bool {
    if *left == 0 {
        change(value);
        return true;
    }
    *left -= 1;
    match value {
        Value::Array(list) => list.iter_mut().any(|inner| visit(inner, left, change)),
        Value::Object(object) => object.values_mut().any(|inner| visit(inner, left, change)),
        _ => false,
    }
}

#[test]
fn every_fixture_is_driven_in_its_own_format_and_in_all_others() {
    for seed in &seeds() {
        run(seed, &seed.bytes);
        for adapter in drive::names() {
            drive::reply(adapter, &seed.bytes);
            if adapter != "http" {
                drive::request(adapter, &seed.bytes);
            }
        }
    }
}

#[test]
fn each_request_is_recognised_by_its_own_format_first() {
    for seed in seeds().iter().filter(|seed| seed.request) {
        let received =
            crate::support::Received::fixture(&format!("{}/{}", seed.adapter.replace('-', "_"), seed.file));
        let first = served::all().into_iter().find(|api| received.with(|incoming| api.recognises(incoming)));
        assert_eq!(first.map(|api| api.name()), Some(seed.adapter), "{}", seed.file);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4000,
        rng_seed: RngSeed::Fixed(20_261_122),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn mutated_fixtures_break_nothing(which: Index, changes in mutations()) {
        thread_local!(static SEEDS: Vec<Seed> = seeds());
        SEEDS.with(|seeds| {
            let seed = &seeds[which.index(seeds.len())];
            let mut bytes = seed.bytes.clone();
            for change in &changes {
                change.apply(&mut bytes);
            }
            run(seed, &bytes);
        });
    }

    #[test]
    fn random_bytes_break_nothing(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for adapter in drive::names() {
            drive::reply(adapter, &bytes);
            if adapter != "http" {
                drive::request(adapter, &bytes);
            }
        }
    }
}
