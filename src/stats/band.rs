//! The distribution of the number of dissents while votes are cast, kept only where it has mass.

/// The law of F, the number of dissenting votes, among the runs that nothing has ended yet.
///
/// F spreads over O(√t) values. Masses below a cutoff at either end are dropped, and their sum is kept:
/// whoever needs a bound adds [`Band::dropped`] to what was counted. A build of n votes so takes O(n √n)
/// time.
#[derive(Debug, Clone)]
pub(crate) struct Band {
    first: usize,
    mass: Vec<f64>,
    spare: Vec<f64>,
    cutoff: f64,
    dropped: f64,
}

impl Band {
    /// Before the first vote: F = 0.
    pub(crate) fn new(cutoff: f64) -> Self {
        Self { first: 0, mass: vec![1.0], spare: Vec::new(), cutoff, dropped: 0.0 }
    }

    /// Casts one vote, which agrees with probability p.
    pub(crate) fn step(&mut self, p: f64) {
        let Some(&last) = self.mass.last() else { return };
        let q = 1.0 - p;
        self.spare.clear();
        self.spare.push(p * self.mass[0]);
        self.spare.extend(self.mass.windows(2).map(|pair| p * pair[1] + q * pair[0]));
        self.spare.push(q * last);
        std::mem::swap(&mut self.mass, &mut self.spare);
        self.trim();
    }

    fn trim(&mut self) {
        while let Some(mass) = self.mass.pop_if(|mass| *mass < self.cutoff) {
            self.dropped += mass;
        }
        let light = self.mass.iter().take_while(|&&mass| mass < self.cutoff).count();
        self.dropped += self.mass.drain(..light).sum::<f64>();
        self.first += light;
    }

    /// P(F = f, not ended).
    pub(crate) fn at(&self, dissent: usize) -> f64 {
        let index = dissent.checked_sub(self.first);
        index.and_then(|index| self.mass.get(index)).copied().unwrap_or(0.0)
    }

    /// Ends the runs with F = f and returns their probability.
    pub(crate) fn take(&mut self, dissent: usize) -> f64 {
        let index = dissent.checked_sub(self.first);
        let mass = index.and_then(|index| self.mass.get_mut(index)).map_or(0.0, std::mem::take);
        // A zero left at an end is trimmed by the next step.
        mass
    }

    /// Forgets the runs with F > f, which the caller knows to be of no interest any more.
    pub(crate) fn forget_above(&mut self, dissent: usize) {
        self.mass.truncate((dissent + 1).saturating_sub(self.first));
    }

    /// P(not ended), but for what was forgotten or dropped.
    pub(crate) fn total(&self) -> f64 {
        self.mass.iter().sum()
    }

    /// The number of dissents and the probability of each run that is still open.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, f64)> {
        self.mass.iter().enumerate().map(|(index, &mass)| (self.first + index, mass))
    }

    /// The mass that was dropped because it was light.
    pub(crate) fn dropped(&self) -> f64 {
        self.dropped
    }
}
