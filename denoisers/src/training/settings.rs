//! What a run is, in full: two runs with equal settings, data and first weights give equal weights.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Augment, OptimizerKind, Schedule, TrainError};

/// What is learnt from which objective.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "name")]
#[non_exhaustive]
pub enum Objective {
    /// A denoiser: the mean squared error to the clean picture (Salman et al. 2020, equation 3).
    Mse,
    /// A denoiser: the cross-entropy of F(D(x + noise)) to f(x), where F gives a frozen classifier's probabilities and f its class
    /// (Salman et al. 2020, equation 4). Several classifiers take turns from step to step.
    Stability,
    /// A denoiser: [`Objective::Mse`] for the first steps, [`Objective::Stability`] for the rest.
    Hybrid {
        /// How many steps the first part has.
        mse_steps: u64,
    },
    /// A classifier: the cross-entropy to the pictures' classes, with noise of the range of σ on the pictures (Cohen et al. 2019,
    /// section 3.3); clean if σ is 0.
    Classes,
}

impl Objective {
    /// Whether this step needs a classifier.
    pub(super) fn is_stability(self, step: u64) -> bool {
        match self {
            Self::Stability => true,
            Self::Hybrid { mse_steps } => step >= mse_steps,
            Self::Mse | Self::Classes => false,
        }
    }
}

/// How σ is drawn from its range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SigmaLaw {
    /// All σ alike.
    #[default]
    Uniform,
    /// All roots of σ alike: more of the small ones.
    Sqrt,
    /// All logarithms of σ alike: most of the small ones. The range must not begin at 0.
    Log,
}

/// Noise levels from `low` to `high`, in units of \[0,1\] pixel values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SigmaRange {
    /// The smallest.
    pub low: f64,
    /// The largest.
    pub high: f64,
}

impl SigmaRange {
    /// Whether it is a range at all.
    fn is_one(self) -> bool {
        0.0 <= self.low && self.low <= self.high && self.high <= 10.0
    }

    /// The σ at this place of the range, 0 to 1.
    pub(super) fn at(self, law: SigmaLaw, place: f64) -> f64 {
        let Self { low, high } = self;
        let between = |low: f64, high: f64| low + (high - low) * place;
        let sigma = match law {
            SigmaLaw::Uniform => between(low, high),
            SigmaLaw::Sqrt => between(low.sqrt(), high.sqrt()).powi(2),
            SigmaLaw::Log => between(low.ln(), high.ln()).exp(),
        };
        sigma.clamp(low, high)
    }
}

/// `0.25` or `0.02..1.0`.
impl FromStr for SigmaRange {
    type Err = TrainError;

    fn from_str(text: &str) -> Result<Self, TrainError> {
        let error = || TrainError::Settings {
            reason: format!(
                "noise levels `{text}` are neither a number such as 0.25 nor a range such as 0.02..1.0"
            ),
        };
        let (low, high) = text.split_once("..").unwrap_or((text, text));
        let number = |text: &str| text.trim().parse().ok().filter(|s: &f64| (0.0..=10.0).contains(s));
        let (low, high) = (number(low).ok_or_else(error)?, number(high).ok_or_else(error)?);
        if low > high {
            return Err(error());
        }
        Ok(Self { low, high })
    }
}

impl fmt::Display for SigmaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low < self.high {
            write!(f, "{}..{}", self.low, self.high)
        } else {
            write!(f, "{}", self.low)
        }
    }
}

/// One or several ranges of noise levels, of which each is as likely as the others: what a denoiser learns for all levels, and most for
/// those that it will be asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct SigmaMix(Vec<SigmaRange>);

/// What is written of them: one range as it was before there could be several.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Parts {
    One(SigmaRange),
    All(Vec<SigmaRange>),
}

impl TryFrom<Parts> for SigmaMix {
    type Error = &'static str;

