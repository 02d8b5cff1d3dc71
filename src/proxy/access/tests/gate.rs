//! What the proxy asks of the gate: who, which routes, how much.

use super::*;

#[tokio::test]
async fn a_key_is_for_its_routes_and_budget() {
    let fixture = Fixture::new();
    let (id, token) = fixture.token(|key| {
        key.routes = Routes::of(&["photos-*", "desk"]).unwrap();
        key.budget = Cap { calls: Some(100), cost: Some("1.00USD".parse().unwrap()) };
    });
    let keys = fixture.keys();
    let sent = Sent::to("/v1/images:annotate").with("x-goog-api-key", token.expose_secret());
    let caller = sent.admit(&keys, "google").unwrap();
    assert_eq!(*caller.id, *id.to_string());
    for (route, may) in [("photos-a", true), ("desk", true), ("photos", false), ("desk2", false), ("", false)]
    {
        assert_eq!(caller.may_use(route), may, "{route}");
    }
    let money = |text: &str| Some(text.parse().unwrap());
    let reserve = async |calls, cost| keys.reserve(&caller, &Most { calls, cost }).await;
    let spent = |calls, cost| Spent { calls, billable: calls, cost };

    // What is set aside counts, for as long as it is; what is given back does not.
    let first = reserve(60, money("0.5")).await.unwrap();
    assert_eq!(reserve(41, money("0.1")).await.err().unwrap().class, RefusalClass::Throttled);
    assert_eq!(reserve(1, money("0.51")).await.err().unwrap().class, RefusalClass::Throttled);
    assert_eq!(reserve(101, money("0.1")).await.err().unwrap().class, RefusalClass::QuotaSpent);
    let second = reserve(40, money("0.5")).await.unwrap();
    first.settle(&spent(10, money("0.1")));
    second.settle(&spent(20, money("0.2")));
    // 30 calls and 0.3 are spent.
    assert_eq!(reserve(71, money("0")).await.err().unwrap().class, RefusalClass::QuotaSpent);
    assert!(reserve(1, money("0.70001")).await.is_err());
    // What is dropped without a word counts as spent.
    drop(reserve(70, money("0.7")).await.unwrap());
    let refusal = reserve(1, money("0")).await.err().unwrap();
    assert!(refusal.message.contains("100 of 100 calls"), "{refusal}");
    // A budget in money needs a price.
    assert_eq!(reserve(0, None).await.err().unwrap().class, RefusalClass::Internal);

    // Raised, the rest of it is there; without one, anything goes; revoked, nothing.
    fixture.edit(id, |key| key.budget.calls = Some(101));
    keys.reload().unwrap();
    assert!(reserve(1, money("0")).await.is_ok());
    fixture.edit(id, |key| key.budget = Cap::default());
    keys.reload().unwrap();
    assert!(reserve(1000, None).await.is_ok());
    fixture.edit(id, |key| key.revoked = Some(key.created));
    keys.reload().unwrap();
    assert_eq!(reserve(0, money("0")).await.err().unwrap().class, RefusalClass::UnknownKey);
}

#[tokio::test]
async fn what_was_spent_before_counts() {
    struct Before;
    impl Books for Before {
        fn spent(&self, _: KeyId) -> futures::future::BoxFuture<'_, Result<Spend, String>> {
            let (billed, unknown) = ("0.5".parse().unwrap(), "0.25".parse().unwrap());
            Box::pin(async move { Ok(Spend { calls: 90, billed, unknown, ..Spend::default() }) })
        }
    }
    let fixture = Fixture::new();
    let budget = Cap { calls: Some(100), cost: Some("1.00USD".parse().unwrap()) };
    let (id, _) = fixture.token(|key| key.budget = budget);
    let keys = Keys::new(fixture.ring(None), Arc::new(Before));
    let caller = Caller::new(&id.to_string());
    let reserve = async |calls, cost: &str| {
        keys.reserve(&caller, &Most { calls, cost: Some(cost.parse().unwrap()) }).await.is_ok()
    };
    assert!(!reserve(11, "0").await);
    assert!(!reserve(0, "0.26").await);
    assert!(reserve(10, "0.25").await);
    assert!(!reserve(1, "0").await);
}

#[test]
fn where_a_server_without_keys_may_listen() {
    for (address, loopback) in [
        ("127.0.0.1:80", true),
        ("127.9.9.9:80", true),
        ("[::1]:80", true),
        ("[::ffff:127.0.0.1]:80", true),
        ("0.0.0.0:80", false),
        ("[::]:80", false),
        ("10.0.0.1:80", false),
        ("[fe80::1]:80", false),
        ("8.8.8.8:80", false),
    ] {
        let address = address.parse().unwrap();
        assert_eq!(may_listen(address, false, false).is_ok(), loopback, "{address}");
        assert_eq!(may_listen(address, true, false), Ok(()));
        assert_eq!(may_listen(address, false, true), Ok(()));
        assert_eq!(in_the_clear(address, false), !loopback);
        assert!(!in_the_clear(address, true));
    }
    let error = may_listen("0.0.0.0:80".parse().unwrap(), false, false).unwrap_err().to_string();
    assert!(error.contains("--insecure-no-auth") && error.contains("keys issue"), "{error}");
}

#[test]
fn without_keys_programs_of_this_machine_are_answered_and_web_pages_are_not() {
    let check = |host: &str, origin: Option<&str>| {
        let mut sent = Sent::to("/models/m").with("host", host);
        if let Some(origin) = origin {
            sent = sent.with("origin", origin);
        }
        sent.admit(&Open::Local, "huggingface")
            .map(|caller| caller.id.to_string())
            .map_err(|refusal| refusal.class)
    };
    let page = Err(RefusalClass::Forbidden);
    for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "[::1]:8080", "[::1]"] {
        assert_eq!(check(host, None), Ok("anyone".to_owned()), "{host}");
        assert_eq!(check(host, Some("https://example.com")), page);
        assert_eq!(check(host, Some("null")), page);
    }
    for host in [
        "rebound.example.com:8080",
        "127.0.0.1.example.com",
        "localhost.example.com",
        "10.0.0.1",
        "::1:x",
        "",
    ] {
        assert_eq!(check(host, None), page, "{host}");
    }
    let mut sent = Sent::to("/models/m");
    sent.headers.clear();
    assert_eq!(sent.admit(&Open::Local, "huggingface").unwrap_err().class, RefusalClass::Forbidden);
    assert!(sent.admit(&Open::Everyone, "huggingface").is_ok());
}
