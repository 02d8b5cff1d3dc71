//! What a model is called, and what it is.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

/// Name and content hash of a model. Two models with the same hash compute the same function (up to the rounding of the
/// machine they run on); a certificate records it, and votes under different hashes are never mixed.
#[derive(Clone, Debug)]
pub struct Id {
    name: String,
    hash: blake3::Hash,
    label: Option<String>,
}

/// What it is called changes nothing: the same weights from a file and from the program are one model.
impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.hash) == (&other.name, other.hash)
    }
}

impl Eq for Id {}

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, self.hash).hash(state);
    }
}

impl Id {
    /// A model called `name` whose content hashes to `hash`.
    pub fn new(name: impl Into<String>, hash: blake3::Hash) -> Self {
        Self { name: name.into(), hash, label: None }
    }

    /// The same model, called so where people compare it with others: several share an architecture.
    #[must_use]
    pub fn labelled(self, label: impl Into<String>) -> Self {
        Self { label: Some(label.into()), ..self }
    }

    /// What to call it before people: that of [`Id::labelled`], such as `photo`, or a file's folder and stem, else its name.
    pub fn label(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.name)
    }

    /// The architecture's name, such as `unet`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// BLAKE3 of the architecture, the weights as 32-bit floats, the precision of the arithmetic, and what the file says besides that changes
    /// results: classes, normalisation, strides.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_no_part_of_what_a_model_is() {
        let id = Id::new("unet", blake3::hash(b"weights"));
        let photo = id.clone().labelled("photo");
        assert_eq!((id.label(), photo.label(), photo.name()), ("unet", "photo", "unet"));
        assert_eq!((&photo, photo.to_string()), (&id, id.to_string()));
        assert_ne!(photo, Id::new("unet", blake3::hash(b"others")).labelled("photo"));
        assert!(std::collections::HashSet::from([id]).contains(&photo));
    }
}
