//! A network as data: what every backend runs.
//!
//! A picture enters through [`Entry`], passes a list of convolutions with their bias, addition and activation, and leaves through
//! [`Exit`]. Nothing here knows the size of a picture or a device.

use crate::{
    pad,
    weights::{Weights, WeightsError},
};

/// The result of an earlier step: 0 is what [`Entry`] gives, `i` what the `i`-th convolution gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value(pub(crate) usize);

/// A whole network.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    pub(crate) entry: Entry,
    pub(crate) convs: Vec<Conv>,
    pub(crate) exit: Exit,
    /// Rows and columns must be multiples of this.
    pub(crate) align: usize,
}

/// From pictures to features: `(x - shift) * scale`, then `unshuffle` x `unshuffle` pixels become channels (PyTorch's
/// `pixel_unshuffle` order; 1 leaves them), then σ is appended as a constant channel if asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// Of red, green and blue.
    pub(crate) shift: [f32; 3],
    /// Of red, green and blue.
    pub(crate) scale: [f32; 3],
    pub(crate) unshuffle: usize,
    pub(crate) sigma_map: bool,
}

impl Entry {
    /// Channels it gives.
    pub(crate) fn channels(&self) -> usize {
        3 * self.unshuffle * self.unshuffle + usize::from(self.sigma_map)
    }
}

/// `activation(convolution(input) + bias + residual)`.
#[derive(Clone, Debug)]
pub(crate) struct Conv {
    /// Of its tensors in the weights file; empty if it is not from there and stays as it is.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) input: Value,
    pub(crate) residual: Option<Value>,
    pub(crate) activation: Activation,
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    /// `[out, in, k, k]`, for [`Kind::Up2x2`] `[in, out, 2, 2]`, for [`Kind::Depthwise`] `[out, 1, k, k]`: the orders of PyTorch.
    pub(crate) weight: Vec<f32>,
    /// `[out]`.
    pub(crate) bias: Vec<f32>,
}

/// What follows a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// Nothing.
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
}

impl Activation {
    /// Where it stops to rise.
    pub(crate) fn ceiling(self) -> f32 {
        match self {
            Self::None | Self::Relu => f32::INFINITY,
            Self::Relu6 => 6.0,
        }
    }
}

/// The convolutions that occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 3x3 with one row and column of zeros around, at every `stride`-th pixel.
    Same3x3 {
        /// 1 or 2.
        stride: usize,
    },
    /// 3x3 at every second pixel, with a row and a column of zeros after the picture only: what `TensorFlow` does where rows and
    /// columns are even.
    Tail3x3,
    /// Each channel by itself: `size` x `size` at every `stride`-th pixel, with `before` rows and columns of zeros before the picture
    /// and as many after it as are needed.
    Depthwise {
        /// 1, 3, 5, ...
        size: usize,
        /// 1 or 2.
        stride: usize,
        /// Less than `size`.
        before: usize,
    },
    /// 1x1 at every `stride`-th pixel.
    Point {
        /// 1 or 2.
        stride: usize,
    },
    /// 2x2 at every second pixel: halves rows and columns.
    Down2x2,
    /// Transposed 2x2 at every second pixel: doubles rows and columns.
    Up2x2,
}

impl Kind {
    /// Rows and columns of the kernel.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Same3x3 { .. } | Self::Tail3x3 => 3,
            Self::Depthwise { size, .. } => size,
            Self::Point { .. } => 1,
            Self::Down2x2 | Self::Up2x2 => 2,
        }
    }

    /// Input pixels from output to output.
    pub(crate) fn stride(self) -> usize {
        match self {
            Self::Same3x3 { stride } | Self::Point { stride } | Self::Depthwise { stride, .. } => stride,
            Self::Tail3x3 | Self::Down2x2 => 2,
            Self::Up2x2 => 1,
        }
    }

    /// Rows, or columns, of the output for these of the input.
    pub(crate) fn output(self, input: usize) -> usize {
        match self {
            Self::Down2x2 => input / 2,
            Self::Up2x2 => input * 2,
            _ => input.div_ceil(self.stride()),
        }
    }
}

