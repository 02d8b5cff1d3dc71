//! Pictures as base64.

use crate::EncodedPicture;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};

/// Tolerant decoding: clients differ in padding.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Standard base64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    general_purpose::STANDARD.encode(bytes)
}

/// How many of the first pictures fit into `most_json` bytes of JSON as base64, `around` bytes beside each and once for
/// the whole, and into a call of `most` pictures. At least 1 where there is a picture: one that alone is too large is refused
/// by name when the request is made.
pub(crate) fn fit_base64(pictures: &[EncodedPicture], most: usize, around: usize, most_json: usize) -> usize {
    let mut json = around;
    let fits = |picture: &&EncodedPicture| {
        json += picture.bytes.len().div_ceil(3) * 4 + around;
        json <= most_json
    };
    let count = pictures.iter().take(most).take_while(fits).count();
    count.max(usize::from(!pictures.is_empty()))
}

/// The bytes of a base64 text: standard or URL-safe alphabet, with or without padding (protobuf's JSON mapping
/// requires readers to take all four), line breaks allowed. `None` where it is not base64.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let url_safe = text.contains(['-', '_']);
    let alphabet = if url_safe { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    let engine = GeneralPurpose::new(alphabet, LENIENT);
    if text.contains(|c: char| c.is_ascii_whitespace()) {
        let packed: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        return engine.decode(packed).ok();
    }
    engine.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_forms_are_read() {
        let bytes = [0xfb, 0xff, 0xfe, 0x01];
        assert_eq!(base64(&bytes), "+//+AQ==");
        for text in ["+//+AQ==", "+//+AQ", "-__-AQ==", "-__-AQ", "+//+\r\nAQ=="] {
            assert_eq!(decode_base64(text).as_deref(), Some(&bytes[..]), "{text}");
        }
        for text in ["+_/", "a", "====", "é"] {
            assert_eq!(decode_base64(text), None, "{text}");
        }
        assert_eq!(decode_base64(""), Some(vec![]));
    }
}
