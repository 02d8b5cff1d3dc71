//! What can be wrong with a configuration.

use std::path::PathBuf;

use smoothgate_providers::registry::ProviderError;
use smoothgate_providers::transport::SettingsError;

/// Why a configuration file cannot be used. All of these are the user's to mend.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration `{}`: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file says something that it cannot.
    #[error("{}:{line}:{column}: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What is wrong, and what to write instead.
        problem: String,
    },
}

/// Why a provider instance cannot be used. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// No instance and no provider has this name.
    #[error("there is no provider `{name}`; known are: local, {}", known.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// Its options or credentials.
    #[error("provider `{name}`: {source}")]
    Provider {
        /// The instance.
        name: String,
        /// What is wrong.
        source: ProviderError,
    },
    /// Its transport settings.
    #[error("provider `{name}`: {source}")]
    Settings {
        /// The instance.
        name: String,
        /// What is wrong.
        source: SettingsError,
    },
    /// An option given on the command line.
    #[error(
        "`{text}` is no option: write `NAME=VALUE`, the value as in TOML (`max_labels=20`, `features=[\"labels\"]`)"
    )]
    Option {
        /// What was given.
        text: String,
    },
}
