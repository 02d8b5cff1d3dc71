//! Kernels against the definition of a convolution in double precision, and against each other.

use super::{Instructions, Kernels, Tape, Want, bf16, layout::Cell};
use crate::{
    graph::{Activation, Conv, Entry, Estimate, Exit, Graph, Kind, Value},
    pad,
    precision::Precision,
};

/// Uniform on -1..1, always the same.
struct Numbers(u32);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
    }

    fn take(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }

    /// Weights that keep the variance, and a small bias.
    fn conv(&mut self, kind: Kind, (in_channels, out_channels): (usize, usize)) -> Conv {
        let area = kind.size() * kind.size();
        let fan_in = match kind {
            Kind::Up2x2 => in_channels,
            Kind::Depthwise { .. } => area,
            _ => in_channels * area,
        };
        let (of_file, in_channels) = if matches!(kind, Kind::Depthwise { .. }) {
            (1, in_channels)
        } else {
            (in_channels, in_channels)
        };
        let scale = (3.0 / fan_in as f32).sqrt();
        let weight = self.take(of_file * out_channels * area).iter().map(|w| w * scale).collect();
        let bias = self.take(out_channels).iter().map(|b| b * 0.1).collect();
        let name = String::new();
        Conv {
            name,
            kind,
            input: Value(0),
            residual: None,
            activation: Activation::None,
            in_channels,
            out_channels,
            weight,
            bias,
        }
    }
}

const SAME: Kind = Kind::Same3x3 { stride: 1 };

/// Every kind of convolution with and without addition and rectifier; the widths are those of the three levels.
fn graph(numbers: &mut Numbers, entry: Entry, [a, b]: [usize; 2]) -> Graph {
    let mut graph = Graph::new(entry, 2 * entry.unshuffle);
    let first = graph.push(Value(0), numbers.conv(SAME, (entry.channels(), a)).relu());
    let second = graph.push(first, numbers.conv(SAME, (a, a)).relu());
    let skip = graph.push(second, numbers.conv(SAME, (a, a)).add(first));
    let down = graph.push(skip, numbers.conv(Kind::Down2x2, (a, b)));
    let wide = graph.push(down, numbers.conv(SAME, (b, b)).add(down).relu());
    let point = graph.push(wide, numbers.conv(Kind::Point { stride: 1 }, (b, b)).add(wide));
    let half = graph.push(skip, numbers.conv(Kind::Same3x3 { stride: 2 }, (a, b)).add(point));
    let short = graph.push(skip, numbers.conv(Kind::Point { stride: 2 }, (a, b)).add(half));
    let up = graph.push(short, numbers.conv(Kind::Up2x2, (b, a)).add(skip).relu());
    let value = graph.push(up, numbers.conv(SAME, (a, 3 * entry.unshuffle * entry.unshuffle)));
    graph.exit = Exit::Pictures { value, shuffle: entry.unshuffle, estimate: Estimate::Noise };
    graph
}

/// The convolutions of mobile networks.
fn mobile(numbers: &mut Numbers, [a, b]: [usize; 2]) -> Graph {
    let mut graph = Graph::new(PLAIN, 4);
    let depthwise = |size, stride, before| Kind::Depthwise { size, stride, before };
    let six = Activation::Relu6;
    let stem = graph.push(Value(0), numbers.conv(Kind::Tail3x3, (3, a)).then(six));
    // Values up to 10, so that the ceiling is met.
    graph.convs[0].weight.iter_mut().for_each(|w| *w *= 10.0);
    let wide = graph.push(stem, numbers.conv(Kind::Point { stride: 1 }, (a, b)).then(six));
    let wide = graph.push(wide, numbers.conv(depthwise(5, 2, 1), (b, b)).then(six));
    let same = graph.push(wide, numbers.conv(depthwise(3, 1, 1), (b, b)).add(wide).then(six));
    let large = graph.push(same, numbers.conv(depthwise(5, 1, 2), (b, b)));
    let up = graph.push(large, numbers.conv(Kind::Up2x2, (b, a)).add(stem));
    let up = graph.push(up, numbers.conv(depthwise(1, 1, 0), (a, a)).relu());
    let up = graph.push(up, numbers.conv(Kind::Up2x2, (a, 16)));
    let value = graph.push(up, numbers.conv(Kind::Point { stride: 1 }, (16, 3)));
    graph.exit = Exit::Pictures { value, shuffle: 1, estimate: Estimate::Picture };
    graph
}

