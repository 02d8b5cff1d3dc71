//! What can be said about a training run on the command line, and the settings that it comes to.

use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{anyhow, bail};
use clap::{ArgGroup, Args, ValueEnum};
use smoothgate_denoisers::training::{
    Augment, Learner, Objective, OptimizerKind, Pictures, Schedule, Settings, SigmaLaw, SigmaMix, SigmaRange,
    Source, Split,
};

use super::Failure;

#[derive(Debug, Args)]
pub(super) struct DenoiserArgs {
    /// `mse`: squared error to the clean picture; `stability`: cross-entropy of the classifier's answer to the denoised picture and
    /// its answer to the clean one (Salman et al. 2020); `hybrid`: first one, then the other
    #[arg(long, value_enum, default_value = "mse")]
    pub(super) objective: ObjectiveName,
    /// Steps of `hybrid` that are `mse`; default: half
    #[arg(long, value_name = "N")]
    pub(super) mse_steps: Option<u64>,
    /// The classifier itself, a name or safetensors file, for `stability` with a classifier that you have
    #[arg(long, value_name = "NAME|FILE", conflicts_with = "surrogate")]
    pub(super) classifier: Option<String>,
    /// Classifiers that stand for one that you do not have; they take turns
    #[arg(long, value_name = "NAME|FILE", value_delimiter = ',')]
    pub(super) surrogate: Vec<String>,
    /// A classifier that nothing is learnt through, whose answers choose the best checkpoint: without one it is that which the first of
    /// the classifiers likes best
    #[arg(long, value_name = "NAME|FILE")]
    pub(super) judge: Option<String>,
    /// What somebody else, such as an API, says of the pictures, as `smoothgate label --format jsonl` prints it: its first labels
    /// take the place of the classifiers' own answers. Pictures without one are left out
    #[arg(long, value_name = "FILE")]
    pub(super) labels: Option<PathBuf>,
    /// Noise levels: one, a range, or several of these, each as likely as the others, such as 0.25, 0.02..1.0 or 0.1..1.0,0.25,0.5
    #[arg(long, default_value = "0.25")]
    pub(super) sigma: SigmaMix,
    /// Add so many times the squared error to the cross-entropy of `stability`, which keeps the denoiser to pictures instead of
    /// patterns that only its classifiers see: much for black boxes, such as 200
    #[arg(long, value_name = "WEIGHT", default_value = "0")]
    pub(super) mse_weight: f64,
    /// Standard deviation of noise that is added to a denoised picture before a classifier of `stability` sees it, to the same end;
    /// for classifiers that learnt with such noise
    #[arg(long, value_name = "SIGMA", default_value = "0")]
    pub(super) surrogate_noise: f64,
    /// Divide the logits of the classifiers of `stability` by this, such as 5: one that learnt without noise is too sure of itself on
    /// denoised pictures
    #[arg(long, value_name = "T", default_value = "1")]
    pub(super) temperature: f64,
    /// Largest norm of the gradient that each picture's cross-entropy of `stability` has for the denoised picture, such as 1: through a
    /// deep classifier pictures differ in it by orders of magnitude, and without a limit the longest are the step
    #[arg(long, value_name = "NORM")]
    pub(super) picture_clip: Option<f64>,
    /// Before each step of `stability`, move each noisy picture by so many times its sigma (L2), such as 1, the way its classifier
    /// dislikes most: fewer of its answers change within that radius, and other classifiers read less. A step takes twice the time
    #[arg(long, value_name = "SIGMAS", default_value = "0")]
    pub(super) adversary: f64,
    /// Divide each picture's error by its noise level, so that all levels count about alike in decibels
    #[arg(long)]
    pub(super) divide_by_sigma: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct ClassifierArgs {
    /// Noise levels: one, a range, or several of these, such as 0.25, 0..0.5 or 0,0.25; 0 trains on clean pictures
    #[arg(long, default_value = "0")]
    pub(super) sigma: SigmaMix,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("length").required(true))]
