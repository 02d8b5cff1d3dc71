//! From what was written to what can be used.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use smoothgate_denoisers::{BUILTIN, Precision, Task};
use smoothgate_providers::credentials::{Environment, SecretSource};
use smoothgate_providers::registry::{self, CredentialSettings, PROVIDERS, ProviderError};
use smoothgate_providers::transport::{NetworkSettings, Proxy, Rate, RetryPolicy, TransportSettings};
use smoothgate_providers::{Money, Price, Quota};

use super::raw::RawRetention;
use super::source::{Source, nearest};
use super::{
    Config, ConfigError, Defaults, Instance, LedgerSettings, RawConfig, RawInstance, RawNetwork, serve,
};
use crate::ledger::Retention;
use crate::units::{Alpha, Sigma};

/// Checks a whole file.
pub(super) fn config(source: &Source<'_>, environment: &Environment) -> Result<Config, ConfigError> {
    let raw: RawConfig = source.read()?;
    let network = network(source, &["network"], &raw.network, &NetworkSettings::default(), environment)?;
    let mut instances = Vec::with_capacity(raw.providers.len());
    for (name, instance) in &raw.providers {
        let check = Checker { source, environment, name };
        instances.push(check.instance(instance, &network)?);
    }
    let mut config = Config {
        path: Some(source.path().to_owned()),
        defaults: defaults(source, &raw)?,
        ledger: LedgerSettings {
            path: raw.ledger.path.as_deref().map(|path| source.beside(path)),
            answers: match raw.ledger.answers {
                Some(RawRetention::UntilCertified) => Retention::UntilCertified,
                Some(RawRetention::Keep) | None => Retention::Keep,
            },
        },
        network,
        serve: serve::serve(source, &raw.serve)?,
        routes: Vec::new(),
        instances,
        raw,
    };
    if let Some(name) = &config.defaults.provider
        && name != "local"
        && let Err(error) = config.instance(name)
    {
        return Err(source.at(&["defaults", "provider"], error.to_string()));
    }
    let routes = config.raw.routes.iter().map(|(name, raw)| serve::route(source, name, raw, &config));
    config.routes = routes.collect::<Result<_, _>>()?;
    Ok(config)
}

fn defaults(source: &Source<'_>, raw: &RawConfig) -> Result<Defaults, ConfigError> {
    let raw = &raw.defaults;
    let wrong = |key: &str, problem: String| source.at(&["defaults", key], format!("`{key}`: {problem}"));
    Ok(Defaults {
        provider: raw.provider.clone(),
        denoiser: raw.denoiser.as_deref().map(|name| denoiser(source, name)),
        precision: raw
            .precision
            .as_ref()
            .map(|text| text.parse::<Precision>())
            .transpose()
            .map_err(|e| wrong("precision", e.to_string()))?,
        sigma: raw.sigma.map(Sigma::new).transpose().map_err(|e| wrong("sigma", e.to_string()))?,
        alpha: raw.alpha.map(Alpha::new).transpose().map_err(|e| wrong("alpha", e.to_string()))?,
        ask_above: raw.ask_above,
    })
}

/// The name of a denoiser as it is, or its file beside the configuration.
pub(super) fn denoiser(source: &Source<'_>, name: &str) -> String {
    let known = |name: &str| BUILTIN.iter().any(|model| model.task == Task::Denoise && model.name == name);
    let file = source.beside(Path::new(name));
    // A word that is neither stays one: what opens it lists the names that there are.
    let word = Path::new(name).components().count() == 1 && Path::new(name).extension().is_none();
    if name == "auto" || known(name) || (word && !file.exists()) {
        return name.to_owned();
    }
    file.display().to_string()
}

/// Reads `"10s"`, `"500ms"`, `"1m 30s"`.
pub(super) fn duration(
    source: &Source<'_>,
    table: &[&str],
    key: &str,
    text: Option<&String>,
    default: Duration,
) -> Result<Duration, ConfigError> {
    let Some(text) = text else { return Ok(default) };
    humantime::parse_duration(text).map_err(|_| {
        let path: Vec<&str> = table.iter().copied().chain([key]).collect();
        source
            .at(&path, format!("`{key}`: \"{text}\" is no duration: write for instance \"10s\" or \"500ms\""))
    })
}

