//! Steps of learning.

use super::{
    Learner, Objective, Settings, Surrogate, TrainError,
    data::Pictures,
    draws::Draws,
    log::Means,
    loss::weighted_squared_error,
    optimizer::Optimizer,
    sample::{Sampler, Samples, add_noise, check_size},
    schedule,
    validate::{self, Validation},
};
use crate::Batch;

/// What learns, what it learns from, and how far it has come.
pub struct Trainer {
    pub(super) settings: Settings,
    pub(super) learner: Learner,
    pub(super) optimizer: Optimizer,
    /// The running average of the parameters.
    pub(super) average: Option<Vec<Vec<f32>>>,
    /// Steps made.
    pub(super) step: u64,
    /// The best validation score so far.
    pub(super) best: Option<f64>,
    /// Of the steps that the log has not told of yet.
    pub(super) means: Means,
    surrogates: Vec<Surrogate>,
    /// By whose answers validations go, if not by those of the first classifier that is learnt through.
    judge: Option<Surrogate>,
    pictures: Pictures,
    validation: Pictures,
    sampler: Sampler,
    /// The noise before a classifier.
    noise: Draws,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Steps made, this one included.
    pub step: u64,
    /// The objective before the step.
    pub loss: f64,
    /// Of a denoiser where squared errors count: the mean over the batch of the PSNR in dB, not clipped.
    pub psnr: Option<f64>,
    /// The norm of all gradients, before they were clipped.
    pub norm: f64,
    /// The learning rate.
    pub rate: f64,
}

impl Trainer {
    /// Makes everything ready for the first step. The settings that are hashes, and `settings.surrogates`, are filled in from what is given here. The
    /// classes of both picture sets must be numbered as the learner's labels ([`Pictures::classes_as`]) if it is a classifier.
    ///
    /// # Errors
    /// [`TrainError`] if settings, network and pictures do not fit each other.
    pub fn new(
        mut settings: Settings,
        mut learner: Learner,
        surrogates: Vec<Surrogate>,
        pictures: Pictures,
        validation: Pictures,
    ) -> Result<Self, TrainError> {
        settings.data = pictures.fingerprint().to_hex().to_string();
        settings.surrogates = surrogates.iter().map(|surrogate| surrogate.id().to_owned()).collect();
        settings.standardized = learner.is_standardized();
        settings.judge = None;
        if pictures.all.is_empty() {
            return Err(TrainError::Settings { reason: "there are no pictures to learn from".into() });
        }
        settings.check()?;
        let patch = settings.patch;
        let multiple = learner.multiple();
        if !patch.is_multiple_of(multiple) {
            return Err(TrainError::Size { height: patch, width: patch, multiple });
        }
        check_size(&pictures, patch)?;
        surrogates.iter().try_for_each(|surrogate| takes(surrogate, patch))?;
        let classifies = !learner.labels().is_empty();
        if classifies != (settings.objective == Objective::Classes) {
            return Err(TrainError::Task { needed: if classifies { "denoiser" } else { "classifier" } });
        }
        if classifies {
            if learner.input_size().is_some_and(|size| size != (patch, patch)) {
                let reason = format!(
                    "the classifier looks at pictures of another size than patches of {patch} by {patch}"
                );
                return Err(TrainError::Settings { reason });
            }
            for set in [&pictures, &validation] {
                check_size(set, patch)?;
                if set.classes != learner.labels() || set.all.iter().any(|p| p.class.is_none()) {
                    let reason = "the pictures' classes are not numbered as the classifier's".into();
                    return Err(TrainError::Settings { reason });
                }
            }
        } else {
            if settings.answered {
                let other = |s: &&Surrogate| s.labels() != pictures.classes;
                if let Some(other) = surrogates.iter().find(other) {
                    let reason = format!(
                        "the answers are not numbered as the labels of {}: classifiers with the same labels are needed",
                        other.id()
                    );
                    return Err(TrainError::Settings { reason });
                }
            }
            // Validation on whole pictures, except through a classifier.
            check_size(&validation, if surrogates.is_empty() { 1 } else { patch })?;
        }
        learner.describe("sigma", settings.sigma.span().to_string());
        settings.network = learner.fingerprint().to_hex().to_string();
        settings.validation = validation.fingerprint().to_hex().to_string();
        let average = (settings.average > 0.0)
            .then(|| learner.parameters().map(|parameter| parameter.values.to_vec()).collect());
        Ok(Self {
            sampler: Sampler::new(settings.seed, &pictures),
            noise: Draws::new(settings.seed, "surrogates"),
            optimizer: settings.optimizer.start(),
            average,
            step: 0,
            best: None,
            means: Means::default(),
            settings,
            learner,
            surrogates,
            judge: None,
            pictures,
            validation,
        })
    }

