//! File formats by their first bytes.

/// A file format that some API accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// PNG.
    Png,
    /// JPEG. An MPO file (several JPEGs) begins the same.
    Jpeg,
    /// GIF.
    Gif,
    /// BMP.
    Bmp,
    /// WebP.
    WebP,
    /// TIFF.
    Tiff,
    /// ICO.
    Ico,
}

impl FileKind {
    /// The format that the first bytes declare.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let starts = |magic: &[u8]| bytes.starts_with(magic);
        if starts(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if starts(b"\xff\xd8\xff") {
            Some(Self::Jpeg)
        } else if starts(b"GIF87a") || starts(b"GIF89a") {
            Some(Self::Gif)
        } else if starts(b"BM") {
            Some(Self::Bmp)
        } else if starts(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            Some(Self::WebP)
        } else if starts(b"II*\0") || starts(b"MM\0*") {
            Some(Self::Tiff)
        } else if starts(b"\0\0\x01\0") {
            Some(Self::Ico)
        } else {
            None
        }
    }

    /// The format's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::WebP => "WebP",
            Self::Tiff => "TIFF",
            Self::Ico => "ICO",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_decide() {
        assert_eq!(FileKind::of(b"\x89PNG\r\n\x1a\n...."), Some(FileKind::Png));
        assert_eq!(FileKind::of(b"RIFF\x10\0\0\0WEBPVP8 "), Some(FileKind::WebP));
        assert_eq!(FileKind::of(b"RIFF\x10\0\0\0WAVEfmt "), None);
        assert_eq!(FileKind::of(b"RIFF"), None);
        assert_eq!(FileKind::of(b""), None);
        assert_eq!(FileKind::of(b"<html>"), None);
    }
}
