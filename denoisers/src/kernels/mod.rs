//! Networks on the processor: our own kernels for a whole [`Graph`] at once.
//!
//! Weights are packed when the model is loaded; features stay in an arena with channels innermost ([`layout`]), the same memory
//! call after call, so that a call of the same size as the one before allocates nothing but what it gives back. 3x3 convolutions of stride 1 go through Winograd
//! F(4x4, 3x3) ([`winograd`]), all others are computed directly ([`direct`]); bias, addition and rectifier are part of them.
//!
//! # Same bits everywhere
//! Each number is a sum in an order that the graph alone fixes, of fused multiply-adds whose rounding the standard fixes. So results
//! are the same bit for bit for any number of threads, any cut into batches, and on any machine, whatever instruction set it has
//! (tests compare all that the machine has; NEON differs from them by its instructions only).
//!
//! # Precision
//! The above is f32. With [`Precision::Bf16`] all convolutions are computed directly in the arithmetic of [`bf16`], on matrix tiles where the
//! processor has them: there about twice as fast as f32, elsewhere slower, with the same bits.
//!
//! # Memory safety
//! This is the only module with unsafe code. It has three reasons for it: instructions that must not run on a processor without
//! them, which [`Instructions::detect`] alone decides; matrix tiles, which take inline assembly and the system's leave, as
//! [`bf16`] finds out before; and threads that write to disjoint parts of one buffer, which [`team`] and the work items of [`Pass`]
//! guarantee.
#![expect(unsafe_code, reason = "vector instructions, and disjoint writes of several threads to one buffer")]
#![expect(
    clippy::inline_always,
    reason = "code that is generic over the instruction set must end up in the function compiled for it"
)]

// How large buffers are is computed in `usize`, for sizes that 32 bits do not hold.
#[cfg(not(target_pointer_width = "64"))]
compile_error!("the kernels need addresses of 64 bits");

mod arena;
mod back;
mod bands;
mod bf16;
mod buffer;
mod depthwise;
mod direct;
mod edge;
mod layout;
#[cfg(target_arch = "aarch64")]
mod neon;
mod panel;
mod pass;
mod peak;
mod plan;
mod route;
mod shape;
mod simd;
mod tape;
mod team;
#[cfg(test)]
mod tests;
mod winograd;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

use depthwise::Depthwise;
use direct::Direct;
use edge::Planes;
use layout::{CHANNELS, Cell, Job, Layout};
use pass::{Pass, Workspace};
pub(crate) use peak::{instructions, measure as measure_peak};
use plan::Key;
pub(crate) use route::Want;
use simd::{Portable, Simd};
pub(crate) use tape::Tape;
use team::Stages;
use winograd::Winograd;

use crate::{
    graph::{Conv, Exit, Graph, Kind},
    precision::Precision,
};

/// Features of a group may take this many floats for each thread to have a group of its own; beyond it they would compete for the
/// cache, and the threads share the layers of one group instead.
const SHARED_CACHE_FLOATS: usize = 4 << 20;

/// Instruction sets with kernels of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instructions {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Instructions {
    /// Those of this processor, best first.
    pub(crate) fn detect() -> impl Iterator<Item = Self> {
        let sets = [
            #[cfg(target_arch = "x86_64")]
            is_x86_feature_detected!("avx512f").then_some(Self::Avx512),
            #[cfg(target_arch = "x86_64")]
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self::Avx2),
            #[cfg(target_arch = "aarch64")]
            Some(Self::Neon),
            Some(Self::Portable),
        ];
        sets.into_iter().flatten()
    }

    fn panels(self) -> &'static [usize] {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => x86::Avx512::PANELS,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86::Avx2::PANELS,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => neon::Neon::PANELS,
            Self::Portable => Portable::PANELS,
        }
    }

    /// The kernels compiled for them.
    fn compute(self) -> Compute {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => compute_avx512,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => compute_avx2,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => compute_neon,
            Self::Portable => compute_portable,
        }
    }
}

