//! Which samples of a set are used.

use std::collections::BTreeMap;

use super::Sample;

/// Which samples are used: every `skip`-th, then a stratified sample, then the first `max`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Every so manieth, from the first: 20 takes samples 0, 20, 40, ... 0 and 1 take all.
    pub skip: usize,
    /// So many, spread over the classes as evenly as they allow, drawn by the seed.
    pub sample: Option<usize>,
    /// The seed of that draw.
    pub seed: u64,
    /// No more than so many.
    pub max: Option<usize>,
}

impl Selection {
    /// The samples that it takes of `samples`, in their order.
    pub(super) fn of(&self, samples: &[Sample]) -> Vec<Sample> {
        let mut taken: Vec<&Sample> = samples.iter().step_by(self.skip.max(1)).collect();
        if let Some(wanted) = self.sample {
            taken = self.stratified(&taken, wanted);
        }
        taken.into_iter().take(self.max.unwrap_or(usize::MAX)).cloned().collect()
    }

    /// Round after round one sample of each class, in an order within the class that only the seed and the names fix.
    fn stratified<'s>(&self, samples: &[&'s Sample], wanted: usize) -> Vec<&'s Sample> {
        let key = blake3::derive_key("smoothgate 1 stratified sample", &self.seed.to_le_bytes());
        let rank = |name: &str| *blake3::keyed_hash(&key, name.as_bytes()).as_bytes();
        let mut classes: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
        for sample in samples {
            classes.entry(sample.truth.name()).or_default().push(sample);
        }
        for members in classes.values_mut() {
            members.sort_by_key(|sample| rank(&sample.name));
        }
        // Which classes get one more where the number does not divide is drawn, too.
        let mut order: Vec<(&str, Vec<&Sample>)> = classes.into_iter().collect();
        order.sort_by_key(|(class, _)| rank(class));
        let longest = order.iter().map(|(_, members)| members.len()).max().unwrap_or(0);
        let rounds =
            (0..longest).flat_map(|round| order.iter().filter_map(move |(_, m)| m.get(round).copied()));
        let mut taken: Vec<&Sample> = rounds.take(wanted).collect();
        taken.sort_by_key(|sample| sample.index);
        taken
    }
}
