//! What a certificate says: the claim and everything that re-derives it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::FORMAT;
use super::claim::{self, Conclusion};
use crate::engine::{CastVote, Engine, Evidence, Tested};
use crate::noise::{self, Seed};
use crate::picture::{Preprocessing, WorkingImage};
use crate::question::Question;
use crate::stats::{self, Plan, Reason};
use crate::units::{Alpha, Sigma};

/// What is claimed about one picture, with everything that re-derives it (design contract 10).
///
/// One picture, one seed, one stream of copies; any number of claims about the answers to them, which hold together with
/// probability at least 1 - alpha. Sigma and radii are in units of [0, 1] pixel values: `radius` at the working resolution, `radius_original` at the
/// resolution of the file. It holds nothing about when or how often the provider was called: a picture that was
/// interrupted and resumed gets the same certificate, byte for byte. What it cost stands in rows and in the ledger.
///
/// [`Document`](super::Document) is this with a digest, written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// [`FORMAT`].
    pub format: String,
    /// The claims in words.
    pub statement: String,
    /// The probability with which any of the claims may be wrong.
    pub alpha: Alpha,
    /// The claims, question by question in the order in which they were asked; those of one question in the order of the
    /// clean answer. At least one a question: one that abstained is here too.
    pub claims: Vec<Claim>,
    /// The picture.
    pub picture: Picture,
    /// The noise.
    pub noise: Noise,
    /// Name and BLAKE3 of the denoiser.
    pub denoiser: Hashed,
    /// How copies were encoded.
    pub encoder: String,
    /// The provider, or the configured instance of one.
    pub provider: String,
    /// What decides its answers as far as this side chooses it: the kind of provider with every option, the model of the
    /// built-in one. It holds no credential.
    pub provider_settings: serde_json::Value,
    /// The model versions that the provider reported: none or one.
    pub model_versions: Vec<String>,
    /// BLAKE3 over the BLAKE3 of every copy that was asked about, in index order.
    pub copies: String,
    /// The version of this software.
    pub software: String,
}

/// One claim, or one abstention: a question, the votes on it, and what their test says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// What was asked of each answer, about one label where the clean answer fixed it.
    pub question: Question,
    /// How ties were broken.
    pub tie_rule: String,
    /// The statistical test and its parameters. Its alpha is what this claim has of the certificate's; a little of that pays
    /// for the noise sampler. Claims of a question `clean-labels/sequence` share one.
    pub test: Plan,
    /// Certified, predicted or abstained.
    pub outcome: Outcome,
    /// The label, where there is a claim.
    pub label: Option<String>,
    /// No perturbation of the working image with a smaller L2 norm changes the label. 0 where nothing is certified.
    pub radius: f64,
    /// The same for perturbations of the decoded picture before it was resized.
    pub radius_original: f64,
    /// The lower bound on the label's probability that the radius follows from, where the test has one.
    pub p_lower: Option<f64>,
    /// Why the test abstained.
    pub abstained: Option<Reason>,
    /// The labels that got votes, in order of first appearance.
    pub labels: Vec<String>,
    /// The votes in index order, up to the one that decided.
    pub votes: Vec<CastVote>,
}

/// The end of one claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// A label with a radius.
    Certified,
    /// A label without a radius (`predict`).
    Predicted,
    /// No claim.
    Abstained,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Certified => "certified",
            Self::Predicted => "predicted",
            Self::Abstained => "abstained",
        })
    }
}

/// One label that a certificate proves to be stable.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CertifiedLabel {
    /// The label, as the question or the provider spells it.
    pub label: String,
    /// What was asked of each answer: `absent:dog`, say, is no label of the provider's.
    pub question: Question,
    /// L2 radius on the working image, in units of [0, 1] pixel values; 0 only for a test that was asked for radius 0.
    pub radius: f64,
    /// The same for the decoded picture before it was resized.
    pub radius_original: f64,
    /// Lower bound on the probability with which the pipeline's answer to a noisy copy votes for the label, in [0, 1]. `None`
    /// for a test that bounds the label and its strongest rival against each other and neither alone (two-class tables).
    pub p_lower: Option<f64>,
}

/// Which picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// BLAKE3 of the working image's pixels, as `picture hash` prints it.
    pub hash: String,
    /// Width of the working image.
    pub width: u32,
    /// Height of the working image.
    pub height: u32,
    /// From the file to the working image.
    pub preprocessing: Preprocessing,
}

/// Which noise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// Its standard deviation.
    pub sigma: Sigma,
    /// The seed of its draws.
    pub seed: Seed,
    /// The generator and its version.
    pub generator: String,
}

/// A name with a hash of what it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashed {
    /// The name.
    pub name: String,
    /// BLAKE3 in hexadecimal.
    pub blake3: String,
}

