//! Draws go out and come back in any order; votes are counted in the order of their indices.

use std::collections::VecDeque;

/// The draws of one picture between their dispatch and their vote. `T` is what a draw ends with.
///
/// The whole of contract line 4, and no more: what a draw is, and how it is asked about, is its user's. Simulations of
/// the guarantee go through it, too.
#[derive(Clone, Debug)]
pub struct Order<T> {
    /// The ends of the draws from the next one to count on, where they have ended before their turn.
    ended: VecDeque<Option<T>>,
    /// Draws that were counted.
    counted: u64,
    /// Every draw below this was dispatched: sent, or known already.
    dispatched: u64,
}

impl<T> Default for Order<T> {
    fn default() -> Self {
        Self { ended: VecDeque::new(), counted: 0, dispatched: 0 }
    }
}

impl<T> Order<T> {
    /// Draws that were counted: the index of the next one.
    pub fn counted(&self) -> u64 {
        self.counted
    }

    /// Takes the end of a draw, whenever it comes. One that was counted already, or that has ended, has had its end.
    pub fn end(&mut self, draw: u64, with: T) {
        let Some(at) = draw.checked_sub(self.counted) else { return };
        let at = at as usize;
        if self.ended.len() <= at {
            self.ended.resize_with(at + 1, || None);
        }
        self.ended[at].get_or_insert(with);
    }

    /// The end of the next draw in index order, which is counted by this; `None` while it is out.
    pub fn next_in_turn(&mut self) -> Option<(u64, T)> {
        let end = self.ended.front_mut()?.take()?;
        self.ended.pop_front();
        self.counted += 1;
        Some((self.counted - 1, end))
    }

    /// Has the next draw in index order ended?
    pub fn is_next_there(&self) -> bool {
        self.ended.front().is_some_and(Option::is_some)
    }

    /// The draws to send next, `batch` at most, of the `ahead` behind those that were counted: those that the test needs
    /// for sure, whatever they say, and where calls ahead are allowed those, too, up to the earliest vote at which it could
    /// claim anything ([`Run::ahead`](crate::stats::Run::ahead), [`Joint::ahead`](crate::stats::Joint::ahead)). What
    /// `recall` knows of is not sent again: its end is taken from there.
    pub fn dispatch(
        &mut self,
        ahead: usize,
        batch: usize,
        mut recall: impl FnMut(u64) -> Option<T>,
    ) -> Vec<u64> {
        let allowed = self.counted + ahead as u64;
        let mut draws = Vec::new();
        while self.dispatched < allowed && draws.len() < batch {
            let draw = self.dispatched;
            self.dispatched += 1;
            match recall(draw) {
                Some(end) => self.end(draw, end),
                None => draws.push(draw),
            }
        }
        draws
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{LabelRule, Method, Plan, Run, Test, Vote};

    fn run(n: usize) -> Run {
        let method = Method::Fixed { n, rival_share: None };
        let plan = Plan { sigma: 0.25, alpha: 0.05, label: LabelRule::Fixed, method };
        Test::new(plan).unwrap().start(Some(0)).unwrap()
    }

    #[test]
    fn contract_04_ends_wait_for_their_turn() {
        let mut order = Order::default();
        for draw in [2, 0, 3] {
            order.end(draw, draw * 10);
        }
        assert!(order.is_next_there());
        assert_eq!(order.next_in_turn(), Some((0, 0)));
        assert_eq!((order.next_in_turn(), order.is_next_there()), (None, false));
        order.end(1, 10);
        // The first end of a draw is its end.
        order.end(1, 99);
        order.end(0, 99);
        let rest: Vec<_> = std::iter::from_fn(|| order.next_in_turn()).collect();
        assert_eq!(rest, [(1, 10), (2, 20), (3, 30)]);
        assert_eq!(order.counted(), 4);
    }

    #[test]
    fn no_draw_goes_out_twice_nor_before_it_is_needed() {
        let mut run = run(30);
        let mut order: Order<Vote> = Order::default();
        let needed = run.needed() as u64;
        let known = |draw| (draw == 1).then_some(Vote::For(0));
        assert_eq!(order.dispatch(run.ahead(0), 3, known), [0, 2, 3]);
        let rest = order.dispatch(run.ahead(0), usize::MAX, known);
        assert_eq!(rest, (4..needed).collect::<Vec<_>>());
        assert!(order.dispatch(run.ahead(0), usize::MAX, known).is_empty());
        for draw in rest.iter().rev().chain(&[3, 2, 0]) {
            order.end(*draw, Vote::For(0));
        }
        let mut counted = 0;
        while let Some((draw, vote)) = order.next_in_turn() {
            assert_eq!(draw, counted);
            counted += 1;
            run.push(vote);
        }
        assert_eq!(counted, needed);
        assert_eq!(order.dispatch(run.ahead(0), 1, known), [needed]);
    }
}
