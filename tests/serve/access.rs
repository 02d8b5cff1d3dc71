//! Keys, budgets and pictures by URL at the whole proxy.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use secrecy::{ExposeSecret as _, SecretString};
use smoothgate::ledger::{Ledger, Options};
use smoothgate::providers::credentials::Environment;
use smoothgate::providers::registry::{self, CredentialSettings};
use smoothgate::providers::transport::{self, Network, NetworkSettings};
use smoothgate::providers::{Outcome, OutcomeClass, Reply};
use smoothgate::proxy::access::{
    Access, Cap, KeyFile, KeyId, Keyring, Keys, Master, Proof, Record, Routes, Time, TokenHash,
};
use smoothgate::proxy::fetch::{self, Fetcher};
use smoothgate::proxy::{self, Opener, Proxy, observer};

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
        serve: config.serve.clone(),
        opened,
        access: Arc::clone(&keys) as Arc<dyn Access>,
        fetch: Arc::new(Fetcher::new(fetch::Options::default()).unwrap()),
        observer: Arc::new(observer::Unobserved),
        tls: None,
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
    let direct = NetworkSettings { proxy: transport::Proxy::Direct, ..NetworkSettings::default() };
    let network = Network::new(direct).unwrap();
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
    let master = Master::create(&folder.path().join("master")).unwrap();
    let pair = KeyId::fresh().unwrap();
    let path = folder.path().join("keys.json");
    KeyFile::change(&path, |file| {
        file.adopt(&path, &master)?;
        file.add(record(pair, Proof::Aws))
    })
    .unwrap();
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
    assert_eq!(up.stats().total.calls, each);
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
    assert_eq!(up.stats().total.calls, each);
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
