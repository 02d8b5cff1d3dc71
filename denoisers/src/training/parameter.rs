//! What is learnt, tensor by tensor.

use std::fmt;

/// One tensor of a learner.
#[derive(Clone, Copy, Debug)]
pub struct Parameter<'a> {
    /// The layer's name in the weights file.
    pub layer: &'a str,
    /// What it is of the layer.
    pub part: Part,
    /// The values, in the order of PyTorch.
    pub values: &'a [f32],
    /// Their gradients as of the last way back; zero before.
    pub gradient: &'a [f32],
}

/// What a parameter is of its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// What multiplies the features.
    Weight,
    /// What is added.
    Bias,
    /// Of a layer with standardised weights: the factor of each output channel.
    Gain,
}

/// The last part of a tensor's name.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weight => "weight",
            Self::Bias => "bias",
            Self::Gain => "gain",
        })
    }
}
