//! What a classifier says of the copies that `denoise` makes.

use anyhow::{Context, anyhow};
use serde::Serialize;
use smoothgate_denoisers::{Batch, ClassifierHandle, Device, Options, open_classifier};

use super::Failure;
use crate::dataset::Class;
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

/// The classifier's first label of the clean picture, and its number for the class that the data state.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    clean: usize,
    class: Option<usize>,
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

    /// Its first label of each picture, as planes of red, green and blue; what is outside [0, 1] is cut, as it would be for an API.
    fn first<const N: usize>(
        &self,
        pictures: [&[f32]; N],
        (height, width): (u32, u32),
    ) -> Result<[usize; N], Failure> {
        let (rows, columns) = self.classifier.input_size();
        if (rows, columns) != (height as usize, width as usize) {
            let name = self.classifier.id().name();
            let error = anyhow!(
                "{name} takes pictures of {columns}x{rows}, not {width}x{height}: give --size {columns}x{rows}"
            );
            return Err(Failure::usage(error));
        }
        let together = pictures.concat().iter().map(|v| v.clamp(0.0, 1.0)).collect();
        let batch = Batch::new(together, N, rows, columns).map_err(Failure::internal)?;
        let answers = self.classifier.classify_blocking(batch).map_err(Failure::internal)?;
        Ok(std::array::from_fn(|picture| {
            let best = answers[picture].iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            best.map_or(0, |(index, _)| index)
        }))
    }

    /// What it says of a clean picture, whose class the data may state.
    pub(super) fn expect(
        &self,
        clean: &[f32],
        size: (u32, u32),
        class: Option<&Class>,
    ) -> Result<Expected, Failure> {
        let [clean] = self.first([clean], size)?;
        let class = class.and_then(|class| self.classifier.labels().iter().position(|label| class.is(label)));
        Ok(Expected { clean, class })
    }

    /// What it says of copies of that picture.
    pub(super) fn judge(
        &self,
        Expected { clean, class }: Expected,
        copies: [&[f32]; 2],
        size: (u32, u32),
    ) -> Result<Judgement<bool>, Failure> {
        let [noisy, denoised] = self.first(copies, size)?;
        Ok(Judgement {
            same_noisy: noisy == clean,
            same_denoised: denoised == clean,
            right_clean: class.map(|class| clean == class),
            right_denoised: class.map(|class| denoised == class),
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
