//! Inversion of a long table by its 31 leading bits: a piecewise quadratic with a proven error.
//!
//! The thresholds of the 16-bit grid fill megabytes, and a search in them misses the cache at every step. The magnitude
//! as a function of the uniform is smooth, though, so a quadratic on each of a few thousand segments finds it up to a
//! thousandth of a step. The error of each segment is *checked against every threshold in it* when the table is made;
//! a value that comes closer to an integer than that error is left to the exact search. The result is thereby the
//! same, bit for bit, as by the search alone.

/// Segments in each factor of two of the tail probability.
const SEGMENT_BITS: u32 = 7;
/// Bits of the fraction of an `f64` that lie below the segment's number.
const SHIFT: u32 = 52 - SEGMENT_BITS;
/// Prefixes below 2^12 (probability 2^-19) are left to the search.
const FIRST_OCTAVE: u32 = 12;
const OCTAVES: u32 = 31 - FIRST_OCTAVE;
/// A tolerance larger than any magnitude: nothing is decided.
const UNDECIDED: f64 = 1_073_741_824.0;

/// `|g| / h`, of which the magnitude is the nearest integer: `y(t) = c0 + c1 t + c2 t^2`, `t` counted from the start
/// of the segment, and a bound of its error.
#[derive(Debug, Clone, Copy)]
struct Segment {
    c: [f64; 3],
    tolerance: f64,
}

impl Segment {
    fn at(&self, t: f64) -> f64 {
        self.c[0] + t * (self.c[1] + t * self.c[2])
    }
}

/// See the module's text.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    segments: Box<[Segment]>,
}

/// Number of the segment of prefix `v`, and the offset of `v` in it. Segment 0 holds all small prefixes.
#[inline]
fn locate(v: u32) -> (usize, f64) {
    const FIRST: u64 = ((1023 + FIRST_OCTAVE) as u64) << SEGMENT_BITS;
    let x = f64::from(v);
    let bits = x.to_bits();
    let number = (bits >> SHIFT).saturating_sub(FIRST - 1);
    (number as usize, x - f64::from_bits(bits & (u64::MAX << SHIFT)))
}

/// First prefix of a fitted segment and how many there are in it, the segments counted from 0.
fn extent(number: u32) -> (u64, u64) {
    let length = 1_u64 << ((number >> SEGMENT_BITS) + FIRST_OCTAVE - SEGMENT_BITS);
    let start = length * u64::from((1 << SEGMENT_BITS) + (number & ((1 << SEGMENT_BITS) - 1)));
    (start, length)
}

impl Curve {
    /// Fits the quadratics to a descending tail in units of 2^-63 and bounds their errors.
    pub(super) fn new(tail: &[u64]) -> Self {
        let undecided = Segment { c: [0.0; 3], tolerance: UNDECIDED };
        let fitted = (0..OCTAVES << SEGMENT_BITS).map(|number| {
            let (start, length) = extent(number);
            fit(tail, start as f64, length as f64)
        });
        let mut curve = Self { segments: std::iter::once(undecided).chain(fitted).collect() };
        curve.prove(tail);
        curve
    }

    /// Magnitudes between which every uniform with the 31-bit prefix `v` lies, both included. The lower one may be
    /// negative and the upper one above the largest magnitude.
    #[inline]
    pub(super) fn bounds(&self, v: u32) -> (i32, i32) {
        // Adding 1.5 * 2^52 leaves the nearest integer in the low bits: several times faster than a checked cast.
        const MAGIC: f64 = 6_755_399_441_055_744.0;
        let (number, t) = locate(v);
        let segment = &self.segments[number];
        let y = segment.at(t);
        let nearest = |y: f64| (y + MAGIC).to_bits() as i32;
        (nearest(y - segment.tolerance), nearest(y + segment.tolerance))
    }

