//! Options that several commands share.

use clap::{Args, ValueEnum};
use smoothgate_denoisers::{DenoiserHandle, Device, Options, open};

use super::Failure;
use crate::config::Defaults;
use crate::picture::{Fit, PictureOptions, WorkingSize};

/// Which denoiser, and where it runs.
#[derive(Debug, Args)]
pub(super) struct DenoiserOptions {
    /// `auto` (the built-in U-Net), `none` (the baseline without denoising), a built-in name or a safetensors file
    /// [default: auto]
    #[arg(long, value_name = "NAME|FILE")]
    pub denoiser: Option<String>,
    /// Where the denoiser runs: `auto`, `cpu`, `cuda:N` or `metal`
    #[arg(long, default_value = "auto")]
    pub device: Device,
}

impl DenoiserOptions {
    /// Loads the denoiser onto its own thread.
    pub(super) fn open(&self, defaults: &Defaults) -> Result<DenoiserHandle, Failure> {
        let name = self.denoiser.as_deref().or(defaults.denoiser.as_deref()).unwrap_or("auto");
        spawn(name, self.device)
    }
}

/// The denoiser behind a certificate that calls it `name`: the one that the user named, or else the built-in one.
pub(super) fn denoiser_of(
    name: &str,
    named: Option<&str>,
    device: Device,
) -> Result<DenoiserHandle, Failure> {
    match (named, name) {
        (Some(named), _) => spawn(named, device),
        // A name from a document must not make this program open a file of that name.
        (None, "unet" | "none") => spawn(name, device),
        (None, name) => Err(Failure::usage(anyhow::anyhow!(
            "the copies were cleaned by `{name}`, which is not built in: give its file by --denoiser"
        ))),
    }
}

fn spawn(name: &str, device: Device) -> Result<DenoiserHandle, Failure> {
    let denoiser = open(name, &Options::on(device)).map_err(Failure::usage)?;
    DenoiserHandle::spawn(denoiser).map_err(Failure::internal)
}

/// Size of the working image.
#[derive(Debug, Args)]
pub(super) struct SizeOptions {
    /// Working size in pixels: `N` (N by N), `WxH` or `native` (as the file is); default: what the provider works on
    #[arg(long, value_name = "N|WxH|native")]
    pub size: Option<WorkingSize>,
    /// How a picture of another shape is fitted: `crop` keeps proportions and cuts the longer side, `stretch` does not
    #[arg(long, value_enum, default_value = "crop")]
    pub fit: FitName,
}

impl SizeOptions {
    /// How a file becomes a working image; `native` is the size where none was asked for.
    pub(super) fn picture(&self, native: WorkingSize) -> PictureOptions {
        PictureOptions {
            size: self.size.unwrap_or(native),
            fit: match self.fit {
                FitName::Crop => Fit::Crop,
                FitName::Stretch => Fit::Stretch,
            },
            ..PictureOptions::default()
        }
    }
}

/// [`Fit`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum FitName {
    Crop,
    Stretch,
}
