//! `kill -9` at random instants: nothing that was answered is lost, nothing is paid for twice.
//!
//! The short form runs here. The long one is `SMOOTHGATE_TEST_KILLS=1000 cargo test --release --test torture`.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng as _};
use serde_json::Value;
use tempfile::TempDir;

const PICTURES: usize = 20;

fn kills() -> u32 {
    std::env::var("SMOOTHGATE_TEST_KILLS").ok().map_or(10, |kills| kills.parse().unwrap())
}

/// An API that counts its calls, in a process of its own.
struct Api {
    process: Child,
    port: u16,
}

impl Api {
    fn start(folder: &Path, more: &[&str]) -> Self {
        let file = folder.join("port");
        let process = Command::new(env!("CARGO_BIN_EXE_smoothgate"))
            .args(["emulate", "--api", "google", "--latency", "5ms..30ms", "--key", "k", "--port-file"])
            .arg(&file)
            .args(more)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_mins(1);
        let port = loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if let Ok(port) = text.trim().parse() {
                break port;
            }
            assert!(Instant::now() < until, "the emulator did not start");
            std::thread::sleep(Duration::from_millis(20));
        };
        Self { process, port }
    }

    fn ask(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Calls that arrived since the last reset, those that are out included.
    fn arrived(&self) -> u64 {
        let stats: Value = serde_json::from_str(&self.ask("GET", "/__emulator/stats")).unwrap();
        stats["total"]["calls"].as_u64().unwrap()
    }

    /// Calls that arrived since the last reset. Waits until those that are out have ended.
    fn calls(&self) -> u64 {
        loop {
            let stats: Value = serde_json::from_str(&self.ask("GET", "/__emulator/stats")).unwrap();
            if stats["in_flight"] == 0 {
                return stats["total"]["calls"].as_u64().unwrap();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn reset(&self) {
        self.ask("POST", "/__emulator/reset");
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Somebody who certifies: a home, and where the certificates go.
struct User {
    home: TempDir,
    arguments: Vec<String>,
}

impl User {
    fn new(api: &Api, pictures: &Path) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut arguments: Vec<String> =
            ["certify", "--provider", "google", "--denoiser", "none", "--seed", "9", "--size", "48"]
                .into_iter()
                .chain([
                    "--n0",
                    "10",
                    "--n",
                    "50",
                    "--jobs",
                    "3",
                    "--quiet",
                    "--yes",
                    "-O",
                    "pictures_per_call=1",
                ])
                .map(str::to_owned)
                .collect();
        arguments.extend(["-O".to_owned(), format!("endpoint=http://127.0.0.1:{}", api.port)]);
        arguments.extend(["--config".to_owned(), pictures.join("smoothgate.toml").display().to_string()]);
        arguments.extend(["--out".to_owned(), home.path().join("out").display().to_string()]);
        arguments.push(pictures.display().to_string());
        Self { home, arguments }
    }

    fn program(&self, arguments: &[String]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_smoothgate"));
        command.env_clear().env("HOME", self.home.path()).env("GOOGLE_API_KEY", "k").args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self.program(&arguments).output().unwrap()
    }

    fn report(&self) -> Value {
        serde_json::from_slice(&self.run(&["runs", "show", "1", "--json"]).stdout).unwrap()
    }

    /// Every certificate, byte for byte.
    fn certificates(&self) -> BTreeMap<PathBuf, String> {
        let folder = self.home.path().join("out");
        let read = |entry: std::io::Result<std::fs::DirEntry>| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().into(), std::fs::read_to_string(&path).unwrap())
        };
        std::fs::read_dir(folder).unwrap().map(read).collect()
    }
}

/// Pictures of all kinds, and a configuration that does not slow anybody down.
fn pictures(folder: &Path) -> PathBuf {
    let pictures = folder.join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    let config = "[providers.google]\nrate = \"unlimited\"\nretry = { base = \"5ms\", longest = \"50ms\" }\n";
    std::fs::write(pictures.join("smoothgate.toml"), config).unwrap();
    for n in 0..PICTURES as u32 {
        let pixel = |x: u32, y: u32| image::Rgb([(x * (n + 1)) as u8, (y * 5 + n * 11) as u8, (x ^ y) as u8]);
        image::RgbImage::from_fn(48, 48, pixel).save(pictures.join(format!("{n:02}.png"))).unwrap();
    }
    pictures
}

/// Waits for a random instant. How far a process comes in a given time is up to the machine, so every second instant is one
/// after a random number of calls: there the process is at work, however slow it is.
fn random_instant(api: &Api, child: &mut Child, random: &mut impl Rng) {
    if random.random_bool(0.5) {
        std::thread::sleep(Duration::from_millis(random.random_range(50..900)));
        return;
    }
    let until = api.arrived() + random.random_range(1..80);
    while api.arrived() < until && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(Duration::from_millis(random.random_range(0..20)));
}

#[test]
fn kill_9_loses_no_answer_and_pays_for_none_twice() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = pictures(folder.path());
    let api = Api::start(folder.path(), &[]);

    let undisturbed = User::new(&api, &pictures);
    let out = undisturbed.program(&undisturbed.arguments).output().unwrap();
    assert!(out.status.code().is_some_and(|code| code <= 1), "{}", String::from_utf8_lossy(&out.stderr));
    let (expected, calls) = (undisturbed.certificates(), api.calls());
    assert_eq!(expected.len(), PICTURES);
    assert_eq!(undisturbed.report()["attempts"]["answered"], calls);

    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let (mut killed, mut rounds, mut out_at_kills) = (0, 0, 0);
    while killed < kills() {
        api.reset();
        rounds += 1;
        let user = User::new(&api, &pictures);
        let finished = loop {
            if killed == kills() {
                break false;
            }
            let mut child = user.program(&user.arguments).stdout(Stdio::null()).spawn().unwrap();
            random_instant(&api, &mut child, &mut random);
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.code().is_some_and(|code| code <= 1), "{status}");
                break true;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            killed += 1;
        };
        if !finished {
            let out = user.run(&["resume"]);
            let text = String::from_utf8_lossy(&out.stderr).into_owned();
            assert!(out.status.code().is_some_and(|code| code <= 1) || text.contains("finished"), "{text}");
            // A kill after the last certificate was stored and before it was written out.
            assert!(
                user.program(&user.arguments).output().unwrap().status.code().is_some_and(|code| code <= 1)
            );
        }
        assert_eq!(user.certificates(), expected, "round {rounds}");
        let report = user.report();
        let (answered, unknown) =
            (report["attempts"]["answered"].as_u64().unwrap(), report["unknown"].as_u64().unwrap());
        out_at_kills += unknown;
        assert_eq!(answered, calls, "an answer on record was asked again, or one was lost");
        let arrived = api.calls();
        assert!(
            arrived <= calls + unknown,
            "{arrived} calls arrived: {calls} undisturbed, {unknown} out at the kills"
        );
    }
    println!(
        "{killed} kills over {rounds} runs of {calls} calls each; {out_at_kills} calls were out when they fell"
    );
}

