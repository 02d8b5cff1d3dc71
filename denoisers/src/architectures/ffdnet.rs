//! `FFDNet` (Zhang et al. 2018, "FFDNet: Toward a Fast and Flexible Solution"): a chain of 3x3 convolutions at half resolution that is
//! told σ and gives the clean picture.
//!
//! Tensors `model.0`, `model.2`, ..., each with `.weight` and `.bias`, as KAIR's colour model has them (12 convolutions of 96 channels);
//! a rectifier follows all but the last. The channels of σ come after the 12 of the picture. Pictures with an odd side are padded
//! by reflection.

use crate::{
    graph::{Bias, Conv, Entry, Estimate, Exit, Graph, Kind, Value},
    network::Model,
    weights::{Weights, WeightsError},
};

/// Sizes of a network without a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// Convolutions, 2 or more. Metadata `depth`.
    pub(crate) depth: usize,
    /// Channels between them. Metadata `width`.
    pub(crate) width: usize,
}

impl Default for Config {
    /// The paper's network for colour.
    fn default() -> Self {
        Self { depth: 12, width: 96 }
    }
}

const FIRST: &str = "model.0.weight";

/// Whether the tensors are those of such a network: the first convolution reads 13 channels.
pub(crate) fn recognises(weights: &Weights) -> bool {
    matches!(weights.shape(FIRST), Some([_, 13, 3, 3]))
}

/// Builds it; depth and width are those of the file, or of [`Config`] where there is none.
pub(crate) fn load(weights: &mut Weights) -> Result<Model, WeightsError> {
    weights.for_architecture("ffdnet");
    let default = Config::default();
    let config = Config {
        depth: super::depth(weights, default.depth)?,
        width: weights.numbers("width")?.map_or(default.width, |[width]| width),
    };
    let Config { depth, width } = if weights.is_blank() { config } else { of_file(weights, config) };
    let entry = Entry { shift: [0.0; 3], scale: [1.0; 3], unshuffle: 2, sigma_map: true };
    let mut graph = Graph::new(entry, 2);
    let (mut value, mut channels) = (Value(0), entry.channels());
    for i in 0..depth {
        let out_channels = if i + 1 == depth { 12 } else { width };
        let (name, io) = (format!("model.{}", 2 * i), (channels, out_channels));
        let conv = Conv::load(weights, &name, Kind::Same3x3 { stride: 1 }, io, Bias::Required)?;
        value = graph.push(value, if i + 1 == depth { conv } else { conv.relu() });
        channels = out_channels;
    }
    graph.exit = Exit::Pictures { value, shuffle: 2, estimate: Estimate::Picture };
    Model::finish("ffdnet", graph, weights)
}

/// As many convolutions as there are, of the first one's width.
fn of_file(weights: &Weights, config: Config) -> Config {
    let depth = (0..1000).take_while(|i| weights.has(&format!("model.{}.weight", 2 * i))).count();
    let width = weights.shape(FIRST).and_then(|shape| shape.first().copied());
    Config { depth: depth.max(2), width: width.unwrap_or(config.width) }
}
