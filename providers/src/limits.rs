//! What an API accepts, checked before a paid call is made.

use serde::Serialize;

use crate::{EncodedPicture, Format};

/// The limits of an API for one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Accepted file formats.
    pub formats: &'static [Format],
    /// Most bytes of one picture, as encoded.
    pub max_bytes: usize,
    /// Shortest allowed side in pixels.
    pub min_side: u32,
    /// Longest allowed side in pixels.
    pub max_side: u32,
    /// Most pixels of one picture.
    pub max_pixels: u64,
    /// Most pictures in one call.
    pub pictures_per_call: usize,
}

impl Limits {
    /// Checks one picture against these limits.
    ///
    /// # Errors
    /// A sentence that names the limit, the picture's value and what to change.
    pub fn check(&self, picture: &EncodedPicture) -> Result<(), String> {
        let (w, h) = (picture.width, picture.height);
        if !self.formats.contains(&picture.format) {
            return Err(format!("does not accept {}: choose another --encode", picture.format));
        }
        if picture.bytes.len() > self.max_bytes {
            return Err(format!(
                "accepts at most {} bytes a picture, this copy has {}: choose a smaller --size or --encode jpeg:95",
                self.max_bytes,
                picture.bytes.len()
            ));
        }
        if w.min(h) < self.min_side {
            return Err(format!(
                "needs at least {} pixels a side, this copy is {w}x{h}: choose a larger --size",
                self.min_side
            ));
        }
        if w.max(h) > self.max_side || u64::from(w) * u64::from(h) > self.max_pixels {
            return Err(format!(
                "accepts at most {} pixels a side and {} in all, this copy is {w}x{h}: choose a smaller --size",
                self.max_side, self.max_pixels
            ));
        }
        Ok(())
    }
}

/// How many calls and pictures an account may send by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Quota {
    /// Calls a minute.
    pub calls_per_minute: u32,
    /// Pictures a minute, where the API counts them apart from calls.
    pub pictures_per_minute: Option<u32>,
}
