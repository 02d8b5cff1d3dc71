//! Where the values of a graph lie in memory: two that are never needed at the same time may share it.

use super::{buffer::Buffer, layout::Layout};
use crate::graph::{Conv, Graph, Value};

/// Places begin at multiples of so many floats: a cache line.
const LINE: usize = 16;

/// The place of each value in one stretch of memory that begins with zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arena {
    /// The first float of each value.
    pub(super) at: Vec<usize>,
    /// Floats of all together.
    pub(super) floats: usize,
    /// Of each value, whether something else has lain in its memory since a value of this layout did at the same place: then what must be zero
    /// around it is not.
    pub(super) clear: Vec<bool>,
}

/// Values that lie on top of each other, and when they are needed.
struct Life {
    /// The first one's number, which is also the stage that computes it.
    first: usize,
    /// The last stage that needs one of them.
    last: usize,
    floats: usize,
}

impl Arena {
    /// The memory of a value, where the arena is this one.
    pub(super) fn place(&self, arena: &Buffer, value: usize) -> *mut f32 {
        debug_assert!(arena.len() >= self.floats);
        arena.as_ptr().wrapping_add(self.at[value])
    }

    /// Each value has its own memory.
    pub(super) fn apart(layouts: &[Layout]) -> Self {
        let mut floats = 0;
        let at = layouts.iter().map(|layout| {
            floats += size(layout);
            floats - size(layout)
        });
        Self { at: at.collect(), floats, clear: vec![false; layouts.len()] }
    }

    /// Only values of one layout share memory, so that a row of one is a row of the other: what [`bands`](super::bands) counts on.
    pub(super) fn alike(graph: &Graph, layouts: &[Layout]) -> Self {
        // Where memory for a layout is, and until which stage it is in use.
        let mut slots: Vec<(usize, Layout, usize)> = Vec::new();
        let mut floats = 0;
        let (lives, life_of) = lives(graph, layouts);
        let at: Vec<usize> = lives
            .iter()
            .map(|life| {
                let layout = layouts[life.first];
                let free = |slot: &&mut (usize, Layout, usize)| slot.1 == layout && slot.2 < life.first;
                if let Some(slot) = slots.iter_mut().find(free) {
                    slot.2 = life.last;
                    return slot.0;
                }
                slots.push((floats, layout, life.last));
                floats += life.floats;
                floats - life.floats
            })
            .collect();
        let at = life_of.iter().map(|life| at[*life]).collect();
        Self { at, floats, clear: vec![false; layouts.len()] }
    }

    /// As little memory as can be found by placing the largest values first, each as low as those leave room that are needed at the same
    /// time as it (the greedy algorithm by size of Pisarchyk and Lee 2020, section 4.2).
    pub(super) fn packed(graph: &Graph, layouts: &[Layout]) -> Self {
        let (lives, life_of) = lives(graph, layouts);
        let mut order: Vec<usize> = (0..lives.len()).collect();
        order.sort_by_key(|life| std::cmp::Reverse(lives[*life].floats));
        let mut at: Vec<Option<usize>> = vec![None; lives.len()];
        for life in order {
            let Life { first, last, floats } = lives[life];
            let placed = lives.iter().zip(&at).filter_map(|(other, at)| Some((other, (*at)?)));
            let beside = placed.filter(|(other, _)| other.first <= last && first <= other.last);
            let mut taken: Vec<(usize, usize)> = beside.map(|(other, at)| (at, at + other.floats)).collect();
            taken.sort_unstable();
            let mut place = 0;
            for (start, end) in taken {
                if place + floats <= start {
                    break;
                }
                place = place.max(end);
            }
            at[life] = Some(place);
        }
        let at: Vec<usize> = life_of.iter().map(|life| at[*life].unwrap_or(0)).collect();
        let floats = at.iter().zip(layouts).map(|(at, layout)| at + size(layout)).max().unwrap_or(0);
        let clear = (0..at.len()).map(|value| taken_over(layouts, &at, value)).collect();
        Self { at, floats, clear }
    }
}

