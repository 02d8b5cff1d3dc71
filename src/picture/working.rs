//! The working image: what noise is added to, and how it came from the file.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::decode::{Decoded, Format, Limits, Samples, decode};
use super::resize::{Axis, Filter, apply};
use super::{Grid, PictureError};

/// The value of white in a [`WorkingImage`]: 65280 = 255 * 256.
pub const WHITE: u16 = 65_280;

/// Size of the working image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum WorkingSize {
    /// The picture's own.
    #[default]
    Native,
    /// This many pixels on both sides.
    Square(u32),
    /// These sides.
    Exact {
        /// Pixels from left to right.
        width: u32,
        /// Pixels from top to bottom.
        height: u32,
    },
}

impl fmt::Display for WorkingSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native => f.write_str("native"),
            Self::Square(side) => write!(f, "{side}"),
            Self::Exact { width, height } => write!(f, "{width}x{height}"),
        }
    }
}

/// `native`, `224` or `640x480`.
impl FromStr for WorkingSize {
    type Err = PictureError;

    fn from_str(text: &str) -> Result<Self, PictureError> {
        let side = |text: &str| text.parse::<u32>().ok().filter(|&n| n > 0);
        let size = match text.split_once('x') {
            _ if text == "native" => Some(Self::Native),
            None => side(text).map(Self::Square),
            Some((width, height)) => {
                side(width).zip(side(height)).map(|(width, height)| Self::Exact { width, height })
            }
        };
        size.ok_or_else(|| PictureError::Size(text.to_owned()))
    }
}

impl TryFrom<String> for WorkingSize {
    type Error = PictureError;

    fn try_from(text: String) -> Result<Self, PictureError> {
        text.parse()
    }
}

impl From<WorkingSize> for String {
    fn from(size: WorkingSize) -> Self {
        size.to_string()
    }
}

/// What to do when the picture and the working image have different proportions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// Keep the proportions, cover the working image, and cut what stands over on both sides equally.
    #[default]
    Crop,
    /// Keep everything, and stretch.
    Stretch,
}

/// How a file becomes a working image. The default keeps the picture's own size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PictureOptions {
    /// Size of the working image.
    pub size: WorkingSize,
    /// What to do with other proportions.
    pub fit: Fit,
    /// How pixels are averaged.
    pub filter: Filter,
    /// What a picture may cost.
    pub limits: Limits,
}

/// What was done to the original picture before the noise, for the certificate, and what it does to the radius.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Format of the file; `None` for pixels that came from memory.
    pub format: Option<Format>,
    /// Width and height of the original picture, upright.
    pub original: (u32, u32),
    /// Bits of a value in the original picture: 8 or 16.
    pub bits: u8,
    /// EXIF orientation that was applied, 1 (as stored) to 8.
    pub orientation: u8,
    /// How different proportions were met.
    pub fit: Fit,
    /// Filter of the resize; `None` if the picture was cropped at most.
    pub filter: Option<Filter>,
    /// Width and height after the resize, before the crop.
    pub scaled: (u64, u64),
    /// Upper bound of the operator norm of resize and crop, L2 to L2. 1 if the picture was cropped at most; the norm
    /// of a crop is 1.
    pub op_norm: f64,
    /// Upper bound of the L2 distance, in units of `[0, 1]` values, between the exact result of the linear map and the
    /// working image: rounding to the grid, and floating point. 0 if nothing was rounded.
    pub rounding_l2: f64,
}

impl Preprocessing {
    /// Of a picture that was neither in a file nor resized nor rounded.
    fn from_memory(original: (u32, u32), bits: u8) -> Self {
        Self {
            format: None,
            original,
            bits,
            orientation: 1,
            fit: Fit::Crop,
            filter: None,
            scaled: (u64::from(original.0), u64::from(original.1)),
            op_norm: 1.0,
            rounding_l2: 0.0,
        }
    }

    /// The grid of the working image: [`Grid::Levels8`] for an 8-bit picture that was not resized.
    pub fn grid(&self) -> Grid {
        if self.bits == 8 && self.filter.is_none() { Grid::Levels8 } else { Grid::Levels16 }
    }

    /// What this record must say for a working image of this size: all that follows from the sizes, the proportions'
    /// rule and the filter is computed anew, above all the two numbers that `radius_original` rests on.
    pub(crate) fn implied(&self, width: u32, height: u32) -> Self {
        let filter = self.filter.unwrap_or_default();
        LinearMap::new(self.original, (width, height), self.fit, filter).preprocessing(self)
    }

