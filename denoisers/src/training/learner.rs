//! A denoiser whose weights can change.

use std::{collections::HashMap, path::Path};

use safetensors::{Dtype, tensor::TensorView};

use super::TrainError;
use crate::{
    Batch, OpenError,
    graph::{Conv, Graph, Kind},
    kernels::{Tape, Want},
    registry,
};

/// A denoiser, what its last batch left, and the gradients of its parameters.
pub struct Learner {
    graph: Graph,
    tape: Tape,
    metadata: HashMap<String, String>,
    /// Count, height and width of the last batch.
    shape: Option<(usize, usize, usize)>,
}

/// One tensor of a learner.
#[derive(Clone, Copy, Debug)]
pub struct Parameter<'a> {
    /// The convolution's name in the weights file.
    pub layer: &'a str,
    /// `weight` or `bias`.
    pub part: &'static str,
    /// The values, in the order of PyTorch.
    pub values: &'a [f32],
    /// Their gradients as of the last [`Learner::backward`]; zero before.
    pub gradient: &'a [f32],
}

impl Learner {
    /// Opens a denoiser by name or file as [`crate::open`] does. Batch normalisation has become part of the convolutions, and stays
    /// so in what is saved.
    ///
    /// # Errors
    /// [`OpenError`] as from [`crate::open`]; `none` has nothing to learn.
    pub fn open(name: &str) -> Result<Self, OpenError> {
        let model = registry::load_denoiser(name)?;
        let tape = Tape::new(&model.graph, Want::Parameters);
        Ok(Self { graph: model.graph, tape, metadata: model.metadata, shape: None })
    }

    /// Cleans a batch, with σ of each picture, and remembers what the way back needs.
    ///
    /// # Errors
    /// [`TrainError`] if the size is not one that the network takes without padding, or σ does not fit.
    pub fn forward(&mut self, noisy: Batch, sigma: &[f64]) -> Result<Batch, TrainError> {
        let (count, height, width) = (noisy.count(), noisy.height(), noisy.width());
        let multiple = self.graph.align;
        if !height.is_multiple_of(multiple) || !width.is_multiple_of(multiple) {
            return Err(TrainError::Size { height, width, multiple });
        }
        if sigma.len() != count || !sigma.iter().all(|s| s.is_finite() && *s >= 0.0) {
            return Err(TrainError::Sigma { found: sigma.len(), count, sigma: sigma.to_vec() });
        }
        let sigma: Vec<f32> = sigma.iter().map(|s| *s as f32).collect();
        let data = self.tape.forward(&self.graph, noisy.into_data(), (count, height, width), &sigma);
        self.shape = Some((count, height, width));
        Ok(Batch::trusted(data, count, (height, width)))
    }

    /// Computes all gradients from that of the last result.
    ///
    /// # Errors
    /// [`TrainError::Order`] if there is no result of this shape.
    pub fn backward(&mut self, gradient: &Batch) -> Result<(), TrainError> {
        if self.shape != Some((gradient.count(), gradient.height(), gradient.width())) {
            return Err(TrainError::Order);
        }
        self.tape.backward(&self.graph, gradient.data(), &mut []);
        Ok(())
    }

    /// All parameters, in an order that stays.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        self.graph.convs.iter().zip(self.tape.gradients()).flat_map(|(conv, gradient)| {
            let parameter = |part, values, gradient| Parameter { layer: &conv.name, part, values, gradient };
            [
                parameter("weight", &conv.weight, &gradient.weight),
                parameter("bias", &conv.bias, &gradient.bias),
            ]
        })
    }

    /// Lets `change` see each parameter's values and gradient in the order of [`Learner::parameters`], and takes the new
    /// values.
    pub fn update(&mut self, mut change: impl FnMut(usize, &mut [f32], &[f32])) {
        let mut index = 0;
        for (conv, gradient) in self.graph.convs.iter_mut().zip(self.tape.gradients()) {
            for (values, gradient) in [(&mut conv.weight, &gradient.weight), (&mut conv.bias, &gradient.bias)]
            {
                change(index, values, gradient);
                index += 1;
            }
        }
        self.tape.pack(&self.graph);
    }

    /// Writes a safetensors file that [`Learner::open`] and [`crate::open`] read. It appears under its name only when it is
    /// complete.
    ///
    /// # Errors
    /// [`TrainError::Write`] if the file cannot be written; an older one of that name is still there then.
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        let error = |source: Box<dyn std::error::Error + Send + Sync>| TrainError::Write {
            path: path.display().to_string(),
            source,
        };
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = self
            .graph
            .convs
            .iter()
            .flat_map(|conv| {
                let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
                [
                    (format!("{}.weight", conv.name), shape(conv), bytes(&conv.weight)),
                    (format!("{}.bias", conv.name), vec![conv.out_channels], bytes(&conv.bias)),
                ]
            })
            .collect();
        let views: Result<Vec<_>, _> = tensors
            .iter()
            .map(|(name, shape, bytes)| TensorView::new(Dtype::F32, shape.clone(), bytes).map(|v| (name, v)))
            .collect();
        let views = views.map_err(|e| error(e.into()))?;
        let partial = path.with_extension("partial");
        safetensors::serialize_to_file(views, Some(self.metadata.clone()), &partial)
            .map_err(|e| error(e.into()))?;
        std::fs::rename(&partial, path).map_err(|e| error(e.into()))
    }
}

fn shape(conv: &Conv) -> Vec<usize> {
    let k = conv.kind.size();
    match conv.kind {
        Kind::Up2x2 => vec![conv.in_channels, conv.out_channels, k, k],
        _ => vec![conv.out_channels, conv.in_channels, k, k],
    }
}
