//! Pictures that are ended early: what is out is paid for, so it is waited for and kept.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures::future::BoxFuture;
use smoothgate::engine::{Engine, EngineError, Stop};
use smoothgate::providers::{AskError, Description, EncodedPicture, Endpoint, Journal, Outcome};
use smoothgate::stats::{Ladder, Method};
use support::*;

/// What is kept of a picture that is ended by `turn` a second after the first of the `calls`: of its votes, or of the answer
/// about the picture itself. The clock is turned on where everybody waits for it.
fn kept(endpoint: Arc<dyn Endpoint>, calls: &Scripted, clean: bool, turn: fn(&Stop)) -> Remembering {
    let mut settings = settings();
    if clean {
        settings.question = "clean-top".parse().unwrap();
        settings.method = Method::Table1(Ladder::new(vec![0.1], 60));
    }
    let (engine, memory) = (Engine::new(endpoint, denoiser("none"), settings), Remembering::default());
    let paused =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let ended = paused.block_on(async {
        let stop = async {
            while calls.calls() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            turn(engine.stop());
        };
        tokio::join!(engine.gather(picture(12, 10), seed(), &memory, &|_| {}), stop).0
    });
    assert!(matches!(ended, Err(EngineError::Interrupted)), "{ended:?}");
    memory
}

#[test]
fn what_is_out_is_waited_for_however_long_it_takes() {
    for clean in [false, true] {
        let slow = Scripted::new(|_| (label("dog"), Duration::from_secs(45)));
        let memory = kept(slow.clone(), &slow, clean, Stop::stop);
        assert_eq!(memory.0.lock().unwrap().len(), slow.calls(), "they were paid for");
    }
}

#[test]
fn whoever_waits_for_the_process_does_not_wait_for_every_call() {
    let at_once: fn(&Stop) = Stop::stop_soon;
    let late: fn(&Stop) = |stop| {
        stop.stop();
        stop.stop_soon();
        stop.stop();
    };
    for (clean, turn) in [(false, late), (true, late), (false, at_once), (true, at_once)] {
        let slow = Scripted::new(|_| (label("dog"), Duration::from_secs(45)));
        assert!(kept(slow.clone(), &slow, clean, turn).0.lock().unwrap().is_empty());
        let quick = Scripted::new(|_| (label("dog"), Duration::from_secs(25)));
        let memory = kept(quick.clone(), &quick, clean, turn);
        assert_eq!(memory.0.lock().unwrap().len(), quick.calls());
    }
}

/// Asks again a while after each failure.
struct Persistent {
    inner: Arc<Scripted>,
    again: AtomicUsize,
}

impl Endpoint for Persistent {
    fn describe(&self) -> &Description {
        self.inner.describe()
    }

    fn ask<'a>(
        &'a self,
        draw: Option<u64>,
        picture: EncodedPicture,
        journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<Outcome, AskError>> {
        Box::pin(async move {
            loop {
                let outcome = self.inner.ask(draw, picture.clone(), journal).await?;
                if !outcome.class().may_retry() {
                    return Ok(outcome);
                }
                tokio::time::sleep(Duration::from_secs(20)).await;
                self.again.fetch_add(1, SeqCst);
            }
        })
    }
}

#[test]
fn nobody_waits_for_the_pause_before_a_call_that_will_not_be_made() {
    for clean in [false, true] {
        let failing = Outcome::Transient { reason: "as scripted".into() };
        let inner = Scripted::new(move |_| (failing.clone(), Duration::from_secs(2)));
        let endpoint = Arc::new(Persistent { inner: inner.clone(), again: AtomicUsize::new(0) });
        let memory = kept(endpoint.clone(), &inner, clean, Stop::stop);
        assert_eq!(inner.order.lock().unwrap().len(), inner.calls(), "their ends are on record");
        assert_eq!(endpoint.again.load(SeqCst), 0);
        assert!(memory.0.lock().unwrap().is_empty(), "no failure was a last word");
    }
}
