//! `smoothgate bench`: how fast the local half is on this machine.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde::Serialize;
use smoothgate_denoisers::{Batch, Denoiser, Device, Precision, open, speed};

use super::options::DenoiserOptions;
use super::output::json_line;
use super::provider::ConfigOption;
use super::{Ended, Exit, Failure};
use crate::picture::{Limits, WorkingSize};
use crate::units::Sigma;

/// What to measure.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Time a picture takes, operations a second beside the most that this machine can do, and memory
    Denoiser(DenoiserArgs),
}

/// Options of `bench denoiser`.
#[derive(Debug, clap::Args)]
pub(super) struct DenoiserArgs {
    #[command(flatten)]
    denoiser: DenoiserOptions,
    /// Size of the pictures: `N` (N by N) or `WxH`
    #[arg(long, value_name = "N|WxH", default_value = "224")]
    size: WorkingSize,
    /// Pictures at once
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = humantime::parse_duration)]
    time: Duration,
    /// Standard deviation of the noise that the denoiser is told
    #[arg(long, default_value = "0.25")]
    sigma: Sigma,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The result. The names are an interface: fields may be added.
#[derive(Serialize)]
struct Line {
    denoiser: String,
    /// Of architecture, weights and precision: what certificates record.
    hash: String,
    /// What the kernels are made of; absent where they are not our own.
    instructions: Option<&'static str>,
    threads: usize,
    width: usize,
    height: usize,
    batch: usize,
    /// Calls that were measured.
    rounds: usize,
    ms_per_picture: f64,
    ms_fastest: f64,
    ms_slowest: f64,
    /// Of direct convolution, for one picture, in units of 1e9; absent for what is no network.
    gflop_per_picture: Option<f64>,
    gflop_per_second: Option<f64>,
    /// Measured between the rounds, in the same units; absent on a GPU.
    peak_gflop_per_second: Option<f64>,
    /// Of the peak: the median over the rounds. May be more than 1, for Winograd's algorithm multiplies less than is counted.
    share_of_peak: Option<f64>,
    /// What weights, features and pictures took at most; absent where the system does not say.
    peak_memory_bytes: Option<u64>,
    /// What of it loading the denoiser took at most.
    load_memory_bytes: Option<u64>,
}

pub(super) fn run(command: &Command, config: &ConfigOption) -> Ended {
    let Command::Denoiser(args) = command;
    let (width, height) = match args.size {
        WorkingSize::Square(side) => (side as usize, side as usize),
        WorkingSize::Exact { width, height } => (width as usize, height as usize),
        WorkingSize::Native => {
            return Err(Failure::usage(anyhow::anyhow!(
                "--size: give a size, `N` or `WxH`: there is no picture here"
            )));
        }
    };
    let most = Limits::default().max_working_pixels;
    if width as u64 * height as u64 > most {
        return Err(Failure::usage(anyhow::anyhow!(
            "--size: {width}x{height} are more than the {most} pixels of the largest picture that is worked on"
        )));
    }
    let defaults = config.load()?.defaults;
    let (name, options) = args.denoiser.choice(&defaults);
    let before = memory::start();
    let mut denoiser = open(&name, &options).map_err(Failure::usage)?;
    let loaded = before.and_then(memory::since);
    let on_processor = match options.device {
        Device::Cpu => true,
        Device::Auto => Device::present() == [Device::Cpu],
        Device::Cuda(_) | Device::Metal => false,
    };
    let measured = measure(args, &mut *denoiser, (height, width), on_processor.then_some(options.precision))?;
    let operations = denoiser.operations(height, width).map(|operations| operations * 1e-9);
    let middle = median(measured.iter().map(|round| round.ms)).unwrap_or(f64::NAN);
    let line = Line {
        denoiser: denoiser.id().label().to_owned(),
        hash: denoiser.id().hash().to_hex().to_string(),
        instructions: operations.filter(|_| on_processor).map(|_| speed::instructions(options.precision)),
        threads: rayon::current_num_threads(),
        width,
        height,
        batch: usize::from(args.batch),
        rounds: measured.len(),
        ms_per_picture: middle,
        ms_fastest: measured.iter().map(|round| round.ms).fold(f64::INFINITY, f64::min),
        ms_slowest: measured.iter().map(|round| round.ms).fold(0.0, f64::max),
        gflop_per_picture: operations,
        gflop_per_second: operations.map(|operations| operations / middle * 1e3),
        peak_gflop_per_second: operations
            .and_then(|_| median(measured.iter().filter_map(|round| round.peak))),
        share_of_peak: operations.and_then(|operations| {
            median(measured.iter().filter_map(|round| Some(operations / round.ms * 1e3 / round.peak?)))
        }),
        peak_memory_bytes: before.and_then(memory::since),
        load_memory_bytes: loaded,
    };
    print(&line, args.json)?;
    Ok(Exit::Success)
}