/// From features to the answer.
#[derive(Clone, Debug)]
pub(crate) enum Exit {
    /// Pictures: `pixel_shuffle(value, shuffle)`, or what it says is left of x.
    Pictures {
        /// Where the estimate is.
        value: Value,
        /// 1 leaves the channels as they are.
        shuffle: usize,
        /// Of what.
        estimate: Estimate,
    },
    /// Mean over the picture, then a linear layer: one number a class.
    Classify {
        /// Of the linear layer's tensors in the weights file.
        name: String,
        /// The features.
        value: Value,
        /// `[classes, channels]`.
        weight: Vec<f32>,
        /// `[classes]`.
        bias: Vec<f32>,
    },
}

/// What a denoiser's last convolution gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Estimate {
    /// The noise: the result is x less it.
    Noise,
    /// The clean picture itself.
    Picture,
}

impl Exit {
    /// What it reads.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Pictures { value, .. } | Self::Classify { value, .. } => *value,
        }
    }
}

/// Batch normalisation at inference is an affine map a channel, which the convolution before it can take over (Ioffe and
/// Szegedy 2015, section 3.1).
pub(crate) struct BatchNorm<'a> {
    /// Prefix of `.weight`, `.bias`, `.running_mean`, `.running_var`.
    pub(crate) name: &'a str,
    pub(crate) eps: f64,
}

impl Conv {
    /// Loads `name.weight` and `name.bias`; a bias that is absent is zero only where `bias` says it may be.
    pub(crate) fn load(
        weights: &Weights,
        name: &str,
        kind: Kind,
        (in_channels, out_channels): (usize, usize),
        bias: Bias,
    ) -> Result<Self, WeightsError> {
        let shape = shape(kind, in_channels, out_channels);
        let weight = weights.get(&format!("{name}.weight"), &shape)?;
        let bias_name = format!("{name}.bias");
        let bias = match bias {
            Bias::Optional if !weights.has(&bias_name) => vec![0.0; out_channels],
            Bias::Required | Bias::Optional => weights.get(&bias_name, &[out_channels])?,
        };
        let input = Value(0);
        let name = name.to_owned();
        let activation = Activation::None;
        Ok(Self { name, kind, input, residual: None, activation, in_channels, out_channels, weight, bias })
    }

    /// Folds the batch normalisation that follows into weight and bias, in double precision.
    pub(crate) fn fold(mut self, weights: &Weights, norm: &BatchNorm<'_>) -> Result<Self, WeightsError> {
        debug_assert_ne!(self.kind, Kind::Up2x2, "its weight has the output channels second");
        let get = |part: &str| weights.get(&format!("{}.{part}", norm.name), &[self.out_channels]);
        let (gamma, beta, mean, var) =
            (get("weight")?, get("bias")?, get("running_mean")?, get("running_var")?);
        let per_channel = self.weight.len() / self.out_channels;
        for (c, weight) in self.weight.chunks_exact_mut(per_channel).enumerate() {
            let spread = f64::from(var[c]) + norm.eps;
            if spread <= 0.0 {
                return Err(weights.misfit(format!("`{}.running_var` has a negative variance", norm.name)));
            }
            let scale = f64::from(gamma[c]) / spread.sqrt();
            for w in weight {
                *w = (f64::from(*w) * scale) as f32;
            }
            let shifted = (f64::from(self.bias[c]) - f64::from(mean[c])) * scale + f64::from(beta[c]);
            self.bias[c] = shifted as f32;
        }
        Ok(self)
    }

    /// A 1x1 convolution without parameters: every `stride`-th pixel, the first channels moved by `offset`, zeros in all others.
    pub(crate) fn select(from: usize, to: usize, stride: usize, offset: usize) -> Self {
        let mut weight = vec![0.0; to * from];
        for channel in 0..from.min(to.saturating_sub(offset)) {
            weight[(channel + offset) * from + channel] = 1.0;
        }
        Self {
            name: String::new(),
            kind: Kind::Point { stride },
            input: Value(0),
            residual: None,
            activation: Activation::None,
            in_channels: from,
            out_channels: to,
            weight,
            bias: vec![0.0; to],
        }
    }

