//! The 256-bit seed of all draws of one certificate.

use std::fmt;
use std::str::FromStr;

use rand::TryRngCore;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};

use super::NoiseError;

/// 256 bits that, with an index, fix a draw. Not a secret: it is published in the certificate, so that the draws can
/// be made again. It must be drawn *after* the picture is fixed ([`Seed::fresh`]): who may search through seeds can
/// pick one whose draws flatter the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Seed([u8; 32]);

impl Seed {
    /// A seed from 32 bytes as they are.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A seed from a small number, for repeatable examples and tests: BLAKE3 in key-derivation mode, context
    /// `"smoothgate 1 seed from integer"`, of the number's decimal digits.
    pub fn from_integer(n: u64) -> Self {
        Self(blake3::derive_key("smoothgate 1 seed from integer", n.to_string().as_bytes()))
    }

    /// A seed from the operating system's entropy.
    ///
    /// # Errors
    /// [`NoiseError::Entropy`] when the system has none to give.
    pub fn fresh() -> Result<Self, NoiseError> {
        let mut bytes = [0; 32];
        OsRng.try_fill_bytes(&mut bytes).map_err(|e| NoiseError::Entropy(e.to_string()))?;
        Ok(Self(bytes))
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A whole number below 2^64 is expanded as by [`Seed::from_integer`]; exactly 64 hexadecimal digits are the bytes.
impl FromStr for Seed {
    type Err = NoiseError;

    fn from_str(text: &str) -> Result<Self, NoiseError> {
        let bad = || NoiseError::Seed(text.chars().take(80).collect());
        if text.len() == 64 {
            return blake3::Hash::from_hex(text).map(|h| Self(*h.as_bytes())).map_err(|_| bad());
        }
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        text.parse().map(Self::from_integer).map_err(|_| bad())
    }
}

/// 64 lower-case hexadecimal digits.
impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl TryFrom<String> for Seed {
    type Error = NoiseError;

    fn try_from(text: String) -> Result<Self, NoiseError> {
        text.parse()
    }
}

impl From<Seed> for String {
    fn from(seed: Seed) -> Self {
        seed.to_string()
    }
}
