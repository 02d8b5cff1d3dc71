//! The command as a process of its own: signals, memory, exit code.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use smoothgate::emulate::DEFAULT_KEY;

/// A line of a process's status, in MiB; `None` once it has ended, and where there is no `/proc`.
fn memory(process: u32, line: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let found = status.lines().find_map(|text| text.strip_prefix(line))?;
    Some(found.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}

/// `smoothgate serve` as a process of its own.
pub(crate) struct Server {
    child: Child,
    /// Its address.
    pub(crate) url: String,
}

impl Server {
    /// Starts it with the `smoothgate.toml` and the ledger of the folder, and waits until it listens.
    pub(crate) async fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[], &[]).await
    }

    /// The same with more arguments and variables.
    pub(crate) async fn start_with(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let port = folder.join("port");
        let _ = std::fs::remove_file(&port);
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_smoothgate"))
            .current_dir(folder)
            .env_clear()
            .env("HOME", folder)
            .env("GOOGLE_API_KEY", DEFAULT_KEY)
            .args(["--config", "smoothgate.toml", "serve", "--ledger", "ledger.db", "--port-file", "port"])
            .args(["--log", "json"])
            .args(arguments)
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let port = loop {
            if let Ok(port) = std::fs::read_to_string(&port) {
                break port;
            }
            let log = || std::fs::read_to_string(folder.join("log")).unwrap();
            assert!(child.try_wait().unwrap().is_none(), "it ended: {}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        Self { child, url: format!("http://127.0.0.1:{port}") }
    }

    /// Sends it a signal: `-TERM`, `-HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// What it has logged so far.
    pub(crate) fn log(folder: &Path) -> String {
        std::fs::read_to_string(folder.join("log")).unwrap()
    }

    /// A line of the process's status, in MiB.
    pub(crate) fn memory(&self, line: &str) -> Option<u64> {
        memory(self.child.id(), line)
    }

    /// Looks at its resident memory for as long as it runs, ten times a second.
    pub(crate) fn resident(&self) -> tokio::task::JoinHandle<Vec<u64>> {
        let process = self.child.id();
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while let Some(now) = memory(process, "VmRSS:") {
                seen.push(now);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            seen
        })
    }

    /// It ends well, and with nothing in its log that a panic leaves.
    pub(crate) async fn end(mut self, folder: &Path) {
        let ended = loop {
            if let Some(ended) = self.child.try_wait().unwrap() {
                break ended;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let log = Self::log(folder);
        assert!(ended.success(), "{ended}: {log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}
