//! Bytes of a file to an upright RGB picture, with every limit checked before memory is taken.

use std::fmt;
use std::io::Cursor;
use std::path::Path;

use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};
use serde::{Deserialize, Serialize};
use smoothgate_denoisers::whole::is_whole;

use super::PictureError;

/// What a picture may cost before anything is known of it but its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Most bytes of a file. Default 64 MiB.
    pub max_bytes: u64,
    /// Most pixels that the header may promise. Default 64 million.
    pub max_pixels: u64,
    /// Most bytes of decoded pixels (3 to 8 for each pixel). At the default, 384 MiB, decoding the worst picture
    /// stays below 1 GiB altogether.
    pub max_decode_bytes: u64,
    /// Most pixels of a working image. Default 4 million: many noisy copies of it are in memory at once.
    pub max_working_pixels: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            max_pixels: 64_000_000,
            max_decode_bytes: 384 << 20,
            max_working_pixels: 4_194_304,
        }
    }
}

/// A format of picture files, told by content and never by the file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Format {
    /// PNG; of an animation, the still picture.
    Png,
    /// JPEG: grey, YCbCr, RGB, CMYK and YCCK (with inverted ink, as every program writes it), baseline or progressive.
    Jpeg,
    /// WebP, lossy or lossless; of an animation, the first frame.
    WebP,
    /// BMP.
    Bmp,
    /// GIF; of an animation, the first frame.
    Gif,
}

impl Format {
    /// The format that these bytes begin like, if it is one of ours; the first 32 are enough.
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        Self::of(bytes).map(|(format, _)| format)
    }

    /// Is the file named like a picture? A broken picture should be reported, other files beside pictures passed over.
    pub fn is_named(path: &Path) -> bool {
        const NAMES: [&str; 7] = ["png", "jpg", "jpeg", "jpe", "webp", "bmp", "gif"];
        path.extension().is_some_and(|ext| NAMES.iter().any(|name| ext.eq_ignore_ascii_case(name)))
    }

    fn of(bytes: &[u8]) -> Option<(Self, ImageFormat)> {
        let format = image::guess_format(bytes).ok()?;
        let ours = match format {
            ImageFormat::Png => Self::Png,
            ImageFormat::Jpeg => Self::Jpeg,
            ImageFormat::WebP => Self::WebP,
            ImageFormat::Bmp => Self::Bmp,
            ImageFormat::Gif => Self::Gif,
            _ => return None,
        };
        Some((ours, format))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Bmp => "BMP",
            Self::Gif => "GIF",
        })
    }
}

/// Values of a decoded picture at the bit depth of its file, RGB interleaved, row by row.
pub(super) enum Samples {
    /// 0 to 255.
    Bits8(Vec<u8>),
    /// 0 to 65535.
    Bits16(Vec<u16>),
}

/// An upright RGB picture.
pub(super) struct Decoded {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) samples: Samples,
    pub(super) format: Format,
    /// EXIF number from 1 to 8 that was applied.
    pub(super) orientation: u8,
}

/// The number of pixels, if it is within the limit.
fn check_pixels(width: u32, height: u32, limits: &Limits) -> Result<u64, PictureError> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.max_pixels {
        return Err(PictureError::TooManyPixels { width, height, limit: limits.max_pixels });
    }
    Ok(pixels)
}

/// Width and height in a PNG's IHDR chunk, which by the standard comes first (W3C PNG, 5.6 and 11.2.1).
fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let header = bytes.get(12..24)?;
    let number = |at: usize| header.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    header.starts_with(b"IHDR").then(|| Some((number(4)?, number(8)?)))?
}