/// 64 calls in flight, one in five failing and asked again: whatever the budget, not one call more arrives.
#[test]
fn a_budget_is_never_exceeded_by_a_single_call() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = pictures(folder.path());
    let api =
        Api::start(folder.path(), &["--fault-rate", "throttle=0.1", "--fault-rate", "server-error=0.1"]);
    for budget in [1, 63, 64, 65, 300] {
        api.reset();
        let mut user = User::new(&api, &pictures);
        let more = ["--concurrency", "64", "--max-calls", &budget.to_string()].map(str::to_owned);
        user.arguments.splice(1..1, more);
        let out = user.program(&user.arguments).output().unwrap();
        assert_eq!(out.status.code(), Some(4), "{}", String::from_utf8_lossy(&out.stderr));
        assert_eq!(api.calls(), budget, "calls that arrived");
        assert_eq!(user.report()["spend"]["calls"], budget, "calls on record");
        // Again with the same budget: nothing is left.
        assert_eq!(user.program(&user.arguments).output().unwrap().status.code(), Some(4));
        assert_eq!(api.calls(), budget);
    }
}

/// Whoever goes on with a run is asked about what is left of it, not about the whole.
#[test]
fn the_question_before_money_is_spent_is_about_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = pictures(folder.path());
    let api = Api::start(folder.path(), &[]);
    let mut user = User::new(&api, &pictures);
    user.arguments.retain(|argument| argument != "--yes");
    let certify = |more: &[&str]| {
        let more = more.iter().map(|&argument| argument.to_owned());
        user.program(&user.arguments.iter().cloned().chain(more).collect::<Vec<_>>()).output().unwrap()
    };
    // 20 pictures, 60 votes each, $0.0015 a vote.
    let asked = certify(&[]);
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert_eq!(asked.status.code(), Some(2), "{said}");
    assert!(said.contains("up to $1.80 for 1200 calls"), "{said}");
    assert_eq!(certify(&["--yes", "--max-calls", "700"]).status.code(), Some(4));
    let ended = certify(&[]);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.code().is_some_and(|code| code <= 1), "{said}");
}