impl Certificate {
    /// Writes down what the engine gathered about a picture.
    pub fn new(engine: &Engine, image: &WorkingImage, seed: Seed, evidence: &Evidence) -> Self {
        let settings = engine.settings();
        let endpoint = engine.endpoint().describe();
        let id = engine.denoiser().id();
        let mut certificate = Self {
            format: FORMAT.to_owned(),
            statement: String::new(),
            alpha: settings.alpha,
            claims: evidence.claims.iter().map(|tested| Claim::new(tested, image)).collect(),
            picture: Picture {
                hash: image.hash().to_string(),
                width: image.width(),
                height: image.height(),
                preprocessing: image.preprocessing().clone(),
            },
            noise: Noise { sigma: settings.sigma, seed, generator: noise::RNG_VERSION.to_owned() },
            denoiser: Hashed { name: id.name().to_owned(), blake3: id.hash().to_hex().to_string() },
            encoder: settings.encoder.to_string(),
            provider: endpoint.name.clone(),
            provider_settings: endpoint.identity.clone(),
            model_versions: evidence.model_versions.clone(),
            copies: blake3::Hash::from_bytes(evidence.copies).to_hex().to_string(),
            software: concat!("smoothgate ", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        certificate.statement = claim::in_words(&certificate);
        certificate
    }

    /// The labels that are certified, in the order of the certificate's claims: question by question as they were asked, and
    /// for `clean-labels` the highest score of the clean answer first. None where every claim abstains or predicts. All of
    /// them together are right with probability at least 1 - alpha.
    pub fn certified(&self) -> Vec<CertifiedLabel> {
        let certified = |claim: &Claim| {
            let label = claim.label.clone().filter(|_| claim.outcome == Outcome::Certified)?;
            Some(CertifiedLabel {
                label,
                question: claim.question.clone(),
                radius: claim.radius,
                radius_original: claim.radius_original,
                p_lower: claim.p_lower,
            })
        };
        self.claims.iter().filter_map(certified).collect()
    }

    /// The claims of each question as it was asked, in their order.
    pub fn questions(&self) -> impl Iterator<Item = (Question, &[Claim])> {
        let chunks = self.claims.chunk_by(|a, b| a.question.asked() == b.question.asked());
        chunks.filter_map(|claims| Some((claims.first()?.question.asked(), claims)))
    }

    /// Certified if any claim is, else predicted if any is, else abstained.
    pub fn outcome(&self) -> Outcome {
        let has = |outcome| self.claims.iter().any(|claim| claim.outcome == outcome);
        let claimed = [Outcome::Certified, Outcome::Predicted].into_iter().find(|&outcome| has(outcome));
        claimed.unwrap_or(Outcome::Abstained)
    }

    /// Has every question a claim?
    pub fn is_complete(&self) -> bool {
        self.questions().all(|(_, claims)| claims.iter().any(|claim| claim.outcome != Outcome::Abstained))
    }

    /// How many draws voted: as many as the claim had votes that took most.
    pub fn draws(&self) -> u64 {
        self.claims.iter().map(|claim| claim.votes.len() as u64).max().unwrap_or(0)
    }

    /// Does any question need the answer about the clean picture, one call that is no draw?
    pub fn asked_clean(&self) -> bool {
        self.claims.iter().any(|claim| claim.question.asks_clean())
    }
}

impl Claim {
    fn new(tested: &Tested, image: &WorkingImage) -> Self {
        let conclusion = Conclusion::of(&tested.decision, &tested.plan.method);
        let label = conclusion.class.and_then(|class| tested.classes.spelling(class)).map(str::to_owned);
        Self {
            question: tested.question.clone(),
            tie_rule: tested.question.tie_rule().to_owned(),
            test: tested.plan.clone(),
            outcome: conclusion.outcome,
            label,
            radius: conclusion.radius,
            radius_original: stats::round_down(image.preprocessing().radius_original(conclusion.radius)),
            p_lower: conclusion.p_lower,
            abstained: conclusion.abstained,
            labels: tested.classes.spellings().to_vec(),
            votes: tested.votes.iter().copied().map(CastVote::from).collect(),
        }
    }

    /// Votes for each label: most first, ties by first appearance.
    pub fn counts(&self) -> Vec<(&str, u64)> {
        let mut votes = vec![0u64; self.labels.len()];
        for vote in &self.votes {
            if let CastVote::For(label) = vote
                && let Some(count) = votes.get_mut(*label)
            {
                *count += 1;
            }
        }
        let mut counts: Vec<_> = self.labels.iter().map(String::as_str).zip(votes).collect();
        counts.sort_by_key(|&(_, votes)| std::cmp::Reverse(votes));
        counts
    }

    /// How many votes are failures.
    pub fn failed_votes(&self) -> u64 {
        self.votes.iter().filter(|&&vote| stats::Vote::from(vote) == stats::Vote::Failed).count() as u64
    }

    /// Votes for each label by name, for machine-readable rows.
    pub fn counts_by_label(&self) -> BTreeMap<&str, u64> {
        self.counts().into_iter().collect()
    }
}
