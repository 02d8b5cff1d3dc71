//! How a ledger is kept.

use std::time::Duration;

use super::Clock;

/// How a ledger is kept. The defaults are for paid calls on a usual disk.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long an acknowledged record may be in the operating system's hands before it is forced to the disk. Zero
    /// forces every group before it is acknowledged. See the module's documentation for what each survives.
    pub sync_within: Duration,
    /// Longest time that a record waits for others to share its commit, as long as others come. Where too few come to be
    /// worth the wait, each is committed at once.
    pub commit_every: Duration,
    /// Whether a record may wait that long where calls take less than eight times that, for as long as no fewer records
    /// come for it: for whoever counts answers a second. For whoever waits for each answer, an eighth of a call is enough.
    pub patient: bool,
    /// What is kept of raw answers.
    pub answers: Retention,
    /// How long to wait while another process writes. Then calls are refused, and what they brought waits on.
    pub busy: Duration,
    /// Bytes kept back on the disk so that answers in flight can be recorded when it fills up. Zero keeps none.
    pub reserve: u64,
    /// A ledger up to this size in bytes is checked wholly for damage when it is opened.
    pub check_up_to: u64,
    /// Most records that wait for the writer; more wait in their callers, but for the ends of calls: there are no more of those
    /// than calls that are out.
    pub queue: usize,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync_within: Duration::from_millis(100),
            commit_every: Duration::from_millis(50),
            patient: true,
            answers: Retention::Keep,
            busy: Duration::from_secs(30),
            reserve: 4 << 20,
            check_up_to: 64 << 20,
            queue: 1024,
            clock: Clock::system(),
        }
    }
}

/// What is kept of raw answers and of the words of failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retention {
    /// Everything.
    #[default]
    Keep,
    /// They are overwritten in the same transaction that stores a picture's certificate. Before that they are needed
    /// to resume. Classes, times and prices stay; an export of the run has no votes.
    UntilCertified,
}