/// Graphs of all sorts, with a size of picture each.
fn graphs(numbers: &mut Numbers, large: bool) -> Vec<(Graph, (usize, usize))> {
    let mut graphs = vec![
        (graph(numbers, PHOTO, [20, 48]), (8, 4)),
        (graph(numbers, PHOTO, [16, 5]), (4, 4)),
        (graph(numbers, PLAIN, [64, 16]), (2, 6)),
        (graph(numbers, PLAIN, [3, 1]), (2, 2)),
        (mobile(numbers, [20, 33]), (12, 8)),
    ];
    if large {
        graphs.extend([
            (graph(numbers, PHOTO, [48, 96]), (40, 24)),
            (graph(numbers, PHOTO, [16, 32]), (1, 1)),
            (graph(numbers, PHOTO, [5, 64]), (7, 33)),
            (graph(numbers, PLAIN, [64, 20]), (13, 9)),
            (graph(numbers, PLAIN, [80, 3]), (2, 70)),
            (mobile(numbers, [16, 48]), (28, 16)),
        ]);
    }
    graphs
}

/// `[channels, height, width]`.
struct Features {
    height: usize,
    width: usize,
    data: Vec<f64>,
}

impl Features {
    fn zero(channels: usize, height: usize, width: usize) -> Self {
        Self { height, width, data: vec![0.0; channels * height * width] }
    }

    /// Zero outside.
    fn get(&self, c: usize, y: isize, x: isize) -> f64 {
        let inside = (0..self.height as isize).contains(&y) && (0..self.width as isize).contains(&x);
        if inside { self.data[(c * self.height + y as usize) * self.width + x as usize] } else { 0.0 }
    }

    fn set(&mut self, c: usize, y: usize, x: usize, value: f64) {
        self.data[(c * self.height + y) * self.width + x] = value;
    }
}

/// A parameter of a convolution.
#[derive(Clone, Copy, PartialEq)]
enum Parameter {
    Weight(usize),
    Bias(usize),
}

/// A change of one parameter of one convolution.
type Nudge = Option<(usize, Parameter, f64)>;

/// The definition of everything, for one picture.
fn reference(graph: &Graph, picture: &[f64], size: (usize, usize), sigma: f32, nudge: Nudge) -> Vec<f64> {
    reference_at(graph, picture, size, sigma, nudge, |values| values)
}

/// The same, with what becomes of every convolution's result but the last.
fn reference_at(
    graph: &Graph,
    picture: &[f64],
    size: (usize, usize),
    sigma: f32,
    nudge: Nudge,
    rounded: impl Fn(Features) -> Features,
) -> Vec<f64> {
    let (h, w) = graph.padded(size);
    let padded = pad::reflect(picture, size, (h, w));
    let entry = graph.entry;
    let f = entry.unshuffle;
    let mut features = Features::zero(entry.channels(), h / f, w / f);
    for c in 0..entry.channels() {
        for (y, x) in (0..h / f).flat_map(|y| (0..w / f).map(move |x| (y, x))) {
            let value = if c == 3 * f * f {
                f64::from(sigma)
            } else {
                let plane = c / (f * f);
                let from = (plane * h + y * f + c / f % f) * w + x * f + c % f;
                (padded[from] - f64::from(entry.shift[plane])) * f64::from(entry.scale[plane])
            };
            features.set(c, y, x, value);
        }
    }
    let mut values = vec![features];
    for (i, conv) in graph.convs.iter().enumerate() {
        let residual = conv.residual.map(|r| &values[r.0]);
        let nudge = nudge.filter(|n| n.0 == i).map(|n| (n.1, n.2));
        let result = convolve(conv, &values[conv.input.0], residual, nudge);
        values.push(if i + 1 < graph.convs.len() { rounded(result) } else { result });
    }
    let Exit::Pictures { value, shuffle: s, estimate } = graph.exit else { panic!("not a denoiser") };
    let found = &values[value.0];
    let mut out = Vec::new();
    for (c, y, x) in pixels(3, size.0, size.1) {
        let from = picture[(c * size.0 + y) * size.1 + x];
        let found = found.get(c * s * s + y % s * s + x % s, (y / s) as isize, (x / s) as isize);
        out.push(if estimate == Estimate::Noise { from - found } else { found });
    }
    out
}

fn pixels(c: usize, h: usize, w: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..c * h * w).map(move |i| (i / (h * w), i / w % h, i % w))
}

