//! The command, as it is started.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use smoothgate::providers::Outcome;
use tempfile::tempdir;

use crate::support::{ask, certificate, header, picture};

fn smoothgate(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smoothgate"));
    command
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .args(["--config", "none.toml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Starts it and waits until it listens.
async fn serve(folder: &Path, arguments: &[&str]) -> (Child, String) {
    std::fs::write(folder.join("none.toml"), "[serve]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    let mut child = smoothgate(folder)
        .args(["serve", "--ledger", "ledger.db", "--port-file", "port"])
        .args(arguments)
        .spawn()
        .unwrap();
    let port = loop {
        if let Ok(port) = std::fs::read_to_string(folder.join("port")) {
            break port;
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    (child, format!("http://127.0.0.1:{port}"))
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_serves_the_built_in_classifier_without_a_configuration_and_ends_in_order() {
    let folder = tempdir().unwrap();
    let (child, url) = serve(folder.path(), &["--provider", "local"]).await;
    let (outcomes, reply) = ask("google", &url, &[picture(1)]).await;
    assert!(matches!(outcomes[..], [Outcome::Answered(_)]), "{reply:?}");
    assert!(["certified", "abstained"].contains(&header(&reply.headers, "outcome")));
    certificate(&url, header(&reply.headers, "certificate")).await;
    let ended = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(ended.success());
    let output = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("listening on http://127.0.0.1:") && out.contains("route default"), "{out}");
}

#[test]
fn an_address_that_others_reach_needs_a_word_that_it_is_meant() {
    let folder = tempdir().unwrap();
    std::fs::write(folder.path().join("none.toml"), "").unwrap();
    let output = smoothgate(folder.path()).args(["serve", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--insecure-no-auth"));
}

#[test]
fn an_option_without_a_provider_is_refused_where_routes_name_theirs() {
    let folder = tempdir().unwrap();
    std::fs::write(folder.path().join("none.toml"), "[routes.all]\nupstream = \"local\"\n").unwrap();
    for option in [["-O", "endpoint=http://127.0.0.1:9"], ["--price", "0.0010USD"]] {
        // An address that would be refused after it.
        let serve = ["serve", "--listen", "0.0.0.0:0"];
        let output = smoothgate(folder.path()).args(serve).args(option).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("give --provider NAME"), "{said}");
    }
}
