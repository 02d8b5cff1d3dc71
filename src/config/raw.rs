//! What may be written in `smoothgate.toml`, before it is checked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smoothgate_providers::registry::{CredentialSettings, PROVIDERS};
use smoothgate_providers::transport::{NetworkSettings, Rate, RetryPolicy};
use smoothgate_providers::{Money, Price};

use super::serve::{RawRoute, RawServe};
use super::{BudgetsOverTime, Config, Instance};

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawConfig {
    /// What commands take where their command line says nothing.
    pub defaults: RawDefaults,
    /// Where attempts and answers are kept.
    pub ledger: RawLedger,
    /// How connections are made, for instances that do not say otherwise.
    pub network: RawNetwork,
    /// Provider instances by name. A name that is a provider's needs no `kind`.
    pub providers: BTreeMap<String, RawInstance>,
    /// What the proxy listens on.
    pub serve: RawServe,
    /// Routes of the proxy by name: which requests they are for, whom they ask, and their policy.
    pub routes: BTreeMap<String, RawRoute>,
}

/// What commands take where their command line says nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawDefaults {
    /// The instance that is asked: a name of `[providers]`, a provider, or `local`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The denoiser: `auto`, `none`, a built-in name or a safetensors file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denoiser: Option<String>,
    /// With how many bits the denoiser computes: `f32` or `bf16`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// Standard deviation of the noise, in units of [0, 1] pixel values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma: Option<f64>,
    /// Probability with which a certificate may be wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// A run that may cost more than this asks before it starts: `"1.00USD"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ask_above: Option<Money>,
}

/// Where attempts and answers are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawLedger {
    /// The file; by default in the user's state folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Raw answers: `keep` (the default), or `until-certified` to overwrite them once a picture has its certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<RawRetention>,
}

/// What is kept of raw answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawRetention {
    /// Everything.
    Keep,
    /// Until the picture has its certificate.
    UntilCertified,
}

/// How connections are made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawNetwork {
    /// Most time to connect, TLS handshake included: `"10s"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<String>,
    /// Most time from sending to the status line of the reply: `"30s"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_timeout: Option<String>,
    /// Most time for a whole call: `"60s"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_timeout: Option<String>,
    /// Most bytes of a reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_reply_bytes: Option<usize>,
    /// A PEM file of certificate authorities that are trusted beside those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// `environment` (the default: `HTTPS_PROXY` and so on), `direct`, `http://HOST:PORT`, or `env::NAME` and
    /// `file::PATH` for an address that holds a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Send credentials and pictures over plain `http` to hosts other than this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_http: Option<bool>,
}

/// One provider instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawInstance {
    /// The provider: `google`, `aws`, ... By default the instance's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The price of one picture, where it differs from the list price: `"0.0010USD"` or `"free"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    /// Most calls: `"30/s"`, `"600/min"` or `"unlimited"`. By default the provider's default quota.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// Most pictures a minute, where they are counted apart from calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pictures_per_minute: Option<u32>,
    /// How many calls may leave at once after a pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Most pictures in one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pictures_per_call: Option<usize>,
    /// How long a call waits for more pictures to go with it: `"5ms"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linger: Option<String>,
    /// When the same bytes are sent again.
    pub retry: RawRetry,
    /// What may be spent on this instance by a day and by a month (UTC), over all runs of the ledger.
    pub budget: BudgetsOverTime,
    /// Where its credentials are. What is not said is looked for in the environment.
    pub credentials: CredentialSettings,
    /// How connections are made, where it differs from `[network]`.
    pub network: RawNetwork,
    /// The provider's own options: see its page.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub options: serde_json::Map<String, Value>,
}

/// When the same bytes are sent again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawRetry {
    /// Most attempts at one draw, the first included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The first pause is drawn evenly from zero to this: `"500ms"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The longest such pause: `"20s"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest: Option<String>,
    /// The longest `Retry-After` that is waited for in full: `"60s"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_longest: Option<String>,
}

