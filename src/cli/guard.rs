//! Options of `serve` about who may use it, TLS and what it fetches.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::Args as ClapArgs;
use smoothgate_providers::credentials::{Environment, SecretSource};

use super::Failure;
use super::caller_keys::beside_keys;
use crate::config::GuardSettings;
use crate::front::Tls;
use crate::ledger::Ledger;
use crate::proxy::access::{Access, KeyFile, Keyring, Keys, Master, Open, in_the_clear, may_listen};
use crate::proxy::fetch::{Fetcher, Rule};

/// Options of `serve`.
#[derive(Debug, ClapArgs)]
pub(super) struct GuardOptions {
    /// Let in the holders of the keys in this file (from `smoothgate keys issue`), and nobody else
    #[arg(long, value_name = "FILE", env = "SMOOTHGATE_KEYS")]
    keys: Option<PathBuf>,
    /// The master secret of AWS pairs: `env::NAME` or `file::PATH` [default: the file beside the keys, ending in `.master`]
    #[arg(long, value_name = "PLACE", requires = "keys")]
    master: Option<String>,
    /// Listen on an address that others can reach without asking them for keys: anybody may then spend the budget
    #[arg(long)]
    insecure_no_auth: bool,
    /// Speak TLS with this certificate chain (PEM); a changed file is taken without a restart
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Fetch pictures that a request only names from there: a host, `*.HOST`, `gs://BUCKET` or `s3://REGION/BUCKET`
    #[arg(long, value_name = "RULE")]
    fetch: Vec<Rule>,
}

/// What stands at the door.
pub(super) struct Guard {
    pub(super) access: Arc<dyn Access>,
    pub(super) fetch: Arc<Fetcher>,
    pub(super) tls: Option<Tls>,
    keys: Option<Arc<Keys>>,
}

impl GuardOptions {
    /// The configuration's settings with what the command line says over them.
    pub(super) fn over(&self, settings: &GuardSettings) -> Result<GuardSettings, Failure> {
        let mut settings = settings.clone();
        if let Some(keys) = &self.keys {
            settings.keys = Some(keys.clone());
            settings.master = None;
        }
        if let Some(master) = &self.master {
            // Not by the parser of arguments, which would repeat a text that may be the secret itself.
            let master: Result<SecretSource, _> = master.parse();
            settings.master = Some(master.map_err(|error| Failure::usage(anyhow!("--master: {error}")))?);
        }
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            settings.tls = Some((certificate.clone(), key.clone()));
        }
        settings.fetch.rules.extend(self.fetch.iter().cloned());
        Ok(settings)
    }

    /// May it listen at this address?
    pub(super) fn check(&self, listen: SocketAddr, settings: &GuardSettings) -> Result<(), Failure> {
        may_listen(listen, settings.keys.is_some(), self.insecure_no_auth).map_err(Failure::usage)?;
        if settings.keys.is_some() && in_the_clear(listen, settings.tls.is_some()) {
            tell!(
                "warning: keys and pictures reach {listen} in the clear: give --tls-cert and --tls-key, or let something that \
                 speaks TLS stand in front"
            );
        }
        Ok(())
    }
}

/// The keys, with the master where pairs among them need it.
fn ring(path: &Path, settings: &GuardSettings) -> Result<Keyring, Failure> {
    let beside = beside_keys(path);
    let needed = KeyFile::read(path).map_err(Failure::usage)?.needs_master();
    let master = match &settings.master {
        Some(place) => Some(Master::read(place, &Environment::process())),
        None if needed && beside.exists() => {
            Some(Master::read(&SecretSource::File(beside), &Environment::process()))
        }
        None => None,
    };
    let given = master.is_some();
    let ring = Keyring::open(path, master.transpose().map_err(Failure::usage)?).map_err(Failure::usage)?;
    // The first pair may be made while the server runs, and its master with it.
    Ok(if given { ring } else { ring.finding_master(SecretSource::File(beside_keys(path))) })
}

impl Guard {
    /// Opens keys, certificate and connections.
    pub(super) fn open(
        listen: SocketAddr,
        settings: &GuardSettings,
        ledger: &Ledger,
    ) -> Result<Self, Failure> {
        let keys = match &settings.keys {
            Some(path) => Some(Arc::new(Keys::new(ring(path, settings)?, Arc::new(ledger.clone())))),
            None => None,
        };
        let access: Arc<dyn Access> = match &keys {
            Some(keys) => Arc::clone(keys) as Arc<dyn Access>,
            None if may_listen(listen, false, false).is_ok() => Arc::new(Open::Local),
            None => Arc::new(Open::Everyone),
        };
        let tls = settings.tls.as_ref().map(|(certificate, key)| Tls::open(certificate, key));
        let fetch = Fetcher::new(settings.fetch.clone()).context("the connections for fetching pictures");
        Ok(Self {
            access,
            fetch: Arc::new(fetch.map_err(Failure::usage)?),
            tls: tls.transpose().map_err(Failure::usage)?,
            keys,
        })
    }

    /// Reads keys and certificate again. What cannot be used changes nothing, and the log says why.
    pub(super) fn reload(&self) {
        if let Some(Err(error)) = self.keys.as_ref().map(|keys| keys.reload()) {
            tracing::error!(%error, "the keys that were in force stay so");
        }
        if let Some(Err(error)) = self.tls.as_ref().map(Tls::reload) {
            tracing::error!(%error, "the former certificate stays in use");
        }
    }
}
