//! When two names are one label, and which number a label has among the classes of a run.

use std::borrow::Cow;
use std::collections::HashMap;

/// A label's name for comparisons: without white space around it, Unicode NFC, then full case folding, then NFC again.
///
/// APIs change the case of their labels between versions and languages; `Dog`, `dog` and `DOG` are one label, and so
/// are composed and decomposed accents. White space around a label comes from how a list of labels was written or cut into
/// lines (a carriage return, say); a question cannot be written with it.
pub fn normalise(name: &str) -> Cow<'_, str> {
    let name = name.trim();
    let is_plain = |c: char| c.is_ascii() && !c.is_ascii_uppercase();
    if name.chars().all(is_plain) {
        return Cow::Borrowed(name);
    }
    let nfc = icu_normalizer::ComposingNormalizerBorrowed::new_nfc();
    let composed = nfc.normalize(name);
    let folded = icu_casemap::CaseMapper::new().fold_string(&composed);
    Cow::Owned(nfc.normalize(&folded).into_owned())
}

/// Gives each label a class index in order of first appearance, and remembers its first spelling.
#[derive(Clone, Debug, Default)]
pub struct Classes {
    spellings: Vec<String>,
    index: HashMap<String, usize>,
}

impl Classes {
    /// The class of this label; a new one if its normalised name was not seen before.
    pub fn class(&mut self, label: &str) -> usize {
        let key = normalise(label);
        if let Some(&class) = self.index.get(key.as_ref()) {
            return class;
        }
        let class = self.spellings.len();
        self.index.insert(key.into_owned(), class);
        self.spellings.push(label.to_owned());
        class
    }

    /// The spelling in which a class was first seen.
    pub fn spelling(&self, class: usize) -> Option<&str> {
        self.spellings.get(class).map(String::as_str)
    }

    /// All spellings, in order of first appearance.
    pub fn spellings(&self) -> &[String] {
        &self.spellings
    }

    /// How many labels were seen.
    pub fn len(&self) -> usize {
        self.spellings.len()
    }

    /// Was no label seen?
    pub fn is_empty(&self) -> bool {
        self.spellings.is_empty()
    }
}
