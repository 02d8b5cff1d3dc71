//! `smoothgate keys issue | list | change | revoke`: the keys of those who call the proxy.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::SystemTime;

use anyhow::anyhow;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use smoothgate_providers::Money;
use smoothgate_providers::credentials::{Environment, SecretSource};

use super::{Ended, Exit, Failure};
use crate::proxy::access::{
    Cap, KeyFile, KeyId, Master, Proof, Rate, Record, Routes, State, StoreError, Time, TokenHash,
};

/// Commands about keys of callers.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a key for someone who calls `serve`; its secret is shown this once
    Issue(IssueArgs),
    /// The keys of callers: who, what for, until when
    List(ListArgs),
    /// Change what a key may do; a running server sees it within a second
    Change(ChangeArgs),
    /// Take keys back for good; a running server sees it within a second
    Revoke(RevokeArgs),
}

/// Where keys are kept.
#[derive(Debug, clap::Args)]
pub(super) struct KeysPath {
    /// The file of keys
    #[arg(long, value_name = "FILE", env = "SMOOTHGATE_KEYS", default_value = "smoothgate-keys.json")]
    pub(super) keys: PathBuf,
}

/// Where the master secret is kept.
#[derive(Debug, clap::Args)]
pub(super) struct MasterPlace {
    /// The master secret that AWS pairs follow from: `env::NAME` or `file::PATH` [default: the file beside the keys, ending
    /// in `.master`]
    #[arg(long, value_name = "PLACE")]
    master: Option<String>,
}

/// Where the master is where nothing else is said.
pub(super) fn beside_keys(keys: &Path) -> PathBuf {
    keys.with_extension("master")
}