fn convolve(
    conv: &Conv,
    from: &Features,
    residual: Option<&Features>,
    nudge: Option<(Parameter, f64)>,
) -> Features {
    let value = |parameter: Parameter, value: f32| {
        f64::from(value) + nudge.filter(|n| n.0 == parameter).map_or(0.0, |n| n.1)
    };
    let (stride, border) = match conv.kind {
        Kind::Same3x3 { stride } => (stride, 1),
        Kind::Point { stride } => (stride, 0),
        Kind::Depthwise { stride, before, .. } => (stride, before as isize),
        Kind::Down2x2 | Kind::Tail3x3 => (2, 0),
        Kind::Up2x2 => (1, 0),
    };
    let (h, w) = match conv.kind {
        Kind::Up2x2 => (from.height * 2, from.width * 2),
        Kind::Down2x2 => (from.height / 2, from.width / 2),
        _ => (from.height.div_ceil(stride), from.width.div_ceil(stride)),
    };
    let k = conv.kind.size();
    let mut to = Features::zero(conv.out_channels, h, w);
    for (o, y, x) in pixels(conv.out_channels, h, w) {
        let mut sum = value(Parameter::Bias(o), conv.bias[o]);
        for (i, ky, kx) in pixels(conv.in_channels, k, k) {
            let depthwise = matches!(conv.kind, Kind::Depthwise { .. });
            if depthwise && i != o {
                continue;
            }
            if conv.kind == Kind::Up2x2 {
                if (ky, kx) == (y % 2, x % 2) {
                    let at = ((i * conv.out_channels + o) * 2 + ky) * 2 + kx;
                    sum += value(Parameter::Weight(at), conv.weight[at])
                        * from.get(i, (y / 2) as isize, (x / 2) as isize);
                }
            } else {
                let at = if depthwise { o } else { o * conv.in_channels + i };
                let at = (at * k + ky) * k + kx;
                let place = |position: usize, k: usize| (position * stride + k) as isize - border;
                let from = from.get(i, place(y, ky), place(x, kx));
                sum += value(Parameter::Weight(at), conv.weight[at]) * from;
            }
        }
        sum += residual.map_or(0.0, |r| r.get(o, y as isize, x as isize));
        to.set(
            o,
            y,
            x,
            match conv.activation {
                Activation::None => sum,
                Activation::Relu => sum.max(0.0),
                Activation::Relu6 => sum.clamp(0.0, 6.0),
            },
        );
    }
    to
}

const PHOTO: Entry = Entry { shift: [0.5; 3], scale: [1.0; 3], unshuffle: 2, sigma_map: true };
const PLAIN: Entry =
    Entry { shift: [0.0, 0.25, -1.0], scale: [2.0, 1.0, 0.5], unshuffle: 1, sigma_map: false };

#[test]
fn every_convolution_is_what_its_definition_says() {
    let mut numbers = Numbers(1);
    for (number, (graph, size)) in graphs(&mut numbers, true).into_iter().enumerate() {
        let pictures = numbers.take(2 * 3 * size.0 * size.1);
        let mut expected = Vec::new();
        for picture in pictures.chunks(3 * size.0 * size.1) {
            let picture: Vec<f64> = picture.iter().map(|v| f64::from(*v)).collect();
            expected.extend(reference(&graph, &picture, size, 0.25, None));
        }
        let mut first: Option<Vec<u32>> = None;
        for instructions in Instructions::detect() {
            let mut kernels = Kernels::with(&graph, instructions, Cell::Single);
            let result = kernels.run(&graph, pictures.clone(), (2, size.0, size.1), 0.25);
            let error =
                result.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            println!("graph {number} {size:?} {instructions:?}: largest error {error:.1e}");
            assert!(error < 5e-5, "graph {number} {size:?} {instructions:?}: {error:e}");
            let bits: Vec<u32> = result.into_iter().map(f32::to_bits).collect();
            assert!(first.get_or_insert_with(|| bits.clone()) == &bits, "{instructions:?} has other bits");
        }
    }
}

/// How features in bf16 can be computed here: with what instructions, and whether on matrix tiles.
fn ways_to_bf16() -> Vec<(Instructions, Cell)> {
    let mut ways: Vec<_> = Instructions::detect().map(|instructions| (instructions, Cell::Rounded)).collect();
    match Instructions::detect().find(|instructions| bf16::on_tiles(*instructions)) {
        Some(instructions) => ways.push((instructions, Cell::Bf16)),
        None => println!("SKIPPED: this processor has no matrix tiles"),
    }
    ways
}