/// One call.
struct Round {
    /// A picture.
    ms: f64,
    /// Of the machine, before and after.
    peak: Option<f64>,
}

/// Calls until the time is over, at least three, after one that warms up; the machine's peak is measured between them.
fn measure(
    args: &DenoiserArgs,
    denoiser: &mut dyn Denoiser,
    (height, width): (usize, usize),
    precision: Option<Precision>,
) -> Result<Vec<Round>, Failure> {
    let count = usize::from(args.batch);
    let values = (0..count * 3 * height * width).map(|i| (i * 37 % 101) as f32 / 100.0);
    let batch = Batch::new(values.collect(), count, height, width).map_err(Failure::usage)?;
    let mut call = || {
        let batch = batch.clone();
        let start = Instant::now();
        let result = denoiser.denoise(batch, args.sigma.get());
        result.map(|_| start.elapsed().as_secs_f64() * 1e3 / count as f64).map_err(Failure::internal)
    };
    call()?;
    let start = Instant::now();
    let mut rounds = Vec::new();
    let mut before = precision.map(speed::peak);
    while rounds.len() < 3 || start.elapsed() < args.time {
        let ms = call()?;
        let after = precision.map(speed::peak);
        let peak = before.zip(after).map(|(before, after)| f64::midpoint(before, after));
        rounds.push(Round { ms, peak });
        before = after;
    }
    Ok(rounds)
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn print(line: &Line, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        return json_line(&mut out, line);
    }
    writeln!(out, "{}@{}", line.denoiser, line.hash)?;
    let on = line.instructions.map(|on| format!(" with {on}")).unwrap_or_default();
    writeln!(
        out,
        "  pictures of {}x{}, {} at once, {} threads{on}",
        line.width, line.height, line.batch, line.threads
    )?;
    writeln!(
        out,
        "  {:.3} ms a picture ({:.3} to {:.3}, {} rounds)",
        line.ms_per_picture, line.ms_fastest, line.ms_slowest, line.rounds
    )?;
    if let (Some(each), Some(rate)) = (line.gflop_per_picture, line.gflop_per_second) {
        writeln!(out, "  {rate:.0} GFLOP/s, {each:.2} GFLOP a picture")?;
    }
    if let (Some(peak), Some(share)) = (line.peak_gflop_per_second, line.share_of_peak) {
        writeln!(
            out,
            "  {:.0} % of the peak of {peak:.0} GFLOP/s that was measured between the rounds{}",
            share * 100.0,
            if share > 1.0 {
                " (operations are counted as in direct convolution; Winograd's does fewer)"
            } else {
                ""
            }
        )?;
    }
    if let Some(bytes) = line.peak_memory_bytes {
        let megabytes = |bytes: u64| bytes as f64 * 1e-6;
        let loading =
            line.load_memory_bytes.map(|loaded| format!(", {:.1} MB to load it", megabytes(loaded)));
        writeln!(out, "  {:.1} MB of memory at most{}", megabytes(bytes), loading.unwrap_or_default())?;
    }
    Ok(())
}

/// What Linux says about this process.
mod memory {
    use std::fs;

    /// Forgets the most that was used so far; gives what is used now.
    pub(super) fn start() -> Option<u64> {
        fs::write("/proc/self/clear_refs", "5").ok()?;
        field("VmRSS:")
    }

    /// The most that was used since, beyond what was used then.
    pub(super) fn since(start: u64) -> Option<u64> {
        Some(field("VmHWM:")?.saturating_sub(start))
    }

    fn field(name: &str) -> Option<u64> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find(|line| line.starts_with(name))?;
        let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kilobytes * 1024)
    }
}
