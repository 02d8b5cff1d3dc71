//! Where the configuration file is looked for.

use std::path::{Path, PathBuf};

use smoothgate_providers::credentials::Environment;

/// The configuration file: the one asked for, else `SMOOTHGATE_CONFIG`, else `./smoothgate.toml`, else
/// `smoothgate/smoothgate.toml` in the user's configuration folder (`XDG_CONFIG_HOME`, `~/.config`, or `APPDATA`).
///
/// The first two need not exist: whoever names a file wants that one, and reading it says that it is not there.
pub fn find(asked: Option<&Path>, here: &Path, environment: &Environment) -> Option<PathBuf> {
    if let Some(path) = asked {
        return Some(path.to_owned());
    }
    if let Some(path) = environment.get("SMOOTHGATE_CONFIG") {
        return Some(PathBuf::from(path));
    }
    let user = environment.get("XDG_CONFIG_HOME").or_else(|| environment.get("APPDATA")).map(PathBuf::from);
    let user = user.or_else(|| environment.home(".config"));
    let places = [Some(here.join("smoothgate.toml")), user.map(|f| f.join("smoothgate/smoothgate.toml"))];
    places.into_iter().flatten().find(|path| path.is_file())
}
