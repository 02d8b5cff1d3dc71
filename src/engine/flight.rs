//! One picture in flight.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::future::{BoxFuture, OptionFuture};
use futures::stream::{FuturesUnordered, StreamExt};
use smoothgate_providers::{Answer, AskError, EncodedPicture, Outcome, RequestError};

use super::clean::Clean;
use super::copies::Copies;
use super::evidence::{self, Failure, Tested};
use super::meter::Meter;
use super::order::Order;
use super::{Engine, EngineError, Evidence, Memory, Progress, Settled};
use crate::noise::Seed;
use crate::picture::WorkingImage;
use crate::question::{Classes, Question};
use crate::stats::{Joint, Plan, Sharing, StatsError, Test, Vote};

type Made = Result<Vec<(u64, EncodedPicture)>, EngineError>;
type Asked = Result<(Option<u64>, Settled), EngineError>;

/// One claim while its votes come in.
struct Claim {
    question: Question,
    plan: Plan,
    classes: Classes,
    votes: Vec<Vote>,
}

/// The state of one picture between its first draw and its verdict. One task owns it, so nothing is locked.
pub(super) struct Flight<'a> {
    engine: &'a Engine,
    memory: &'a dyn Memory,
    copies: Copies,
    claims: Vec<Claim>,
    /// The tests of the claims, in the same order.
    joint: Joint,
    /// The most votes that a claim can take.
    most: u64,
    /// Calls of this process before the first draw.
    calls_before: u64,
    /// Running hash over the copies that voted.
    copies_hash: blake3::Hasher,
    /// The model of the votes so far; `None` before the first answer.
    model: Option<Model>,
    /// Draws between their dispatch and their vote.
    order: Order<Settled>,
    /// Copies that wait for a call.
    ready: VecDeque<(u64, EncodedPicture)>,
    /// How the last draw ended that had no answer.
    last_failure: Option<Failure>,
}

impl<'a> Flight<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        memory: &'a dyn Memory,
        picture: Arc<WorkingImage>,
        seed: Seed,
        clean: Clean,
    ) -> Result<Self, EngineError> {
        let settings = &engine.settings;
        let law = engine.levels.law(settings, picture.grid())?;
        let tests = engine.levels.tests(settings, &law, &picture, &clean.numbers())?;
        let copies = Copies {
            picture,
            law,
            seed,
            sigma: settings.sigma,
            denoiser: engine.denoiser.clone(),
            encoder: settings.encoder,
        };
        let most = tests.max_votes() as u64;
        let (claims, joint) = claims(engine, &clean, tests.each())?;
        Ok(Self {
            engine,
            memory,
            copies,
            claims,
            joint,
            most,
            calls_before: clean.calls,
            copies_hash: blake3::Hasher::new(),
            model: clean.model,
            order: Order::default(),
            ready: VecDeque::new(),
            last_failure: clean.failure,
        })
    }

    /// Runs to the verdict: count what can be counted, send what may be sent, make what will be needed, then wait for
    /// whichever happens first.
    pub(super) async fn run(mut self, watch: &(dyn Fn(Progress) + Sync)) -> Result<Evidence, EngineError> {
        let meter = Meter::new(self.memory.as_journal());
        let (engine, memory) = (self.engine, self.memory);
        let mut calls: FuturesUnordered<BoxFuture<'_, Asked>> = FuturesUnordered::new();
        let mut making: OptionFuture<BoxFuture<'_, Made>> = None.into();
        let mut busy = false;

        let ended = loop {
            match self.count(&meter, watch) {
                Ok(false) => {}
                Ok(true) => break Ok(()),
                Err(error) => break Err(error),
            }
            if engine.stop.is_stopped() {
                break Err(EngineError::Interrupted);
            }
            while calls.len() < engine.settings.concurrency.max(1)
                && let Some((draw, copy)) = self.ready.pop_front()
            {
                calls.push(Box::pin(ask(engine, memory, &meter, Some(draw), copy)));
            }
            if !busy && self.ready.is_empty() {
                let draws = self.dispatch();
                busy = !draws.is_empty();
                if busy {
                    making = Some(Box::pin(self.copies.clone().make(draws)) as BoxFuture<'_, Made>).into();
                } else if self.order.is_next_there() {
                    continue;
                }
            }
            if calls.is_empty() && !busy {
                let problem = "the tests want no further vote and give no verdict";
                break Err(EngineError::Worker(problem.into()));
            }
            tokio::select! {
                Some(asked) = calls.next(), if !calls.is_empty() => match asked {
                    Ok((Some(draw), settled)) => self.order.end(draw, settled),
                    Ok((None, _)) => {}
                    Err(error) => break Err(error),
                },
                Some(made) = &mut making, if busy => {
                    busy = false;
                    making = None.into();
                    match made.and_then(|made| self.take(made)) {
                        Ok(()) => {}
                        Err(error) => break Err(error),
                    }
                }
                () = engine.stop.stopped() => break Err(EngineError::Interrupted),
            }
        };
        // What is out is paid for: its end is recorded, although it is no longer evidence. What waits is not sent.
        meter.shut();
        let asked = async { while calls.next().await.is_some() {} };
        engine.stop.wait_for(meter.until_landed(asked)).await;
        drop(calls);
        let calls = memory.attempts() + self.calls_before + meter.sent();
        ended.map(|()| self.evidence(calls))
    }

    /// Counts ended draws in index order for as long as there is no gap. True once every claim is decided.
    fn count(&mut self, meter: &Meter<'_>, watch: &(dyn Fn(Progress) + Sync)) -> Result<bool, EngineError> {
        while !self.joint.is_final() {
            let Some((index, settled)) = self.order.next_in_turn() else { return Ok(false) };
            if let Outcome::Answered(answer) = &settled.outcome
                && !answer.from_cache
            {
                self.check_version(index, answer)?;
            }
            self.copies_hash.update(&settled.copy);
            if let Some(failure) = evidence::failure(&settled.outcome) {
                self.last_failure = Some(failure);
            }
            let claims = &mut self.claims;
            self.joint.push(|claim| claims[claim].vote(&settled.outcome));
            watch(Progress { votes: index + 1, most: self.most, calls: meter.sent() });
        }
        Ok(true)
    }

    fn check_version(&mut self, index: u64, answer: &Answer) -> Result<(), EngineError> {
        let now = Model::of(answer);
        let before = self.model.get_or_insert_with(|| now.clone());
        if *before == now {
            return Ok(());
        }
        Err(EngineError::ModelChanged {
            provider: self.engine.endpoint.describe().name.clone(),
            vote: index,
            before: before.to_string(),
            now: now.to_string(),
        })
    }

    /// The draws to make next: one batch of those that memory does not know and that some open claim needs for sure,
    /// whatever they say. So no call is wasted, and how many calls a picture takes does not depend on timing. Where the
    /// settings allow calls ahead, those too, up to the earliest vote at which such a claim could be certified.
    fn dispatch(&mut self) -> Vec<u64> {
        let (settings, memory) = (&self.engine.settings, self.memory);
        let ahead = self.joint.ahead(settings.ahead);
        self.order.dispatch(ahead, settings.batch.max(1), |draw| memory.recall(Some(draw)))
    }

    /// Queues copies for sending. The first copy of all is checked against the endpoint's limits: if that one is
    /// unacceptable they all are, and nothing has been paid yet.
    fn take(&mut self, made: Vec<(u64, EncodedPicture)>) -> Result<(), EngineError> {
        let endpoint = self.engine.endpoint.describe();
        if let Some((0, first)) = made.first() {
            endpoint
                .limits
                .check(first)
                .map_err(|problem| EngineError::Unacceptable { provider: endpoint.name.clone(), problem })?;
        }
        self.ready.extend(made);
        Ok(())
    }

    fn evidence(self, calls: u64) -> Evidence {
        let joint = &self.joint;
        let claims = self.claims.into_iter().enumerate().map(|(at, claim)| Tested {
            plan: claim.plan,
            question: claim.question,
            decision: joint.decision(at),
            votes: claim.votes,
            classes: claim.classes,
        });
        Evidence {
            claims: claims.collect(),
            draws: self.order.counted(),
            asked_clean: self.engine.settings.asks_clean(),
            calls,
            model_versions: self.model.and_then(|model| model.version).into_iter().collect(),
            copies: *self.copies_hash.finalize().as_bytes(),
            last_failure: self.last_failure,
        }
    }
}

