//! Keys as callers show them in every format, and whatever is no key.

use super::*;

/// Every place in which a format's clients put a key, but for the signature.
fn places(key: &str) -> Vec<(&'static str, Sent)> {
    let bearer = format!("Bearer {key}");
    let google = "/v1/images:annotate";
    let azure = "/computervision/imageanalysis:analyze?api-version=2024-02-01";
    let azure_v3 = "/vision/v3.2/tag";
    let clarifai = "/v2/users/u/apps/a/models/m/outputs";
    vec![
        ("google", Sent::to(&format!("{google}?key={key}"))),
        ("google", Sent::to(google).with("x-goog-api-key", key)),
        ("google", Sent::to(google).with("authorization", &bearer)),
        ("google", Sent::to(&format!("{google}?access_token={key}"))),
        ("azure", Sent::to(azure).with("ocp-apim-subscription-key", key)),
        ("azure", Sent::to(azure).with("authorization", &bearer)),
        ("azure-v3", Sent::to(azure_v3).with("ocp-apim-subscription-key", key)),
        ("clarifai", Sent::to(clarifai).with("authorization", &format!("Key {key}"))),
        ("clarifai", Sent::to(clarifai).with("authorization", &bearer)),
        ("openai", Sent::to("/v1/chat/completions").with("authorization", &bearer)),
        ("openai", Sent::to("/v1/chat/completions").with("api-key", key)),
        ("huggingface", Sent::to("/models/m").with("authorization", &bearer)),
        ("kserve", Sent::to("/v2/models/m/infer").with("authorization", &bearer)),
    ]
}

#[test]
fn every_format_takes_a_key_where_its_clients_put_it_and_no_other() {
    let fixture = Fixture::new();
    let (id, token) = fixture.token(|_| {});
    let access = fixture.ring(None);
    let now = SystemTime::now();
    for (api, sent) in places(token.expose_secret()) {
        assert_eq!(sent.check(&access, api, now).unwrap().id, id, "{api}");
    }
    // One digit of the secret, one letter of the id, the secret of nobody, something else altogether.
    let token = token.expose_secret();
    let last = if token.ends_with('0') { "1" } else { "0" };
    let other_id = if &token[3..4] == "a" { "b" } else { "a" };
    for wrong in [
        format!("{}{last}", &token[..token.len() - 1]),
        format!("sg_{other_id}{}", &token[4..]),
        token[..token.len() - 1].to_owned(),
        format!("{token}0"),
        token.to_uppercase(),
        format!("sg_{id}_"),
        format!("sg_{id}"),
        "sk-other".to_owned(),
    ] {
        for (api, sent) in places(&wrong) {
            let denied = sent.check(&access, api, now).unwrap_err();
            assert!(matches!(denied, Denied::Unknown { .. }), "{api}: {denied:?}");
            assert!(!denied.to_string().contains(&wrong), "the key is never repeated");
        }
    }
    for (api, sent) in places("") {
        let bare = Sent::to(sent.uri.path()).check(&access, api, now);
        assert_eq!(bare.unwrap_err(), Denied::Missing, "{api}");
    }
}

#[test]
fn revoked_and_expired_keys_are_told_apart_and_only_to_who_has_their_secret() {
    let fixture = Fixture::new();
    let now = SystemTime::now();
    let then = Time::of(now);
    let check = |token: &SecretString| {
        let sent = Sent::to("/v1/images:annotate").with("x-goog-api-key", token.expose_secret());
        sent.check(&fixture.ring(None), "google", now)
    };
    let check = |token: &SecretString| check(token).map(drop);
    let class = |denied: Denied| denied.refusal().class;

    let (id, token) = fixture.token(|key| key.revoked = Some(then));
    assert_eq!(check(&token), Err(Denied::Revoked { id, at: then }));
    assert_eq!(class(Denied::Revoked { id, at: then }), RefusalClass::UnknownKey);
    // Only with its secret does anyone learn that it was revoked.
    let guess = SecretString::from(format!("sg_{id}_{}", "0".repeat(64)));
    assert_eq!(check(&guess), Err(Denied::Unknown { bearer: false }));

    let (id, token) = fixture.token(|key| key.expires = Some(then));
    assert_eq!(check(&token), Err(Denied::Expired { id, at: then }));
    assert_eq!(class(Denied::Expired { id, at: then }), RefusalClass::Unauthenticated);
    let (_, token) = fixture.token(|key| key.expires = Some(Time::of(now + HOUR)));
    assert!(check(&token).is_ok());
}

