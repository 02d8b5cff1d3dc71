//! Ed25519 keys that sign certificates, in the files that other tools read: PKCS #8 and SPKI in PEM (RFC 8410).

use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::TryRngCore;
use rand::rngs::OsRng;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use secrecy::zeroize::Zeroizing;

/// A key file has some 120 bytes.
const MAX_FILE: u64 = 16 << 10;

/// What stands before the 32 bytes of a private key in PKCS #8 (RFC 8410, section 7).
const PRIVATE_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// What stands before the 32 bytes of a public key (RFC 8410, section 4).
const PUBLIC_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What is signed begins with this, so that a signature of a certificate is none of anything else.
const CONTEXT: &[u8] = b"smoothgate certificate signature 1\0";

/// What can be wrong with a key. The user's to mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("cannot {what} the key file `{}`: {source}", path.display())]
    File {
        /// `read` or `write`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// There is a file already, which may be the only copy of a key.
    #[error("`{}` exists and is not overwritten: a key that is gone signs nothing again; choose another --out", .0.display())]
    Exists(PathBuf),
    /// Not a key of the kind that is wanted.
    #[error("{from} holds no {wanted}; `smoothgate keys new` and `smoothgate keys public` write them")]
    NotAKey {
        /// File or argument.
        from: String,
        /// What was wanted, in words.
        wanted: &'static str,
    },
    /// The other half of the pair.
    #[error(
        "{from} holds a private key, where the public key of the pair belongs: `smoothgate keys public` writes it"
    )]
    Private {
        /// File or argument.
        from: String,
    },
    /// The operating system gave no random bytes. May be retried.
    #[error("the operating system gave no random bytes for a key: {0}")]
    Entropy(String),
}

/// Names a public key: the first 32 hexadecimal digits of its BLAKE3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyId(String);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An Ed25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Its name.
    pub fn id(&self) -> KeyId {
        KeyId(blake3::hash(&self.0).to_hex()[..32].to_owned())
    }

    /// 64 lower-case hexadecimal digits, as documents carry it.
    pub fn to_hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }

    /// The key from 64 lower-case hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let key = Self(*blake3::Hash::from_hex(text).ok()?.as_bytes());
        (key.to_hex() == text).then_some(key)
    }

    /// Reads a PEM file of a public key, or 64 hexadecimal digits given in its place.
    ///
    /// # Errors
    /// [`KeyError::File`], [`KeyError::NotAKey`], [`KeyError::Private`]: that one has no business here.
    pub fn load(file_or_hex: &str) -> Result<Self, KeyError> {
        if let Some(key) = Self::from_hex(&file_or_hex.to_ascii_lowercase()) {
            return Ok(key);
        }
        let text = read(Path::new(file_or_hex))?;
        if unwrap(&text, "PRIVATE KEY", &PRIVATE_PREFIX).is_some() {
            return Err(KeyError::Private { from: format!("`{file_or_hex}`") });
        }
        let key = unwrap(&text, "PUBLIC KEY", &PUBLIC_PREFIX).map(|key| Self(*key));
        key.ok_or_else(|| KeyError::NotAKey {
            from: format!("`{file_or_hex}`"),
            wanted: "Ed25519 public key in PEM, nor is it 64 hexadecimal digits",
        })
    }

    /// As a PEM file holds it.
    pub fn to_pem(&self) -> String {
        wrap(&self.0, "PUBLIC KEY", &PUBLIC_PREFIX).to_string()
    }

    /// Whether this key signed the document of that digest.
    pub(super) fn signed(&self, digest: &blake3::Hash, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(&message(digest), signature).is_ok()
    }
}

/// An Ed25519 private key. Nothing prints it.
pub struct SigningKey {
    seed: Zeroizing<[u8; 32]>,
    public: PublicKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.public.id().to_string()).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// A new key from the operating system's entropy.
    ///
    /// # Errors
    /// [`KeyError::Entropy`].
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        OsRng.try_fill_bytes(&mut *seed).map_err(|error| KeyError::Entropy(error.to_string()))?;
        Self::of(seed).ok_or_else(|| KeyError::Entropy("they make no key".to_owned()))
    }

    /// Reads a PEM file.
    ///
    /// # Errors
    /// [`KeyError::File`], [`KeyError::NotAKey`].
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = read(path)?;
        let seed = unwrap(&text, "PRIVATE KEY", &PRIVATE_PREFIX);
        seed.and_then(Self::of).ok_or_else(|| KeyError::NotAKey {
            from: format!("`{}`", path.display()),
            wanted: "Ed25519 private key in PEM (PKCS #8)",
        })
    }

    /// Writes a PEM file that its owner alone can read. An existing file is never overwritten.
    ///
    /// # Errors
    /// [`KeyError::Exists`], [`KeyError::File`].
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
            _ => KeyError::File { what: "write", path: path.to_owned(), source },
        };
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        // From the first instant, not by a change afterwards.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(failed)?;
        let text = wrap(&self.seed, "PRIVATE KEY", &PRIVATE_PREFIX);
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The signature of the document of that digest.
    pub(super) fn sign(&self, digest: &blake3::Hash) -> Option<Vec<u8>> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&*self.seed).ok()?;
        Some(pair.sign(&message(digest)).as_ref().to_vec())
    }

    fn of(seed: Zeroizing<[u8; 32]>) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).ok()?;
        let public = PublicKey(pair.public_key().as_ref().try_into().ok()?);
        Some(Self { seed, public })
    }
}

fn message(digest: &blake3::Hash) -> Vec<u8> {
    [CONTEXT, digest.as_bytes()].concat()
}

fn read(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let mut text = Zeroizing::new(String::new());
    let opened = std::fs::File::open(path);
    let read = opened.and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
    read.map_err(|source| KeyError::File { what: "read", path: path.to_owned(), source })?;
    Ok(text)
}

/// The 32 bytes of a key in PEM (RFC 7468).
fn wrap(key: &[u8; 32], label: &str, prefix: &[u8]) -> Zeroizing<String> {
    let der = Zeroizing::new([prefix, key].concat());
    let body = Zeroizing::new(STANDARD.encode(&*der));
    Zeroizing::new(format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", *body))
}

fn unwrap(text: &str, label: &str, prefix: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body = Zeroizing::new(body.split_whitespace().collect::<String>());
    let der = Zeroizing::new(STANDARD.decode(&*body).ok()?);
    // PKCS #8 version 2 carries the public key as well, in another form: OpenSSL and ssh-keygen write version 1.
    let key = der.strip_prefix(prefix)?;
    Some(Zeroizing::new(key.try_into().ok()?))
}
