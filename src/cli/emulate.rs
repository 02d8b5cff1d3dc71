//! `smoothgate emulate`.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args as ClapArgs;
use secrecy::{ExposeSecret as _, SecretString};
use smoothgate_denoisers::Device;
use smoothgate_providers::credentials::aws::AwsKeys;

use super::files::write_whole;
use super::output::json_line;
use super::{Ended, Exit, Failure, runtime};
use crate::emulate::{Chance, Emulator, Keys, Latency, Line, Plan, Settings, Stats};
use crate::front;

/// Options of `emulate`.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Where to listen; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Write the port into this file once it is open
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
    /// Which formats to speak: `all`, or some of google, aws, azure, azure-v3, clarifai, openai, huggingface, kserve
    #[arg(long, default_value = "all", value_delimiter = ',')]
    api: Vec<String>,
    /// The API key that is taken; default: `emulator-key`. For AWS it is the secret of the key id `AKIAEMULATOR`
    #[arg(long, env = "SMOOTHGATE_EMULATOR_KEY", hide_env_values = true)]
    key: Option<SecretString>,
    /// The AWS key pair that is taken
    #[arg(long, env = "SMOOTHGATE_EMULATOR_AWS_KEY", hide_env_values = true, value_name = "ID:SECRET")]
    aws_key: Option<SecretString>,
    /// A fault plan (TOML, see docs/emulate.md)
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Share of calls that get a fault: `0.2` for all kinds that pass, `throttle=0.05` for one kind; may be repeated
    #[arg(long, value_name = "[KIND=]SHARE")]
    fault_rate: Vec<Chance>,
    /// How long replies are held back: `200ms` or `100ms..300ms`; comes before the plan's
    #[arg(long)]
    latency: Option<Latency>,
    /// Seed of all chance; comes before the plan's
    #[arg(long)]
    seed: Option<u64>,
    /// Speak TLS with this certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The classifier behind them: a built-in name or a safetensors file
    #[arg(long, value_name = "NAME|FILE", default_value = crate::local::BUILTIN)]
    classifier: String,
    /// The names of its classes, a line each, where the file does not hold them
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Where the classifier runs: `auto`, `cpu`, `cuda:N` or `metal`
    #[arg(long, default_value = "auto")]
    device: Device,
    /// Print the address, the requests and the counts as JSON, one object a line
    #[arg(long)]
    json: bool,
    /// Print a line for every request (never a key, a query or a picture)
    #[arg(long, short)]
    verbose: bool,
}

/// The text is never repeated: it may hold the secret. (The parser of arguments would repeat it.)
fn aws_pair(pair: &SecretString) -> Result<AwsKeys, Failure> {
    match pair.expose_secret().split_once(':') {
        Some((id, secret)) if !id.is_empty() && !secret.is_empty() => Ok(AwsKeys {
            access_key_id: id.to_owned(),
            secret_access_key: secret.into(),
            session_token: None,
        }),
        _ => Err(Failure::usage(anyhow::anyhow!("--aws-key is no key pair: write it as ID:SECRET"))),
    }
}

pub(super) fn run(args: &Args) -> Ended {
    let settings = settings(args)?;
    let local = crate::local::Settings { classifier: args.classifier.clone(), labels: args.labels.clone() };
    let backend = crate::local::backend(&local, args.device).map_err(Failure::usage)?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let stop = stop_signal().map_err(Failure::internal)?;
        let emulator = Emulator::start(settings, backend).await.map_err(Failure::usage)?;
        announce(args, &emulator).map_err(Failure::internal)?;
        stop.await;
        let stats = emulator.stop().await;
        print_stats(args.json, &stats).map_err(Failure::internal)?;
        Ok(Exit::Success)
    })
}

fn settings(args: &Args) -> Result<Settings, Failure> {
    let usage = |problem: String| Failure::usage(anyhow::anyhow!(problem));
    if args.key.is_none() && !args.listen.ip().is_loopback() {
        return Err(usage(format!("listening on {} needs a --key: the default one is public", args.listen)));
    }
    let mut keys = args.key.clone().map(Keys::of).unwrap_or_default();
    if let Some(aws) = &args.aws_key {
        keys.aws = aws_pair(aws)?;
    }
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => Some(front::tls(certificate, key).map_err(Failure::usage)?),
        _ => None,
    };
    let json = args.json;
    let log = args.verbose.then(|| -> crate::emulate::Log { Arc::new(move |line| print_line(json, line)) });
    Ok(Settings {
        listen: args.listen,
        apis: args.api.iter().filter(|name| *name != "all").cloned().collect(),
        keys,
        plan: plan(args)?,
        moderation: None,
        tls,
        log,
    })
}

fn plan(args: &Args) -> Result<Plan, Failure> {
    let mut plan = match &args.faults {
        None => Plan::default(),
        Some(path) => read_plan(path).map_err(Failure::usage)?,
    };
    plan.seed = args.seed.unwrap_or(plan.seed);
    plan.latency = args.latency.unwrap_or(plan.latency);
    for chance in &args.fault_rate {
        plan = plan.with_chance(*chance).map_err(Failure::usage)?;
    }
    Ok(plan)
}

fn read_plan(path: &Path) -> anyhow::Result<Plan> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the fault plan `{}`", path.display()))?;
    Plan::parse(&text).with_context(|| format!("fault plan `{}`", path.display()))
}

/// Ends when the user or the system asks the process to end.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("cannot listen for signals")?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    })
}

fn announce(args: &Args, emulator: &Emulator) -> anyhow::Result<()> {
    if let Some(path) = &args.port_file {
        write_whole(path, emulator.address().port().to_string())
            .with_context(|| format!("cannot write the port to `{}`", path.display()))?;
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::json!({ "url": emulator.url() }))?;
    } else {
        writeln!(out, "listening on {}", emulator.url())?;
    }
    Ok(out.flush()?)
}

/// A log that cannot be written is no reason to stop serving.
fn print_line(json: bool, line: &Line) {
    let mut err = std::io::stderr().lock();
    let _ = if json {
        serde_json::to_string(line).map_err(std::io::Error::from).and_then(|text| writeln!(err, "{text}"))
    } else {
        writeln!(
            err,
            "{:>6} {:<11} {} {} {} {}{} {} pictures {:.1} ms",
            line.call.map_or("-".to_owned(), |call| call.to_string()),
            line.api,
            line.method,
            line.path,
            line.status.map_or("-".to_owned(), |status| status.to_string()),
            line.outcome,
            line.fault.map_or(String::new(), |fault| format!(" ({fault})")),
            line.pictures,
            line.ms
        )
    };
}

fn print_stats(json: bool, stats: &Stats) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        return Ok(json_line(&mut out, stats)?);
    }
    let total = &stats.total;
    writeln!(
        out,
        "{} calls with {} pictures in {:.1} s, {} of them billed; {} bytes in, {} bytes out; at most {} calls in a second",
        total.calls,
        total.pictures,
        stats.seconds,
        total.billed_pictures,
        total.bytes_in,
        total.bytes_out,
        stats.fullest_second
    )?;
    for (api, counts) in &stats.apis {
        writeln!(
            out,
            "  {api:<22} {} calls, {} pictures, {} billed",
            counts.calls, counts.pictures, counts.billed_pictures
        )?;
    }
    for (outcome, calls) in &total.outcomes {
        writeln!(out, "  {outcome:<22} {calls}")?;
    }
    for (fault, counts) in &total.faults {
        writeln!(
            out,
            "  fault {fault:<16} {} calls, {} pictures billed",
            counts.calls, counts.billed_pictures
        )?;
    }
    Ok(())
}
