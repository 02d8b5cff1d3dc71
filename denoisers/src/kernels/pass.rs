//! One group of pictures on its way through the network, cut into items of work.

use std::ops::Range;

use super::{
    Compute, Layer,
    bands::Step,
    buffer::Buffer,
    edge::{self, Planes},
    layout::{Cell, Job, Layout},
    plan::{Keep, Key, Plan},
};

use crate::graph::{Exit, Graph};

/// Pixels of one item at entry and exit.
const EDGE_PIXELS: usize = 4096;

/// A plan and the memory it wants.
pub(super) struct Workspace {
    pub(super) plan: Plan,
    /// The plan's arena, for each group that is under way at the same time.
    pub(super) arenas: Vec<Buffer>,
    /// For each thread.
    pub(super) scratch: Vec<Buffer>,
}

impl Workspace {
    /// What is kept, if it fits the key; else a new one.
    pub(super) fn ready<'a>(
        kept: &'a mut Option<Self>,
        key: Key,
        graph: &Graph,
        layers: &[Layer],
        cell: Cell,
    ) -> &'a mut Self {
        if kept.as_ref().is_some_and(|work| work.plan.key != key) {
            *kept = None;
        }
        kept.get_or_insert_with(|| {
            let plan = Plan::new(graph, layers, cell, key, Keep::Needed);
            Self { plan, arenas: Vec::new(), scratch: Vec::new() }
        })
    }

    /// Makes memory for so many groups and threads.
    pub(super) fn grow(&mut self, groups: usize, threads: usize) {
        while self.arenas.len() < groups {
            self.arenas.push(Buffer::zeroed(self.plan.arena.floats));
        }
        while self.scratch.len() < threads {
            self.scratch.push(Buffer::zeroed(self.plan.scratch));
        }
    }
}

/// A group of pictures, its plan and memory.
pub(super) struct Pass<'a> {
    pub(super) graph: &'a Graph,
    pub(super) layers: &'a [Layer],
    pub(super) compute: Compute,
    pub(super) plan: &'a Plan,
    /// As large as the plan's arena.
    pub(super) arena: &'a Buffer,
    /// Of this group.
    pub(super) planes: Planes,
    /// At most the plan's group.
    pub(super) pictures: usize,
    /// Of each picture; the last one is that of all that follow.
    pub(super) sigma: &'a [f32],
}

impl Pass<'_> {
    pub(super) fn steps(&self) -> usize {
        self.plan.steps.len()
    }

    /// Units of a step, and how many make one item.
    fn extent(&self, step: usize) -> (Range<usize>, usize) {
        let Step { stage, units } = &self.plan.steps[step];
        let layout = &self.plan.layouts[(*stage).min(self.layers.len())];
        let (all, block) = match self.layers.get(stage.wrapping_sub(1)) {
            Some(layer) => (self.pictures * layer.units(layout), self.plan.block[stage - 1]),
            None if *stage == 0 => (self.pictures * layout.height, EDGE_PIXELS.div_ceil(layout.width)),
            None if matches!(self.graph.exit, Exit::Classify { .. }) => (0, 1),
            None => (self.pictures * self.planes.height, EDGE_PIXELS.div_ceil(self.planes.width)),
        };
        (units.start.min(all)..units.end.min(all), block)
    }

    /// Items of a step.
    pub(super) fn items(&self, step: usize) -> usize {
        let (units, block) = self.extent(step);
        units.len().div_ceil(block)
    }

    /// The memory of a value.
    fn place(&self, value: usize) -> *mut f32 {
        self.plan.arena.place(self.arena, value)
    }

    fn job(&self, conv: usize) -> Job {
        let spec = &self.graph.convs[conv];
        let layouts = &self.plan.layouts;
        let ahead = (self.plan.block[conv] * self.plan.key.threads) as isize;
        Job {
            from: self.place(spec.input.0),
            from_layout: layouts[spec.input.0],
            to: self.place(conv + 1),
            to_layout: layouts[conv + 1],
            residual: spec.residual.map_or(std::ptr::null(), |r| self.place(r.0).cast_const()),
            mask: std::ptr::null(),
            mask_ceiling: 0.0,
            activation: spec.activation,
            ahead: if self.backwards(conv + 1) { -ahead } else { ahead },
            pictures: self.pictures,
        }
    }

    /// Whether a stage goes through its items from the last to the first: every other one that is done at once, and finds what the one before
    /// has written last still in the cache.
    fn backwards(&self, stage: usize) -> bool {
        self.plan.steps.len() == self.layers.len() + 2 && !stage.is_multiple_of(2)
    }

    /// Does one item.
    ///
    /// # Safety
    /// All steps before are complete, nobody else does this item, or uses `scratch` or this arena and these pictures for anything but
    /// other items of this step.
    pub(super) unsafe fn item(&self, step: usize, item: usize, scratch: &Buffer) {
        let (units, block) = self.extent(step);
        let stage = self.plan.steps[step].stage;
        let first = item == 0;
        let item = if self.backwards(stage) { units.len().div_ceil(block) - 1 - item } else { item };
        let start = units.start + item * block;
        let range = start..units.end.min(start + block);
        let place = |value: usize| (self.place(value), &self.plan.layouts[value]);
        // SAFETY: a value's memory is as large as its layout, and the planes as the pictures; items are disjoint ranges of
        // rows or tiles, whose outputs do not overlap, nor do they the border; a value's memory is not that of an input the same step reads
        // elsewhere (`arena`), and what it held has been read (`bands`); `compute` was chosen for this processor; scratch is as large as the plan asks.
        unsafe {
            if first && self.plan.arena.clear.get(stage) == Some(&true) {
                let (to, layout) = place(stage);
                layout.clear_border(to);
            }
            if stage == 0 {
                let (to, layout): (_, &Layout) = place(0);
                let split = self.plan.split;
                edge::enter((&self.graph.entry, split), self.sigma, &self.planes, to, layout, range);
            } else if let Some(layer) = self.layers.get(stage - 1) {
                (self.compute)(layer, &self.job(stage - 1), range, scratch.as_ptr(), std::ptr::null_mut());
            } else if let Exit::Pictures { value, shuffle, estimate } = self.graph.exit {
                let (from, layout) = place(value.0);
                edge::leave((shuffle, estimate), from, layout, &self.planes, range);
            }
        }
    }

    /// Does everything.
    ///
    /// # Safety
    /// Nobody else uses `scratch`, or this arena and these pictures.
    pub(super) unsafe fn alone(&self, scratch: &Buffer) {
        for step in 0..self.steps() {
            for item in 0..self.items(step) {
                // SAFETY: one after the other, as the caller promises.
                unsafe { self.item(step, item, scratch) };
            }
        }
    }
}
