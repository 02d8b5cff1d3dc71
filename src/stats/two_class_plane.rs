//! The joint law of the rival's votes and the other dissents while votes are cast, kept only where it has
//! mass.

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
        self.spare.clear();
        self.spare.resize((height + 1) * grown, 0.0);
        for (new, old) in self.spare.chunks_exact_mut(grown).zip(self.mass.chunks_exact(width)) {
            for (to, from) in new.iter_mut().zip(old) {
                *to = self.p_a * from;
            }
            for (to, from) in new[1..].iter_mut().zip(old) {
                *to += self.p_b * from;
            }
        }
        for (new, old) in self.spare[grown..].chunks_exact_mut(grown).zip(self.mass.chunks_exact(width)) {
            for (to, from) in new.iter_mut().zip(old) {
                *to += self.p_rest * from;
            }
        }
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

    /// Ends the runs in the states that are not among those to keep.
    pub(crate) fn retain(&mut self, keep: impl Fn(usize, usize) -> bool) {
        let (width, first_rest, first_rival) = (self.width, self.first_rest, self.first_rival);
        for (i, row) in self.mass.chunks_exact_mut(width.max(1)).enumerate() {
            for (j, mass) in row.iter_mut().enumerate() {
                let rival = first_rival + j;
                if !keep(first_rest + i + rival, rival) {
                    *mass = 0.0;
                }
            }
        }
    }

    /// P(open), but for what was dropped.
    pub(crate) fn total(&self) -> f64 {
        self.mass.iter().sum()
    }
}
