//! Keys of callers.

use std::path::Path;

use serde_json::Value;

use super::{code, program, text};

/// Runs `keys` in a folder and gives its exit code and what it printed.
fn keys(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = program(folder);
    let command = command.current_dir(folder).env_remove("SMOOTHGATE_KEYS").arg("keys").args(arguments);
    let out = command.output().unwrap();
    (code(&out), text(&out.stdout) + &text(&out.stderr))
}

#[test]
fn keys_of_callers_are_issued_listed_changed_and_revoked() {
    use smoothgate::proxy::access::{KeyFile, Keyring, Master};
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| keys(dir.path(), arguments);
    assert_eq!(run(&["list"]), (0, "no keys in smoothgate-keys.json\n".to_owned()));
    let (code, issued) =
        run(&["issue", "photo desk", "--rate", "60/m", "--max-cost", "5.00USD", "--route", "a,b-*"]);
    assert_eq!(code, 0, "{issued}");
    assert!(issued.contains("routes a,b-*, 60/m, at most $5.00"), "{issued}");
    let token = issued.lines().find(|line| line.starts_with("sg_")).unwrap().to_owned();
    let id = token.split('_').nth(1).unwrap();
    let (code, pair) = run(&["issue", "archive", "--aws", "--json", "--expires", "2999-01-01"]);
    let pair: Value = serde_json::from_str(&pair).unwrap();
    assert_eq!((code, &pair["expires"]), (0, &"2999-01-01T00:00:00Z".into()));
    let access_key = pair["access_key_id"].as_str().unwrap();

    // The secret that is printed is the one that the server will derive.
    let master = Master::read(
        &format!("file::{}", dir.path().join("smoothgate-keys.master").display()).parse().unwrap(),
        &smoothgate::providers::credentials::Environment::process(),
    )
    .unwrap();
    let path = dir.path().join("smoothgate-keys.json");
    let pair_id = KeyFile::read(&path).unwrap().keys()[1].id;
    let secret = secrecy::ExposeSecret::expose_secret(&master.secret(pair_id)).to_owned();
    assert_eq!(
        (pair["secret_access_key"].as_str(), access_key),
        (Some(secret.as_str()), pair_id.for_aws().as_str())
    );
    assert_eq!(Keyring::open(&path, Some(master)).unwrap().active(), 2);

    let (_, list) = run(&["list"]);
    let (_, json) = run(&["list", "--json"]);
    for shown in [&list, &json] {
        assert!(shown.contains(id) && shown.contains("photo desk"), "{shown}");
        assert!(!shown.contains(&token) && !shown.contains(&secret));
    }
    assert_eq!(run(&["change", id]).0, 2, "nothing to change");
    let (code, changed) = run(&["change", id, "--max-cost", "none", "--max-calls", "7", "--rate", "1/s"]);
    assert_eq!(code, 0, "{changed}");
    assert!(changed.contains("1/s, at most 7 calls") && !changed.contains("$5.00"), "{changed}");
    assert_eq!(run(&["revoke", id, "aaaaaaaaaaaaaaaa"]).0, 2, "all of them or none");
    assert_eq!(run(&["revoke", id, access_key]).0, 0);
    let (code, error) = run(&["change", id, "--name", "x"]);
    assert!(code == 2 && error.contains("revoked"), "{error}");
    let (_, list) = run(&["list", "--json"]);
    let list: Vec<Value> = serde_json::from_str(&list).unwrap();
    assert!(list.iter().all(|key| key["state"] == "revoked"), "{list:?}");

    for bad in [
        &["issue"][..],
        &["issue", "x", "--rate", "fast"],
        &["issue", "x", "--max-cost", "-1"],
        &["issue", "x", "--expires", "someday"],
        &["issue", "x", "--route", ""],
        &["issue", "x", "--aws", "--master", "0123456789"],
        &["issue", "x", "--aws", "--master", "env::ABSENT"],
        &["revoke", &token],
        &["change", &token, "--name", "x"],
    ] {
        let (code, error) = run(bad);
        assert_eq!(code, 2, "{bad:?}: {error}");
        assert!(
            !error.contains(&token) && !error.contains("0123456789"),
            "secrets are not repeated: {error}"
        );
    }
}
