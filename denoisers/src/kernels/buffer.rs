//! Memory for activations and packed weights.

use std::cell::UnsafeCell;

/// A cache line.
#[repr(C, align(64))]
struct Line([f32; Self::FLOATS]);

impl Line {
    const FLOATS: usize = 16;
}

/// Zeroed floats that start on a cache line. Several threads may write to it, each to its own part: the pointer is handed
/// out from a shared reference, and whoever writes through it says why nobody else does.
pub(super) struct Buffer {
    lines: Vec<UnsafeCell<Line>>,
}

// SAFETY: the cells are reached through `as_ptr` only, and every use of that pointer is an unsafe operation whose caller answers
// for the absence of races.
unsafe impl Sync for Buffer {}

impl Buffer {
    pub(super) fn zeroed(floats: usize) -> Self {
        let line = || UnsafeCell::new(Line([0.0; Line::FLOATS]));
        Self { lines: std::iter::repeat_with(line).take(floats.div_ceil(Line::FLOATS)).collect() }
    }

    /// Number of floats, a multiple of 16.
    pub(super) fn len(&self) -> usize {
        self.lines.len() * Line::FLOATS
    }

    /// The first float.
    pub(super) fn as_ptr(&self) -> *mut f32 {
        UnsafeCell::raw_get(self.lines.as_ptr()).cast()
    }

    /// All floats. The exclusive access that writers need is promised by those who write.
    pub(super) fn as_slice(&self) -> &[f32] {
        // SAFETY: as below; whoever writes through `as_ptr` has promised that nobody reads at the time.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: `Line` is 16 floats without padding, the vector's lines are contiguous and initialised, and the exclusive
        // reference keeps everyone else away.
        unsafe { std::slice::from_raw_parts_mut(self.as_ptr(), self.len()) }
    }
}
