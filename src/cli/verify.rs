//! `smoothgate verify`: what holds of a certificate.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use serde::Serialize;
use smoothgate_denoisers::Device;

use super::inputs::Input;
use super::ledger::LedgerPath;
use super::options::denoiser_of;
use super::output::{json_line, printable};
use super::provider::ConfigOption;
use super::{Ended, Exit, Failure, runtime};
use crate::certificate::{Check, PublicKey, Recorded, Verdict, Verification, canonical};
use crate::ledger::Reader;
use crate::picture::Limits;

/// Options of `verify`.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Certificate documents, or `-` for standard input
    #[arg(required = true, value_name = "CERT")]
    certificates: Vec<PathBuf>,
    /// The picture's file: is it the picture that was certified?
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Must be signed by this key: a file (from `smoothgate keys public`) or 64 hexadecimal digits
    #[arg(long, value_name = "FILE|HEX")]
    public_key: Option<String>,
    /// Make the noisy, denoised and encoded copies of the picture again and compare their hash
    #[arg(long, requires = "picture")]
    redraw: bool,
    /// The denoiser for --redraw, where it came from a file: that file; default: the built-in one with the
    /// certificate's hash
    #[arg(long, value_name = "NAME|FILE", requires = "redraw")]
    denoiser: Option<String>,
    /// Where that denoiser runs: `auto`, `cpu`, `cuda:N` or `metal`
    #[arg(long, default_value = "auto", requires = "redraw")]
    device: Device,
    /// Compare the settings with those of the run on record, and every vote with its answer there: in the ledger that the
    /// configuration names, or in this file (`--ledger=FILE`)
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    ledger: Option<Vec<PathBuf>>,
    /// Print one JSON object a certificate
    #[arg(long)]
    json: bool,
}

/// The machine-readable result. The names are an interface: fields may be added.
#[derive(Serialize)]
struct Line<'a> {
    certificate: String,
    holds: bool,
    statement: Option<&'a str>,
    checks: &'a [Check],
}

pub(super) fn run(args: &Args, config: &ConfigOption) -> Ended {
    let key = args.public_key.as_deref().map(PublicKey::load).transpose().map_err(Failure::usage)?;
    let limits = Limits::default();
    let picture = args.picture.clone().map(|path| Input::File(path).read(&limits)).transpose();
    let picture = picture.map_err(Failure::usage)?;
    let ledger = args.ledger.as_deref().map(|file| open_ledger(file, config)).transpose()?;
    let mut exit = Exit::Success;
    let about_one = |documents: usize| {
        let several = anyhow::anyhow!("--picture is about one certificate: give one CERT");
        if args.picture.is_some() && documents > 1 { Err(Failure::usage(several)) } else { Ok(()) }
    };
    about_one(args.certificates.len())?;
    for path in &args.certificates {
        let bytes = read(path).map_err(Failure::usage)?;
        let path = path.display();
        let each = documents_of(&bytes);
        about_one(each.len())?;
        for (number, document) in each.iter().enumerate() {
            let name = if each.len() == 1 { path.to_string() } else { format!("{path}:{}", number + 1) };
            exit =
                exit.max(verify(args, &name, document, key.as_ref(), picture.as_deref(), ledger.as_ref())?);
        }
    }
    Ok(exit)
}

/// The documents of a file: one, or one a line as `runs export --format certificates` writes them.
fn documents_of(bytes: &[u8]) -> Vec<&[u8]> {
    // With its end, which is part of a document.
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let lines: Vec<&[u8]> = lines.filter(|line| !line.trim_ascii().is_empty()).collect();
    let whole = |line: &&[u8]| line.starts_with(b"{") && line.trim_ascii_end().ends_with(b"}");
    if lines.len() > 1 && lines.iter().all(whole) { lines } else { vec![bytes] }
}

/// Checks one document and prints what came of it.
fn verify(
    args: &Args,
    name: &str,
    document: &[u8],
    key: Option<&PublicKey>,
    picture: Option<&[u8]>,
    ledger: Option<&Reader>,
) -> Ended {
    let mut verification = Verification::of(document);
    if let Some(key) = key {
        verification.signed_by(key);
    }
    if let Some(picture) = picture {
        verification.picture(picture);
        if args.redraw {
            redraw(args, &mut verification, picture)?;
        }
    }
    if let Some(ledger) = ledger {
        answers(ledger, &mut verification)?;
    }
    print(name, &verification, args.json).map_err(Failure::internal)?;
    Ok(if verification.holds() { Exit::Success } else { Exit::Abstained })
}

