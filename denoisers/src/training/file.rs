//! Files that are whole or not there.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Write},
    path::Path,
};

use safetensors::{Dtype, tensor::TensorView};

use super::TrainError;

/// Writes the file beside its place, waits until the disk has it, and moves it there. What was there before stays until then.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let attempt = || -> io::Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".partial");
        let partial = path.with_file_name(name);
        let whole = || -> io::Result<()> {
            let mut file = File::create(&partial)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            drop(file);
            std::fs::rename(&partial, path)
        };
        // Half a file is of no use, and a full disk could do without it.
        whole().inspect_err(|_| _ = std::fs::remove_file(&partial))?;
        // The name is the folder's content; systems where a folder cannot be opened need no such thing.
        let folder =
            path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
        if let Some(folder) = folder.and_then(|folder| File::open(folder).ok()) {
            folder.sync_all()?;
        }
        Ok(())
    };
    attempt().map_err(|source| error(path, source))
}

/// Name, shape and bytes.
pub(super) type Tensor = (String, Vec<usize>, Vec<u8>);

/// Little-endian.
pub(super) fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Writes 32-bit floats as safetensors.
pub(super) fn write_tensors(
    path: &Path,
    tensors: &[Tensor],
    metadata: &HashMap<String, String>,
) -> Result<(), TrainError> {
    let views: Result<Vec<_>, _> = tensors
        .iter()
        .map(|(name, shape, bytes)| TensorView::new(Dtype::F32, shape.clone(), bytes).map(|v| (name, v)))
        .collect();
    let views = views.map_err(|e| error(path, e))?;
    let bytes = safetensors::serialize(views, Some(metadata.clone())).map_err(|e| error(path, e))?;
    write(path, &bytes)
}

fn error(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> TrainError {
    TrainError::Write { path: path.display().to_string(), source: source.into() }
}