    /// Lets a classifier that nothing is learnt through judge a denoiser's validations, and so choose the best checkpoint: what counts for
    /// a classifier that nobody may look into is what an unseen one says. Before the first step.
    ///
    /// # Errors
    /// [`TrainError`] if a classifier is what is trained, the judge takes another size than the pictures that are learnt from, or steps were
    /// made already.
    pub fn judged_by(mut self, judge: Surrogate) -> Result<Self, TrainError> {
        if self.settings.objective == Objective::Classes {
            return Err(TrainError::Task { needed: "denoiser" });
        }
        if self.step > 0 || self.best.is_some() {
            let reason = "a judge is chosen before the first step, or best would be chosen by two".into();
            return Err(TrainError::Settings { reason });
        }
        let patch = self.settings.patch;
        takes(&judge, patch)?;
        check_size(&self.validation, patch)?;
        self.settings.judge = Some(judge.id().to_owned());
        self.judge = Some(judge);
        Ok(self)
    }

    /// The settings, with hashes of what it learns from.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Steps made so far.
    pub fn steps_made(&self) -> u64 {
        self.step
    }

    /// Whether a validation has chosen a best checkpoint.
    pub fn has_best(&self) -> bool {
        self.best.is_some()
    }

    /// The values that are saved and validated: the running average if there is one.
    pub fn values(&self) -> Vec<&[f32]> {
        match &self.average {
            Some(average) => average.iter().map(Vec::as_slice).collect(),
            None => self.learner.parameters().map(|parameter| parameter.values).collect(),
        }
    }

    /// Makes one step.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] if the loss or the gradients are no numbers any more; the weights are then those from before the
    /// step.
    pub fn step(&mut self) -> Result<Measured, TrainError> {
        let settings = &self.settings;
        let samples = self.sampler.batch(&self.pictures, self.step, settings);
        let size = (settings.patch, settings.patch);
        let (loss, psnr) = match settings.objective {
            Objective::Classes => {
                let labels = samples.labels()?;
                let batch = Batch::trusted(samples.noisy, settings.batch, size);
                (self.learner.cross_entropy(batch, &labels)?, None)
            }
            objective if objective.is_stability(self.step) => self.stability(samples)?,
            _ => self.squared_error(samples)?,
        };
        let norm = match self.settings.clip {
            Some(most) => self.learner.clip(most),
            None => self.learner.gradient_norm(),
        };
        if !loss.is_finite() || !norm.is_finite() {
            return Err(TrainError::Diverged { step: self.step + 1, loss, norm });
        }
        let Settings { rate, schedule, steps, warmup, .. } = self.settings;
        let rate = rate * schedule.factor(self.step, steps) * schedule::warmup(self.step, warmup);
        self.optimizer.step(&mut self.learner, rate);
        self.step += 1;
        if let Some(average) = &mut self.average {
            follow(average, &self.learner, self.settings.average, self.step);
        }
        Ok(Measured { step: self.step, loss, psnr, norm, rate })
    }

    fn squared_error(&mut self, samples: Samples) -> Result<(f64, Option<f64>), TrainError> {
        let (count, size) = (self.settings.batch, (self.settings.patch, self.settings.patch));
        let weights = self.error_weights(&samples.sigma);
        let clean = Batch::trusted(samples.clean, count, size);
        let result = self.learner.forward(Batch::trusted(samples.noisy, count, size), &samples.sigma)?;
        let (loss, gradient) = weighted_squared_error(&result, &clean, &weights)?;
        self.learner.backward(&gradient)?;
        Ok((loss, Some(decibels(&result, &clean))))
    }

    /// By what the squared error of a picture with this noise is multiplied.
    fn error_weights(&self, sigma: &[f64]) -> Vec<f32> {
        let highest = self.settings.divide_by_sigma.then(|| self.settings.sigma.span().high);
        sigma.iter().map(|sigma| highest.map_or(1.0, |highest| (highest / sigma) as f32)).collect()
    }

