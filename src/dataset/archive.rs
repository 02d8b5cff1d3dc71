//! Class folders in a tar.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use flate2::read::GzDecoder;
use tar::Archive;

use super::files::class;
use super::{DatasetError, Sample, Source};
use crate::picture::Format;

/// Most bytes of a compressed archive that are kept in memory.
const MOST: u64 = 2 << 30;

/// An uncompressed tar: members are found now and read when they are asked for.
pub(super) fn plain(path: &Path) -> Result<Vec<Sample>, DatasetError> {
    let shared = Arc::new(path.to_owned());
    members(path, open(path)?, |member| {
        let (from, length) = (member.raw_file_position(), member.size());
        Ok(Source::Stretch { file: Arc::clone(&shared), from, length })
    })
}

/// A compressed tar: members are read now.
pub(super) fn compressed(path: &Path) -> Result<Vec<Sample>, DatasetError> {
    let mut total = 0;
    members(path, GzDecoder::new(open(path)?), |member| read(path, member, &mut total).map(Source::Bytes))
}

pub(super) fn open(path: &Path) -> Result<std::io::BufReader<std::fs::File>, DatasetError> {
    let file = std::fs::File::open(path);
    file.map(std::io::BufReader::new).map_err(|source| DatasetError::Read { path: path.to_owned(), source })
}

/// A member's bytes, counted towards what may be kept.
pub(super) fn read(
    path: &Path,
    member: &mut tar::Entry<'_, impl Read>,
    total: &mut u64,
) -> Result<Arc<[u8]>, DatasetError> {
    *total = total.saturating_add(member.size());
    if *total > MOST {
        return Err(DatasetError::TooLarge { path: path.to_owned(), limit: MOST });
    }
    let mut bytes = Vec::new();
    let read = member.read_to_end(&mut bytes);
    read.map_err(|source| DatasetError::Read { path: path.to_owned(), source })?;
    Ok(bytes.into())
}

fn members<R: Read>(
    path: &Path,
    archive: R,
    mut source: impl FnMut(&mut tar::Entry<'_, R>) -> Result<Source, DatasetError>,
) -> Result<Vec<Sample>, DatasetError> {
    let fail = |source| DatasetError::Read { path: path.to_owned(), source };
    let mut samples: Vec<Sample> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for member in Archive::new(archive).entries().map_err(fail)? {
        let mut member = member.map_err(fail)?;
        let name = member.path().map_err(fail)?.into_owned();
        let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
        if !member.header().entry_type().is_file() || !Format::is_named(&name) {
            continue;
        }
        // A flat archive names the class in the file: `n01534433_junco.png`.
        let of_name = || name.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let Some(class) = class(&name).or_else(of_name) else { continue };
        let source = source(&mut member)?;
        let name = name.display().to_string();
        let sample = Sample::new(name.clone(), class, source);
        // What was added to an archive later takes the place of what was there, as when it is unpacked.
        match places.entry(name) {
            Entry::Occupied(place) => samples[*place.get()] = sample,
            Entry::Vacant(place) => {
                place.insert(samples.len());
                samples.push(sample);
            }
        }
    }
    Ok(samples)
}
