//! `smoothgate providers`: whom one can ask, and whether they would answer.

use std::io::Write as _;

use anyhow::anyhow;
use clap::{Args as ClapArgs, Subcommand};
use serde::Serialize;
use smoothgate_providers::credentials::Environment;
use smoothgate_providers::transport::Probed;
use smoothgate_providers::{Endpoint as _, Format, Outcome, Price, Unrecorded};

use super::provider::{ConfigOption, ProviderOptions};
use super::{Ended, Exit, Failure, runtime};
use crate::config::{Config, Instance};
use crate::engine::encoded;
use crate::picture::Encoder;

/// Options of `providers`.
#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask a provider whether it accepts the credentials, without a picture and so without a price
    Check(CheckArgs),
}

#[derive(Debug, ClapArgs)]
struct CheckArgs {
    /// The instance or provider
    name: String,
    /// An option of the provider, over what the configuration says; may be given again
    #[arg(short = 'O', long = "option", value_name = "NAME=VALUE")]
    options: Vec<String>,
    /// Make one paid call with a grey picture, for a provider that has no free one
    #[arg(long)]
    pay: bool,
}

pub(super) fn run(args: &Args, config: &ConfigOption) -> Ended {
    let config = config.load()?;
    match &args.command {
        Some(Command::Check(args)) => check(args, &config),
        None => list(args.json, &config),
    }
}

/// One line of the list.
#[derive(Serialize)]
struct Line {
    name: String,
    kind: &'static str,
    title: &'static str,
    configured: bool,
    /// Are options and credentials complete?
    ready: bool,
    /// What the credentials are and where they come from, or what is missing.
    credentials: String,
    calls_per_minute: Option<u32>,
    pictures_per_minute: Option<u32>,
    /// US dollars as an exact decimal; `null` where it is not known.
    price: Option<String>,
    formats: Vec<&'static str>,
    max_bytes: Option<usize>,
    min_side: Option<u32>,
    max_side: Option<u32>,
    pictures_per_call: Option<usize>,
}

fn lines(config: &Config) -> Result<Vec<Line>, Failure> {
    let environment = Environment::process();
    let mut lines = vec![Line {
        name: "local".to_owned(),
        kind: "local",
        title: "Built-in classifier",
        configured: false,
        ready: true,
        credentials: "not needed".to_owned(),
        calls_per_minute: None,
        pictures_per_minute: None,
        price: Some("0".to_owned()),
        formats: vec!["png", "jpeg"],
        max_bytes: None,
        min_side: None,
        max_side: None,
        pictures_per_call: Some(1),
    }];
    for name in config.names() {
        let instance = config.instance(&name).map_err(Failure::usage)?;
        let configured = config.instances().iter().any(|own| own.name == name);
        lines.push(line(&instance, configured, &environment));
    }
    Ok(lines)
}

fn line(instance: &Instance, configured: bool, environment: &Environment) -> Line {
    let adapter = instance.adapter(environment);
    let credential = instance.credential(environment);
    let (ready, credentials) = match (&adapter, &credential) {
        (_, Err(error)) | (Err(error), Ok(_)) => (false, error.to_string()),
        (Ok(_), Ok(status)) => (true, format!("{} from {}", status.kind, status.source)),
    };
    let facts = instance.facts(environment);
    let provider = facts.as_ref().ok().map(|adapter| &adapter.provider);
    let limits = provider.map(|provider| provider.limits());
    let quota = instance.quota().or_else(|| provider.and_then(|provider| provider.quota()));
    let price = instance.transport.price.or_else(|| provider.map(|provider| provider.price()));
    Line {
        name: instance.name.clone(),
        kind: instance.registration.name,
        title: instance.registration.title,
        configured,
        ready,
        credentials,
        calls_per_minute: quota.map(|quota| quota.calls_per_minute),
        pictures_per_minute: quota.and_then(|quota| quota.pictures_per_minute),
        price: price.and_then(|price| price.of(1)).map(|each| each.dollars().to_string()),
        formats: limits.map(|l| l.formats.iter().map(|f| name_of(*f)).collect()).unwrap_or_default(),
        max_bytes: limits.map(|limits| limits.max_bytes),
        min_side: limits.map(|limits| limits.min_side),
        max_side: limits.map(|limits| limits.max_side),
        pictures_per_call: limits.map(|limits| limits.pictures_per_call),
    }
}