    /// The radius in the original picture that follows from `radius` in the working image; both in units of `[0, 1]`
    /// values, rounded down, 0 if nothing follows.
    ///
    /// Let `A` be the linear map and `r(.)` the rounding, `||r(v) - v|| <= e`. For an original `x` and a perturbation
    /// `d`, `||r(A(x + d)) - r(Ax)|| <= ||A|| ||d|| + 2 e`, so `||d|| <= (radius - 2e) / ||A||` stays within `radius`.
    pub fn radius_original(&self, radius: f64) -> f64 {
        if self.op_norm <= 1.0 && self.rounding_l2 <= 0.0 {
            return radius.max(0.0);
        }
        // One subtraction and one division, each within a factor 1 +- 2^-53; the factor below is 1 - 2^-51.
        let exact = (radius - 2.0 * self.rounding_l2) / self.op_norm;
        (exact * (1.0 - 2.0 * f64::EPSILON)).max(0.0)
    }
}

/// BLAKE3 hash of a working image, by which a certificate names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PictureHash([u8; 32]);

impl PictureHash {
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// 64 lower-case hexadecimal digits.
impl fmt::Display for PictureHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl TryFrom<String> for PictureHash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        blake3::Hash::from_hex(&text)
            .map(|h| Self(*h.as_bytes()))
            .map_err(|_| format!("picture hash {text:?} is not 64 hexadecimal digits"))
    }
}

impl From<PictureHash> for String {
    fn from(hash: PictureHash) -> Self {
        hash.to_string()
    }
}

/// The picture that noise is added to: RGB, height x width x 3 interleaved, multiples of 1/[`WHITE`] from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkingImage {
    width: u32,
    height: u32,
    pixels: Vec<u16>,
    grid: Grid,
    preprocessing: Preprocessing,
}

impl WorkingImage {
    /// Reads a file and makes it a working image.
    ///
    /// # Errors
    /// [`PictureError::Read`], and those of [`WorkingImage::decode`].
    pub fn open(path: &Path, options: &PictureOptions) -> Result<Self, PictureError> {
        let failed = |source| PictureError::Read { path: path.to_owned(), source };
        let limit = options.limits.max_bytes;
        let file = std::fs::File::open(path).map_err(failed)?;
        // One byte more than allowed is enough to see that there is too much, however long the file or device is.
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        Self::decode(&bytes, options)
    }

    /// Makes the content of a file a working image: decoded, upright, over white, resized, on its grid.
    ///
    /// The grid is [`Grid::Levels8`] for an 8-bit picture that was not resized (a crop is no resize), and
    /// [`Grid::Levels16`] otherwise; it never depends on the values of pixels.
    ///
    /// # Errors
    /// Every [`PictureError`] from [`PictureError::Empty`] to [`PictureError::WorkingPixels`].
    pub fn decode(bytes: &[u8], options: &PictureOptions) -> Result<Self, PictureError> {
        Self::prepare(&decode(bytes, &options.limits)?, options)
    }

    /// A working image from 8-bit RGB values in memory, `height * width * 3` interleaved, at their own size.
    ///
    /// # Errors
    /// [`PictureError::Length`] or [`PictureError::WorkingPixels`] when the sizes do not fit.
    pub fn from_rgb8(width: u32, height: u32, rgb: &[u8]) -> Result<Self, PictureError> {
        check_pixels(width, height, u64::from(u32::MAX))?;
        let expected = width as usize * height as usize * 3;
        if rgb.len() != expected {
            return Err(PictureError::Length { what: "the RGB picture", expected, got: rgb.len() });
        }
        Ok(Self {
            width,
            height,
            pixels: rgb.iter().map(|&v| u16::from(v) * 256).collect(),
            grid: Grid::Levels8,
            preprocessing: Preprocessing::from_memory((width, height), 8),
        })
    }

    fn prepare(picture: &Decoded, options: &PictureOptions) -> Result<Self, PictureError> {
        let original = (picture.width, picture.height);
        let (width, height) = match options.size {
            WorkingSize::Native => original,
            WorkingSize::Square(side) => (side, side),
            WorkingSize::Exact { width, height } => (width, height),
        };
        check_pixels(width, height, options.limits.max_working_pixels)?;
        let map = LinearMap::new(original, (width, height), options.fit, options.filter);
        let bits = match picture.samples {
            Samples::Bits8(_) => 8,
            Samples::Bits16(_) => 16,
        };
        let preprocessing = map.preprocessing(&Preprocessing {
            format: Some(picture.format),
            orientation: picture.orientation,
            ..Preprocessing::from_memory(original, bits)
        });
        Ok(Self {
            width,
            height,
            pixels: apply(&picture.samples, &map.vertical, &map.horizontal),
            grid: preprocessing.grid(),
            preprocessing,
        })
    }

