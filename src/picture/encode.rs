//! A denoised copy to the bytes that are sent.

use std::fmt;
use std::str::FromStr;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use serde::{Deserialize, Serialize};

use super::{PictureError, rgb8};

/// How a copy is encoded. A deterministic function of the copy: it is post-processing of the noise, so the guarantee
/// holds whatever it loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Encoder {
    /// 8-bit RGB PNG, lossless; the fast level, for noise does not compress.
    #[default]
    Png,
    /// Baseline JPEG of this quality, 1 to 100, chroma at full resolution (4:4:4).
    Jpeg(u8),
}

impl Encoder {
    /// Encodes three planes of `width * height` values in units of `[0, 1]`, cut and rounded as by [`rgb8`].
    ///
    /// # Errors
    /// Those of [`rgb8`]; [`PictureError::Encoder`] for a JPEG quality out of range; [`PictureError::Encode`] when the
    /// encoder fails (JPEG: a side above 65535).
    pub fn encode(self, planes: &[f32], width: u32, height: u32) -> Result<Vec<u8>, PictureError> {
        let rgb = rgb8(planes, width, height)?;
        // Noisy copies hardly compress: room for all of it spares growing.
        let mut bytes = Vec::with_capacity(rgb.len() + rgb.len() / 64 + 1024);
        let color = ExtendedColorType::Rgb8;
        match self {
            Self::Png => {
                PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive)
                    .write_image(&rgb, width, height, color)
            }
            Self::Jpeg(quality @ 1..=100) => {
                JpegEncoder::new_with_quality(&mut bytes, quality).write_image(&rgb, width, height, color)
            }
            Self::Jpeg(_) => return Err(PictureError::Encoder(self.to_string())),
        }
        .map_err(|e| PictureError::Encode(e.to_string()))?;
        Ok(bytes)
    }

    /// Media type of what it makes: `image/png` or `image/jpeg`.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg(_) => "image/jpeg",
        }
    }

    /// Usual ending of a file name: `png` or `jpg`.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg(_) => "jpg",
        }
    }
}

/// `png`, or `jpeg:95`.
impl fmt::Display for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Png => f.write_str("png"),
            Self::Jpeg(quality) => write!(f, "jpeg:{quality}"),
        }
    }
}

impl FromStr for Encoder {
    type Err = PictureError;

    fn from_str(text: &str) -> Result<Self, PictureError> {
        let quality = || text.strip_prefix("jpeg:")?.parse().ok().filter(|q| (1..=100).contains(q));
        match text {
            "png" => Ok(Self::Png),
            _ => quality().map(Self::Jpeg).ok_or_else(|| PictureError::Encoder(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Encoder {
    type Error = PictureError;

    fn try_from(text: String) -> Result<Self, PictureError> {
        text.parse()
    }
}

impl From<Encoder> for String {
    fn from(encoder: Encoder) -> Self {
        encoder.to_string()
    }
}
