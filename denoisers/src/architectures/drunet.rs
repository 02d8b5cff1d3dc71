//! `DRUNet` (Zhang et al. 2021, "Plug-and-Play Image Restoration with Deep Denoiser Prior"): a U-Net of residual blocks that is told σ and
//! gives the clean picture. No tensor is a bias.
//!
//! Names as in KAIR: `m_head`, `m_down1.0.res.0`, `m_down1.0.res.2`, ..., the 2x2 convolution behind the blocks as `m_down1.4`, up to
//! `m_down3`; `m_body.0.res.0`, ...; `m_up3.0` the transposed 2x2 convolution, `m_up3.1.res.0`, ... the blocks, down to `m_up1`;
//! `m_tail`. Rows and columns are padded to multiples of 8 by reflection.

use crate::{
    graph::{Bias, Conv, Entry, Estimate, Exit, Graph, Kind, Value},
    network::Model,
    weights::{Weights, WeightsError},
};

/// Sizes of the network, finest level first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// Channels at the picture's resolution and its halves. Metadata `channels`.
    pub(crate) channels: [usize; 4],
    /// Residual blocks at each level, on the way down and again on the way up. Metadata `blocks`.
    pub(crate) blocks: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { channels: [64, 128, 256, 512], blocks: 4 }
    }
}

const SAME: Kind = Kind::Same3x3 { stride: 1 };

/// Whether the tensors are named like those of such a network.
pub(crate) fn recognises(weights: &Weights) -> bool {
    weights.has("m_head.weight")
}

/// Builds it; the sizes are those of the metadata or the default.
pub(crate) fn load(weights: &mut Weights) -> Result<Model, WeightsError> {
    let default = Config::default();
    let channels = weights.numbers("channels")?.unwrap_or(default.channels);
    let blocks = weights.numbers("blocks")?.map_or(default.blocks, |[blocks]| blocks);
    weights.for_architecture(&format!("drunet (channels {channels:?}, blocks {blocks})"));
    let entry = Entry { shift: [0.0; 3], scale: [1.0; 3], unshuffle: 1, sigma_map: true };
    let mut builder = Builder { weights, graph: Graph::new(entry, 8), blocks };

    let mut value = builder.conv(Value(0), "m_head", SAME, (entry.channels(), channels[0]))?;
    let mut skips = Vec::new();
    for (level, pair) in channels.windows(2).enumerate() {
        skips.push(value);
        let name = format!("m_down{}", level + 1);
        value = builder.blocks(value, &name, 0, pair[0])?;
        value = builder.conv(value, &format!("{name}.{blocks}"), Kind::Down2x2, (pair[0], pair[1]))?;
    }
    let bottom = value;
    value = builder.blocks(value, "m_body", 0, channels[3])?;
    value = builder.sum(value, bottom);
    for (level, pair) in channels.windows(2).enumerate().rev() {
        let name = format!("m_up{}", level + 1);
        value = builder.conv(value, &format!("{name}.0"), Kind::Up2x2, (pair[1], pair[0]))?;
        value = builder.blocks(value, &name, 1, pair[0])?;
        value = builder.sum(value, skips[level]);
    }
    let value = builder.conv(value, "m_tail", SAME, (channels[0], 3))?;
    let mut graph = builder.graph;
    graph.exit = Exit::Pictures { value, shuffle: 1, estimate: Estimate::Picture };
    Model::finish("drunet", graph, weights)
}

struct Builder<'a> {
    weights: &'a Weights,
    graph: Graph,
    blocks: usize,
}

impl Builder<'_> {
    fn conv(&mut self, x: Value, name: &str, kind: Kind, io: (usize, usize)) -> Result<Value, WeightsError> {
        let conv = Conv::load(self.weights, name, kind, io, Bias::Optional)?;
        Ok(self.graph.push(x, conv))
    }

    /// `x + res.2(relu(res.0(x)))`, one after the other, numbered from `first`.
    fn blocks(
        &mut self,
        mut x: Value,
        name: &str,
        first: usize,
        width: usize,
    ) -> Result<Value, WeightsError> {
        for block in first..first + self.blocks {
            let conv = |part: usize| {
                let name = format!("{name}.{block}.res.{part}");
                Conv::load(self.weights, &name, SAME, (width, width), Bias::Optional)
            };
            let inner = conv(0)?.relu();
            let outer = conv(2)?.add(x);
            let inner = self.graph.push(x, inner);
            x = self.graph.push(inner, outer);
        }
        Ok(x)
    }

    /// What comes out of blocks is a sum already, and a convolution adds one value only: this one changes nothing but that.
    fn sum(&mut self, x: Value, skip: Value) -> Value {
        let width = self.graph.channels(x);
        self.graph.push(x, Conv::select(width, width, 1, 0).add(skip))
    }
}