    fn try_from(parts: Parts) -> Result<Self, Self::Error> {
        let ranges = match parts {
            Parts::One(range) => vec![range],
            Parts::All(ranges) => ranges,
        };
        if ranges.is_empty() {
            return Err("there is no noise level");
        }
        if !ranges.iter().all(|range| range.is_one()) {
            return Err("noise levels are from 0 to 10, the smaller end of a range first");
        }
        Ok(Self(ranges))
    }
}

impl From<SigmaMix> for Parts {
    fn from(SigmaMix(ranges): SigmaMix) -> Self {
        match ranges[..] {
            [range] => Self::One(range),
            _ => Self::All(ranges),
        }
    }
}

impl SigmaMix {
    /// The ranges.
    pub fn ranges(&self) -> &[SigmaRange] {
        &self.0
    }

    /// The smallest and the largest noise level.
    pub fn span(&self) -> SigmaRange {
        let wider =
            |a: SigmaRange, b: SigmaRange| SigmaRange { low: a.low.min(b.low), high: a.high.max(b.high) };
        self.0.iter().copied().reduce(wider).unwrap_or(SigmaRange { low: 0.0, high: 0.0 })
    }

    /// The σ at this place, 0 to below 1: each range has as much of that as the others.
    pub(super) fn at(&self, law: SigmaLaw, place: f64) -> f64 {
        let place = place * self.0.len() as f64;
        let range = self.0.get(place as usize).or(self.0.last());
        range.map_or(0.0, |range| range.at(law, place.fract()))
    }
}

/// Ranges as [`SigmaRange`] reads them, with commas between: `0.25`, `0.02..1.0` or `0.1..1.0,0.25,0.5,1.0`.
impl FromStr for SigmaMix {
    type Err = TrainError;

