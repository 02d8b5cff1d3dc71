//! From settings to routes that can certify. Nothing is sent.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use smoothgate_denoisers::{DenoiserHandle, Device, Options, Precision, WorkerError};
use smoothgate_providers::credentials::Environment;

use super::gate::Gate;
use super::promise::Promises;
use super::route::{Route, Upstream};
use crate::certificate::SigningKey;
use crate::certifier::{self, Certifier};
use crate::config::{BudgetsOverTime, Config, InstanceError, OnAbstain, RouteSettings, ServeSettings};
use crate::engine::{Engine, EngineError, Settings};
use crate::ledger::{Begin, Budgets, Ledger, LedgerError, Run, RunSpec, Spec};
use crate::local::LocalError;
use crate::picture::{Limits, PictureOptions, WorkingSize};
use crate::tables::TableCache;

/// Working size in pixels a side where neither the route nor the upstream says: that of ImageNet's networks, for which the
/// field's radii are stated. At their own size, photos of many megapixels would take minutes a vote.
const SIZE: u32 = 224;

/// Why a route cannot work. The user's to mend, but for `Worker`.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The upstream's options or credentials.
    #[error("route `{route}`: {source}")]
    Instance {
        /// The route.
        route: String,
        /// What is wrong.
        source: InstanceError,
    },
    /// The built-in classifier.
    #[error("the built-in classifier cannot be loaded: {0}")]
    Local(#[from] LocalError),
    /// The denoiser.
    #[error("route `{route}`: {source}")]
    Denoiser {
        /// The route.
        route: String,
        /// What is wrong.
        source: smoothgate_denoisers::OpenError,
    },
    /// No thread for the denoiser.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The test can never certify.
    #[error("route `{route}`: {source}")]
    Test {
        /// The route.
        route: String,
        /// What is wrong.
        source: EngineError,
    },
    /// The ledger.
    #[error("route `{route}`: {source}")]
    Ledger {
        /// The route.
        route: String,
        /// What is wrong.
        source: LedgerError,
    },
}

/// Routes that are ready, and the ledger that they record in.
#[derive(Debug)]
pub struct Opened {
    /// The routes.
    pub routes: Vec<Route>,
    /// The ledger.
    pub ledger: Ledger,
}

/// An upstream, and what all of its routes share.
#[derive(Clone)]
struct Shared {
    upstream: Arc<Upstream>,
    gate: Gate,
    promises: Promises,
}

/// Opens routes. What several of them use is opened once: upstreams with their limits, denoisers with their threads.
pub struct Opener<'c> {
    config: &'c Config,
    environment: &'c Environment,
    serve: &'c ServeSettings,
    device: Device,
    ledger: Ledger,
    tables: TableCache,
    key: Option<Arc<SigningKey>>,
    upstreams: HashMap<String, Shared>,
    denoisers: HashMap<(String, Precision), DenoiserHandle>,
    /// Runs that this process holds already, by their parameters.
    runs: HashMap<String, Run>,
}

impl std::fmt::Debug for Opener<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

impl<'c> Opener<'c> {
    /// Will open instances of `config` and record in `ledger`.
    pub fn new(
        config: &'c Config,
        environment: &'c Environment,
        serve: &'c ServeSettings,
        ledger: Ledger,
    ) -> Self {
        Self {
            config,
            environment,
            serve,
            device: Device::Auto,
            ledger,
            tables: TableCache::none(),
            key: None,
            upstreams: HashMap::new(),
            denoisers: HashMap::new(),
            runs: HashMap::new(),
        }
    }

    /// Runs models on this device.
    #[must_use]
    pub fn on(self, device: Device) -> Self {
        Self { device, ..self }
    }

    /// Keeps the tables of tests in this cache, and takes them from it.
    #[must_use]
    pub fn with_table_cache(self, tables: TableCache) -> Self {
        Self { tables, ..self }
    }

    /// Signs every certificate with this key.
    #[must_use]
    pub fn signing(self, key: Option<Arc<SigningKey>>) -> Self {
        Self { key, ..self }
    }

    /// Uses this upstream under its own name, in the place of an instance of the configuration.
    #[must_use]
    pub fn with_upstream(mut self, upstream: Upstream) -> Self {
        self.put(upstream);
        self
    }

    /// Takes over from routes that were opened with `before` what is the same now: upstreams with their limits and queues
    /// (unless nothing is sent to them any more), models and runs. Requests in flight keep what they have.
    #[must_use]
    pub fn taking_over(mut self, routes: &[Arc<Route>], before: &Config) -> Self {
        for route in routes {
            let name = route.upstream.name();
            let shared = || Shared {
                upstream: Arc::new(Upstream {
                    endpoint: Arc::clone(&route.upstream.endpoint),
                    budgets: self.config.instance(name).map(|i| i.budgets).unwrap_or_default(),
                    rate: route.upstream.rate.clone(),
                }),
                gate: route.gate.clone(),
                promises: route.promises.clone(),
            };
            if self.config.same_instance(before, name)
                && !self.upstreams.contains_key(name)
                && route.upstream.endpoint.stopped().is_none()
            {
                let shared = shared();
                self.upstreams.insert(name.to_owned(), shared);
            }
            let denoiser = route.certifier.engine().denoiser();
            if denoiser.is_alive() {
                let RouteSettings { denoiser: name, precision, .. } = &route.settings;
                self.denoisers.insert((name.clone(), *precision), denoiser.clone());
            }
            self.runs.insert(route.parameters.canonical().to_owned(), route.run.clone());
        }
        self
    }

