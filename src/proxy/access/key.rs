//! What a caller shows: an id that anyone may see, and a secret that is shown once.
//!
//! A token is `sg_ID_SECRET`; the store holds a BLAKE3 of it. A hash that is slow on purpose guards secrets that people
//! choose and that can be guessed. These are 256 random bits: there is nothing to guess, however fast the hash, and
//! checking one costs every request less than a microsecond.
//!
//! A signature of AWS is another matter, because it cannot be checked without the secret itself. Such a secret is
//! derived from a [`Master`] and the id, so that the store holds nothing of it.

use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::str::FromStr;

use rand::TryRngCore as _;
use rand::rngs::OsRng;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use smoothgate_providers::credentials::{Environment, SecretSource};

use super::StoreError;

/// RFC 4648's base 32 in lower case: no letter of it is lost where an id is written in capitals.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const ID_LENGTH: usize = 16;
const SECRET_LENGTH: usize = 64;
const TOKEN_PREFIX: &str = "sg_";
/// AWS' own access key ids are four letters that name the kind, and 16.
const AWS_PREFIX: &str = "SGAK";

const TOKEN_CONTEXT: &str = "smoothgate 2026 access token";
const AWS_CONTEXT: &[u8] = b"smoothgate access key for aws 1\0";
const MASTER_CONTEXT: &[u8] = b"smoothgate master secret id 1\0";

/// The public name of a key: 16 letters of base 32, drawn at random.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; ID_LENGTH]);

impl KeyId {
    /// A new one.
    ///
    /// # Errors
    /// [`StoreError::Entropy`].
    pub fn fresh() -> Result<Self, StoreError> {
        let mut id = [0; ID_LENGTH];
        fill(&mut id)?;
        Ok(Self(id.map(|byte| LETTERS[usize::from(byte % 32)])))
    }

    /// The same id as the access key id of an AWS client: `SGAK` and the letters in capitals, 20 as AWS' own.
    pub fn for_aws(self) -> String {
        format!("{AWS_PREFIX}{}", self.as_str().to_ascii_uppercase())
    }

    /// The key that an AWS client names. `None` for an id that was not made here.
    pub fn from_aws(text: &str) -> Option<Self> {
        let letters = text.strip_prefix(AWS_PREFIX)?;
        let is_capital = !letters.bytes().any(|byte| byte.is_ascii_lowercase());
        is_capital.then(|| letters.to_ascii_lowercase().parse().ok()).flatten()
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A text that is no id of a key. It is not repeated: it may be a whole token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a key has 16 letters of a-z and 2-7; `smoothgate keys list` shows them")]
pub struct KeyIdError;

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let letters: [u8; ID_LENGTH] = text.as_bytes().try_into().map_err(|_| KeyIdError)?;
        if letters.iter().all(|letter| LETTERS.contains(letter)) {
            Ok(Self(letters))
        } else {
            Err(KeyIdError)
        }
    }
}

impl Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What the store keeps of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenHash(#[serde(with = "hex")] blake3::Hash);

impl TokenHash {
    /// A new token for `id`, and its hash.
    ///
    /// # Errors
    /// [`StoreError::Entropy`].
    pub fn fresh(id: KeyId) -> Result<(SecretString, Self), StoreError> {
        let secret = random_hex()?;
        let token = SecretString::from(format!("{TOKEN_PREFIX}{id}_{}", *secret));
        let hash = Self::of(token.expose_secret());
        Ok((token, hash))
    }

    /// The hash of what a caller presents, and the id that it names. `None` for what is no token of ours.
    pub fn presented(token: &SecretString) -> Option<(KeyId, Self)> {
        let token = token.expose_secret();
        let (id, secret) = token.strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
        (secret.len() == SECRET_LENGTH).then_some(())?;
        Some((id.parse().ok()?, Self::of(token)))
    }

    /// Is it the same token? Takes the same time whatever the answer.
    pub fn is(&self, other: &Self) -> bool {
        self.0 == other.0 // BLAKE3's hashes compare in constant time.
    }

    fn of(token: &str) -> Self {
        Self(blake3::Hash::from_bytes(blake3::derive_key(TOKEN_CONTEXT, token.as_bytes())))
    }
}

mod hex {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(hash: &blake3::Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hash.to_hex())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<blake3::Hash, D::Error> {
        let text = String::deserialize(deserializer)?;
        blake3::Hash::from_hex(text).map_err(|_| serde::de::Error::custom("a hash has 64 hexadecimal digits"))
    }
}

/// The secret of a server from which the secrets of all AWS pairs follow: keyed BLAKE3 (a pseudo-random function) of
/// the pair's id. 64 hexadecimal digits.
///
/// What that trades: the file of keys alone gives nobody a secret, and a pair needs nothing stored; whoever has the
/// master has all pairs, and a new master ends all of them. A pass phrase would not do, because anyone with a pair could
/// try guesses of it at home.
#[derive(Clone)]
pub struct Master(Zeroizing<[u8; 32]>);

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Master({})", self.id())
    }
}

impl Master {
    /// Reads it from a variable or a file.
    ///
    /// # Errors
    /// [`StoreError::Credential`] where it is not there, [`StoreError::Master`] where it is not 64 hexadecimal digits.
    pub fn read(source: &SecretSource, environment: &Environment) -> Result<Self, StoreError> {
        let text = source.read(environment)?;
        Self::parse(&text).ok_or_else(|| StoreError::Master { from: source.to_string() })
    }

    /// Makes a new one in a file that its owner alone can read. An existing file is never overwritten.
    ///
    /// # Errors
    /// [`StoreError::File`] (also for a file that is there), [`StoreError::Entropy`].
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        let text = random_hex()?;
        let failed = |source| StoreError::File { what: "make", path: path.to_owned(), source };
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(failed)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n"));
        written.and_then(|()| file.sync_all()).map_err(failed)?;
        Self::parse(&SecretString::from(text.as_str()))
            .ok_or_else(|| StoreError::Entropy("they make no secret".to_owned()))
    }

    /// Names the master without telling anything of it, so that a wrong one is noticed.
    pub fn id(&self) -> String {
        blake3::keyed_hash(&self.0, MASTER_CONTEXT).to_hex()[..16].to_owned()
    }

    /// The secret access key of a pair.
    pub fn secret(&self, id: KeyId) -> SecretString {
        let message = [AWS_CONTEXT, &id.0].concat();
        SecretString::from(blake3::keyed_hash(&self.0, &message).to_hex().as_str())
    }

    fn parse(text: &SecretString) -> Option<Self> {
        let hash = blake3::Hash::from_hex(text.expose_secret()).ok()?;
        Some(Self(Zeroizing::new(*hash.as_bytes())))
    }
}

/// 256 random bits in hexadecimal digits: every header and URL takes them as they are.
fn random_hex() -> Result<Zeroizing<String>, StoreError> {
    let mut bytes = Zeroizing::new([0; 32]);
    fill(&mut *bytes)?;
    Ok(Zeroizing::new(blake3::Hash::from_bytes(*bytes).to_hex().as_str().to_owned()))
}

fn fill(bytes: &mut [u8]) -> Result<(), StoreError> {
    OsRng.try_fill_bytes(bytes).map_err(|error| StoreError::Entropy(error.to_string()))
}