    /// Pixels from left to right.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Pixels from top to bottom.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// RGB interleaved, row by row, in 65280ths: `height * width * 3` values from 0 to [`WHITE`].
    pub fn pixels(&self) -> &[u16] {
        &self.pixels
    }

    /// Number of values, the dimension `d` of the noise: `3 * width * height`.
    pub fn values(&self) -> usize {
        self.pixels.len()
    }

    /// The grid of the pixels, and so of the noise.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// What was done before the noise.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// BLAKE3 of the text `smoothgate working image 1`, a zero byte, width and height as 32-bit and the steps of the
    /// grid ([`Grid::steps`]) as 32-bit numbers, and the pixels as 16-bit numbers, all little-endian. It depends on
    /// what noise is added to, not on the file that it came from.
    pub fn hash(&self) -> PictureHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"smoothgate working image 1\0");
        for number in [self.width, self.height, self.grid.steps()] {
            hasher.update(&number.to_le_bytes());
        }
        let mut bytes = Vec::with_capacity(8192);
        for values in self.pixels.chunks(4096) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
            hasher.update(&bytes);
        }
        PictureHash(*hasher.finalize().as_bytes())
    }
}

/// The map from the original picture to the working image: resize, then crop.
struct LinearMap {
    fit: Fit,
    filter: Filter,
    scaled: (u64, u64),
    horizontal: Axis,
    vertical: Axis,
}

impl LinearMap {
    fn new(original: (u32, u32), (width, height): (u32, u32), fit: Fit, filter: Filter) -> Self {
        let scaled = match fit {
            Fit::Stretch => (u64::from(width), u64::from(height)),
            Fit::Crop => cover(original, (width, height)),
        };
        let axis = |from: u32, scaled: u64, to: u32| {
            Axis::new(filter, from, scaled, (scaled - u64::from(to)) / 2, to)
        };
        let (horizontal, vertical) = (axis(original.0, scaled.0, width), axis(original.1, scaled.1, height));
        Self { fit, filter, scaled, horizontal, vertical }
    }

    /// `of` with all that this map does.
    fn preprocessing(&self, of: &Preprocessing) -> Preprocessing {
        let Self { ref horizontal, ref vertical, fit, scaled, .. } = *self;
        let resized = !(horizontal.is_crop() && vertical.is_crop());
        let (op_norm, rounding_l2) = if resized {
            (
                (horizontal.norm_bound() * vertical.norm_bound()).next_up(),
                rounding(horizontal.outputs(), vertical.outputs(), &[horizontal, vertical]),
            )
        } else if of.bits == 8 {
            (1.0, 0.0)
        } else {
            (1.0, rounding(horizontal.outputs(), vertical.outputs(), &[]))
        };
        Preprocessing {
            fit,
            filter: resized.then_some(self.filter),
            scaled,
            op_norm,
            rounding_l2,
            ..of.clone()
        }
    }
}

fn check_pixels(width: u32, height: u32, limit: u64) -> Result<(), PictureError> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 || pixels > limit {
        return Err(PictureError::WorkingPixels { width, height, limit });
    }
    Ok(())
}

/// The smallest size of the original's proportions that covers the target; one side is the target's, the other is
/// rounded to the nearest.
fn cover(original: (u32, u32), target: (u32, u32)) -> (u64, u64) {
    let (w, h) = (u64::from(original.0), u64::from(original.1));
    let (tw, th) = (u64::from(target.0), u64::from(target.1));
    if w * th >= h * tw { (((w * th + h / 2) / h).max(tw), th) } else { (tw, ((h * tw + w / 2) / w).max(th)) }
}

/// Upper bound of the L2 distance that rounding `3 width height` values onto the 1/65280 grid can make: half a step
/// each, and the floating-point error of the sums, at most (weights in a row + 4) * 2^-52 of white.
fn rounding(width: usize, height: usize, axes: &[&Axis]) -> f64 {
    let taps: usize = axes.iter().map(|axis| axis.taps()).sum();
    let each = 0.5 / f64::from(WHITE) + (taps + 4) as f64 * f64::EPSILON;
    let values = 3.0 * width as f64 * height as f64;
    each * values.sqrt() * (1.0 + 8.0 * f64::EPSILON)
}
