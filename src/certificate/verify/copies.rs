//! The noisy copies, made again.

use std::sync::Arc;

use smoothgate_denoisers::DenoiserHandle;

use super::check::Check;
use super::picture;
use crate::certificate::Certificate;
use crate::engine::{Redraw, redraw};

pub(super) async fn check(certificate: &Certificate, file: &[u8], denoiser: &DenoiserHandle) -> Check {
    const NAME: &str = "copies";
    let hash = denoiser.id().hash().to_hex().to_string();
    if hash != certificate.denoiser.blake3 {
        let says = format!(
            "the copies were cleaned by {} {}, and this denoiser is {hash}: give the right one by --denoiser",
            certificate.denoiser.name, certificate.denoiser.blake3
        );
        return Check::fails(NAME, says, ["denoiser.blake3"]);
    }
    let Ok(encoder) = certificate.encoder.parse() else {
        return Check::fails(NAME, "the encoder is none of this program's", ["encoder"]);
    };
    let image = match picture::open(certificate, file) {
        Ok(image) => Arc::new(image),
        Err(error) => {
            return Check::fails(NAME, format!("the picture cannot be opened: {error}"), ["picture"]);
        }
    };
    let work = Redraw {
        picture: image,
        sigma: certificate.noise.sigma,
        seed: certificate.noise.seed,
        encoder,
        draws: certificate.draws(),
    };
    match redraw(&work, denoiser).await {
        Ok(found) if blake3::Hash::from_bytes(found).to_hex().as_str() == certificate.copies => Check::holds(
            NAME,
            format!("the {} copies were made again from the seed, and are the same bytes", work.draws),
        ),
        Ok(_) => {
            let says = "the copies that this seed, denoiser and encoder give here are others. Noise is the same on every \
                        machine, and a denoiser on a CPU gives the same bits on all; on a GPU, or with another version of \
                        the program, it may round differently, and copies may differ without any change to the document";
            Check::fails(NAME, says, ["copies"])
        }
        Err(error) => Check::fails(NAME, format!("the copies could not be made: {error}"), ["copies"]),
    }
}
