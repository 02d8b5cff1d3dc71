//! The zip layout: `NAME/data.pkl`, and each storage as `NAME/data/KEY`.

use std::{
    collections::HashMap,
    io::{Cursor, Read},
};

use zip::{CompressionMethod, ZipArchive};

use super::{Named, Reason, machine, tensors};

pub(super) fn read(bytes: &[u8]) -> Result<Named, Reason> {
    let error = |e: zip::result::ZipError| format!("the zip archive is damaged ({e})");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(error)?;
    let names = archive.file_names().map(|name| name.map(std::borrow::Cow::into_owned));
    let names: Vec<String> = names.collect::<Result<_, _>>().map_err(error)?;
    let pickles: Vec<&String> = names.iter().filter(|name| name.ends_with("/data.pkl")).collect();
    let [pickle] = pickles.as_slice() else {
        return Err("the zip archive has no `data.pkl` of PyTorch, or several".into());
    };
    let root = pickle.trim_end_matches("data.pkl");
    // Entries may name the same bytes of the file, and so be larger together than it is.
    let mut left = bytes.len() as u64;
    let mut entry = |name: &str| -> Result<Vec<u8>, Reason> {
        let mut file = archive.by_name(name).map_err(|e| format!("`{name}` is missing or damaged ({e})"))?;
        // PyTorch stores; what is compressed could unfold to any size.
        if file.compression() != CompressionMethod::Stored {
            return Err(format!("`{name}` is compressed, which PyTorch never does"));
        }
        left = left
            .checked_sub(file.size())
            .ok_or_else(|| format!("its entries up to `{name}` are larger together than the file"))?;
        let (size, mut content) = (file.size(), Vec::new());
        (&mut file).take(size).read_to_end(&mut content).map_err(|e| format!("`{name}` is damaged ({e})"))?;
        Ok(content)
    };
    let order = format!("{root}byteorder");
    if names.contains(&order) && entry(&order)?.trim_ascii() != b"little" {
        return Err("its numbers are big-endian; save it again on another machine".into());
    }
    let pickle = machine::run(&entry(pickle)?)?;
    // All storages first: several tensors may share one.
    let prefix = format!("{root}data/");
    let mut storages = HashMap::new();
    for name in names.iter().filter(|name| name.starts_with(&prefix)) {
        storages.insert(name[prefix.len()..].to_owned(), entry(name)?);
    }
    tensors::named(&pickle, |storage| {
        let bytes = storages.get(&storage.key).map(Vec::as_slice);
        let bytes = bytes.ok_or_else(|| format!("storage `{}` is missing", storage.key))?;
        let needed = storage.count.checked_mul(storage.number.size());
        if needed != Some(bytes.len()) {
            return Err(format!(
                "storage `{}` has {} bytes, not those of its numbers",
                storage.key,
                bytes.len()
            ));
        }
        Ok(bytes)
    })
}
