//! Everything random in training, as a function of the seed and a number.
//!
//! No generator is carried along, so a resumed run has nothing to restore, and threads may draw in any order.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The generators of one purpose.
#[derive(Clone, Debug)]
pub(super) struct Draws([u8; 32]);

impl Draws {
    pub(super) fn new(seed: u64, purpose: &str) -> Self {
        Self(blake3::derive_key(&format!("smoothgate training 1: {purpose}"), &seed.to_le_bytes()))
    }

    /// The generator of this number.
    pub(super) fn of(&self, number: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::from_seed(self.0);
        rng.set_stream(number);
        rng
    }
}

/// Goes through a set again and again, each time in another order.
#[derive(Clone, Debug)]
pub(super) struct Order {
    draws: Draws,
    epoch: Option<u64>,
    members: Vec<usize>,
}

impl Order {
    /// Of a set of this many, at least one.
    pub(super) fn new(seed: u64, count: usize) -> Self {
        Self { draws: Draws::new(seed, "order"), epoch: None, members: (0..count).collect() }
    }

    /// The member whose turn it is in this place, counted from the first epoch on.
    pub(super) fn at(&mut self, place: u64) -> usize {
        let count = self.members.len() as u64;
        let epoch = place / count;
        if self.epoch != Some(epoch) {
            self.epoch = Some(epoch);
            let mut rng = self.draws.of(epoch);
            self.members.sort_unstable();
            for i in (1..self.members.len()).rev() {
                self.members.swap(i, rng.random_range(0..=i));
            }
        }
        self.members[(place % count) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_epoch_is_another_order_of_the_whole_set() {
        let epoch = |order: &mut Order, e: u64| (0..7).map(|i| order.at(7 * e + i)).collect::<Vec<_>>();
        let mut order = Order::new(5, 7);
        let epochs: Vec<_> = (0..4).map(|e| epoch(&mut order, e)).collect();
        for members in &epochs {
            let mut sorted = members.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5, 6]);
        }
        assert!(epochs.windows(2).all(|pair| pair[0] != pair[1]));
        // Beginning in the middle makes no difference.
        assert_eq!(epoch(&mut Order::new(5, 7), 3), epochs[3]);
        assert_ne!(epoch(&mut Order::new(6, 7), 3), epochs[3]);
    }

    #[test]
    fn purposes_seeds_and_numbers_have_generators_of_their_own() {
        let first = |seed, purpose, number| Draws::new(seed, purpose).of(number).random::<u64>();
        let all = [first(1, "a", 0), first(1, "a", 1), first(1, "b", 0), first(2, "a", 0)];
        assert_eq!(first(1, "a", 0), all[0]);
        for (i, value) in all.iter().enumerate() {
            assert!(!all[..i].contains(value));
        }
    }
}
