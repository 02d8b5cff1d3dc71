//! `smoothgate denoise`: how good the denoiser is, as a table and to look at.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args as ClapArgs;
use serde::Serialize;
use smoothgate_denoisers::{Batch, DenoiserHandle};

use super::inputs::{self, Input};
use super::judge::{Judge, Judgement};
use super::options::{DenoiserOptions, SizeOptions};
use super::output::{json_line, printable};
use super::progress::Progress;
use super::{Ended, Exit, Failure, at_least_one, in_words};
use crate::dataset::{Class, Dataset, Sample, Selection};
use crate::noise::{NoiseLaw, Seed, draw};
use crate::picture::{Encoder, PictureOptions, WorkingImage, WorkingSize, noisy_planes, planes, psnr, ssim};
use crate::units::{Sigma, UnitError};

/// Options of `denoise`.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Pictures, folders, archives (.tar, .tar.gz), cifar10:FOLDER, quoted patterns, or `-` for standard input
    #[arg(required = true, value_name = "PATH")]
    pictures: Vec<String>,
    #[command(flatten)]
    denoiser: DenoiserOptions,
    /// Standard deviations of the noise, in units of [0, 1] pixel values; `25/255` is understood
    #[arg(long, value_name = "SIGMA,..", default_value = "0.25", value_delimiter = ',', value_parser = level)]
    sigma: Vec<Sigma>,
    /// Seed of the noise: a number or 64 hexadecimal digits
    #[arg(long, value_name = "HEX|N", default_value = "0")]
    seed: Seed,
    /// A classifier, a built-in name or a file, which is shown clean, noisy and denoised copies: of how many does it still say what it
    /// says of the clean picture? Pictures are brought to its size, unless --size says another
    #[arg(long, value_name = "NAME|FILE")]
    classifier: Option<String>,
    #[command(flatten)]
    size: SizeOptions,
    /// Take every so manieth picture, from the first
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    skip: usize,
    /// Take no more than so many
    #[arg(long, value_name = "N")]
    max: Option<usize>,
    /// Folder for pictures: working image, noisy copy, denoised copy, side by side
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print a line for each picture as well
    #[arg(long)]
    each: bool,
    /// Print JSON: an object for each picture and noise level, then one for each noise level
    #[arg(long)]
    json: bool,
    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

/// A noise level: a number, or a fraction such as `25/255`.
fn level(text: &str) -> Result<Sigma, UnitError> {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    match text.split_once('/').and_then(|(above, below)| Some((number(above)?, number(below)?))) {
        Some((above, below)) => Sigma::new(above / below),
        None => text.parse(),
    }
}

/// One picture at one noise level.
#[derive(Serialize)]
struct Line<'a> {
    image: &'a str,
    denoiser: &'a str,
    sigma: f64,
    #[serde(flatten)]
    quality: Quality,
    #[serde(flatten)]
    judgement: Option<Judgement<bool>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<String>,
}

/// All pictures at one noise level: means over them.
#[derive(Serialize)]
struct Mean<'a> {
    pictures: usize,
    denoiser: &'a str,
    sigma: f64,
    #[serde(flatten)]
    quality: Quality,
    #[serde(flatten)]
    judgement: Option<Judgement<f64>>,
}

/// Of the noisy copy as it is, and of the denoised one cut to [0, 1].
#[derive(Clone, Copy, Default, Serialize)]
struct Quality {
    psnr_noisy: f64,
    psnr_denoised: f64,
    /// Absent where a picture is smaller than the window of 11 by 11 pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    ssim_noisy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssim_denoised: Option<f64>,
}

impl Quality {
    /// The mean; without a similarity if one of them has none.
    fn mean(all: &[Self]) -> Self {
        let count = all.len() as f64;
        let mean = |of: fn(&Self) -> f64| all.iter().map(of).sum::<f64>() / count;
        let maybe =
            |of: fn(&Self) -> Option<f64>| all.iter().map(of).sum::<Option<f64>>().map(|sum| sum / count);
        Self {
            psnr_noisy: mean(|q| q.psnr_noisy),
            psnr_denoised: mean(|q| q.psnr_denoised),
            ssim_noisy: maybe(|q| q.ssim_noisy),
            ssim_denoised: maybe(|q| q.ssim_denoised),
        }
    }
}

/// Where a picture comes from.
enum Place {
    Input(Input),
    Sample(Sample),
}

impl Place {
    fn name(&self) -> String {
        match self {
            Self::Input(input) => input.name(),
            Self::Sample(sample) => sample.name.clone(),
        }
    }

    /// The class that the data state.
    fn class(&self) -> Option<&Class> {
        match self {
            Self::Input(_) => None,
            Self::Sample(sample) => Some(&sample.truth),
        }
    }

    fn decode(&self, options: &PictureOptions) -> anyhow::Result<WorkingImage> {
        let bytes = match self {
            Self::Input(input) => input.read(&options.limits)?,
            Self::Sample(sample) => sample.read(options.limits.max_bytes)?,
        };
        Ok(WorkingImage::decode(&bytes, options)?)
    }
}