/// The rate gives way when the API throttles, and whoever watches is told.
#[test]
fn throttling_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = pictures(folder.path());
    let api = Api::start(folder.path(), &["--fault-rate", "throttle=0.3"]);
    let mut user = User::new(&api, &pictures);
    user.arguments.retain(|argument| argument != "--quiet");
    user.arguments.extend(["--max-calls", "30"].map(str::to_owned));
    let out = user.program(&user.arguments).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("google throttles: "), "{said}");
    let mut quiet = User::new(&api, &pictures);
    quiet.arguments.extend(["--max-calls", "30"].map(str::to_owned));
    let out = quiet.program(&quiet.arguments).output().unwrap();
    assert!(!String::from_utf8_lossy(&out.stderr).contains("throttles"));
}

/// Nobody reads what is said to people any more: the calls that are out are waited for and recorded all the same.
#[test]
fn a_reader_of_standard_error_that_goes_away_breaks_nothing_off() {
    use std::io::{BufRead as _, BufReader};
    let folder = tempfile::tempdir().unwrap();
    let pictures = pictures(folder.path());
    let api = Api::start(folder.path(), &[]);
    let mut user = User::new(&api, &pictures);
    user.arguments.retain(|argument| argument != "--quiet");
    let mut child =
        user.program(&user.arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("at most 60 votes"), "{first}");
    while api.arrived() < 5 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let report = user.report();
    assert_eq!((&report["unknown"], &report["in_flight"]), (&0.into(), &0.into()));
    assert_eq!(report["attempts"]["answered"], api.calls());
}

/// The file that `resume` is given says what may be spent, wherever and however the run was started.
#[test]
fn a_budget_of_the_configuration_that_resume_is_given_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = pictures(folder.path());
    let api = Api::start(folder.path(), &[]);
    let mut user = User::new(&api, &pictures);
    user.arguments.extend(["--max-calls", "30"].map(str::to_owned));
    assert_eq!(user.program(&user.arguments).output().unwrap().status.code(), Some(4));
    assert_eq!(api.calls(), 30);
    let config = "[providers.google]\nrate = \"unlimited\"\nbudget = { day = { calls = 1 } }\n";
    std::fs::write(user.home.path().join("tight.toml"), config).unwrap();
    let arguments = ["resume", "--max-calls", "5000", "--config", "tight.toml"].map(str::to_owned);
    // Its path starts where `resume` does, which is not where the run did.
    let out = user.program(&arguments).current_dir(user.home.path()).output().unwrap();
    assert_eq!(out.status.code(), Some(4), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(api.calls(), 30, "the day's budget was used up");
}
