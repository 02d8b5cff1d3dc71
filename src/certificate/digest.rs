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

/// What gets a fingerprint, by name: members, and members of each claim. A list of claims that is none is one part.
fn parts(covered: &Map<String, Value>) -> Vec<(String, &Value)> {
    let mut parts = Vec::new();
    for (name, value) in covered {
        match value {
            Value::Array(claims)
                if name == CLAIMS && !claims.is_empty() && claims.iter().all(Value::is_object) =>
            {
                for (at, claim) in claims.iter().enumerate() {
                    let members = claim.as_object().into_iter().flatten();
                    parts.extend(members.map(|(member, value)| (format!("{name}[{at}].{member}"), value)));
                }
            }
            value => parts.push((name.clone(), value)),
        }
    }
    parts
}

impl Digest {
    /// The digest of a document's members; `digest` and `signature` may be among them.
    ///
    /// # Errors
    /// [`CanonicalError::Number`].
    pub fn of(document: &Map<String, Value>) -> Result<Self, CanonicalError> {
        let mut covered = document.clone();
        covered.retain(|name, _| !NOT_DIGESTED.contains(&name.as_str()));
        let fingerprint = |(name, value): (String, &Value)| {
            let hash = blake3::hash(canonical::text(value)?.as_bytes()).to_hex();
            Ok((name, hash[..FINGERPRINT_DIGITS].to_owned()))
        };
        let fields = parts(&covered).into_iter().map(fingerprint).collect::<Result<_, CanonicalError>>()?;
        let document = blake3::hash(canonical::text(&Value::Object(covered))?.as_bytes());
        Ok(Self { document: document.to_hex().to_string(), fields })
    }

    /// The members that are not those which `other` is about.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let names =
            self.fields.keys().chain(other.fields.keys().filter(|name| !self.fields.contains_key(*name)));
        names.filter(|name| self.fields.get(*name) != other.fields.get(*name)).cloned().collect()
    }
}