/// What was typed: archives and data sets by their members, everything else as pictures and folders.
fn places(arguments: &[String], skip: usize, max: Option<usize>) -> Result<Vec<Place>, Failure> {
    let mut places = Vec::new();
    if arguments.iter().filter(|argument| *argument == "-").count() > 1 {
        return Err(Failure::usage(anyhow!("`-` (standard input) holds one picture and was given twice")));
    }
    for argument in arguments {
        let lower = argument.to_ascii_lowercase();
        let set = lower.starts_with("cifar10:")
            || [".tar", ".tar.gz", ".tgz"].iter().any(|end| lower.ends_with(end));
        if set {
            let set = Dataset::open(argument, &std::collections::BTreeMap::new()).map_err(Failure::usage)?;
            let all = set.select(&Selection { skip: 1, sample: None, seed: 0, max: None });
            places.extend(all.into_iter().map(Place::Sample));
        } else {
            let found = inputs::resolve(std::slice::from_ref(argument)).map_err(Failure::usage)?;
            places.extend(found.into_iter().map(Place::Input));
        }
    }
    Ok(places.into_iter().step_by(skip.max(1)).take(max.unwrap_or(usize::MAX)).collect())
}

pub(super) fn run(args: &Args, config: &super::provider::ConfigOption) -> Ended {
    let places = places(&args.pictures, args.skip, args.max)?;
    let denoiser = args.denoiser.open(&config.load()?.defaults)?;
    if let Some(out) = &args.out {
        let made = std::fs::create_dir_all(out);
        made.with_context(|| format!("cannot make the folder `{}`", out.display()))
            .map_err(Failure::internal)?;
    }
    let judge = args.classifier.as_deref().map(|name| Judge::open(name, args.denoiser.device)).transpose()?;
    let options = args.size.picture(judge.as_ref().map_or(WorkingSize::Native, Judge::size));
    let progress = Progress::new(places.len(), args.quiet);
    let mut exit = Exit::Success;
    let mut found: Vec<Vec<(Quality, Option<Judgement<bool>>)>> = vec![Vec::new(); args.sigma.len()];
    for (index, place) in places.iter().enumerate() {
        let name = place.name();
        let image = match place.decode(&options) {
            Ok(image) => image,
            Err(error) => {
                progress.done(|| tell!("error: {name}: {}", in_words(&error)));
                exit = exit.max(Exit::Usage);
                continue;
            }
        };
        let judge = match &judge {
            Some(judge) => {
                let size = (image.height(), image.width());
                Some((judge, judge.expect(&planes(&image), size, place.class())?))
            }
            None => None,
        };
        let mut lines = Vec::new();
        for (level, (sigma, found)) in args.sigma.iter().zip(&mut found).enumerate() {
            let copies = Copies::make(&image, *sigma, &args.seed, index as u64, &denoiser)?;
            let quality = copies.quality()?;
            let judgement = match &judge {
                Some((judge, expected)) => Some(judge.judge(
                    *expected,
                    [&copies.noisy, &copies.denoised],
                    (copies.height, copies.width),
                )?),
                None => None,
            };
            found.push((quality, judgement));
            let written = match &args.out {
                Some(out) => Some(copies.write(out, index, level, args.sigma.len())?),
                None => None,
            };
            lines.push(Line {
                image: &name,
                denoiser: denoiser.id().label(),
                sigma: sigma.get(),
                quality,
                judgement,
                written,
            });
        }
        let shown = progress.done(|| {
            if args.each || args.json || args.out.is_some() { each(&lines, args.json) } else { Ok(()) }
        });
        shown.context("cannot write the results").map_err(Failure::internal)?;
    }
    progress.finish();
    let means = args.sigma.iter().zip(&found).filter(|(_, found)| !found.is_empty());
    let means: Vec<Mean<'_>> = means
        .map(|(sigma, found)| {
            let (qualities, judgements): (Vec<Quality>, Vec<Option<Judgement<bool>>>) =
                found.iter().copied().unzip();
            let judgements: Option<Vec<Judgement<bool>>> = judgements.into_iter().collect();
            Mean {
                pictures: found.len(),
                denoiser: denoiser.id().label(),
                sigma: sigma.get(),
                quality: Quality::mean(&qualities),
                judgement: judgements.map(|all| Judgement::shares(&all)),
            }
        })
        .collect();
    table(&means, args.json).context("cannot write the results").map_err(Failure::internal)?;
    Ok(exit)
}

/// A working image, its noisy copy and what the denoiser makes of it.
struct Copies {
    clean: Vec<f32>,
    noisy: Vec<f32>,
    denoised: Vec<f32>,
    height: u32,
    width: u32,
}

