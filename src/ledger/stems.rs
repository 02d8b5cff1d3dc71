//! Whether a picture may be on record, without looking.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::LedgerError;

/// Bits: ten for each of 400 000 pictures, of which one in a hundred that is not there is looked for then. With more it
/// becomes more, and no answer becomes wrong.
const BITS: u64 = 1 << 22;

/// Bits that a stem sets.
const PROBES: u32 = 3;

/// The stems of a run's pictures, that is their names up to the last slash, as a Bloom filter (Bloom, 1970): it may take one
/// that is not there for one that is, never the other way round. Most requests of a proxy are about a picture that nobody
/// asked about before, and to look for that in the ledger takes several system calls.
///
/// It is complete because no other process adds to a run at the same time ([`Lease`](super::run::Lease)).
pub(super) struct Stems {
    bits: Box<[AtomicU64]>,
    /// What was on record before this process is in it.
    filled: AtomicBool,
    filling: Mutex<()>,
}

impl Default for Stems {
    fn default() -> Self {
        let bits = (0..BITS / 64).map(|_| AtomicU64::new(0)).collect();
        Self { bits, filled: AtomicBool::new(false), filling: Mutex::new(()) }
    }
}

impl Stems {
    /// Adds the stem of a picture's name: before anything about it is on record.
    pub(super) fn add(&self, name: &str) {
        for (word, bit) in places(stem(name)) {
            self.bits[word].fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// May a picture with this stem be on record? The first to ask adds those that `names` gives: all on record.
    pub(super) fn may_hold(
        &self,
        stem: &str,
        names: impl FnOnce(&mut dyn FnMut(&str)) -> Result<(), LedgerError>,
    ) -> Result<bool, LedgerError> {
        if !self.filled.load(Ordering::Acquire) {
            let _turn = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
            if !self.filled.load(Ordering::Acquire) {
                names(&mut |name| self.add(name))?;
                self.filled.store(true, Ordering::Release);
            }
        }
        Ok(places(stem).all(|(word, bit)| self.bits[word].load(Ordering::Relaxed) & bit != 0))
    }
}

fn stem(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(stem, _)| stem)
}

/// Word and bit of each probe.
fn places(stem: &str) -> impl Iterator<Item = (usize, u64)> {
    let mut hasher = DefaultHasher::new();
    hasher.write(stem.as_bytes());
    let hash = hasher.finish();
    (0..PROBES).map(move |probe| {
        let at = (hash >> (21 * probe)) % BITS;
        ((at / 64) as usize, 1 << (at % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_held_and_little_else_is() {
        let stems = Stems::default();
        (0..100_000).for_each(|n| stems.add(&format!("caller/{n}/0")));
        let held = |name: &str, n: u32| stems.may_hold(&format!("{name}/{n}"), |_| Ok(())).unwrap();
        assert!((0..100_000).all(|n| held("caller", n)));
        let wrong = (0..100_000).filter(|n| held("other", *n)).count();
        assert!(wrong < 500, "{wrong}");
    }

    #[test]
    fn what_was_on_record_is_asked_for_until_it_was_said_and_no_more() {
        let stems = Stems::default();
        let lost = || Err(LedgerError::Closed);
        assert!(stems.may_hold("a", |_| lost()).is_err());
        let on_record = |add: &mut dyn FnMut(&str)| {
            add("a/0");
            Ok(())
        };
        assert!(stems.may_hold("a", on_record).unwrap());
        assert!(stems.may_hold("a", |_| lost()).unwrap());
        assert!(!stems.may_hold("b", |_| lost()).unwrap());
    }
}
