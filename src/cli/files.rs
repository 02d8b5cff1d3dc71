//! Files that commands write.

use std::path::Path;

/// Writes beside the target and renames, so that a reader never sees half a file.
pub(super) fn write_whole(path: &Path, content: impl AsRef<[u8]>) -> std::io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, content)?;
    std::fs::rename(&partial, path)
}