pub(super) struct Common {
    /// Pictures: a folder (with its folders), a .tar or .tar.gz, or cifar10:FOLDER. A picture's folder is its class
    #[arg(long, value_name = "DIR|TAR|cifar10:DIR")]
    pub(super) data: Source,
    /// Pictures for validation; default: some of --data are kept apart (of cifar10, the test batch is used)
    #[arg(long, value_name = "DIR|TAR|cifar10:DIR")]
    pub(super) val: Option<Source>,
    /// How many pictures validation uses
    #[arg(long, value_name = "N")]
    pub(super) val_count: Option<usize>,
    /// Noise levels of the validation; default: --sigma, or its ends and what lies between
    #[arg(long, value_name = "SIGMA,..", value_delimiter = ',')]
    pub(super) val_sigma: Vec<f64>,
    /// Weights to begin with: a built-in name or a safetensors file. With --arch as well, a new network takes over the tensors that both
    /// have, by name and shape
    #[arg(long, value_name = "NAME|FILE")]
    pub(super) init: Option<String>,
    /// An architecture to begin with random weights, such as `unet`, `dncnn:depth=17;width=64`, `cifar-resnet:depth=20`
    #[arg(long, value_name = "NAME[:KEY=VALUE;..]")]
    pub(super) arch: Option<Architecture>,
    /// Learn with standardised weights, which do what batch normalisation does; what is saved has plain ones [default: true for a
    /// classifier that begins with random weights]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(super) standardize: Option<bool>,
    /// Folder of the run: checkpoints (state, last, best) and log.jsonl
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Go on with the run in --out, exactly as if it had not been interrupted (same options; begins it if there is none)
    #[arg(long)]
    pub(super) resume: bool,
    /// Length of the run
    #[arg(long, value_name = "N", group = "length")]
    pub(super) steps: Option<u64>,
    /// Length of the run in passes through the pictures
    #[arg(long, value_name = "N", group = "length")]
    pub(super) epochs: Option<f64>,
    /// Pictures a step
    #[arg(long, default_value = "16")]
    pub(super) batch: usize,
    /// Rows and columns of what is cut out of each picture; default: the classifier's size, or 64
    #[arg(long, value_name = "N")]
    pub(super) patch: Option<usize>,
    /// How the noise level of each picture is drawn from its range
    #[arg(long, value_enum, default_value = "uniform")]
    pub(super) sigma_law: LawName,
    /// Learning rate
    #[arg(long, default_value = "0.0005")]
    pub(super) lr: f64,
    /// What moves the weights
    #[arg(long, value_enum, default_value = "adam")]
    pub(super) optimizer: OptimizerName,
    /// Momentum of `sgd` [default: 0.9]
    #[arg(long)]
    pub(super) momentum: Option<f64>,
    /// Weight decay of `sgd` [default: 0.0001]
    #[arg(long)]
    pub(super) weight_decay: Option<f64>,
    /// Of the learning rate: `constant`, `cosine`, or `step:EVERY:FACTOR`
    #[arg(long, default_value = "cosine", value_parser = schedule)]
    pub(super) schedule: Schedule,
    /// Steps in which the learning rate rises from 0
    #[arg(long, value_name = "N", default_value = "0")]
    pub(super) warmup: u64,
    /// Decay of the running average of the weights that is saved; 0 for none
    #[arg(long, value_name = "DECAY", default_value = "0.999")]
    pub(super) ema: f64,
    /// Largest norm of all gradients together
    #[arg(long, value_name = "NORM")]
    pub(super) clip: Option<f64>,
    /// What may be done to the pictures: nothing, left-right flips, or turns by right angles as well
    #[arg(long, value_enum)]
    pub(super) augment: Option<AugmentName>,
    /// How many pixels over the border a cut may reach; default: an eighth of the patch where there are classes
    #[arg(long, value_name = "PIXELS")]
    pub(super) shift: Option<usize>,
    /// Seed of everything random
    #[arg(long, default_value = "0")]
    pub(super) seed: u64,
    /// Threads; default: one for each core
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<usize>,
    /// Steps from line to line in the log
    #[arg(long, value_name = "N", default_value = "50")]
    pub(super) log_every: u64,
    /// Steps from checkpoint to checkpoint
    #[arg(long, value_name = "N", default_value = "500")]
    pub(super) save_every: u64,
    /// Steps from validation to validation
    #[arg(long, value_name = "N", default_value = "1000")]
    pub(super) val_every: u64,
    /// Show no progress
    #[arg(long)]
    pub(super) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ObjectiveName {
    Mse,
    Stability,
    Hybrid,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LawName {
    Uniform,
    Sqrt,
    Log,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum OptimizerName {
    Adam,
    Sgd,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum AugmentName {
    None,
    Flip,
    Turn,
}

/// The metadata of a file of it.
#[derive(Clone, Debug)]
pub(super) struct Architecture(pub(super) HashMap<String, String>);

impl FromStr for Architecture {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        let mut metadata = HashMap::from([("arch".to_owned(), name.to_owned())]);
        for option in options.split(';').filter(|option| !option.is_empty()) {
            let Some((key, value)) = option.split_once('=') else {
                bail!("`{option}` is no KEY=VALUE: write for example `unet:channels=48,96,128;blocks=2,2,4`");
            };
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            if metadata.contains_key(&key) {
                bail!("`{key}` is given twice in `{text}`: the architecture's name comes first, without it");
            }
            metadata.insert(key, value);
        }
        Ok(Self(metadata))
    }
}

fn schedule(text: &str) -> anyhow::Result<Schedule> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        ["constant"] => Ok(Schedule::Constant),
        ["cosine"] => Ok(Schedule::Cosine),
        ["step", every, factor] => Ok(Schedule::Step { every: every.parse()?, factor: factor.parse()? }),
        _ => {
            bail!("`{text}` is none of `constant`, `cosine` and `step:EVERY:FACTOR` (such as step:10000:0.5)")
        }
    }
}

impl Common {
    /// Those to learn from, and those for validation.
    pub(super) fn pictures(&self, default_count: usize) -> Result<(Pictures, Pictures), Failure> {
        let count = self.val_count.unwrap_or(default_count);
        let pictures = self.data.read(Split::Train).map_err(Failure::usage)?;
        let other = self.val.as_ref().or_else(|| self.data.has_test_split().then_some(&self.data));
        match other {
            Some(source) => Ok((pictures, source.read(Split::Test).map_err(Failure::usage)?.thin(count))),
            None => Ok(pictures.hold_out(count)),
        }
    }

