//! Denoiser architectures: each turns named tensors into a graph.

pub(crate) mod dncnn;
pub(crate) mod drunet;
pub(crate) mod ffdnet;
pub(crate) mod memnet;
pub(crate) mod unet;

use crate::{
    network::Model,
    weights::{Weights, WeightsError},
};

const NAMES: &str = "`unet`, `dncnn`, `ffdnet`, `drunet` and `memnet`";

/// Builds the denoiser that the file is of: metadata `arch` says which, or the names of its tensors do.
pub(crate) fn load(mut weights: Weights) -> Result<Model, WeightsError> {
    let stated = weights.metadata("arch").map(str::to_owned);
    match stated.as_deref() {
        Some("unet") => unet::load(&mut weights),
        Some("dncnn") => dncnn::load(&mut weights),
        Some("ffdnet") => ffdnet::load(&mut weights),
        Some("drunet") => drunet::load(&mut weights),
        Some("memnet") => memnet::load(&mut weights),
        Some(other) => Err(weights.misfit(format!("metadata `arch` is `{other}`; denoisers are {NAMES}"))),
        None if weights.has("down1.weight") => unet::load(&mut weights),
        None if ffdnet::recognises(&weights) => ffdnet::load(&mut weights),
        None if drunet::recognises(&weights) => drunet::load(&mut weights),
        None if memnet::recognises(&weights) => memnet::load(&mut weights),
        None if dncnn::recognises(&weights) => dncnn::load(&mut weights),
        None => Err(weights.misfit(format!(
            "its tensor names are of no known denoiser; state the architecture ({NAMES}) in the metadata as `arch`"
        ))),
    }
}

/// How many convolutions a new network of one chain has, by its metadata.
///
/// # Errors
/// [`WeightsError`] for fewer than the first and the last.
fn depth(weights: &Weights, usual: usize) -> Result<usize, WeightsError> {
    match weights.numbers("depth")? {
        Some([depth @ ..2]) => {
            Err(weights.misfit(format!("metadata `depth` is {depth}, but it is at least 2")))
        }
        Some([depth]) => Ok(depth),
        None => Ok(usual),
    }
}
