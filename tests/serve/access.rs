//! Keys, budgets and pictures by URL at the whole proxy.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use secrecy::{ExposeSecret as _, SecretString};
use smoothgate::certificate::Document;
use smoothgate::emulate::{Emulator, Settings};
use smoothgate::ledger::{Ledger, Options};
use smoothgate::providers::credentials::Environment;
use smoothgate::providers::credentials::aws::AwsKeys;
use smoothgate::providers::credentials::aws::sigv4::sign;
use smoothgate::providers::registry::{self, CredentialSettings};
use smoothgate::providers::transport::Network;
use smoothgate::providers::{Outcome, OutcomeClass, Reply};
use smoothgate::proxy::access::{
    Access, Cap, KeyFile, KeyId, Keyring, Keys, Master, Proof, Record, Routes, Time, TokenHash,
};
use smoothgate::proxy::fetch::{self, Fetcher};
use smoothgate::proxy::{self, Opener, Proxy};

use crate::served::{direct, open_to_all};
use crate::support::{APIS, Dog, client, config, emulator, header, options, picture, plan, route};

fn record(id: KeyId, proof: Proof) -> Record {
    let (routes, created) = (Routes::default(), Time::of(SystemTime::now()));
    let (budget, name) = (Cap::default(), "test".to_owned());
    Record { id, name, proof, routes, rate: None, budget, created, expires: None, revoked: None }
}

/// A key that is changed before it is stored, as clients show it.
fn key(folder: &Path, change: impl FnOnce(&mut Record)) -> (KeyId, SecretString) {
    let id = KeyId::fresh().unwrap();
    let (token, hash) = TokenHash::fresh(id).unwrap();
    let mut record = record(id, Proof::Token(hash));
    change(&mut record);
    KeyFile::change(&folder.join("keys.json"), |file| file.add(record)).unwrap();
    (id, token)
}

/// An AWS pair of our own, and the master secret that its secret is derived from.
fn aws_pair(folder: &Path) -> (Master, KeyId) {
    let master = Master::create(&folder.join("master")).unwrap();
    let pair = KeyId::fresh().unwrap();
    let path = folder.join("keys.json");
    KeyFile::change(&path, |file| {
        file.adopt(&path, &master)?;
        file.add(record(pair, Proof::Aws))
    })
    .unwrap();
    (master, pair)
}

/// A proxy that lets in the holders of the keys in `folder`.
async fn guarded(
    config: &smoothgate::config::Config,
    folder: &Path,
    master: Option<Master>,
) -> (Proxy, Arc<Keys>) {
    let ledger = Ledger::open(folder.join("ledger.db"), &Options::default()).unwrap();
    let environment = Environment::of([("GOOGLE_API_KEY", smoothgate::emulate::DEFAULT_KEY)]);
    let opener = Opener::new(config, &environment, &config.serve, ledger.clone());
    let opened = opener.open(&config.routes).await.unwrap();
    let ring = Keyring::open(&folder.join("keys.json"), master).unwrap();
    let keys = Arc::new(Keys::new(ring, Arc::new(ledger)));
    let settings = proxy::Settings {
        access: Arc::clone(&keys) as Arc<dyn Access>,
        fetch: Arc::new(Fetcher::new(fetch::Options::default()).unwrap()),
        ..open_to_all(config, opened)
    };
    (Proxy::start(settings).await.unwrap(), keys)
}