    /// A new network with what it has in common with the one of `--init`.
    pub(super) fn adopt(&self, mut new: Learner, init: &Learner, name: &str) -> Result<Learner, Failure> {
        let (adopted, all) = new.adopt(init);
        if adopted == 0 {
            let error =
                anyhow!("`--init {name}` has no tensor in common with `--arch`: begin without one of them");
            return Err(Failure::usage(error));
        }
        if !self.quiet {
            tell!("{adopted} of {all} tensors begin as those of {name}, the others at random");
        }
        Ok(new)
    }

    pub(super) fn standardized(&self, mut learner: Learner, usual: bool) -> Learner {
        if self.standardize.unwrap_or(usual) {
            learner.standardize();
        }
        learner
    }

    pub(super) fn length(&self, pictures: &Pictures) -> Result<u64, Failure> {
        match (self.steps, self.epochs) {
            (Some(steps), _) => Ok(steps),
            (None, Some(epochs)) if epochs > 0.0 && epochs.is_finite() => {
                Ok((epochs * pictures.all.len() as f64 / self.batch.max(1) as f64).ceil() as u64)
            }
            _ => Err(Failure::usage(anyhow!("--epochs must be a positive number"))),
        }
    }

    /// What both kinds of runs have in common; `size` is that of a classifier's pictures, if there is one.
    pub(super) fn settings(
        &self,
        sigma: &SigmaMix,
        steps: u64,
        (size, usual): (Option<(usize, usize)>, AugmentName),
    ) -> Settings {
        let patch = self.patch.or(size.map(|size| size.0)).unwrap_or(64);
        let (usual, shift) = match size {
            Some((size, _)) => (AugmentName::Flip, size / 8),
            None => (usual, 0),
        };
        let augment = self.augment.unwrap_or(usual);
        Settings {
            objective: Objective::Mse,
            sigma: sigma.clone(),
            sigma_law: match self.sigma_law {
                LawName::Uniform => SigmaLaw::Uniform,
                LawName::Sqrt => SigmaLaw::Sqrt,
                LawName::Log => SigmaLaw::Log,
            },
            divide_by_sigma: false,
            mse_weight: 0.0,
            surrogate_noise: 0.0,
            temperature: 1.0,
            picture_clip: None,
            adversary: 0.0,
            steps,
            batch: self.batch,
            patch,
            seed: self.seed,
            optimizer: match self.optimizer {
                OptimizerName::Adam => OptimizerKind::adam(),
                OptimizerName::Sgd => OptimizerKind::Sgd {
                    momentum: self.momentum.unwrap_or(0.9),
                    weight_decay: self.weight_decay.unwrap_or(0.0001),
                },
            },
            rate: self.lr,
            schedule: self.schedule,
            warmup: self.warmup,
            average: self.ema,
            clip: self.clip,
            augment: Augment {
                flip: matches!(augment, AugmentName::Flip),
                turn: matches!(augment, AugmentName::Turn),
                shift: self.shift.unwrap_or(shift),
            },
            validation_sigma: if self.val_sigma.is_empty() { levels(sigma) } else { self.val_sigma.clone() },
            data: String::new(),
            validation: String::new(),
            network: String::new(),
            surrogates: vec![],
            judge: None,
            answered: false,
            standardized: false,
        }
    }
}

/// The ends of a range and their geometric middle, or the one level; of several ranges, their ends.
fn levels(sigma: &SigmaMix) -> Vec<f64> {
    if let [SigmaRange { low, high }] = *sigma.ranges()
        && low < high
    {
        return vec![low, (low.max(high / 100.0) * high).sqrt(), high];
    }
    let mut levels: Vec<f64> = sigma.ranges().iter().flat_map(|range| [range.low, range.high]).collect();
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_and_schedules_are_read() {
        let Architecture(metadata) = "unet:channels=8,16,32; blocks=1,1,1".parse().unwrap();
        assert_eq!((metadata["arch"].as_str(), metadata["channels"].as_str()), ("unet", "8,16,32"));
        assert_eq!(metadata["blocks"], "1,1,1");
        assert!("unet:channels".parse::<Architecture>().is_err());
        assert!("unet:arch=dncnn".parse::<Architecture>().is_err());
        assert_eq!(schedule("step:100:0.5").unwrap(), Schedule::Step { every: 100, factor: 0.5 });
        for bad in ["step", "step:1", "linear", "step:x:1"] {
            assert!(schedule(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn validation_looks_at_the_whole_range() {
        let of = |sigma: &str| levels(&sigma.parse().unwrap());
        assert_eq!(of("0.25"), [0.25]);
        assert_eq!(of("0.5,0.1..1.0,0.25"), [0.1, 0.25, 0.5, 1.0]);
        let three = of("0.04..1.0");
        assert!((three[1] - 0.2).abs() < 1e-12 && three.len() == 3);
    }
}