/// A convolution with its weights packed.
enum Layer {
    Winograd(Winograd),
    Direct(Direct),
    Depthwise(Depthwise),
    /// In the arithmetic of [`bf16`].
    Bf16(bf16::Layer),
}

impl Layer {
    /// Rows, or tiles, that one picture of outputs consists of.
    fn units(&self, to: &Layout) -> usize {
        match self {
            Self::Winograd(_) => to.tiles().0 * to.tiles().1,
            Self::Direct(direct) => direct.rows_per_picture(to),
            Self::Depthwise(_) => to.height,
            Self::Bf16(layer) => layer.units(to),
        }
    }

    /// Units of one picture whose outputs all lie in the first rows.
    fn units_within(&self, to: &Layout, rows: usize) -> usize {
        if rows == to.height {
            return self.units(to);
        }
        match self {
            Self::Winograd(_) => rows / Layout::TILE * to.tiles().1,
            Self::Direct(direct) => direct.rows_per_picture(to) * rows / to.height,
            Self::Depthwise(_) => rows,
            Self::Bf16(layer) => layer.units_within(to, rows),
        }
    }

    /// Rows of outputs of one picture that the first units make complete.
    fn rows(&self, to: &Layout, units: usize) -> usize {
        if units == self.units(to) {
            return to.height;
        }
        match self {
            Self::Winograd(_) => units / to.tiles().1 * Layout::TILE,
            Self::Direct(direct) => units * (to.height / direct.rows_per_picture(to)),
            Self::Depthwise(_) => units,
            Self::Bf16(layer) => layer.rows(to, units),
        }
    }

    /// Takes new weights for the same convolution.
    fn pack(&mut self, conv: &Conv) {
        match self {
            Self::Winograd(winograd) => winograd.pack(conv),
            Self::Direct(direct) => direct.pack(conv),
            Self::Depthwise(depthwise) => depthwise.pack(conv),
            Self::Bf16(layer) => layer.pack(conv),
        }
    }

    /// Floats of scratch memory for any block.
    fn scratch(&self) -> usize {
        match self {
            Self::Winograd(winograd) => winograd.scratch(plan::MOST_TILES),
            Self::Bf16(layer) => layer.scratch(),
            Self::Direct(_) | Self::Depthwise(_) => 0,
        }
    }

    /// Floats in which a part of the weights' gradient is summed up.
    fn sums(&self) -> usize {
        match self {
            Self::Winograd(winograd) => winograd.sums(),
            Self::Direct(direct) => direct.sums(),
            Self::Depthwise(depthwise) => depthwise.sums(),
            // Gradients are computed in single precision.
            Self::Bf16(_) => 0,
        }
    }

    /// Computes the convolution, or adds up the gradient of its weights if `sums` is not null.
    ///
    /// # Safety
    /// As the kernels' functions for rows or tiles ask, or those that accumulate gradients, which layers in bf16 have not.
    #[inline(always)]
    unsafe fn compute<S: Simd>(&self, job: &Job, units: Range<usize>, scratch: *mut f32, sums: *mut f32) {
        // SAFETY: as the caller promises.
        unsafe {
            match (self, sums.is_null()) {
                (Self::Winograd(winograd), true) => winograd.tiles::<S>(job, units, scratch),
                (Self::Winograd(winograd), false) => {
                    winograd.accumulate_gradient::<S>(job, units, scratch, sums);
                }
                (Self::Direct(direct), true) => direct.rows::<S>(job, units),
                (Self::Direct(direct), false) => direct.accumulate_gradient::<S>(job, units, sums),
                (Self::Depthwise(depthwise), true) => depthwise.rows::<S>(job, units),
                (Self::Depthwise(depthwise), false) => depthwise.accumulate_gradient::<S>(job, units, sums),
                (Self::Bf16(layer), _) => layer.compute::<S>(job, units, scratch),
            }
        }
    }
}