    /// Is an upstream of this name there already?
    pub fn has(&self, upstream: &str) -> bool {
        self.upstreams.contains_key(upstream)
    }

    /// Opens the routes: loads models, makes tests, begins or continues a run for each.
    ///
    /// # Errors
    /// [`OpenError`] of the first route that cannot work.
    pub async fn open(mut self, routes: &[RouteSettings]) -> Result<Opened, OpenError> {
        let mut opened = Vec::with_capacity(routes.len());
        for settings in routes {
            opened.push(self.route(settings).await?);
        }
        Ok(Opened { routes: opened, ledger: self.ledger })
    }

    async fn route(&mut self, settings: &RouteSettings) -> Result<Route, OpenError> {
        let Shared { upstream, gate, promises } = self.upstream(settings)?;
        let described = upstream.endpoint.describe();
        let native = described.native_size.unwrap_or(SIZE);
        let picture = PictureOptions {
            size: settings.size.unwrap_or(WorkingSize::Square(native)),
            fit: settings.fit,
            limits: Limits { max_pixels: self.serve.max_pixels, ..Limits::default() },
            ..PictureOptions::default()
        };
        let engine = Engine::new(
            Arc::clone(&upstream.endpoint),
            self.denoiser(settings)?,
            Settings {
                sigma: settings.sigma,
                alpha: settings.alpha,
                question: settings.question.clone(),
                method: settings.method.clone(),
                also: Vec::new(),
                encoder: settings.encoder,
                batch: settings.batch,
                concurrency: settings.concurrency,
                ahead: settings.ahead,
            },
        )
        .with_table_cache(self.tables.clone());
        let failed = |source| OpenError::Test { route: settings.name.clone(), source };
        let planned = {
            let engine = engine.clone();
            tokio::task::spawn_blocking(move || engine.plan()).await
        };
        let plan = planned.map_err(|e| failed(EngineError::Worker(e.to_string())))?.map_err(failed)?;
        let votes = plan.max_votes() as u64;
        let run = self.run(settings, &upstream, &engine, &picture).await;
        let (run, parameters) =
            run.map_err(|source| OpenError::Ledger { route: settings.name.clone(), source })?;
        Ok(Route {
            certifier: Certifier::with_ledger(engine, run.clone()).signing(self.key.clone()),
            settings: settings.clone(),
            // The plain answer is the clean one, where a question asks for that.
            calls: votes
                + u64::from(settings.question.asks_clean() || settings.on_abstain == OnAbstain::Plain),
            votes,
            upstream,
            run,
            parameters,
            picture,
            gate,
            promises,
        })
    }

    /// The run of a route under its present settings: the same one whenever both are the same again.
    async fn run(
        &self,
        settings: &RouteSettings,
        upstream: &Upstream,
        engine: &Engine,
        picture: &PictureOptions,
    ) -> Result<(Run, Spec), LedgerError> {
        let mut parameters = certifier::parameters(engine, picture, None)?.value();
        if let Value::Object(fields) = &mut parameters {
            fields.insert("route".to_owned(), json!(settings.name));
        }
        let described = upstream.endpoint.describe();
        let spec = RunSpec {
            parameters: Spec::new(&parameters)?,
            arguments: json!({ "serve": settings.name }),
            instance: described.name.clone(),
            price: described.price,
            budgets: Budgets {
                run: settings.budget,
                day: upstream.budgets.day,
                month: upstream.budgets.month,
            },
            pictures: None,
        };
        let parameters = spec.parameters.clone();
        let held = self.runs.get(parameters.canonical());
        let run = match held.filter(|run| run.instance() == spec.instance) {
            Some(run) => run.renew(spec).await?,
            None => self.ledger.begin_run(spec, Begin::ContinueOrNew).await?,
        };
        Ok((run, parameters))
    }

    fn upstream(&mut self, settings: &RouteSettings) -> Result<Shared, OpenError> {
        let name = &settings.upstream;
        if let Some(shared) = self.upstreams.get(name) {
            return Ok(shared.clone());
        }
        if name == "local" {
            let endpoint = Arc::new(crate::local::open(self.device)?);
            return Ok(self.put(Upstream { endpoint, budgets: BudgetsOverTime::default(), rate: None }));
        }
        let failed = |source| OpenError::Instance { route: settings.name.clone(), source };
        let instance = self.config.instance(name).map_err(failed)?;
        let endpoint = instance.open(self.environment).map_err(failed)?;
        let rate = Some(endpoint.rate());
        Ok(self.put(Upstream { endpoint: Arc::new(endpoint), budgets: instance.budgets, rate }))
    }

    fn put(&mut self, upstream: Upstream) -> Shared {
        let shared = Shared {
            gate: Gate::new(self.serve.max_active, self.serve.max_waiting),
            promises: Promises::default(),
            upstream: Arc::new(upstream),
        };
        self.upstreams.insert(shared.upstream.name().to_owned(), shared.clone());
        shared
    }

    fn denoiser(&mut self, settings: &RouteSettings) -> Result<DenoiserHandle, OpenError> {
        let key = (settings.denoiser.clone(), settings.precision);
        if let Some(handle) = self.denoisers.get(&key) {
            return Ok(handle.clone());
        }
        let mut options = Options::on(self.device);
        options.precision = settings.precision;
        let denoiser = smoothgate_denoisers::open(&settings.denoiser, &options)
            .map_err(|source| OpenError::Denoiser { route: settings.name.clone(), source })?;
        let handle = DenoiserHandle::spawn(denoiser)?;
        self.denoisers.insert(key, handle.clone());
        Ok(handle)
    }
}
