//! Runs a [`Graph`] with the tensor library, on any device it knows.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::ops::{pixel_shuffle, pixel_unshuffle};

use crate::graph::{Activation, Conv, Estimate, Exit, Graph, Kind, Value};

/// The parameters of a graph on a device.
pub(crate) struct Runner {
    device: Device,
    parameters: Vec<Parameters>,
}

struct Parameters {
    weight: Tensor,
    /// `[1, out, 1, 1]`, ready to be added.
    bias: Tensor,
}

impl Runner {
    pub(crate) fn new(graph: &Graph, device: Device) -> Result<Self> {
        let parameters = graph.convs.iter().map(|c| Parameters::new(c, &device)).collect::<Result<_>>()?;
        Ok(Self { device, parameters })
    }

    /// `[count, 3, height, width]` to what the exit is given or gives: the cleaned pictures, `[count, 3, height, width]`, or
    /// the features before the mean, `[count, channels, rows, columns]`. Sizes are multiples of `graph.align`.
    pub(crate) fn run(
        &self,
        graph: &Graph,
        data: Vec<f32>,
        (count, height, width): (usize, usize, usize),
        sigma: f32,
    ) -> Result<Vec<f32>> {
        if self.device.is_cpu() {
            let pictures = Tensor::from_vec(data, (count, 3, height, width), &self.device)?;
            return self.forward(graph, &pictures, sigma)?.flatten_all()?.to_vec1();
        }
        // GPU libraries choose their algorithm by the shape, batch included. One shape for every call keeps a picture's
        // result independent of how many came with it.
        let chunk = crate::denoiser::preferred_batch(height, width);
        let mut out = Vec::with_capacity(data.len());
        for part in data.chunks(chunk * 3 * height * width) {
            let pictures = part.len() / (3 * height * width);
            let mut filled = part.to_vec();
            filled.resize(chunk * 3 * height * width, 0.0);
            let filled = Tensor::from_vec(filled, (chunk, 3, height, width), &self.device)?;
            let result = self.forward(graph, &filled, sigma)?.narrow(0, 0, pictures)?;
            out.extend(result.flatten_all()?.to_vec1::<f32>()?);
        }
        debug_assert!(out.len().is_multiple_of(count));
        Ok(out)
    }

    fn forward(&self, graph: &Graph, pictures: &Tensor, sigma: f32) -> Result<Tensor> {
        let mut values: Vec<Option<Tensor>> = vec![Some(self.enter(graph, pictures, sigma)?)];
        for (i, (conv, parameters)) in graph.convs.iter().zip(&self.parameters).enumerate() {
            let result = convolve(conv, parameters, &values)?;
            values.push(Some(result));
            for (v, value) in values.iter_mut().enumerate() {
                if graph.last_use(Value(v)) <= i {
                    *value = None;
                }
            }
        }
        match &graph.exit {
            Exit::Pictures { value, shuffle, estimate } => {
                let value = read(&values, *value)?;
                let value = if *shuffle == 1 { value.clone() } else { pixel_shuffle(value, *shuffle)? };
                match estimate {
                    Estimate::Noise => pictures - value,
                    Estimate::Picture => Ok(value),
                }
            }
            Exit::Classify { value, .. } => read(&values, *value).cloned(),
        }
    }

    fn enter(&self, graph: &Graph, pictures: &Tensor, sigma: f32) -> Result<Tensor> {
        let entry = &graph.entry;
        let of_colours = |values: [f32; 3]| Tensor::new(&values, &self.device)?.reshape((1, 3, 1, 1));
        let x = pictures.broadcast_sub(&of_colours(entry.shift)?)?;
        let mut x = x.broadcast_mul(&of_colours(entry.scale)?)?;
        if entry.unshuffle > 1 {
            x = pixel_unshuffle(&x, entry.unshuffle)?;
        }
        if entry.sigma_map {
            let (n, _, h, w) = x.dims4()?;
            let map = Tensor::full(sigma, (n, 1, h, w), &self.device)?;
            x = Tensor::cat(&[x, map], 1)?;
        }
        Ok(x)
    }
}

impl Parameters {
    fn new(conv: &Conv, device: &Device) -> Result<Self> {
        let k = conv.kind.size();
        let (first, second) = match conv.kind {
            Kind::Up2x2 => (conv.in_channels, conv.out_channels),
            Kind::Depthwise { .. } => (conv.out_channels, 1),
            _ => (conv.out_channels, conv.in_channels),
        };
        let weight = Tensor::from_slice(&conv.weight, (first, second, k, k), device)?;
        let bias = Tensor::from_slice(&conv.bias, (1, conv.out_channels, 1, 1), device)?;
        Ok(Self { weight, bias: bias.to_dtype(DType::F32)? })
    }
}

fn convolve(conv: &Conv, parameters: &Parameters, values: &[Option<Tensor>]) -> Result<Tensor> {
    let x = read(values, conv.input)?;
    let weight = &parameters.weight;
    let y = match conv.kind {
        Kind::Same3x3 { stride } => x.conv2d(weight, 1, stride, 1, 1)?,
        Kind::Point { stride } => x.conv2d(weight, 0, stride, 1, 1)?,
        Kind::Down2x2 => x.conv2d(weight, 0, 2, 1, 1)?,
        Kind::Up2x2 => x.conv_transpose2d(weight, 0, 0, 2, 1)?,
        Kind::Tail3x3 => padded(x, conv.kind, 0)?.conv2d(weight, 0, 2, 1, 1)?,
        Kind::Depthwise { stride, before, .. } => {
            padded(x, conv.kind, before)?.conv2d(weight, 0, stride, 1, conv.out_channels)?
        }
    };
    let mut y = y.broadcast_add(&parameters.bias)?;
    if let Some(residual) = conv.residual {
        y = (y + read(values, residual)?)?;
    }
    match conv.activation {
        Activation::None => Ok(y),
        Activation::Relu => y.relu(),
        Activation::Relu6 => y.clamp(0f32, Activation::Relu6.ceiling()),
    }
}

/// With `before` rows and columns of zeros before, and as many as this kind needs after.
fn padded(x: &Tensor, kind: Kind, before: usize) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    let after = |n: usize| ((kind.output(n) - 1) * kind.stride() + kind.size()).saturating_sub(before + n);
    x.pad_with_zeros(2, before, after(height))?.pad_with_zeros(3, before, after(width))
}

fn read(values: &[Option<Tensor>], value: Value) -> Result<&Tensor> {
    values
        .get(value.0)
        .and_then(Option::as_ref)
        .ok_or_else(|| candle_core::Error::Msg(format!("value {} of the network is not there", value.0)))
}
