//! One batch on its way back, cut into items of work.

use std::ops::Range;

use super::{
    Compute, Layer,
    buffer::Buffer,
    edge::{self, Planes},
    layout::{CHANNELS, Job, Layout},
    plan::{self, Plan},
    route::{Route, Step},
    tape::{Gradient, PARTS},
};
use crate::graph::{Activation, Exit, Graph};

/// Pixels of one item where a step goes through the features once.
const PIXELS: usize = 512;

/// A batch, what is known of it from the way forward, and where its gradients go.
pub(super) struct Back<'a> {
    pub(super) graph: &'a Graph,
    pub(super) layers: &'a [Layer],
    pub(super) transposed: &'a [Layer],
    pub(super) compute: Compute,
    pub(super) plan: &'a Plan,
    pub(super) route: &'a Route,
    pub(super) values: &'a Buffer,
    pub(super) gradients: &'a [Buffer],
    pub(super) spread: &'a [Buffer],
    pub(super) parts: &'a [Buffer],
    /// The gradient of the forward way's result.
    pub(super) result: &'a [f32],
    /// Where the gradient of the pictures goes.
    pub(super) pictures: Planes,
    pub(super) results: Results,
}

/// Where the gradients of each convolution's weights and bias go.
pub(super) struct Results(Vec<(*mut f32, *mut f32)>);

// SAFETY: addresses; every access through them is an unsafe operation whose caller answers for the absence of races.
unsafe impl Sync for Results {}

impl Results {
    pub(super) fn of(gradients: &mut [Gradient]) -> Self {
        Self(gradients.iter_mut().map(|g| (g.weight.as_mut_ptr(), g.bias.as_mut_ptr())).collect())
    }
}

