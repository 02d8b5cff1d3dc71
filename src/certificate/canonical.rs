//! The one way in which a document is written: RFC 8785, the JSON Canonicalization Scheme.
//!
//! No space outside of strings; the members of every object sorted by their names' UTF-16 code units; numbers as ECMAScript
//! prints them, which is the shortest decimal that reads back as the same double; strings in UTF-8 with no escape that is
//! not needed. A file holds that text and one newline. So equal documents are equal bytes, and a digest of the text is a
//! digest of the content.
//!
//! RFC 8785 fits because every number here is a double or a whole number below 2^53; others are refused.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A longer document is refused unread: three million votes take less than half of it.
pub const MAX_BYTES: usize = 64 << 20;

/// More values, and more objects among them, are refused while they are read: in memory a short one takes many times its text.
/// A document that verifies has no more than three million votes, and some objects a claim.
const MOST_VALUES: usize = 4_000_000;
const MOST_OBJECTS: usize = 100_000;

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
    /// cannot hold, more than a hundred levels of nesting, more than four million values or a hundred thousand objects.
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
    let mut text = String::new();
    write(value, &mut text)?;
    Ok(text)
}

pub(super) fn write(value: &Value, text: &mut String) -> Result<(), CanonicalError> {
    match value {
        Value::Null => *text += "null",
        Value::Bool(true) => *text += "true",
        Value::Bool(false) => *text += "false",
        Value::Number(number) => {
            check_number(number)?;
            match number.as_f64().filter(|_| number.is_f64()) {
                Some(double) => *text += ryu_js::Buffer::new().format(double),
                None => *text += &number.to_string(),
            }
        }
        Value::String(words) => write_string(words, text)?,
        Value::Array(items) => write_array(items, text, write)?,
        Value::Object(members) => write_object(members, text, |_, value, text| write(value, text))?,
    }
    Ok(())
}

/// Writes a list, each item by `each`.
pub(super) fn write_array<T>(
    items: impl IntoIterator<Item = T>,
    text: &mut String,
    mut each: impl FnMut(T, &mut String) -> Result<(), CanonicalError>,
) -> Result<(), CanonicalError> {
    text.push('[');
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        each(item, text)?;
    }
    text.push(']');
    Ok(())
}

/// Writes an object, each value by `each`, which is told its name.
pub(super) fn write_object<'v, N: AsRef<str> + ?Sized + 'v, T>(
    members: impl IntoIterator<Item = (&'v N, T)>,
    text: &mut String,
    mut each: impl FnMut(&'v str, T, &mut String) -> Result<(), CanonicalError>,
) -> Result<(), CanonicalError> {
    let mut members: Vec<(&str, T)> =
        members.into_iter().map(|(name, value)| (name.as_ref(), value)).collect();
    // By their names' UTF-16 code units.
    members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    text.push('{');
    for (at, (name, value)) in members.into_iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        write_string(name, text)?;
        text.push(':');
        each(name, value, text)?;
    }
    text.push('}');
    Ok(())
}

fn write_string(words: &str, text: &mut String) -> Result<(), CanonicalError> {
    if words.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        text.push('"');
        *text += words;
        text.push('"');
    } else {
        // Here any JSON writer agrees with RFC 8785.
        *text += &serde_json::to_string(words)?;
    }
    Ok(())
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
    let value = Strict(&Counts::default()).deserialize(&mut reader)?;
    reader.end()?;
    check_numbers(&value)?;
    Ok(value)
}

fn check_numbers(value: &Value) -> Result<(), CanonicalError> {
    match value {
        Value::Number(number) => check_number(number),
        Value::Array(items) => items.iter().try_for_each(check_numbers),
        Value::Object(members) => members.values().try_for_each(check_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

fn check_number(number: &Number) -> Result<(), CanonicalError> {
    let whole = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
    if whole.is_some_and(|whole| whole >= MOST_INTEGER) {
        return Err(CanonicalError::Number(number.to_string()));
    }
    Ok(())
}

/// What was read so far.
#[derive(Default)]
struct Counts {
    values: Cell<usize>,
    objects: Cell<usize>,
}

/// Counts one more, and refuses it beyond `most`.
fn count<E: serde::de::Error>(so_far: &Cell<usize>, most: usize, what: &str) -> Result<(), E> {
    so_far.set(so_far.get() + 1);
    if so_far.get() <= most { Ok(()) } else { Err(E::custom(format!("it has more than {most} {what}"))) }
}

/// Reads any JSON value, and refuses a name that comes twice in one object: JSON libraries disagree on which of the two
/// counts. Counts what it reads, and stops at too much.
#[derive(Clone, Copy)]
struct Strict<'c>(&'c Counts);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        count::<D::Error>(&self.0.values, MOST_VALUES, "values")?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
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
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        count::<A::Error>(&self.0.objects, MOST_OBJECTS, "objects")?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(serde::de::Error::custom(format!("`{name}` stands twice in one object")));
            }
            object.insert(name, members.next_value_seed(self)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Doubles of every size: by their bits, since a range would hold hardly any small ones.
    fn doubles() -> impl Strategy<Value = Value> {
        any::<u64>().prop_map(|bits| json!(Some(f64::from_bits(bits)).filter(|double| double.is_finite())))
    }

    fn values() -> impl Strategy<Value = Value> {
        let scalars = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-(1_i64 << 53) + 1..1_i64 << 53).prop_map(Value::from),
            doubles(),
            (-1000_i32..1000).prop_map(|whole| json!(f64::from(whole))),
            any::<String>().prop_map(Value::from),
        ];
        scalars.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..8)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_here_is_what_rfc_8785_says(value in values()) {
            let known = serde_json_canonicalizer::to_string(&value).unwrap();
            prop_assert_eq!(text(&value).unwrap(), known);
        }
    }

    /// From RFC 8785, section 3.2.3: the order of UTF-16 code units is not that of characters.
    #[test]
    fn members_are_in_the_order_of_the_standard() {
        let names = ["\r", "1", "\u{80}", "\u{f6}", "\u{20ac}", "\u{1f600}", "\u{fb33}"];
        let value = Value::Object(names.iter().rev().map(|name| ((*name).to_owned(), json!(-0.0))).collect());
        let members: Vec<String> =
            names.iter().map(|name| format!("{}:0", serde_json::to_string(name).unwrap())).collect();
        assert_eq!(text(&value).unwrap(), format!("{{{}}}", members.join(",")));
    }
}
