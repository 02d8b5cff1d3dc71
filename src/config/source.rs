//! The text of a configuration file, and where in it a value stands.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;

/// A file that is TOML. What it means is checked later, with the place of every value at hand.
pub(super) struct Source<'t> {
    path: PathBuf,
    text: &'t str,
    table: Spanned<DeTable<'t>>,
    value: Value,
}

impl<'t> Source<'t> {
    pub(super) fn parse(path: &Path, text: &'t str) -> Result<Self, ConfigError> {
        let table = DeTable::parse(text).map_err(|error| {
            let problem = format!("not valid TOML: {}", error.message());
            invalid(path, text, error.span().map_or(0, |span| span.start), problem)
        })?;
        let value = object(table.get_ref());
        Ok(Self { path: path.to_owned(), text, table, value })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A path of the file: relative ones start at the file's folder.
    pub(super) fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }

    /// Reads the whole file as `T`.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        serde_path_to_error::deserialize(&self.value).map_err(|error| {
            let path = error.path().to_string();
            let path: Vec<&str> = path.split('.').filter(|part| !part.is_empty()).collect();
            self.problem(&path, &error.inner().to_string())
        })
    }

    /// What the JSON reader says about the value at `path`, with its place in the file and the nearest known name.
    pub(super) fn problem(&self, path: &[&str], message: &str) -> ConfigError {
        let Some((unknown, known)) = unknown_key(message) else {
            let message = path.last().map_or_else(|| message.to_owned(), |key| format!("`{key}`: {message}"));
            return self.at(path, message);
        };
        let mut path = path.to_vec();
        if path.last() != Some(&unknown.as_str()) {
            path.push(&unknown);
        }
        let (table, _) = path.split_at(path.len().saturating_sub(1));
        let table = if table.is_empty() { "the file".to_owned() } else { format!("[{}]", table.join(".")) };
        let list = known.join(", ");
        let message = match nearest(&unknown, &known) {
            Some(near) => {
                format!("unknown key `{unknown}` in {table}: did you mean `{near}`? It may hold {list}")
            }
            None => format!("unknown key `{unknown}` in {table}: it may hold {list}"),
        };
        self.at(&path, message)
    }

    /// An error about the value at `path`, or about the innermost table around it that is there.
    pub(super) fn at(&self, path: &[&str], problem: String) -> ConfigError {
        let mut table = self.table.get_ref();
        let mut offset = 0;
        for part in path {
            let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == *part) else { break };
            offset = key.span().start;
            match value.get_ref() {
                DeValue::Table(inner) => table = inner,
                _ => break,
            }
        }
        invalid(&self.path, self.text, offset, problem)
    }
}

fn invalid(path: &Path, text: &str, offset: usize, problem: String) -> ConfigError {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    ConfigError::Invalid { path: path.to_owned(), line, column, problem }
}

/// TOML as JSON. Dates become texts: nothing here takes one.
pub(super) fn object(table: &DeTable<'_>) -> Value {
    table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref()))).collect()
}

fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::from(number),
            Err(_) => Value::from(number.as_str()),
        },
        // Not finite numbers have no JSON: as texts they are refused wherever a number belongs.
        DeValue::Float(number) => match number.as_str().parse().ok().and_then(serde_json::Number::from_f64) {
            Some(number) => Value::from(number),
            None => Value::from(number.as_str()),
        },
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Datetime(date) => Value::from(date.to_string()),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => object(table),
    }
}

/// The name that serde does not know, and those that it does.
fn unknown_key(message: &str) -> Option<(String, Vec<String>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (unknown, rest) = rest.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some((unknown.to_owned(), known))
}

/// The known name that was most likely meant.
pub(super) fn nearest<'k>(name: &str, known: &'k [String]) -> Option<&'k str> {
    let near = |other: &&String| strsim::damerau_levenshtein(name, other);
    let best = known.iter().min_by_key(near)?;
    let allowed = (name.chars().count().max(best.chars().count()) / 3).max(1);
    (strsim::damerau_levenshtein(name, best) <= allowed).then_some(best)
}