/// Decodes the first picture in `bytes`.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, PictureError> {
    if bytes.is_empty() {
        return Err(PictureError::Empty);
    }
    if bytes.len() as u64 > limits.max_bytes {
        return Err(PictureError::TooManyBytes { limit: limits.max_bytes });
    }
    let Some((format, image_format)) = Format::of(bytes) else {
        let begins = bytes[..bytes.len().min(12)].escape_ascii().to_string();
        return Err(PictureError::UnknownFormat { begins: format!("\"{begins}\"") });
    };
    let failed = |error: ImageError| explain(error, format, limits);

    if !is_whole(image_format, bytes) {
        return Err(PictureError::Truncated { format });
    }

    let mut reader = ImageReader::with_format(Cursor::new(bytes), image_format);
    // Heeded by the decoders for what they take while they read the header, long before the size is known.
    let mut decoder_limits = image::Limits::default();
    decoder_limits.max_alloc = Some(limits.max_decode_bytes);
    reader.limits(decoder_limits.clone());
    // The PNG decoder reads on to the pixels before it tells the size: ask the header itself first.
    if let (Format::Png, Some((width, height))) = (format, png_size(bytes)) {
        check_pixels(width, height, limits)?;
    }
    let mut decoder = reader.into_decoder().map_err(failed)?;

    let (width, height) = decoder.dimensions();
    let pixels = check_pixels(width, height, limits)?;
    if pixels == 0 {
        let reason = format!("it says that it is {width}x{height}");
        return Err(PictureError::Damaged { format, reason });
    }
    if decoder.total_bytes() > limits.max_decode_bytes {
        return Err(PictureError::TooMuchMemory { format, limit: limits.max_decode_bytes });
    }
    let orientation = decoder.orientation().map_err(failed)?;
    let sixteen = matches!(
        decoder.color_type(),
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16
    );
    let mut picture = DynamicImage::from_decoder(decoder).map_err(failed)?;
    picture.apply_orientation(orientation);
    let (width, height) = (picture.width(), picture.height());
    let samples =
        if sixteen { Samples::Bits16(over_white_16(picture)) } else { Samples::Bits8(over_white_8(picture)) };
    Ok(Decoded { width, height, samples, format, orientation: orientation.to_exif() })
}

/// RGB at 8 bits; `alpha c + (1 - alpha) white`, rounded to the nearest level.
fn over_white_8(picture: DynamicImage) -> Vec<u8> {
    let blend = |c: u8, alpha: u8| {
        let (c, alpha) = (u32::from(c), u32::from(alpha));
        ((c * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    match picture {
        DynamicImage::ImageRgb8(rgb) => rgb.into_raw(),
        DynamicImage::ImageRgba8(rgba) => {
            rgba.pixels().flat_map(|p| [0, 1, 2].map(|c| blend(p.0[c], p.0[3]))).collect()
        }
        DynamicImage::ImageLumaA8(grey) => grey.pixels().flat_map(|p| [blend(p.0[0], p.0[1]); 3]).collect(),
        other => other.into_rgb8().into_raw(),
    }
}

/// The same at 16 bits.
fn over_white_16(picture: DynamicImage) -> Vec<u16> {
    let blend = |c: u16, alpha: u16| {
        let (c, alpha) = (u64::from(c), u64::from(alpha));
        ((c * alpha + 65_535 * (65_535 - alpha) + 32_767) / 65_535) as u16
    };
    match picture {
        DynamicImage::ImageRgb16(rgb) => rgb.into_raw(),
        DynamicImage::ImageRgba16(rgba) => {
            rgba.pixels().flat_map(|p| [0, 1, 2].map(|c| blend(p.0[c], p.0[3]))).collect()
        }
        DynamicImage::ImageLumaA16(grey) => grey.pixels().flat_map(|p| [blend(p.0[0], p.0[1]); 3]).collect(),
        other => other.into_rgb16().into_raw(),
    }
}

fn explain(error: ImageError, format: Format, limits: &Limits) -> PictureError {
    match error {
        ImageError::Limits(_) => PictureError::TooMuchMemory { format, limit: limits.max_decode_bytes },
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            PictureError::Truncated { format }
        }
        other => PictureError::Damaged { format, reason: other.to_string() },
    }
}
