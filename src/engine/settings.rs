//! What a certificate is about.

use crate::picture::Encoder;
use crate::question::Question;
use crate::stats::{Method, Sharing, TooMuch, Work};
use crate::units::{Alpha, Sigma};

/// A question, and the test that its votes go through.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// What is asked of each answer.
    pub question: Question,
    /// The statistical test.
    pub method: Method,
}

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
    /// Further questions on the same answers. All questions together share alpha, the same part for each; none may be asked
    /// twice.
    pub also: Vec<Asked>,
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
            also: Vec::new(),
            encoder: Encoder::Png,
            batch: 16,
            concurrency: 32,
            ahead: 0,
        }
    }

    /// All questions with their tests, in the order of the claims of a certificate.
    pub fn asked(&self) -> impl Iterator<Item = (&Question, &Method)> {
        let also = self.also.iter().map(|asked| (&asked.question, &asked.method));
        std::iter::once((&self.question, &self.method)).chain(also)
    }

    /// How many questions there are.
    pub fn questions(&self) -> usize {
        1 + self.also.len()
    }

    /// Refuses what nobody could verify: a certificate with the most claims and the most votes, whatever comes of it.
    pub(crate) fn check_work(&self) -> Result<(), TooMuch> {
        let mut work = Work::default();
        let mut met = Vec::new();
        for (at, (question, method)) in self.asked().enumerate() {
            let claims = question.most_claims();
            work.claims(method, claims, method.most_votes())?;
            // Equal tests are one. How many claims share a level, and so which level it is, the clean answer fixes.
            let own = (claims > 1 && question.sharing() == Sharing::Even).then_some(at);
            let test = (method, question.label_rule(), own);
            if !met.contains(&test) {
                met.push(test);
                work.test(method)?;
            }
        }
        work.check()
    }

    /// Does any question need the answer about the clean picture, one call more?
    pub fn asks_clean(&self) -> bool {
        self.asked().any(|(question, _)| question.asks_clean())
    }
}
