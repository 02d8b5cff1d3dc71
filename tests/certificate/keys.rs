//! Keys: other tools' files, and files that only their owner reads.

use smoothgate::certificate::{Document, KeyError, PublicKey, SigningKey, Verification};

use crate::real::cases;

/// The example of RFC 8410, sections 10.1 and 10.3.
const RFC_8410_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
    -----END PRIVATE KEY-----\n";
const RFC_8410_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
    -----END PUBLIC KEY-----\n";

#[test]
fn the_key_files_of_rfc_8410_are_read_and_written() {
    let dir = tempfile::tempdir().unwrap();
    let (private, public) = (dir.path().join("key"), dir.path().join("pub"));
    std::fs::write(&private, RFC_8410_PRIVATE).unwrap();
    std::fs::write(&public, RFC_8410_PUBLIC).unwrap();
    let key = SigningKey::load(&private).unwrap();
    assert_eq!(key.public().to_pem(), RFC_8410_PUBLIC);
    assert_eq!(PublicKey::load(public.to_str().unwrap()).unwrap(), key.public());
    assert_eq!(PublicKey::load(&key.public().to_hex()).unwrap(), key.public());
    let copy = dir.path().join("copy");
    key.save(&copy).unwrap();
    assert_eq!(std::fs::read_to_string(copy).unwrap(), RFC_8410_PRIVATE);
}

#[test]
fn a_new_key_is_private_and_is_never_overwritten_nor_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    let key = SigningKey::generate().unwrap();
    key.save(&path).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(SigningKey::generate().unwrap().save(&path), Err(KeyError::Exists(_))));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let text = String::from_utf8(before).unwrap();
    let body = text.lines().nth(1).unwrap();
    assert!(!format!("{key:?}").contains(&body[22..]));
    // A private key is not taken for a public one, nor the other way round.
    let error = PublicKey::load(path.to_str().unwrap()).unwrap_err().to_string();
    assert!(error.contains("public key") && !error.contains(&body[22..]), "{error}");
    let public = dir.path().join("pub.pem");
    std::fs::write(&public, key.public().to_pem()).unwrap();
    assert!(matches!(SigningKey::load(&public), Err(KeyError::NotAKey { .. })));
    for broken in
        ["", "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
    {
        std::fs::write(&public, broken).unwrap();
        assert!(matches!(SigningKey::load(&public), Err(KeyError::NotAKey { .. })), "{broken:?}");
    }
}

#[test]
fn the_same_certificate_and_key_give_the_same_bytes() {
    let key = SigningKey::generate().unwrap();
    let certificate = cases()[0].certificate();
    let text = || Document::seal(certificate.clone(), Some(&key)).unwrap().to_text().unwrap();
    assert_eq!(text(), text());
    let mut verification = Verification::of(text().as_bytes());
    verification.signed_by(&key.public());
    assert!(verification.holds(), "{:#?}", verification.checks());
    verification.signed_by(&SigningKey::generate().unwrap().public());
    assert!(!verification.holds(), "another key did not sign it");
}
