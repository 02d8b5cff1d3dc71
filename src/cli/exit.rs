//! How a command ended.

use std::process::ExitCode;

/// The exit codes, as `--help` lists them. When several apply the highest wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Everything that was asked for was certified (or done).
    #[default]
    Success = 0,
    /// Finished, and something abstained (not `evaluate`, where that is a result; `replay`: differs from the log; `verify`: does
    /// not hold).
    Abstained = 1,
    /// Wrong usage, configuration or input.
    Usage = 2,
    /// The provider, the disk or this program failed.
    Failure = 3,
    /// A budget was reached.
    Budget = 4,
    /// Ctrl-C or SIGTERM, as shells count it.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The paragraph under `--help`.
pub(super) const HELP: &str = "\
Exit codes:
  0  all certified (or done)
  1  finished, but something abstained (not evaluate, where that is a result;
     replay: differs from the log; verify: does not hold)
  2  wrong usage, configuration or input
  3  provider or I/O failure
  4  budget reached: `smoothgate resume` goes on once it is raised
  130  interrupted: `smoothgate resume` goes on
When several apply, the highest is returned.";
