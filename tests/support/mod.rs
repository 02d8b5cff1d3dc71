//! A scripted endpoint and small pictures, for tests of the pipeline.

#![allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "each test file uses its own part")]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use smoothgate::denoisers::{DenoiserHandle, Options, open};
use smoothgate::engine::{Engine, EngineError, Evidence, Forgetful, Memory, Settings, Settled};
use smoothgate::noise::Seed;
use smoothgate::picture::{PictureOptions, WorkingImage};
use smoothgate::providers::{
    Answer, AskError, Attempt, AttemptEnd, AttemptId, Billed, Description, EncodedPicture, Endpoint, Journal,
    JournalError, Outcome, Price, Unrecorded, local::LIMITS,
};
use smoothgate::units::Sigma;

type Script = dyn Fn(u64) -> (Outcome, Duration) + Send + Sync;

/// What a script is asked for the picture without noise.
pub const CLEAN: u64 = u64::MAX;

/// An endpoint that answers by draw index, after a delay, and remembers what it was sent.
pub struct Scripted {
    description: Description,
    script: Box<Script>,
    pub sent: Mutex<BTreeMap<u64, Vec<EncodedPicture>>>,
    pub order: Mutex<Vec<u64>>,
}

impl Scripted {
    pub fn new(script: impl Fn(u64) -> (Outcome, Duration) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            description: Description {
                name: "scripted".into(),
                identity: serde_json::json!({ "kind": "scripted" }),
                native_size: None,
                limits: LIMITS,
                price: Price::Free,
                quota: None,
            },
            script: Box::new(script),
            sent: Mutex::default(),
            order: Mutex::default(),
        })
    }

    /// Answers at once.
    pub fn at_once(script: impl Fn(u64) -> Outcome + Send + Sync + 'static) -> Arc<Self> {
        Self::new(move |draw| (script(draw), Duration::ZERO))
    }

    pub fn calls(&self) -> usize {
        self.sent.lock().unwrap().values().map(Vec::len).sum()
    }
}

impl Endpoint for Scripted {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn ask<'a>(
        &'a self,
        draw: Option<u64>,
        picture: EncodedPicture,
        journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<Outcome, AskError>> {
        Box::pin(async move {
            let digest = *blake3::hash(&picture.bytes).as_bytes();
            let id = journal.open(&Attempt { draw, number: 1, price: Price::Free, picture: digest }).await?;
            let draw = draw.unwrap_or(CLEAN);
            self.sent.lock().unwrap().entry(draw).or_default().push(picture);
            let (outcome, delay) = (self.script)(draw);
            tokio::time::sleep(delay).await;
            self.order.lock().unwrap().push(draw);
            let end = AttemptEnd { outcome: &outcome, status: None, latency: delay, billed: Billed::No };
            journal.close(id, end).await?;
            Ok(outcome)
        })
    }
}

/// A memory in a map.
#[derive(Default)]
pub struct Remembering(pub Mutex<HashMap<Option<u64>, Settled>>);

impl Journal for Remembering {
    fn open<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<AttemptId, JournalError>> {
        Unrecorded.open(attempt)
    }

    fn close<'a>(&'a self, id: AttemptId, end: AttemptEnd<'a>) -> BoxFuture<'a, Result<(), JournalError>> {
        Unrecorded.close(id, end)
    }
}

impl Memory for Remembering {
    fn recall(&self, draw: Option<u64>) -> Option<Settled> {
        self.0.lock().unwrap().get(&draw).cloned()
    }

    fn settle<'a>(
        &'a self,
        draw: Option<u64>,
        settled: &'a Settled,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            let before = self.0.lock().unwrap().insert(draw, settled.clone());
            assert!(before.is_none(), "draw {draw:?} was settled twice");
            Ok(())
        })
    }

    fn attempts(&self) -> u64 {
        0
    }

    fn as_journal(&self) -> &dyn Journal {
        self
    }
}

/// An answer with one label.
pub fn label(name: &str) -> Outcome {
    Outcome::Answered(Answer::of([(name, 0.9)]))
}

/// An 8-bit picture of `width` x `height` with a gradient and a few hard edges.
pub fn picture(width: u32, height: u32) -> Arc<WorkingImage> {
    let pixels = image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([
            (x * 255 / width.max(2)) as u8,
            (y * 255 / height.max(2)) as u8,
            if (x / 3) % 2 == 0 { 0 } else { 255 },
        ])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    Arc::new(WorkingImage::decode(bytes.get_ref(), &PictureOptions::default()).unwrap())
}

pub fn denoiser(name: &str) -> DenoiserHandle {
    DenoiserHandle::spawn(open(name, &Options::default()).unwrap()).unwrap()
}

pub fn settings() -> Settings {
    Settings::new(Sigma::new(0.25).unwrap())
}

pub fn seed() -> Seed {
    Seed::from_integer(7)
}

/// Certifies a small picture without a denoiser.
pub fn gather(endpoint: Arc<Scripted>, settings: Settings) -> Result<Evidence, EngineError> {
    let engine = Engine::new(endpoint, denoiser("none"), settings);
    runtime().block_on(engine.gather(picture(12, 10), seed(), &Forgetful, &|_| {}))
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}