impl Copies {
    fn make(
        image: &WorkingImage,
        sigma: Sigma,
        seed: &Seed,
        number: u64,
        denoiser: &DenoiserHandle,
    ) -> Result<Self, Failure> {
        let law = NoiseLaw::new(sigma.get(), image.grid()).map_err(Failure::usage)?;
        let mut noise = vec![0; image.values()];
        draw(&law, seed, number, &mut noise);
        let mut noisy = vec![0.0; image.values()];
        noisy_planes(image, &noise, &mut noisy).map_err(Failure::internal)?;
        let (height, width) = (image.height(), image.width());
        let batch =
            Batch::new(noisy.clone(), 1, height as usize, width as usize).map_err(Failure::internal)?;
        let denoised = denoiser.denoise_blocking(batch, sigma.get()).map_err(Failure::internal)?;
        Ok(Self { clean: planes(image), noisy, denoised: denoised.into_data(), height, width })
    }

    fn quality(&self) -> Result<Quality, Failure> {
        let denoised: Vec<f32> = self.denoised.iter().map(|v| v.clamp(0.0, 1.0)).collect();
        let similarity = |copy| ssim(&self.clean, copy, self.height, self.width).ok();
        Ok(Quality {
            psnr_noisy: psnr(&self.clean, &self.noisy).map_err(Failure::internal)?,
            psnr_denoised: psnr(&self.clean, &denoised).map_err(Failure::internal)?,
            ssim_noisy: similarity(&self.noisy),
            ssim_denoised: similarity(&denoised),
        })
    }

    /// Writes them side by side; gives the file.
    fn write(&self, out: &Path, index: usize, level: usize, levels: usize) -> Result<String, Failure> {
        let sides = [self.clean.as_slice(), &self.noisy, &self.denoised];
        let sheet = beside(&sides, self.height as usize, self.width as usize);
        let encoded = Encoder::Png.encode(&sheet, self.width * 3, self.height).map_err(Failure::internal)?;
        let name = if levels > 1 { format!("{index:04}-{level}.png") } else { format!("{index:04}.png") };
        let path = out.join(name);
        std::fs::write(&path, &encoded)
            .with_context(|| format!("cannot write `{}`", path.display()))
            .map_err(Failure::internal)?;
        Ok(path.display().to_string())
    }
}

fn each(lines: &[Line<'_>], json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        if json {
            json_line(&mut out, line)?;
            continue;
        }
        let Quality { psnr_noisy, psnr_denoised, .. } = line.quality;
        write!(out, "{}  sigma {:.4}  PSNR noisy {psnr_noisy:.2} dB, ", printable(line.image), line.sigma)?;
        writeln!(
            out,
            "{} {psnr_denoised:.2} dB  {}",
            line.denoiser,
            line.written.as_deref().unwrap_or_default()
        )?;
    }
    Ok(())
}

fn table(means: &[Mean<'_>], json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        return means.iter().try_for_each(|mean| json_line(&mut out, mean));
    }
    let Some(first) = means.first() else { return Ok(()) };
    let width = first.denoiser.len().max(5);
    write!(
        out,
        "sigma   of 255  pictures  PSNR noisy  {:>width$}     SSIM noisy  {:>width$}",
        first.denoiser, first.denoiser
    )?;
    let same = first.judgement.is_some();
    let heading =
        if same { format!("  same answer noisy  {:>width$}", first.denoiser) } else { String::new() };
    writeln!(out, "{heading}")?;
    for Mean { pictures, sigma, quality, judgement, .. } in means {
        let similarity = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"));
        write!(
            out,
            "{sigma:<6.4}  {:>6.1}  {pictures:>8}  {:>7.2} dB  {:>width$.2} dB  {:>10}  {:>width$}",
            sigma * 255.0,
            quality.psnr_noisy,
            quality.psnr_denoised,
            similarity(quality.ssim_noisy),
            similarity(quality.ssim_denoised),
        )?;
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let judged = judgement.map(|Judgement { same_noisy, same_denoised, .. }| {
            format!("  {:>17}  {:>width$}", percent(same_noisy), percent(same_denoised))
        });
        writeln!(out, "{}", judged.unwrap_or_default())?;
    }
    Ok(())
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

    #[test]
    fn noise_levels_may_be_levels_of_255() {
        assert_eq!(level("25/255").unwrap(), Sigma::new(25.0 / 255.0).unwrap());
        assert_eq!(level("0.5").unwrap(), Sigma::new(0.5).unwrap());
        for bad in ["25", "1/0", "a/255", "0/255", ""] {
            assert!(level(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mean_has_a_similarity_only_if_all_have_one() {
        let of =
            |psnr_denoised, ssim_denoised| Quality { psnr_denoised, ssim_denoised, ..Quality::default() };
        let mean = Quality::mean(&[of(20.0, Some(0.5)), of(30.0, Some(0.75))]);
        assert_eq!((mean.psnr_denoised, mean.ssim_denoised), (25.0, Some(0.625)));
        assert_eq!(Quality::mean(&[of(20.0, Some(0.5)), of(30.0, None)]).ssim_denoised, None);
    }
}
