//! What a model is called, and what it is.

use std::fmt;

/// Name and content hash of a model. Two models with the same hash compute the same function (up to the rounding of the
/// machine they run on); a certificate records it, and votes under different hashes are never mixed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    name: String,
    hash: blake3::Hash,
}

impl Id {
    /// A model called `name` whose content hashes to `hash`.
    pub fn new(name: impl Into<String>, hash: blake3::Hash) -> Self {
        Self { name: name.into(), hash }
    }

    /// The architecture's name, such as `unet`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// BLAKE3 of the architecture, the weights as 32-bit floats and the precision of the arithmetic.
    pub fn hash(&self) -> blake3::Hash {
        self.hash
    }
}

/// `name@` and the hash in hexadecimal.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.hash.to_hex())
    }
}
