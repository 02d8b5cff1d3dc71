//! The one way in which a document is written: RFC 8785, the JSON Canonicalization Scheme.
//!
//! No space outside of strings; the members of every object sorted by their names' UTF-16 code units; numbers as ECMAScript
//! prints them, which is the shortest decimal that reads back as the same double; strings in UTF-8 with no escape that is
//! not needed. A file holds that text and one newline. So equal documents are equal bytes, and a digest of the text is a
//! digest of the content.
//!
//! RFC 8785 fits because every number here is a double or a whole number below 2^53; others are refused.

use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A longer document is refused unread: ten million votes take half of it.
pub const MAX_BYTES: usize = 64 << 20;

/// Whole numbers beyond this are not all doubles.
const MOST_INTEGER: u64 = 1 << 53;

/// Why a text is not the JSON of a document.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CanonicalError {
    /// It is longer than [`MAX_BYTES`].
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Not JSON, or JSON that two readers could read differently: a name twice in an object, a number that a double
    /// cannot hold, more than a hundred levels of nesting.
    #[error("{0}")]
    Syntax(#[from] serde_json::Error),
    /// A whole number of 2^53 or more.
    #[error("the whole number {0} is beyond 2^53 and would not survive every reader")]
    Number(String),
}

/// The canonical text of a value, without a newline.
///
/// # Errors
/// [`CanonicalError::Number`].
pub fn text(value: &Value) -> Result<String, CanonicalError> {
    check_numbers(value)?;
    match value {
        // Here any JSON writer agrees with RFC 8785, and half of a document's members are such.
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(serde_json::to_string(value)?),
        Value::Number(number) if !number.is_f64() => Ok(number.to_string()),
        _ => Ok(serde_json_canonicalizer::to_string(value)?),
    }
}

/// Reads a text that need not be canonical.
///
/// # Errors
/// [`CanonicalError`].
pub fn parse(bytes: &[u8]) -> Result<Value, CanonicalError> {
    if bytes.len() > MAX_BYTES {
        return Err(CanonicalError::TooLong);
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut reader)?;
    reader.end()?;
    check_numbers(&value)?;
    Ok(value)
}

/// The canonical text of an object whose members' canonical texts are known.
///
/// # Errors
/// [`CanonicalError::Syntax`], which no name can cause.
pub(super) fn object<N: AsRef<str>, T: AsRef<str>>(
    members: impl IntoIterator<Item = (N, T)>,
) -> Result<String, CanonicalError> {
    let members: Vec<(N, T)> = members.into_iter().collect();
    let mut members: Vec<(&str, &str)> =
        members.iter().map(|(name, text)| (name.as_ref(), text.as_ref())).collect();
    members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    let length = members.iter().map(|(name, text)| name.len() + text.len() + 4).sum::<usize>() + 2;
    let mut object = String::with_capacity(length);
    for (name, text) in members {
        object.push(if object.is_empty() { '{' } else { ',' });
        object += &serde_json::to_string(name)?;
        object.push(':');
        object += text;
    }
    if object.is_empty() {
        object.push('{');
    }
    object.push('}');
    Ok(object)
}

fn check_numbers(value: &Value) -> Result<(), CanonicalError> {
    match value {
        Value::Number(number) => {
            let whole = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            if whole.is_some_and(|whole| whole >= MOST_INTEGER) {
                return Err(CanonicalError::Number(number.to_string()));
            }
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(check_numbers),
        Value::Object(members) => members.values().try_for_each(check_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

/// Reads any JSON value, and refuses a name that comes twice in one object: JSON libraries disagree on which of the two
/// counts.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is none"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(serde::de::Error::custom(format!("`{name}` stands twice in one object")));
            }
            object.insert(name, members.next_value_seed(Self)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_here_is_what_rfc_8785_says(words: String, whole in -(1_i64 << 53) + 1..1_i64 << 53) {
            for value in [json!(words), json!(whole), json!(whole.unsigned_abs()), json!(true), Value::Null] {
                let known = serde_json_canonicalizer::to_string(&value).unwrap();
                prop_assert_eq!(text(&value).unwrap(), known.clone());
                let members = json!({ words.clone(): value, "a": 1 });
                let known = serde_json_canonicalizer::to_string(&members).unwrap();
                let texts = members.as_object().unwrap().iter().map(|(name, value)| (name, text(value).unwrap()));
                prop_assert_eq!(object(texts).unwrap(), known);
            }
        }
    }
}