impl MasterPlace {
    /// Read here and not by the parser of arguments, which would repeat a text that may be the secret itself.
    fn place(&self, keys: &Path) -> Result<SecretSource, Failure> {
        match &self.master {
            None => Ok(SecretSource::File(beside_keys(keys))),
            Some(text) => text.parse().map_err(|error| Failure::usage(anyhow!("--master: {error}"))),
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct IssueArgs {
    /// Whom it is for, in your words
    name: String,
    /// A key pair for clients that sign as AWS' do, instead of a token
    #[arg(long)]
    aws: bool,
    /// The routes that it may use, or patterns of them
    #[arg(long = "route", value_name = "ROUTE", value_delimiter = ',', default_value = "*")]
    routes: Vec<String>,
    /// Most requests: `10/s`, `60/m`, `1000/h` or `5000/d`
    #[arg(long)]
    rate: Option<Rate>,
    /// Most calls that may be made for it upstream, retries included
    #[arg(long, value_name = "N")]
    max_calls: Option<u64>,
    /// Most that may be spent for it upstream, for instance `5.00USD`
    #[arg(long, value_name = "AMOUNT")]
    max_cost: Option<Money>,
    /// When it ends: a day, a time in UTC, or how long from now (`90d`)
    #[arg(long, value_name = "WHEN")]
    expires: Option<When>,
    #[command(flatten)]
    place: KeysPath,
    #[command(flatten)]
    master: MasterPlace,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    place: KeysPath,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// Another name
    #[arg(long)]
    name: Option<String>,
    /// Other routes
    #[arg(long = "route", value_name = "ROUTE", value_delimiter = ',')]
    routes: Option<Vec<String>>,
    /// Another rate, or `none`
    #[arg(long)]
    rate: Option<Setting<Rate>>,
    /// Another budget in calls, or `none`
    #[arg(long, value_name = "N")]
    max_calls: Option<Setting<u64>>,
    /// Another budget in money, or `none`
    #[arg(long, value_name = "AMOUNT")]
    max_cost: Option<Setting<Money>>,
    /// Another end, or `none`
    #[arg(long, value_name = "WHEN")]
    expires: Option<Setting<When>>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ChangeArgs {
    /// The key
    id: String,
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    place: KeysPath,
}

#[derive(Debug, clap::Args)]
pub(super) struct RevokeArgs {
    /// The keys
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    place: KeysPath,
}

/// A key by its id, in either form. The text is not repeated: it may be a whole token.
fn named(text: &str) -> Result<KeyId, Failure> {
    KeyId::from_aws(text).map_or_else(|| text.parse(), Ok).map_err(Failure::usage)
}

/// A time, or a span from now.
#[derive(Clone, Copy, Debug)]
struct When(Time);

impl FromStr for When {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Ok(span) = humantime::parse_duration(text) {
            let at = SystemTime::now().checked_add(span).ok_or_else(|| anyhow!("that is too far off"))?;
            return Ok(Self(Time::of(at)));
        }
        text.parse().map(Self).map_err(|error| anyhow!("{error}, or a span from now (90d)"))
    }
}

/// A value, or none.
#[derive(Clone, Copy, Debug)]
struct Setting<T>(Option<T>);

impl<T: FromStr> FromStr for Setting<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text == "none" { Ok(Self(None)) } else { text.parse().map(|value| Self(Some(value))) }
    }
}

pub(super) fn run(command: &Command) -> Ended {
    let mut out = std::io::stdout().lock();
    match command {
        Command::Issue(args) => issue(&mut out, args)?,
        Command::List(args) => list(&mut out, args)?,
        Command::Change(args) => change(&mut out, args)?,
        Command::Revoke(args) => revoke(&mut out, args)?,
    }
    Ok(Exit::Success)
}

/// Mostly the operator's to mend.
fn failed(error: StoreError) -> Failure {
    match &error {
        StoreError::Entropy(_) => Failure::internal(error),
        _ => Failure::usage(error),
    }
}

fn issue(out: &mut impl Write, args: &IssueArgs) -> Result<(), Failure> {
    let id = KeyId::fresh().map_err(failed)?;
    let master =
        if args.aws { Some(master(&args.master.place(&args.place.keys)?, &args.place.keys)?) } else { None };
    let (secret, proof) = match &master {
        Some(master) => (master.secret(id), Proof::Aws),
        None => TokenHash::fresh(id).map(|(token, hash)| (token, Proof::Token(hash))).map_err(failed)?,
    };
    let key = Record {
        id,
        name: args.name.clone(),
        proof,
        routes: Routes::of(&args.routes).map_err(Failure::usage)?,
        rate: args.rate,
        budget: Cap { calls: args.max_calls, cost: args.max_cost },
        created: Time::of(SystemTime::now()),
        expires: args.expires.map(|when| when.0),
        revoked: None,
    };
    let add = |file: &mut KeyFile| {
        if let Some(master) = &master {
            file.adopt(&args.place.keys, master)?;
        }
        file.add(key.clone())
    };
    // First on record, then shown: a key that was shown is one.
    KeyFile::change(&args.place.keys, add).map_err(failed)?;
    print_issued(out, &key, &secret, args.json)
}

fn print_issued(
    out: &mut impl Write,
    key: &Record,
    secret: &SecretString,
    json: bool,
) -> Result<(), Failure> {
    let secret = secret.expose_secret();
    if json {
        let mut shown = shown(key);
        match key.proof {
            Proof::Token(_) => shown["token"] = secret.into(),
            Proof::Aws => {
                shown["access_key_id"] = key.id.for_aws().into();
                shown["secret_access_key"] = secret.into();
            }
        }
        return Ok(writeln!(out, "{shown}")?);
    }
    writeln!(out, "key {} for {}: {}", key.id, key.name, Terms(key))?;
    match key.proof {
        Proof::Token(_) => writeln!(out, "{secret}")?,
        Proof::Aws => {
            writeln!(out, "AWS_ACCESS_KEY_ID={}\nAWS_SECRET_ACCESS_KEY={secret}", key.id.for_aws())?;
        }
    }
    Ok(writeln!(out, "It is not shown again.")?)
}

/// The master, which is made where its file is not there yet and no pair has been made with another.
fn master(place: &SecretSource, keys: &Path) -> Result<Master, Failure> {
    if let SecretSource::File(path) = place
        && !path.exists()
    {
        let file = KeyFile::read(keys);
        if file.is_ok_and(|file| file.needs_master()) {
            let what = format!(
                "`{}` is not there, and the AWS pairs in `{}` need it: name it with --master",
                path.display(),
                keys.display()
            );
            return Err(Failure::usage(anyhow!(what)));
        }
        return Master::create(path).map_err(failed);
    }
    Master::read(place, &Environment::process()).map_err(failed)
}

fn list(out: &mut impl Write, args: &ListArgs) -> Result<(), Failure> {
    let file =
        if args.place.keys.exists() { KeyFile::read(&args.place.keys) } else { Ok(KeyFile::default()) };
    let file = file.map_err(failed)?;
    if args.json {
        let keys: Vec<_> = file.keys().iter().map(shown).collect();
        return Ok(writeln!(out, "{}", json!(keys))?);
    }
    if file.keys().is_empty() {
        return Ok(writeln!(out, "no keys in {}", args.place.keys.display())?);
    }
    writeln!(out, "{:<16}  {:<5}  {:<7}  {:<20}  terms", "id", "kind", "state", "name")?;
    let now = SystemTime::now();
    for key in file.keys() {
        writeln!(
            out,
            "{:<16}  {:<5}  {:<7}  {:<20}  {}",
            key.id,
            key.proof.kind(),
            key.state(now).name(),
            key.name,
            Terms(key)
        )?;
    }
    Ok(())
}

fn change(out: &mut impl Write, args: &ChangeArgs) -> Result<(), Failure> {
    let Changes { name, routes, rate, max_calls, max_cost, expires } = &args.changes;
    let routes = routes.as_deref().map(Routes::of).transpose().map_err(Failure::usage)?;
    let id = named(&args.id)?;
    let changed = KeyFile::change(&args.place.keys, |file| {
        let key = file.key_mut(id)?;
        if key.revoked.is_some() {
            return Err(StoreError::Revoked(key.id));
        }
        if let Some(name) = name {
            key.name.clone_from(name);
        }
        key.routes = routes.clone().unwrap_or_else(|| key.routes.clone());
        key.rate = rate.map_or(key.rate, |setting| setting.0);
        key.budget.calls = max_calls.map_or(key.budget.calls, |setting| setting.0);
        key.budget.cost = max_cost.map_or(key.budget.cost, |setting| setting.0);
        key.expires = expires.map_or(key.expires, |setting| setting.0.map(|when| when.0));
        Ok(key.clone())
    });
    let key = changed.map_err(failed)?;
    Ok(writeln!(out, "key {} for {}: {}", key.id, key.name, Terms(&key))?)
}

fn revoke(out: &mut impl Write, args: &RevokeArgs) -> Result<(), Failure> {
    let now = Time::of(SystemTime::now());
    let ids = args.ids.iter().map(|id| named(id)).collect::<Result<Vec<KeyId>, Failure>>()?;
    let revoked = KeyFile::change(&args.place.keys, |file| {
        // All of them or none.
        for id in &ids {
            file.key(*id)?;
        }
        let revoke = |id: &KeyId| {
            let key = file.key_mut(*id)?;
            key.revoked = key.revoked.or(Some(now));
            Ok(key.clone())
        };
        ids.iter().map(revoke).collect::<Result<Vec<Record>, StoreError>>()
    });
    for key in revoked.map_err(failed)? {
        writeln!(out, "key {} for {}: revoked {}", key.id, key.name, key.revoked.unwrap_or(now))?;
    }
    Ok(())
}

/// A key without what proves it.
fn shown(key: &Record) -> serde_json::Value {
    let Record { id, name, proof, routes, rate, budget, created, expires, revoked } = key;
    json!({
        "id": id,
        "name": name,
        "kind": proof.kind(),
        "state": key.state(SystemTime::now()).name(),
        "routes": routes,
        "rate": rate,
        "max_calls": budget.calls,
        "max_cost": budget.cost.map(|cost| format!("{}USD", cost.dollars())),
        "created": created,
        "expires": expires,
        "revoked": revoked,
    })
}

/// What a key may do, in one line.
struct Terms<'a>(&'a Record);

impl fmt::Display for Terms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { routes, rate, budget, expires, .. } = self.0;
        write!(f, "routes {routes}")?;
        if let Some(rate) = rate {
            write!(f, ", {rate}")?;
        }
        if let Some(calls) = budget.calls {
            write!(f, ", at most {calls} calls")?;
        }
        if let Some(cost) = budget.cost {
            write!(f, ", at most {cost}")?;
        }
        match (self.0.state(SystemTime::now()), expires) {
            (State::Revoked(at), _) => write!(f, ", revoked {at}"),
            (State::Expired(at), _) => write!(f, ", expired {at}"),
            (State::Active, Some(at)) => write!(f, ", until {at}"),
            (State::Active, None) => Ok(()),
        }
    }
}