/// Floats that a value takes up to the next place.
fn size(layout: &Layout) -> usize {
    layout.floats().next_multiple_of(LINE)
}

/// The lives of all memory, in the order of their beginnings, and which of them each value is part of. A result goes on top of what is
/// added to it if nobody else needs that: each output is read and written by the same thread.
fn lives(graph: &Graph, layouts: &[Layout]) -> (Vec<Life>, Vec<usize>) {
    let last = |value: usize| (graph.last_use(Value(value)) + 1).max(value);
    let mut lives = vec![Life { first: 0, last: last(0), floats: size(&layouts[0]) }];
    let mut life_of = vec![0];
    for (i, conv) in graph.convs.iter().enumerate() {
        let value = i + 1;
        if let Some(below) = below(graph, layouts, i, conv) {
            let life = life_of[below.0];
            life_of.push(life);
            lives[life].last = last(value);
        } else {
            life_of.push(lives.len());
            lives.push(Life { first: value, last: last(value), floats: size(&layouts[value]) });
        }
    }
    (lives, life_of)
}

/// What a convolution's result can lie on top of.
fn below(graph: &Graph, layouts: &[Layout], i: usize, conv: &Conv) -> Option<Value> {
    let fits = |value: Value| layouts[value.0] == layouts[i + 1];
    conv.residual.filter(|r| graph.last_use(*r) == i && *r != conv.input && fits(*r))
}

