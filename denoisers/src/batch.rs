//! Pictures on their way through a network.

/// `count` RGB pictures of one size: planar f32, `[count, 3, height, width]` in row-major order.
///
/// Values are in units of \[0,1\] pixel values but not clipped to them: a noisy picture reaches outside, and clipping it
/// before the denoiser would throw information away.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    data: Vec<f32>,
    count: usize,
    height: usize,
    width: usize,
}

/// A batch that cannot exist. The caller's mistake; the same data will fail again.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BatchError {
    /// A dimension is zero.
    #[error("a batch of {count} pictures of {height}x{width} is empty: every dimension must be at least 1")]
    Empty {
        /// Number of pictures.
        count: usize,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// The number of values does not fit the dimensions.
    #[error(
        "{found} values do not make {count} RGB pictures of {height}x{width}: count * 3 * height * width are needed"
    )]
    Length {
        /// Number of values given.
        found: usize,
        /// Number of pictures.
        count: usize,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// A value is NaN or infinite, and a network would spread it over the picture.
    #[error("value {value} at index {index} of the batch is not finite")]
    NotFinite {
        /// Position in the data.
        index: usize,
        /// The value found there.
        value: f32,
    },
}

impl Batch {
    /// Takes `data` as `[count, 3, height, width]`.
    ///
    /// # Errors
    /// [`BatchError`] if a dimension is 0, `data` has another length, or a value is not finite.
    pub fn new(data: Vec<f32>, count: usize, height: usize, width: usize) -> Result<Self, BatchError> {
        if count == 0 || height == 0 || width == 0 {
            return Err(BatchError::Empty { count, height, width });
        }
        let expected =
            count.checked_mul(3).and_then(|n| n.checked_mul(height)).and_then(|n| n.checked_mul(width));
        if expected != Some(data.len()) {
            return Err(BatchError::Length { found: data.len(), count, height, width });
        }
        if let Some((index, &value)) = data.iter().enumerate().find(|(_, v)| !v.is_finite()) {
            return Err(BatchError::NotFinite { index, value });
        }
        Ok(Self { data, count, height, width })
    }

    /// All values, `[count, 3, height, width]`.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// Gives the values back, `[count, 3, height, width]`.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// Number of pictures, at least 1.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Rows of a picture, at least 1.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns of a picture, at least 1.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Values in one picture: `3 * height * width`.
    pub fn picture_len(&self) -> usize {
        3 * self.height * self.width
    }

    /// The pictures in order, each `[3, height, width]`.
    pub fn pictures(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.data.chunks_exact(self.picture_len())
    }

    /// A network's result, whose shape needs no checking; unlike an input it may hold NaN if the network overflowed.
    pub(crate) fn trusted(data: Vec<f32>, count: usize, (height, width): (usize, usize)) -> Self {
        debug_assert_eq!(data.len(), count * 3 * height * width);
        Self { data, count, height, width }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_batches_are_refused_by_name() {
        assert!(matches!(Batch::new(vec![], 0, 4, 4), Err(BatchError::Empty { .. })));
        assert!(matches!(Batch::new(vec![0.0; 47], 1, 4, 4), Err(BatchError::Length { found: 47, .. })));
        assert!(matches!(Batch::new(vec![], usize::MAX, 4, 4), Err(BatchError::Length { .. })));
        let mut data = vec![0.0; 48];
        data[7] = f32::NAN;
        assert!(matches!(Batch::new(data, 1, 4, 4), Err(BatchError::NotFinite { index: 7, .. })));
    }

    #[test]
    fn values_outside_the_unit_interval_are_kept() {
        let data: Vec<f32> = (0..24).map(|i| i as f32 - 12.0).collect();
        let batch = Batch::new(data.clone(), 2, 2, 2).unwrap();
        assert_eq!(batch.pictures().nth(1), Some(&data[12..]));
        assert_eq!(batch.into_data(), data);
    }
}
