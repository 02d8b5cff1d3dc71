//! A certificate as it is written down: canonical, with its digest and its signature.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::canonical::{self, CanonicalError};
use super::{Certificate, Digest, PublicKey, SigningKey};

/// Why a document cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// No JSON that can be read in one way only.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// A member is missing or is not what the format says.
    #[error("`{field}`: {problem}")]
    Field {
        /// The member, parents first.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The key signs nothing: ours to mend.
    #[error("the key {0} could not sign the certificate")]
    Sign(String),
}

/// What a document says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// Who signs. Part of what the digest is about, so that a signature cannot be taken off unnoticed.
    pub signer: Option<Signer>,
    /// BLAKE3 of everything but itself and the signature.
    pub digest: Digest,
    /// Ed25519 over the text `smoothgate certificate signature 1`, a zero byte and the 32 bytes of `digest.document`:
    /// 128 lower-case hexadecimal digits.
    pub signature: Option<String>,
}

/// The key of a signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signer {
    /// [`KeyId`](super::KeyId).
    pub key: String,
    /// 64 lower-case hexadecimal digits.
    pub public_key: String,
}

/// A certificate with its seal.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What is claimed, and from what.
    pub certificate: Certificate,
    /// Digest and signature.
    pub seal: Seal,
}

impl Document {
    /// Seals a certificate, and signs it where a key is given.
    ///
    /// # Errors
    /// [`DocumentError`]; none can occur for a certificate that the engine's evidence made.
    pub fn seal(certificate: Certificate, key: Option<&SigningKey>) -> Result<Self, DocumentError> {
        Ok(Self::write(certificate, key)?.0)
    }

    /// Seals a certificate, and writes it down: the document and what [`to_text`](Self::to_text) makes of it.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn write(
        certificate: Certificate,
        key: Option<&SigningKey>,
    ) -> Result<(Self, String), DocumentError> {
        let public = key.map(SigningKey::public);
        let signer =
            public.map(|public| Signer { key: public.id().to_string(), public_key: public.to_hex() });
        let mut members = object(&certificate)?;
        members.insert("signer".to_owned(), value(&signer)?);
        let (digest, digested) = Digest::with_text(&members)?;
        let signature = match key {
            None => None,
            Some(key) => {
                let failed = || DocumentError::Sign(key.public().id().to_string());
                let hash = blake3::Hash::from_hex(&digest.document).map_err(|_| failed())?;
                Some(to_hex(&key.sign(&hash).ok_or_else(failed)?))
            }
        };
        let sealed = ["digest", "signature"];
        let sealed_with = [canonical::text(&value(&digest)?)?, canonical::text(&value(&signature)?)?];
        let members =
            digested.members().chain(sealed.into_iter().zip(sealed_with.iter().map(String::as_str)));
        let mut text = String::new();
        canonical::write_object(members, &mut text, |_, member, text| {
            *text += member;
            Ok(())
        })?;
        text.push('\n');
        Ok((Self { certificate, seal: Seal { signer, digest, signature } }, text))
    }

    /// The file: the canonical text and a newline.
    ///
    /// # Errors
    /// As [`Document::seal`].
    pub fn to_text(&self) -> Result<String, DocumentError> {
        Ok(canonical::text(&self.to_value()?)? + "\n")
    }

    /// Reads a document. It says nothing about what holds: that is for [`Verification`](super::Verification).
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        Self::from_value(&canonical::parse(bytes)?)
    }

    pub(super) fn to_value(&self) -> Result<Value, DocumentError> {
        let mut members = object(&self.certificate)?;
        members.append(&mut object(&self.seal)?);
        Ok(Value::Object(members))
    }

    pub(super) fn from_value(value: &Value) -> Result<Self, DocumentError> {
        let Value::Object(members) = value else {
            return Err(DocumentError::Field {
                field: ".".into(),
                problem: "it is not a JSON object".into(),
            });
        };
        let seal = ["signer", "digest", "signature"];
        let seal = seal.into_iter().filter_map(|name| Some((name.to_owned(), members.get(name)?.clone())));
        let seal = Value::Object(seal.collect());
        // Of the whole document a certificate reads its own members; nothing is copied for it.
        Ok(Self { certificate: read(value)?, seal: read(&seal)? })
    }
}

fn read<T: serde::de::DeserializeOwned>(members: &Value) -> Result<T, DocumentError> {
    serde_path_to_error::deserialize(members).map_err(|error| DocumentError::Field {
        field: error.path().to_string(),
        problem: error.inner().to_string(),
    })
}

fn value(of: &impl Serialize) -> Result<Value, DocumentError> {
    Ok(serde_json::to_value(of).map_err(CanonicalError::from)?)
}

fn object(of: &impl Serialize) -> Result<Map<String, Value>, DocumentError> {
    match value(of)? {
        Value::Object(members) => Ok(members),
        _ => Ok(Map::new()),
    }
}

/// Bytes as lower-case hexadecimal digits.
fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The bytes of lower-case hexadecimal digits.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let digits: Vec<u8> = text.as_bytes().iter().map(digit).collect::<Option<_>>()?;
    let whole = digits.len().is_multiple_of(2);
    whole.then(|| digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

impl Seal {
    /// The key that the document names, if its id is that of the key.
    pub(super) fn public_key(&self) -> Option<PublicKey> {
        let signer = self.signer.as_ref()?;
        PublicKey::from_hex(&signer.public_key).filter(|key| key.id().to_string() == signer.key)
    }
}
