//! Triton's binary extension: JSON first, raw tensors after it.

use http::HeaderMap;
use serde_json::Value;

/// A BYTES tensor: each element after its length, four bytes in little endian.
pub(super) fn pack<'a>(elements: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut raw = Vec::new();
    for element in elements {
        // Longer elements do not pass the limits of either direction.
        let length = u32::try_from(element.len()).unwrap_or(u32::MAX);
        raw.extend(length.to_le_bytes());
        raw.extend(element);
    }
    raw
}

/// The elements of a BYTES tensor. `None` where lengths and bytes do not add up, and where there are more than `most`: an empty one
/// takes four bytes, and many times that here.
pub(super) fn unpack(mut raw: &[u8], most: usize) -> Option<Vec<&[u8]>> {
    let mut elements = Vec::new();
    while !raw.is_empty() {
        if elements.len() == most {
            return None;
        }
        let (length, rest) = raw.split_first_chunk::<4>()?;
        let (element, after) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        elements.push(element);
        raw = after;
    }
    Some(elements)
}

/// The JSON of a body and what follows it. Without the header the whole body is JSON. `None` where the header is no
/// number or larger than the body.
pub(super) fn split<'a>(headers: &HeaderMap, body: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    match headers.get(super::JSON_LENGTH) {
        None => Some((body, &[])),
        Some(length) => body.split_at_checked(length.to_str().ok()?.trim().parse().ok()?),
    }
}

/// The raw bytes of each tensor of a list that has some, in the order of the list. `None` where sizes and bytes do not
/// add up.
pub(super) fn raw_of_each<'a>(tensors: &[Value], mut raw: &'a [u8]) -> Option<Vec<Option<&'a [u8]>>> {
    let mut each = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let own = match tensor.pointer("/parameters/binary_data_size") {
            None | Some(Value::Null) => None,
            Some(size) => {
                let (own, after) = raw.split_at_checked(usize::try_from(size.as_u64()?).ok()?)?;
                raw = after;
                Some(own)
            }
        };
        each.push(own);
    }
    raw.is_empty().then_some(each)
}

/// The dimensions of a tensor. `None` where they are missing, negative or too large to multiply.
pub(super) fn shape(tensor: &Value) -> Option<Vec<usize>> {
    let shape: Vec<usize> = tensor
        .get("shape")?
        .as_array()?
        .iter()
        .map(|side| side.as_u64().and_then(|side| usize::try_from(side).ok()))
        .collect::<Option<_>>()?;
    shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side))?;
    Some(shape)
}

/// The values of `data`, which may be flat or nested in the tensor's shape. `None` where it is not a list.
pub(super) fn flatten(data: &Value) -> Option<Vec<&Value>> {
    let mut flat = Vec::new();
    let mut open = vec![data.as_array()?.iter()];
    while let Some(level) = open.last_mut() {
        match level.next() {
            Some(Value::Array(inner)) => open.push(inner.iter()),
            Some(value) => flat.push(value),
            None => {
                open.pop();
            }
        }
    }
    Some(flat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn packed_elements_come_back() {
        let elements: [&[u8]; 3] = [b"one", b"", b"\0\xff"];
        let raw = pack(elements.into_iter());
        assert_eq!(&raw[..7], b"\x03\0\0\0one");
        assert_eq!(unpack(&raw, elements.len()).unwrap(), elements);
        assert_eq!(unpack(&raw, elements.len() - 1), None);
        assert_eq!(unpack(b"", 0), Some(vec![]));
        for cut in [&raw[..raw.len() - 1], &raw[..2], b"\xff\xff\xff\xffx"] {
            assert_eq!(unpack(cut, 9), None);
        }
    }

    #[test]
    fn sizes_must_add_up() {
        let tensors = [
            json!({ "parameters": { "binary_data_size": 2 } }),
            json!({}),
            json!({ "parameters": { "binary_data_size": 0 } }),
        ];
        assert_eq!(raw_of_each(&tensors, b"ab"), Some(vec![Some(&b"ab"[..]), None, Some(&b""[..])]));
        assert_eq!(raw_of_each(&tensors, b"abc"), None);
        assert_eq!(raw_of_each(&tensors, b"a"), None);
        assert_eq!(raw_of_each(&[json!({ "parameters": { "binary_data_size": -1 } })], b""), None);
    }

    #[test]
    fn nested_data_is_row_major() {
        let nested = json!([[1, [2]], 3, [], [[[4]]]]);
        assert_eq!(flatten(&nested).unwrap(), [&json!(1), &json!(2), &json!(3), &json!(4)]);
        assert_eq!(flatten(&json!("x")), None);
    }

    #[test]
    fn shapes_that_overflow_are_refused() {
        assert_eq!(shape(&json!({ "shape": [2, 3] })), Some(vec![2, 3]));
        assert_eq!(shape(&json!({ "shape": [u64::MAX, u64::MAX] })), None);
        assert_eq!(shape(&json!({ "shape": [-1] })), None);
        assert_eq!(shape(&json!({})), None);
    }
}