/// In bf16 the result is that of the definition with rounded weights and features, unless the rounding of a sum makes a feature the
/// next bf16 number, which many features in many layers make likely; and the same bits whatever computes it.
#[test]
fn bf16_is_the_definition_with_rounded_weights_and_features() {
    let mut numbers = Numbers(6);
    let mut exactly = 0;
    for (number, (graph, size)) in graphs(&mut numbers, true).into_iter().enumerate() {
        if !Precision::Bf16.serves(&graph) {
            continue;
        }
        let rounded = |values: &[f32]| values.iter().map(|v| bf16::round(*v).to_f32()).collect::<Vec<_>>();
        let mut of_rounded = graph.clone();
        for conv in &mut of_rounded.convs {
            conv.weight = rounded(&conv.weight);
        }
        let pictures = numbers.take(2 * 3 * size.0 * size.1);
        let (mut expected, mut exact) = (Vec::new(), Vec::new());
        for picture in pictures.chunks(3 * size.0 * size.1) {
            let picture: Vec<f64> = picture.iter().map(|v| f64::from(*v)).collect();
            exact.extend(reference(&graph, &picture, size, 0.25, None));
            expected.extend(reference_at(&of_rounded, &picture, size, 0.25, None, |features| Features {
                data: features.data.iter().map(|v| f64::from(bf16::round(*v as f32).to_f32())).collect(),
                ..features
            }));
        }
        let mut first: Option<Vec<u32>> = None;
        for (instructions, cell) in ways_to_bf16() {
            let mut kernels = Kernels::with(&graph, instructions, cell);
            let result = kernels.run(&graph, pictures.clone(), (2, size.0, size.1), 0.25);
            let rms = |expected: &[f64]| {
                let squares = result.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).powi(2));
                (squares.sum::<f64>() / expected.len() as f64).sqrt()
            };
            let (error, loss) = (rms(&expected), rms(&exact));
            println!(
                "graph {number} {size:?} {instructions:?} {cell:?}: error {error:.1e}, of f32 {loss:.1e}"
            );
            assert!(error < 0.7 * loss, "graph {number} {size:?} {instructions:?}: {error:e} of {loss:e}");
            exactly += usize::from(error < 1e-6);
            let bits: Vec<u32> = result.into_iter().map(f32::to_bits).collect();
            assert!(
                first.get_or_insert_with(|| bits.clone()) == &bits,
                "{instructions:?} {cell:?}: other bits"
            );
        }
    }
    assert!(exactly >= 3 * ways_to_bf16().len(), "{exactly}");
}

/// The bits of a result are part of what a certificate can be checked by: they are the same on every machine, and a change of the kernels
/// that changes them must change the text in `Weights::finish`, so that the model gets another name.
#[test]
fn bits_are_those_of_every_machine() {
    let mut numbers = Numbers(5);
    let graph = graph(&mut numbers, PHOTO, [48, 64]);
    let pictures = numbers.take(3 * 20 * 36);
    for (precision, expected) in [
        (Precision::F32, "a3f9c5344d2ebafdd00ea6b83b10812950c90d415020389df1437260cff5be84"),
        (Precision::Bf16, "029586d0d0122f42bd3b27e5ecae22cb7a30c4b3fe137583a739293ec7efb798"),
    ] {
        let result = Kernels::new(&graph, precision).run(&graph, pictures.clone(), (1, 20, 36), 0.25);
        let bytes: Vec<u8> = result.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(blake3::hash(&bytes).to_hex().as_str(), expected, "{precision}");
    }
}

/// Sizes alternate, so that memory and plans of one call are left for the next.
#[test]
fn nothing_of_a_call_is_left_for_the_next() {
    let mut numbers = Numbers(2);
    let graph = graph(&mut numbers, PHOTO, [32, 48]);
    for precision in Precision::ALL {
        let mut kept = Kernels::new(&graph, precision);
        for (count, size) in
            [(3, (9, 17)), (1, (9, 17)), (5, (33, 8)), (2, (9, 17)), (40, (8, 8)), (3, (8, 8))]
        {
            let pictures = numbers.take(count * 3 * size.0 * size.1);
            let (shape, sigma) = ((count, size.0, size.1), 0.5);
            let fresh = Kernels::new(&graph, precision).run(&graph, pictures.clone(), shape, sigma);
            assert_eq!(kept.run(&graph, pictures, shape, sigma), fresh);
        }
    }
}

