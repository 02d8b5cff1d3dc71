//! A network on its way forward and back: the gradients of its parameters, or of its pictures.
//!
//! All features of the way forward are kept. On the way back each convolution hands the gradient of its output to its input through
//! a convolution of its own with transposed weights, done by the same kernels; the gradients of its parameters are summed up over
//! a fixed number of parts of the batch, whose sums are added in a fixed order. So gradients, like results, do not depend on
//! the number of threads.

use rayon::prelude::*;

use super::{
    CHANNELS, Compute, Instructions, Layer,
    back::{Back, Results},
    buffer::Buffer,
    edge::{self, Planes},
    layer, layers,
    layout::{Cell, Layout},
    pass::Pass,
    plan::{Keep, Key, Plan},
    route::{Route, Step, Want},
    team::{self, Stages},
};
use crate::graph::{Activation, Conv, Estimate, Exit, Graph, Kind, Value};

/// Parts of a batch whose gradients are summed up one beside the other.
pub(super) const PARTS: usize = 8;

/// The gradient of one convolution's parameters, in the order of [`Conv::weight`] and [`Conv::bias`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gradient {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// Runs a graph forward and back.
pub(crate) struct Tape {
    want: Want,
    layers: Vec<Layer>,
    /// The way back through each convolution, on the grid of its input.
    back: Vec<Layer>,
    compute: Compute,
    state: Option<State>,
    stages: Stages,
    gradients: Vec<Gradient>,
}

/// Memory for batches of one size.
struct State {
    plan: Plan,
    route: Route,
    /// The plan's arena.
    values: Buffer,
    /// The slots of the route.
    gradients: Vec<Buffer>,
    spread: Vec<Buffer>,
    parts: Vec<Buffer>,
    scratch: Vec<Buffer>,
}

impl Tape {
    /// Packs the weights for both ways.
    pub(crate) fn new(graph: &Graph, want: Want) -> Self {
        Self::with(graph, want, Instructions::detect().next().unwrap_or(Instructions::Portable))
    }

    pub(super) fn with(graph: &Graph, want: Want, instructions: Instructions) -> Self {
        let back = |conv: &Conv| {
            let conv = transposed(conv);
            layer(&conv, conv.in_channels.next_multiple_of(CHANNELS), instructions.panels())
        };
        let zeros =
            |conv: &Conv| Gradient { weight: vec![0.0; conv.weight.len()], bias: vec![0.0; conv.bias.len()] };
        Self {
            want,
            layers: layers(graph, instructions, Cell::Single),
            back: graph.convs.iter().map(back).collect(),
            compute: instructions.compute(),
            state: None,
            stages: Stages::default(),
            gradients: graph.convs.iter().map(zeros).collect(),
        }
    }

    /// Takes the graph's weights anew, after they have changed.
    pub(crate) fn pack(&mut self, graph: &Graph) {
        self.layers.par_iter_mut().zip(&mut self.back).zip(&graph.convs).for_each(
            |((forward, back), conv)| {
                forward.pack(conv);
                back.pack(&transposed(conv));
            },
        );
    }

    /// As of the last [`Tape::backward`] with [`Want::Parameters`]; zero before.
    pub(crate) fn gradients(&self) -> &[Gradient] {
        &self.gradients
    }

    /// Multiplies all of [`Tape::gradients`].
    pub(crate) fn scale_gradients(&mut self, factor: f32) {
        let gradients = self.gradients.iter_mut().flat_map(|g| g.weight.iter_mut().chain(&mut g.bias));
        gradients.for_each(|g| *g *= factor);
    }

    /// `data` is `[count, 3, height, width]`, height and width multiples of `graph.align`, with σ of each picture. Gives the cleaned
    /// pictures in the same memory, or the features before the mean, `[count, channels, rows, columns]`.
    ///
    /// # Panics
    /// If the sizes do not fit.
    pub(crate) fn forward(
        &mut self,
        graph: &Graph,
        mut data: Vec<f32>,
        (count, height, width): (usize, usize, usize),
        sigma: &[f32],
    ) -> Vec<f32> {
        assert_eq!(data.len(), count * 3 * height * width, "the batch is as large as it says");
        assert_eq!(graph.padded((height, width)), (height, width), "the pictures need no padding");
        assert_eq!(sigma.len(), count, "each picture has its sigma");
        let threads = rayon::current_num_threads();
        let key = Key { group: count, size: (height, width), threads };
        if self.state.as_ref().is_some_and(|state| state.plan.key != key) {
            self.state = None;
        }
        let (layers, back, want) = (&self.layers, &self.back, self.want);
        let state = self.state.get_or_insert_with(|| State::new(graph, layers, back, key, want));
        let pass = Pass {
            graph,
            layers,
            compute: self.compute,
            plan: &state.plan,
            arena: &state.values,
            planes: Planes { data: data.as_mut_ptr(), height, width },
            pictures: count,
            sigma,
        };
        self.stages.reset((0..pass.steps()).map(|step| pass.items(step)));
        team::run(threads, &self.stages, |stage, item, participant| {
            // SAFETY: the team does each item once, begins a stage when the one before is complete, and gives each thread a
            // number of its own.
            unsafe { pass.item(stage, item, &state.scratch[participant]) };
        });
        let Exit::Classify { value: Value(value), .. } = graph.exit else { return data };
        let mut features = Vec::new();
        let channels = graph.channels(Value(value));
        let from = state.plan.arena.place(&state.values, value);
        // SAFETY: the value is there, and all threads have finished.
        unsafe {
            edge::features(from, &state.plan.layouts[value], count, channels, &mut features);
        }
        features
    }

