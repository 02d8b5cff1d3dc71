//! The parameters that decide a certificate, as canonical JSON: what makes two runs the same run.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::LedgerError;

/// Every parameter that changes a certificate, and none that does not (budgets, concurrency, output).
///
/// Kept as canonical JSON: an object, keys sorted by their bytes, no spaces. Two specs are the same exactly when
/// their canonical texts are.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    canonical: String,
}

/// One parameter in which two specs differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The parameter, parents first: `test.alpha`.
    pub field: String,
    /// Its value in the first spec as JSON, `None` where it is absent.
    pub before: Option<String>,
    /// Its value in the second spec as JSON, `None` where it is absent.
    pub after: Option<String>,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let show = |v: &Option<String>| v.as_deref().unwrap_or("not set").to_owned();
        write!(f, "{}: {} -> {}", self.field, show(&self.before), show(&self.after))
    }
}

impl Spec {
    /// The canonical form of `parameters`, which must serialise to a JSON object.
    ///
    /// # Errors
    /// [`LedgerError::Invalid`] where it does not.
    pub fn new(parameters: &impl Serialize) -> Result<Self, LedgerError> {
        let value = serde_json::to_value(parameters)
            .map_err(|e| LedgerError::Invalid(format!("the parameters are not JSON: {e}")))?;
        if !value.is_object() {
            return Err(LedgerError::Invalid("the parameters of a run must be a JSON object".to_owned()));
        }
        Ok(Self { canonical: sorted(value).to_string() })
    }

    /// A spec as the ledger stored it.
    pub(super) fn stored(canonical: String) -> Self {
        Self { canonical }
    }

    /// The canonical text.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The parameters as a JSON value.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.canonical).unwrap_or(Value::Null)
    }

    /// BLAKE3 of the canonical text.
    pub fn key(&self) -> [u8; 32] {
        *blake3::hash(self.canonical.as_bytes()).as_bytes()
    }

    /// The parameters in which `other` differs from this spec, field by field, in the order of their names. Empty
    /// exactly when the two are the same.
    pub fn difference(&self, other: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        compare("", Some(&self.value()), Some(&other.value()), &mut changes);
        changes
    }
}

/// The same value with the keys of every object sorted, whatever order the JSON library keeps.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(Map::from_iter(fields))
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// Descends into objects; everything else is compared as a whole, since half a list of labels tells nobody anything.
fn compare(field: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<Change>) {
    if let (Some(Value::Object(a)), Some(Value::Object(b))) = (before, after) {
        let mut names: Vec<_> = a.keys().chain(b.keys()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let path = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
            compare(&path, a.get(name), b.get(name), changes);
        }
    } else if before != after {
        changes.push(Change {
            field: field.to_owned(),
            before: before.map(Value::to_string),
            after: after.map(Value::to_string),
        });
    }
}
