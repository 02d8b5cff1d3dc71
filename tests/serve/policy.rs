//! What a route decides: abstentions, budgets, queues, scopes, batches.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use smoothgate::emulate::Plan;
use smoothgate::ledger::{Ledger, Options};
use smoothgate::providers::local::Backend;
use smoothgate::providers::served::{Refusal, Source};
use smoothgate::providers::{Answer, EncodedPicture, Outcome, Reply};
use smoothgate::proxy::{Opener, Proxy, Settings};
use tempfile::tempdir;

use crate::served::open_to_all;
use crate::support::{
    APIS, Chance, Dog, ask, certificate, client, config, emulator, environment, header, picture, plan, proxy,
    route,
};

/// Chance answers, so that `top1` abstains, which takes few votes.
const ABSTAINS: &str = "question = \"top1\"\nn0 = 4\nn = 20\ntest = \"cohen\"\n";

fn abstaining(more: &str) -> String {
    route("").replace("question = \"clean-top\"\nradius = [0.125]\n", ABSTAINS) + more
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abstain_empty_answers_without_labels() {
    let emulator = emulator(Plan::default(), Arc::new(Chance)).await;
    let folder = tempdir().unwrap();
    let proxy = proxy(&config(&emulator, &abstaining("")), folder.path()).await;
    for (n, api) in (0..).zip(APIS).filter(|(_, api)| *api != "openai") {
        let (outcomes, reply) = ask(api, &proxy.url(), &[picture(n)]).await;
        let [Outcome::Answered(answer)] = outcomes.as_slice() else { panic!("{api}: {outcomes:?}") };
        assert!(answer.labels.is_empty(), "{api}: {answer:?}");
        assert_eq!((reply.status.as_u16(), header(&reply.headers, "outcome")), (200, "abstained"), "{api}");
        assert_eq!(header(&reply.headers, "radius"), "0", "{api}");
        certificate(&proxy.url(), header(&reply.headers, "certificate")).await;
    }
    // One label of a closed set must be chosen: the API has words for that it was not.
    let (_, reply) = ask("openai", &proxy.url(), &[picture(9)]).await;
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    assert!(body["choices"][0]["message"]["refusal"].is_string(), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abstain_error_is_the_apis_own_error() {
    let emulator = emulator(Plan::default(), Arc::new(Chance)).await;
    let folder = tempdir().unwrap();
    let proxy = proxy(&config(&emulator, &abstaining("on_abstain = \"error\"")), folder.path()).await;
    let code = |reply: &Reply, pointer: &str| {
        serde_json::from_slice::<Value>(&reply.body).unwrap().pointer(pointer).cloned().unwrap_or_default()
    };
    for (api, status, pointer, expected) in [
        ("google", 200, "/responses/0/error/code", json!(9)),
        ("aws", 400, "/__type", json!("AbstainedException")),
        ("openai", 422, "/error/code", json!("abstained")),
    ] {
        let (_, reply) = ask(api, &proxy.url(), &[picture(1)]).await;
        assert_eq!((reply.status.as_u16(), code(&reply, pointer)), (status, expected), "{api}");
        assert_eq!(header(&reply.headers, "outcome"), "abstained", "{api}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abstain_plain_says_what_the_upstream_says_and_that_it_is_not_certified() {
    let emulator = emulator(Plan::default(), Arc::new(Chance)).await;
    let folder = tempdir().unwrap();
    let proxy = proxy(&config(&emulator, &abstaining("on_abstain = \"plain\"")), folder.path()).await;
    let mut calls = 0;
    for round in ["new", "reused"] {
        let (outcomes, reply) = ask("google", &proxy.url(), &[picture(2)]).await;
        let [Outcome::Answered(answer)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
        assert!(answer.labels[0].name.starts_with("uncertified:"), "{answer:?}");
        assert_eq!(header(&reply.headers, "outcome"), "uncertified");
        assert_eq!(header(&reply.headers, "evidence"), round);
        let votes: u64 = header(&reply.headers, "votes").parse().unwrap();
        assert_eq!(header(&reply.headers, "calls"), (votes + 1).to_string(), "{round}");
        let now = emulator.stats().total.pictures;
        assert!(calls == 0 || calls == now, "{round}: the plain answer is on record, too");
        calls = now;
    }
    // A label that must be one of a set cannot be marked.
    let (_, reply) = ask("openai", &proxy.url(), &[picture(2)]).await;
    assert_eq!(reply.status, 422);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_gets_a_certificate_for_each_picture_in_order() {
    let emulator = emulator(Plan::default(), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let proxy = proxy(&config(&emulator, &route("")), folder.path()).await;
    let pictures: Vec<_> = (0..4).map(picture).collect();
    for api in ["google", "clarifai", "kserve"] {
        let (outcomes, reply) = ask(api, &proxy.url(), &pictures).await;
        assert!(
            outcomes.iter().all(|outcome| matches!(outcome, Outcome::Answered(_))),
            "{api}: {outcomes:?}"
        );
        let ids: Vec<&str> = header(&reply.headers, "certificate").split(", ").collect();
        assert_eq!(ids.len(), 4, "{api}");
        for (id, picture) in ids.iter().zip(&pictures) {
            let certificate = certificate(&proxy.url(), id).await;
            let options = smoothgate::picture::PictureOptions {
                size: smoothgate::picture::WorkingSize::Square(80),
                ..Default::default()
            };
            let image = smoothgate::picture::WorkingImage::decode(&picture.bytes, &options).unwrap();
            assert_eq!(certificate.picture.hash, image.hash().to_string(), "{api}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_is_kept_and_nothing_is_begun_that_it_would_break_off() {
    let emulator = emulator(Plan::default(), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let budget = "budget = { calls = 150 }\nn_max = 60";
    let proxy = proxy(&config(&emulator, &route(budget)), folder.path()).await;
    let mut served = 0;
    let refused = loop {
        let (_, reply) = ask("azure", &proxy.url(), &[picture(served)]).await;
        if reply.status != 200 {
            break reply;
        }
        served += 1;
        assert!(served < 20);
    };
    assert!(served >= 2, "{served}");
    assert_eq!(refused.status, 403, "{refused:?}");
    let calls = emulator.stats().total.pictures;
    assert!((90..=150).contains(&calls), "{calls}");
    let spent = proxy.routes()[0].run().spend().await.unwrap();
    assert_eq!(spent.calls, calls);
    // AWS has another word for it, and an SDK does not ask again.
    let (_, reply) = ask("aws", &proxy.url(), &[picture(50)]).await;
    assert!(String::from_utf8_lossy(&reply.body).contains("AccessDeniedException"), "{reply:?}");
    assert_eq!(emulator.stats().total.pictures, calls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overload_is_told_with_a_pause_and_never_as_503() {
    let emulator = emulator(plan("latency = \"50ms\""), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let text = config(&emulator, &format!("max_active = 1\nmax_waiting = 1\n{}", route("concurrency = 1")));
    let proxy = proxy(&text, folder.path()).await;
    let url = proxy.url();
    let busy: Vec<_> = (0..2)
        .map(|n| {
            let url = url.clone();
            tokio::spawn(async move { ask("google", &url, &[picture(n)]).await })
        })
        .collect();
    while proxy.routes()[0].queue() != (smoothgate::proxy::Queue { active: 1, waiting: 1 }) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for api in APIS {
        let (_, reply) = ask(api, &url, &[picture(7)]).await;
        let expected = if api == "aws" { 400 } else { 429 };
        assert_eq!(reply.status, expected, "{api}: {reply:?}");
        let pause: u64 = reply.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=600).contains(&pause), "{api}: {pause}");
    }
    busy.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_narrowest_route_is_taken_and_what_none_offers_is_refused() {
    let emulator = emulator(Plan::default(), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let narrow = "[routes.narrow]\nupstream = \"up\"\ndenoiser = \"none\"\nsize = 80\nradius = [0.125]\n\
                  api = [\"azure\"]\npath = \"/team\"\n";
    let proxy = proxy(&config(&emulator, &format!("{}\n{narrow}", route(""))), folder.path()).await;
    let url = proxy.url();
    for (api, base, expected) in [
        ("azure", format!("{url}/team"), "narrow"),
        ("azure", url.clone(), "all"),
        ("google", format!("{url}/team"), "all"),
        ("azure", format!("{url}/teams"), "all"),
    ] {
        let (_, reply) = ask(api, &base, &[picture(1)]).await;
        assert_eq!(header(&reply.headers, "route"), expected, "{api} {base}");
    }
    let moderation = json!({ "requests": [{
        "image": { "content": "iVBORw0KGgo=" },
        "features": [{ "type": "SAFE_SEARCH_DETECTION" }],
    }] });
    let reply =
        client().post(format!("{url}/v1/images:annotate")).body(moderation.to_string()).send().await.unwrap();
    assert_eq!(reply.status(), 400);
    assert!(reply.text().await.unwrap().contains("only labels are certified here"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_pictures_and_addresses_get_the_apis_own_error_and_cost_nothing() {
    let emulator = emulator(Plan::default(), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let proxy = proxy(&config(&emulator, &route("")), folder.path()).await;
    let post = async |body: Value| {
        let url = format!("{}/v1/images:annotate", proxy.url());
        let reply = client().post(url).body(body.to_string()).send().await.unwrap();
        (reply.status().as_u16(), reply.json::<Value>().await.unwrap())
    };
    let labels = json!([{ "type": "LABEL_DETECTION" }]);
    let cut = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &picture(1).bytes[..300]);
    for (image, words) in [
        (json!({ "content": "aGVsbG8=" }), "none of these formats"),
        (json!({ "content": cut }), ""),
        (json!({ "source": { "imageUri": "http://169.254.169.254/latest" } }), "not fetched"),
    ] {
        let (status, body) = post(json!({ "requests": [{ "image": image, "features": labels }] })).await;
        let error = &body["responses"][0]["error"];
        assert_eq!((status, error["code"].as_i64()), (200, Some(3)), "{body}");
        assert!(error["message"].as_str().unwrap().contains(words), "{body}");
    }
    assert_eq!(emulator.stats().total.pictures, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plain_answer_that_is_missing_beside_a_certificate_is_asked_for_like_any_other_call() {
    let emulator = emulator(Plan::default(), Arc::new(Chance)).await;
    let folder = tempdir().unwrap();
    let first = proxy(&config(&emulator, &abstaining("reuse = \"1h\"")), folder.path()).await;
    let (_, before) = ask("google", &first.url(), &[picture(3)]).await;
    let votes: u64 = header(&before.headers, "votes").parse().unwrap();
    first.stop().await.unwrap();
    assert_eq!(emulator.stats().total.pictures, votes);

    // Exactly the votes of a certificate, where the plain answer would be one more.
    let budget =
        |calls: u64| format!("reuse = \"1h\"\non_abstain = \"plain\"\nbudget = {{ calls = {calls} }}");
    let spent = proxy(&config(&emulator, &abstaining(&budget(votes))), folder.path()).await;
    let (_, refused) = ask("azure", &spent.url(), &[picture(3)]).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    spent.stop().await.unwrap();

    let second = proxy(&config(&emulator, &abstaining(&budget(votes + 1))), folder.path()).await;
    for _ in 0..2 {
        let (_, reply) = ask("google", &second.url(), &[picture(3)]).await;
        let of = |name| header(&reply.headers, name);
        assert_eq!((of("outcome"), of("evidence")), ("uncertified", "reused"));
        assert_eq!(of("calls"), (votes + 1).to_string());
        assert_eq!(of("certificate"), header(&before.headers, "certificate"));
        assert_eq!(emulator.stats().total.pictures, votes + 1);
    }
    let metrics =
        client().get(format!("{}/metrics", second.url())).send().await.unwrap().text().await.unwrap();
    assert!(
        metrics.lines().any(|line| line.starts_with("smoothgate_attempts_total{") && line.ends_with(" 1"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetched_pictures_count_for_the_memory() {
    /// The same file wherever it is.
    struct File(bytes::Bytes);
    impl smoothgate::proxy::fetch::Fetch for File {
        fn fetch<'a>(
            &'a self,
            _: &'a smoothgate::proxy::access::Caller,
            source: &'a Source,
            _: usize,
        ) -> futures::future::BoxFuture<'a, Result<bytes::Bytes, Refusal>> {
            let large = matches!(source, Source::Url(url) if url.ends_with("large"));
            let small = self.0.clone();
            // What follows the end of a PNG is not looked at.
            let file = if large { [small.to_vec(), vec![0; 400_000]].concat().into() } else { small };
            Box::pin(async move { Ok(file) })
        }
    }
    let emulator = emulator(Plan::default(), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let config = config(&emulator, &format!("max_memory_mib = 1\n{}", route("")));
    let ledger = Ledger::open(folder.path().join("ledger.db"), &Options::default()).unwrap();
    let environment = environment();
    let opener = Opener::new(&config, &environment, &config.serve, ledger);
    let opened = opener.open(&config.routes).await.unwrap();
    let fetch = Arc::new(File(picture(1).bytes));
    let proxy = Proxy::start(Settings { fetch, ..open_to_all(&config, opened) }).await.unwrap();
    let get = async |name: &str| {
        let body = json!({ "requests": [{
            "image": { "source": { "imageUri": format!("https://example.com/{name}") } },
            "features": [{ "type": "LABEL_DETECTION" }],
        }] });
        let request = client().post(format!("{}/v1/images:annotate", proxy.url())).body(body.to_string());
        request.send().await.unwrap()
    };
    for _ in 0..2 {
        let large = get("large").await;
        assert_eq!(large.status(), 429);
        assert!(large.headers().contains_key("retry-after"));
        let small = get("small").await;
        assert_eq!((small.status().as_u16(), header(small.headers(), "outcome")), (200, "certified"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_name_is_compared_as_questions_compare_it() {
    /// Sees a street everywhere.
    struct Street;
    impl Backend for Street {
        fn answer(&self, _: &EncodedPicture) -> Outcome {
            Outcome::Answered(Answer::of([("Stra\u{df}e", 0.9)]))
        }
    }
    let emulator = emulator(Plan::default(), Arc::new(Street)).await;
    let folder = tempdir().unwrap();
    let proxy = proxy(&config(&emulator, &route("")), folder.path()).await;
    let content = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &picture(1).bytes);
    let post = async |path: &str, target: &str, body: Value| {
        let request = client().post(format!("{}{path}", proxy.url())).header("x-amz-target", target);
        let request = request.header(
            "content-type",
            if target.is_empty() { "application/json" } else { "application/x-amz-json-1.1" },
        );
        let reply = request.body(body.to_string()).send().await.unwrap();
        (reply.status().as_u16(), reply.json::<Value>().await.unwrap())
    };
    let message = json!({ "role": "user", "content": [
        { "type": "image_url", "image_url": { "url": format!("data:image/png;base64,{content}") } },
    ] });
    let choice = json!({ "model": "m", "messages": [message], "guided_choice": ["other", "STRASSE"] });
    let (_, body) = post("/v1/chat/completions", "", choice).await;
    assert_eq!(body["choices"][0]["message"]["content"], "STRASSE", "{body}");

    let filtered = |filter: &str| {
        let filters = json!({ filter: ["STRASSE"] });
        let settings = json!({ "GeneralLabels": filters });
        json!({ "Image": { "Bytes": content }, "MinConfidence": 0.0, "Settings": settings })
    };
    for (filter, labels) in [("LabelInclusionFilters", 1), ("LabelExclusionFilters", 0)] {
        let (_, body) = post("/", "RekognitionService.DetectLabels", filtered(filter)).await;
        assert_eq!(body["Labels"].as_array().unwrap().len(), labels, "{body}");
    }

    let concepts = |concept: Value| {
        json!({
            "inputs": [{ "data": { "image": { "base64": content } } }],
            "model": { "output_info": { "output_config": { "select_concepts": [concept] } } },
        })
    };
    let path = "/v2/models/m/outputs";
    let (_, body) = post(path, "", concepts(json!({ "id": "ai_x", "name": "stra\u{df}e" }))).await;
    assert_eq!(body["outputs"][0]["data"]["concepts"][0]["name"], "Stra\u{df}e", "{body}");
    // No certified label has an id: to select by one would leave nothing.
    let (status, body) = post(path, "", concepts(json!({ "id": "ai_x" }))).await;
    assert_eq!((status, &body["status"]["code"]), (400, &json!(11_102)), "{body}");
}
