//! What a classifier says of the copies that `denoise` makes.

use anyhow::{Context, anyhow};
use serde::Serialize;
use smoothgate_denoisers::{Batch, ClassifierHandle, Device, Options, open_classifier};

use super::Failure;
use crate::picture::WorkingSize;

/// A classifier, asked for its first label.
pub(super) struct Judge {
    classifier: ClassifierHandle,
}

/// The classifier's first labels of one picture's copies, or the shares of pictures over many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Judgement<T> {
    /// The noisy copy is called what the clean picture is called.
    pub(super) same_noisy: T,
    /// The denoised copy is.
    pub(super) same_denoised: T,
    /// The clean picture is called by its class; absent where the data state no class that the classifier has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) right_clean: Option<T>,
    /// The denoised copy is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) right_denoised: Option<T>,
}

impl Judge {
    /// By a built-in name or a file.
    pub(super) fn open(name: &str, device: Device) -> Result<Self, Failure> {
        let opened = open_classifier(name, &Options::on(device));
        let opened = opened.with_context(|| format!("the classifier `{name}` cannot be loaded"));
        let classifier =
            ClassifierHandle::spawn(opened.map_err(Failure::usage)?).map_err(Failure::internal)?;
        Ok(Self { classifier })
    }

    /// The only size of pictures that it takes.
    pub(super) fn size(&self) -> WorkingSize {
        let (height, width) = self.classifier.input_size();
        WorkingSize::Exact { width: width as u32, height: height as u32 }
    }

    /// Its answers to planes of red, green and blue; the denoised copy is shown to it cut to [0, 1], as it would be to an API.
    pub(super) fn judge(
        &self,
        [clean, noisy, denoised]: [&[f32]; 3],
        (height, width): (u32, u32),
        class: Option<&str>,
    ) -> Result<Judgement<bool>, Failure> {
        let (rows, columns) = self.classifier.input_size();
        if (rows, columns) != (height as usize, width as usize) {
            let name = self.classifier.id().name();
            let error = anyhow!(
                "{name} takes pictures of {columns}x{rows}, not {width}x{height}: give --size {columns}x{rows}"
            );
            return Err(Failure::usage(error));
        }
        let cut = |copy: &[f32]| copy.iter().map(|v| v.clamp(0.0, 1.0)).collect::<Vec<f32>>();
        let together = [clean.to_vec(), cut(noisy), cut(denoised)].concat();
        let batch = Batch::new(together, 3, rows, columns).map_err(Failure::internal)?;
        let answers = self.classifier.classify_blocking(batch).map_err(Failure::internal)?;
        let first = |scores: &Vec<f32>| {
            let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            best.map_or(0, |(index, _)| index)
        };
        let found: Vec<usize> = answers.iter().map(first).collect();
        let class = class.and_then(|class| self.classifier.labels().iter().position(|label| label == class));
        Ok(Judgement {
            same_noisy: found[1] == found[0],
            same_denoised: found[2] == found[0],
            right_clean: class.map(|class| found[0] == class),
            right_denoised: class.map(|class| found[2] == class),
        })
    }
}

impl Judgement<f64> {
    /// The shares of all; those of right answers only where every picture has a class.
    pub(super) fn shares(all: &[Judgement<bool>]) -> Self {
        let share = |of: fn(&Judgement<bool>) -> bool| {
            all.iter().filter(|judgement| of(judgement)).count() as f64 / all.len() as f64
        };
        let known = all.iter().all(|judgement| judgement.right_clean.is_some());
        Self {
            same_noisy: share(|j| j.same_noisy),
            same_denoised: share(|j| j.same_denoised),
            right_clean: known.then(|| share(|j| j.right_clean == Some(true))),
            right_denoised: known.then(|| share(|j| j.right_denoised == Some(true))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_all_pictures_and_of_right_answers_only_where_all_have_a_class() {
        let of = |same_denoised, right| Judgement {
            same_noisy: false,
            same_denoised,
            right_clean: right,
            right_denoised: right,
        };
        let shares = Judgement::shares(&[
            of(true, Some(true)),
            of(true, Some(false)),
            of(false, Some(false)),
            of(true, Some(false)),
        ]);
        assert_eq!((shares.same_noisy, shares.same_denoised), (0.0, 0.75));
        assert_eq!((shares.right_clean, shares.right_denoised), (Some(0.25), Some(0.25)));
        assert_eq!(Judgement::shares(&[of(true, Some(true)), of(true, None)]).right_denoised, None);
    }
}
