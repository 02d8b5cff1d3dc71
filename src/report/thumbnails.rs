//! What was asked about: the picture and a few of its copies, noisy and denoised, made again from a certificate.

use std::io::Cursor;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, ImageFormat, RgbImage};
use smoothgate_denoisers::DenoiserHandle;

use crate::certificate::{Certificate, working_image};
use crate::engine::{EngineError, Redraw, copies};
use crate::picture::{Encoder, PictureError, WorkingImage, planes, rgb8};

/// Copies shown of a picture: draws 0, 1, ...
const DRAWS: u64 = 4;

/// Pictures up to this many pixels a side are kept as they are, losslessly.
const LOSSLESS: u32 = 96;

/// Larger ones are shrunk to this.
const LARGEST: u32 = 256;

const JPEG_QUALITY: u8 = 85;

/// A picture with copies of it, small enough for a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbnails {
    /// The working image.
    pub picture: Thumbnail,
    /// Draws 0, 1, ...: the noisy copy and the same copy denoised, as it was sent.
    pub copies: Vec<(Thumbnail, Thumbnail)>,
}

/// A small picture as a `data:` URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbnail {
    /// With all of its bytes.
    pub uri: String,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

/// Why there are no thumbnails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ThumbnailError {
    /// The denoiser is not that of the certificate.
    #[error("its copies were cleaned by `{name}` {stated}, and this denoiser is {found}")]
    Denoiser {
        /// Its name in the certificate.
        name: String,
        /// Its BLAKE3 there.
        stated: String,
        /// The BLAKE3 of the one at hand.
        found: String,
    },
    /// The certificate names no encoder of this program.
    #[error("its encoder `{0}` is none of this program's")]
    Encoder(String),
    /// The copies cannot be made.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// They cannot be encoded.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// They cannot be made small.
    #[error("a copy cannot be made small: {0}")]
    Image(#[from] image::ImageError),
}

/// The working image of a certificate, if `file` holds that picture.
pub fn picture_of(certificate: &Certificate, file: &[u8]) -> Option<WorkingImage> {
    let image = working_image(certificate, file).ok()?;
    (image.hash().to_string() == certificate.picture.hash).then_some(image)
}

/// Makes the first copies of `picture` again, with the certificate's seed: `none` is the denoiser that changes nothing,
/// `denoiser` the certificate's.
///
/// # Errors
/// [`ThumbnailError`].
pub async fn thumbnails(
    certificate: &Certificate,
    picture: WorkingImage,
    none: &DenoiserHandle,
    denoiser: &DenoiserHandle,
) -> Result<Thumbnails, ThumbnailError> {
    let found = denoiser.id().hash().to_hex().to_string();
    if found != certificate.denoiser.blake3 {
        let (name, stated) = (certificate.denoiser.name.clone(), certificate.denoiser.blake3.clone());
        return Err(ThumbnailError::Denoiser { name, stated, found });
    }
    let encoder = certificate.encoder.parse();
    let encoder: Encoder = encoder.map_err(|_| ThumbnailError::Encoder(certificate.encoder.clone()))?;
    let (width, height) = (picture.width(), picture.height());
    let original = RgbImage::from_raw(width, height, rgb8(&planes(&picture), width, height)?);
    let work = Redraw {
        picture: Arc::new(picture),
        sigma: certificate.noise.sigma,
        seed: certificate.noise.seed,
        encoder,
        draws: DRAWS.min(certificate.draws()),
    };
    let noisy = small_copies(&Redraw { encoder: Encoder::Png, ..work.clone() }, none).await?;
    let clean = small_copies(&work, denoiser).await?;
    Ok(Thumbnails {
        picture: small(&DynamicImage::from(original.unwrap_or_default()))?,
        copies: noisy.into_iter().zip(clean).collect(),
    })
}

async fn small_copies(work: &Redraw, denoiser: &DenoiserHandle) -> Result<Vec<Thumbnail>, ThumbnailError> {
    let mut files = Vec::new();
    copies(work, denoiser, |copy| files.push(copy.bytes.clone())).await?;
    let made: Result<Vec<Thumbnail>, image::ImageError> =
        files.iter().map(|file| small(&image::load_from_memory(file)?)).collect();
    Ok(made?)
}

fn small(picture: &DynamicImage) -> Result<Thumbnail, image::ImageError> {
    let side = picture.width().max(picture.height());
    let shrunk = (side > LARGEST).then(|| picture.thumbnail(LARGEST, LARGEST));
    let picture = shrunk.as_ref().unwrap_or(picture);
    let mut bytes = Cursor::new(Vec::new());
    let kind = if side <= LOSSLESS {
        picture.write_to(&mut bytes, ImageFormat::Png)?;
        "png"
    } else {
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
        picture.to_rgb8().write_with_encoder(encoder)?;
        "jpeg"
    };
    let uri = format!("data:image/{kind};base64,{}", STANDARD.encode(bytes.into_inner()));
    Ok(Thumbnail { uri, width: picture.width(), height: picture.height() })
}