impl Back<'_> {
    /// Memory of a value.
    fn value(&self, value: usize) -> *mut f32 {
        self.plan.arena.place(self.values, value)
    }

    /// Memory and layout of a value's gradient.
    fn gradient(&self, value: usize) -> (*mut f32, Layout) {
        let slot = self.route.slots[value].unwrap_or(0);
        (self.gradients[slot].as_ptr(), self.route.slot_layouts[slot])
    }

    fn pictures(&self) -> usize {
        self.plan.key.group
    }

    /// A convolution's input and the gradient of its output.
    fn parameters_job(&self, conv: usize) -> Job {
        let input = self.graph.convs[conv].input.0;
        let (to, to_layout) = self.gradient(conv + 1);
        Job {
            from: self.value(input),
            from_layout: self.plan.layouts[input],
            to,
            to_layout,
            residual: std::ptr::null(),
            mask: std::ptr::null(),
            mask_ceiling: 0.0,
            activation: Activation::None,
            ahead: 0,
            pictures: self.pictures(),
        }
    }

    /// From the gradient of a convolution's output to that of its input.
    fn input_job(&self, conv: usize, add: bool, mask: bool) -> Job {
        let input = self.graph.convs[conv].input.0;
        let (from, from_layout) = match self.route.spread[conv] {
            Some(slot) => (self.spread[slot].as_ptr(), self.route.spread_layouts[slot].0),
            None => self.gradient(conv + 1),
        };
        let (to, to_layout) = self.gradient(input);
        let block = plan::block(&self.transposed[conv], &to_layout, self.plan.key.threads);
        let (mask, mask_ceiling) = match input.checked_sub(1).filter(|_| mask) {
            Some(producer) => (self.value(input), self.graph.convs[producer].activation.ceiling()),
            None => (std::ptr::null_mut(), 0.0),
        };
        Job {
            from,
            from_layout,
            to,
            to_layout,
            residual: if add { to } else { std::ptr::null() },
            mask,
            mask_ceiling,
            activation: Activation::None,
            ahead: (block * self.plan.key.threads) as isize,
            pictures: self.pictures(),
        }
    }

    /// Units of a step, and how many make one item.
    fn extent(&self, step: Step) -> (usize, usize) {
        let rows = |layout: &Layout| (self.pictures() * layout.height, PIXELS.div_ceil(layout.width));
        match step {
            Step::Exit if matches!(self.graph.exit, Exit::Classify { .. }) => (self.pictures(), 1),
            Step::Exit => rows(&self.gradient(self.graph.exit.value().0).1),
            Step::Mask { conv } | Step::Residual { conv } | Step::Spread { conv } => {
                rows(&self.gradient(conv + 1).1)
            }
            Step::Sum { .. } => (PARTS, 1),
            Step::Fold { conv } => match &self.layers[conv] {
                Layer::Winograd(_) => (self.graph.convs[conv].out_channels, CHANNELS),
                _ => (1, 1),
            },
            Step::Input { conv, add, mask } => {
                let (layer, job) = (&self.transposed[conv], self.input_job(conv, add, mask));
                (
                    self.pictures() * layer.units(&job.to_layout),
                    plan::block(layer, &job.to_layout, self.plan.key.threads),
                )
            }
            Step::Pictures => rows(&self.gradient(0).1),
        }
    }

    /// Items of a step.
    pub(super) fn items(&self, step: Step) -> usize {
        let (units, block) = self.extent(step);
        units.div_ceil(block)
    }

    /// Does one item.
    ///
    /// # Safety
    /// All steps before are complete, nobody else does this item, or uses `scratch` or any of these buffers for anything but
    /// other items of this step.
    pub(super) unsafe fn item(&self, step: Step, item: usize, scratch: &Buffer) {
        let (units, block) = self.extent(step);
        let range = item * block..units.min((item + 1) * block);
        let null = std::ptr::null_mut();
        // SAFETY: buffers are as large as their layouts; items are disjoint ranges of rows, tiles, parts or output channels, whose
        // outputs do not overlap; a convolution's input and output have gradients in different slots while both are needed
        // (`Route`); `compute` was chosen for this processor; scratch and parts are as large as the largest layer
        // asks, results as the convolution's parameters.
        unsafe {
            match step {
                Step::Exit => self.exit(range),
                Step::Mask { conv } => {
                    let (to, layout) = self.gradient(conv + 1);
                    let mask = self.value(conv + 1);
                    let ceiling = self.graph.convs[conv].activation.ceiling();
                    rows(&layout, range, |at| {
                        let value = *mask.add(at);
                        let kept = if value > 0.0 && value < ceiling { *to.add(at) } else { 0.0 };
                        *to.add(at) = kept;
                    });
                }
                Step::Sum { conv } => {
                    let (layer, job, part) =
                        (&self.layers[conv], self.parameters_job(conv), &self.parts[item]);
                    std::slice::from_raw_parts_mut(part.as_ptr(), layer.sums()).fill(0.0);
                    // One part of the batch, in blocks that the kernel likes.
                    let (units, block) =
                        (self.pictures() * layer.units(&job.to_layout), self.plan.block[conv]);
                    let end = (item + 1) * units / PARTS;
                    let mut from = item * units / PARTS;
                    while from < end {
                        let to = end.min(from + block);
                        (self.compute)(layer, &job, from..to, scratch.as_ptr(), part.as_ptr());
                        from = to;
                    }
                }
                Step::Fold { conv } => {
                    let (spec, (weight, bias)) = (&self.graph.convs[conv], self.results.0[conv]);
                    match &self.layers[conv] {
                        Layer::Winograd(winograd) => {
                            let each = spec.in_channels * 9;
                            let weight = std::slice::from_raw_parts_mut(
                                weight.add(range.start * each),
                                range.len() * each,
                            );
                            let bias = std::slice::from_raw_parts_mut(bias.add(range.start), range.len());
                            winograd.fold(spec, self.parts, range, weight, bias);
                        }
                        Layer::Direct(direct) => {
                            let weight = std::slice::from_raw_parts_mut(weight, spec.weight.len());
                            let bias = std::slice::from_raw_parts_mut(bias, spec.bias.len());
                            direct.fold(spec, self.parts, weight, bias);
                        }
                        Layer::Depthwise(depthwise) => {
                            let weight = std::slice::from_raw_parts_mut(weight, spec.weight.len());
                            let bias = std::slice::from_raw_parts_mut(bias, spec.bias.len());
                            depthwise.fold(self.parts, weight, bias);
                        }
                        // A tape is in f32.
                        Layer::Bf16(_) => {}
                    }
                }
                Step::Spread { conv } => self.spread(conv, range),
                Step::Input { conv, add, mask } => {
                    let job = self.input_job(conv, add, mask);
                    (self.compute)(&self.transposed[conv], &job, range, scratch.as_ptr(), null);
                }
                Step::Residual { conv } => {
                    let residual = self.graph.convs[conv].residual.map_or(0, |r| r.0);
                    let (from, layout) = self.gradient(conv + 1);
                    let (to, _) = self.gradient(residual);
                    rows(&layout, range, |at| *to.add(at) += *from.add(at));
                }
                Step::Pictures => {
                    let (from, layout) = self.gradient(0);
                    edge::enter_gradient(&self.graph.entry, from, &layout, &self.pictures, range);
                }
            }
        }
    }

    /// # Safety
    /// As [`Back::item`].
    unsafe fn exit(&self, range: Range<usize>) {
        let (to, layout) = self.gradient(self.graph.exit.value().0);
        match &self.graph.exit {
            Exit::Pictures { shuffle, estimate, .. } => {
                let (height, width) = (layout.height * shuffle, layout.width * shuffle);
                let planes = Planes { data: self.result.as_ptr().cast_mut(), height, width };
                // SAFETY: the result has the size of the pictures, and is only read.
                unsafe { edge::leave_gradient((*shuffle, *estimate), &planes, to, &layout, range) };
            }
            Exit::Classify { .. } => {
                let each = self.result.len() / self.pictures();
                for picture in range {
                    let from = &self.result[picture * each..][..each];
                    // SAFETY: pictures are disjoint.
                    unsafe { edge::from_planar(from, to, &layout, picture) };
                }
            }
        }
    }

    /// # Safety
    /// As [`Back::item`].
    unsafe fn spread(&self, conv: usize, range: Range<usize>) {
        let (from, small) = self.gradient(conv + 1);
        let Some(slot) = self.route.spread[conv] else { return };
        let (to, (large, shift)) = (self.spread[slot].as_ptr(), self.route.spread_layouts[slot]);
        for row in range {
            let (picture, y) = (row / small.height, row % small.height);
            for x in 0..small.width {
                // SAFETY: the larger grid has a pixel for each second one.
                unsafe {
                    let from = from.add(small.at(picture, y + 1, x + 1));
                    let to = to.add(large.at(picture, 2 * y + 1 + shift, 2 * x + 1 + shift));
                    to.copy_from_nonoverlapping(from, small.channels);
                }
            }
        }
    }
}

/// Calls `each` with the index of every float in these rows, counted through all pictures.
fn rows(layout: &Layout, range: Range<usize>, each: impl Fn(usize)) {
    for row in range {
        let first = layout.at(row / layout.height, row % layout.height + 1, 1);
        (first..first + layout.width * layout.channels).for_each(&each);
    }
}
