//! The way back through a graph: which steps, and where each gradient lies.

use super::layout::{CHANNELS, Layout};
use crate::graph::{Activation, Graph, Kind, Value};

/// What is wanted of the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// The gradients of weights and biases.
    Parameters,
    /// The gradient of the pictures.
    Pictures,
}

/// One step of the way back. A value's gradient is complete before anything reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The gradient of what the exit reads.
    Exit,
    /// Zeroes the gradient of this convolution's output where its rectifier did.
    Mask { conv: usize },
    /// Sums up the gradients of this convolution's parameters, in parts.
    Sum { conv: usize },
    /// Adds the parts.
    Fold { conv: usize },
    /// Puts the gradient of a strided convolution's output on the grid of its input, with zeros between.
    Spread { conv: usize },
    /// Hands the gradient to the convolution's input: adds it or is the first to write, and zeroes it where the input's rectifier
    /// did, if that completes it.
    Input { conv: usize, add: bool, mask: bool },
    /// Hands the gradient to what was added to this convolution's result.
    Residual { conv: usize },
    /// The gradient of the pictures.
    Pictures,
}

/// Steps and places. Slots hold values of one layout only, so their borders of zeros stay intact.
pub(super) struct Route {
    pub(super) steps: Vec<Step>,
    /// Of each value's gradient, where there is one.
    pub(super) slots: Vec<Option<usize>>,
    pub(super) slot_layouts: Vec<Layout>,
    /// Of each convolution's [`Step::Spread`], in slots of its own.
    pub(super) spread: Vec<Option<usize>>,
    /// With how many pixels the first value lies off the corner.
    pub(super) spread_layouts: Vec<(Layout, usize)>,
}

/// The layout of a value's gradient: that of the value, with padded channels, as it is a convolution's output.
pub(super) fn layout(value: &Layout) -> Layout {
    Layout { channels: value.channels.next_multiple_of(CHANNELS), ..*value }
}

/// Whether a convolution's gradient takes [`Step::Spread`].
pub(super) fn strided(kind: Kind) -> bool {
    kind.stride() > 1 && kind != Kind::Down2x2
}

impl Route {
    /// `layouts` are those of the values.
    pub(super) fn new(graph: &Graph, layouts: &[Layout], want: Want) -> Self {
        let mut route = Self {
            steps: vec![Step::Exit],
            slots: vec![None; layouts.len()],
            slot_layouts: Vec::new(),
            spread: vec![None; graph.convs.len()],
            spread_layouts: Vec::new(),
        };
        let mut free = Vec::new();
        let exit = graph.exit.value();
        route.slots[exit.0] = Some(route.take(&mut free, layout(&layouts[exit.0])));
        let mut masked = vec![false; layouts.len()];
        for (i, conv) in graph.convs.iter().enumerate().rev() {
            // Nobody reads a result that has no gradient.
            let Some(slot) = route.slots[i + 1] else { continue };
            if conv.activation != Activation::None && !masked[i + 1] {
                route.steps.push(Step::Mask { conv: i });
            }
            if want == Want::Parameters {
                route.steps.extend([Step::Sum { conv: i }, Step::Fold { conv: i }]);
            }
            let wanted = |value: Value| value.0 > 0 || want == Want::Pictures;
            if wanted(conv.input) {
                let input = conv.input;
                if strided(conv.kind) {
                    let channels = route.slot_layouts[slot].channels;
                    // Turned around, a kernel that covers no border before its pixel covers twice the border: a step aside.
                    let shift = usize::from(conv.kind == Kind::Tail3x3);
                    route.spread(i, (Layout { channels, ..layouts[input.0] }, shift));
                }
                let add = route.slots[input.0].is_some();
                if !add {
                    route.slots[input.0] = Some(route.take(&mut free, layout(&layouts[input.0])));
                }
                let last = graph.convs[..i].iter().all(|c| c.input != input && c.residual != Some(input))
                    && conv.residual != Some(input);
                let mask = last && input.0 > 0 && graph.convs[input.0 - 1].activation != Activation::None;
                masked[input.0] = mask;
                route.steps.push(Step::Input { conv: i, add, mask });
            }
            match conv.residual.filter(|r| wanted(*r)) {
                // The gradient passes to the residual as it is, so its memory does.
                Some(residual) if route.slots[residual.0].is_none() => route.slots[residual.0] = Some(slot),
                Some(_) => {
                    route.steps.push(Step::Residual { conv: i });
                    free.push(slot);
                }
                None => free.push(slot),
            }
        }
        if want == Want::Pictures && route.slots[0].is_some() {
            route.steps.push(Step::Pictures);
        }
        route
    }

    fn take(&mut self, free: &mut Vec<usize>, layout: Layout) -> usize {
        if let Some(f) = free.iter().position(|slot| self.slot_layouts[*slot] == layout) {
            return free.swap_remove(f);
        }
        self.slot_layouts.push(layout);
        self.slot_layouts.len() - 1
    }

    /// Each stride writes to the same pixels of a layout, so that convolutions of one layout may share the zeros between them.
    fn spread(&mut self, conv: usize, layout: (Layout, usize)) {
        let slot = self.spread_layouts.iter().position(|l| *l == layout).unwrap_or_else(|| {
            self.spread_layouts.push(layout);
            self.spread_layouts.len() - 1
        });
        self.spread[conv] = Some(slot);
        self.steps.push(Step::Spread { conv });
    }
}
