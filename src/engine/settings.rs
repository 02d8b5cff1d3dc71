//! What a certificate is about.

use crate::picture::Encoder;
use crate::question::Question;
use crate::stats::{Method, Plan};
use crate::units::{Alpha, Sigma};

/// Everything about a certificate but the picture, the seed, the denoiser and the endpoint.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Standard deviation of the noise.
    pub sigma: Sigma,
    /// The probability with which the certificate may be wrong, over all its claims together.
    pub alpha: Alpha,
    /// What is asked of each answer.
    pub question: Question,
    /// The statistical test.
    pub method: Method,
    /// How copies are encoded.
    pub encoder: Encoder,
    /// Most copies that the denoiser gets at once. Changes speed and memory, never a result.
    pub batch: usize,
    /// Most calls in flight for one picture. Changes speed, never a result.
    pub concurrency: usize,
    /// Most calls in flight beyond those that the test needs whatever is answered, never beyond the earliest vote at which
    /// it could claim anything. They may be paid in vain; fewer rounds of waiting are what they buy. Changes speed and
    /// cost, never a result.
    pub ahead: usize,
}

impl Settings {
    /// The settings of the field: Cohen's CERTIFY with 20 + 100 votes, alpha 0.001, `top1`, PNG.
    pub fn new(sigma: Sigma) -> Self {
        Self {
            sigma,
            alpha: Alpha::FIELD,
            question: Question::Top1,
            method: Method::Cohen { n0: 20, n: 100 },
            encoder: Encoder::Png,
            batch: 16,
            concurrency: 32,
            ahead: 0,
        }
    }

    /// The test's plan at level `alpha`.
    pub(super) fn plan(&self, alpha: f64) -> Plan {
        let label = self.question.label_rule();
        Plan { sigma: self.sigma.get(), alpha, label, method: self.method.clone() }
    }
}
