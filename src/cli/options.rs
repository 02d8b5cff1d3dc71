//! Options that several commands share.

use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueEnum};
use smoothgate_denoisers::{DenoiserHandle, Device, Options, open};
use smoothgate_providers::Endpoint;

use super::Failure;
use crate::picture::{Fit, PictureOptions, WorkingSize};
use crate::stats::Method;

/// Which denoiser, and where it runs.
#[derive(Debug, Args)]
pub(super) struct DenoiserOptions {
    /// `auto` (the built-in U-Net), `none` (the baseline without denoising), a built-in name or a safetensors file
    #[arg(long, value_name = "NAME|FILE", default_value = "auto")]
    pub denoiser: String,
    /// Where the denoiser runs: `auto`, `cpu`, `cuda:N` or `metal`
    #[arg(long, default_value = "auto")]
    pub device: Device,
}

impl DenoiserOptions {
    /// Loads the denoiser onto its own thread.
    pub(super) fn open(&self) -> Result<DenoiserHandle, Failure> {
        let denoiser = open(&self.denoiser, &Options::on(self.device)).map_err(Failure::usage)?;
        DenoiserHandle::spawn(denoiser).map_err(Failure::internal)
    }
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

/// The tests that this command line knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TestName {
    Cohen,
    Fixed,
}

impl TestName {
    /// Does it spend votes on choosing the label?
    pub(super) fn selects(self) -> bool {
        self == Self::Cohen
    }

    /// The test with these numbers of selection and estimation votes.
    pub(super) fn method(self, n0: usize, n: usize) -> Method {
        match self {
            Self::Cohen => Method::Cohen { n0, n },
            Self::Fixed => Method::Fixed { n, rival_share: None },
        }
    }
}

/// The providers that this command line knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ProviderName {
    /// The built-in classifier of 64 everyday classes: no key, no network
    Local,
}

impl ProviderName {
    /// Opens the endpoint.
    pub(super) fn open(self, device: Device) -> Result<Arc<dyn Endpoint>, Failure> {
        match self {
            Self::Local => {
                let endpoint = crate::local::open(device).context("the built-in classifier cannot be loaded");
                Ok(Arc::new(endpoint.map_err(Failure::usage)?))
            }
        }
    }
}
