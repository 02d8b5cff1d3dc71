//! From the bytes of a picture to the working image, and from a denoised copy to the bytes that are sent.
//!
//! ```text
//! bytes - decode (limits, orientation, white behind) -> picture - resize (linear) -> WorkingImage, on a grid
//! WorkingImage + noise -> noisy planes -> denoiser -> planes - Encoder -> PNG or JPEG
//! ```
//!
//! The *working image* is where the noise is added and where sigma and the radius are measured. What happens before
//! it moves the certificate, so it is recorded in [`Preprocessing`]: everything there is a linear map of the decoded
//! picture (in the units in which it is stored; nothing is linearised with a gamma curve), whose operator norm is
//! bounded from above, and one rounding. What happens after the noise cannot break the guarantee.
//!
//! The *original* picture, in which `radius_original` is measured, is the decoded one: upright (EXIF orientation
//! applied), RGB, transparent parts over white, at its own size and bit depth (8 or 16), values from 0 to 1. Grey,
//! palette and CMYK pictures are original in this sense after conversion to RGB. Colour profiles and the gamma that a
//! file declares are ignored.

mod decode;
mod encode;
mod planes;
mod resize;
mod ssim;
mod working;

pub use decode::{Format, Limits};
pub use encode::Encoder;
pub use planes::{noisy_planes, planes, psnr, rgb8};
pub use resize::Filter;
pub use ssim::ssim;
pub use working::{Fit, PictureHash, PictureOptions, Preprocessing, WHITE, WorkingImage, WorkingSize};

pub use crate::noise::Grid;

/// What can be wrong with a picture or with what is asked of it. Unless it says otherwise, the user's to mend, and
/// trying again changes nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PictureError {
    /// The file could not be read. May be retried once its cause is mended.
    #[error("cannot read {path}: {source}; check the path and its permissions")]
    Read {
        /// The file as it was named.
        path: std::path::PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// There is nothing in the file.
    #[error("the file is empty (0 bytes); give a PNG, JPEG, WebP, BMP or GIF picture")]
    Empty,
    /// The file is longer than [`Limits::max_bytes`].
    #[error("the file has more than {limit} bytes, the most that is accepted; shrink the picture")]
    TooManyBytes {
        /// [`Limits::max_bytes`].
        limit: u64,
    },
    /// The content is none of the supported formats, whatever the file is called.
    #[error(
        "not a picture: the content is no PNG, JPEG, WebP, BMP or GIF (it begins with {begins}); convert it to PNG"
    )]
    UnknownFormat {
        /// The first bytes, printable.
        begins: String,
    },
    /// The header promises more pixels than [`Limits::max_pixels`]. Found before anything is decoded.
    #[error("the picture is {width}x{height}, more than the {limit} pixels that are accepted; shrink it")]
    TooManyPixels {
        /// Pixels from left to right, as stored.
        width: u32,
        /// Pixels from top to bottom, as stored.
        height: u32,
        /// [`Limits::max_pixels`].
        limit: u64,
    },
    /// Decoding would take more memory than [`Limits::max_decode_bytes`].
    #[error("decoding the {format} picture would take more than {limit} bytes of memory; shrink it")]
    TooMuchMemory {
        /// What the content is.
        format: Format,
        /// [`Limits::max_decode_bytes`].
        limit: u64,
    },
    /// The file ends before the picture does.
    #[error("the {format} file ends in the middle of the picture; fetch or save it again")]
    Truncated {
        /// What the content is.
        format: Format,
    },
    /// The decoder met something that the format forbids or that it cannot do.
    #[error("the {format} file is damaged or of an unsupported kind: {reason}; save it again, best as PNG")]
    Damaged {
        /// What the content is.
        format: Format,
        /// What the decoder said.
        reason: String,
    },
    /// A working size that cannot be understood.
    #[error("working size {0:?} is not understood; write `native`, one side such as `224`, or `640x480`")]
    Size(String),
    /// A working size with no pixels, or more of them than [`Limits::max_working_pixels`].
    #[error(
        "a working image of {width}x{height} is not possible: 1 to {limit} pixels are; choose another working size (--size)"
    )]
    WorkingPixels {
        /// Pixels from left to right.
        width: u32,
        /// Pixels from top to bottom.
        height: u32,
        /// [`Limits::max_working_pixels`].
        limit: u64,
    },
    /// An encoder that cannot be understood.
    #[error("encoder {0:?} is not understood; write `png`, or `jpeg:95` with a quality from 1 to 100")]
    Encoder(String),
    /// The encoder failed. Ours to mend.
    #[error("the copy could not be encoded: {0}; this is a fault of the program, please report it")]
    Encode(String),
    /// A buffer that does not fit the picture. Whoever calls the library is to mend it.
    #[error("{what} holds {got} values where {expected} are needed; give a buffer of the picture's size")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// Values needed.
        expected: usize,
        /// Values given.
        got: usize,
    },
    /// A denoiser gave a value that is no number. The denoiser's fault (its weights, or its precision).
    #[error("the denoiser gave {value} at value {index} of the picture; check its weights and precision")]
    NotFinite {
        /// Position in the planar copy.
        index: usize,
        /// Infinite or not a number.
        value: f32,
    },
}

#[cfg(test)]
mod tests;