fn network(
    source: &Source<'_>,
    table: &[&str],
    raw: &RawNetwork,
    default: &NetworkSettings,
    environment: &Environment,
) -> Result<NetworkSettings, ConfigError> {
    let time = |key, text: &Option<String>, default| duration(source, table, key, text.as_ref(), default);
    Ok(NetworkSettings {
        connect_timeout: time("connect_timeout", &raw.connect_timeout, default.connect_timeout)?,
        first_byte_timeout: time("first_byte_timeout", &raw.first_byte_timeout, default.first_byte_timeout)?,
        call_timeout: time("call_timeout", &raw.call_timeout, default.call_timeout)?,
        max_reply_bytes: raw.max_reply_bytes.unwrap_or(default.max_reply_bytes),
        ca_file: raw.ca_file.as_deref().map(|path| source.beside(path)).or_else(|| default.ca_file.clone()),
        proxy: match &raw.proxy {
            None => default.proxy.clone(),
            Some(text) => proxy(source, text, environment).map_err(|problem| {
                let path: Vec<&str> = table.iter().copied().chain(["proxy"]).collect();
                source.at(&path, format!("`proxy`: {problem}"))
            })?,
        },
        allow_http: raw.allow_http.unwrap_or(default.allow_http),
    })
}

/// A file that holds a secret: relative paths start at the configuration's folder.
pub(super) fn beside(source: &Source<'_>, place: &SecretSource) -> SecretSource {
    match place {
        SecretSource::File(path) => SecretSource::File(source.beside(path)),
        SecretSource::Env(_) => place.clone(),
    }
}

fn proxy(source: &Source<'_>, text: &str, environment: &Environment) -> Result<Proxy, String> {
    match text {
        "environment" => Ok(Proxy::Environment),
        "direct" => Ok(Proxy::Direct),
        _ => match text.parse::<SecretSource>() {
            Ok(place) => {
                beside(source, &place).read(environment).map(Proxy::Url).map_err(|error| error.to_string())
            }
            // An address with a password is not repeated.
            Err(_) if text.contains('@') => Err("an address with a user name or a password is named by its \
                 place, never written out: use \"env::NAME\" or \"file::PATH\""
                .to_owned()),
            Err(_) if text.contains("://") => Ok(Proxy::Url(SecretString::from(text))),
            Err(_) => Err(format!(
                "`{text}` is none of `environment`, `direct`, `http://HOST:PORT`, `env::NAME` and `file::PATH`"
            )),
        },
    }
}

struct Checker<'s> {
    source: &'s Source<'s>,
    environment: &'s Environment,
    name: &'s str,
}

