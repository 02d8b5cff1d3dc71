//! The digest that a document carries about itself.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::canonical::{self, CanonicalError};

/// The members that a digest is not about: itself, and the signature, which is about the digest.
const NOT_DIGESTED: [&str; 2] = ["digest", "signature"];

/// The member whose parts are told apart.
const CLAIMS: &str = "claims";

/// Hexadecimal digits of a fingerprint: enough to say which field changed. What protects is the whole digest.
const FINGERPRINT_DIGITS: usize = 16;

/// The digest of a document, and a fingerprint of each of its members, by which a changed one is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// BLAKE3 of the canonical text of the document without its members `digest` and `signature`: 64 lower-case
    /// hexadecimal digits.
    pub document: String,
    /// By member, and for `claims` by member of each claim (`claims[0].votes`): the first 16 digits of the BLAKE3 of its
    /// value's canonical text.
    pub fields: BTreeMap<String, String>,
}

/// The canonical text of a document without the members that its digest is not about.
pub(super) struct Text<'d> {
    whole: String,
    members: Vec<(&'d str, Range<usize>)>,
}

impl<'d> Text<'d> {
    /// Its members: their names and their values' canonical texts.
    pub(super) fn members(&self) -> impl Iterator<Item = (&'d str, &str)> {
        self.members.iter().map(|(name, place)| (*name, &self.whole[place.clone()]))
    }
}

impl Digest {
    /// The digest of a document's members; `digest` and `signature` may be among them.
    ///
    /// # Errors
    /// [`CanonicalError::Number`].
    pub fn of(document: &Map<String, Value>) -> Result<Self, CanonicalError> {
        Ok(Self::with_text(document)?.0)
    }

    /// The digest, and what it is about, so that nobody has to write it again.
    pub(super) fn with_text(document: &Map<String, Value>) -> Result<(Self, Text<'_>), CanonicalError> {
        let (mut fields, mut members, mut whole) = (BTreeMap::new(), Vec::new(), String::new());
        let digested = document.iter().filter(|(name, _)| !NOT_DIGESTED.contains(&name.as_str()));
        canonical::write_object(digested, &mut whole, |name, value, text| {
            let begin = text.len();
            match claims(name, value) {
                Some(claims) => write_claims(&claims, name, text, &mut fields)?,
                None => write_field(value, name.to_owned(), text, &mut fields)?,
            }
            members.push((name, begin..text.len()));
            Ok(())
        })?;
        let document = blake3::hash(whole.as_bytes()).to_hex().to_string();
        Ok((Self { document, fields }, Text { whole, members }))
    }

    /// The members that are not those which `other` is about.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let names =
            self.fields.keys().chain(other.fields.keys().filter(|name| !self.fields.contains_key(*name)));
        names.filter(|name| self.fields.get(*name) != other.fields.get(*name)).cloned().collect()
    }
}

/// The claims of a document, where this member is a list of such: their parts are told apart.
fn claims<'v>(name: &str, value: &'v Value) -> Option<Vec<&'v Map<String, Value>>> {
    let list = value.as_array().filter(|list| name == CLAIMS && !list.is_empty())?;
    list.iter().map(Value::as_object).collect()
}

/// Writes something that gets a fingerprint under this name.
fn write_field(
    value: &Value,
    name: String,
    text: &mut String,
    fields: &mut BTreeMap<String, String>,
) -> Result<(), CanonicalError> {
    let begin = text.len();
    canonical::write(value, text)?;
    let hash = blake3::hash(&text.as_bytes()[begin..]);
    fields.insert(name, hash.to_hex()[..FINGERPRINT_DIGITS].to_owned());
    Ok(())
}

/// Writes the list of claims, every member of which gets a fingerprint.
fn write_claims(
    claims: &[&Map<String, Value>],
    name: &str,
    text: &mut String,
    fields: &mut BTreeMap<String, String>,
) -> Result<(), CanonicalError> {
    canonical::write_array(claims.iter().enumerate(), text, |(at, claim), text| {
        canonical::write_object(*claim, text, |member, value, text| {
            write_field(value, format!("{name}[{at}].{member}"), text, fields)
        })
    })
}
