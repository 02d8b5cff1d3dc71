//! Files that commands write.

use std::path::Path;

use anyhow::Context as _;

/// Finds out before anything is paid whether a file can be written here.
///
/// # Errors
/// A folder that is not there, or takes no file; a folder of that name.
pub(super) fn check_writable(path: &Path) -> anyhow::Result<()> {
    // A name that nobody else has, not even another process of this program.
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.partial", std::process::id()));
    let tried = if path.is_dir() {
        Err(std::io::ErrorKind::IsADirectory.into())
    } else {
        std::fs::File::create(&partial).and_then(|_| std::fs::remove_file(&partial))
    };
    tried.with_context(|| format!("cannot write `{}`", path.display()))
}

/// Writes beside the target and renames, so that a reader never sees half a file.
pub(super) fn write_whole(path: &Path, content: impl AsRef<[u8]>) -> std::io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, content)?;
    std::fs::rename(&partial, path)
}