#[test]
fn a_rate_is_kept_and_its_refusal_says_how_long_to_wait() {
    let fixture = Fixture::new();
    let (id, token) = fixture.token(|key| key.rate = Some("3/h".parse().unwrap()));
    let (_, other) = fixture.token(|key| key.rate = Some("3/h".parse().unwrap()));
    let access = fixture.ring(None);
    let check = |token: &SecretString| {
        let sent = Sent::to("/models/m").with("authorization", &format!("Bearer {}", token.expose_secret()));
        sent.check(&access, "huggingface", SystemTime::now())
    };
    for _ in 0..3 {
        assert!(check(&token).is_ok());
    }
    let denied = check(&token).unwrap_err();
    let Denied::OverRate { id: of, rate, wait } = &denied else { panic!("{denied:?}") };
    assert_eq!((*of, rate.as_str()), (id, "3/h"));
    // A third of an hour, less what the test has taken.
    assert!(*wait <= Duration::from_mins(20) && *wait > Duration::from_mins(10), "{wait:?}");
    let refusal = denied.refusal();
    assert_eq!(refusal.class, RefusalClass::Throttled);
    let reply = served::by_name("huggingface").unwrap().refuse(&refusal, &mark());
    let seconds: u64 = reply.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((600..=1200).contains(&seconds), "{seconds}");
    assert!(check(&other).is_ok(), "each key has its own");
    // Reading the file again gives nothing back; another rate begins anew.
    fixture.edit(id, |key| key.name = "renamed".to_owned());
    access.reload().unwrap();
    assert!(matches!(check(&token), Err(Denied::OverRate { .. })));
    fixture.edit(id, |key| key.rate = Some("4/h".parse().unwrap()));
    access.reload().unwrap();
    assert!(check(&token).is_ok());
}

