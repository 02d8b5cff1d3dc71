//! Growing pictures to the multiple a network needs, and cutting the result back.
//!
//! Rows are added below and columns to the right by reflection about the last one (which is not repeated), so that the
//! noise there looks like noise; where a picture is too small for one reflection it bounces back and forth, and a single row
//! or column is repeated.

/// `[planes, height, width]` to `[planes, to_height, to_width]`.
pub(crate) fn reflect<T: Copy>(data: &[T], (height, width): (usize, usize), to: (usize, usize)) -> Vec<T> {
    let planes = data.len() / (height * width);
    let mut out = Vec::with_capacity(planes * to.0 * to.1);
    for plane in data.chunks_exact(height * width) {
        for row in 0..to.0 {
            let row = &plane[reflected(row, height) * width..][..width];
            out.extend((0..to.1).map(|column| row[reflected(column, width)]));
        }
    }
    out
}

/// `[planes, height, width]` to its upper left `[planes, to_height, to_width]`.
pub(crate) fn crop(data: &[f32], (height, width): (usize, usize), to: (usize, usize)) -> Vec<f32> {
    let planes = data.len() / (height * width);
    let mut out = Vec::with_capacity(planes * to.0 * to.1);
    for plane in data.chunks_exact(height * width) {
        for row in plane.chunks_exact(width).take(to.0) {
            out.extend_from_slice(&row[..to.1]);
        }
    }
    out
}

/// Index `i >= 0` of the endless reflection of `0..n`: 0 1 2 1 0 1 2 for n = 3.
pub(crate) fn reflected(i: usize, n: usize) -> usize {
    let period = (2 * n - 2).max(1);
    let i = i % period;
    if i < n { i } else { period - i }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reflection_bounces() {
        let line: Vec<usize> = (0..9).map(|i| reflected(i, 3)).collect();
        assert_eq!(line, [0, 1, 2, 1, 0, 1, 2, 1, 0]);
        assert_eq!((0..4).map(|i| reflected(i, 1)).collect::<Vec<_>>(), [0; 4]);
        assert_eq!((0..4).map(|i| reflected(i, 2)).collect::<Vec<_>>(), [0, 1, 0, 1]);
    }

    #[test]
    fn crop_undoes_reflect() {
        let data: Vec<f32> = (0..2 * 3 * 5).map(|i| i as f32).collect();
        let grown = reflect(&data, (3, 5), (8, 8));
        assert_eq!([&grown[5..6], &grown[24..25]], [&data[3..4], &data[5..6]]);
        assert_eq!(crop(&grown, (8, 8), (3, 5)), data);
    }
}
