//! Packs the built-in weights for the program. `src/packed.rs` says what for, and opens them again.

use std::{
    env, fs,
    io::{Error, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::DeflateEncoder};

fn main() -> Result<(), Error> {
    let folder = Path::new("weights");
    // A file that is new is of no use before the registry names it.
    println!("cargo::rerun-if-changed=src/registry.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| Error::other("OUT_DIR is not set"))?);
    for entry in fs::read_dir(folder).map_err(|error| about(folder, &error))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            println!("cargo::rerun-if-changed={}", path.display());
            let to = out.join(path.file_stem().unwrap_or_default()).with_extension("packed");
            let file = fs::read(&path).map_err(|error| about(&path, &error))?;
            fs::write(&to, pack(&file)?).map_err(|error| about(&to, &error))?;
        }
    }
    Ok(())
}

fn about(path: &Path, error: &Error) -> Error {
    Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The file's bytes at even places, then those at odd places, deflated.
fn pack(file: &[u8]) -> Result<Vec<u8>, Error> {
    let mut packed = (file.len() as u64).to_le_bytes().to_vec();
    let mut deflate = DeflateEncoder::new(&mut packed, Compression::best());
    for first in 0..2 {
        let plane: Vec<u8> = file.iter().skip(first).step_by(2).copied().collect();
        deflate.write_all(&plane)?;
    }
    deflate.finish()?;
    Ok(packed)
}
