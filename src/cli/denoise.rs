//! `smoothgate denoise`: what the denoiser does, to look at.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args as ClapArgs;
use serde::Serialize;
use smoothgate_denoisers::Batch;

use super::inputs;
use super::options::{DenoiserOptions, SizeOptions};
use super::{Ended, Exit, Failure};
use crate::noise::{NoiseLaw, Seed, draw};
use crate::picture::{Encoder, WorkingImage, WorkingSize, noisy_planes, planes, psnr};
use crate::units::Sigma;

/// Options of `denoise`.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Pictures, folders, quoted patterns, or `-` for standard input
    #[arg(required = true, value_name = "PATH")]
    pictures: Vec<String>,
    #[command(flatten)]
    denoiser: DenoiserOptions,
    /// Standard deviation of the noise, in units of [0, 1] pixel values
    #[arg(long, default_value = "0.25")]
    sigma: Sigma,
    /// Seed of the noise: a number or 64 hexadecimal digits
    #[arg(long, value_name = "HEX|N", default_value = "0")]
    seed: Seed,
    #[command(flatten)]
    size: SizeOptions,
    /// Folder for the pictures (working image, noisy copy, denoised copy, side by side)
    #[arg(long, value_name = "DIR", default_value = "smoothgate-out")]
    out: PathBuf,
    /// Print one JSON object a picture
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    image: &'a str,
    denoiser: &'a str,
    sigma: f64,
    psnr_noisy: f64,
    psnr_denoised: f64,
    written: String,
}

pub(super) fn run(args: &Args, config: &super::provider::ConfigOption) -> Ended {
    let inputs = inputs::resolve(&args.pictures).map_err(Failure::usage)?;
    let denoiser = args.denoiser.open(&config.load()?.defaults)?;
    let made = std::fs::create_dir_all(&args.out);
    made.with_context(|| format!("cannot make the folder `{}`", args.out.display()))
        .map_err(Failure::internal)?;
    let options = args.size.picture(WorkingSize::Native);
    let mut exit = Exit::Success;
    for (index, input) in inputs.iter().enumerate() {
        let name = input.name();
        let opened =
            input.read(&options.limits).and_then(|bytes| Ok(WorkingImage::decode(&bytes, &options)?));
        let image = match opened {
            Ok(image) => image,
            Err(error) => {
                eprintln!("error: {name}: {error:#}");
                exit = exit.max(Exit::Usage);
                continue;
            }
        };
        let law = NoiseLaw::new(args.sigma.get(), image.grid()).map_err(Failure::usage)?;
        let mut noise = vec![0; image.values()];
        draw(&law, &args.seed, 0, &mut noise);
        let mut noisy = vec![0.0; image.values()];
        noisy_planes(&image, &noise, &mut noisy).map_err(Failure::internal)?;
        let (height, width) = (image.height(), image.width());
        let batch =
            Batch::new(noisy.clone(), 1, height as usize, width as usize).map_err(Failure::internal)?;
        let denoised = denoiser.denoise_blocking(batch, args.sigma.get()).map_err(Failure::internal)?;
        let clean = planes(&image);
        let sides = [clean.as_slice(), noisy.as_slice(), denoised.data()];
        let sheet = beside(&sides, height as usize, width as usize);
        let encoded = Encoder::Png.encode(&sheet, width * 3, height).map_err(Failure::internal)?;
        let path = args.out.join(format!("{index:04}.png"));
        std::fs::write(&path, &encoded)
            .with_context(|| format!("cannot write `{}`", path.display()))
            .map_err(Failure::internal)?;
        let line = Line {
            image: &name,
            denoiser: denoiser.id().name(),
            sigma: args.sigma.get(),
            psnr_noisy: psnr(&clean, &noisy).map_err(Failure::internal)?,
            psnr_denoised: psnr(&clean, denoised.data()).map_err(Failure::internal)?,
            written: path.display().to_string(),
        };
        print(&line, args.json).context("cannot write the results").map_err(Failure::internal)?;
    }
    Ok(exit)
}

fn print(line: &Line<'_>, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, line)?;
        writeln!(out)
    } else {
        writeln!(
            out,
            "{}  PSNR noisy {:.2} dB, {} {:.2} dB  {}",
            line.image, line.psnr_noisy, line.denoiser, line.psnr_denoised, line.written
        )
    }
}

/// Planar pictures of one size, side by side.
fn beside(pictures: &[&[f32]], height: usize, width: usize) -> Vec<f32> {
    let mut sheet = Vec::with_capacity(pictures.len() * 3 * height * width);
    for row in 0..3 * height {
        for picture in pictures {
            sheet.extend_from_slice(&picture[row * width..][..width]);
        }
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn side_by_side_keeps_rows_and_planes() {
        let one: Vec<f32> = (0..12).map(|v| v as f32).collect();
        let two: Vec<f32> = one.iter().map(|v| v + 100.0).collect();
        let sheet = beside(&[&one, &two], 2, 2);
        assert_eq!(sheet[..8], [0.0, 1.0, 100.0, 101.0, 2.0, 3.0, 102.0, 103.0]);
        assert_eq!(sheet.len(), 24);
    }
}
