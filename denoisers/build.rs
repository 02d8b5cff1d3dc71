//! Packs the built-in weights for the program. `src/packed.rs` says what for, and opens them again.
#![expect(clippy::print_stdout, reason = "how a build script speaks to cargo")]

use std::{
    env, fs,
    io::{Error, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::DeflateEncoder};

fn main() -> Result<(), Error> {
    let folder = Path::new("weights");
    println!("cargo::rerun-if-changed={}", folder.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| Error::other("OUT_DIR is not set"))?);
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            println!("cargo::rerun-if-changed={}", path.display());
            let name = path.file_stem().unwrap_or_default();
            let to = out.join(name).with_extension("packed");
            fs::write(to, pack(&fs::read(&path)?)?)?;
        }
    }
    Ok(())
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
