//! What holds of a document that came from a stranger.
//!
//! Everything is computed anew from the document alone: digest and signature, the tests from their plans, what each claim has
//! of alpha and that all together have no more than it, the votes through the tests in index order, bounds, radii, the claims
//! in words. With the
//! picture also its hash and how it was made ready; with a denoiser the noisy copies; with a ledger the answers.
//!
//! The document is not trusted: its size, its test and the work that they make are bounded before anything is computed.

mod answers;
mod bounds;
mod check;
mod claim;
mod copies;
mod differ;
mod form;
mod picture;
mod settings;
mod test;
mod votes;

pub use answers::Recorded;
pub use check::{Check, Verdict};

use super::{Certificate, Document, PublicKey};
use crate::picture::WorkingImage;

/// The fields that no other field implies, with what else than a signature shows a change of them. Whoever can write a new
/// digest can change these in a document without a signature, each by itself; every other field contradicts the rest of
/// the document when it alone is changed. `claims[].` stands for any one claim.
pub const UNDERIVED: [(&str, &str); 16] = [
    ("claims[].labels", "--ledger"),
    ("claims[].test.method", "--ledger"),
    ("claims[].votes", "--ledger"),
    ("copies", "--redraw"),
    ("denoiser.blake3", "--redraw"),
    ("encoder", "--redraw"),
    ("model_versions", "--ledger"),
    ("noise.seed", "--redraw"),
    ("picture.hash", "--picture"),
    ("picture.preprocessing.bits", "--picture"),
    ("picture.preprocessing.fit", "--picture"),
    ("picture.preprocessing.format", "--picture"),
    ("picture.preprocessing.orientation", "--picture"),
    ("picture.preprocessing.original", "--picture"),
    ("provider_settings", "--ledger"),
    ("software", "nothing"),
];

/// The working image of a file, made ready as the certificate says.
///
/// # Errors
/// In words: the certificate's sizes are beyond bounds, or the file is no picture.
pub(crate) fn working_image(certificate: &Certificate, file: &[u8]) -> Result<WorkingImage, String> {
    bounds::sizes(certificate)?;
    picture::open(certificate, file).map_err(|error| error.to_string())
}

/// The checks of one document, in the order in which they were made.
#[derive(Debug)]
pub struct Verification {
    checks: Vec<Check>,
    document: Option<Document>,
}

impl Verification {
    /// Checks all that can be checked with the document alone. Never fails: what is wrong is a check that fails.
    pub fn of(bytes: &[u8]) -> Self {
        let (mut checks, document) = form::checks(bytes);
        if let Some(document) = &document {
            let certificate = &document.certificate;
            checks.push(picture::sizes(certificate));
            match test::build(certificate) {
                Err(failed) => checks.push(failed),
                Ok((tests, built)) => {
                    checks.extend(built);
                    let (cast, decisions) = votes::replay(certificate, &tests);
                    checks.push(cast);
                    checks.extend(claim::checks(certificate, &decisions));
                }
            }
        }
        Self { checks, document }
    }

    /// Checks that this key signed the document, and not just any.
    pub fn signed_by(&mut self, key: &PublicKey) {
        let Some(document) = &self.document else { return };
        self.checks.push(form::signed_by(document, key));
    }

    /// Checks that the content of this file is the picture, and was made ready as the document says.
    pub fn picture(&mut self, file: &[u8]) {
        let Some(document) = &self.document else { return };
        self.checks.extend(picture::file(&document.certificate, file));
    }

    /// Makes the noisy, denoised and encoded copies of the picture again and compares their hash. It takes as long as
    /// making them did. `file` is the content of the picture's file.
    pub async fn redraw(&mut self, file: &[u8], denoiser: &smoothgate_denoisers::DenoiserHandle) {
        let Some(document) = &self.document else { return };
        self.checks.push(copies::check(&document.certificate, file, denoiser).await);
    }

    /// Checks that the run on record was begun with what the document says, and that every vote is what the question makes of
    /// the outcome on record for its draw. `on_record` is what the ledger holds of the picture; several where runs of other
    /// settings drew from the same seed, of which one must be that of the certificate; none where the ledger knows no such
    /// picture.
    pub fn answers<'a>(&mut self, on_record: impl IntoIterator<Item = Recorded<'a>>) {
        let Some(document) = &self.document else { return };
        let certificate = &document.certificate;
        let checks = on_record.into_iter().map(|record| answers::check(certificate, Some(record)));
        // A record whose answers are gone may be the certificate's; one that differs may be another run's.
        let found = checks.max_by_key(|check| match check.verdict {
            Verdict::Holds => 2,
            Verdict::NotChecked => 1,
            Verdict::Fails => 0,
        });
        self.checks.push(found.unwrap_or_else(|| answers::check(certificate, None)));
    }

    /// Whether nothing failed.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.verdict != Verdict::Fails)
    }

    /// The checks.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The certificate, where the document could be read as one. It is to be believed only if [`Self::holds`].
    pub fn certificate(&self) -> Option<&Certificate> {
        self.document.as_ref().map(|document| &document.certificate)
    }
}
