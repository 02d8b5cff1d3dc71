//! `smoothgate serve`.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args as ClapArgs;
use smoothgate_denoisers::Device;
use smoothgate_providers::credentials::Environment;
use tokio::runtime::Runtime;

use super::files::write_whole;
use super::guard::{Guard, GuardOptions};
use super::ledger::LedgerPath;
use super::log::LogOptions;
use super::provider::{ConfigOption, ProviderOptions};
use super::signals::{Hangups, signal};
use super::traces::Traces;
use super::{Ended, Exit, Failure, in_words, runtime};
use crate::certificate::SigningKey;
use crate::config::{Config, RouteSettings, ServeSettings};
use crate::front::Tls;
use crate::ledger::{Ledger, Options};
use crate::proxy::{self, Opener, Proxy, Upstream};
use crate::tables::TableCache;

/// Options of `serve`.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Where to listen, over what the configuration says; port 0 takes any free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Write the port into this file once it is open
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
    /// Send every request here, with the default policy, in the place of the configuration's routes
    #[command(flatten)]
    provider: ProviderOptions,
    #[command(flatten)]
    place: LedgerPath,
    /// Sign the certificates with this key (from `smoothgate keys new`)
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    /// Where models run: `auto`, `cpu`, `cuda:N` or `metal`
    #[arg(long, default_value = "auto")]
    device: Device,
    #[command(flatten)]
    guard: GuardOptions,
    /// Print the address as JSON
    #[arg(long)]
    json: bool,
    /// Print the OpenAPI document of the proxy's own paths and end
    #[arg(long)]
    openapi: bool,
    #[command(flatten)]
    log: LogOptions,
}

pub(super) fn run(args: &Args, file: &ConfigOption) -> Ended {
    if args.openapi {
        writeln!(std::io::stdout().lock(), "{:#}", proxy::openapi())?;
        return Ok(Exit::Success);
    }
    let runtime = runtime()?;
    let traces = Traces::start(&args.log, &runtime)?;
    let ended = serve(args, file, &runtime, &traces);
    match ended {
        // Whoever asked twice does not wait.
        Ok(Exit::Interrupted) => std::mem::forget(traces),
        _ => traces.end(),
    }
    ended
}

