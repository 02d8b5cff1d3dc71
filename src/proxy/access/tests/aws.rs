//! Pairs and signatures.

use super::*;

#[test]
fn aws_clients_sign_with_pairs_of_ours() {
    let fixture = Fixture::new();
    let master = fixture.master();
    let (id, pair) = fixture.pair(&master, |_| {});
    let (_, token) = fixture.token(|_| {});
    let access = fixture.ring(Some(master.clone()));
    let now = SystemTime::now();
    let check = |sent: &Sent, now| sent.check(&access, "aws", now);
    assert_eq!(check(&Sent::signed(&pair, now), now).unwrap().id, id);

    let code = |result: Result<Record, Denied>| {
        let reply = served::by_name("aws").unwrap().refuse(&result.unwrap_err().refusal(), &mark());
        assert_eq!(reply.status(), 400);
        let body: serde_json::Value = serde_json::from_slice(reply.body()).unwrap();
        assert_eq!(reply.headers()["x-amzn-errortype"], body["__type"].as_str().unwrap());
        body["__type"].as_str().unwrap().to_owned()
    };
    let with = |change: &dyn Fn(&mut AwsKeys)| {
        let mut keys = pair.clone();
        change(&mut keys);
        Sent::signed(&keys, now)
    };
    for (what, sent, expected) in [
        ("another secret", with(&|k| k.secret_access_key = "x".into()), "InvalidSignatureException"),
        (
            "another key",
            with(&|k| k.access_key_id = KeyId::fresh().unwrap().for_aws()),
            "UnrecognizedClientException",
        ),
        (
            "a key of AWS'",
            with(&|k| k.access_key_id = "AKIDEXAMPLE".to_owned()),
            "UnrecognizedClientException",
        ),
        (
            "the id in small letters",
            with(&|k| k.access_key_id = format!("SGAK{id}")),
            "UnrecognizedClientException",
        ),
        ("a session token", with(&|k| k.session_token = Some("t".into())), "UnrecognizedClientException"),
        (
            "a token of ours",
            Sent::to("/").with("authorization", &format!("Bearer {}", token.expose_secret())),
            "MissingAuthenticationTokenException",
        ),
        ("too old", Sent::signed(&pair, now - Duration::from_secs(302)), "InvalidSignatureException"),
        ("too new", Sent::signed(&pair, now + Duration::from_secs(302)), "InvalidSignatureException"),
        (
            "truncated",
            {
                let sent = Sent::signed(&pair, now);
                let line = sent.headers["authorization"].to_str().unwrap().to_owned();
                sent.with("authorization", &line[..line.len() - 1])
            },
            "InvalidSignatureException",
        ),
        (
            "cut off",
            {
                let sent = Sent::signed(&pair, now);
                let line = sent.headers["authorization"].to_str().unwrap().to_owned();
                sent.with("authorization", line.split(", Signature").next().unwrap())
            },
            "IncompleteSignatureException",
        ),
        (
            "another body",
            Sent { body: Bytes::from_static(b"{ }"), ..Sent::signed(&pair, now) },
            "InvalidSignatureException",
        ),
    ] {
        assert_eq!(code(check(&sent, now)), expected, "{what}");
    }
    // A token's id is no pair, whatever secret would follow from it.
    let (token_id, _) = fixture.token(|_| {});
    access.reload().unwrap();
    let as_pair = AwsKeys {
        access_key_id: token_id.for_aws(),
        secret_access_key: master.secret(token_id),
        session_token: None,
    };
    assert_eq!(code(check(&Sent::signed(&as_pair, now), now)), "UnrecognizedClientException");
    // And a pair's secret is no token.
    let secret = format!("sg_{id}_{}", pair.secret_access_key.expose_secret());
    let sent = Sent::to("/models/m").with("authorization", &format!("Bearer {secret}"));
    assert!(matches!(sent.check(&access, "huggingface", now), Err(Denied::Unknown { .. })));

    fixture.edit(id, |key| key.expires = Some(Time::of(now)));
    access.reload().unwrap();
    assert_eq!(code(check(&Sent::signed(&pair, now), now)), "ExpiredTokenException");
    fixture.edit(id, |key| key.revoked = Some(Time::of(now)));
    access.reload().unwrap();
    assert_eq!(code(check(&Sent::signed(&pair, now), now)), "UnrecognizedClientException");
}

