//! The file of keys.

use super::*;

#[test]
fn the_store_holds_no_secret() {
    let fixture = Fixture::new();
    let (_, token) = fixture.token(|_| {});
    let master = fixture.master();
    let (_, pair) = fixture.pair(&master, |_| {});
    let text = std::fs::read_to_string(fixture.path()).unwrap();
    let secret = token.expose_secret().rsplit_once('_').unwrap().1;
    for secret in [token.expose_secret(), secret, pair.secret_access_key.expose_secret()] {
        assert!(!text.contains(secret));
    }
    let shown = format!(
        "{:?} {master:?} {:?}",
        KeyFile::read(&fixture.path()).unwrap(),
        fixture.ring(Some(master.clone()))
    );
    assert!(!shown.contains(secret) && !shown.contains(pair.secret_access_key.expose_secret()));
    #[cfg(unix)]
    for file in ["keys.json", "master"] {
        let mode =
            std::os::unix::fs::MetadataExt::mode(&fixture.folder.path().join(file).metadata().unwrap());
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing() {
    let fixture = Fixture::new();
    let (_, token) = fixture.token(|_| {});
    let access = fixture.ring(None);
    let sent = Sent::to("/models/m").with("authorization", &format!("Bearer {}", token.expose_secret()));
    let good = std::fs::read_to_string(fixture.path()).unwrap();
    let twice = {
        let mut value: serde_json::Value = serde_json::from_str(&good).unwrap();
        let key = value["keys"][0].clone();
        value["keys"].as_array_mut().unwrap().push(key);
        value.to_string()
    };
    let damaged = [
        "",
        "{",
        &good[..good.len() / 2],
        &good.replace("\"format\": 1", "\"format\": 2"),
        &good.replace("\"routes\"", "\"ways\""),
        &twice,
    ]
    .map(str::to_owned);
    for text in damaged {
        std::fs::write(fixture.path(), &text).unwrap();
        let error = access.reload().unwrap_err().to_string();
        assert!(error.contains("keys.json"), "{error}");
        assert!(sent.check(&access, "huggingface", SystemTime::now()).is_ok(), "{text}");
    }
    std::fs::remove_file(fixture.path()).unwrap();
    assert!(access.reload().is_err());
    assert!(sent.check(&access, "huggingface", SystemTime::now()).is_ok());
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_write_is_not_taken() {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = Fixture::new();
    fixture.token(|_| {});
    for (mode, taken) in [(0o620, false), (0o602, false), (0o644, true), (0o640, true)] {
        std::fs::set_permissions(fixture.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        let opened = Keyring::open(&fixture.path(), None);
        assert_eq!(opened.is_ok(), taken, "{mode:o}: {opened:?}");
        if taken {
            // A change keeps who may read it.
            fixture.token(|_| {});
            assert_eq!(fixture.path().metadata().unwrap().permissions().mode() & 0o777, mode);
        } else {
            assert!(matches!(opened, Err(StoreError::Open(_))));
        }
    }
}

#[test]
fn writers_wait_for_each_other_and_no_key_is_lost() {
    let fixture = Fixture::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10).for_each(|_| drop(fixture.token(|_| {}))));
        }
    });
    assert_eq!(KeyFile::read(&fixture.path()).unwrap().keys().len(), 40);
}

#[test]
fn an_error_leaves_the_file_as_it_was() {
    let fixture = Fixture::new();
    fixture.token(|_| {});
    let before = std::fs::read(fixture.path()).unwrap();
    let unknown = KeyId::fresh().unwrap();
    let error = KeyFile::change(&fixture.path(), |file| {
        file.key_mut(file.keys()[0].id)?.name = "changed".to_owned();
        file.key_mut(unknown).map(drop)
    });
    assert!(matches!(error, Err(StoreError::Unknown(id)) if id == unknown));
    assert_eq!(std::fs::read(fixture.path()).unwrap(), before);
    let error = KeyFile::change(&fixture.path(), |file| file.add(file.keys()[0].clone()));
    assert!(matches!(error, Err(StoreError::Twice(_))));
    assert_eq!(std::fs::read(fixture.path()).unwrap(), before);
}

#[test]
fn an_absent_file_is_named() {
    let error = Keyring::open(Path::new("/absent/keys.json"), None).unwrap_err().to_string();
    assert!(error.contains("/absent/keys.json"), "{error}");
}
