//! Many clients at once, an upstream that fails, clients that hang up, and a restart in the middle.
//!
//! The normal suite runs a short form; `SMOOTHGATE_LONG=1` runs 500 requests, 50 at once.

#![expect(clippy::panic, reason = "a test stops where it finds something wrong")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use smoothgate::emulate::Plan;
use smoothgate::ledger::{Reader, RunId};
use tempfile::tempdir;
use tokio::sync::{Semaphore, watch};

use crate::process::Server;
use crate::support::{Dog, adapter, certificate, client, emulator, header, picture, route, written};

/// How much is done.
struct Size {
    requests: usize,
    at_once: usize,
    pictures: u32,
}

impl Size {
    fn of_this_run() -> Self {
        if std::env::var_os("SMOOTHGATE_LONG").is_some() {
            Self { requests: 500, at_once: 50, pictures: 240 }
        } else {
            Self { requests: 60, at_once: 12, pictures: 40 }
        }
    }
}

/// How one client fared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fared {
    /// The id of its certificate.
    Answered(String),
    HungUp,
    OverBudget,
}

/// One client, who comes again until he has an answer, wherever the server is then.
async fn client_of(
    n: u32,
    size_pictures: u32,
    mut url: watch::Receiver<String>,
    hangs_up: bool,
    done: Arc<AtomicUsize>,
) -> Fared {
    let api = ["google", "azure", "kserve"][n as usize % 3];
    loop {
        let at = url.borrow_and_update().clone();
        let request = adapter(api, &at).request(&[picture(n % size_pictures)]).unwrap();
        let sent = client().execute(reqwest::Request::try_from(request).unwrap());
        let reply = if hangs_up {
            match tokio::time::timeout(Duration::from_millis(u64::from(n % 40)), sent).await {
                Err(_) => return Fared::HungUp,
                Ok(reply) => reply,
            }
        } else {
            sent.await
        };
        let Ok(reply) = reply else {
            // The server restarts.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (status, headers) = (reply.status().as_u16(), reply.headers().clone());
        let Ok(body) = reply.text().await else { continue };
        match status {
            429 => {
                assert!(headers.contains_key("retry-after"), "{body}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            403 => return Fared::OverBudget,
            // Google refuses single pictures inside a 200.
            200 if header(&headers, "outcome") == "refused" && body.contains("budget") => {
                return Fared::OverBudget;
            }
            200 => {
                done.fetch_add(1, SeqCst);
                return Fared::Answered(header(&headers, "certificate").to_owned());
            }
            status => panic!("{api} {status}: {body}"),
        }
    }
}

/// Once it is warm it does not grow: the last quarter of the time takes no more than the second did, and a little.
fn assert_flat(resident: &[u64]) {
    let quarter = resident.len() / 4;
    // A short run says nothing.
    if quarter >= 10 {
        let most = |part: &[u64]| part.iter().copied().max().unwrap_or_default();
        let (early, late) = (most(&resident[quarter..2 * quarter]), most(&resident[3 * quarter..]));
        assert!(late <= early + early / 4 + 16, "from {early} to {late} MiB: {resident:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_has_a_certificate_and_every_call_is_on_record_through_faults_and_a_restart() {
    let size = Size::of_this_run();
    let plan = Plan { seed: 11, ..Plan::default() }.with_fault_rate(0.2).unwrap();
    let emulator = emulator(plan, Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let folder = folder.path();
    // Two pictures in three can be paid for, roughly: the budget is met, too.
    let budget = u64::from(size.pictures) * 20;
    let config = written(
        &emulator,
        "finish = \"200ms\"",
        &route(&format!("n_max = 60\nbudget = {{ calls = {budget} }}")),
    );
    std::fs::write(folder.join("smoothgate.toml"), config).unwrap();

    let first = Server::start(folder).await;
    let (tell, url) = watch::channel(first.url.clone());
    let done = Arc::new(AtomicUsize::new(0));
    let places = Arc::new(Semaphore::new(size.at_once));
    let clients: Vec<_> = (0..size.requests)
        .map(|n| {
            let (places, url, done) = (Arc::clone(&places), url.clone(), Arc::clone(&done));
            let pictures = size.pictures;
            tokio::spawn(async move {
                let _place = places.acquire_owned().await.unwrap();
                client_of(n as u32, pictures, url, n % 10 == 9, done).await
            })
        })
        .collect();
    while done.load(SeqCst) < size.pictures as usize / 4 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    first.signal("-TERM");
    first.end(folder).await;
    let second = Server::start(folder).await;
    let resident = second.resident();
    tell.send_replace(second.url.clone());
    let mut fared = Vec::new();
    for client in clients {
        fared.push(client.await.unwrap());
    }

    let mut answered = 0;
    for one in &fared {
        if let Fared::Answered(id) = one {
            // It is fetched and verified.
            certificate(&second.url, id).await;
            answered += 1;
        }
    }
    let over = fared.iter().filter(|one| **one == Fared::OverBudget).count();
    let most = second.memory("VmHWM:");
    second.signal("-TERM");
    second.end(folder).await;
    let resident = resident.await.unwrap();
    eprintln!(
        "{answered} answered, {over} over the budget, {} hung up; {} calls of {budget}; MiB resident over time: {resident:?}, \
         {most:?} at most",
        fared.len() - answered - over,
        emulator.stats().total.pictures,
    );
    assert!(answered > size.requests / 4 && over > 0, "{fared:?}");
    assert!(most.is_none_or(|most| most < 1024), "{most:?} MiB");
    assert_flat(&resident);

    // Calls that carry several pictures are an attempt for each.
    let calls = emulator.stats().total.pictures;
    let report = Reader::open(folder.join("ledger.db")).unwrap().run(RunId(1)).unwrap();
    assert_eq!(report.summary.spend.calls, calls, "what the server counted is what is on record");
    assert!(calls <= budget, "{calls} of {budget}");
    assert_eq!(report.in_flight, 0);
}
