//! Files that are smaller in the program than on the disk.
//!
//! Of a 16-bit weight the byte with sign and exponent takes few values, the byte with the end of the fraction takes all of them alike. One
//! after the other they are noise to a compressor; apart, the bytes with the exponents shrink by a quarter. `build.rs` puts the bytes of
//! even places first, then those of odd places, and deflates both. In front is the length of the file, 8 bytes, little-endian.

use std::io::{self, Read};

use flate2::read::DeflateDecoder;

/// The file as it was.
///
/// # Errors
/// An [`io::Error`] if `packed` is cut off, no stream of deflate, or of another length than it says. There is no checksum.
pub(crate) fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "damaged");
    let (length, deflated) = packed.split_first_chunk().ok_or_else(damaged)?;
    let length = u64::from_le_bytes(*length);
    let mut planes = Vec::new();
    // One byte more than there should be is enough to know that it is wrong.
    DeflateDecoder::new(deflated).take(length.saturating_add(1)).read_to_end(&mut planes)?;
    if planes.len() as u64 != length {
        return Err(damaged());
    }
    let (even, odd) = planes.split_at(planes.len().div_ceil(2));
    let mut file = Vec::with_capacity(planes.len());
    for (place, byte) in even.iter().enumerate() {
        file.push(*byte);
        file.extend(odd.get(place));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_packed_is_an_error() {
        let whole: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/cifar10-resnet20.packed"));
        assert!(unpack(whole).is_ok());
        let mut longer = whole.to_vec();
        longer[0] ^= 1;
        for bad in [&[], &whole[..7], &whole[..8], &whole[..whole.len() / 2], longer.as_slice()] {
            assert!(unpack(bad).is_err(), "{} bytes", bad.len());
        }
    }
}