    /// The cross-entropy of the classifier whose turn it is, and the squared error where it counts as well.
    fn stability(&mut self, samples: Samples) -> Result<(f64, Option<f64>), TrainError> {
        let (count, size) = (self.settings.batch, (self.settings.patch, self.settings.patch));
        let error_weights = self.error_weights(&samples.sigma);
        let turn = (self.step % self.surrogates.len().max(1) as u64) as usize;
        let surrogate = &mut self.surrogates[turn];
        let answered = self.settings.answered.then(|| samples.labels()).transpose()?;
        let clean = Batch::trusted(samples.clean, count, size);
        let labels = answered.map_or_else(|| surrogate.classify(clean.clone()), Ok)?;
        let mut noisy = Batch::trusted(samples.noisy, count, size);
        let Settings { adversary, temperature, surrogate_noise, .. } = self.settings;
        if adversary > 0.0 {
            let gradient = self.learner.toward(noisy.clone(), &samples.sigma, |result| {
                let seen = seen(&self.noise, self.step, surrogate_noise, &result);
                Ok(surrogate.cross_entropy(seen, &labels, temperature)?.1)
            })?;
            noisy = moved(noisy, &gradient, adversary, &samples.sigma);
        }
        let result = self.learner.forward(noisy, &samples.sigma)?;
        let seen = seen(&self.noise, self.step, surrogate_noise, &result);
        let (mut loss, mut gradient) = surrogate.cross_entropy(seen, &labels, temperature)?;
        if let Some(most) = self.settings.picture_clip {
            gradient = clip_pictures(gradient, most);
        }
        let weight = self.settings.mse_weight;
        if weight > 0.0 {
            let (error, errors) = weighted_squared_error(&result, &clean, &error_weights)?;
            loss += weight * error;
            let sum = gradient.data().iter().zip(errors.data()).map(|(g, e)| g + weight as f32 * e).collect();
            gradient = Batch::trusted(sum, count, size);
        }
        self.learner.backward(&gradient)?;
        Ok((loss, (weight > 0.0).then(|| decibels(&result, &clean))))
    }

    /// Measures the values that would be saved now.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] if what the network gives are no numbers any more; [`TrainError`] if the validation pictures do not fit the
    /// classifier.
    pub fn validate(&mut self) -> Result<Validation, TrainError> {
        let mut network = self.learner.with(&self.values());
        let judge = self.judge.as_mut().or(self.surrogates.first_mut());
        let found = validate::validate(&mut network, judge, &self.validation, &self.settings)?;
        if found.at.iter().all(|quality| quality.psnr.is_none_or(f64::is_finite)) {
            return Ok(found);
        }
        Err(self.diverged())
    }

    /// Asks the network about the pictures of the next step, and makes none: the last step's loss was that of the weights before it, and may
    /// have been its last number.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] if what the network gives are no numbers any more.
    pub(super) fn probe(&mut self) -> Result<(), TrainError> {
        let settings = &self.settings;
        let samples = self.sampler.batch(&self.pictures, self.step, settings);
        let labels = (settings.objective == Objective::Classes).then(|| samples.labels()).transpose()?;
        let batch = Batch::trusted(samples.noisy, settings.batch, (settings.patch, settings.patch));
        let finite = match labels {
            Some(labels) => self.learner.cross_entropy(batch, &labels)?.is_finite(),
            None => self.learner.forward(batch, &samples.sigma)?.data().iter().all(|v| v.is_finite()),
        };
        let saved = self.values().into_iter().flatten().all(|v| v.is_finite());
        if finite && saved { Ok(()) } else { Err(self.diverged()) }
    }

    /// The step that would be next.
    fn diverged(&self) -> TrainError {
        TrainError::Diverged { step: self.step + 1, loss: f64::NAN, norm: f64::NAN }
    }
}

/// The mean over the pictures of their PSNR in dB.
fn decibels(result: &Batch, clean: &Batch) -> f64 {
    let each = result.pictures().zip(clean.pictures()).map(|(result, clean)| {
        let squares = result.iter().zip(clean).map(|(r, c)| f64::from(r - c).powi(2));
        -10.0 * (squares.sum::<f64>() / clean.len() as f64).log10()
    });
    each.sum::<f64>() / result.count() as f64
}