impl Claim {
    /// What an outcome votes for, kept.
    fn vote(&mut self, outcome: &Outcome) -> Vote {
        let vote = evidence::vote(&self.question, &mut self.classes, outcome);
        self.votes.push(vote);
        vote
    }
}

/// The claims of all questions before the first vote, and their tests.
fn claims(engine: &Engine, clean: &Clean, tests: &[Test]) -> Result<(Vec<Claim>, Joint), StatsError> {
    let (mut claims, mut joint) = (Vec::new(), Joint::new());
    for (((asked, _), made), test) in engine.settings.asked().zip(&clean.claims).zip(tests) {
        let mut add = |question: &Question, classes| {
            let (question, plan) = (question.clone(), test.plan().clone());
            claims.push(Claim { question, plan, classes, votes: Vec::new() });
        };
        match made {
            Err(reason) => {
                joint.add_abstained(*reason);
                add(asked, Classes::default());
            }
            Ok(questions) => {
                for (at, question) in questions.iter().enumerate() {
                    let (classes, fixed) = question.classes();
                    joint.add(test, fixed, at > 0 && question.sharing() == Sharing::Sequence)?;
                    add(question, classes);
                }
            }
        }
    }
    Ok((claims, joint))
}

/// The model behind an answer, as far as the answer tells.
#[derive(Clone, PartialEq)]
pub(super) struct Model {
    version: Option<String>,
}

impl Model {
    /// The model that gave this answer.
    pub(super) fn of(answer: &Answer) -> Self {
        Self { version: answer.model_version.clone() }
    }
}

impl std::fmt::Display for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.version.as_deref().unwrap_or("a model without a version"))
    }
}

/// Asks about one copy until its draw has ended, and settles it; `None` is the picture without noise.
pub(super) async fn ask(
    engine: &Engine,
    memory: &dyn Memory,
    meter: &Meter<'_>,
    draw: Option<u64>,
    copy: EncodedPicture,
) -> Asked {
    let hash = *blake3::hash(&copy.bytes).as_bytes();
    let outcome = match engine.endpoint.ask(draw, copy, meter).await {
        Ok(outcome) => outcome,
        // This copy alone breaks a limit (noise makes some files larger than others): it cannot be asked about.
        Err(AskError::Request(RequestError::Limit { problem, .. })) => {
            Outcome::BadPicture { reason: problem }
        }
        Err(error) => return Err(error.into()),
    };
    if outcome.class().stops_run() {
        return Err(EngineError::Stopped {
            provider: engine.endpoint.describe().name.clone(),
            class: outcome.class(),
            reason: outcome.reason().unwrap_or_default().to_owned(),
        });
    }
    let settled = Settled { outcome, copy: hash };
    meter.recording(memory.settle(draw, &settled)).await.map_err(AskError::from)?;
    Ok((draw, settled))
}
