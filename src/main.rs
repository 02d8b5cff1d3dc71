//! The `smoothgate` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    smoothgate::cli::main()
}
