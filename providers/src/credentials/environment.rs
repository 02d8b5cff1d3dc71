//! Where credentials are looked for: the process's environment and home folder, or a test's stand-in for them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use secrecy::SecretString;

use super::CredentialError;

/// Variables and well-known places.
#[derive(Clone)]
pub struct Environment {
    /// `None`: the process's own.
    variables: Option<BTreeMap<String, String>>,
    /// `None`: the one this runs on.
    machine: Option<String>,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Names only: values may be secrets.
        match &self.variables {
            None => f.write_str("Environment(process)"),
            Some(variables) => f.debug_tuple("Environment").field(&variables.keys()).finish(),
        }
    }
}

impl Environment {
    /// The process's environment.
    pub fn process() -> Self {
        Self { variables: None, machine: None }
    }

    /// These variables and no others.
    pub fn of<K: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (K, V)>) -> Self {
        let variables = variables.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Self { variables: Some(variables), machine: Some(String::new()) }
    }

    /// The same on a machine whose firmware says this, for instance `Amazon EC2`.
    #[must_use]
    pub fn on(self, machine: impl Into<String>) -> Self {
        Self { machine: Some(machine.into()), ..self }
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<String> {
        let value = match &self.variables {
            None => std::env::var(name).ok(),
            Some(variables) => variables.get(name).cloned(),
        };
        value.filter(|value| !value.trim().is_empty())
    }

    /// A variable that holds a secret, without the blanks and line ends around it that copying leaves.
    pub fn secret(&self, name: &str) -> Option<SecretString> {
        self.get(name).map(|value| SecretString::from(value.trim()))
    }

    /// A path below the user's home folder, where that is known.
    pub fn home(&self, below: &str) -> Option<PathBuf> {
        let home = self.get("HOME").or_else(|| self.get("USERPROFILE"))?;
        Some(PathBuf::from(home).join(below))
    }

    /// What the machine's firmware says it is (`sys_vendor` and `product_name`): clouds sign their machines there.
    /// So nobody waits for the time-out of a metadata service that is not there.
    pub(super) fn machine(&self) -> String {
        if let Some(machine) = &self.machine {
            return machine.clone();
        }
        let read =
            |name: &str| std::fs::read_to_string(format!("/sys/class/dmi/id/{name}")).unwrap_or_default();
        format!("{} {}", read("sys_vendor").trim(), read("product_name").trim())
    }
}

/// Where a secret is kept: `env::NAME` or `file::PATH` in the configuration. Never the secret itself, so that a
/// configuration can be shown, shared and committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A variable.
    Env(String),
    /// A file, without the blanks and line ends around its contents.
    File(PathBuf),
}

impl SecretSource {
    /// Reads the secret.
    ///
    /// # Errors
    /// [`CredentialError::Missing`] for a variable that is not set, [`CredentialError::Unusable`] for a file that
    /// cannot be read or is empty.
    pub fn read(&self, environment: &Environment) -> Result<SecretString, CredentialError> {
        match self {
            Self::Env(name) => environment.secret(name).ok_or_else(|| CredentialError::Missing {
                what: format!("variable {name}, which the configuration names"),
                fix: format!("set it with `export {name}=...`"),
            }),
            Self::File(path) => {
                let unusable =
                    |problem: String| CredentialError::Unusable { from: self.to_string(), problem };
                let text = std::fs::read_to_string(path).map(SecretString::from);
                let text = text.map_err(|error| unusable(error.to_string()))?;
                let trimmed = secrecy::ExposeSecret::expose_secret(&text).trim();
                if trimmed.is_empty() {
                    return Err(unusable("it is empty".to_owned()));
                }
                Ok(SecretString::from(trimmed))
            }
        }
    }
}

impl std::fmt::Display for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env::{name}"),
            Self::File(path) => write!(f, "file::{}", path.display()),
        }
    }
}

impl FromStr for SecretSource {
    type Err = SecretSourceError;

    fn from_str(text: &str) -> Result<Self, SecretSourceError> {
        match text.split_once("::") {
            Some(("env", name)) if is_variable(name) => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(PathBuf::from(path))),
            _ => Err(SecretSourceError),
        }
    }
}

impl<'de> serde::Deserialize<'de> for SecretSource {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = SecretString::from(String::deserialize(deserializer)?);
        secrecy::ExposeSecret::expose_secret(&text).parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for SecretSource {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretSource".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "Where a secret is kept: env::NAME or file::PATH.",
            "pattern": "^(env::[A-Za-z_][A-Za-z0-9_]*|file::.+)$",
        })
    }
}

impl serde::Serialize for SecretSource {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A text that says no place. It is not repeated: it may be the secret itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret is named by its place, never written out: use \"env::NAME\" or \"file::PATH\"")]
pub struct SecretSourceError;

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn secrets_are_named_by_their_place() {
        assert_eq!("env::MY_KEY".parse(), Ok(SecretSource::Env("MY_KEY".to_owned())));
        assert_eq!("file::/run/key".parse(), Ok(SecretSource::File(PathBuf::from("/run/key"))));
        for literal in
            ["sk-planted", "env::", "file::", "env::sk-planted", "env::9A", "ENV::A", "${PLANTED}", ""]
        {
            let error = literal.parse::<SecretSource>().unwrap_err();
            assert!(!error.to_string().contains("lanted"), "{literal}");
        }
        let parsed: Result<SecretSource, _> = serde_json::from_str(r#""sk-planted""#);
        assert!(!parsed.unwrap_err().to_string().contains("planted"));
    }

    #[test]
    fn secrets_are_read_from_their_place() {
        let environment = Environment::of([("KEY", " abc \n"), ("EMPTY", " ")]);
        assert_eq!(SecretSource::Env("KEY".into()).read(&environment).unwrap().expose_secret(), "abc");
        for name in ["EMPTY", "ABSENT"] {
            let error = SecretSource::Env(name.into()).read(&environment).unwrap_err().to_string();
            assert!(error.contains(&format!("export {name}=")), "{error}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "xyz\n").unwrap();
        let source = SecretSource::File(file.path().to_owned());
        assert_eq!(source.read(&environment).unwrap().expose_secret(), "xyz");
        let absent = SecretSource::File(PathBuf::from("/absent/key"));
        assert!(absent.read(&environment).unwrap_err().to_string().contains("/absent/key"));
        assert_eq!(environment.home(".aws"), None);
        assert!(!format!("{environment:?}").contains("abc"));
    }
}
