//! What can be wrong with a data set.

use std::path::PathBuf;

/// Why a data set cannot be used. All of these are the user's to mend.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// None of the known kinds.
    #[error(
        "`{place}` is no data set: give a folder with a folder a class, a .csv manifest with the columns `path` and \
         `label`, a .tar or .tar.gz of class folders, or `cifar10:PLACE`"
    )]
    Kind {
        /// What was given.
        place: String,
    },
    /// No labelled picture in it.
    #[error(
        "`{place}` holds no labelled picture (PNG, JPEG, WebP, BMP or GIF in a folder named after its class)"
    )]
    Empty {
        /// The set.
        place: String,
    },
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line of a manifest or of class names.
    #[error("{}:{line}: {problem}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what to write instead.
        problem: String,
    },
    /// A CIFAR-10 file that is none.
    #[error("`{}` is no CIFAR-10 file of the binary version: {problem}", path.display())]
    Cifar {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A compressed archive that would fill the memory.
    #[error(
        "`{}` unpacks to more than {limit} bytes, which are kept in memory: unpack it and give the folder or the .tar",
        path.display()
    )]
    TooLarge {
        /// The archive.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
}
