//! Signatures that were seen, so that nobody can send a recorded request again.
//!
//! A signature covers the whole request and its time in seconds, so the same one again is the same request again. An SDK
//! that tries again signs anew, with the time of the new try: within the same second that gives the very same signature,
//! later it does not. So a repeat is taken for [`GRACE`] after the first, and refused from then on until its time is too
//! far off to be taken at all. What an eavesdropper could still do within that grace is ask the same question again on
//! the key's rate and budget; TLS keeps them from listening at all.
//!
//! This is the memory of one process: a signature that was seen before a restart, or by another server with the same
//! keys, is taken once more.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// How long after its first arrival the same signature may come again.
const GRACE: Duration = Duration::from_secs(2);
/// Most signatures that are remembered: some 100 MB, and 3000 requests a second over the five minutes that a signature
/// is usually good for.
const MOST: usize = 1 << 20;

/// The memory.
#[derive(Debug)]
pub(super) struct Seen {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By signature: when it came first, and from when on its time is too far off.
    seen: HashMap<[u8; 32], (SystemTime, SystemTime)>,
    /// From when on the first of them may be forgotten.
    sweep: Option<SystemTime>,
}

/// What the memory says of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may pass.
    Fresh,
    /// It has been here before.
    Replayed,
    /// There is no room to remember it, so it cannot be known.
    Full,
}

impl Default for Seen {
    fn default() -> Self {
        Self::new(MOST)
    }
}

impl Seen {
    pub(super) fn new(most: usize) -> Self {
        Self { most, state: Mutex::default() }
    }

    /// A verified signature arrives at the time `now`; from `stale` on it would not verify any more.
    pub(super) fn arrive(&self, signature: [u8; 32], now: SystemTime, stale: SystemTime) -> Verdict {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let full = state.seen.len() >= self.most;
        // Half a minute's worth at a time, so that a sweep is rare; when full, as soon as it may help.
        let pause = if full { Duration::from_secs(1) } else { Duration::from_secs(30) };
        if state.sweep.is_none_or(|swept| now.duration_since(swept).is_ok_and(|since| since >= pause)) {
            state.sweep = Some(now);
            state.seen.retain(|_, (_, stale)| *stale >= now);
        }
        let full = state.seen.len() >= self.most;
        match state.seen.entry(signature) {
            // A clock that was set back makes nothing older.
            Entry::Occupied(entry) if now.duration_since(entry.get().0).unwrap_or_default() <= GRACE => {
                Verdict::Fresh
            }
            Entry::Occupied(_) => Verdict::Replayed,
            Entry::Vacant(_) if full => Verdict::Full,
            Entry::Vacant(entry) => {
                entry.insert((now, stale));
                Verdict::Fresh
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_signature_may_come_again_at_once_and_not_later() {
        let seen = Seen::default();
        assert_eq!(seen.arrive([1; 32], at(1000), at(1300)), Verdict::Fresh);
        assert_eq!(seen.arrive([1; 32], at(1000), at(1300)), Verdict::Fresh);
        assert_eq!(seen.arrive([1; 32], at(1002), at(1300)), Verdict::Fresh);
        for later in [1003, 1100, 1300] {
            assert_eq!(seen.arrive([1; 32], at(later), at(1300)), Verdict::Replayed, "{later}");
        }
        assert_eq!(seen.arrive([2; 32], at(1100), at(1400)), Verdict::Fresh);
    }

    #[test]
    fn what_is_stale_makes_room_and_nothing_else_does() {
        let seen = Seen::new(2);
        assert_eq!(seen.arrive([1; 32], at(1000), at(1300)), Verdict::Fresh);
        assert_eq!(seen.arrive([2; 32], at(1010), at(1310)), Verdict::Fresh);
        assert_eq!(seen.arrive([3; 32], at(1020), at(1320)), Verdict::Full);
        // Those that are there are still known.
        assert_eq!(seen.arrive([1; 32], at(1030), at(1300)), Verdict::Replayed);
        assert_eq!(seen.arrive([3; 32], at(1300), at(1600)), Verdict::Full);
        assert_eq!(seen.arrive([3; 32], at(1302), at(1602)), Verdict::Fresh);
        assert_eq!(seen.arrive([2; 32], at(1302), at(1310)), Verdict::Replayed);
    }
}
