//! Pictures in folders and archives.

use std::{
    fs::File,
    io::{BufReader, Cursor, Read},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use flate2::read::MultiGzDecoder;
use image::{DynamicImage, ImageDecoder as _, ImageError, ImageReader};
use rayon::prelude::*;

use super::{DataError, MAX_MEMORY, Picture, Pictures};
use crate::whole::is_whole;

/// Bytes of one file.
const MAX_FILE: u64 = 64 << 20;
/// Rows or columns of one picture.
const MAX_SIDE: u32 = 16_384;
const NAMES: [&str; 7] = ["png", "jpg", "jpeg", "jpe", "webp", "bmp", "gif"];

/// A file that has not been decoded.
struct Encoded {
    name: String,
    class: Option<String>,
    bytes: Vec<u8>,
}

fn is_picture(path: &Path) -> bool {
    path.extension().is_some_and(|ext| NAMES.iter().any(|name| ext.eq_ignore_ascii_case(name)))
}

/// The folder that a path lies in.
fn class(path: &Path) -> Option<String> {
    Some(path.parent()?.file_name()?.to_string_lossy().into_owned())
}

pub(super) fn folder(path: &Path) -> Result<Pictures, DataError> {
    let error = |path: &Path, source| DataError::Read { path: path.to_path_buf(), source };
    let (mut folders, mut found) = (vec![path.to_path_buf()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|e| error(&folder, e))? {
            let entry = entry.map_err(|e| error(&folder, e))?;
            // Links to folders are not followed, so that a circle ends; those to files are. What is no file has nothing to read, and
            // a pipe would be waited for.
            let kind = entry.file_type().map_err(|e| error(&entry.path(), e))?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if is_picture(&entry.path())
                && std::fs::metadata(entry.path()).map_err(|e| error(&entry.path(), e))?.is_file()
            {
                found.push(entry.path());
            }
        }
    }
    let total = Memory::default();
    let read = |file: &std::path::PathBuf| {
        let inside = file.strip_prefix(path).unwrap_or(file);
        let opened = File::open(file).map_err(|e| error(file, e))?;
        let bytes = limited(opened, file)?;
        total.take(bytes.len(), path)?;
        Ok(Encoded { name: inside.display().to_string(), class: class(inside), bytes })
    };
    decode(path, found.par_iter().map(read).collect::<Result<_, DataError>>()?)
}

pub(super) fn tar(path: &Path) -> Result<Pictures, DataError> {
    let error = |source| DataError::Read { path: path.to_path_buf(), source };
    let mut reader = BufReader::new(File::open(path).map_err(error)?);
    let mut magic = [0; 2];
    let begins = reader.read(&mut magic).map_err(error)?;
    let reader = Cursor::new(magic[..begins].to_vec()).chain(reader);
    let reader: Box<dyn Read> =
        if magic == [0x1f, 0x8b] { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) };
    let mut archive = tar::Archive::new(reader);
    let (mut found, total) = (Vec::new(), Memory::default());
    for entry in archive.entries().map_err(error)? {
        let mut entry = entry.map_err(error)?;
        let inside = entry.path().map_err(error)?.into_owned();
        if entry.header().entry_type().is_file() && is_picture(&inside) {
            let bytes = limited(&mut entry, &inside)?;
            total.take(bytes.len(), path)?;
            found.push(Encoded { name: inside.display().to_string(), class: class(&inside), bytes });
        }
    }
    decode(path, found)
}

/// What was read or decoded so far.
#[derive(Default)]
struct Memory(AtomicU64);

impl Memory {
    /// Counts so many bytes more of what is in this folder or archive.
    fn take(&self, bytes: usize, path: &Path) -> Result<(), DataError> {
        let bytes = bytes as u64;
        if self.0.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_MEMORY {
            return Err(DataError::Memory { path: path.to_path_buf() });
        }
        Ok(())
    }
}

pub(super) fn limited(reader: impl Read, path: &Path) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    reader
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| DataError::Read { path: path.to_path_buf(), source })?;
    if bytes.len() as u64 > MAX_FILE {
        let reason = format!("it has more than {MAX_FILE} bytes");
        return Err(DataError::Picture { name: path.display().to_string(), reason });
    }
    Ok(bytes)
}

fn decode(path: &Path, mut files: Vec<Encoded>) -> Result<Pictures, DataError> {
    if files.is_empty() {
        return Err(DataError::Empty { path: path.to_path_buf() });
    }
    // An archive that was added to may hold a file twice; unpacked, there is the last one. The sort keeps their order.
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files.dedup_by(|later, kept| {
        let same = later.name == kept.name;
        if same {
            std::mem::swap(later, kept);
        }
        same
    });
    let mut classes: Vec<String> = files.iter().filter_map(|file| file.class.clone()).collect();
    classes.sort_unstable();
    classes.dedup();
    let memory = Memory::default();
    let picture = |file: Encoded| {
        let (height, width, rgb) = rgb(&file.name, &file.bytes)?;
        memory.take(rgb.len(), path)?;
        let class = file.class.and_then(|class| classes.binary_search(&class).ok());
        Ok(Picture { name: file.name, height, width, rgb, class })
    };
    // All of them are tried, so that the error is that of the first bad one whatever the threads do.
    let tried: Vec<Result<Picture, DataError>> = files.into_par_iter().map(picture).collect();
    Ok(Pictures { all: tried.into_iter().collect::<Result<_, _>>()?, classes })
}

/// Rows, columns and values of a picture, upright as its metadata say. Transparency is ignored.
pub(super) fn rgb(name: &str, bytes: &[u8]) -> Result<(usize, usize, Vec<u8>), DataError> {
    let error = |reason: String| DataError::Picture { name: name.to_owned(), reason };
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| error(e.to_string()))?;
    let mut limits = image::Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    reader.limits(limits.clone());
    if reader.format().is_some_and(|format| !is_whole(format, bytes)) {
        return Err(error("the file ends early".into()));
    }
    let decode = || {
        let mut decoder = reader.into_decoder()?;
        limits.reserve(decoder.total_bytes())?;
        let orientation = decoder.orientation()?;
        let mut picture = DynamicImage::from_decoder(decoder)?;
        picture.apply_orientation(orientation);
        Ok(picture.into_rgb8())
    };
    let picture = decode().map_err(|e: ImageError| error(e.to_string()))?;
    Ok((picture.height() as usize, picture.width() as usize, picture.into_raw()))
}
