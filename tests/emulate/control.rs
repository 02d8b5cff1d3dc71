//! The emulator about itself: counts over HTTP, the command.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use serde_json::Value;
use smoothgate::emulate::{DEFAULT_KEY, Emulator, Settings};

use crate::support::{Records, ask, client, emulator, endpoint, endpoint_with, network, once, plan};

async fn get(url: &str) -> Value {
    let reply = client().get(format!("{url}/__emulator/stats")).send().await;
    serde_json::from_str(&reply.unwrap().text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn counts_over_http_are_those_in_the_process() {
    let emulator = emulator(plan("[[script]]\nfault = \"throttle\"\ncalls = 1")).await;
    let endpoint = endpoint("aws", &emulator, &network(), once());
    for n in 0..3 {
        ask(&endpoint, n, &Records::default()).await;
    }
    let seen = get(&emulator.url()).await;
    assert_eq!(seen["total"]["calls"], 3);
    assert_eq!(seen["total"]["outcomes"], serde_json::json!({ "answered": 2, "fault": 1 }));
    assert_eq!(seen["total"]["faults"]["throttle"], serde_json::json!({ "calls": 1, "billed_pictures": 0 }));
    assert_eq!(seen["apis"]["aws"], serde_json::json!({ "calls": 3, "pictures": 3, "billed_pictures": 2 }));
    assert!(seen["last_second"]["calls"].as_u64().unwrap() <= 3);
    assert!(
        seen["total"]["bytes_in"].as_u64() > Some(300) && seen["total"]["bytes_out"].as_u64() > Some(100)
    );
    emulator.reset();
    assert_eq!(emulator.stats().total, smoothgate::emulate::Counts::default());
    // The plan begins anew as well.
    assert!(ask(&endpoint, 9, &Records::default()).await.class().may_retry());
}

#[tokio::test]
async fn only_the_formats_that_are_asked_for() {
    let settings = Settings { apis: vec!["aws".to_owned()], ..Settings::default() };
    let emulator = Emulator::start(settings, std::sync::Arc::new(crate::support::Hash)).await.unwrap();
    assert!(
        ask(&endpoint("aws", &emulator, &network(), once()), 1, &Records::default()).await.reason().is_none()
    );
    assert!(
        ask(&endpoint("google", &emulator, &network(), once()), 1, &Records::default())
            .await
            .reason()
            .is_some()
    );
    assert_eq!(emulator.stop().await.unrecognised, 1);
    let settings = Settings { apis: vec!["gogle".to_owned()], ..Settings::default() };
    let error = Emulator::start(settings, std::sync::Arc::new(crate::support::Hash)).await.unwrap_err();
    assert!(error.to_string().contains("`gogle`") && error.to_string().contains("azure-v3"), "{error}");
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smoothgate"));
    command.arg("emulate").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn the_command_serves_logs_and_prints_counts_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let (ports, faults) = (folder.path().join("port"), folder.path().join("faults.toml"));
    std::fs::write(&faults, "[[script]]\nfault = \"throttle\"\ncalls = 2\n").unwrap();
    let mut child = command(&[
        "--port-file",
        ports.to_str().unwrap(),
        "--faults",
        faults.to_str().unwrap(),
        "--verbose",
        "--json",
    ])
    .env("SMOOTHGATE_EMULATOR_KEY", "PLANTED-key")
    .spawn()
    .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    let url = serde_json::from_str::<Value>(&first).unwrap()["url"].as_str().unwrap().to_owned();
    let port = std::fs::read_to_string(&ports).unwrap();
    assert_eq!(url, format!("http://127.0.0.1:{port}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let endpoint = endpoint_with("azure", &url, "PLANTED-key", &network(), once());
        let journal = Records::default();
        assert!(ask(&endpoint, 1, &journal).await.reason().is_none());
        assert!(ask(&endpoint, 1, &journal).await.class().may_retry());
        let wrong = endpoint_with("azure", &url, DEFAULT_KEY, &network(), once());
        assert!(ask(&wrong, 1, &journal).await.class().stops_run());
    });
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    let stats: Value = serde_json::from_str(rest.trim()).unwrap();
    assert_eq!(
        stats["total"]["outcomes"],
        serde_json::json!({ "answered": 1, "fault": 1, "unknown-key": 1 })
    );
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(child.wait().unwrap().success());
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{log}");
    assert_eq!((&lines[1]["fault"], &lines[1]["status"]), (&"throttle".into(), &429.into()));
    assert!(!format!("{first}{rest}{log}").contains("PLANTED"));
}

#[test]
fn mistakes_are_told_with_their_fix() {
    let folder = tempfile::tempdir().unwrap();
    let faults = folder.path().join("faults.toml");
    std::fs::write(&faults, "seed = 1\nlatancy = \"1s\"\n").unwrap();
    let faults = faults.to_str().unwrap();
    for (arguments, words) in [
        (&["--faults", faults][..], "did you mean `latency`"),
        (&["--faults", faults], "faults.toml"),
        (&["--faults", "/no/such/file"], "/no/such/file"),
        (&["--fault-rate", "1.5"], "no share"),
        (&["--fault-rate", "throtle=0.1"], "did you mean `throttle`"),
        (&["--fault-rate", "0.7", "--fault-rate", "0.7"], "add up to"),
        (&["--latency", "5"], "no time"),
        (&["--api", "gogle"], "gogle"),
        (&["--listen", "0.0.0.0:0"], "--key"),
        (&["--aws-key", "SECRETONLY"], "ID:SECRET"),
        (&["--tls-cert", faults], "--tls-key"),
        (&["--tls-cert", faults, "--tls-key", faults], "PEM"),
    ] {
        let output = command(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert!(!said.contains("SECRETONLY"), "{said}");
    }
}