fn name_of(format: Format) -> &'static str {
    match format {
        Format::Png => "png",
        Format::Jpeg => "jpeg",
    }
}

fn list(json: bool, config: &Config) -> Ended {
    let lines = lines(config)?;
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &lines).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(Exit::Success);
    }
    let width = lines.iter().map(|line| line.name.len()).max().unwrap_or(0);
    writeln!(
        out,
        "{:width$}  {:<22}  {:>8}  {:>9}  {:>16}  {:>9}  credentials",
        "name", "provider", "price", "calls/min", "sides (pixels)", "most"
    )?;
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    for line in &lines {
        let price = match &line.price {
            Some(price) if price == "0" => "free".to_owned(),
            Some(price) => format!("${price}"),
            None => "unknown".to_owned(),
        };
        let sides = line.min_side.zip(line.max_side).map(|(min, max)| format!("{min} to {max}"));
        writeln!(
            out,
            "{:width$}  {:<22}  {price:>8}  {:>9}  {:>16}  {:>9}  {}",
            line.name,
            line.title,
            or_dash(line.calls_per_minute.map(|n| n.to_string())),
            or_dash(sides),
            or_dash(line.max_bytes.map(|n| format!("{:.1} MB", n as f64 / 1e6))),
            line.credentials,
        )?;
    }
    Ok(Exit::Success)
}

fn check(args: &CheckArgs, config: &Config) -> Ended {
    let name = &args.name;
    if name == "local" {
        tell!("local needs no credentials");
        return Ok(Exit::Success);
    }
    let options = ProviderOptions { provider: None, options: args.options.clone(), price: None };
    let instance = options.instance(config, name)?;
    let endpoint = instance.open(&Environment::process()).map_err(Failure::usage)?;
    let runtime = runtime()?;
    let status = endpoint.credential();
    let with = format!("{} from {}", status.kind, status.source);
    match runtime.block_on(endpoint.probe()).map_err(Failure::usage)? {
        Probed::Accepted => {
            tell!("{name} accepts the credentials ({with}); nothing was paid");
            Ok(Exit::Success)
        }
        Probed::Rejected { class, reason } => {
            Err(Failure::usage(anyhow!("{name} rejects the credentials ({with}): {class}: {reason}")))
        }
        Probed::Unclear { reason } => Err(Failure::internal(anyhow!(
            "{name} did not say whether it accepts the credentials ({with}): {reason}; try again"
        ))),
        Probed::WouldCost if !args.pay => {
            let price = match endpoint.describe().price {
                Price::Free => "which is free".to_owned(),
                price => {
                    price.of(1).map_or("at an unknown price".to_owned(), |each| format!("which costs {each}"))
                }
            };
            tell!(
                "{name}: credentials are there ({with}); whether they are accepted takes a call, {price}: add --pay"
            );
            Ok(Exit::Success)
        }
        Probed::WouldCost => {
            let side = endpoint.describe().limits.min_side.max(224);
            let grey = vec![0.5f32; 3 * (side * side) as usize];
            let picture = encoded(Encoder::Png, &grey, side, side).map_err(Failure::internal)?;
            match runtime.block_on(endpoint.ask(None, picture, &Unrecorded)).map_err(Failure::internal)? {
                Outcome::Answered(_) => {
                    tell!("{name} accepts the credentials ({with}) and answered one call");
                    Ok(Exit::Success)
                }
                other => Err(Failure::internal(anyhow!(
                    "{name} did not answer ({with}): {}: {}",
                    other.class(),
                    other.reason().unwrap_or_default()
                ))),
            }
        }
    }
}
