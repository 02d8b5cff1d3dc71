//! `--provider` and what belongs to it, for every command that asks one.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use smoothgate_denoisers::Device;
use smoothgate_providers::credentials::Environment;
use smoothgate_providers::transport::{HttpEndpoint, RateState};
use smoothgate_providers::{Endpoint, Money, Price};
use tokio::sync::watch;

use super::Failure;
use super::progress::Progress;
use crate::config::{self, BudgetsOverTime, Config, Instance, InstanceError};

/// Where the configuration is.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ConfigOption {
    /// The configuration file; default: `$SMOOTHGATE_CONFIG`, `./smoothgate.toml`, then the user's configuration folder
    #[arg(long, value_name = "FILE", global = true, help_heading = "Global options")]
    pub config: Option<PathBuf>,
}

impl ConfigOption {
    /// The file that counts, where there is one.
    pub(super) fn path(&self) -> Option<PathBuf> {
        config::find(self.config.as_deref(), Path::new(""), &Environment::process())
    }

    /// Reads and checks it; without a file everything is a default.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        match self.path() {
            Some(path) => Config::load(&path, &Environment::process()).map_err(Failure::usage),
            None => Ok(Config::empty()),
        }
    }
}

/// Whom to ask.
#[derive(Clone, Debug, Args)]
pub(super) struct ProviderOptions {
    /// Whom to ask: an instance of the configuration, a provider (`smoothgate providers` lists both), or `local`, a classifier
    /// in this process that needs no key and no network: the built-in one of 64 everyday classes, or your own with
    /// `-O classifier=FILE` and, where the file names no classes, `-O labels=FILE` [default: local]
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
    /// An option of the provider, over what the configuration says; may be given again
    #[arg(short = 'O', long = "option", value_name = "NAME=VALUE")]
    pub options: Vec<String>,
    /// The price of one picture, over what the configuration and the price list say: `0.0010USD`
    #[arg(long, value_name = "AMOUNT")]
    pub price: Option<Money>,
}

/// A provider that can be asked.
pub(super) struct Opened {
    /// What the engine asks.
    pub endpoint: Arc<dyn Endpoint>,
    /// What may be spent on it over time.
    pub budgets: BudgetsOverTime,
    /// The rate that it is asked at, where it is asked over a network.
    pub rate: Option<watch::Receiver<RateState>>,
}

impl ProviderOptions {
    /// The name that counts.
    pub(super) fn name<'a>(&'a self, config: &'a Config) -> &'a str {
        self.provider.as_deref().or(config.defaults.provider.as_deref()).unwrap_or("local")
    }

    /// Opens it. Nothing is sent.
    pub(super) fn open(&self, config: &Config, device: Device) -> Result<Opened, Failure> {
        self.open_by(Instance::open, config, device)
    }

    /// Opens it for whoever only plans: no account is needed yet.
    pub(super) fn open_to_plan(&self, config: &Config, device: Device) -> Result<Opened, Failure> {
        self.open_by(Instance::open_to_plan, config, device)
    }

    fn open_by(
        &self,
        open: fn(&Instance, &Environment) -> Result<HttpEndpoint, InstanceError>,
        config: &Config,
        device: Device,
    ) -> Result<Opened, Failure> {
        let name = self.name(config);
        if name == "local" {
            let mut settings = crate::local::Settings::default();
            for option in &self.options {
                settings.set_option(option).map_err(Failure::usage)?;
            }
            let endpoint = Arc::new(crate::local::open_with(&settings, device).map_err(Failure::usage)?);
            return Ok(Opened { endpoint, budgets: BudgetsOverTime::default(), rate: None });
        }
        let instance = self.instance(config, name)?;
        let endpoint = open(&instance, &Environment::process()).map_err(Failure::usage)?;
        let rate = Some(endpoint.rate());
        Ok(Opened { endpoint: Arc::new(endpoint), budgets: instance.budgets, rate })
    }

    /// The instance of this name, with what the command line says over the configuration.
    pub(super) fn instance(&self, config: &Config, name: &str) -> Result<Instance, Failure> {
        let mut instance = config.instance(name).map_err(Failure::usage)?;
        for option in &self.options {
            instance.set_option(option).map_err(Failure::usage)?;
        }
        if let Some(price) = self.price {
            instance.transport.price = Some(Price::PerPicture(price));
        }
        Ok(instance)
    }
}

/// Least time between two words about the rate: under steady throttling it changes many times a second.
const QUIET: Duration = Duration::from_secs(5);

/// Says what throttling does to the rate: that it fell, and that it is back. Never ends.
pub(super) async fn tell_rate(
    name: &str,
    rate: Option<watch::Receiver<RateState>>,
    progress: &Progress,
) -> Infallible {
    let Some(mut rate) = rate else { return std::future::pending().await };
    let mut cuts = rate.borrow_and_update().cuts;
    let (mut last, mut low): (Option<Instant>, bool) = (None, false);
    while rate.changed().await.is_ok() {
        let now = *rate.borrow_and_update();
        let rested = last.is_none_or(|last| last.elapsed() >= QUIET);
        if now.cuts > cuts && rested {
            let allowed = now.allowed.map_or_else(|| "fewer".to_owned(), |rate| format!("{rate:.1}"));
            progress.say(&format!("{name} throttles: {allowed} calls a second for now"));
            (cuts, last, low) = (now.cuts, Some(Instant::now()), true);
        } else if low && now.allowed == now.limit {
            progress.say(&format!("{name} is asked at its full rate again"));
            low = false;
        }
    }
    std::future::pending().await
}