/// [`Layer::compute`] for one instruction set, which the processor must have.
type Compute = unsafe fn(&Layer, &Job, Range<usize>, *mut f32, *mut f32);

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn compute_avx512(layer: &Layer, job: &Job, units: Range<usize>, scratch: *mut f32, sums: *mut f32) {
    // SAFETY: as the caller promises; the instruction set is that of this function.
    unsafe { layer.compute::<x86::Avx512>(job, units, scratch, sums) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn compute_avx2(layer: &Layer, job: &Job, units: Range<usize>, scratch: *mut f32, sums: *mut f32) {
    // SAFETY: as the caller promises; the instruction set is that of this function.
    unsafe { layer.compute::<x86::Avx2>(job, units, scratch, sums) }
}

#[cfg(target_arch = "aarch64")]
unsafe fn compute_neon(layer: &Layer, job: &Job, units: Range<usize>, scratch: *mut f32, sums: *mut f32) {
    // SAFETY: as the caller promises; every aarch64 processor has NEON.
    unsafe { layer.compute::<neon::Neon>(job, units, scratch, sums) }
}

unsafe fn compute_portable(layer: &Layer, job: &Job, units: Range<usize>, scratch: *mut f32, sums: *mut f32) {
    // SAFETY: as the caller promises.
    unsafe { layer.compute::<Portable>(job, units, scratch, sums) }
}

fn layers(graph: &Graph, instructions: Instructions, cell: Cell) -> Vec<Layer> {
    let sizes = instructions.panels();
    let channels = |conv: &Conv| match conv.input.0 {
        0 => plan::entry_channels(graph, cell),
        _ => conv.in_channels.next_multiple_of(CHANNELS),
    };
    let split = |conv: &Conv| conv.input.0 == 0 && plan::split(graph, cell);
    let packed = |conv: &Conv| match cell {
        Cell::Single => layer(conv, channels(conv), sizes),
        cell => Layer::Bf16(bf16::Layer::new(conv, cell, channels(conv), split(conv))),
    };
    graph.convs.iter().map(packed).collect()
}

/// Packs a convolution in f32 whose input has so many floats a pixel.
fn layer(conv: &Conv, channels: usize, sizes: &[usize]) -> Layer {
    if let Kind::Depthwise { size, stride, before } = conv.kind {
        return Layer::Depthwise(Depthwise::new(conv, size, stride, before));
    }
    // Below a vector of channels the transforms cost more than they save.
    let worth = conv.in_channels >= CHANNELS && channels.is_multiple_of(CHANNELS);
    if worth && conv.kind == (Kind::Same3x3 { stride: 1 }) {
        Layer::Winograd(Winograd::new(conv, sizes))
    } else {
        Layer::Direct(Direct::new(conv, channels, sizes))
    }
}

/// How features are kept for this precision: as the fastest way to compute with it wants them.
fn cell(precision: Precision, instructions: Instructions) -> Cell {
    match precision {
        Precision::F32 => Cell::Single,
        Precision::Bf16 if bf16::on_tiles(instructions) => Cell::Bf16,
        Precision::Bf16 => Cell::Rounded,
    }
}

/// A network with packed weights, and the memory it works in.
pub(crate) struct Kernels {
    layers: Vec<Layer>,
    cell: Cell,
    compute: Compute,
    /// For groups whose layers all threads share.
    shared: Option<Workspace>,
    /// For groups that a thread takes through the network alone.
    own: Option<Workspace>,
    /// Of the last size of picture: the most that go through the network together.
    most: Option<((usize, usize), usize)>,
    stages: Stages,
}

impl Kernels {
    /// For the best instructions that the processor has. Networks with depthwise convolutions are computed in f32 only
    /// ([`Precision::serves`]).
    pub(crate) fn new(graph: &Graph, precision: Precision) -> Self {
        let instructions = Instructions::detect().next().unwrap_or(Instructions::Portable);
        Self::with(graph, instructions, cell(precision, instructions))
    }

    /// For instructions out of [`Instructions::detect`], and features that they can compute with.
    fn with(graph: &Graph, instructions: Instructions, cell: Cell) -> Self {
        let (layers, compute) = (layers(graph, instructions, cell), instructions.compute());
        Self { layers, cell, compute, shared: None, own: None, most: None, stages: Stages::default() }
    }

    /// `data` is `[count, 3, height, width]`, of any size. Gives the same memory back with the cleaned pictures, or the features
    /// before the mean, `[count, channels, rows, columns]`.
    pub(crate) fn run(
        &mut self,
        graph: &Graph,
        mut data: Vec<f32>,
        (count, height, width): (usize, usize, usize),
        sigma: f32,
    ) -> Vec<f32> {
        assert_eq!(data.len(), count * 3 * height * width, "the batch is as large as it says");
        let size = (height, width);
        let threads = rayon::current_num_threads();
        let picture = 3 * height * width;
        let planes = Planes { data: data.as_mut_ptr(), height, width };
        let most = match self.most {
            Some((of, most)) if of == size => most,
            _ => plan::group(graph, self.cell, size),
        };
        self.most = Some((size, most));

        let mut done = 0;
        // As large as may be, and so that all threads get as many groups.
        let group = (count / threads).div_euclid((count / threads).div_ceil(most).max(1));
        if threads > 1 && group > 0 && matches!(graph.exit, Exit::Pictures { .. }) {
            let key = Key { group, size, threads: 1 };
            let work = Workspace::ready(&mut self.own, key, graph, &self.layers, self.cell);
            if work.plan.arena.floats * threads <= SHARED_CACHE_FLOATS {
                work.grow(threads, threads);
                let groups = count / group / threads * threads;
                self.stages.reset(std::iter::once(groups));
                team::run(threads, &self.stages, |_, g, participant| {
                    let pass = Pass {
                        graph,
                        layers: &self.layers,
                        compute: self.compute,
                        plan: &work.plan,
                        arena: &work.arenas[participant],
                        planes: planes.skip(g * group),
                        pictures: group,
                        sigma: std::slice::from_ref(&sigma),
                    };
                    // SAFETY: each group and each participant's memory is used by one thread at a time.
                    unsafe { pass.alone(&work.scratch[participant]) };
                });
                done = groups * group;
            }
        }

        let mut features = Vec::new();
        while done < count {
            let pictures = most.min(count - done);
            let key = Key { group: most.min(count), size, threads };
            let work = Workspace::ready(&mut self.shared, key, graph, &self.layers, self.cell);
            work.grow(1, threads);
            let pass = Pass {
                graph,
                layers: &self.layers,
                compute: self.compute,
                plan: &work.plan,
                arena: &work.arenas[0],
                planes: planes.skip(done),
                pictures,
                sigma: std::slice::from_ref(&sigma),
            };
            self.stages.reset((0..pass.steps()).map(|step| pass.items(step)));
            team::run(threads, &self.stages, |stage, item, participant| {
                // SAFETY: the team does each item once, begins a stage when the one before is complete, and gives each thread
                // a number of its own.
                unsafe { pass.item(stage, item, &work.scratch[participant]) };
            });
            if let Exit::Classify { value, .. } = &graph.exit {
                let layout = &work.plan.layouts[value.0];
                let from = work.plan.arena.place(&work.arenas[0], value.0);
                // SAFETY: the value is there, and all threads have finished.
                unsafe {
                    edge::features(from, layout, pictures, graph.channels(*value), &mut features);
                }
            }
            done += pictures;
        }
        debug_assert_eq!(data.len(), count * picture);
        if matches!(graph.exit, Exit::Classify { .. }) { features } else { data }
    }
}
