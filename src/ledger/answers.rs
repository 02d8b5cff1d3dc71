//! How answers are stored: JSON, compressed, with a check that ties each to its place.
//!
//! `[1 byte: format][8 bytes: check][4 bytes: length of the JSON, little endian][LZ4 block]`
//!
//! `SQLite` keeps no checksums of its pages. An answer is a vote, and a flipped bit in it could become another vote, so
//! each carries eight bytes of BLAKE3 over its attempt's number and its JSON.

use smoothgate_providers::Answer;

/// JSON, LZ4 with [`DICTIONARY`].
const FORMAT: u8 = 1;
const HEADER: usize = 13;
/// More than any API sends in an answer; refused before memory is taken for it.
const LARGEST: usize = 16 << 20;
/// What nearly every answer contains. Part of the format: another dictionary needs another format number.
const DICTIONARY: &[u8] = br#""VERY_UNLIKELY","UNLIKELY","POSSIBLE","VERY_LIKELY","LIKELY"},"model_version":"","from_cache":true{"labels":[]}{"labels":[],"levels":{"adult":"medical":"spoof":"violence":"racy":"id":"/m/0{"labels":[{"name":"","score":0.9},{"name":"","score":0.8},{"name":"","score":0.7}]}"#;

/// Encodes the answer of `attempt`.
///
/// # Errors
/// A sentence where the answer has no exact JSON form: a score that is not a number.
pub(super) fn encode(attempt: i64, answer: &Answer) -> Result<Vec<u8>, String> {
    if let Some(label) = answer.labels.iter().find(|l| l.score.is_some_and(|s| !s.is_finite())) {
        return Err(format!("the score of label `{}` is not a number", label.name));
    }
    let json = serde_json::to_vec(answer).map_err(|e| e.to_string())?;
    if json.len() > LARGEST {
        return Err(format!("the answer has {} bytes, at most {LARGEST} can be recorded", json.len()));
    }
    let mut body = Vec::with_capacity(HEADER + json.len() / 2);
    body.push(FORMAT);
    body.extend_from_slice(&check(attempt, &json));
    body.extend_from_slice(&(json.len() as u32).to_le_bytes());
    body.extend_from_slice(&lz4_flex::block::compress_with_dict(&json, DICTIONARY));
    Ok(body)
}

/// Decodes what [`encode`] made for the same attempt.
///
/// # Errors
/// A sentence that says how the bytes are damaged.
pub(super) fn decode(attempt: i64, body: &[u8]) -> Result<Answer, String> {
    let damaged = |what: &str| format!("the answer of attempt {attempt} {what}");
    let (Some((&format, rest)), true) = (body.split_first(), body.len() >= HEADER) else {
        return Err(damaged("is cut short"));
    };
    if format != FORMAT {
        return Err(damaged(&format!("has the unknown format {format}")));
    }
    let (expected, rest) = rest.split_at(8);
    let (length, block) = rest.split_at(4);
    let length = length.iter().rev().fold(0_usize, |n, b| n << 8 | usize::from(*b));
    if length > LARGEST {
        return Err(damaged("claims an impossible length"));
    }
    let json = lz4_flex::block::decompress_with_dict(block, length, DICTIONARY)
        .map_err(|e| damaged(&format!("cannot be decompressed: {e}")))?;
    if check(attempt, &json) != expected {
        return Err(damaged("does not match its checksum"));
    }
    serde_json::from_slice(&json).map_err(|e| damaged(&format!("is not an answer: {e}")))
}

fn check(attempt: i64, json: &[u8]) -> [u8; 8] {
    let mut check = [0; 8];
    let hash = blake3::Hasher::new().update(&attempt.to_le_bytes()).update(json).finalize();
    check.copy_from_slice(&hash.as_bytes()[..8]);
    check
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use smoothgate_providers::{Label, Likelihood};

    use super::*;

    fn any_answer() -> impl Strategy<Value = Answer> {
        let label =
            (".{0,20}", proptest::option::of(-1e300..1e300_f64), proptest::option::of("[a-z/0-9]{0,9}"))
                .prop_map(|(name, score, id)| Label { name, score, id });
        let levels = proptest::collection::btree_map("[a-z]{1,8}", Just(Likelihood::VeryLikely), 0..3);
        (proptest::collection::vec(label, 0..12), levels, proptest::option::of(".{0,9}"), any::<bool>())
            .prop_map(|(labels, levels, model_version, from_cache)| Answer {
                labels,
                levels: BTreeMap::from_iter(levels),
                model_version,
                from_cache,
            })
    }

    proptest! {
        #[test]
        fn answers_come_back_exactly(answer in any_answer(), attempt in any::<i64>()) {
            let body = encode(attempt, &answer).unwrap();
            prop_assert_eq!(decode(attempt, &body).unwrap(), answer);
        }

        /// Scores decide votes at thresholds: every bit must come back, also of numbers with 17 digits.
        #[test]
        fn scores_come_back_to_the_last_bit(bits in any::<u64>()) {
            let score = f64::from_bits(bits);
            prop_assume!(score.is_finite());
            let back = decode(1, &encode(1, &Answer::of([("a", score)])).unwrap()).unwrap();
            prop_assert_eq!(back.labels[0].score.unwrap().to_bits(), bits);
        }

        #[test]
        fn any_changed_byte_is_found(answer in any_answer(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut body = encode(7, &answer).unwrap();
            let at = at.index(body.len());
            body[at] ^= 1 << bit;
            // LZ4 has several encodings of one text; what matters is that the text is the same or refused.
            prop_assert!(decode(7, &body).map_or(true, |a| a == answer));
        }

        #[test]
        fn foreign_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(1, &body);
        }
    }

    #[test]
    fn an_answer_belongs_to_its_attempt() {
        let body = encode(7, &Answer::of([("cat", 0.5)])).unwrap();
        assert!(decode(8, &body).unwrap_err().contains("checksum"));
    }

    #[test]
    fn a_score_that_is_no_number_is_refused() {
        assert!(encode(1, &Answer::of([("cat", f64::NAN)])).unwrap_err().contains("cat"));
    }

    #[test]
    fn a_usual_answer_takes_less_than_half_its_json() {
        let names =
            ["Bird", "Bird of prey", "Eagle", "Turkey Vulture", "Accipitriformes", "Accipitridae", "Beak"];
        let answer = Answer::of(names.iter().zip(0..).map(|(n, i)| (*n, 0.9883 - 0.0121 * f64::from(i))));
        let (json, body) = (serde_json::to_vec(&answer).unwrap(), encode(1, &answer).unwrap());
        assert!(2 * body.len() < json.len() + 2 * HEADER, "{} of {}", body.len(), json.len());
    }
}
