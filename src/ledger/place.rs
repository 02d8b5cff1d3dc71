//! Where the ledger is by default.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::LedgerError;

/// The default place: `$XDG_STATE_HOME/smoothgate/ledger.db`, else `~/.local/state/smoothgate/ledger.db` (XDG Base
/// Directory Specification 0.8; relative values are ignored, as it demands). On Windows the home folder's place is
/// taken by `%LOCALAPPDATA%`.
///
/// `variable` looks up an environment variable: `|name| std::env::var_os(name)`.
///
/// # Errors
/// [`LedgerError::NoHome`] where no variable names an absolute folder.
pub fn default_path(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, LedgerError> {
    let folder = |name: &str| variable(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let (home, below) = if cfg!(windows) { ("LOCALAPPDATA", "") } else { ("HOME", ".local/state") };
    let state = folder("XDG_STATE_HOME")
        .or_else(|| folder(home).map(|h| h.join(below)))
        .ok_or(LedgerError::NoHome { variable: home })?;
    Ok(state.join("smoothgate").join("ledger.db"))
}

/// `path` with `suffix` appended to the file name: the companions of a ledger lie beside it.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn with(vars: &[(&str, &str)]) -> Result<PathBuf, LedgerError> {
        let vars: Vec<_> = vars.iter().map(|(k, v)| ((*k).to_owned(), OsString::from(v))).collect();
        default_path(|name| vars.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
    }

    #[test]
    fn the_state_folder_comes_before_the_home_folder() {
        let both = with(&[("XDG_STATE_HOME", "/state"), ("HOME", "/home/u")]).unwrap();
        assert_eq!(both, Path::new("/state/smoothgate/ledger.db"));
        let home = with(&[("XDG_STATE_HOME", "relative"), ("HOME", "/home/u")]).unwrap();
        assert_eq!(home, Path::new("/home/u/.local/state/smoothgate/ledger.db"));
    }

    #[test]
    fn no_home_says_what_to_do() {
        for vars in [&[][..], &[("HOME", "")], &[("HOME", "not/absolute")]] {
            let error = with(vars).unwrap_err().to_string();
            assert!(error.contains("--ledger PATH") && error.contains("HOME"), "{error}");
        }
    }
}
