//! `smoothgate serve`.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args as ClapArgs;
use smoothgate_denoisers::Device;
use smoothgate_providers::credentials::Environment;

use super::files::write_whole;
use super::ledger::LedgerPath;
use super::provider::{ConfigOption, ProviderOptions};
use super::signals::signal;
use super::{Ended, Exit, Failure, runtime};
use crate::certificate::SigningKey;
use crate::config::{Config, RouteSettings, ServeSettings};
use crate::ledger::{Ledger, Options};
use crate::proxy::{self, Opener, Proxy, Upstream, access, fetch, observer};
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
    /// Listen on an address that others can reach although anybody may then spend the budget
    #[arg(long)]
    insecure_no_auth: bool,
    /// Print the address as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, config: &ConfigOption) -> Ended {
    let config = config.load()?;
    let serve = ServeSettings { listen: args.listen.unwrap_or(config.serve.listen), ..config.serve.clone() };
    if !serve.listen.ip().is_loopback() && !args.insecure_no_auth {
        let problem = format!(
            "listening on {} lets anybody who reaches it spend the budget: listen on 127.0.0.1, or say --insecure-no-auth",
            serve.listen
        );
        return Err(Failure::usage(anyhow::anyhow!(problem)));
    }
    let runtime = runtime()?;
    runtime.block_on(async {
        let opened = open(args, &config, &serve).await?;
        let settings = proxy::Settings {
            serve,
            opened,
            access: Arc::new(access::Open),
            fetch: Arc::new(fetch::Refused),
            observer: Arc::new(observer::Unobserved),
            tls: None,
        };
        let proxy = Proxy::start(settings).await.map_err(Failure::usage)?;
        announce(args, &proxy).map_err(Failure::internal)?;
        signal().await;
        eprintln!("stopping: waiting for the calls that are out (again to leave at once)");
        tokio::select! {
            () = proxy.stop() => {}
            () = signal() => {}
        }
        Ok(Exit::Success)
    })
}

async fn open(args: &Args, config: &Config, serve: &ServeSettings) -> Result<proxy::Opened, Failure> {
    let path = args.place.path(config)?;
    let options = Options { answers: config.ledger.answers, ..Options::default() };
    let ledger = tokio::task::spawn_blocking(move || Ledger::open(path, &options)).await;
    let ledger = ledger.map_err(Failure::internal)?.map_err(Failure::ledger)?;
    let key = args.sign.as_deref().map(SigningKey::load).transpose().map_err(Failure::usage)?;
    let environment = Environment::process();
    let mut opener = Opener::new(config, &environment, serve, ledger)
        .on(args.device)
        .with_table_cache(TableCache::usual())
        .signing(key.map(Arc::new));
    let routes = match &args.provider.provider {
        None if !config.routes.is_empty() => config.routes.clone(),
        _ => {
            let opened = args.provider.open(config, args.device)?;
            let upstream = Upstream { endpoint: opened.endpoint, budgets: opened.budgets, rate: opened.rate };
            let route = RouteSettings::of_defaults("default", upstream.name(), &config.defaults);
            opener = opener.with_upstream(upstream);
            vec![route.map_err(Failure::usage)?]
        }
    };
    opener.open(&routes).await.map_err(Failure::usage)
}

fn announce(args: &Args, proxy: &Proxy) -> anyhow::Result<()> {
    if let Some(path) = &args.port_file {
        write_whole(path, &proxy.address().port().to_string())
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
