//! Options that several commands share.

use clap::{Args, ValueEnum};
use smoothgate_denoisers::{DenoiserHandle, Device, Options, Precision, builtin_denoiser, open};

use super::Failure;
use crate::certificate::Hashed;
use crate::config::Defaults;
use crate::picture::{Fit, PictureOptions, WorkingSize};

/// Which denoiser, and where it runs.
#[derive(Debug, Args)]
pub(super) struct DenoiserOptions {
    /// `auto` (the built-in `photo`), `none` (the baseline without denoising), a built-in name, or a safetensors or PyTorch file
    /// [default: auto]
    #[arg(long, value_name = "NAME|FILE")]
    pub denoiser: Option<String>,
    /// Where the denoiser runs: `auto`, `cpu`, `cuda:N` or `metal`
    #[arg(long, default_value = "auto")]
    pub device: Device,
    /// With how many bits the denoiser computes: `f32`, or `bf16`, which is faster on processors with AMX and slower on
    /// others. Part of what the denoiser is: certificates name it [default: f32]
    #[arg(long, value_name = "f32|bf16")]
    pub precision: Option<Precision>,
}

impl DenoiserOptions {
    /// The denoiser's name or file, and how it is to be run.
    pub(super) fn choice(&self, defaults: &Defaults) -> (String, Options) {
        let name = self.denoiser.as_deref().or(defaults.denoiser.as_deref()).unwrap_or("auto");
        let mut options = Options::on(self.device);
        options.precision = self.precision.or(defaults.precision).unwrap_or_default();
        (name.to_owned(), options)
    }

    /// Loads the denoiser onto its own thread.
    pub(super) fn open(&self, defaults: &Defaults) -> Result<DenoiserHandle, Failure> {
        let (name, options) = self.choice(defaults);
        spawn(&name, &options)
    }
}

/// The denoiser behind a certificate: the one that the user named, or else the built-in one with this hash, with as many bits as
/// it then computed with.
pub(super) fn denoiser_of(
    stated: &Hashed,
    named: Option<&str>,
    device: Device,
) -> Result<DenoiserHandle, Failure> {
    let mut options = Options::on(device);
    options.precision = Precision::of_name(&stated.name);
    // A name from a document must not make this program open a file of that name.
    match named.or_else(|| builtin_denoiser(&stated.blake3, options.precision)) {
        Some(name) => spawn(name, &options),
        None => Err(Failure::usage(anyhow::anyhow!(
            "the copies were cleaned by `{}` with hash {}, which is not built in: give its file by --denoiser",
            stated.name,
            stated.blake3
        ))),
    }
}

/// Loads a denoiser onto its own thread.
pub(super) fn spawn(name: &str, options: &Options) -> Result<DenoiserHandle, Failure> {
    let denoiser = open(name, options).map_err(Failure::usage)?;
    DenoiserHandle::spawn(denoiser).map_err(Failure::internal)
}

/// Size of the working image.
#[derive(Debug, Args)]
pub(super) struct SizeOptions {
    /// Working size in pixels: `N` (N by N), `WxH` or `native` (as the file is) [default: what a local classifier works on, else
    /// native]
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