#[test]
fn a_running_server_sees_that_a_key_is_revoked() {
    let fixture = Fixture::new();
    let (id, token) = fixture.token(|_| {});
    let access = fixture.ring(None);
    let sent = Sent::to("/models/m").with("authorization", &format!("Bearer {}", token.expose_secret()));
    let check = || sent.check(&access, "huggingface", SystemTime::now());
    assert!(check().is_ok());
    fixture.edit(id, |key| key.revoked = Some(Time::of(SystemTime::now())));
    // Without a signal: the file is looked at once a second at most.
    let patience = std::time::Instant::now() + Duration::from_mins(1);
    while access.find(id, SystemTime::now()).is_some() {
        assert!(std::time::Instant::now() < patience, "it is never seen");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(matches!(check(), Err(Denied::Revoked { .. })));
}

#[cfg(unix)]
#[test]
fn a_change_that_could_not_be_read_is_tried_again() {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = Fixture::new();
    let (id, token) = fixture.token(|_| {});
    let access = fixture.ring(None);
    let sent = Sent::to("/models/m").with("authorization", &format!("Bearer {}", token.expose_secret()));
    let check = || sent.check(&access, "huggingface", SystemTime::now());
    let mode = |mode| {
        std::fs::set_permissions(fixture.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    fixture.edit(id, |key| key.revoked = Some(Time::of(SystemTime::now())));
    mode(0o666);
    assert!(matches!(access.reload(), Err(StoreError::Open(_))));
    assert!(check().is_ok(), "the keys that were in force stay so");
    // This shows in no time, length or number of the file.
    mode(0o600);
    let patience = std::time::Instant::now() + Duration::from_mins(1);
    while access.find(id, SystemTime::now()).is_some() {
        assert!(std::time::Instant::now() < patience, "it is never tried again");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(matches!(check(), Err(Denied::Revoked { .. })));
}

#[test]
fn texts_of_rates_times_routes_and_ids() {
    for (text, good) in [
        ("10/s", true),
        ("60/m", true),
        (" 7 / d ", true),
        ("0/s", false),
        ("1/y", false),
        ("60", false),
        ("-1/s", false),
        ("1.5/s", false),
        ("99999999999/s", false),
    ] {
        assert_eq!(text.parse::<Rate>().is_ok(), good, "{text}");
    }
    assert_eq!("2027-01-31".parse::<Time>().unwrap().to_string(), "2027-01-31T00:00:00Z");
    assert_eq!("2027-01-31T12:00:05Z".parse::<Time>().unwrap().to_string(), "2027-01-31T12:00:05Z");
    for text in
        ["", "2027", "2027-13-01", "2027-02-30", "tomorrow", "2027-01-31T25:00:00Z", "2027-01-3\u{e9}"]
    {
        assert!(text.parse::<Time>().is_err(), "{text}");
    }
    for texts in [&[][..], &[""], &["a b"], &["["], &["***"]] {
        assert!(Routes::of(texts).is_err(), "{texts:?}");
    }
    for text in ["", "aaaaaaaaaaaaaaa1", "aaaaaaaaaaaaaaa", "AAAAAAAAAAAAAAAA", "\u{e9}aaaaaaaaaaaaaa"] {
        assert!(text.parse::<KeyId>().is_err(), "{text}");
    }
    let id = KeyId::fresh().unwrap();
    assert_eq!(KeyId::from_aws(&id.for_aws()), Some(id));
    assert_eq!(id.for_aws().len(), 20);
    assert_eq!(id.to_string().parse(), Ok(id));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    /// Whatever stands where keys stand: a refusal, and no panic.
    #[test]
    fn random_credentials_are_refused(
        text in prop_oneof![
            "[ -~]{0,120}",
            "sg_[a-z2-7]{16}_[0-9a-f]{64}",
            "(Bearer|Key|Basic|AWS4-HMAC-SHA256) [ -~]{0,120}",
            "AWS4-HMAC-SHA256 Credential=SGAK[A-Z2-7]{16}/20[0-9]{6}/us-east-1/rekognition/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature=[0-9a-f]{0,70}",
        ],
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
        other in prop::sample::select(vec!["x-goog-api-key", "ocp-apim-subscription-key", "api-key", "x-api-key"]),
        seconds in 0u64..4_000_000_000,
    ) {
        let ring = shared();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (api, path) in PATHS {
            for value in [HeaderValue::from_str(&text), HeaderValue::from_bytes(&bytes)].into_iter().flatten() {
                for name in ["authorization", other] {
                    let mut sent = Sent::to(path).with("x-amz-date", "20260101T000000Z");
                    sent.headers.insert(HeaderName::from_static(name), value.clone());
                    let denied = sent.check(ring, api, now);
                    prop_assert!(denied.is_err());
                    let reply = served::by_name(api).unwrap().refuse(&denied.unwrap_err().refusal(), &mark());
                    prop_assert!(reply.status().is_client_error());
                }
            }
        }
    }
}

/// A path of each format.
const PATHS: [(&str, &str); 8] = [
    ("google", "/v1/images:annotate"),
    ("aws", "/"),
    ("azure", "/computervision/imageanalysis:analyze"),
    ("azure-v3", "/vision/v3.2/tag"),
    ("clarifai", "/v2/models/m/outputs"),
    ("openai", "/v1/chat/completions"),
    ("huggingface", "/models/m"),
    ("kserve", "/v2/models/m/infer"),
];

/// One ring for all cases, with a token and a pair in it.
fn shared() -> &'static Keyring {
    static SHARED: std::sync::OnceLock<(Keyring, Fixture)> = std::sync::OnceLock::new();
    &SHARED
        .get_or_init(|| {
            let fixture = Fixture::new();
            let master = fixture.master();
            fixture.token(|_| {});
            fixture.pair(&master, |_| {});
            (fixture.ring(Some(master)), fixture)
        })
        .0
}
