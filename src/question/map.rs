//! The user's classes from an API's labels.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::MapError;
use super::names::normalise;

/// A larger file is no class map.
const MAX_BYTES: u64 = 16 << 20;

/// Hexadecimal digits of the hash in a question's text: 128 bits.
const HASH_DIGITS: usize = 32;

/// Which labels of an API belong to which class of the user: synonyms, spellings, a hierarchy.
///
/// Labels are compared by their normalised names. A label belongs to at most one class, or is listed as known to belong
/// to none, which keeps [`ClassMap::knows`] quiet about it. Cheap to clone. Two maps are equal if they map alike,
/// whatever their files are called.
#[derive(Clone)]
pub struct ClassMap(Arc<Inner>);

struct Inner {
    name: String,
    classes: Vec<String>,
    /// By normalised label: its position in `classes`, or `None` for a label known to belong to none.
    by_label: HashMap<String, Option<usize>>,
    hash: blake3::Hash,
}

impl ClassMap {
    /// Reads a file: tab-separated values if its name ends in `.tsv`, else TOML.
    ///
    /// TOML holds one line a class, `dog = ["Dog", "Puppy", "Hound"]`. Tab-separated values hold one line a label,
    /// `Puppy<TAB>dog`; empty lines and those that begin with `#` are skipped. In both, the class with the empty name
    /// lists labels that are known to belong to no class.
    ///
    /// # Errors
    /// [`MapError`], with the line where the format has lines.
    pub fn load(path: &Path) -> Result<Self, MapError> {
        let name = path.display().to_string();
        let text = read(path).map_err(|source| MapError::Read { name: name.clone(), source })?;
        let text = text.trim_start_matches('\u{feff}');
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tsv")) {
            Self::from_tsv(&name, text)
        } else {
            Self::from_toml(&name, text)
        }
    }

    /// As [`Self::load`], from TOML text; `name` is for messages.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn from_toml(name: &str, text: &str) -> Result<Self, MapError> {
        let classes: BTreeMap<String, Vec<String>> = toml::from_str(text)
            .map_err(|error| MapError::Syntax { name: name.to_owned(), problem: error.to_string() })?;
        Self::of_classes(name, &classes)
    }

    /// As [`Self::load`], from tab-separated text; `name` is for messages.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn from_tsv(name: &str, text: &str) -> Result<Self, MapError> {
        let lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#'));
        let pairs: Vec<(&str, &str)> = lines
            .map(|(number, line)| match line.split('\t').collect::<Vec<_>>().as_slice() {
                [label, class] => Ok((*label, *class)),
                columns => Err(MapError::Syntax {
                    name: name.to_owned(),
                    problem: format!(
                        "line {} has {} columns; write the API's label, one tab and your class",
                        number + 1,
                        columns.len()
                    ),
                }),
            })
            .collect::<Result<_, _>>()?;
        Self::new(name, pairs)
    }

    /// A map of `(label, class)` pairs; `name` is for messages. Surrounding white space does not count.
    ///
    /// # Errors
    /// [`MapError::TwoClasses`], [`MapError::Empty`], and [`MapError::Syntax`] for an empty label and for two spellings
    /// of one class.
    pub fn new<'a>(
        name: &str,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, MapError> {
        let syntax = |problem: String| MapError::Syntax { name: name.to_owned(), problem };
        let mut classes: Vec<String> = Vec::new();
        let mut by_class: HashMap<String, usize> = HashMap::new();
        let mut by_label: HashMap<String, Option<usize>> = HashMap::new();
        for (label, class) in pairs {
            let (label, class) = (label.trim(), class.trim());
            if label.is_empty() {
                return Err(syntax(format!("an empty label belongs to the class `{class}`")));
            }
            let class = if class.is_empty() {
                None
            } else {
                let index = *by_class.entry(normalise(class).into_owned()).or_insert_with(|| {
                    classes.push(class.to_owned());
                    classes.len() - 1
                });
                if classes[index] != class {
                    return Err(syntax(format!(
                        "`{}` and `{class}` are one class in two spellings: choose one",
                        classes[index]
                    )));
                }
                Some(index)
            };
            let before = *by_label.entry(normalise(label).into_owned()).or_insert(class);
            if before != class {
                let spelt = |class: Option<usize>| class.map_or("no class", |c| &classes[c]).to_owned();
                return Err(MapError::TwoClasses {
                    name: name.to_owned(),
                    label: label.to_owned(),
                    one: spelt(before),
                    other: spelt(class),
                });
            }
        }
        if classes.is_empty() {
            return Err(MapError::Empty(name.to_owned()));
        }
        let hash = hash(&classes, &by_label);
        Ok(Self(Arc::new(Inner { name: name.to_owned(), classes, by_label, hash })))
    }

    fn of_classes(name: &str, classes: &BTreeMap<String, Vec<String>>) -> Result<Self, MapError> {
        let pairs = classes.iter().flat_map(|(class, labels)| labels.iter().map(move |l| (&**l, &**class)));
        Self::new(name, pairs)
    }

    /// The class of a label, if it has one.
    pub fn class(&self, label: &str) -> Option<&str> {
        self.class_of_key(&normalise(label))
    }

    /// Does the map say anything about this label? The checker of a map asks this of every label that an API gives:
    /// one that is unknown is usually a synonym that was forgotten.
    pub fn knows(&self, label: &str) -> bool {
        self.0.by_label.contains_key(normalise(label).as_ref())
    }

    /// Those of `labels` that the map does not know, each once, in the order in which they first come.
    pub fn unmapped<'a>(&self, labels: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        let mut seen = std::collections::HashSet::new();
        labels.into_iter().filter(|label| !self.knows(label) && seen.insert(normalise(label))).collect()
    }

    /// The classes, in the order of the file; TOML's in code-point order.
    pub fn classes(&self) -> &[String] {
        &self.0.classes
    }

    /// Where it came from.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn class_of_key(&self, key: &str) -> Option<&str> {
        let class = *self.0.by_label.get(key)?;
        class.map(|class| self.0.classes[class].as_str())
    }

    /// This map, if its hash begins with `wanted`.
    pub(super) fn expecting(self, wanted: &str) -> Result<Self, MapError> {
        let found = self.short_hash();
        if found.eq_ignore_ascii_case(wanted) {
            return Ok(self);
        }
        Err(MapError::Changed { name: self.0.name.clone(), found, wanted: wanted.to_owned() })
    }

    /// Splits `FILE#HASH`.
    pub(super) fn split_hash(text: &str) -> (&str, Option<&str>) {
        match text.rsplit_once('#') {
            Some((file, hash))
                if hash.len() == HASH_DIGITS && hash.bytes().all(|b| b.is_ascii_hexdigit()) =>
            {
                (file, Some(hash))
            }
            _ => (text, None),
        }
    }

    fn short_hash(&self) -> String {
        self.0.hash.to_hex()[..HASH_DIGITS].to_owned()
    }
}

