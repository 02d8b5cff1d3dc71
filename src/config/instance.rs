//! One provider instance: a provider with options, credentials, limits and budgets under a name.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smoothgate_providers::credentials::{
    Authorization, Credential, CredentialError, CredentialStatus, Environment,
};
use smoothgate_providers::registry::{Adapter, CredentialSettings, ProviderError, Registration};
use smoothgate_providers::transport::{HttpEndpoint, Network, NetworkSettings, Rate, TransportSettings};
use smoothgate_providers::{Price, Quota};
use toml::de::DeTable;

use super::{InstanceError, source};
use crate::ledger::Cap;

/// What may be spent on an instance by a day and by a month (UTC), over all runs of a ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetsOverTime {
    /// Each UTC day.
    pub day: Cap,
    /// Each UTC month.
    pub month: Cap,
}

/// A provider instance as it was configured. Nothing is connected yet.
#[derive(Clone)]
pub struct Instance {
    /// Its name: what `--provider` takes, certificates hold and budgets are kept by.
    pub name: String,
    /// Its provider.
    pub registration: &'static Registration,
    /// The provider's own options as they were given.
    pub options: Value,
    /// Where its credentials are.
    pub credentials: CredentialSettings,
    /// Limits, retries and price.
    pub transport: TransportSettings,
    /// Connections.
    pub network: NetworkSettings,
    /// What may be spent on it over time.
    pub budgets: BudgetsOverTime,
    /// The adapter, where its options could be checked without what only the environment knows.
    pub(super) adapter: Option<Arc<Adapter>>,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("name", &self.name)
            .field("kind", &self.registration.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Instance {
    /// A provider under its own name, with its defaults.
    pub(super) fn of(registration: &'static Registration, network: NetworkSettings) -> Self {
        Self {
            name: registration.name.to_owned(),
            registration,
            options: Value::Object(serde_json::Map::new()),
            credentials: CredentialSettings::default(),
            transport: TransportSettings::default(),
            network,
            budgets: BudgetsOverTime::default(),
            adapter: None,
        }
    }

    /// Sets an option given as `NAME=VALUE`, the value as in TOML; one that is no TOML value is a text.
    ///
    /// # Errors
    /// [`InstanceError::Option`] without a name or an equals sign.
    pub fn set_option(&mut self, text: &str) -> Result<(), InstanceError> {
        let wrong = || InstanceError::Option { text: text.to_owned() };
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(wrong());
        }
        // As in a file, where a date is a text: `api_version=2024-02-01`.
        let line = format!("value = {value}");
        let parsed = DeTable::parse(&line).ok().map(|table| source::object(table.get_ref()));
        let parsed = parsed.and_then(|mut table| Some(table.get_mut("value")?.take()));
        let value = parsed.unwrap_or_else(|| Value::from(value));
        if let Some(options) = self.options.as_object_mut() {
            options.insert(name.to_owned(), value);
        }
        self.adapter = None;
        Ok(())
    }

    /// Its adapter, with every option written out.
    ///
    /// # Errors
    /// [`InstanceError::Provider`] for options that cannot work, or that neither the file nor the environment gives.
    pub fn adapter(&self, environment: &Environment) -> Result<Arc<Adapter>, InstanceError> {
        if let Some(adapter) = &self.adapter {
            return Ok(Arc::clone(adapter));
        }
        let adapter = self.registration.adapter(&self.options, environment);
        adapter.map(Arc::new).map_err(|source| self.failed(source))
    }

    /// Its credentials, complete or an error that says what to set. Nothing is sent.
    ///
    /// # Errors
    /// [`InstanceError`].
    pub fn credential(&self, environment: &Environment) -> Result<CredentialStatus, InstanceError> {
        let network = self.network()?;
        let found = self.registration.credential(&self.options, &self.credentials, environment, &network);
        found.map(|credential| credential.status()).map_err(|source| self.rejected(source))
    }

    /// What the engine asks.
    ///
    /// # Errors
    /// [`InstanceError`]: nothing was sent.
    pub fn open(&self, environment: &Environment) -> Result<HttpEndpoint, InstanceError> {
        let network = self.network()?;
        let adapter = self.adapter(environment)?;
        let credential = self
            .registration
            .credential(&adapter.options, &self.credentials, environment, &network)
            .map_err(|source| self.rejected(source))?;
        self.endpoint(&adapter, credential, network)
    }

    /// The same for whoever wants to know what it would take, before there is an account: it tells limits and prices, and
    /// cannot be asked.
    ///
    /// # Errors
    /// [`InstanceError`] for options that cannot work.
    pub fn open_to_plan(&self, environment: &Environment) -> Result<HttpEndpoint, InstanceError> {
        let adapter = self.facts(environment)?;
        self.endpoint(&adapter, Arc::new(NotAsked), self.network()?)
    }

    /// Its adapter for whoever asks for limits and prices, which are the same wherever it is: an address or region that is
    /// still missing does not matter.
    ///
    /// # Errors
    /// [`InstanceError`] for options that cannot work.
    pub fn facts(&self, environment: &Environment) -> Result<Arc<Adapter>, InstanceError> {
        let missing = |error: &InstanceError| {
            let InstanceError::Provider { source, .. } = error else { return false };
            matches!(source, ProviderError::Credential(CredentialError::Missing { .. }))
        };
        match self.adapter(environment) {
            Err(error) if missing(&error) => {
                let anywhere = [("AWS_REGION", "us-east-1"), ("VISION_ENDPOINT", "https://example.com")];
                self.adapter(&Environment::of(anywhere)).map_err(|_| error)
            }
            known => known,
        }
    }

    fn endpoint(
        &self,
        adapter: &Adapter,
        credential: Arc<dyn Credential>,
        network: Network,
    ) -> Result<HttpEndpoint, InstanceError> {
        let identity = serde_json::json!({ "kind": self.registration.name, "options": adapter.identity() });
        let settings =
            TransportSettings { name: Some(self.name.clone()), identity, ..self.transport.clone() };
        HttpEndpoint::new(Arc::clone(&adapter.provider), credential, network, settings)
            .map_err(|source| InstanceError::Settings { name: self.name.clone(), source })
    }

    /// What one picture costs: the configured price, else the list price; `None` where the options do not say enough
    /// to know the provider.
    pub fn price(&self) -> Option<Price> {
        self.transport.price.or_else(|| self.adapter.as_ref().map(|adapter| adapter.provider.price()))
    }

    /// How many calls and pictures a minute it sends at most, where that is limited.
    pub fn quota(&self) -> Option<Quota> {
        match self.transport.rate {
            Rate::Quota(quota) => Some(quota),
            Rate::Unlimited => None,
            Rate::Provider => self.adapter.as_ref().and_then(|adapter| adapter.provider.quota()),
        }
    }

    fn network(&self) -> Result<Network, InstanceError> {
        Network::new(self.network.clone())
            .map_err(|source| InstanceError::Settings { name: self.name.clone(), source })
    }

    fn failed(&self, source: ProviderError) -> InstanceError {
        InstanceError::Provider { name: self.name.clone(), source }
    }

    fn rejected(&self, source: CredentialError) -> InstanceError {
        self.failed(ProviderError::Credential(source))
    }
}

/// The credential of a provider that nobody means to ask.
struct NotAsked;

impl Credential for NotAsked {
    fn authorization(&self) -> BoxFuture<'_, Result<Arc<Authorization>, CredentialError>> {
        let (what, fix) =
            ("credentials were looked for".to_owned(), "this was opened to plan only".to_owned());
        Box::pin(std::future::ready(Err(CredentialError::Missing { what, fix })))
    }

    fn rejected(&self, _: &Authorization) -> bool {
        false
    }

    fn status(&self) -> CredentialStatus {
        CredentialStatus { kind: "none", source: "not looked for".to_owned() }
    }
}
