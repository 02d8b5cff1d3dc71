//! Milliseconds a picture, beside other engines in the same run.
//!
//! ```sh
//! cargo bench -p smoothgate-denoisers --bench denoise -- --rounds 9 \
//!     --peer "onnxruntime=python benches/peer.py onnxruntime"
//! ```
//! Engines take turns, forwards and backwards, so that a change of the clock or of the machine's load meets all of them. Printed are
//! medians over the rounds, the range, and for each peer the median over the rounds of our time divided by its time, with its range. A peer
//! is a program that reads lines `NETWORK COUNT HEIGHT WIDTH` and answers each with the milliseconds that one call took. Between two engines
//! nothing happens for `--pause 150` milliseconds: some engines' threads wait for their next work by spinning, which the next engine would pay.
//!
//! On a machine that has other work, `--cpu-time` counts the processor's time instead of the clock's (set `RAYON_NUM_THREADS=1` and give
//! the peers `cpu 1` as arguments: waiting threads count too).
//!
//! The network `train` is a training step of `dncnn`: forward, back, and Adam, with the mean squared error.
//!
//! `--bf16` adds our own kernels in that precision, `--candle` adds stock Candle. `--case dncnn:1x224x224` (may be repeated) chooses cases. The networks have random weights, which
//! change no timing: `dncnn` is DnCNN-17 for colour with 64 channels, `unet` the built-in `photo`.
#![expect(clippy::print_stdout, reason = "the table is what it is run for")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::{
    env, fmt,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use cpu_time::ProcessTime;
use safetensors::{Dtype, tensor::TensorView};
use smoothgate_denoisers::{
    Batch, Denoiser, Device, Engine, Options, Precision, open,
    training::{Adam, Learner, mean_squared_error},
};

const CASES: [&str; 8] = [
    "dncnn:1x224x224",
    "unet:1x224x224",
    "dncnn:16x224x224",
    "unet:16x224x224",
    "dncnn:64x32x32",
    "unet:64x32x32",
    "train:64x32x32",
    "train:16x64x64",
];

struct Case {
    network: String,
    shape: [usize; 3],
}

impl Case {
    fn parse(text: &str) -> Self {
        let (network, shape) = text.split_once(':').unwrap();
        let shape: Vec<usize> = shape.split('x').map(|n| n.parse().unwrap()).collect();
        Self { network: network.into(), shape: shape.try_into().unwrap() }
    }

    /// Multiplications and additions of direct convolution for one picture, in units of 1e9.
    fn gflop(&self) -> f64 {
        let pixels = (self.shape[1] * self.shape[2]) as f64;
        let multiplications = if self.network == "unet" {
            let fine = f64::from(9 * (13 * 48 + 8 * 48 * 48 + 48 * 12) + 2 * 48 * 96);
            let middle = f64::from(9 * 8 * 96 * 96 + 2 * 96 * 128);
            let coarse = f64::from(9 * 8 * 128 * 128);
            fine / 4.0 + middle / 16.0 + coarse / 64.0
        } else {
            let passes = if self.network == "train" { 3 } else { 1 };
            f64::from(passes * 9 * (3 * 64 + 15 * 64 * 64 + 64 * 3))
        };
        2e-9 * multiplications * pixels
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.network, self.shape[0], self.shape[1], self.shape[2])
    }
}

enum Contestant {
    Here(Box<dyn Denoiser>, Batch),
    Learner(Box<Learner>, Adam, Batch),
    Peer(Peer),
}

