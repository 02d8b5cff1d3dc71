//! Certificates by their ids: `GET /certificates/{id}`.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use super::access::Caller;
use super::refusals;
use super::route::Route;
use crate::certificate::Certificate;
use crate::ledger::{LedgerError, PictureId, Reader};
use smoothgate_providers::served::{Refusal, RefusalClass};

/// Names a certificate: its number in the ledger and half of the BLAKE3 of its noise's seed, which nobody can guess who has
/// not seen it. The same whether and by whom the document is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CertificateId {
    picture: PictureId,
    seed: [u8; 16],
}

impl CertificateId {
    /// The id of the certificate of this picture.
    pub fn of(picture: PictureId, certificate: &Certificate) -> Self {
        let mut seed = [0; 16];
        seed.copy_from_slice(&blake3::hash(certificate.noise.seed.as_bytes()).as_bytes()[..16]);
        Self { picture, seed }
    }
}

/// `17-` and 32 hexadecimal digits.
impl fmt::Display for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:032x}", self.picture, u128::from_be_bytes(self.seed))
    }
}

/// No id of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id of a certificate is a number, a hyphen and 32 hexadecimal digits")]
pub struct CertificateIdError;

impl FromStr for CertificateId {
    type Err = CertificateIdError;

    fn from_str(text: &str) -> Result<Self, CertificateIdError> {
        let (picture, seed) = text.split_once('-').ok_or(CertificateIdError)?;
        let plain = |text: &str, wanted: fn(u8) -> bool| !text.is_empty() && text.bytes().all(wanted);
        let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if !plain(picture, |b| b.is_ascii_digit()) || seed.len() != 32 || !plain(seed, hex) {
            return Err(CertificateIdError);
        }
        let seed = u128::from_str_radix(seed, 16).map_err(|_| CertificateIdError)?;
        let picture = picture.parse().map_err(|_| CertificateIdError)?;
        Ok(Self { picture: PictureId(picture), seed: seed.to_be_bytes() })
    }
}

/// The certificate of this id as a document, if it is one of the caller's and a route's. Reads the disk.
///
/// Whatever is wrong with the id, the answer is the same: that there is none.
pub(super) fn find(
    ledger: &Path,
    routes: &[Arc<Route>],
    caller: &Caller,
    id: &str,
) -> Result<String, Refusal> {
    let none = || Refusal::new(RefusalClass::NotFound, "there is no such certificate");
    let id: CertificateId = id.parse().map_err(|_| none())?;
    let found = Reader::open(ledger).and_then(|reader| reader.certificate(id.picture));
    let found = found.map_err(|error: LedgerError| refusals::ledger(&error))?;
    let (run, name, text) = found.ok_or_else(none)?;
    let route = routes.iter().find(|route| route.run.id() == run).ok_or_else(none)?;
    let theirs = name.split_once('/').is_some_and(|(owner, _)| owner == &*caller.id);
    if !theirs || !caller.may_use(route.name()) {
        return Err(none());
    }
    let document = crate::certificate::Document::parse(text.as_bytes()).map_err(|error| {
        tracing::error!(%error, %name, "a certificate on record cannot be read");
        refusals::internal()
    })?;
    if CertificateId::of(id.picture, &document.certificate) != id {
        return Err(none());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written_and_in_no_other_way() {
        let id = CertificateId { picture: PictureId(17), seed: [0x0a; 16] };
        let text = id.to_string();
        assert_eq!(text, format!("17-{}", "0a".repeat(16)));
        assert_eq!(text.parse(), Ok(id));
        for wrong in ["", "17", "17-", "-0a", "17-0A", "+17-00", "x-00"] {
            assert!(wrong.parse::<CertificateId>().is_err(), "{wrong}");
        }
        assert!(text.to_uppercase().parse::<CertificateId>().is_err());
        assert!(format!("{text}0").parse::<CertificateId>().is_err());
    }
}
