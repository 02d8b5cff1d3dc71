//! CIFAR-10 (Krizhevsky 2009) in its original order: picture i of the test batch is picture i of the literature.

use std::path::Path;

use super::{DataError, Picture, Pictures, Split, files};
use crate::classifiers::CIFAR10;

const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE;
/// A class and three planes.
const RECORD: usize = 1 + 3 * PIXELS;

pub(super) fn read(path: &Path, split: Split) -> Result<Pictures, DataError> {
    let batches: Vec<String> = match split {
        Split::Train => (1..=5).map(|i| format!("data_batch_{i}")).collect(),
        Split::Test => vec!["test_batch".into()],
    };
    let sheets = path.join(format!("{}.png", batches[0])).exists();
    if !sheets && !path.join(format!("{}.bin", batches[0])).exists() {
        let reason = "neither data_batch_1.bin, ... and test_batch.bin of CIFAR-10's binary version are here, nor \
                      the PNG sheets of those names with train_lables.json and test_lables.json";
        return Err(DataError::Layout { path: path.to_path_buf(), reason: reason.into() });
    }
    let all = if sheets { from_sheets(path, &batches, split)? } else { from_records(path, &batches)? };
    Ok(Pictures { classes: CIFAR10.map(str::to_owned).to_vec(), all })
}

fn bytes(path: &Path) -> Result<Vec<u8>, DataError> {
    let opened = std::fs::File::open(path);
    files::limited(opened.map_err(|source| DataError::Read { path: path.to_path_buf(), source })?, path)
}

fn picture(batch: &str, index: usize, rgb: Vec<u8>, class: usize) -> Picture {
    Picture { name: format!("{batch}/{index}"), height: SIDE, width: SIDE, rgb, class: Some(class) }
}

fn from_records(folder: &Path, batches: &[String]) -> Result<Vec<Picture>, DataError> {
    let mut all = Vec::new();
    for batch in batches {
        let path = folder.join(format!("{batch}.bin"));
        let bytes = bytes(&path)?;
        let (records, []) = bytes.as_chunks::<RECORD>() else {
            let reason = format!("{} bytes are no whole number of records of {RECORD}", bytes.len());
            return Err(DataError::Layout { path, reason });
        };
        for (index, [class, planes @ ..]) in records.iter().enumerate() {
            let class = usize::from(*class);
            if class >= CIFAR10.len() {
                let reason = format!("record {index} has class {class}, not one of 0 to 9");
                return Err(DataError::Layout { path, reason });
            }
            let rgb = (0..PIXELS).flat_map(|p| [planes[p], planes[PIXELS + p], planes[2 * PIXELS + p]]);
            all.push(picture(batch, index, rgb.collect(), class));
        }
    }
    Ok(all)
}

/// Each row of a sheet is a picture, pixel by pixel.
fn from_sheets(folder: &Path, batches: &[String], split: Split) -> Result<Vec<Picture>, DataError> {
    let labels = folder.join(match split {
        Split::Train => "train_lables.json",
        Split::Test => "test_lables.json",
    });
    let layout = |path: &Path, reason: String| DataError::Layout { path: path.to_path_buf(), reason };
    let classes: Vec<usize> =
        serde_json::from_slice(&bytes(&labels)?).map_err(|e| layout(&labels, e.to_string()))?;
    if let Some(class) = classes.iter().find(|class| **class >= CIFAR10.len()) {
        return Err(layout(&labels, format!("class {class} is not one of 0 to 9")));
    }
    let mut all: Vec<Picture> = Vec::new();
    for batch in batches {
        let path = folder.join(format!("{batch}.png"));
        let (rows, width, rgb) = files::rgb(&path.display().to_string(), &bytes(&path)?)?;
        if width != PIXELS {
            return Err(layout(&path, format!("a row has {width} pixels, not the {PIXELS} of a picture")));
        }
        if all.len() + rows > classes.len() {
            let reason = format!("{} classes are fewer than the pictures", classes.len());
            return Err(layout(&labels, reason));
        }
        for (index, row) in rgb.chunks_exact(3 * PIXELS).enumerate() {
            all.push(picture(batch, index, row.to_vec(), classes[all.len()]));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_give_the_same_pictures() {
        let folder = tempfile::tempdir().unwrap();
        let (bin, sheets) = (folder.path().join("bin"), folder.path().join("sheets"));
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::create_dir_all(&sheets).unwrap();
        let value = |p: usize, c: usize, i: usize| (p * 7 + c * 50 + i * 3) as u8;
        let (mut records, mut rows) = (Vec::new(), Vec::new());
        for i in 0..2 {
            records.push(9 - i as u8);
            records.extend((0..3).flat_map(|c| (0..PIXELS).map(move |p| value(p, c, i))));
            rows.extend((0..PIXELS).flat_map(|p| (0..3).map(move |c| value(p, c, i))));
        }
        std::fs::write(bin.join("test_batch.bin"), &records).unwrap();
        image::RgbImage::from_raw(1024, 2, rows).unwrap().save(sheets.join("test_batch.png")).unwrap();
        std::fs::write(sheets.join("test_lables.json"), "[9, 8]").unwrap();
        let pictures = read(&bin, Split::Test).unwrap();
        assert_eq!(pictures, read(&sheets, Split::Test).unwrap());
        assert_eq!((pictures.all.len(), pictures.all[1].class), (2, Some(8)));
        assert_eq!(pictures.all[1].rgb[3..6], [value(1, 0, 1), value(1, 1, 1), value(1, 2, 1)]);

        assert!(matches!(read(&bin, Split::Train), Err(DataError::Layout { .. })));
        std::fs::write(bin.join("test_batch.bin"), &records[1..]).unwrap();
        assert!(matches!(read(&bin, Split::Test), Err(DataError::Layout { .. })));
        std::fs::write(sheets.join("test_lables.json"), "[9]").unwrap();
        assert!(matches!(read(&sheets, Split::Test), Err(DataError::Layout { .. })));
    }
}
