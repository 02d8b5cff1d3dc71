//! Is a picture's file whole? JPEG and WebP decoders make up what is missing and say nothing: a certificate for half a picture would be
//! one for a picture that nobody has, and nothing should be learnt from grey. The decoders of PNG, BMP and GIF notice by themselves.

use image::ImageFormat;

/// Whether a file of this format is, as far as its decoder would not notice.
pub fn is_whole(format: ImageFormat, bytes: &[u8]) -> bool {
    match format {
        ImageFormat::Jpeg => is_whole_jpeg(bytes),
        ImageFormat::WebP => is_whole_webp(bytes),
        _ => true,
    }
}

/// Whether the RIFF container is as long as its header says, but for the padding byte at the end.
fn is_whole_webp(bytes: &[u8]) -> bool {
    match bytes.get(4..8) {
        Some(&[a, b, c, d]) => bytes.len() as u64 >= u64::from(u32::from_le_bytes([a, b, c, d]) & !1) + 8,
        _ => false,
    }
}

/// Whether the end-of-image marker follows the first scan. Walks the segments (ITU-T T.81, annex B) without decoding;
/// the thumbnail in a metadata segment, which has an end marker of its own, is jumped over with its segment.
fn is_whole_jpeg(bytes: &[u8]) -> bool {
    const STANDALONE: std::ops::RangeInclusive<u8> = 0xD0..=0xD8;
    let mut at = 2;
    let mut in_scan = false;
    while let Some(rest) = bytes.get(at..) {
        // Within a scan markers are found by search: bytes that are not 0xFF, and 0xFF 0x00, are picture data.
        let Some(skip) = rest.iter().position(|&b| b == 0xFF) else { return false };
        if !in_scan && skip > 0 {
            // Junk between segments: lenient decoders search for the next marker, and so is done here.
            at += skip;
            continue;
        }
        match rest.get(skip + 1) {
            None => return false,
            Some(0xD9) => return in_scan,
            Some(0x00 | 0xFF) => at += skip + 1,
            Some(marker) if STANDALONE.contains(marker) => at += skip + 2,
            Some(&marker) => {
                let Some(&[high, low]) = rest.get(skip + 2..skip + 4) else { return false };
                at += skip + 2 + usize::from(u16::from_be_bytes([high, low]));
                in_scan |= marker == 0xDA;
            }
        }
    }
    false
}