    /// The way back of the last [`Tape::forward`], from the gradient of its result. With [`Want::Parameters`] gives the
    /// convolutions' gradients; with [`Want::Pictures`] adds to `pictures`, which is `[count, 3, height, width]`.
    ///
    /// # Panics
    /// If there was no way forward, or the sizes are not those of it.
    pub(crate) fn backward(&mut self, graph: &Graph, result: &[f32], pictures: &mut [f32]) -> &[Gradient] {
        assert!(self.state.is_some(), "there is no way back without a way forward");
        let Some(state) = &self.state else { return &self.gradients };
        let Key { group: count, size: (height, width), threads } = state.plan.key;
        let len = count * 3 * height * width;
        if matches!(graph.exit, Exit::Pictures { .. }) {
            assert_eq!(result.len(), len, "the gradient is of the result");
        }
        if self.want == Want::Pictures {
            assert_eq!(pictures.len(), len, "the pictures are those of the way forward");
            if matches!(graph.exit, Exit::Pictures { estimate: Estimate::Noise, .. }) {
                // The result is the picture less the noise.
                pictures.iter_mut().zip(result).for_each(|(picture, result)| *picture += result);
            }
        }
        let back = Back {
            graph,
            layers: &self.layers,
            transposed: &self.back,
            compute: self.compute,
            plan: &state.plan,
            route: &state.route,
            values: &state.values,
            gradients: &state.gradients,
            spread: &state.spread,
            parts: &state.parts,
            result,
            pictures: Planes { data: pictures.as_mut_ptr(), height, width },
            results: Results::of(&mut self.gradients),
        };
        let steps = &state.route.steps;
        self.stages.reset(steps.iter().map(|step| back.items(*step)));
        team::run(threads, &self.stages, |stage, item, participant| {
            // SAFETY: as on the way forward.
            unsafe { back.item(steps[stage], item, &state.scratch[participant]) };
        });
        &self.gradients
    }
}

impl State {
    fn new(graph: &Graph, layers: &[Layer], back: &[Layer], key: Key, want: Want) -> Self {
        let plan = Plan::new(graph, layers, Cell::Single, key, Keep::All);
        let route = Route::new(graph, &plan.layouts, want);
        let zeroed = |layouts: &[Layout]| layouts.iter().map(|l| Buffer::zeroed(l.floats())).collect();
        let wanted = route.steps.iter().any(|step| matches!(step, Step::Sum { .. }));
        let sums = layers.iter().map(Layer::sums).max().filter(|_| wanted).unwrap_or(0);
        let scratch = layers.iter().chain(back).map(Layer::scratch).max().unwrap_or(0);
        Self {
            values: Buffer::zeroed(plan.arena.floats),
            gradients: zeroed(&route.slot_layouts),
            spread: route.spread_layouts.iter().map(|(l, _)| Buffer::zeroed(l.floats())).collect(),
            parts: (0..PARTS).map(|_| Buffer::zeroed(sums)).collect(),
            scratch: (0..key.threads).map(|_| Buffer::zeroed(scratch)).collect(),
            plan,
            route,
        }
    }
}

/// The convolution that hands gradients back, on the grid of the input. The two kinds of 2x2 are each other's, with the same weights
/// in the same order.
fn transposed(conv: &Conv) -> Conv {
    let (ins, outs) = (conv.in_channels, conv.out_channels);
    let (kind, area) = match conv.kind {
        Kind::Same3x3 { .. } | Kind::Tail3x3 => (Kind::Same3x3 { stride: 1 }, 9),
        Kind::Depthwise { size, before, .. } => {
            (Kind::Depthwise { size, stride: 1, before: size - 1 - before }, size * size)
        }
        Kind::Point { .. } => (Kind::Point { stride: 1 }, 1),
        Kind::Down2x2 => (Kind::Up2x2, 4),
        Kind::Up2x2 => (Kind::Down2x2, 4),
    };
    let weight = if matches!(kind, Kind::Up2x2 | Kind::Down2x2) {
        conv.weight.clone()
    } else if matches!(kind, Kind::Depthwise { .. }) {
        conv.weight.chunks_exact(area).flat_map(|kernel| kernel.iter().rev().copied()).collect()
    } else {
        // Channels change places, and the kernel is turned by half a turn.
        let mut weight = vec![0.0; conv.weight.len()];
        for (from, value) in conv.weight.iter().enumerate() {
            let (out, input, position) = (from / (ins * area), from / area % ins, from % area);
            weight[(input * outs + out) * area + area - 1 - position] = *value;
        }
        weight
    };
    let bias = vec![0.0; ins];
    Conv {
        kind,
        in_channels: outs,
        out_channels: ins,
        weight,
        bias,
        residual: None,
        activation: Activation::None,
        name: String::new(),
        ..*conv
    }
}
