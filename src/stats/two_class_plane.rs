//! The joint law of the rival's votes and the other dissents while votes are cast, kept only where it has
//! mass.

use pulp::{Arch, NullaryFnOnce};

/// P(R, B, open): R dissents for the rest, B votes of the rival, F = R + B dissents in all.
///
/// The two counts are nearly independent, so a rectangle holds the mass tightly; rows and columns at its
/// edges are dropped when they hold less than a cutoff.
#[derive(Debug, Clone)]
pub(crate) struct Plane {
    p_a: f64,
    p_b: f64,
    p_rest: f64,
    cutoff: f64,
    first_rest: usize,
    first_rival: usize,
    /// Rows of the rectangle, one a value of R.
    height: usize,
    /// Columns of the rectangle.
    width: usize,
    /// Where the rectangle begins in `mass`, and how far apart its rows are: what is dropped stays around it until the next vote.
    start: usize,
    stride: usize,
    mass: Vec<f64>,
    spare: Vec<f64>,
}

impl Plane {
    /// Before the first vote.
    pub(crate) fn new([p_a, p_b, p_rest]: [f64; 3], cutoff: f64) -> Self {
        Self {
            p_a,
            p_b,
            p_rest,
            cutoff,
            first_rest: 0,
            first_rival: 0,
            height: 1,
            width: 1,
            start: 0,
            stride: 1,
            mass: vec![1.0],
            spare: Vec::new(),
        }
    }

    /// Whether no run is open, but for what was dropped.
    pub(crate) fn is_empty(&self) -> bool {
        self.height == 0
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.mass[self.start + i * self.stride..][..self.width]
    }

    fn row_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.mass[self.start + i * self.stride..][..self.width]
    }

    /// Casts one vote.
    pub(crate) fn step(&mut self) {
        if self.is_empty() {
            return;
        }
        let (height, width) = (self.height + 1, self.width + 1);
        let mut spare = std::mem::take(&mut self.spare);
        // What it held before is written over.
        spare.resize(height * width, 0.0);
        Arch::new().dispatch(Cast { old: self, new: &mut spare });
        self.spare = std::mem::replace(&mut self.mass, spare);
        (self.height, self.width, self.start, self.stride) = (height, width, 0, width);
        self.trim();
    }

    /// Drops the light rows and columns at the edges of the rectangle.
    fn trim(&mut self) {
        let (height, width) = (self.height, self.width);
        let row = |i: usize| self.row(i).iter().sum::<f64>();
        let column = |j: usize| (0..height).map(|i| self.row(i)[j]).sum::<f64>();
        let heavy = |sum: f64| sum >= self.cutoff;
        let top = (0..height).find(|&i| heavy(row(i))).unwrap_or(height);
        let bottom = (top..height).rev().find(|&i| heavy(row(i))).map_or(top, |i| i + 1);
        let left = (0..width).find(|&j| heavy(column(j))).unwrap_or(width);
        let right = (left..width).rev().find(|&j| heavy(column(j))).map_or(left, |j| j + 1);
        // Of a rectangle without columns there are no rows, either.
        self.height = if right > left { bottom - top } else { 0 };
        self.width = right - left;
        self.start += top * self.stride + left;
        self.first_rest += top;
        self.first_rival += left;
    }

    fn index(&self, dissent: usize, rival: usize) -> Option<usize> {
        let row = dissent.checked_sub(rival)?.checked_sub(self.first_rest)?;
        let column = rival.checked_sub(self.first_rival)?;
        (column < self.width && row < self.height).then_some(self.start + row * self.stride + column)
    }

    /// P(F dissents of which `rival` for the rival, open).
    pub(crate) fn at(&self, dissent: usize, rival: usize) -> f64 {
        self.index(dissent, rival).map_or(0.0, |index| self.mass[index])
    }

    /// Ends the runs in a state and returns their probability.
    pub(crate) fn take(&mut self, dissent: usize, rival: usize) -> f64 {
        self.index(dissent, rival).map_or(0.0, |index| std::mem::take(&mut self.mass[index]))
    }

    /// Ends the runs with `dissent` dissents or more.
    pub(crate) fn forget_dissents_from(&mut self, dissent: usize) {
        let first = self.first_rest + self.first_rival;
        for i in 0..self.height {
            let row = self.row_mut(i);
            let kept = dissent.saturating_sub(first + i).min(row.len());
            row[kept..].fill(0.0);
        }
    }

    /// Ends the runs in the states that are not among those to keep. Those must be a down-set: of states with as many dissents for
    /// the rest, the ones with the fewest votes of the rival.
    pub(crate) fn retain(&mut self, keep: impl Fn(usize, usize) -> bool) {
        let (first_rest, first_rival) = (self.first_rest, self.first_rival);
        for i in 0..self.height {
            let row = self.row_mut(i);
            let kept = (0..row.len()).rev().find(|j| {
                let rival = first_rival + j;
                keep(first_rest + i + rival, rival)
            });
            row[kept.map_or(0, |last| last + 1)..].fill(0.0);
        }
    }

    /// P(open), but for what was dropped.
    pub(crate) fn total(&self) -> f64 {
        (0..self.height).flat_map(|i| self.row(i)).sum()
    }
}

