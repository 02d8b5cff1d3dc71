//! Pictures to learn from, decoded and in memory.

mod cifar;
mod files;
mod source;

use std::path::PathBuf;

pub use source::{Source, Split};

/// Decoded pictures may take this much memory together.
const MAX_MEMORY: u64 = 16 << 30;

/// One picture: RGB with 8 bits, channels last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Where it is from, for errors.
    pub name: String,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `height * width * 3` values, row by row.
    pub rgb: Vec<u8>,
    /// An index into [`Pictures::classes`], if it has a class.
    pub class: Option<usize>,
}

/// A set of pictures in a fixed order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pictures {
    /// Class names; folders' names, sorted, unless the data set has an order of its own.
    pub classes: Vec<String>,
    /// The pictures, sorted by name.
    pub all: Vec<Picture>,
}

impl Pictures {
    /// Takes about `count` pictures out, evenly spread over the set, as a validation set; every picture is in one of the two. A
    /// set with fewer than two pictures stays whole.
    pub fn hold_out(self, count: usize) -> (Self, Self) {
        let total = self.all.len();
        let count = count.min(total / 2);
        let (mut rest, mut held) = (Vec::with_capacity(total - count), Vec::with_capacity(count));
        for (i, picture) in self.all.into_iter().enumerate() {
            // Each time that i * count passes a multiple of the total.
            let taken = (i + 1) * count / total > i * count / total;
            if taken { held.push(picture) } else { rest.push(picture) }
        }
        (Self { classes: self.classes.clone(), all: rest }, Self { classes: self.classes, all: held })
    }

    /// One of every so many pictures, at most `count` of them, evenly spread.
    #[must_use]
    pub fn thin(mut self, count: usize) -> Self {
        let total = self.all.len();
        if count < total {
            let mut i = 0;
            self.all.retain(|_| {
                i += 1;
                i * count / total > (i - 1) * count / total
            });
        }
        self
    }

    /// Renumbers the classes as a classifier does whose labels these are. `_` and a space are alike, as folders are named with the one and
    /// labels with the other.
    ///
    /// # Errors
    /// [`DataError::Class`] if a class is not among them, or a picture has none.
    pub fn classes_as(&mut self, labels: &[String]) -> Result<(), DataError> {
        let place = |class: &String| {
            let spaced = |name: &str| name.replace('_', " ");
            let same = |label: &String| spaced(label) == spaced(class);
            labels.iter().position(same).ok_or_else(|| DataError::Class {
                class: class.clone(),
                known: labels.len(),
                first: labels.first().cloned().unwrap_or_default(),
            })
        };
        let places: Vec<usize> = self.classes.iter().map(place).collect::<Result<_, _>>()?;
        for picture in &mut self.all {
            let class = picture.class.ok_or_else(|| DataError::NoClass { name: picture.name.clone() })?;
            picture.class = Some(places[class]);
        }
        self.classes = labels.to_vec();
        Ok(())
    }

    /// Gives each picture the class that somebody's answer to it names, numbered as a classifier does whose labels these are, and takes out
    /// those that have no answer, or one that is not among the labels (`_` and a space are alike). Gives how many it took out.
    pub fn answered<'a>(&mut self, answer: impl Fn(&str) -> Option<&'a str>, labels: &[String]) -> usize {
        let spaced = |name: &str| name.replace('_', " ");
        let before = self.all.len();
        self.all.retain_mut(|picture| {
            let class = answer(&picture.name)
                .and_then(|answer| labels.iter().position(|label| spaced(label) == spaced(answer)));
            picture.class = class;
            class.is_some()
        });
        self.classes = labels.to_vec();
        before - self.all.len()
    }

    /// A hash of the pictures with their names and classes' numbers: a resumed run must find the same.
    pub fn fingerprint(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for picture in &self.all {
            let class = picture.class.map_or(u64::MAX, |class| class as u64);
            for number in [picture.name.len() as u64, picture.height as u64, picture.width as u64, class] {
                hasher.update(&number.to_le_bytes());
            }
            hasher.update(picture.name.as_bytes());
            hasher.update(&picture.rgb);
        }
        hasher.finalize()
    }
}