struct Peer {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(command: &str) -> Self {
        let mut words = command.split_whitespace();
        let mut process = Command::new(words.next().unwrap())
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, input, output: BufReader::new(output) }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Contestant {
    /// Milliseconds of one call.
    fn time(&mut self, case: &Case, cpu_time: bool) -> f64 {
        match self {
            Self::Here(denoiser, batch) => {
                let batch = batch.clone();
                measure(cpu_time, || denoiser.denoise(batch, 0.25).unwrap())
            }
            Self::Learner(learner, adam, batch) => {
                let (noisy, sigma) = (batch.clone(), vec![0.25; batch.count()]);
                measure(cpu_time, || {
                    let result = learner.forward(noisy, &sigma).unwrap();
                    let (_, gradient) = mean_squared_error(&result, batch).unwrap();
                    learner.backward(&gradient).unwrap();
                    adam.step(learner, 1e-4);
                })
            }
            Self::Peer(peer) => {
                writeln!(peer.input, "{case}").unwrap();
                let mut line = String::new();
                peer.output.read_line(&mut line).unwrap();
                line.trim().parse().unwrap()
            }
        }
    }
}

/// Milliseconds of a call, its result's destruction not counted.
fn measure<T>(cpu_time: bool, call: impl FnOnce() -> T) -> f64 {
    let (clock, processor) = (Instant::now(), ProcessTime::now());
    let result = call();
    let time = if cpu_time { processor.elapsed() } else { clock.elapsed() };
    drop(result);
    time.as_secs_f64() * 1e3
}

/// DnCNN-17 with weights that keep the variance.
fn write_dncnn(path: &Path) {
    let mut state = 1_u32;
    let channels: Vec<usize> = std::iter::once(3).chain([64; 16]).chain([3]).collect();
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = channels
        .windows(2)
        .enumerate()
        .flat_map(|(i, io)| {
            let scale = (6.0 / (9 * io[0]) as f32).sqrt();
            let mut bytes = |count: usize, scale: f32| -> Vec<u8> {
                let mut next = || {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    scale * ((state >> 8) as f32 / (1 << 23) as f32 - 1.0)
                };
                (0..count).flat_map(|_| next().to_le_bytes()).collect()
            };
            let name = format!("dncnn.{}", 2 * i);
            [
                (format!("{name}.weight"), vec![io[1], io[0], 3, 3], bytes(9 * io[0] * io[1], scale)),
                (format!("{name}.bias"), vec![io[1]], bytes(io[1], 0.01)),
            ]
        })
        .collect();
    let views = tensors.iter().map(|(n, s, b)| (n, TensorView::new(Dtype::F32, s.clone(), b).unwrap()));
    safetensors::serialize_to_file(views, None, path).unwrap();
}

/// The least, the median and the most.
fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

fn main() {
    let (mut rounds, mut candle, mut bf16, mut cpu_time) = (7, false, false, false);
    let mut pause = Duration::from_millis(150);
    let (mut peers, mut cases) = (vec![], vec![]);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().unwrap().parse().unwrap(),
            "--pause" => pause = Duration::from_millis(arguments.next().unwrap().parse().unwrap()),
            "--candle" => candle = true,
            "--bf16" => bf16 = true,
            "--cpu-time" => cpu_time = true,
            "--peer" => peers.push(arguments.next().unwrap()),
            "--case" => cases.push(arguments.next().unwrap()),
            // Cargo's own.
            _ => {}
        }
    }
    if cases.is_empty() {
        cases = CASES.map(String::from).to_vec();
    }
    let folder = tempfile::tempdir().unwrap();
    let dncnn = folder.path().join("dncnn.safetensors");
    write_dncnn(&dncnn);
    println!("{} threads", rayon::current_num_threads());
    for case in cases.iter().map(|c| Case::parse(c)) {
        let [count, height, width] = case.shape;
        let mut contestants = Vec::new();
        let mut here = |name: &str, engine, precision| {
            let mut options = Options::on(Device::Cpu);
            options.engine = engine;
            options.precision = precision;
            let model = if case.network == "unet" { "photo" } else { dncnn.to_str().unwrap() };
            let values = (0..count * 3 * height * width).map(|i| (i * 37 % 101) as f32 / 100.0);
            let batch = Batch::new(values.collect(), count, height, width).unwrap();
            let contestant = if case.network == "train" {
                Contestant::Learner(Box::new(Learner::open(model).unwrap()), Adam::default(), batch)
            } else {
                Contestant::Here(open(model, &options).unwrap(), batch)
            };
            contestants.push((name.to_owned(), contestant));
        };
        here("own", Engine::Own, Precision::F32);
        if bf16 && case.network != "train" {
            here("own-bf16", Engine::Own, Precision::Bf16);
        }
        if candle && case.network != "train" {
            here("candle", Engine::Candle, Precision::F32);
        }
        let ours = contestants.len();
        for peer in &peers {
            let (name, command) = peer.split_once('=').unwrap();
            contestants.push((name.to_owned(), Contestant::Peer(Peer::start(command))));
        }
        let mut times: Vec<Vec<f64>> = vec![Vec::new(); contestants.len()];
        for round in 0..=rounds {
            let count = contestants.len();
            let order = (0..count).map(|i| if round % 2 == 0 { i } else { count - 1 - i });
            for i in order {
                thread::sleep(pause);
                let time = contestants[i].1.time(&case, cpu_time);
                // The first round warms up.
                if round > 0 {
                    times[i].push(time / case.shape[0] as f64);
                }
            }
        }
        for ((name, _), times) in contestants.iter().zip(&times) {
            let [low, middle, high] = spread(times.clone());
            let rate = case.gflop() / middle * 1e3;
            println!(
                "{case}: {name:14} {middle:9.3} ms a picture ({low:.3} to {high:.3}), {rate:6.0} GFLOP/s"
            );
        }
        let (own, peers) = (0..ours, ours..contestants.len());
        for (own, peer) in own.flat_map(|own| peers.clone().map(move |peer| (own, peer))) {
            let ratios = times[own].iter().zip(&times[peer]).map(|(own, peer)| own / peer).collect();
            let [low, middle, high] = spread(ratios);
            let names = (&contestants[own].0, &contestants[peer].0);
            println!(
                "{case}: {} takes {middle:.3} ({low:.3} to {high:.3}) of the time of {}",
                names.0, names.1
            );
        }
    }
}
