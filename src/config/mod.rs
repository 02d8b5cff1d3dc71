//! `smoothgate.toml`: provider instances, network, ledger, the proxy with its routes, and defaults.
//!
//! A file is read in two steps. [`RawConfig`] is what may be written: every key optional, unknown ones refused with the
//! nearest name. [`Config`] is what was checked: units read, names resolved, adapters built once. An error says file,
//! line, what is wrong and what to write instead.
//!
//! Secrets are named by their place (`env::NAME`, `file::PATH`), so that a file can be shown, shared and committed.

mod check;
mod error;
mod guard;
mod instance;
mod place;
mod raw;
mod serve;
mod source;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use smoothgate_denoisers::Precision;
use smoothgate_providers::Money;
use smoothgate_providers::credentials::Environment;
use smoothgate_providers::registry::{self, PROVIDERS};
use smoothgate_providers::transport::NetworkSettings;

pub use error::{ConfigError, InstanceError};
pub use guard::{GuardSettings, RawAccess, RawFetch, RawLimits, RawTls};
pub use instance::{BudgetsOverTime, Instance};
pub use place::find;
pub use raw::{RawConfig, RawDefaults, RawInstance, RawLedger, RawNetwork};
pub use serve::{Answers, OnAbstain, RawRoute, RawServe, RouteSettings, ServeSettings};

use crate::ledger::Retention;
use crate::units::{Alpha, Sigma};

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from; `None` where there is none and everything is a default.
    pub path: Option<PathBuf>,
    /// What commands take where their command line says nothing.
    pub defaults: Defaults,
    /// Where attempts and answers are kept.
    pub ledger: LedgerSettings,
    /// How connections are made, for instances that do not say otherwise.
    pub network: NetworkSettings,
    /// What the proxy listens on, and its limits.
    pub serve: ServeSettings,
    /// The proxy's routes, in the order of their names.
    pub routes: Vec<RouteSettings>,
    instances: Vec<Instance>,
    raw: RawConfig,
}

/// What commands take where their command line says nothing.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// The instance that is asked.
    pub provider: Option<String>,
    /// The denoiser: a built-in name or a file.
    pub denoiser: Option<String>,
    /// With how many bits the denoiser computes.
    pub precision: Option<Precision>,
    /// Standard deviation of the noise.
    pub sigma: Option<Sigma>,
    /// Probability with which a certificate may be wrong.
    pub alpha: Option<Alpha>,
    /// A run that may cost more than this asks before it starts.
    pub ask_above: Option<Money>,
}

/// Where attempts and answers are kept.
#[derive(Clone, Debug, Default)]
pub struct LedgerSettings {
    /// The file. `None`: the default place.
    pub path: Option<PathBuf>,
    /// What is kept of raw answers.
    pub answers: Retention,
}

impl Config {
    /// No file: every provider of the registry under its own name, with its defaults.
    pub fn empty() -> Self {
        Self {
            path: None,
            defaults: Defaults::default(),
            ledger: LedgerSettings::default(),
            network: NetworkSettings::default(),
            serve: ServeSettings::default(),
            routes: Vec::new(),
            instances: Vec::new(),
            raw: RawConfig::default(),
        }
    }

    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(path, &text, environment)
    }

    /// Checks a text as if it were the file at `path`.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(path: &Path, text: &str, environment: &Environment) -> Result<Self, ConfigError> {
        check::config(&source::Source::parse(path, text)?, environment)
    }

    /// The instances of the file, in the order of their names.
    pub fn instances(&self) -> &[Instance] {
        &self.instances
    }

    /// The instance of this name: one of the file, else a provider of the registry with its defaults.
    ///
    /// # Errors
    /// [`InstanceError::Unknown`] with the names that there are.
    pub fn instance(&self, name: &str) -> Result<Instance, InstanceError> {
        if let Some(instance) = self.instances.iter().find(|instance| instance.name == name) {
            return Ok(instance.clone());
        }
        match registry::find(name) {
            Some(registration) => Ok(Instance::of(registration, self.network.clone())),
            None => Err(InstanceError::Unknown { name: name.to_owned(), known: self.names() }),
        }
    }

    /// Every name that [`instance`](Self::instance) knows: those of the file first.
    pub fn names(&self) -> Vec<String> {
        let own = self.instances.iter().map(|instance| instance.name.clone());
        let others = PROVIDERS.iter().map(|registration| registration.name.to_owned());
        let mut names: Vec<String> = own.collect();
        names.extend(others.filter(|name| !self.instances.iter().any(|instance| instance.name == *name)));
        names
    }

    /// Is the instance of this name the same in both, but for its budgets? What is opened from one then does for the other.
    pub fn same_instance(&self, other: &Self, name: &str) -> bool {
        let written = |config: &Self| {
            let mut raw = config.raw.providers.get(name).cloned().unwrap_or_default();
            raw.budget = BudgetsOverTime::default();
            raw
        };
        self.raw.network == other.raw.network && written(self) == written(other)
    }

    /// Is what `serve` does only take up at its start the same in both?
    pub fn same_start(&self, other: &Self) -> bool {
        self.raw.serve == other.raw.serve && self.raw.ledger == other.raw.ledger
    }

    /// The configuration with every default written out, as a file would say it. It holds no secret, since none can be
    /// written into a file.
    pub fn effective(&self) -> RawConfig {
        self.raw.clone().written_out(self)
    }

    /// The JSON Schema of the file, for editors.
    pub fn schema() -> serde_json::Value {
        raw::schema()
    }

    /// A commented example: what `config init` writes.
    pub const EXAMPLE: &str = include_str!("example.toml");
}
