//! Space kept back for a full disk.
//!
//! When the disk fills up, calls are in flight whose answers are already paid for. The ledger keeps a file of a few
//! megabytes beside it; when a write finds no space it gives that file back to the disk, records the answers that
//! arrive, and opens no more calls until the file could be made again.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::place::beside;

/// The file that is given up when space runs out.
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    bytes: u64,
}

impl Ballast {
    pub(super) fn new(ledger: &Path, bytes: u64) -> Self {
        Self { path: beside(ledger, "-reserve"), bytes }
    }

    /// Makes the file unless it is there in full. Written, not just sized: a hole reserves nothing.
    pub(super) fn ensure(&self) -> io::Result<()> {
        if self.bytes == 0 || fs::metadata(&self.path).is_ok_and(|m| m.len() == self.bytes) {
            return Ok(());
        }
        let made = self.make();
        if made.is_err() {
            self.release();
        }
        made
    }

    fn make(&self) -> io::Result<()> {
        let mut file = File::create(&self.path)?;
        // Not zeros: file systems that compress would store nothing.
        let mut block = [0_u8; 4096];
        let mut noise = blake3::Hasher::new().update(b"smoothgate reserve").finalize_xof();
        let mut left = self.bytes;
        while left > 0 {
            noise.fill(&mut block);
            let n = left.min(block.len() as u64) as usize;
            file.write_all(&block[..n])?;
            left -= n as u64;
        }
        // Space is promised only once blocks are allocated, which may be as late as this.
        file.sync_data()
    }

    /// Gives the space back to the disk.
    pub(super) fn release(&self) {
        let _ = fs::remove_file(&self.path);
    }
}
