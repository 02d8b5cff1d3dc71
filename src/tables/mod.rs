//! Built tables, kept on disk between runs.
//!
//! Building the tables of a long test takes seconds, and they depend on the plan alone. A cache is a folder with one file
//! a plan. Nothing in it is trusted: a file is used only if it is whole, was written for exactly this plan, and its tables
//! pass the check that new tables pass too ([`Test::with_tables`]); otherwise they are built anew and the file is replaced.
//! So the worst that a corrupted or forged file can do is to cost time, or to give up a picture early.
//!
//! Several processes may share a folder: a file appears under its name only when it is complete, by renaming. A folder that
//! cannot be read or written is no error, only slower.

mod file;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;

use crate::stats::{Method, Plan, StatsError, Test};

/// Votes of a two-class table from which on making and checking it takes so long that it is said.
const LONG: usize = 1000;

/// A folder of built tables, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableCache {
    folder: Option<PathBuf>,
}

impl TableCache {
    /// Keeps nothing: every test builds its tables.
    pub fn none() -> Self {
        Self::default()
    }

    /// Keeps tables in this folder, which is made when the first are written.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()) }
    }

    /// Keeps tables in the user's cache folder ([`default_folder`]); nothing, where there is none.
    pub fn usual() -> Self {
        Self { folder: default_folder(|name| std::env::var_os(name)) }
    }

    /// The folder.
    pub fn folder(&self) -> Option<&std::path::Path> {
        self.folder.as_deref()
    }

    /// The test of a plan, with tables from the cache if they are there and pass the check, else with new ones, which are
    /// then kept. Plans without tables never touch the disk.
    ///
    /// # Errors
    /// As [`Test::new`]; never because of the cache.
    pub fn test(&self, plan: Plan) -> Result<Test, StatsError> {
        let Some(folder) = self.folder.as_deref().filter(|_| plan.method.has_tables()) else {
            return Test::new(plan);
        };
        if let Method::Table(ladder) = &plan.method
            && ladder.n_max > LONG
        {
            tracing::info!(votes = ladder.n_max, radii = ?ladder.radii, "making the tables of the test, which may take minutes");
        }
        match file::read(folder, &plan) {
            Ok(None) => {}
            Ok(Some(tables)) => match Test::with_tables(plan.clone(), tables) {
                Ok(test) => return Ok(test),
                Err(fault @ (StatsError::Table { .. } | StatsError::Level { .. })) => {
                    tracing::warn!(%fault, folder = %folder.display(), "cached tables failed their check, building new ones");
                }
                Err(error) => return Err(error),
            },
            Err(fault) => {
                tracing::warn!(%fault, folder = %folder.display(), "cached tables cannot be read, building new ones");
            }
        }
        let test = Test::new(plan)?;
        if let Some(tables) = test.tables()
            && let Err(error) = file::write(folder, test.plan(), tables)
        {
            tracing::debug!(%error, folder = %folder.display(), "built tables could not be kept");
        }
        Ok(test)
    }
}

/// Where tables are kept by default: `$XDG_CACHE_HOME/smoothgate/tables`, else `~/.cache/smoothgate/tables` (XDG Base
/// Directory Specification 0.8; relative values are ignored, as it demands), on Windows `%LOCALAPPDATA%\smoothgate\tables`.
/// `None` where no variable names an absolute folder.
///
/// `variable` looks up an environment variable: `|name| std::env::var_os(name)`.
pub fn default_folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let (home, below) = if cfg!(windows) { ("LOCALAPPDATA", "") } else { ("HOME", ".cache") };
    let cache = folder("XDG_CACHE_HOME").or_else(|| folder(home).map(|home| home.join(below)))?;
    Some(cache.join("smoothgate").join("tables"))
}