/// Checks that a classifier takes patches of this size.
fn takes(classifier: &Surrogate, patch: usize) -> Result<(), TrainError> {
    let (height, width) = classifier.input_size();
    if (height, width) == (patch, patch) {
        return Ok(());
    }
    Err(TrainError::Input { name: classifier.id().to_owned(), height, width })
}

/// Shrinks the gradient of each picture's own loss, of which `gradient` has the mean's, to this norm at most.
fn clip_pictures(gradient: Batch, most: f64) -> Batch {
    let (count, size) = (gradient.count(), (gradient.height(), gradient.width()));
    let mut data = gradient.into_data();
    let each = data.len() / count;
    for picture in data.chunks_exact_mut(each) {
        let norm = count as f64 * picture.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        if norm > most {
            let factor = (most / norm) as f32;
            for g in picture {
                *g *= factor;
            }
        }
    }
    Batch::trusted(data, count, size)
}

/// The pictures, each moved along its gradient by `radius` times its σ in L2 norm. A picture whose gradient is zero or no number stays.
fn moved(pictures: Batch, gradient: &Batch, radius: f64, sigma: &[f64]) -> Batch {
    let (count, size) = (pictures.count(), (pictures.height(), pictures.width()));
    let mut data = pictures.into_data();
    let each = data.len() / count;
    for ((picture, gradient), sigma) in data.chunks_exact_mut(each).zip(gradient.pictures()).zip(sigma) {
        let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        if norm > 0.0 && norm.is_finite() {
            let factor = (radius * sigma / norm) as f32;
            picture.iter_mut().zip(gradient).for_each(|(value, g)| *value += factor * g);
        }
    }
    Batch::trusted(data, count, size)
}

/// What a classifier sees of denoised pictures in this step: them with noise, which is drawn for each picture of the run alone.
fn seen(noise: &Draws, step: u64, sigma: f64, result: &Batch) -> Batch {
    if sigma == 0.0 {
        return result.clone();
    }
    let count = result.count();
    let mut data = vec![0.0; result.data().len()];
    let first = step * count as u64;
    let each = data.len() / count;
    for ((number, clean), noisy) in (first..).zip(result.pictures()).zip(data.chunks_exact_mut(each)) {
        add_noise(clean, sigma, &mut noise.of(number), noisy);
    }
    Batch::trusted(data, count, (result.height(), result.width()))
}

/// Moves the average towards the parameters. It begins with a shorter memory, which first weights would fill for long.
fn follow(average: &mut [Vec<f32>], learner: &Learner, decay: f64, step: u64) {
    let decay = decay.min((1.0 + step as f64) / (10.0 + step as f64)) as f32;
    for (average, parameter) in average.iter_mut().zip(learner.parameters()) {
        for (average, value) in average.iter_mut().zip(parameter.values) {
            *average += (1.0 - decay) * (value - *average);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_moved_along_their_gradients_as_far_as_their_noise_allows() {
        let size = (1, 1);
        let pictures = Batch::trusted(vec![0.5; 9], 3, size);
        let gradient = Batch::trusted(vec![3.0, 0.0, -4.0, 0.0, 0.0, 0.0, f32::NAN, 1.0, 1.0], 3, size);
        let moved = moved(pictures, &gradient, 2.0, &[0.25, 0.5, 1.0]).into_data();
        let expected = [0.8, 0.5, 0.1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5];
        assert!(moved.iter().zip(expected).all(|(m, e): (&f32, f32)| (m - e).abs() < 1e-6), "{moved:?}");
    }

    #[test]
    fn only_gradients_of_pictures_that_are_too_long_are_shrunk() {
        // Means over two pictures: 6 and 0.8 for the pictures' own losses.
        let mut data = vec![0.0; 2 * 3 * 4];
        (data[1], data[13]) = (-3.0, 0.4);
        let clipped = clip_pictures(Batch::trusted(data, 2, (2, 2)), 1.5).into_data();
        assert!((clipped[1] + 0.75).abs() < 1e-6 && (clipped[13] - 0.4).abs() < 1e-9, "{clipped:?}");
        assert_eq!(clipped.iter().filter(|g| **g != 0.0).count(), 2);
    }
}
