//! A small U-Net of residual blocks that is told the noise level.
//!
//! Works at half resolution from the start (pixel unshuffle by 2, as in `FFDNet`, Zhang et al. 2018) and adds a constant
//! channel of σ; two more halvings by 2x2 convolutions, skips by addition (as in `DRUNet`, Zhang et al. 2021); predicts the
//! noise. Rows and columns are padded to multiples of 8 by reflection.

use crate::{
    graph::{Bias, Conv, Entry, Estimate, Exit, Graph, Kind, Value},
    network::Model,
    weights::{Weights, WeightsError},
};

/// Sizes of the network, finest level first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// Channels at 1/2, 1/4 and 1/8 of the picture's resolution. Metadata `channels`.
    pub(crate) channels: [usize; 3],
    /// Residual blocks at each level; the first two have them on the way down and again on the way up. Metadata
    /// `blocks`.
    pub(crate) blocks: [usize; 3],
}

impl Default for Config {
    fn default() -> Self {
        Self { channels: [48, 96, 128], blocks: [2, 2, 4] }
    }
}

const SAME: Kind = Kind::Same3x3 { stride: 1 };

/// Builds it from tensors `head`, `enc1.0.conv1`, `down1`, ..., `tail`, each with `.weight` and `.bias`.
pub(crate) fn load(weights: &mut Weights) -> Result<Model, WeightsError> {
    let default = Config::default();
    let config = Config {
        channels: weights.numbers("channels")?.unwrap_or(default.channels),
        blocks: weights.numbers("blocks")?.unwrap_or(default.blocks),
    };
    weights.for_architecture(&format!("unet (channels {:?}, blocks {:?})", config.channels, config.blocks));
    let graph = graph(weights, config)?;
    Model::finish("unet", graph, weights)
}

fn graph(
    weights: &Weights,
    Config { channels: [a, b, c], blocks: [na, nb, nc] }: Config,
) -> Result<Graph, WeightsError> {
    let entry = Entry { shift: [0.5; 3], scale: [1.0; 3], unshuffle: 2, sigma_map: true };
    let mut graph = Graph::new(entry, 8);
    let conv = |name: &str, kind, io| Conv::load(weights, name, kind, io, Bias::Required);

    let head = graph.push(Value(0), conv("head", SAME, (entry.channels(), a))?);
    let fine = blocks(&mut graph, weights, "enc1", na, a, head)?;
    let down = graph.push(fine, conv("down1", Kind::Down2x2, (a, b))?);
    let middle = blocks(&mut graph, weights, "enc2", nb, b, down)?;
    let down = graph.push(middle, conv("down2", Kind::Down2x2, (b, c))?);
    let body = blocks(&mut graph, weights, "body", nc, c, down)?;
    let up = graph.push(body, conv("up2", Kind::Up2x2, (c, b))?.add(middle));
    let up = blocks(&mut graph, weights, "dec2", nb, b, up)?;
    let up = graph.push(up, conv("up1", Kind::Up2x2, (b, a))?.add(fine));
    let up = blocks(&mut graph, weights, "dec1", na, a, up)?;
    let value = graph.push(up, conv("tail", SAME, (a, 12))?);
    graph.exit = Exit::Pictures { value, shuffle: 2, estimate: Estimate::Noise };
    Ok(graph)
}

/// `count` times `x + conv2(relu(conv1(x)))`.
fn blocks(
    graph: &mut Graph,
    weights: &Weights,
    name: &str,
    count: usize,
    width: usize,
    mut x: Value,
) -> Result<Value, WeightsError> {
    for i in 0..count {
        let conv =
            |part| Conv::load(weights, &format!("{name}.{i}.{part}"), SAME, (width, width), Bias::Required);
        let inner = graph.push(x, conv("conv1")?.relu());
        x = graph.push(inner, conv("conv2")?.add(x));
    }
    Ok(x)
}
