//! The document as a text: what it is made of, that nothing was changed, and who signed.

use serde_json::Value;

use super::check::{Check, Wrong, clip};
use super::differ::differences;
use crate::certificate::digest::Digest;
use crate::certificate::document::from_hex;
use crate::certificate::{Document, DocumentError, FORMAT, PublicKey, canonical};
use crate::picture::Encoder;

/// The checks of the text, and the document if it can be read as one.
pub(super) fn checks(bytes: &[u8]) -> (Vec<Check>, Option<Document>) {
    let value = match canonical::parse(bytes) {
        Ok(value) => value,
        Err(error) => return (vec![Check::fails("json", format!("not a document: {error}"), ["."])], None),
    };
    let mut checks = vec![Check::holds("json", "it can be read in one way only")];
    checks.push(canonical_form(bytes, &value));
    checks.push(digest(&value));
    let (fields, document) = fields(&value);
    checks.push(fields);
    if let Some(document) = &document {
        checks.push(signature(document));
    }
    (checks, document)
}

fn canonical_form(bytes: &[u8], value: &Value) -> Check {
    let canonical = canonical::text(value).map(|text| text + "\n");
    if canonical.is_ok_and(|text| text.as_bytes() == bytes) {
        return Check::holds("canonical", "it is written in the one canonical form");
    }
    let says = "it is not written in the canonical form (RFC 8785 and a newline): white space, order of the fields or \
                the spelling of a number or a string was changed, which by itself changes no meaning";
    Check::fails("canonical", says, ["."])
}

fn digest(value: &Value) -> Check {
    const NAME: &str = "digest";
    let Value::Object(members) = value else {
        return Check::fails(NAME, "the document is no JSON object", ["."]);
    };
    let stated = members.get("digest").map(|stated| serde_json::from_value::<Digest>(stated.clone()));
    let Some(Ok(stated)) = stated else {
        return Check::fails(NAME, "there is no digest of the right form", ["digest"]);
    };
    let found = match Digest::of(members) {
        Ok(found) => found,
        Err(error) => return Check::fails(NAME, error.to_string(), ["."]),
    };
    let changed = found.differences(&stated);
    let whole = found.document == stated.document;
    match (changed.as_slice(), whole) {
        ([], true) => {
            Check::holds(NAME, format!("nothing was changed since BLAKE3 {} was taken", found.document))
        }
        ([], false) => {
            let says = "every field matches its fingerprint, but the whole document does not match `digest.document`: \
                        the digest itself was changed";
            Check::fails(NAME, says, ["digest.document"])
        }
        (changed, false) => {
            let says = format!("changed after the digest was taken: {}", changed.join(", "));
            Check::fails(NAME, says, changed.iter().cloned())
        }
        (changed, true) => {
            let says =
                "the document matches its digest, but not the fingerprints of its fields: they were changed";
            Check::fails(NAME, says, changed.iter().map(|name| format!("digest.fields.{name}")))
        }
    }
}

fn fields(value: &Value) -> (Check, Option<Document>) {
    const NAME: &str = "fields";
    if let Some(Value::String(format)) = value.get("format")
        && format != FORMAT
    {
        let says =
            clip(format!("its format is {format:?}, and this version of the program reads {FORMAT:?}"));
        return (Check::fails(NAME, says, ["format"]), None);
    }
    let document = match Document::from_value(value) {
        Ok(document) => document,
        Err(DocumentError::Field { field, problem }) => {
            return (Check::fails(NAME, format!("`{field}`: {problem}"), [field]), None);
        }
        Err(error) => return (Check::fails(NAME, error.to_string(), ["."]), None),
    };
    let mut wrong = match document.to_value() {
        Ok(written) => differences(value, &written),
        Err(error) => vec![Wrong::new(".", error.to_string())],
    };
    let certificate = &document.certificate;
    let hashes = [
        ("picture.hash", &certificate.picture.hash),
        ("denoiser.blake3", &certificate.denoiser.blake3),
        ("copies", &certificate.copies),
    ];
    for (field, hash) in hashes {
        if !(hash.len() == 64 && from_hex(hash).is_some()) {
            wrong.push(Wrong::new(field, format!("`{field}` is not 64 lower-case hexadecimal digits")));
        }
    }
    if certificate.encoder.parse::<Encoder>().map(|encoder| encoder.to_string()).ok().as_ref()
        != Some(&certificate.encoder)
    {
        wrong.push(Wrong::new("encoder", "`encoder` is none of this program's"));
    }
    if certificate.model_versions.len() > 1 {
        let says = "`model_versions` lists several models: a certificate is about one classifier";
        wrong.push(Wrong::new("model_versions", says));
    }
    (Check::unless_wrong(NAME, "every field of the format is there, and no other", &wrong), Some(document))
}

fn signature(document: &Document) -> Check {
    const NAME: &str = "signature";
    let seal = &document.seal;
    let (signer, signature) = match (&seal.signer, &seal.signature) {
        (None, None) => {
            return Check::not_checked(
                NAME,
                "it is not signed: whoever can write the file can write another with another digest",
            );
        }
        (Some(_), None) => {
            return Check::fails(
                NAME,
                "it names a signer, but the signature was taken off",
                ["signature", "signer"],
            );
        }
        (None, Some(_)) => {
            return Check::fails(NAME, "it has a signature, but names no signer", ["signature", "signer"]);
        }
        (Some(signer), Some(signature)) => (signer, signature),
    };
    let Some(key) = seal.public_key() else {
        return Check::fails(NAME, "`signer` names no Ed25519 key by its right id", ["signer"]);
    };
    let digest = blake3::Hash::from_hex(&seal.digest.document);
    let bytes = from_hex(signature);
    if digest.ok().zip(bytes).is_some_and(|(digest, bytes)| key.signed(&digest, &bytes)) {
        return Check::holds(
            NAME,
            format!("signed by key {}; whose key that is stands elsewhere", signer.key),
        );
    }
    let says = format!("the signature is not key {}'s on this digest", signer.key);
    Check::fails(NAME, says, ["signature"])
}

pub(super) fn signed_by(document: &Document, key: &PublicKey) -> Check {
    const NAME: &str = "signer";
    let id = key.id();
    match document.seal.public_key() {
        Some(signer) if signer == *key => Check::holds(NAME, format!("the key that was asked for, {id}")),
        Some(signer) => {
            let says = format!("key {} signed it, not the key that was asked for, {id}", signer.id());
            Check::fails(NAME, says, ["signer"])
        }
        None => Check::fails(NAME, format!("it names no signer; key {id} was asked for"), ["signer"]),
    }
}
