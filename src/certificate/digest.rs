//! The digest that a document carries about itself.

use std::collections::BTreeMap;

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

/// The canonical texts of a document's members, by name, without those that its digest is not about.
pub(super) type Texts = BTreeMap<String, String>;

impl Digest {
    /// The digest of a document's members; `digest` and `signature` may be among them.
    ///
    /// # Errors
    /// [`CanonicalError::Number`].
    pub fn of(document: &Map<String, Value>) -> Result<Self, CanonicalError> {
        Ok(Self::with_texts(document)?.0)
    }

    /// The digest, and what it is about, so that nobody has to write it again.
    pub(super) fn with_texts(document: &Map<String, Value>) -> Result<(Self, Texts), CanonicalError> {
        let (mut fields, mut texts) = (BTreeMap::new(), Texts::new());
        for (name, value) in document.iter().filter(|(name, _)| !NOT_DIGESTED.contains(&name.as_str())) {
            let text = match claims(name, value) {
                Some(claims) => text_of_claims(&claims, name, &mut fields)?,
                None => text_of(value, name.clone(), &mut fields)?,
            };
            texts.insert(name.clone(), text);
        }
        let whole = canonical::object(&texts)?;
        let document = blake3::hash(whole.as_bytes()).to_hex().to_string();
        Ok((Self { document, fields }, texts))
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

/// The canonical text of something that gets a fingerprint under this name.
fn text_of(
    value: &Value,
    name: String,
    fields: &mut BTreeMap<String, String>,
) -> Result<String, CanonicalError> {
    let text = canonical::text(value)?;
    fields.insert(name, blake3::hash(text.as_bytes()).to_hex()[..FINGERPRINT_DIGITS].to_owned());
    Ok(text)
}

/// The canonical text of the list of claims, every member of which gets a fingerprint.
fn text_of_claims(
    claims: &[&Map<String, Value>],
    name: &str,
    fields: &mut BTreeMap<String, String>,
) -> Result<String, CanonicalError> {
    let mut texts = Vec::with_capacity(claims.len());
    for (at, claim) in claims.iter().enumerate() {
        let mut members = Vec::with_capacity(claim.len());
        for (member, value) in *claim {
            members.push((member.as_str(), text_of(value, format!("{name}[{at}].{member}"), fields)?));
        }
        texts.push(canonical::object(members)?);
    }
    Ok(format!("[{}]", texts.join(",")))
}