/// BLAKE3 of the mapping, whatever the order of the file and the spelling of the labels.
fn hash(classes: &[String], by_label: &HashMap<String, Option<usize>>) -> blake3::Hash {
    let sorted: BTreeMap<&str, &str> =
        by_label.iter().map(|(label, class)| (label.as_str(), class.map_or("", |c| &classes[c]))).collect();
    let mut hasher = blake3::Hasher::new();
    for text in sorted.into_iter().flat_map(|(label, class)| [label, class]) {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize()
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::other("it is larger than 16 MiB"));
    }
    Ok(text)
}

/// `FILE#HASH`, short enough for a line.
impl fmt::Display for ClassMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.0.name, self.short_hash())
    }
}

impl fmt::Debug for ClassMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClassMap({self}, {} classes, {} labels)", self.0.classes.len(), self.0.by_label.len())
    }
}

impl PartialEq for ClassMap {
    fn eq(&self, other: &Self) -> bool {
        self.0.hash == other.0.hash
    }
}

impl Eq for ClassMap {}

impl std::hash::Hash for ClassMap {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash.as_bytes().hash(state);
    }
}

/// The whole map, as certificates hold it: what re-derives a vote must not depend on a file.
#[derive(Serialize, Deserialize)]
pub(super) struct Whole {
    name: String,
    classes: BTreeMap<String, Vec<String>>,
}

impl From<&ClassMap> for Whole {
    fn from(map: &ClassMap) -> Self {
        let Inner { name, classes, by_label, .. } = &*map.0;
        let mut whole = Self { name: name.clone(), classes: BTreeMap::new() };
        for (label, class) in by_label {
            let class = class.map_or("", |c| &classes[c]);
            whole.classes.entry(class.to_owned()).or_default().push(label.clone());
        }
        whole.classes.values_mut().for_each(|labels| labels.sort_unstable());
        whole
    }
}

impl TryFrom<Whole> for ClassMap {
    type Error = MapError;

    fn try_from(whole: Whole) -> Result<Self, MapError> {
        Self::of_classes(&whole.name, &whole.classes)
    }
}