fn redraw(args: &Args, verification: &mut Verification, picture: &[u8]) -> Result<(), Failure> {
    let Some(certificate) = verification.certificate() else { return Ok(()) };
    let denoiser = denoiser_of(&certificate.denoiser, args.denoiser.as_deref(), args.device)?;
    let runtime = runtime()?;
    runtime.block_on(verification.redraw(picture, &denoiser));
    Ok(())
}

/// The ledger in this file; without one the ledger that `certify` uses.
fn open_ledger(file: &[PathBuf], config: &ConfigOption) -> Result<Reader, Failure> {
    let ledger = file.first().cloned();
    let path = LedgerPath { ledger }.path(&config.load()?)?;
    Reader::open(path).map_err(Failure::ledger)
}

/// Finds the picture by the seed of its draws, which no other has; every run that drew on it with a seed that the user chose.
fn answers(ledger: &Reader, verification: &mut Verification) -> Result<(), Failure> {
    let Some(seed) = verification.certificate().map(|certificate| *certificate.noise.seed.as_bytes()) else {
        return Ok(());
    };
    let Some(hash) = verification.certificate().map(|certificate| certificate.picture.hash.clone()) else {
        return Ok(());
    };
    let mut found = Vec::new();
    for run in ledger.runs().map_err(Failure::ledger)? {
        let mut of_run = Vec::new();
        let each = ledger.stored(run.id, |_, parameters, stored_seed, stored| {
            // A seed that the user chose may belong to several pictures. One without draws may be the certificate's: there was
            // no label to ask about, or the answers were overwritten.
            if *stored_seed == seed && parameters.value()["hash"].as_str() == Some(&hash) {
                of_run.push(stored);
            }
        });
        each.map_err(Failure::ledger)?;
        if !of_run.is_empty() {
            let parameters = ledger.parameters(run.id).map_err(Failure::ledger)?.value();
            found.extend(of_run.into_iter().map(|stored| (parameters.clone(), stored)));
        }
    }
    verification.answers(found.iter().map(|(parameters, stored)| Recorded {
        seed: &seed,
        parameters,
        stored,
    }));
    Ok(())
}

/// A file with several documents is at most as long as this many of the longest.
const DOCUMENTS: u64 = 8;

/// All that a file holds.
///
/// # Errors
/// A file that cannot be read, or is longer than is read of one: what lay behind would not be checked.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let longest = DOCUMENTS * canonical::MAX_BYTES as u64;
    let most = longest + 1;
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().lock().take(most).read_to_end(&mut bytes).context("cannot read standard input")?;
    } else if path.is_dir() {
        bail!("`{}` is a folder: give certificate documents, for instance `{0}/*.json`", path.display());
    } else {
        let file = std::fs::File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
        file.take(most)
            .read_to_end(&mut bytes)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
    }
    if bytes.len() as u64 > longest {
        bail!("`{}` has more than {longest} bytes: give its documents in several files", path.display());
    }
    Ok(bytes)
}

fn print(name: &str, verification: &Verification, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let holds = verification.holds();
    let statement = verification.certificate().map(|certificate| certificate.statement.as_str());
    if json {
        let line = Line { certificate: name.to_owned(), holds, statement, checks: verification.checks() };
        return json_line(&mut out, &line);
    }
    writeln!(out, "{name}")?;
    for check in verification.checks() {
        let verdict = match check.verdict {
            Verdict::Holds => "holds",
            Verdict::Fails => "FAILS",
            Verdict::NotChecked => "-",
        };
        writeln!(out, "  {:<15}  {verdict:<5}  {}", check.name, printable(&check.says))?;
    }
    match (holds, statement) {
        (true, Some(statement)) => writeln!(out, "It holds. {}", printable(statement)),
        _ => writeln!(out, "It does not hold: do not rely on it."),
    }
}