/// Asks as `api`'s client does, with this key (for AWS: id and secret).
async fn ask(api: &str, url: &str, key: &str, aws: (&str, &str), n: u32) -> (Outcome, http::HeaderMap) {
    let environment = Environment::of([
        ("GOOGLE_API_KEY", key),
        ("AWS_ACCESS_KEY_ID", aws.0),
        ("AWS_SECRET_ACCESS_KEY", aws.1),
        ("AWS_REGION", "us-east-1"),
        ("VISION_KEY", key),
        ("CLARIFAI_PAT", key),
        ("KEY", key),
    ]);
    let registration = registry::find(api).unwrap();
    let own = ["openai", "huggingface", "kserve"].contains(&api).then(|| "env::KEY".parse().unwrap());
    let credentials = CredentialSettings { key: own, ..CredentialSettings::default() };
    let adapter = registration.adapter(&options(api, url), &environment).unwrap();
    let network = Network::new(direct()).unwrap();
    let credential =
        registration.credential(&options(api, url), &credentials, &environment, &network).unwrap();
    let mut request = adapter.provider.request(&[picture(n)]).unwrap();
    credential.authorization().await.unwrap().apply(&mut request, SystemTime::now()).unwrap();
    let reply = client().execute(reqwest::Request::try_from(request).unwrap()).await.unwrap();
    let (status, headers) = (reply.status(), reply.headers().clone());
    let reply = Reply { status, headers: headers.clone(), body: reply.bytes().await.unwrap() };
    (adapter.provider.outcomes(1, &reply).remove(0), headers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_format_takes_keys_of_ours_and_says_what_is_wrong_with_others_in_its_own_words() {
    let folder = tempfile::tempdir().unwrap();
    let up = emulator(plan(""), Arc::new(Dog)).await;
    let (_, token) = key(folder.path(), |_| {});
    let (_, revoked) = key(folder.path(), |key| key.revoked = Some(key.created));
    let (_, elsewhere) = key(folder.path(), |key| key.routes = Routes::of(&["other"]).unwrap());
    let (master, pair) = aws_pair(folder.path());
    let (proxy, _) = guarded(&config(&up, &route("")), folder.path(), Some(master.clone())).await;
    let (id, secret) = (pair.for_aws(), master.secret(pair));
    for (n, api) in (1..).zip(APIS) {
        let aws = (id.as_str(), secret.expose_secret());
        let (outcome, headers) = ask(api, &proxy.url(), token.expose_secret(), aws, n).await;
        assert_eq!(outcome.class(), OutcomeClass::Answered, "{api}: {outcome:?}");
        assert_eq!(header(&headers, "route"), "all");
        let calls = up.stats().total.calls;
        let wrong = format!("{}x", token.expose_secret());
        for bad in [wrong.as_str(), revoked.expose_secret(), smoothgate::emulate::DEFAULT_KEY] {
            let (outcome, _) = ask(api, &proxy.url(), bad, (&id, bad), n).await;
            assert_eq!(outcome.class(), OutcomeClass::Auth, "{api}: {outcome:?}");
        }
        if api != "aws" {
            let (outcome, _) = ask(api, &proxy.url(), elsewhere.expose_secret(), aws, n).await;
            assert_eq!(outcome.class(), OutcomeClass::Auth, "{api}: {outcome:?}");
        }
        assert_eq!(up.stats().total.calls, calls, "{api}: nothing was asked for strangers");
    }
    proxy.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keys_budget_is_kept_over_requests_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let up = emulator(plan(""), Arc::new(Dog)).await;
    let (id, token) = key(folder.path(), |_| {});
    let (_, other) = key(folder.path(), |_| {});
    let config = config(&up, &route(""));
    let (proxy, _) = guarded(&config, folder.path(), None).await;
    let (outcome, headers) = ask("clarifai", &proxy.url(), token.expose_secret(), ("", ""), 1).await;
    assert_eq!(outcome.class(), OutcomeClass::Answered, "{outcome:?}");
    let each: u64 = header(&headers, "calls").parse().unwrap();
    // The ledger counts a picture of a shared call as a call.
    assert_eq!(up.stats().total.pictures, each);
    proxy.stop().await.unwrap();

    // As much again as was spent, at a tenth of a cent a call; what was spent before the restart counts.
    KeyFile::change(&folder.path().join("keys.json"), |file| {
        file.key_mut(id)?.budget.calls = Some(each);
        Ok(())
    })
    .unwrap();
    let (proxy, keys) = guarded(&config, folder.path(), None).await;
    let (outcome, _) = ask("clarifai", &proxy.url(), token.expose_secret(), ("", ""), 2).await;
    assert_eq!(outcome.class(), OutcomeClass::QuotaSpent, "{outcome:?}");
    // What is there already costs nothing.
    let (outcome, headers) = ask("clarifai", &proxy.url(), token.expose_secret(), ("", ""), 1).await;
    assert_eq!((outcome.class(), header(&headers, "evidence")), (OutcomeClass::Answered, "reused"));
    assert_eq!(up.stats().total.pictures, each);
    let (outcome, _) = ask("clarifai", &proxy.url(), other.expose_secret(), ("", ""), 2).await;
    assert_eq!(outcome.class(), OutcomeClass::Answered, "another key's budget is another");

    KeyFile::change(&folder.path().join("keys.json"), |file| {
        file.key_mut(id)?.budget.calls = None;
        Ok(())
    })
    .unwrap();
    keys.reload().unwrap();
    let (outcome, _) = ask("clarifai", &proxy.url(), token.expose_secret(), ("", ""), 2).await;
    assert_eq!(outcome.class(), OutcomeClass::Answered, "{outcome:?}");
    proxy.stop().await.unwrap();
}

/// Lets this key make so many calls.
fn allow(folder: &Path, keys: &Keys, id: KeyId, calls: u64) {
    KeyFile::change(&folder.join("keys.json"), |file| {
        file.key_mut(id)?.budget.calls = Some(calls);
        Ok(())
    })
    .unwrap();
    keys.reload().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_never_left_use_up_no_budget() {
    let folder = tempfile::tempdir().unwrap();
    let up = emulator(plan(""), Arc::new(Dog)).await;
    let (config, address) = (config(&up, &route("reuse = \"1h\"")), up.address());
    up.stop().await;
    // Nobody else gets the address meanwhile, and nobody listens there.
    let kept = tokio::net::TcpSocket::new_v4().unwrap();
    kept.set_reuseaddr(true).unwrap();
    kept.bind(address).unwrap();
    let (id, token) = key(folder.path(), |_| {});
    let (proxy, keys) = guarded(&config, folder.path(), None).await;
    // The clean answer and all votes.
    allow(folder.path(), &keys, id, proxy.routes()[0].votes() + 1);
    let (outcome, _) = ask("clarifai", &proxy.url(), token.expose_secret(), ("", ""), 1).await;
    assert_eq!(outcome.class(), OutcomeClass::Throttled, "nobody is there: {outcome:?}");
    let settings = Settings { listen: address, ..Settings::default() };
    let up = Emulator::start(settings, Arc::new(Dog)).await.unwrap();
    drop(kept);
    let (outcome, headers) = ask("clarifai", &proxy.url(), token.expose_secret(), ("", ""), 1).await;
    assert_eq!(outcome.class(), OutcomeClass::Answered, "{outcome:?}");
    assert_eq!(header(&headers, "calls"), up.stats().total.pictures.to_string());
    proxy.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_goes_on_needs_a_budget_for_the_rest_alone() {
    let folder = tempfile::tempdir().unwrap();
    let up = emulator(plan("latency = \"20ms\""), Arc::new(Dog)).await;
    let (id, token) = key(folder.path(), |_| {});
    let (proxy, keys) = guarded(&config(&up, &route("concurrency = 2")), folder.path(), None).await;
    allow(folder.path(), &keys, id, proxy.routes()[0].votes() + 1);
    let sent = tokio::spawn({
        let (url, token) = (proxy.url(), token.expose_secret().to_owned());
        async move { ask("azure", &url, &token, ("", ""), 1).await }
    });
    while up.stats().total.pictures < 4 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    sent.abort();
    while proxy.in_flight() > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let (outcome, headers) = ask("azure", &proxy.url(), token.expose_secret(), ("", ""), 1).await;
    assert_eq!(outcome.class(), OutcomeClass::Answered, "{outcome:?}");
    assert_eq!(header(&headers, "evidence"), "continued");
    proxy.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_gets_certificates_by_a_signature() {
    let folder = tempfile::tempdir().unwrap();
    let up = emulator(plan(""), Arc::new(Dog)).await;
    let (master, pair) = aws_pair(folder.path());
    let (_, stranger) = key(folder.path(), |_| {});
    let (proxy, _) = guarded(&config(&up, &route("")), folder.path(), Some(master.clone())).await;
    let (id, secret) = (pair.for_aws(), master.secret(pair));
    let (outcome, headers) = ask("aws", &proxy.url(), "", (&id, secret.expose_secret()), 1).await;
    assert_eq!(outcome.class(), OutcomeClass::Answered, "{outcome:?}");
    let url = format!("{}/certificates/{}", proxy.url(), header(&headers, "certificate"));
    let get = async |secret: SecretString| {
        let keys = AwsKeys { access_key_id: id.clone(), secret_access_key: secret, session_token: None };
        let mut request = http::Request::get(&url).body(bytes::Bytes::new()).unwrap();
        sign(&mut request, &keys, "us-east-1", "rekognition", SystemTime::now()).unwrap();
        client().execute(reqwest::Request::try_from(request).unwrap()).await.unwrap()
    };
    let reply = get(secret.clone()).await;
    assert_eq!(reply.status(), 200);
    assert!(Document::parse(&reply.bytes().await.unwrap()).is_ok());
    assert_eq!(get("wrong".into()).await.status(), 401);
    // Another caller's is not found, as before.
    let reply = client().get(&url).bearer_auth(stranger.expose_secret()).send().await.unwrap();
    assert_eq!(reply.status(), 404);
    proxy.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_that_a_request_only_names_are_refused_without_a_rule() {
    let folder = tempfile::tempdir().unwrap();
    let up = emulator(plan(""), Arc::new(Dog)).await;
    let (_, token) = key(folder.path(), |_| {});
    let (proxy, _) = guarded(&config(&up, &route("")), folder.path(), None).await;
    for uri in ["http://169.254.169.254/latest/meta-data", "https://example.com/a.png", "gs://bucket/a.png"] {
        let body = serde_json::json!({ "requests": [{
            "image": { "source": { "imageUri": uri } },
            "features": [{ "type": "LABEL_DETECTION" }],
        }] });
        let request = client().post(format!("{}/v1/images:annotate", proxy.url())).json(&body);
        let reply = request.header("x-goog-api-key", token.expose_secret()).send().await.unwrap();
        let text = reply.text().await.unwrap();
        assert!(text.contains("fetches no pictures"), "{uri}: {text}");
    }
    assert_eq!(up.stats().total.calls, 0);
    proxy.stop().await.unwrap();
}

/// What AWS' client sends, signed with this pair, and then changed.
async fn signed(
    url: &str,
    id: &str,
    secret: &str,
    change: impl FnOnce(&mut reqwest::Request),
) -> (u16, serde_json::Value) {
    let environment = Environment::of([
        ("AWS_ACCESS_KEY_ID", id),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_REGION", "us-east-1"),
    ]);
    let registration = registry::find("aws").unwrap();
    let adapter = registration.adapter(&options("aws", url), &environment).unwrap();
    let network = Network::new(direct()).unwrap();
    let settings = CredentialSettings::default();
    let credential =
        registration.credential(&options("aws", url), &settings, &environment, &network).unwrap();
    let mut request = adapter.provider.request(&[picture(1)]).unwrap();
    credential.authorization().await.unwrap().apply(&mut request, SystemTime::now()).unwrap();
    let mut request = reqwest::Request::try_from(request).unwrap();
    change(&mut request);
    let reply = client().execute(request).await.unwrap();
    let status = reply.status().as_u16();
    (status, serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_that_are_cut_or_changed_are_refused_in_the_words_of_aws() {
    let folder = tempfile::tempdir().unwrap();
    let up = emulator(plan(""), Arc::new(Dog)).await;
    let (master, pair) = aws_pair(folder.path());
    let (proxy, _) = guarded(&config(&up, &route("")), folder.path(), Some(master.clone())).await;
    let (id, secret) = (pair.for_aws(), master.secret(pair));
    let secret = secret.expose_secret();
    let authorization = |request: &mut reqwest::Request, change: &dyn Fn(&str) -> String| {
        let changed = change(request.headers()["authorization"].to_str().unwrap());
        request.headers_mut().insert("authorization", changed.parse().unwrap());
    };
    let mut refused = Vec::new();
    for cut in (0..250).step_by(9) {
        let cut = |value: &str| value[..value.len().saturating_sub(1 + cut)].to_owned();
        refused.push(signed(&proxy.url(), &id, secret, |request| authorization(request, &cut)).await);
    }
    let changes: [(&str, &str); 6] = [
        ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"),
        ("us-east-1", "us-east-2"),
        ("SignedHeaders=", "SignedHeaders=a;"),
        ("Signature=", "Signature=0"),
        ("Credential=", "Credential=//"),
        ("aws4_request", "aws4_request,aws4_request"),
    ];
    for (from, to) in changes {
        let change = |value: &str| value.replace(from, to);
        refused.push(signed(&proxy.url(), &id, secret, |request| authorization(request, &change)).await);
    }
    refused.push(
        signed(&proxy.url(), &id, secret, |request| drop(request.headers_mut().remove("x-amz-date"))).await,
    );
    refused.push(signed(&proxy.url(), &id, secret, |request| *request.body_mut() = Some("{}".into())).await);
    for (status, body) in &refused {
        assert!((400..500).contains(status) && body["__type"].is_string(), "{status}: {body}");
        assert!(!body.to_string().contains(secret), "{body}");
    }
    assert_eq!(up.stats().total.calls, 0);
    let (status, body) = signed(&proxy.url(), &id, secret, |_| {}).await;
    assert_eq!(status, 200, "{body}");
    proxy.stop().await.unwrap();
}
