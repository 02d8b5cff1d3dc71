//! One encoded picture on its way to an API.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The bytes of one picture and what an adapter must know of them. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedPicture {
    /// The file, as encoded. A retry sends exactly these bytes again.
    pub bytes: Bytes,
    /// The file format of `bytes`.
    pub format: Format,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

impl std::fmt::Debug for EncodedPicture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}x{} ({} bytes)", self.format, self.width, self.height, self.bytes.len())
    }
}

/// File formats that copies are sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Lossless.
    Png,
    /// Lossy, smaller.
    Jpeg,
}

impl Format {
    /// The media type for HTTP headers.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
        })
    }
}
