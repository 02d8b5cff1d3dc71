//! From (seed, index) to the noise of one draw.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::law::{Prefix, UNDECIDED};
use super::{NoiseLaw, Seed};

/// Name and version of everything between a seed and the noise, for the certificate. It changes whenever the same
/// (seed, index, sigma, grid) would give other noise.
pub const RNG_VERSION: &str = "smoothgate-noise/1 chacha8 blake3-derived-keys 64-bit-inversion";

/// Bytes of prefixes fetched at a time.
const BUFFER: usize = 4096;

/// Fills `out` with the noise of draw `index`, in steps of the law's grid.
///
/// `out` may be of any length; a shorter one gets the beginning of what a longer one gets. Nothing is clipped:
/// adding it to the picture and cutting to the range of pixels is the business of what follows.
pub fn draw(law: &NoiseLaw, seed: &Seed, index: u64, out: &mut [i32]) {
    Draw::new(law, seed, index).fill(out);
}

/// The noise of one draw as a stream: consecutive [`Draw::fill`]s give the same values as one long fill.
///
/// Value `j` is the inversion of a 64-bit uniform made of two parts. Its leading bits (16 or 32, fixed by the law)
/// come from one ChaCha8 stream at position `j`; nearly always they decide the value. If not, the remaining bits are
/// the next word of a second stream, whose every word is used at most once. All bits are thus fresh and uniform, and
/// the law is that of inversion with all 64 bits, at a quarter or half of the cost. Keys: BLAKE3 in key-derivation
/// mode of the seed, one context for each stream; nonce: the index.
#[derive(Debug, Clone)]
pub struct Draw<'a> {
    law: &'a NoiseLaw,
    leading: ChaCha8Rng,
    remaining: ChaCha8Rng,
    buffer: [u8; BUFFER],
    used: usize,
}

impl<'a> Draw<'a> {
    /// The beginning of draw `index` of `seed`.
    pub fn new(law: &'a NoiseLaw, seed: &Seed, index: u64) -> Self {
        let stream = |context: &str| {
            let mut rng = ChaCha8Rng::from_seed(blake3::derive_key(context, seed.as_bytes()));
            rng.set_stream(index);
            rng
        };
        Self {
            law,
            leading: stream("smoothgate 1 noise leading bits"),
            remaining: stream("smoothgate 1 noise remaining bits"),
            buffer: [0; BUFFER],
            used: BUFFER,
        }
    }

    /// Fills `out` with the next values, in steps of the law's grid.
    pub fn fill(&mut self, out: &mut [i32]) {
        let bytes_each = match &self.law.prefix {
            Prefix::Direct(_) => 2,
            Prefix::Curve(_) => 4,
        };
        let mut rest = out;
        while !rest.is_empty() {
            if self.used == BUFFER {
                self.leading.fill_bytes(&mut self.buffer);
                self.used = 0;
            }
            let n = rest.len().min((BUFFER - self.used) / bytes_each);
            let (now, later) = rest.split_at_mut(n);
            let bytes = &self.buffer[self.used..self.used + n * bytes_each];
            match &self.law.prefix {
                Prefix::Direct(table) => fill_direct(self.law, table, bytes, &mut self.remaining, now),
                Prefix::Curve(curve) => {
                    let (words, _) = bytes.as_chunks();
                    for (value, word) in now.iter_mut().zip(words) {
                        let prefix = u32::from_le_bytes(*word);
                        let (low, high) = curve.bounds(prefix & (u32::MAX >> 1));
                        let magnitude = if low == high {
                            low
                        } else {
                            let uniform = u64::from(prefix) << 32 | self.remaining.next_u64() >> 32;
                            self.law.search(uniform, low, high)
                        };
                        *value = with_sign(magnitude, prefix >> 31 != 0);
                    }
                }
            }
            self.used += n * bytes_each;
            rest = later;
        }
    }
}

fn fill_direct(law: &NoiseLaw, table: &[u16], bytes: &[u8], remaining: &mut ChaCha8Rng, out: &mut [i32]) {
    let (words, _) = bytes.as_chunks();
    for (value, word) in out.iter_mut().zip(words) {
        let prefix = u16::from_le_bytes(*word);
        let entry = table[usize::from(prefix & (u16::MAX >> 1))];
        let magnitude = if entry == UNDECIDED {
            let uniform = u64::from(prefix) << 48 | remaining.next_u64() >> 16;
            law.search(uniform, 0, i32::MAX)
        } else {
            i32::from(entry)
        };
        *value = with_sign(magnitude, prefix >> 15 != 0);
    }
}

/// `-magnitude` if `negative`, without a branch that would be mispredicted every second time.
#[inline]
fn with_sign(magnitude: i32, negative: bool) -> i32 {
    let mask = -i32::from(negative);
    (magnitude ^ mask) - mask
}
