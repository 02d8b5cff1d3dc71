//! A picture of a request: what its header says, and whether the API would look at it.

use std::io::Cursor;

use bytes::Bytes;
use image::{ImageFormat, ImageReader};
use smoothgate_providers::served::{FileKind, Refusal, RefusalClass, ServedApi};
use smoothgate_providers::{EncodedPicture, Format};

/// Most pixels that are decoded to bring a file into a form that a classifier takes. (PNG and JPEG are handed on as
/// they are.)
const MAX_CONVERTED: u64 = 64_000_000;

/// What a file is by its header, checked against the limits of `api`: format, width, height. Nothing is decoded.
///
/// # Errors
/// A [`Refusal`] of the class that the real API would give.
pub fn measure(api: &dyn ServedApi, bytes: &Bytes) -> Result<(FileKind, u32, u32), Refusal> {
    let kind = FileKind::of(bytes).filter(|kind| api.kinds().contains(kind));
    let Some(kind) = kind else {
        // The sides do not matter: `admit` refuses what is in no known format.
        api.admit(bytes, api.limits().min_side, api.limits().min_side)?;
        return Err(bad());
    };
    let Some(decoder) = decoder(kind) else {
        let message = format!("{} files cannot be decoded here", kind.name());
        return Err(Refusal::new(RefusalClass::BadPicture, message));
    };
    // Length first: an absurd file is not even parsed.
    if bytes.len() > api.limits().max_bytes {
        api.admit(bytes, api.limits().min_side, api.limits().min_side)?;
    }
    let reader = ImageReader::with_format(Cursor::new(bytes), decoder);
    let (width, height) = reader.into_dimensions().map_err(|_| bad())?;
    api.admit(bytes, width, height)?;
    Ok((kind, width, height))
}

/// Checks a file against the limits of `api`, and gives it in a form that a classifier takes: PNG and JPEG as they are,
/// other formats as PNG. Nothing is decoded before the limits are checked. May take long: not for an asynchronous task.
///
/// # Errors
/// A [`Refusal`] of the class that the real API would give.
pub fn look(api: &dyn ServedApi, bytes: &Bytes) -> Result<(EncodedPicture, FileKind), Refusal> {
    let (kind, width, height) = measure(api, bytes)?;
    let format = match kind {
        FileKind::Png => Some(Format::Png),
        FileKind::Jpeg => Some(Format::Jpeg),
        _ => None,
    };
    let bytes = match format {
        Some(_) => bytes.clone(),
        None if u64::from(width) * u64::from(height) > MAX_CONVERTED => {
            return Err(Refusal::new(RefusalClass::PictureTooLarge, "too many pixels for this format"));
        }
        None => {
            let decoder = decoder(kind).ok_or_else(bad)?;
            let picture =
                ImageReader::with_format(Cursor::new(bytes), decoder).decode().map_err(|_| bad())?;
            let mut png = Cursor::new(Vec::new());
            picture.write_to(&mut png, ImageFormat::Png).map_err(|_| bad())?;
            png.into_inner().into()
        }
    };
    Ok((EncodedPicture { bytes, format: format.unwrap_or(Format::Png), width, height }, kind))
}

/// The decoder's own words would tell a client what is behind the API.
fn bad() -> Refusal {
    Refusal::new(RefusalClass::BadPicture, "Bad image data.")
}

fn decoder(kind: FileKind) -> Option<ImageFormat> {
    match kind {
        FileKind::Png => Some(ImageFormat::Png),
        FileKind::Jpeg => Some(ImageFormat::Jpeg),
        FileKind::Gif => Some(ImageFormat::Gif),
        FileKind::Bmp => Some(ImageFormat::Bmp),
        FileKind::WebP => Some(ImageFormat::WebP),
        FileKind::Tiff | FileKind::Ico => None,
    }
}
