//! What a picture truly shows, and which labels say so.

use std::collections::BTreeMap;

use crate::question::normalise;

/// A class of a data set: what it is called, and what its folder or manifest calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    name: String,
    folder: String,
}

impl Class {
    /// A class that everybody calls the same.
    pub fn new(name: String) -> Self {
        Self { folder: name.clone(), name }
    }

    /// The class of a folder: its other name, where there is one; else the folder's without what file systems and `ImageNet`
    /// add to it, a synset before it (`n01534433_junco`) and underscores for spaces.
    pub(super) fn of_folder(folder: &str, names: &BTreeMap<String, String>) -> Self {
        let name = names.get(folder).cloned().unwrap_or_else(|| bare(folder).replace('_', " "));
        Self { name, folder: folder.to_owned() }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its folder or its manifest calls it.
    pub(super) fn folder(&self) -> &str {
        &self.folder
    }

    /// Does this label say the class? By its name or by its folder's, as [`same_class`] compares them: a classifier that was
    /// trained on folders answers with what they are called. Of two classes of one name (`ImageNet` has two cranes) a label
    /// with a synset says only its own.
    pub fn is(&self, label: &str) -> bool {
        match (synset(&self.folder), synset(label)) {
            (Some(own), Some(other)) => own == other,
            _ => same_class(&self.name, label) || same_class(&self.folder, label),
        }
    }
}

/// Does the label say this class? Names are compared by [`normalise`]; `_` and a space are alike, and a synset before the name is
/// passed over, as folders are named with the ones and labels with the others. Two synsets say all by themselves.
pub fn same_class(truth: &str, label: &str) -> bool {
    match (synset(truth), synset(label)) {
        (Some(truth), Some(label)) => truth == label,
        _ => spaced(truth) == spaced(label),
    }
}

fn spaced(name: &str) -> String {
    normalise(bare(name)).replace('_', " ")
}

/// The name without a synset before it.
fn bare(name: &str) -> &str {
    match name.split_once('_') {
        Some((head, rest)) if !rest.is_empty() && synset(head).is_some() => rest,
        _ => name,
    }
}

/// The number of a `WordNet` noun that the name is or begins with: `n01534433` of `n01534433_junco`.
fn synset(name: &str) -> Option<&str> {
    let head = name.split('_').next()?;
    let digits = head.strip_prefix('n')?;
    (digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(head)
}