fn serve(args: &Args, file: &ConfigOption, runtime: &Runtime, traces: &Traces) -> Ended {
    let config = file.load()?;
    check_provider(&args.provider, &config)?;
    let serve = ServeSettings {
        listen: args.listen.unwrap_or(config.serve.listen),
        guard: args.guard.over(&config.serve.guard)?,
        ..config.serve.clone()
    };
    args.guard.check(serve.listen, &serve.guard)?;
    runtime.block_on(async {
        let place = args.place.path(&config)?;
        let options = Options { answers: config.ledger.answers, patient: false, ..Options::default() };
        let ledger = tokio::task::spawn_blocking(move || Ledger::open(place, &options)).await;
        let ledger = ledger.map_err(Failure::internal)?.map_err(Failure::ledger)?;
        let opened = open(args, &config, &ledger, None).await?;
        let guard = Guard::open(serve.listen, &serve.guard, &opened.ledger)?;
        let settings = proxy::Settings {
            serve,
            opened,
            access: Arc::clone(&guard.access),
            fetch: Arc::clone(&guard.fetch) as Arc<dyn proxy::fetch::Fetch>,
            observer: traces.observer(),
            tls: guard.tls.as_ref().map(Tls::config),
        };
        let proxy = Proxy::start(settings).await.map_err(Failure::usage)?;
        let mut hangups = Hangups::listen();
        announce(args, &proxy).map_err(Failure::internal)?;
        let mut current = config;
        let reloads = async {
            while hangups.next().await {
                guard.reload();
                let reloaded = reload(args, file, &proxy, &ledger, &current).await;
                proxy.reloaded(reloaded.is_ok());
                match reloaded {
                    Ok(config) => current = config,
                    Err(failure) => {
                        let reason = in_words(&failure.error);
                        tracing::error!(
                            reason,
                            "the configuration could not be loaded anew: the one before it stands"
                        );
                    }
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = signal() => {}
            () = reloads => {}
        }
        drop(ledger);
        tell!("stopping: waiting for requests and for the calls that are out (again to leave at once)");
        tokio::select! {
            stopped = proxy.stop() => ended(stopped.map_err(Failure::ledger)?),
            () = signal() => Ok(Exit::Interrupted),
        }
    })
}

/// Loads the configuration anew and puts its routes in the place of the present ones.
async fn reload(
    args: &Args,
    file: &ConfigOption,
    proxy: &Proxy,
    ledger: &Ledger,
    before: &Config,
) -> Result<Config, Failure> {
    let config = file.load()?;
    check_provider(&args.provider, &config)?;
    let opened = open(args, &config, ledger, Some((proxy, before))).await?;
    proxy.replace(opened.routes);
    if !config.same_start(before) {
        tracing::warn!("what changed in [serve] and [ledger] takes effect at the next start");
    }
    let routes: Vec<String> = proxy.routes().iter().map(|route| route.name().to_owned()).collect();
    tracing::info!(routes = routes.join(", "), "the configuration is loaded anew");
    Ok(config)
}

/// Calls that did not come back in time are on record as perhaps billed: the operator should know.
fn ended(stopped: proxy::Stopped) -> Ended {
    if stopped.left == 0 {
        return Ok(Exit::Success);
    }
    let problem = format!(
        "{} certificates were broken off: their calls did not come back in time and count as billed. The same requests go on \
         from there; a longer `settle` of [serve] waits longer",
        stopped.left
    );
    Err(Failure::internal(anyhow::anyhow!(problem)))
}

/// An option or a price is of one provider: routes that name theirs would not hear of it.
fn check_provider(given: &ProviderOptions, config: &Config) -> Result<(), Failure> {
    let said = !given.options.is_empty() || given.price.is_some();
    if said && given.provider.is_none() && !config.routes.is_empty() {
        return Err(Failure::usage(anyhow::anyhow!(
            "`-O` and `--price` are about the provider of --provider, and the routes of the configuration ask their own: write them under [providers] there, or give --provider NAME, which takes the place of all routes"
        )));
    }
    Ok(())
}

/// Opens the routes of `config`, taking over from a running proxy what is the same.
async fn open(
    args: &Args,
    config: &Config,
    ledger: &Ledger,
    running: Option<(&Proxy, &Config)>,
) -> Result<proxy::Opened, Failure> {
    let key = args.sign.as_deref().map(SigningKey::load).transpose().map_err(Failure::usage)?;
    let environment = Environment::process();
    let mut opener = Opener::new(config, &environment, &config.serve, ledger.clone())
        .on(args.device)
        .with_table_cache(TableCache::usual())
        .signing(key.map(Arc::new));
    if let Some((proxy, before)) = running {
        opener = opener.taking_over(&proxy.routes(), before);
    }
    let routes = match &args.provider.provider {
        None if !config.routes.is_empty() => config.routes.clone(),
        _ => {
            let name = args.provider.name(config);
            if !opener.has(name) {
                let opened = args.provider.open(config, args.device)?;
                let (endpoint, budgets, rate) = (opened.endpoint, opened.budgets, opened.rate);
                opener = opener.with_upstream(Upstream { endpoint, budgets, rate });
            }
            vec![RouteSettings::of_defaults("default", name, &config.defaults).map_err(Failure::usage)?]
        }
    };
    opener.open(&routes).await.map_err(Failure::usage)
}

fn announce(args: &Args, proxy: &Proxy) -> anyhow::Result<()> {
    if let Some(path) = &args.port_file {
        write_whole(path, proxy.address().port().to_string())
            .with_context(|| format!("cannot write the port to `{}`", path.display()))?;
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::json!({ "url": proxy.url() }))?;
    } else {
        writeln!(out, "listening on {}", proxy.url())?;
        for route in proxy.routes().iter() {
            let settings = route.settings();
            writeln!(
                out,
                "  route {}: {} asks {} about {}, sigma {}, at most {} votes",
                route.name(),
                if settings.api.is_empty() { "every format".to_owned() } else { settings.api.join(", ") },
                settings.upstream,
                settings.question,
                settings.sigma,
                route.votes(),
            )?;
        }
    }
    Ok(out.flush()?)
}
