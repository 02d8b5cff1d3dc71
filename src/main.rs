//! The `smoothgate` command.

use std::process::ExitCode;

/// Requests, answers and records are many small pieces that one thread makes and another one drops.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    smoothgate::cli::main()
}
