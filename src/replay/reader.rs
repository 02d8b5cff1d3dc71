//! Lines of a log, plain or gzip, in batches.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// Lines that are worked on together: enough to keep every core busy, few enough to hold.
const BATCH: usize = 256;

/// A batch is full from this many bytes on, however few its lines are.
const BATCH_BYTES: usize = 16 << 20;

/// Longest line. The largest record of the published logs, 1100 votes, has 0.4 MB.
pub(super) const MAX_LINE: usize = 64 << 20;

/// How every gzip stream begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Numbered lines from 1, without the empty ones; or the number of the last whole line and why there is no next.
pub(super) type Batch = Result<Vec<(u64, Vec<u8>)>, (u64, io::Error)>;

/// Reads to the end, or until `take` says that no more is wanted. Gzip is told by its first bytes, not by a name.
pub(super) fn batches(mut source: impl Read, mut take: impl FnMut(Batch) -> bool) {
    let mut start = Vec::new();
    if let Err(error) = source.by_ref().take(GZIP.len() as u64).read_to_end(&mut start) {
        take(Err((0, error)));
        return;
    }
    let is_gzip = start == GZIP;
    let whole = BufReader::with_capacity(1 << 16, io::Cursor::new(start).chain(source));
    if is_gzip {
        lines(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(whole)), take);
    } else {
        lines(whole, take);
    }
}

fn lines(mut source: impl BufRead, mut take: impl FnMut(Batch) -> bool) {
    let mut number = 0;
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        let mut bytes = 0;
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let mut line = Vec::new();
            match source.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line) {
                Ok(0) => {
                    if !batch.is_empty() {
                        take(Ok(batch));
                    }
                    return;
                }
                Ok(_) => {}
                Err(error) => {
                    // What was read whole still counts.
                    if batch.is_empty() || take(Ok(batch)) {
                        take(Err((number, error)));
                    }
                    return;
                }
            }
            number += 1;
            let too_long = line.len() > MAX_LINE;
            bytes += line.len();
            if !line.trim_ascii().is_empty() {
                batch.push((number, line));
            }
            if too_long {
                // The parser refuses it by its length, and says where it is.
                take(Ok(batch));
                return;
            }
        }
        if !batch.is_empty() && !take(Ok(batch)) {
            return;
        }
    }
}
