//! The document that says what was certified about one picture, and what checks it.
//!
//! A [`Certificate`] is one or more claims about one picture, with everything that re-derives them. [`Document::seal`] writes it down: in the canonical
//! form of [`canonical`], with a BLAKE3 digest and, where a key is given, an Ed25519 signature. [`Verification`] reads a
//! document from a stranger and says, check by check, what holds.
//!
//! | who | can change unnoticed |
//! |---|---|
//! | somebody who edits the file | nothing: the digest names the field |
//! | somebody who edits the file and makes the digest anew | what no other field implies ([`UNDERIVED`]), where there is no signature |
//! | the same, with a signature whose key is known | nothing |

pub mod canonical;
mod claim;
mod content;
mod digest;
mod document;
mod keys;
mod schema;
mod verify;

pub use content::{Certificate, CertifiedLabel, Claim, Hashed, Noise, Outcome, Picture};
pub use digest::Digest;
pub use document::{Document, DocumentError, Seal, Signer};
pub use keys::{KeyError, KeyId, PublicKey, SigningKey};
pub use schema::schema;
pub(crate) use verify::working_image;
pub use verify::{Check, Recorded, UNDERIVED, Verdict, Verification};

/// Name and version of the document format.
pub const FORMAT: &str = "smoothgate certificate 2";