/// Whether the value that lay in some of this one's memory last, in this pass or the one before, had another place or layout.
fn taken_over(layouts: &[Layout], at: &[usize], value: usize) -> bool {
    let count = at.len();
    let end = |value: usize| at[value] + size(&layouts[value]);
    let overlaps = |other: &usize| at[*other] < end(value) && at[value] < end(*other);
    let before = (1..=count).map(|back| (value + count - back) % count).find(overlaps);
    before.is_some_and(|other| (at[other], layouts[other]) != (at[value], layouts[value]))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{
        architectures,
        graph::{Entry, Estimate, Exit},
        kernels::{
            Instructions, Kernels, Layer, Tape, Want,
            layout::Cell,
            plan::{self, Keep, Key, Plan},
        },
        precision::Precision,
        weights::Weights,
    };

    fn network(sizes: &[(&str, &str)]) -> Graph {
        let metadata: HashMap<String, String> =
            sizes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        architectures::load(Weights::blank(metadata)).unwrap().graph
    }

    fn networks() -> Vec<(&'static str, Graph)> {
        vec![("unet", network(&[("arch", "unet")])), ("dncnn-17", network(&[("arch", "dncnn")]))]
    }

    fn plan_of(graph: &Graph, cell: Cell, group: usize, size: (usize, usize)) -> Plan {
        let layers: Vec<Layer> = super::super::layers(graph, Instructions::Portable, cell);
        let key = Key { group, size, threads: 2 };
        Plan::new(graph, &layers, cell, key, Keep::Needed)
    }

    /// No value is overwritten while somebody needs it, except by a sum on top of it.
    #[test]
    fn values_keep_their_memory_while_needed() {
        for (name, graph) in networks() {
            // In bf16 large pictures are computed in bands.
            for (cell, size) in [
                (Cell::Single, (24, 40)),
                (Cell::Rounded, (24, 40)),
                (Cell::Bf16, (24, 40)),
                (Cell::Bf16, (512, 512)),
            ] {
                let Plan { layouts, arena, .. } = plan_of(&graph, cell, 1, size);
                let end = |value: usize| arena.at[value] + layouts[value].floats();
                for (i, conv) in graph.convs.iter().enumerate() {
                    let new = i + 1;
                    assert!(end(new) <= arena.floats);
                    for value in (0..=i).filter(|v| graph.last_use(Value(*v)) >= i) {
                        let on_top = conv.residual == Some(Value(value))
                            && graph.last_use(Value(value)) == i
                            && (arena.at[value], layouts[value]) == (arena.at[new], layouts[new]);
                        let apart = end(value) <= arena.at[new] || end(new) <= arena.at[value];
                        assert!(on_top || apart, "{name}: convolution {i} destroys value {value}");
                    }
                }
            }
        }
    }

    /// Beside weights and pictures, and what the threads work in: twice the largest features of the batch, which a convolution from features
    /// of that size to such cannot do without, and their borders of zeros.
    #[test]
    fn features_take_twice_the_largest_at_most() {
        for (name, graph) in networks() {
            for (count, side) in [(1, 224), (16, 224), (64, 32)] {
                let size = (side, side);
                let group = plan::group(&graph, Cell::Single, size).min(count);
                let Plan { arena, layouts, scratch, .. } = plan_of(&graph, Cell::Single, group, size);
                let numbers = |l: &Layout| count * l.height * l.width * l.channels;
                let largest = layouts.iter().map(numbers).max().unwrap() as f64;
                let share = arena.floats as f64 / largest;
                println!(
                    "{name} {count} of {side}x{side}: {:.1} MB, {share:.3} of the largest features, and {:.1} MB for each thread",
                    arena.floats as f64 * 4e-6,
                    scratch as f64 * 4e-6
                );
                assert!(share < 2.15, "{name} {count} of {side}x{side}: {share}");
            }
        }
    }

    /// In bf16 the features that only the exit reads are of another layout than those that are added to them: they need memory of
    /// their own, twice as much.
    #[test]
    fn a_sum_at_the_exit_is_not_put_on_top_of_smaller_numbers() {
        let entry = Entry { shift: [0.0; 3], scale: [1.0; 3], unshuffle: 1, sigma_map: false };
        let mut graph = Graph::new(entry, 1);
        let same = || Conv::select(3, 3, 1, 0);
        let first = graph.push(Value(0), same());
        let second = graph.push(first, same());
        let value = graph.push(second, same().add(first));
        graph.exit = Exit::Pictures { value, shuffle: 1, estimate: Estimate::Picture };
        let Plan { arena, layouts, .. } = plan_of(&graph, Cell::Bf16, 1, (8, 8));
        assert!(layouts[1] != layouts[3] && arena.at[1].abs_diff(arena.at[3]) >= layouts[1].floats());
        let picture: Vec<f32> = (0..3 * 64).map(|i| i as f32 / 128.0).collect();
        let expected: Vec<f32> = picture.iter().map(|v| 2.0 * v).collect();
        let found = Kernels::new(&graph, Precision::Bf16).run(&graph, picture, (1, 8, 8), 0.25);
        assert!(found == expected, "{found:?}");
    }

    /// What took over another's memory has its border zeroed, and nothing else has.
    #[test]
    fn only_what_was_taken_over_is_cleared() {
        let graph = network(&[("arch", "dncnn"), ("depth", "6")]);
        let Plan { arena, layouts, .. } = plan_of(&graph, Cell::Single, 1, (16, 16));
        // The entry and the result share memory with the features between, which follow each other at two places.
        assert_eq!(arena.at, [arena.at[2], 0, arena.at[2], 0, arena.at[2], 0, arena.at[2]]);
        assert_eq!(arena.clear, [true, false, true, false, false, false, true]);
        assert!(Arena::apart(&layouts).clear.iter().all(|clear| !clear));
    }

    /// The same bits as where every value has its own memory, also where an earlier call has left its numbers.
    #[test]
    fn sharing_memory_changes_no_bit() {
        let (_, graph) = networks().swap_remove(0);
        let mut kernels = Kernels::new(&graph, Precision::F32);
        for (count, height, width) in [(1, 24, 40), (1, 24, 40), (3, 16, 8), (3, 16, 8)] {
            for round in 0..3 {
                let number = |i: usize| (i * (37 + round) % 101) as f32 / 100.0;
                let pictures: Vec<f32> = (0..count * 3 * height * width).map(number).collect();
                let shape = (count, height, width);
                let mut tape = Tape::new(&graph, Want::Pictures);
                let apart = tape.forward(&graph, pictures.clone(), shape, &vec![0.25; count]);
                assert!(kernels.run(&graph, pictures, shape, 0.25) == apart, "{shape:?}, round {round}");
            }
        }
    }
}
