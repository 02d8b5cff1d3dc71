//! Why a picture got no verdict.

use smoothgate_providers::{AskError, Fault, JournalError, OutcomeClass};

use crate::noise::NoiseError;
use crate::picture::PictureError;
use crate::stats::{StatsError, TooMuch};

/// Why the engine stopped without a verdict. Answers that were paid for stay where they were recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The test's parameters cannot work. Nothing was sent.
    #[error(transparent)]
    Stats(#[from] StatsError),
    /// The test does not prove what the question asks. Nothing was sent.
    #[error(
        "the test `{test}` does not prove what `{question}` asks: `topk:K` needs the test `topk` with the same K, and no other \
         question can use it"
    )]
    Unsuited {
        /// The question.
        question: String,
        /// The test's name.
        test: &'static str,
    },
    /// One question twice. Nothing was sent.
    #[error("the question `{question}` is asked twice: ask each once, since questions share alpha")]
    AskedTwice {
        /// The question.
        question: String,
    },
    /// What a certificate could hold, and what it takes to make its tests anew, is more than [`Verification`] checks. Nothing
    /// was sent.
    ///
    /// [`Verification`]: crate::certificate::Verification
    #[error(
        "nobody could verify a certificate of these settings: {0}; ask for fewer radii, fewer votes at most, fewer labels or \
         fewer questions, or for tables with one bound (`table1`) instead of two-class tables"
    )]
    Unverifiable(#[from] TooMuch),
    /// The noise law cannot be built. Nothing was sent.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// A copy could not be made or encoded.
    #[error("a noisy copy could not be encoded: {0}")]
    Picture(#[from] PictureError),
    /// The denoiser failed.
    #[error("the denoiser failed: {0}")]
    Denoiser(#[from] smoothgate_denoisers::DenoiseError),
    /// Alpha is so small, or the picture so large, that the noise sampler's own error would take more than a hundredth
    /// of alpha. Nothing was sent.
    #[error(
        "alpha {alpha} is too small for {width}x{height} pictures and this many votes: the noise sampler's error would be \
         more than a hundredth of it; raise --alpha, or choose a smaller --size or fewer votes"
    )]
    TooFine {
        /// The level asked for.
        alpha: f64,
        /// Width of the working image.
        width: u32,
        /// Height of the working image.
        height: u32,
    },
    /// The endpoint accepts no copy of this size and format. Nothing was sent.
    #[error("provider {provider} {problem}")]
    Unacceptable {
        /// The endpoint's name.
        provider: String,
        /// The limit, the copy's value and what to change.
        problem: String,
    },
    /// The endpoint cannot answer any more: credentials, quota or configuration.
    #[error("provider {provider} stopped the run ({class}): {reason}")]
    Stopped {
        /// The endpoint's name.
        provider: String,
        /// `Auth`, `QuotaSpent` or `Misconfigured`.
        class: OutcomeClass,
        /// The provider's words.
        reason: String,
    },
    /// Two answers of one picture came from different models. A certificate is about one classifier.
    #[error(
        "provider {provider} changed its model in the middle of the certificate: vote {vote} came from {now}, the votes \
         before it from {before}; the answers are kept, start a new run to certify the new model"
    )]
    ModelChanged {
        /// The endpoint's name.
        provider: String,
        /// Index of the first vote of the other model.
        vote: u64,
        /// The version of the votes before.
        before: String,
        /// The other version.
        now: String,
    },
    /// It was told to stop ([`Stop`](super::Stop)). What was sent before is recorded.
    #[error("interrupted before the votes sufficed; everything that was answered is kept")]
    Interrupted,
    /// Budget, ledger, or a defect in the transport.
    #[error(transparent)]
    Ask(AskError),
    /// A worker of this process died: a defect of ours.
    #[error("a worker of this process died (please report it): {0}")]
    Worker(String),
}

impl From<AskError> for EngineError {
    fn from(error: AskError) -> Self {
        Self::Ask(error)
    }
}

impl EngineError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Stats(_)
            | Self::Noise(_)
            | Self::TooFine { .. }
            | Self::Unacceptable { .. }
            | Self::AskedTwice { .. }
            | Self::Unsuited { .. }
            | Self::Unverifiable(_)
            | Self::Interrupted
            | Self::Ask(AskError::Journal(JournalError::Budget(_)) | AskError::Request(_)) => Fault::User,
            Self::Stopped { .. } | Self::ModelChanged { .. } => Fault::Provider,
            Self::Picture(_) | Self::Denoiser(_) | Self::Ask(_) | Self::Worker(_) => Fault::Us,
        }
    }

    /// Did a budget end the run?
    pub fn is_budget(&self) -> bool {
        matches!(self, Self::Ask(AskError::Journal(JournalError::Budget(_))))
    }
}