/// Pictures that cannot be learnt from. The user's to mend; trying again changes nothing, unless a disk failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A picture is damaged, or none.
    #[error("{name} is no picture that can be decoded ({reason}); remove it or save it again")]
    Picture {
        /// The file, or the archive and the file in it.
        name: String,
        /// What the decoder said.
        reason: String,
    },
    /// There are no pictures.
    #[error("{} holds no PNG, JPEG, WebP, BMP or GIF pictures", path.display())]
    Empty {
        /// The folder or archive.
        path: PathBuf,
    },
    /// Not laid out as a data set of this name is.
    #[error("{}: {reason}", path.display())]
    Layout {
        /// The folder or file.
        path: PathBuf,
        /// What was expected.
        reason: String,
    },
    /// All pictures together are too many.
    #[error("the pictures of {} take more than {} GiB of memory when decoded; use fewer or smaller ones", path.display(), MAX_MEMORY >> 30)]
    Memory {
        /// The folder or archive.
        path: PathBuf,
    },
    /// A picture is smaller than what is cut out of it.
    #[error(
        "{name} is {height}x{width}, smaller than the {patch}x{patch} that are cut out of it; remove it or choose smaller patches"
    )]
    Small {
        /// The picture.
        name: String,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Rows and columns that are needed.
        patch: usize,
    },
    /// A class that the classifier does not have.
    #[error(
        "class `{class}` of the pictures is none of the classifier's {known} (`{first}`, ...); folders are named like classes"
    )]
    Class {
        /// The class.
        class: String,
        /// How many the classifier has.
        known: usize,
        /// The first of them.
        first: String,
    },
    /// A picture without a class.
    #[error("{name} lies in no folder that names its class")]
    NoClass {
        /// The picture.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pictures(count: usize) -> Pictures {
        let picture = |i: usize| Picture {
            name: format!("{i}"),
            height: 1,
            width: 1,
            rgb: vec![i as u8; 3],
            class: Some(i % 2),
        };
        Pictures { classes: vec!["a".into(), "b".into()], all: (0..count).map(picture).collect() }
    }

    #[test]
    fn what_is_held_out_is_not_learnt_from() {
        for (total, count, held) in [(10, 3, 3), (600, 32, 32), (3, 9, 1), (1, 1, 0)] {
            let (rest, validation) = pictures(total).hold_out(count);
            assert_eq!(validation.all.len(), held);
            let mut names: Vec<_> = rest.all.iter().chain(&validation.all).map(|p| p.name.clone()).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), total);
        }
        assert_eq!(pictures(7).thin(3).all.len(), 3);
        assert_eq!(pictures(7).thin(30), pictures(7));
    }

    #[test]
    fn classes_take_the_numbers_of_the_classifier() {
        let labels = ["x", "b", "a b"].map(str::to_owned);
        let mut renumbered = pictures(2);
        renumbered.classes[0] = "a_b".into();
        renumbered.classes_as(&labels).unwrap();
        assert_eq!([renumbered.all[0].class, renumbered.all[1].class], [Some(2), Some(1)]);
        assert!(
            matches!(pictures(2).classes_as(&labels[..2]), Err(DataError::Class { class, .. }) if class == "a")
        );
        let mut none = pictures(1);
        none.classes[0] = "a_b".into();
        none.all[0].class = None;
        assert!(matches!(none.classes_as(&labels), Err(DataError::NoClass { .. })));
    }

    #[test]
    fn fingerprints_are_of_everything() {
        let first = pictures(3);
        let mut others = [pictures(3), pictures(3), pictures(3), pictures(2)];
        others[0].all[1].rgb[0] += 1;
        others[1].all[1].class = None;
        others[2].all.swap(0, 1);
        assert_eq!(first.fingerprint(), pictures(3).fingerprint());
        assert!(others.iter().all(|other| other.fingerprint() != first.fingerprint()));
    }
}