    /// Sets the tolerance of every segment such that [`Curve::bounds`] is true for all prefixes.
    ///
    /// Write `most(v)` and `least(v)` for the magnitudes of the smallest and the largest uniform with prefix `v`; both
    /// fall as `v` grows. To show is, for each `v`: `most(v) - 1/2 < y(v) + tol` and `y(v) - tol < least(v) + 1/2`;
    /// then the nearest integers of `y -+ tol` enclose both. `y` falls within a segment (checked by the sign of its
    /// derivative at both ends), so it is enough to look, for every value `k`, at the *last* `v` with `most(v) >= k`,
    /// which is `ceil(T_k / 2^32) - 1`, at the *first* `v` with `least(v) < k`, which is `floor(T_k / 2^32)`, and at
    /// both ends of every segment. What is found is raised by 1e-6 for the rounding of `y` itself (below 1e-8 for
    /// magnitudes up to 2^22).
    fn prove(&mut self, tail: &[u64]) {
        // At prefix v the curve must reach k - 1/2 with its tolerance, from below (`upper`) or from above.
        let mut raise = |v: u64, k: f64, upper: bool| {
            let (number, t) = locate(v as u32);
            let segment = &mut self.segments[number];
            let above = segment.at(t) - (k - 0.5);
            let miss = if upper { -above } else { above };
            segment.tolerance = segment.tolerance.max(miss + 1e-6);
        };
        for (i, &t) in tail.iter().enumerate() {
            let k = (i + 1) as f64;
            let last = t.div_ceil(1 << 32);
            if last > 0 {
                raise(last - 1, k, true);
            }
            let first = t >> 32;
            if first < 1 << 31 {
                raise(first, k, false);
            }
        }
        let magnitude = |v: u64| tail.partition_point(|&t| t > v) as f64;
        for number in 0..OCTAVES << SEGMENT_BITS {
            let (start, length) = extent(number);
            for v in [start, start + length - 1] {
                raise(v, magnitude(v << 32), true);
                raise(v, magnitude((v << 32) | 0xFFFF_FFFF) + 1.0, false);
            }
        }
        for (number, segment) in self.segments[1..].iter_mut().enumerate() {
            let (_, length) = extent(number as u32);
            let length = length as f64;
            let falls = segment.c[1] < 0.0 && segment.c[1] + 2.0 * segment.c[2] * length < 0.0;
            if !falls {
                segment.tolerance = UNDECIDED;
            }
        }
    }
}

/// Quadratic through three Chebyshev nodes of the segment `[start, start + length)` of 31-bit prefixes.
fn fit(tail: &[u64], start: f64, length: f64) -> Segment {
    const NODES: [f64; 3] = [0.066_987_298_107_780_7, 0.5, 0.933_012_701_892_219_3];
    // The real-valued magnitude at `x`: y(T_k) = k - 1/2, between thresholds by straight lines, whose own error is part of
    // what is measured afterwards. The cell of 0 is cut in half by the sign, hence its doubled width.
    let position = |x: f64| {
        let v = (x * 4_294_967_296.0) as u64;
        let k = tail.partition_point(|&t| t > v);
        let lower = tail.get(k).copied().unwrap_or(0);
        let upper = if k == 0 { (1_u128 << 64) - u128::from(lower) } else { u128::from(tail[k - 1]) };
        let part = (upper as f64 - v as f64) / (upper as f64 - lower as f64);
        k as f64 - 0.5 + part
    };
    let t = NODES.map(|n| n * length);
    let y = NODES.map(|n| position(start + n * length));
    let first = (y[1] - y[0]) / (t[1] - t[0]);
    let second = (y[2] - y[1]) / (t[2] - t[1]);
    let c2 = (second - first) / (t[2] - t[0]);
    let c1 = first - c2 * (t[0] + t[1]);
    let c0 = y[0] - t[0] * (c1 + t[0] * c2);
    Segment { c: [c0, c1, c2], tolerance: 0.0 }
}