#[test]
fn a_recorded_signature_cannot_be_used_again() {
    let fixture = Fixture::new();
    let master = fixture.master();
    let (_, pair) = fixture.pair(&master, |_| {});
    let access = fixture.ring(Some(master));
    let now = SystemTime::now();
    let later = |seconds| now + Duration::from_secs(seconds);
    let sent = Sent::signed(&pair, now);
    assert!(sent.check(&access, "aws", now).is_ok());
    // An SDK that tries again in the same second sends the same bytes.
    assert!(sent.check(&access, "aws", later(1)).is_ok());
    // The same signature in capitals, with an unsigned header, is the same signature.
    let line = sent.headers["authorization"].to_str().unwrap();
    let (front, signature) = line.rsplit_once('=').unwrap();
    let capitals = sent
        .clone()
        .with("authorization", &format!("{front}={}", signature.to_uppercase()))
        .with("x-other", "1");
    for replay in [&sent, &capitals] {
        for seconds in [3, 60, 299] {
            assert_eq!(replay.check(&access, "aws", later(seconds)).unwrap_err(), Denied::Replayed);
        }
    }
    assert!(Sent::signed(&pair, later(3)).check(&access, "aws", later(3)).is_ok());
    assert_eq!(Denied::Replayed.refusal().aws_code, Some("InvalidSignatureException"));
}

#[test]
fn pairs_need_the_master_that_they_were_made_with() {
    let fixture = Fixture::new();
    let master = fixture.master();
    let (id, _) = fixture.pair(&master, |_| {});
    assert!(matches!(Keyring::open(&fixture.path(), None), Err(StoreError::NoMaster { .. })));
    let other = Master::create(&fixture.folder.path().join("other")).unwrap();
    assert!(matches!(
        Keyring::open(&fixture.path(), Some(other.clone())),
        Err(StoreError::OtherMaster { .. })
    ));
    assert!(Keyring::open(&fixture.path(), Some(master.clone())).is_ok());
    // An existing master is never overwritten.
    assert!(Master::create(&fixture.folder.path().join("other")).is_err());
    let environment =
        Environment::of([("WEAK", "pass phrase"), ("SHORT", &"a".repeat(63)), ("GOOD", &"a".repeat(64))]);
    for (place, good) in
        [("env::WEAK", false), ("env::SHORT", false), ("env::ABSENT", false), ("env::GOOD", true)]
    {
        let read = Master::read(&place.parse().unwrap(), &environment);
        assert_eq!(read.is_ok(), good, "{place}");
        assert!(!format!("{read:?}").contains("pass phrase"));
    }
    fixture.edit(id, |key| key.revoked = Some(Time::of(SystemTime::now())));
    assert!(Keyring::open(&fixture.path(), None).is_ok());
}

#[test]
fn pairs_without_a_master_keep_no_change_of_other_keys_from_a_running_server() {
    let fixture = Fixture::new();
    let (id, token) = fixture.token(|_| {});
    let (without, later) = (fixture.ring(None), fixture.ring(None));
    let later = later.finding_master(SecretSource::File(fixture.folder.path().join("master")));
    let sent = Sent::to("/models/m").with("authorization", &format!("Bearer {}", token.expose_secret()));
    let master = fixture.master();
    let (_, pair) = fixture.pair(&master, |_| {});
    let (_, other) = fixture.token(|_| {});
    let other = Sent::to("/models/m").with("authorization", &format!("Bearer {}", other.expose_secret()));
    fixture.edit(id, |key| key.revoked = Some(key.created));
    let now = SystemTime::now();
    for ring in [&without, &later] {
        ring.reload().unwrap();
        assert!(matches!(sent.check(ring, "huggingface", now), Err(Denied::Revoked { .. })));
        assert!(other.check(ring, "huggingface", now).is_ok());
    }
    let signed = |ring| Sent::signed(&pair, now).check(ring, "aws", now);
    assert_eq!(signed(&without).unwrap_err(), Denied::Signature(SignatureError::UnknownKey));
    assert!(signed(&later).is_ok(), "the master was made while the server ran");
    // A server that starts says so instead.
    assert!(matches!(Keyring::open(&fixture.path(), None), Err(StoreError::NoMaster { .. })));
}
