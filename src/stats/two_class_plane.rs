//! The joint law of the rival's votes and the other dissents while votes are cast, kept only where it has
//! mass.

use pulp::Arch;

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
    /// Columns of the rectangle.
    width: usize,
    /// Rows, one a value of R.
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
            width: 1,
            mass: vec![1.0],
            spare: Vec::new(),
        }
    }

    fn height(&self) -> usize {
        self.mass.len() / self.width.max(1)
    }

    /// Casts one vote.
    pub(crate) fn step(&mut self) {
        let (height, width) = (self.height(), self.width);
        if height == 0 {
            return;
        }
        let grown = width + 1;
        // What it held before is written over.
        self.spare.resize((height + 1) * grown, 0.0);
        let (old, new, law) = (&self.mass, &mut self.spare, [self.p_a, self.p_b, self.p_rest]);
        Arch::new().dispatch(|| cast(old, width, new, law));
        std::mem::swap(&mut self.mass, &mut self.spare);
        self.width = grown;
        self.trim();
    }

    /// Drops the light rows and columns at the edges of the rectangle.
    fn trim(&mut self) {
        let (height, width) = (self.height(), self.width);
        let row = |i: usize| self.mass[i * width..(i + 1) * width].iter().sum::<f64>();
        let column = |j: usize| self.mass[j..].iter().step_by(width).sum::<f64>();
        let heavy = |sum: f64| sum >= self.cutoff;
        let top = (0..height).find(|&i| heavy(row(i))).unwrap_or(height);
        let bottom = (top..height).rev().find(|&i| heavy(row(i))).map_or(top, |i| i + 1);
        let left = (0..width).find(|&j| heavy(column(j))).unwrap_or(width);
        let right = (left..width).rev().find(|&j| heavy(column(j))).map_or(left, |j| j + 1);
        if (top, bottom, left, right) == (0, height, 0, width) {
            return;
        }
        let kept = right - left;
        for i in top..bottom {
            let from = i * width + left;
            self.mass.copy_within(from..from + kept, (i - top) * kept);
        }
        self.mass.truncate((bottom - top) * kept);
        self.first_rest += top;
        self.first_rival += left;
        self.width = kept;
    }

    fn index(&self, dissent: usize, rival: usize) -> Option<usize> {
        let row = dissent.checked_sub(rival)?.checked_sub(self.first_rest)?;
        let column = rival.checked_sub(self.first_rival)?;
        (column < self.width && row < self.height()).then_some(row * self.width + column)
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
        let (width, first) = (self.width, self.first_rest + self.first_rival);
        for (i, row) in self.mass.chunks_exact_mut(width.max(1)).enumerate() {
            let kept = dissent.saturating_sub(first + i).min(row.len());
            row[kept..].fill(0.0);
        }
    }

    /// Ends the runs in the states that are not among those to keep. Those must be a down-set: of states with as many dissents for
    /// the rest, the ones with the fewest votes of the rival.
    pub(crate) fn retain(&mut self, keep: impl Fn(usize, usize) -> bool) {
        let (width, first_rest, first_rival) = (self.width, self.first_rest, self.first_rival);
        for (i, row) in self.mass.chunks_exact_mut(width.max(1)).enumerate() {
            let kept = (0..row.len()).rev().find(|j| {
                let rival = first_rival + j;
                keep(first_rest + i + rival, rival)
            });
            row[kept.map_or(0, |last| last + 1)..].fill(0.0);
        }
    }

    /// P(open), but for what was dropped.
    pub(crate) fn total(&self) -> f64 {
        self.mass.iter().sum()
    }
}

/// One vote: each new state comes from up to three, the same one, that with one vote of the rival less and that with one other
/// dissent less.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it is compiled for each kind of processor")]
fn cast(old: &[f64], width: usize, new: &mut [f64], [p_a, p_b, p_rest]: [f64; 3]) {
    let none = vec![0.0; width];
    let mut above = none.as_slice();
    let rows = old.chunks_exact(width).chain(std::iter::once(none.as_slice()));
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