/// Gradients by differences of the definition: exact but for rectifiers that switch in between, which so small a step avoids.
#[test]
fn gradients_are_the_differences_of_the_definition() {
    const STEP: f64 = 1e-6;
    let mut numbers = Numbers(3);
    for (number, (graph, size)) in graphs(&mut numbers, false).into_iter().enumerate() {
        let len = 3 * size.0 * size.1;
        let (pictures, direction) = (numbers.take(2 * len), numbers.take(2 * len));
        let sigma = [0.25, 0.75];
        let shape = (2, size.0, size.1);
        let as_f64 = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        // The derivative of `direction · result`.
        let along = |pictures: &[f64], nudge: Nudge| -> f64 {
            (0..2)
                .flat_map(|i| reference(&graph, &pictures[i * len..][..len], size, sigma[i], nudge))
                .zip(&direction)
                .map(|(result, direction)| result * f64::from(*direction))
                .sum()
        };
        let exact = as_f64(&pictures);
        let derivative = |conv, parameter| {
            let [up, down] = [STEP, -STEP].map(|step| along(&exact, Some((conv, parameter, step))));
            (up - down) / (2.0 * STEP)
        };
        let mut worst: f64 = 0.0;
        let mut check = |name: &str, found: f32, expected: f64, scale: f64| {
            let error = (f64::from(found) - expected).abs() / scale;
            worst = worst.max(error);
            assert!(error < 1e-4, "graph {number} {size:?} {name}: {found} instead of {expected}");
        };
        let norm = |values: &[f32]| values.iter().map(|v| f64::from(v.abs())).fold(1e-3, f64::max);

        let mut tape = Tape::new(&graph, Want::Parameters);
        tape.forward(&graph, pictures.clone(), shape, &sigma);
        for (i, gradient) in tape.backward(&graph, &direction, &mut []).to_vec().into_iter().enumerate() {
            for _ in 0..3 {
                let at = (numbers.next().abs() * gradient.weight.len() as f32) as usize;
                let expected = derivative(i, Parameter::Weight(at));
                check(&format!("weight {at} of {i}"), gradient.weight[at], expected, norm(&gradient.weight));
            }
            let at = (numbers.next().abs() * gradient.bias.len() as f32) as usize;
            check(
                &format!("bias of {i}"),
                gradient.bias[at],
                derivative(i, Parameter::Bias(at)),
                norm(&gradient.bias),
            );
        }

        let mut tape = Tape::new(&graph, Want::Pictures);
        tape.forward(&graph, pictures.clone(), shape, &sigma);
        let mut gradient = vec![0.0; pictures.len()];
        tape.backward(&graph, &direction, &mut gradient);
        for at in (0..pictures.len()).step_by(41) {
            let [up, down] = [STEP, -STEP].map(|step| {
                let mut nudged = exact.clone();
                nudged[at] += step;
                along(&nudged, None)
            });
            check(&format!("pixel {at}"), gradient[at], (up - down) / (2.0 * STEP), norm(&gradient));
        }
        println!("graph {number} {size:?}: largest error {worst:.1e} of the largest gradient");
    }
}

#[test]
fn gradients_are_the_same_for_any_number_of_threads_and_instructions() {
    let mut numbers = Numbers(4);
    let graph = graph(&mut numbers, PHOTO, [32, 48]);
    let shape = (5, 24, 16);
    let (pictures, direction) = (numbers.take(5 * 3 * 24 * 16), numbers.take(5 * 3 * 24 * 16));
    let mut first = None;
    for instructions in Instructions::detect() {
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let gradients = pool.install(|| {
                let mut tape = Tape::with(&graph, Want::Parameters, instructions);
                // Twice, as the second call finds what the first has left.
                for _ in 0..2 {
                    tape.pack(&graph);
                    tape.forward(&graph, pictures.clone(), shape, &[0.1, 0.2, 0.3, 0.4, 0.5]);
                    tape.backward(&graph, &direction, &mut []);
                }
                tape.backward(&graph, &direction, &mut []).to_vec()
            });
            assert!(
                first.get_or_insert_with(|| gradients.clone()) == &gradients,
                "{instructions:?}, {threads} threads"
            );
        }
    }
}
