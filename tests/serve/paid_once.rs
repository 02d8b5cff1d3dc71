//! Sharing, reuse, and going on after a break: what was paid is never paid again.

use std::sync::Arc;
use std::time::Duration;

use smoothgate::emulate::Plan;
use smoothgate::ledger::Reader;
use tempfile::tempdir;

use crate::support::{Dog, ask, certificate, client, config, emulator, header, picture, plan, proxy, route};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identical_requests_at_once_share_one_certificate() {
    let emulator = emulator(plan("latency = \"20ms\""), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let proxy = proxy(&config(&emulator, &route("reuse = \"0s\"\nconcurrency = 4")), folder.path()).await;
    let url = proxy.url();
    let picture = [picture(1)];
    let asks = (0..5).map(|_| ask("google", &url, &picture));
    let replies = futures::future::join_all(asks).await;
    let of = |name: &str| replies.iter().map(|(_, reply)| header(&reply.headers, name)).collect::<Vec<_>>();
    let certificates = of("certificate");
    assert!(certificates.iter().all(|id| id == &certificates[0]), "{certificates:?}");
    let mut evidence = of("evidence");
    evidence.sort_unstable();
    assert_eq!(evidence, ["new", "shared", "shared", "shared", "shared"]);
    assert_eq!(of("calls")[0], emulator.stats().total.pictures.to_string());
    // Another caller of the same picture later gets another certificate where nothing is used again.
    let (_, later) = ask("google", &url, &picture).await;
    assert_ne!(header(&later.headers, "certificate"), certificates[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_certificate_is_served_again_and_costs_nothing() {
    let emulator = emulator(Plan::default(), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let config = config(&emulator, &route("reuse = \"1h\""));
    let first = proxy(&config, folder.path()).await;
    let (_, before) = ask("google", &first.url(), &[picture(2)]).await;
    let calls = emulator.stats().total.pictures;
    let (outcomes, again) = ask("google", &first.url(), &[picture(2)]).await;
    assert_eq!(header(&again.headers, "evidence"), "reused");
    for name in ["certificate", "radius", "votes", "calls", "cost", "outcome"] {
        assert_eq!(header(&again.headers, name), header(&before.headers, name), "{name}");
    }
    assert!(matches!(&outcomes[..], [smoothgate::providers::Outcome::Answered(_)]));
    // Also by the next process, in another format.
    first.stop().await.unwrap();
    let second = proxy(&config, folder.path()).await;
    let (_, later) = ask("azure", &second.url(), &[picture(2)]).await;
    assert_eq!(header(&later.headers, "certificate"), header(&before.headers, "certificate"));
    certificate(&second.url(), header(&later.headers, "certificate")).await;
    assert_eq!(emulator.stats().total.pictures, calls, "nothing was asked again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_stops_the_calls_and_its_next_request_goes_on() {
    let emulator = emulator(plan("latency = \"30ms\""), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let config = config(&emulator, &route("concurrency = 2"));
    let proxy = proxy(&config, folder.path()).await;
    let sent = tokio::spawn({
        let url = proxy.url();
        async move { ask("google", &url, &[picture(3)]).await }
    });
    while emulator.stats().total.pictures < 5 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    sent.abort();
    // It ends by itself: what is out comes back, nothing more is sent.
    while proxy.in_flight() > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let broken_off = emulator.stats().total.pictures;
    assert!(broken_off < 15, "{broken_off} calls");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(emulator.stats().total.pictures, broken_off, "nothing was sent after that");

    let (_, reply) = ask("google", &proxy.url(), &[picture(3)]).await;
    assert_eq!(header(&reply.headers, "evidence"), "continued");
    let total = emulator.stats().total.pictures;
    assert_eq!(header(&reply.headers, "calls"), total.to_string());
    let certificate = certificate(&proxy.url(), header(&reply.headers, "certificate")).await;
    // The clean answer and one call a vote: no call was paid twice.
    assert_eq!(total, certificate.draws() + 1);
    assert_eq!(header(&reply.headers, "cost"), format!("${:.3}", total as f64 / 1000.0));
    let run = proxy.routes()[0].run().id();
    proxy.stop().await.unwrap();
    let report = Reader::open(folder.path().join("ledger.db")).unwrap().run(run).unwrap();
    assert_eq!(report.summary.spend.calls, total);
    assert_eq!((report.unknown, report.in_flight), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_goes_on_after_a_restart() {
    let emulator = emulator(plan("latency = \"20ms\""), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let config = config(&emulator, &route("concurrency = 2"));
    let first = proxy(&config, folder.path()).await;
    let sent = tokio::spawn({
        let url = first.url();
        async move { ask("google", &url, &[picture(4)]).await }
    });
    while emulator.stats().total.pictures < 5 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    first.stop().await.unwrap();
    let (_, told) = sent.await.unwrap();
    assert_eq!(told.status, 429, "{told:?}");
    assert!(told.headers.contains_key("retry-after"));
    let second = proxy(&config, folder.path()).await;
    let (_, reply) = ask("google", &second.url(), &[picture(4)]).await;
    assert_eq!(header(&reply.headers, "evidence"), "continued");
    let certificate = certificate(&second.url(), header(&reply.headers, "certificate")).await;
    assert_eq!(emulator.stats().total.pictures, certificate.draws() + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_breaks_off_and_the_next_request_goes_on() {
    let emulator = emulator(plan("latency = \"40ms\""), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let config = config(&emulator, &route("concurrency = 1\ndeadline = \"300ms\""));
    let proxy = proxy(&config, folder.path()).await;
    let (_, late) = ask("google", &proxy.url(), &[picture(5)]).await;
    assert_eq!(late.status, 429, "{late:?}");
    assert!(late.headers.contains_key("retry-after"));
    let mut tries = 1;
    let reply = loop {
        let (_, reply) = ask("google", &proxy.url(), &[picture(5)]).await;
        tries += 1;
        if reply.status == 200 {
            break reply;
        }
        assert!(tries < 100);
    };
    let certificate = certificate(&proxy.url(), header(&reply.headers, "certificate")).await;
    assert_eq!(emulator.stats().total.pictures, certificate.draws() + 1, "{tries} tries");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_its_callers_alone() {
    let emulator = emulator(Plan::default(), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let proxy = proxy(&config(&emulator, &route("")), folder.path()).await;
    let (_, reply) = ask("google", &proxy.url(), &[picture(6)]).await;
    let id = header(&reply.headers, "certificate").to_owned();
    let (number, secret) = id.split_once('-').unwrap();
    let zeros = format!("{number}-{}", "0".repeat(32));
    for wrong in [number, &zeros, "../../etc/passwd", "9999999-00", &format!("99{number}-{secret}")] {
        let reply = client().get(format!("{}/certificates/{wrong}", proxy.url())).send().await.unwrap();
        assert_eq!(reply.status(), 404, "{wrong}");
    }
    let reply = client().post(format!("{}/certificates/{id}", proxy.url())).send().await.unwrap();
    assert_eq!((reply.status().as_u16(), reply.headers()["allow"].to_str().unwrap()), (405, "GET, HEAD"));
}
