//! An upstream that fails altogether, and is there again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use smoothgate::providers::local::Backend;
use smoothgate::providers::{EncodedPicture, Outcome};
use tempfile::tempdir;

use crate::support::{Dog, ask, config, emulator, header, picture, plan, proxy, route};

/// Answers nothing until it is healed.
struct Ill {
    healed: AtomicBool,
    with: fn(String) -> Outcome,
}

impl Backend for Ill {
    fn answer(&self, picture: &EncodedPicture) -> Outcome {
        if self.healed.load(SeqCst) { Dog.answer(picture) } else { (self.with)("it is ill".to_owned()) }
    }
}

fn ill(with: fn(String) -> Outcome) -> Arc<Ill> {
    Arc::new(Ill { healed: AtomicBool::new(false), with })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_no_abstention_and_is_over_when_it_is_over() {
    let backend = ill(|reason| Outcome::Transient { reason });
    let emulator = emulator(plan(""), Arc::clone(&backend) as Arc<dyn Backend>).await;
    let folder = tempdir().unwrap();
    let proxy = proxy(&config(&emulator, &route("reuse = \"1h\"")), folder.path()).await;
    let mut calls = 0;
    for api in ["azure", "google", "aws"] {
        let (_, reply) = ask(api, &proxy.url(), &[picture(1)]).await;
        assert_eq!(reply.status, if api == "aws" { 400 } else { 429 }, "{api}: {reply:?}");
        assert!(reply.headers.contains_key("retry-after"), "{api}");
        assert_eq!(header(&reply.headers, "outcome"), "refused", "{api}");
        let now = emulator.stats().total.pictures;
        assert!(now > calls, "{api}: it is asked again");
        calls = now;
    }
    backend.healed.store(true, SeqCst);
    let (_, reply) = ask("azure", &proxy.url(), &[picture(1)]).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let of = |name| header(&reply.headers, name);
    assert_eq!((of("outcome"), of("evidence")), ("certified", "new"));
    let (_, again) = ask("azure", &proxy.url(), &[picture(1)]).await;
    assert_eq!(header(&again.headers, "evidence"), "reused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_that_the_upstream_will_not_look_at_is_refused_and_not_asked_about_again() {
    let backend = ill(|reason| Outcome::Refused { reason });
    let emulator = emulator(plan(""), backend as Arc<dyn Backend>).await;
    let folder = tempdir().unwrap();
    let proxy = proxy(&config(&emulator, &route("reuse = \"1h\"")), folder.path()).await;
    let mut calls = None;
    for _ in 0..2 {
        let (_, reply) = ask("azure", &proxy.url(), &[picture(1)]).await;
        assert_eq!((reply.status.as_u16(), header(&reply.headers, "outcome")), (400, "refused"), "{reply:?}");
        let now = emulator.stats().total.pictures;
        assert_eq!(*calls.get_or_insert(now), now);
    }
}