/// A duration as it is written.
pub(super) fn written(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

impl RawConfig {
    /// The same with defaults in the place of what was not said.
    pub(super) fn written_out(mut self, config: &Config) -> Self {
        self.ledger.answers.get_or_insert(RawRetention::Keep);
        self.network = self.network.written_out(&config.network);
        self.serve = RawServe::written_out(&config.serve);
        for route in &config.routes {
            if let Some(raw) = self.routes.get_mut(&route.name) {
                *raw = std::mem::take(raw).written_out(route);
            }
        }
        for instance in &config.instances {
            if let Some(raw) = self.providers.get_mut(&instance.name) {
                *raw = std::mem::take(raw).written_out(instance);
            }
        }
        self
    }
}

impl RawNetwork {
    fn written_out(self, settings: &NetworkSettings) -> Self {
        Self {
            connect_timeout: Some(written(settings.connect_timeout)),
            first_byte_timeout: Some(written(settings.first_byte_timeout)),
            call_timeout: Some(written(settings.call_timeout)),
            max_reply_bytes: Some(settings.max_reply_bytes),
            ca_file: settings.ca_file.clone(),
            proxy: Some(self.proxy.unwrap_or_else(|| "environment".to_owned())),
            allow_http: Some(settings.allow_http),
        }
    }
}

impl RawInstance {
    fn written_out(self, instance: &Instance) -> Self {
        let transport = &instance.transport;
        let RetryPolicy { attempts, base, longest, retry_after_longest } = transport.retry;
        let quota = instance.quota();
        let options = match &instance.adapter {
            Some(adapter) => without_nulls(adapter.options.clone()).as_object().cloned().unwrap_or_default(),
            None => self.options,
        };
        Self {
            kind: Some(instance.registration.name.to_owned()),
            price: match instance.price() {
                Some(Price::Free) => Some("free".to_owned()),
                Some(Price::PerPicture(each)) => Some(format!("{}USD", each.dollars())),
                Some(Price::Unknown) | None => None,
            },
            rate: match (transport.rate, quota) {
                (Rate::Unlimited, _) => Some("unlimited".to_owned()),
                (_, Some(quota)) => Some(format!("{}/min", quota.calls_per_minute)),
                (_, None) => None,
            },
            pictures_per_minute: quota.and_then(|quota| quota.pictures_per_minute),
            burst: transport.burst,
            pictures_per_call: transport.pictures_per_call,
            linger: Some(written(transport.linger)),
            retry: RawRetry {
                attempts: Some(attempts),
                base: Some(written(base)),
                longest: Some(written(longest)),
                retry_after_longest: Some(written(retry_after_longest)),
            },
            budget: self.budget,
            credentials: self.credentials,
            network: self.network.written_out(&instance.network),
            options,
        }
    }
}

/// TOML has no null: what is not given is left out.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        other => other,
    }
}

/// The schema of the file, with the options of every provider by its `kind`.
pub(super) fn schema() -> Value {
    let mut schema = schemars::schema_for!(RawConfig).to_value();
    let branches: Vec<Value> = PROVIDERS
        .iter()
        .map(|registration| {
            let mut options = registration.schema().to_value();
            let definitions = options.as_object_mut().and_then(|o| o.remove("$defs"));
            if let Some(Value::Object(definitions)) = definitions
                && let Some(all) = schema.get_mut("$defs").and_then(Value::as_object_mut)
            {
                all.extend(definitions);
            }
            if let Some(options) = options.as_object_mut() {
                options.remove("$schema");
            }
            serde_json::json!({
                "if": { "properties": { "kind": { "const": registration.name } }, "required": ["kind"] },
                "then": { "properties": { "options": options } },
            })
        })
        .collect();
    if let Some(instance) = schema.pointer_mut("/$defs/RawInstance").and_then(Value::as_object_mut) {
        instance.insert("allOf".to_owned(), Value::Array(branches));
    }
    schema
}
