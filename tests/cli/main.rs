//! The command line as a user sees it: output, exit codes, files.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]

mod certify;
mod denoise;
mod keys;
mod names;
mod replay;
mod usage;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// The program with a state folder and a configuration of its own: none.
fn program(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smoothgate"));
    command.env("XDG_STATE_HOME", state).env("XDG_CONFIG_HOME", state).env_remove("SMOOTHGATE_CONFIG");
    command
}

fn smoothgate(arguments: &[&str]) -> Output {
    let state = tempfile::tempdir().unwrap();
    program(state.path()).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn rows(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A small picture that the test makes itself.
fn picture(path: &Path, width: u32, height: u32) {
    image::RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 3) as u8, (y * 2) as u8, (x ^ y) as u8]))
        .save(path)
        .unwrap();
}

const PICTURES: &str = "examples/pictures";

const LOG: &str = "tests/data/replay/small.jsonl";