    fn from_str(text: &str) -> Result<Self, TrainError> {
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for SigmaMix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, range) in self.0.iter().enumerate() {
            write!(f, "{}{range}", if place > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// What is learnt.
    pub objective: Objective,
    /// The noise.
    pub sigma: SigmaMix,
    /// How each picture's σ is drawn.
    pub sigma_law: SigmaLaw,
    /// Whether each picture's squared error is divided by its σ relative to the largest, so that all noise levels count about alike
    /// in decibels.
    pub divide_by_sigma: bool,
    /// Added to the stability objective: so many times the squared error. A denoiser that only satisfies one classifier does it with
    /// patterns that others do not see; the error keeps it to pictures.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mse_weight: f64,
    /// Standard deviation of the noise that is added to a denoised picture before a classifier judges it for the stability objective:
    /// patterns too faint to be seen through it count for nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub surrogate_noise: f64,
    /// What a classifier's logits are divided by before the cross-entropy of the stability objective, as in Guo et al. (2017): classifiers
    /// that learnt without noise are too sure of what they make of denoised pictures.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub temperature: f64,
    /// The largest norm of the gradient of each picture's cross-entropy for the denoised picture, if any. Through deep classifiers pictures
    /// differ in it by orders of magnitude; without a limit the longest are the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture_clip: Option<f64>,
    /// For the stability objective, each noisy picture is moved first, by so many times its σ in L2 norm, in the direction in which the
    /// cross-entropy rises: one step of `SmoothAdv` (Salman et al. 2019, "Provably robust deep learning via adversarially trained smoothed
    /// classifiers", section 3). What is learnt is to give the same answer there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub adversary: f64,
    /// Length of the run.
    pub steps: u64,
    /// Pictures a step.
    pub batch: usize,
    /// Rows and columns of what is cut out of each picture.
    pub patch: usize,
    /// Of everything random.
    pub seed: u64,
    /// What moves the weights.
    pub optimizer: OptimizerKind,
    /// The learning rate that the schedule begins with.
    pub rate: f64,
    /// What becomes of it.
    pub schedule: Schedule,
    /// In how many steps it rises from 0 before.
    pub warmup: u64,
    /// Decay of the running average of the weights, in 0..1, which is what is saved and validated; 0 for none.
    pub average: f64,
    /// The largest norm of all gradients together, if any.
    pub clip: Option<f64>,
    /// Changes of the pictures that do not change what they show.
    pub augment: Augment,
    /// Noise levels at which a denoiser or classifier is validated.
    pub validation_sigma: Vec<f64>,
    /// A hash of the pictures that are learnt from.
    pub data: String,
    /// A hash of the pictures that it is validated on, which the best score depends on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub validation: String,
    /// A hash of what is said of the network beside its weights.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network: String,
    /// The frozen classifiers, with their hashes.
    pub surrogates: Vec<String>,
    /// The classifier that validations go by, with its hash, if it is none of these ([`super::Trainer::judged_by`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<String>,
    /// Whether the stability objective holds on to answers that the pictures came with ([`super::Pictures::answered`]), as those of an API
    /// are, and not to those of the classifiers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answered: bool,
    /// Whether the weights are standardised ([`super::Learner::standardize`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub standardized: bool,
}

/// Values of a step's pictures, at most: 8 GB of them, and their features take many times that.
const MOST_VALUES: usize = 1 << 31;

/// Settings that came later are absent from older runs' states, and must be where they are not used.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

fn one() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_one(value: &f64) -> bool {
    value.to_bits() == 1f64.to_bits()
}

impl Settings {
    /// Whether a run is possible with these.
    ///
    /// # Errors
    /// [`TrainError::Settings`], naming the first one that is not.
    pub fn check(&self) -> Result<(), TrainError> {
        let unit = |value: f64| (0.0..1.0).contains(&value);
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let optimizer = match self.optimizer {
            OptimizerKind::Adam { beta1, beta2, epsilon } => unit(beta1) && unit(beta2) && positive(epsilon),
            OptimizerKind::Sgd { momentum, weight_decay } => {
                unit(momentum) && weight_decay.is_finite() && weight_decay >= 0.0
            }
        };
        let schedule = match self.schedule {
            Schedule::Step { every, factor } => every > 0 && positive(factor),
            Schedule::Constant | Schedule::Cosine => true,
        };
        let values = [3, self.batch, self.patch, self.patch].into_iter().try_fold(1, usize::checked_mul);
        let stability = matches!(self.objective, Objective::Stability | Objective::Hybrid { .. });
        let checks = [
            (self.steps > 0 && self.batch > 0 && self.patch > 0, "steps, batch and patch must be at least 1"),
            (
                values.is_some_and(|values| values <= MOST_VALUES),
                "the pictures of a step may have 2^31 values together: choose a smaller batch or smaller patches",
            ),
            (positive(self.rate), "the learning rate must be positive"),
            (optimizer, "decays and momentum of the optimiser are in 0..1, its other numbers not negative"),
            (schedule, "a step schedule needs at least 1 step between changes and a positive factor"),
            (unit(self.average), "the decay of the average is in 0..1 (0 for none)"),
            (
                self.mse_weight.is_finite() && self.mse_weight >= 0.0,
                "the weight of the squared error is not negative",
            ),
            (
                stability
                    || (is_zero(&self.mse_weight)
                        && is_zero(&self.surrogate_noise)
                        && is_one(&self.temperature)
                        && self.picture_clip.is_none()
                        && is_zero(&self.adversary)),
                "a weight of the squared error, noise before a classifier, its temperature, a limit for its gradients and an adversary belong to the stability objective",
            ),
            (
                !matches!(self.objective, Objective::Hybrid { mse_steps } if mse_steps == 0 || mse_steps >= self.steps),
                "the first part of the hybrid objective has at least 1 step, and fewer than the run",
            ),
            (
                !self.divide_by_sigma
                    || matches!(self.objective, Objective::Mse | Objective::Hybrid { .. })
                    || self.mse_weight > 0.0,
                "there is no squared error that could be divided by sigma",
            ),
            (
                !self.answered || stability,
                "answers that pictures came with belong to the stability objective",
            ),
            (
                self.objective != Objective::Classes || self.surrogates.is_empty(),
                "a classifier is learnt from pictures alone, and not through other classifiers",
            ),
            ((0.0..=10.0).contains(&self.adversary), "an adversary moves pictures by 0 to 10 times sigma"),
            ((0.0..=10.0).contains(&self.surrogate_noise), "the noise before a classifier is from 0 to 10"),
            (positive(self.temperature), "the temperature of a classifier is positive"),
            (
                self.clip.is_none_or(positive) && self.picture_clip.is_none_or(positive),
                "gradients can be clipped to a positive norm only",
            ),
            (
                self.sigma_law != SigmaLaw::Log || self.sigma.span().low > 0.0,
                "a logarithmic law of noise levels cannot begin at 0",
            ),
            (
                !self.divide_by_sigma || self.sigma.span().low > 0.0,
                "errors cannot be divided by noise levels that begin at 0",
            ),
            (
                self.objective == Objective::Classes || self.sigma.span().high > 0.0,
                "there is nothing to learn for a denoiser without noise",
            ),
            (
                self.validation_sigma.iter().all(|s| (0.0..=10.0).contains(s)),
                "noise levels for validation are from 0 to 10",
            ),
            (!stability || !self.surrogates.is_empty(), "the stability objective needs a classifier"),
        ];
        match checks.iter().find(|(fine, _)| !fine) {
            Some((_, reason)) => Err(TrainError::Settings { reason: (*reason).into() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_levels_are_numbers_or_ranges() {
        let range: SigmaRange = "0.02..1.0".parse().unwrap();
        assert_eq!(range, SigmaRange { low: 0.02, high: 1.0 });
        assert_eq!(range.to_string(), "0.02..1");
        assert_eq!("0.25".parse::<SigmaRange>().unwrap().to_string(), "0.25");
        for bad in ["", "x", "-1", "1..0.5", "nan", "0.1..", "inf"] {
            assert!(bad.parse::<SigmaRange>().is_err(), "{bad}");
            assert!(format!("0.5,{bad}").parse::<SigmaMix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn several_ranges_are_as_likely_as_each_other() {
        let mix: SigmaMix = "0.1..0.9,0.25, 1.0".parse().unwrap();
        assert_eq!((mix.to_string(), mix.span().to_string()), ("0.1..0.9,0.25,1".into(), "0.1..1".into()));
        let places = [(0.0, 0.1), (1.0 / 6.0, 0.5), (0.34, 0.25), (0.66, 0.25), (0.67, 1.0), (0.999, 1.0)];
        for (place, expected) in places {
            assert!((mix.at(SigmaLaw::Uniform, place) - expected).abs() < 1e-12, "{place}");
        }
        // One range is written and drawn from as ranges have always been.
        let one: SigmaMix = "0.02..1.0".parse().unwrap();
        let written = serde_json::to_string(&one).unwrap();
        assert_eq!(written, r#"{"low":0.02,"high":1.0}"#);
        for mix in [one, mix] {
            let written = serde_json::to_string(&mix).unwrap();
            assert_eq!(serde_json::from_str::<SigmaMix>(&written).unwrap(), mix);
        }
        let none = serde_json::from_str::<SigmaMix>("[]").unwrap_err();
        assert!(none.to_string().contains("no noise level"), "{none}");
        for bad in [r#"{"low":0.5,"high":0.1}"#, r#"[{"low":-1,"high":1}]"#, r#"{"low":0,"high":11}"#] {
            assert!(serde_json::from_str::<SigmaMix>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn laws_span_the_range_and_differ_in_between() {
        let range = SigmaRange { low: 0.04, high: 1.0 };
        let middles = [(SigmaLaw::Uniform, 0.52), (SigmaLaw::Sqrt, 0.36), (SigmaLaw::Log, 0.2)];
        for (law, middle) in middles {
            for (place, expected) in [(0.0, 0.04), (0.5, middle), (1.0, 1.0)] {
                assert!((range.at(law, place) - expected).abs() < 1e-12, "{law:?} {place}");
            }
        }
    }
}