    /// The shape of [`Conv::weight`].
    pub(crate) fn shape(&self) -> [usize; 4] {
        shape(self.kind, self.in_channels, self.out_channels)
    }

    pub(crate) fn relu(self) -> Self {
        self.then(Activation::Relu)
    }

    pub(crate) fn then(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    pub(crate) fn add(mut self, residual: Value) -> Self {
        self.residual = Some(residual);
        self
    }
}

/// Of the weights, in PyTorch's order.
fn shape(kind: Kind, in_channels: usize, out_channels: usize) -> [usize; 4] {
    let k = kind.size();
    match kind {
        Kind::Up2x2 => [in_channels, out_channels, k, k],
        Kind::Depthwise { .. } => [out_channels, 1, k, k],
        _ => [out_channels, in_channels, k, k],
    }
}

/// Whether a convolution must come with a bias.
#[derive(Clone, Copy)]
pub(crate) enum Bias {
    Required,
    Optional,
}

impl Graph {
    /// A network without convolutions yet.
    pub(crate) fn new(entry: Entry, align: usize) -> Self {
        let exit = Exit::Pictures { value: Value(0), shuffle: 1, estimate: Estimate::Noise };
        Self { entry, convs: Vec::new(), exit, align }
    }

    /// Appends a convolution that reads `input`.
    pub(crate) fn push(&mut self, input: Value, conv: Conv) -> Value {
        // The kernels' memory is laid out by these, so they hold in every build.
        assert!(input.0 <= self.convs.len(), "a step reads earlier steps only");
        assert_eq!(conv.in_channels, self.channels(input), "a convolution reads all channels of its input");
        assert!(
            conv.residual.is_none_or(|r| r.0 <= self.convs.len() && self.channels(r) == conv.out_channels),
            "what is added has the channels of what it is added to"
        );
        self.convs.push(Conv { input, ..conv });
        Value(self.convs.len())
    }

    /// Channels of a value.
    pub(crate) fn channels(&self, value: Value) -> usize {
        match value.0.checked_sub(1) {
            None => self.entry.channels(),
            Some(i) => self.convs[i].out_channels,
        }
    }

    /// The step after which `value` is not needed any more: the index of the last convolution that reads it, or the number
    /// of convolutions if the exit does.
    pub(crate) fn last_use(&self, value: Value) -> usize {
        if self.exit.value() == value {
            return self.convs.len();
        }
        self.convs.iter().rposition(|c| c.input == value || c.residual == Some(value)).unwrap_or(0)
    }

    /// The size to which a picture of this size is padded.
    pub(crate) fn padded(&self, (height, width): (usize, usize)) -> (usize, usize) {
        (height.next_multiple_of(self.align), width.next_multiple_of(self.align))
    }

    /// Multiplications and additions of all convolutions for one picture, as they are defined.
    pub(crate) fn operations(&self, size: (usize, usize)) -> f64 {
        let (height, width) = self.padded(size);
        let mut sizes = vec![(height / self.entry.unshuffle, width / self.entry.unshuffle)];
        let mut operations = 0.0;
        for conv in &self.convs {
            let from = sizes[conv.input.0];
            let to = (conv.kind.output(from.0), conv.kind.output(from.1));
            // A weight is used once for each output pixel, one of the transposed convolution for each input pixel.
            let uses = if conv.kind == Kind::Up2x2 { from } else { to };
            operations += 2.0 * conv.weight.len() as f64 * (uses.0 * uses.1) as f64;
            sizes.push(to);
        }
        operations
    }

    /// `[planes, height, width]` padded as [`Graph::padded`] says.
    pub(crate) fn pad(&self, data: Vec<f32>, size: (usize, usize)) -> Vec<f32> {
        let to = self.padded(size);
        if to == size { data } else { pad::reflect(&data, size, to) }
    }

    /// The inverse of [`Graph::pad`].
    pub(crate) fn unpad(&self, data: Vec<f32>, size: (usize, usize)) -> Vec<f32> {
        let from = self.padded(size);
        if from == size { data } else { pad::crop(&data, from, size) }
    }
}
