//! `report --pictures`: finds the pictures of certificates among files, and makes their copies again.

use std::collections::HashMap;
use std::path::Path;

use smoothgate_denoisers::{DenoiserHandle, Device, Options};
use tokio::runtime::Runtime;

use super::inputs::{self, Input};
use super::options::{denoiser_of, spawn};
use super::{Failure, runtime};
use crate::certificate::{Certificate, Hashed};
use crate::picture::{Limits, WorkingImage};
use crate::report::{FIGURES, Picture, Series, picture_of, thumbnails};

/// Files that are looked into for a picture, those first whose name is in the certificate's.
const LOOKED_INTO: usize = 200;

/// What is needed to make copies.
pub(super) struct Thumbnailer<'a> {
    files: Vec<Input>,
    /// The denoiser that was named for all.
    named: Option<&'a str>,
    device: Device,
    none: DenoiserHandle,
    /// By their hashes.
    denoisers: HashMap<String, DenoiserHandle>,
    runtime: Runtime,
}

impl<'a> Thumbnailer<'a> {
    /// Finds the files. Decodes nothing yet.
    pub(super) fn open(
        pictures: &[String],
        denoiser: Option<&'a str>,
        device: Device,
    ) -> Result<Self, Failure> {
        let files = inputs::resolve(pictures).map_err(Failure::usage)?;
        let none = spawn("none", &Options::on(device))?;
        Ok(Self { files, named: denoiser, device, none, denoisers: HashMap::new(), runtime: runtime()? })
    }

    /// Adds thumbnails to the pictures whose votes are drawn, where their files are found.
    pub(super) fn show(mut self, series: &mut [Series]) -> Result<(), Failure> {
        let mut missing = 0u64;
        for one in &mut *series {
            let with_certificate = |picture: &Picture| picture.certificate.is_some();
            let wanted = one.pictures().iter().enumerate().filter(|(_, picture)| with_certificate(picture));
            let wanted: Vec<(usize, Picture)> =
                wanted.take(FIGURES).map(|(at, picture)| (at, picture.clone())).collect();
            for (at, picture) in wanted {
                let Some(certificate) = picture.certificate.as_deref() else { continue };
                let Some(image) = self.find(&picture.name, certificate) else {
                    missing += 1;
                    continue;
                };
                let denoiser = self.denoiser(&certificate.denoiser)?;
                let made = self.runtime.block_on(thumbnails(certificate, image, &self.none, &denoiser));
                match made {
                    Ok(made) => one.show(at, made),
                    Err(error) => tell!("{}: no copies are shown: {error}", picture.name),
                }
            }
        }
        if missing > 0 {
            tell!(
                "the pictures of {missing} certificates are not among --pictures: no copies of them are shown"
            );
        }
        Ok(())
    }

    /// The picture with the certificate's hash.
    fn find(&self, name: &str, certificate: &Certificate) -> Option<WorkingImage> {
        let limits = Limits::default();
        let is_named = |input: &&Input| {
            let file = match input {
                Input::File(path) => {
                    Path::new(path).file_name().map(|file| file.to_string_lossy().into_owned())
                }
                Input::Stdin => None,
            };
            file.is_some_and(|file| name.contains(&file))
        };
        let (first, rest): (Vec<&Input>, Vec<&Input>) = self.files.iter().partition(is_named);
        let mut files = first.into_iter().chain(rest).take(LOOKED_INTO);
        files.find_map(|file| picture_of(certificate, &file.read(&limits).ok()?))
    }

    fn denoiser(&mut self, stated: &Hashed) -> Result<DenoiserHandle, Failure> {
        if let Some(known) = self.denoisers.get(&stated.blake3) {
            return Ok(known.clone());
        }
        let handle = denoiser_of(stated, self.named, self.device)?;
        self.denoisers.insert(stated.blake3.clone(), handle.clone());
        Ok(handle)
    }
}
