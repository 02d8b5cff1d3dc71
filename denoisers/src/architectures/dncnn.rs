//! DnCNN (Zhang et al. 2017, "Beyond a Gaussian Denoiser"): a chain of 3x3 convolutions that predicts the noise, the denoiser
//! of the Denoised Smoothing paper. It is not told σ.
//!
//! A checkpoint is a `Sequential`: tensors `PREFIX.INDEX.weight`, where rank 4 is a convolution and rank 1 the batch
//! normalisation after it; a rectifier follows every convolution but the last. That covers the Denoised Smoothing release
//! (prefix `dncnn`, 17 layers), and KAIR's colour models with their normalisation kept or merged (prefix `model`, 20
//! layers). Depth and width are those of the file, or of [`Config`] where there is none. No padding is needed.

use crate::{
    graph::{BatchNorm, Bias, Conv, Entry, Estimate, Exit, Graph, Kind, Value},
    network::Model,
    weights::{Weights, WeightsError},
};

const PREFIXES: [&str; 3] = ["dncnn", "model", "net"];

/// Both releases normalise with this, not with PyTorch's default of 1e-5; metadata `bn_eps` says otherwise.
const BATCH_NORM_EPS: f64 = 1e-4;

/// Sizes of a network without a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// Convolutions, 2 or more. Metadata `depth`.
    pub(crate) depth: usize,
    /// Channels between them. Metadata `width`.
    pub(crate) width: usize,
}

impl Default for Config {
    /// The paper's network for Gaussian noise.
    fn default() -> Self {
        Self { depth: 17, width: 64 }
    }
}

impl Config {
    fn of(weights: &Weights) -> Result<Self, WeightsError> {
        let default = Self::default();
        Ok(Self {
            depth: super::depth(weights, default.depth)?,
            width: weights.numbers("width")?.map_or(default.width, |[width]| width),
        })
    }

    /// The members of a `Sequential` in which rectifiers have a number too.
    fn layers(self) -> Vec<Layer> {
        (0..self.depth).map(|i| Layer::Conv { index: 2 * i, out_channels: self.width }).collect()
    }
}

/// Whether the tensors are named like a DnCNN's.
pub(crate) fn recognises(weights: &Weights) -> bool {
    prefix(weights).is_some()
}

fn prefix(weights: &Weights) -> Option<&'static str> {
    PREFIXES.into_iter().find(|prefix| weights.has(&format!("{prefix}.0.weight")))
}

/// A member of the `Sequential` that has weights.
enum Layer {
    Conv { index: usize, out_channels: usize },
    Norm { index: usize },
}

/// Builds it from a `Sequential`'s tensors.
pub(crate) fn load(weights: &mut Weights) -> Result<Model, WeightsError> {
    weights.for_architecture("dncnn");
    let fresh = weights.is_blank().then_some("model");
    let Some(prefix) = fresh.or_else(|| prefix(weights)) else {
        let name = format!("{}.0.weight", PREFIXES[0]);
        weights.get(&name, &[64, 3, 3, 3])?;
        return Err(weights.misfit("has no DnCNN"));
    };
    // A new network has nothing that it could be for.
    let given = if weights.is_blank() { None } else { weights.metadata("bn_eps") };
    let eps = match given {
        None => BATCH_NORM_EPS,
        Some(text) => text
            .parse()
            .ok()
            .filter(|eps: &f64| eps.is_finite() && *eps >= 0.0)
            .ok_or_else(|| weights.misfit(format!("metadata `bn_eps` is `{text}`, not a number >= 0")))?,
    };
    let layers = if weights.is_blank() { Config::of(weights)?.layers() } else { layers(weights, prefix) };
    let last = layers.iter().rposition(|l| matches!(l, Layer::Conv { .. }));

    let entry = Entry { shift: [0.0; 3], scale: [1.0; 3], unshuffle: 1, sigma_map: false };
    let mut graph = Graph::new(entry, 1);
    let (mut value, mut channels) = (Value(0), entry.channels());
    for (i, layer) in layers.iter().enumerate() {
        let Layer::Conv { index, out_channels } = *layer else { continue };
        let out_channels = if Some(i) == last { 3 } else { out_channels };
        let name = format!("{prefix}.{index}");
        let kind = Kind::Same3x3 { stride: 1 };
        let mut conv = Conv::load(weights, &name, kind, (channels, out_channels), Bias::Optional)?;
        if let Some(Layer::Norm { index }) = layers.get(i + 1) {
            conv = conv.fold(weights, &BatchNorm { name: &format!("{prefix}.{index}"), eps })?;
        }
        value = graph.push(value, if Some(i) == last { conv } else { conv.relu() });
        channels = out_channels;
    }
    graph.exit = Exit::Pictures { value, shuffle: 1, estimate: Estimate::Noise };
    Model::finish(&format!("dncnn-{}", graph.convs.len()), graph, weights)
}

/// The members with weights, in the order of their indices.
fn layers(weights: &Weights, prefix: &str) -> Vec<Layer> {
    let mut layers: Vec<(usize, Layer)> = weights
        .shapes()
        .filter_map(|(name, shape)| {
            let index =
                name.strip_prefix(prefix)?.strip_prefix('.')?.strip_suffix(".weight")?.parse().ok()?;
            match *shape {
                [out_channels, _, _, _] => Some((index, Layer::Conv { index, out_channels })),
                [_] => Some((index, Layer::Norm { index })),
                _ => None,
            }
        })
        .collect();
    layers.sort_by_key(|(index, _)| *index);
    layers.into_iter().map(|(_, layer)| layer).collect()
}