/// One vote: each new state comes from up to three, the same one, that with one vote of the rival less and that with one other
/// dissent less.
struct Cast<'a> {
    old: &'a Plane,
    /// One row and one column more, without gaps.
    new: &'a mut [f64],
}

// A type of its own, as a closure need not be compiled for the processor that it is dispatched to.
impl NullaryFnOnce for Cast<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it is compiled for each kind of processor")]
    fn call(self) {
        let Self { old: plane, new } = self;
        let Plane { p_a, p_b, p_rest, height, width, .. } = *plane;
        let none = vec![0.0; width];
        let mut above = none.as_slice();
        let rows = (0..height).map(|i| plane.row(i)).chain(std::iter::once(none.as_slice()));
        for (new, old) in new.chunks_exact_mut(width + 1).zip(rows) {
            new[0] = p_a * old[0] + p_rest * above[0];
            let from = old[1..].iter().zip(&old[..width - 1]).zip(&above[1..]);
            for (to, ((same, rival), rest)) in new[1..width].iter_mut().zip(from) {
                *to = p_a * same + p_b * rival + p_rest * rest;
            }
            new[width] = p_b * old[width - 1];
            above = old;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_law_of_twelve_votes_is_the_multinomial_one() {
        let probabilities = [0.5, 0.3, 0.2];
        let mut plane = Plane::new(probabilities, 0.0);
        (0..12).for_each(|_| plane.step());
        let factorial = |n: usize| (1..=n).map(|i| i as f64).product::<f64>();
        for dissent in 0..=12 {
            for rival in 0..=dissent {
                let counts = [12 - dissent, rival, dissent - rival];
                let sequences = factorial(12) / counts.map(factorial).iter().product::<f64>();
                let each: f64 = counts.iter().zip(probabilities).map(|(&n, p)| p.powi(n as i32)).product();
                let (law, exact) = (plane.at(dissent, rival), sequences * each);
                assert!((law - exact).abs() <= 1e-14, "{law:e}, not {exact:e}, at {dissent}, {rival}");
            }
        }
    }

    #[test]
    fn what_is_not_retained_ends() {
        let mut plane = Plane::new([0.5, 0.3, 0.2], 0.0);
        (0..9).for_each(|_| plane.step());
        let before = plane.clone();
        let keep = |dissent: usize, rival: usize| dissent + 2 * rival <= 8;
        plane.retain(keep);
        for dissent in 0..=9 {
            for rival in 0..=dissent {
                let left = if keep(dissent, rival) { before.at(dissent, rival) } else { 0.0 };
                assert_eq!(plane.at(dissent, rival).to_bits(), left.to_bits(), "{dissent}, {rival}");
            }
        }
    }
}