impl Checker<'_> {
    fn instance(&self, raw: &RawInstance, network: &NetworkSettings) -> Result<Instance, ConfigError> {
        let name_is_free = self.name != "local" && !self.name.is_empty();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !name_is_free || !self.name.bytes().all(plain) {
            let problem = format!(
                "`{}` cannot be the name of an instance: use letters, digits, `-` and `_`; `local` is built in",
                self.name
            );
            return Err(self.source.at(&["providers", self.name], problem));
        }
        let kind = raw.kind.as_deref().unwrap_or(self.name);
        let Some(registration) = registry::find(kind) else { return Err(self.unknown_kind(raw, kind)) };
        let options = Value::Object(raw.options.clone());
        let adapter = match registration.adapter(&options, self.environment) {
            Ok(adapter) => Some(Arc::new(adapter)),
            // A region or an address that the environment may yet give: said when the instance is used.
            Err(ProviderError::Credential(_)) => None,
            Err(ProviderError::Options { at, problem, .. }) => {
                let inner: Vec<&str> = at.as_deref().map(|at| at.split('.').collect()).unwrap_or_default();
                let path: Vec<&str> = ["providers", self.name, "options"].into_iter().chain(inner).collect();
                return Err(self.source.problem(&path, &problem));
            }
            Err(ProviderError::Request(error)) => {
                let path = ["providers", self.name, "options"];
                return Err(self.source.at(&path, error.to_string()));
            }
        };
        let table = ["providers", self.name];
        Ok(Instance {
            name: self.name.to_owned(),
            registration,
            options,
            credentials: CredentialSettings {
                key: raw.credentials.key.as_ref().map(|place| beside(self.source, place)),
                ..raw.credentials.clone()
            },
            transport: self.transport(raw, &table)?,
            network: {
                let table = ["providers", self.name, "network"];
                self::network(self.source, &table, &raw.network, network, self.environment)?
            },
            budgets: raw.budget,
            adapter,
        })
    }

    fn unknown_kind(&self, raw: &RawInstance, kind: &str) -> ConfigError {
        let known: Vec<String> = PROVIDERS.iter().map(|registration| registration.name.to_owned()).collect();
        let hint = nearest(kind, &known).map_or_else(String::new, |n| format!("did you mean `{n}`? "));
        let list = known.join(", ");
        if raw.kind.is_some() {
            let path = ["providers", self.name, "kind"];
            return self.source.at(&path, format!("there is no provider `{kind}`: {hint}There are {list}"));
        }
        let problem =
            format!("`{kind}` is no provider, so the instance needs `kind = ...`: {hint}There are {list}");
        self.source.at(&["providers", self.name], problem)
    }

    fn transport(&self, raw: &RawInstance, table: &[&str; 2]) -> Result<TransportSettings, ConfigError> {
        let default = TransportSettings::default();
        let wrong = |key: &str, problem: String| {
            self.source.at(&[table[0], table[1], key], format!("`{key}`: {problem}"))
        };
        let retry = &raw.retry;
        let retry_table = [table[0], table[1], "retry"];
        let time = |key, text: &Option<String>, default| {
            duration(self.source, &retry_table, key, text.as_ref(), default)
        };
        let RetryPolicy { attempts, base, longest, retry_after_longest } = default.retry;
        let policy = RetryPolicy {
            attempts: retry.attempts.unwrap_or(attempts),
            base: time("base", &retry.base, base)?,
            longest: time("longest", &retry.longest, longest)?,
            retry_after_longest: time(
                "retry_after_longest",
                &retry.retry_after_longest,
                retry_after_longest,
            )?,
        };
        if policy.attempts == 0 {
            let path = [table[0], table[1], "retry", "attempts"];
            return Err(self.source.at(&path, "`attempts`: must be at least 1".to_owned()));
        }
        for (key, value) in [
            ("burst", raw.burst.map(u64::from)),
            ("pictures_per_minute", raw.pictures_per_minute.map(u64::from)),
            ("pictures_per_call", raw.pictures_per_call.map(|n| n as u64)),
        ] {
            if value == Some(0) {
                return Err(wrong(key, "must be at least 1".to_owned()));
            }
        }
        let price = raw.price.as_deref().map(price).transpose().map_err(|e| wrong("price", e))?;
        let rate = rate(raw.rate.as_deref(), raw.pictures_per_minute).map_err(|e| wrong("rate", e))?;
        Ok(TransportSettings {
            name: Some(self.name.to_owned()),
            rate,
            burst: raw.burst,
            retry: policy,
            price,
            pictures_per_call: raw.pictures_per_call,
            linger: duration(self.source, table, "linger", raw.linger.as_ref(), default.linger)?,
            ..default
        })
    }
}

/// `"free"` or an amount.
fn price(text: &str) -> Result<Price, String> {
    if text == "free" {
        return Ok(Price::Free);
    }
    text.parse::<Money>().map(Price::PerPicture).map_err(|error| format!("{error}, or write \"free\""))
}

/// `"30/s"`, `"600/min"` or `"unlimited"`.
fn rate(text: Option<&str>, pictures_per_minute: Option<u32>) -> Result<Rate, String> {
    let wrong = |text: &str| {
        format!("\"{text}\" is no rate: write for instance \"30/s\", \"600/min\" or \"unlimited\"")
    };
    let Some(text) = text else {
        return match pictures_per_minute {
            None => Ok(Rate::Provider),
            Some(_) => {
                Err("has to be given beside `pictures_per_minute`, for instance \"600/min\"".to_owned())
            }
        };
    };
    if text == "unlimited" {
        return match pictures_per_minute {
            None => Ok(Rate::Unlimited),
            Some(_) => Err("\"unlimited\" beside `pictures_per_minute`: give a number of calls".to_owned()),
        };
    }
    let (number, unit) = text.split_once('/').ok_or_else(|| wrong(text))?;
    let each = match unit.trim() {
        "s" | "sec" | "second" => 60,
        "m" | "min" | "minute" => 1,
        _ => return Err(wrong(text)),
    };
    let number: u32 = number.trim().parse().map_err(|_| wrong(text))?;
    match number.checked_mul(each) {
        Some(calls_per_minute @ 1..) => Ok(Rate::Quota(Quota { calls_per_minute, pictures_per_minute })),
        _ => Err(wrong(text)),
    }
}
