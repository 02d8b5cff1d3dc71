//! Pictures and what was certified about them, as logs tell it.

use super::error::ReportError;

/// How one picture ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A label with a radius.
    Certified,
    /// A label without a radius (`predict`): its radius is 0.
    Predicted,
    /// No claim.
    Abstained,
    /// No verdict: the file, the provider or the program failed. It counts as a picture without a claim.
    Failed,
}

impl Verdict {
    /// Whether there is a claim.
    pub fn is_claim(self) -> bool {
        matches!(self, Self::Certified | Self::Predicted)
    }

    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Certified => "certified",
            Self::Predicted => "predicted",
            Self::Abstained => "abstained",
            Self::Failed => "failed",
        }
    }
}

/// One vote, as seen from the label that is claimed (or, where none is, has the most votes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast {
    /// For that label.
    For,
    /// For another.
    Other,
    /// Answered, without a label.
    NoLabel,
    /// Never answered.
    Failed,
}

/// The votes of one picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Votes {
    /// The label claimed, or the one with the most votes; none where no label got any.
    pub label: Option<String>,
    /// In index order.
    pub cast: Vec<Cast>,
    /// How many of the first votes only chose the label.
    pub selection: usize,
}

/// One row of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// File name, index or whatever else the log calls it.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// The label claimed.
    pub label: Option<String>,
    /// Certified L2 radius in units of \[0, 1\] pixel values: finite, at least 0, and 0 without a claim.
    pub radius: f64,
    /// Whether the label is the right one; `None` where the log does not say what is right.
    pub correct: Option<bool>,
    /// Calls sent for it, retries included, where the log has them.
    pub calls: Option<u64>,
    /// Votes that the verdict rests on, where the log has their number.
    pub votes: Option<u64>,
    /// The votes themselves, where the log has them.
    pub cast: Option<Votes>,
}

impl Picture {
    /// One picture of the claims of one question on it: certified if any of them is. The claim that stands for all is the one
    /// with the largest radius, of those with the right label where the truth is known and any has it; the first of equal ones.
    /// `None` without claims.
    pub fn of_claims(claims: impl IntoIterator<Item = Self>) -> Option<Self> {
        let right = |picture: &Self| picture.verdict.is_claim() && picture.correct != Some(false);
        let rank = |picture: &Self| (right(picture), picture.verdict.is_claim(), picture.radius);
        claims.into_iter().reduce(|best, next| {
            let votes = best.votes.max(next.votes);
            let calls = best.calls.max(next.calls);
            let one = if rank(&next) > rank(&best) { next } else { best };
            Self { calls, votes, ..one }
        })
    }
}

/// What the pictures of a series have in common, as far as the log says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// Provider (or API).
    pub provider: Option<String>,
    /// Denoiser.
    pub denoiser: Option<String>,
    /// Standard deviation of the noise.
    pub sigma: Option<String>,
    /// Probability that a certificate is wrong.
    pub alpha: Option<String>,
    /// What was asked of each answer.
    pub question: Option<String>,
    /// The statistical test.
    pub test: Option<String>,
}

impl Setting {
    /// Names and values, in the order in which they are shown.
    pub fn fields(&self) -> [(&'static str, Option<&str>); 6] {
        [
            ("provider", self.provider.as_deref()),
            ("denoiser", self.denoiser.as_deref()),
            ("sigma", self.sigma.as_deref()),
            ("alpha", self.alpha.as_deref()),
            ("question", self.question.as_deref()),
            ("test", self.test.as_deref()),
        ]
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = self.fields().into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value?)));
        f.write_str(&known.collect::<Vec<_>>().join(", "))
    }
}

/// What a share of pictures measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The right label is certified (the truth of every picture is known).
    Accuracy,
    /// Some label is certified.
    Share,
}

impl Measure {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "certified accuracy",
            Self::Share => "certified share",
        }
    }
}

/// One line of a curve: pictures certified under one setting. Never empty.
#[derive(Clone, Debug)]
pub struct Series {
    name: String,
    setting: Setting,
    measure: Measure,
    pictures: Vec<Picture>,
    /// The radii of the pictures that count, ascending.
    radii: Vec<f64>,
}

impl Series {
    /// A series of at least one picture.
    ///
    /// It measures accuracy if the truth of every picture is known, else the share of pictures with any claim.
    ///
    /// # Errors
    /// [`ReportError::Empty`] without a picture, named after the series.
    pub fn new(name: String, setting: Setting, pictures: Vec<Picture>) -> Result<Self, ReportError> {
        if pictures.is_empty() {
            return Err(ReportError::Empty { file: name });
        }
        let known = pictures.iter().all(|picture| picture.correct.is_some());
        let measure = if known { Measure::Accuracy } else { Measure::Share };
        let counts = |picture: &&Picture| {
            picture.verdict.is_claim() && (measure == Measure::Share || picture.correct == Some(true))
        };
        let mut radii: Vec<f64> = pictures.iter().filter(counts).map(|picture| picture.radius).collect();
        radii.sort_by(f64::total_cmp);
        Ok(Self { name, setting, measure, pictures, radii })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same series under another name.
    #[must_use]
    pub fn named(mut self, name: String) -> Self {
        self.name = name;
        self
    }

    /// What its pictures have in common.
    pub fn setting(&self) -> &Setting {
        &self.setting
    }

    /// What its shares measure.
    pub fn measure(&self) -> Measure {
        self.measure
    }

    /// Its pictures, in the order of the log.
    pub fn pictures(&self) -> &[Picture] {
        &self.pictures
    }

    /// The radii of the pictures that count for its measure, ascending.
    pub fn counted_radii(&self) -> &[f64] {
        &self.radii
    }

    /// How many pictures are certified (for accuracy: with the right label) at `radius` or more, as this field counts.
    pub fn count_at(&self, radius: f64) -> usize {
        self.radii.len() - self.radii.partition_point(|&certified| certified < radius)
    }
}
