//! Health, readiness, counts, and the end.

#![expect(clippy::float_cmp, reason = "counts are whole numbers")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use smoothgate::config::Config;
use smoothgate::emulate::Plan;
use smoothgate::ledger::Reader;
use tempfile::tempdir;

use crate::support::{Dog, ask, client, config, emulator, header, picture, plan, proxy, route};

async fn get(url: &str) -> (u16, String) {
    let reply = client().get(url).send().await.unwrap();
    (reply.status().as_u16(), reply.text().await.unwrap())
}

/// The samples of a text of metrics by series, labels included.
async fn metrics(base: &str) -> BTreeMap<String, f64> {
    let (status, text) = get(&format!("{base}/metrics")).await;
    assert_eq!(status, 200, "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

fn checks(body: &str) -> BTreeMap<String, bool> {
    let body: Value = serde_json::from_str(body).unwrap();
    let checks = body["checks"].as_object().unwrap();
    checks.iter().map(|(name, check)| (name.clone(), check["ok"].as_bool().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_that_it_lives_and_is_ready_without_a_paid_call() {
    let emulator = emulator(Plan::default(), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let proxy = proxy(&config(&emulator, &route("")), folder.path()).await;
    assert_eq!(get(&format!("{}/healthz", proxy.url())).await, (200, r#"{"alive":true}"#.to_owned()));
    let (status, body) = get(&format!("{}/readyz", proxy.url())).await;
    assert_eq!(status, 200, "{body}");
    let names: Vec<String> = checks(&body).into_keys().collect();
    assert_eq!(names, ["accepting", "ledger", "models", "upstreams"]);
    assert_eq!(emulator.stats().total.calls, 0);
    let reply = client().post(format!("{}/readyz", proxy.url())).send().await.unwrap();
    assert_eq!((reply.status().as_u16(), reply.headers()["allow"].to_str().unwrap()), (405, "GET, HEAD"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_not_ready_once_the_upstream_rejects_its_credentials_and_says_why_to_the_operator_alone() {
    let emulator = emulator(Plan::default(), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let settings = config(&emulator, &format!("admin = \"127.0.0.1:0\"\n{}", route("")));
    // The emulator takes another key.
    let wrong = smoothgate::providers::credentials::Environment::of([("GOOGLE_API_KEY", "a-wrong-key")]);
    let proxy = crate::served::proxy(&settings, folder.path(), &wrong).await;
    let (_, reply) = ask("google", &proxy.url(), &[picture(1)]).await;
    assert_eq!(header(&reply.headers, "outcome"), "refused");
    let (status, body) = get(&format!("{}/readyz", proxy.url())).await;
    assert_eq!((status, checks(&body)["upstreams"]), (503, false), "{body}");
    assert!(!body.contains("problem"), "{body}");
    let admin = format!("http://{}", proxy.admin().unwrap());
    let (status, body) = get(&format!("{admin}/readyz")).await;
    assert_eq!(status, 503);
    assert!(body.contains("nothing is sent to `up` any more"), "{body}");
    assert_eq!(metrics(&admin).await["smoothgate_upstream_stopped{upstream=\"up\"}"], 1.0);
    // The counts are at the operator's port alone, and nothing is certified there.
    assert_eq!(get(&format!("{}/metrics", proxy.url())).await.0, 404);
    assert_eq!(get(&format!("{admin}/certificates/1-00")).await.0, 404);
    assert_eq!(ask("azure", &admin, &[picture(1)]).await.1.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_are_those_of_the_headers_of_the_ledger_and_of_the_upstream() {
    let emulator =
        emulator(plan("seed = 5\n[[rate]]\nfault = \"server-error\"\nshare = 0.2"), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let budget = route("budget = { calls = 5000 }");
    let proxy = proxy(&config(&emulator, &budget), folder.path()).await;
    let (mut votes, mut certified) = (0.0, 0.0);
    for n in 0..4 {
        let (_, reply) = ask("google", &proxy.url(), &[picture(n)]).await;
        votes += header(&reply.headers, "votes").parse::<f64>().unwrap();
        certified += f64::from(u8::from(header(&reply.headers, "outcome") == "certified"));
    }
    assert_eq!(ask("google", &proxy.url(), &[picture(0)]).await.1.status, 200);
    assert_eq!(client().get(format!("{}/nowhere", proxy.url())).send().await.unwrap().status(), 404);
    let seen = metrics(&proxy.url()).await;
    let sum = |family: &str| -> f64 {
        seen.iter().filter(|(series, _)| series.starts_with(&format!("{family}{{"))).map(|(_, n)| n).sum()
    };
    // Calls that carry several pictures are an attempt for each.
    let calls = emulator.stats().total.pictures as f64;
    let ledger = proxy.routes()[0].run().spend().await.unwrap();
    assert_eq!(sum("smoothgate_attempts_total"), calls);
    assert_eq!(ledger.calls as f64, calls);
    let cost: f64 = ledger.at_most().unwrap().dollars().to_string().parse().unwrap();
    assert!((sum("smoothgate_cost_dollars_total") - cost).abs() < 1e-9, "{seen:?} {cost}");
    assert_eq!(sum("smoothgate_votes_total"), votes);
    let of = |evidence| {
        let series = format!(
            "smoothgate_certificates_total{{route=\"all\",outcome=\"certified\",evidence=\"{evidence}\"}}"
        );
        seen.get(&series).copied().unwrap_or_default()
    };
    assert_eq!((of("new"), of("reused")), (certified, 1.0));
    assert_eq!(seen["smoothgate_requests_total{api=\"google\",route=\"all\",status=\"200\"}"], 5.0);
    assert_eq!(seen["smoothgate_requests_total{api=\"\",route=\"\",status=\"404\"}"], 1.0);
    assert_eq!(seen["smoothgate_budget_left_calls{route=\"all\"}"], 5000.0 - calls);
    assert!(sum("smoothgate_denoiser_pictures_total") >= votes);
    assert_eq!(seen["smoothgate_queue_active{upstream=\"up\"}"], 0.0);
    assert!(sum("smoothgate_upstream_seconds_count") >= calls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_not_ready_before_it_takes_no_more_and_what_is_in_flight_ends() {
    let emulator = emulator(plan("latency = \"20ms\""), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let text = format!("drain = \"400ms\"\n{}", route("concurrency = 4"));
    let mut settings: Config = config(&emulator, &text);
    settings.serve.finish = Duration::from_mins(1);
    let proxy = proxy(&settings, folder.path()).await;
    let (url, run) = (proxy.url(), proxy.routes()[0].run().id());
    let request = |n| {
        let url = url.clone();
        tokio::spawn(async move { ask("google", &url, &[picture(n)]).await.1 })
    };
    let before = request(1);
    while emulator.stats().total.calls < 3 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let stopped = tokio::spawn(proxy.stop());
    let (status, body) = loop {
        let (status, body) = get(&format!("{url}/readyz")).await;
        if status != 200 {
            break (status, body);
        }
    };
    assert_eq!((status, checks(&body)["accepting"]), (503, false));
    // A load balancer that has not looked yet still sends requests.
    let during = request(2);
    for reply in [before.await.unwrap(), during.await.unwrap()] {
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(header(&reply.headers, "outcome"), "certified");
    }
    assert_eq!(stopped.await.unwrap().unwrap().left, 0);
    assert!(client().get(format!("{url}/healthz")).send().await.is_err());
    let report = Reader::open(folder.path().join("ledger.db")).unwrap().run(run).unwrap();
    assert_eq!((report.unknown, report.in_flight), (0, 0));
    assert_eq!(report.summary.spend.calls, emulator.stats().total.pictures);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_does_not_come_back_does_not_keep_it_and_counts_as_billed() {
    let emulator = emulator(plan("latency = \"20s\""), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let settings = config(&emulator, &format!("settle = \"200ms\"\n{}", route("")));
    let proxy = proxy(&settings, folder.path()).await;
    let (url, run) = (proxy.url(), proxy.routes()[0].run().id());
    let sent = tokio::spawn(async move { ask("google", &url, &[picture(1)]).await });
    while proxy.in_flight() == 0 || emulator.stats().total.calls == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(proxy.stop().await.unwrap().left, 1);
    sent.abort();
    let report = Reader::open(folder.path().join("ledger.db")).unwrap().run(run).unwrap();
    assert_eq!((report.in_flight, report.unknown), (0, 1));
    assert_eq!(report.summary.spend.at_most().unwrap().to_string(), "$0.001");
}
