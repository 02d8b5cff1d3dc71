//! One picture's certificate: found on record, gone on with, or made.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use smoothgate_providers::served::{Refusal, RefusalClass};
use smoothgate_providers::{Answer, Fault, Money};

use super::access::{Access, Caller, Most, Spent, Tab};
use super::certificates::CertificateId;
use super::gate::Place;
use super::memory::{Held, Memory};
use super::observer::{Event, Observer};
use super::promise::Promise;
use super::refusals;
use super::route::Route;
use super::watched::{Tally, Watched};
use crate::certificate::{Certificate, Document, Outcome};
use crate::certifier::{Certified, CertifyError};
use crate::config::OnAbstain;
use crate::engine::{EngineError, Progress, Stop};
use crate::ledger::Known;
use crate::picture::{PictureOptions, WorkingImage};

/// A picture of so few pixels in a file of so few bytes is decoded in less time than it takes to hand it to another thread.
const SMALL_PIXELS: u64 = 64 * 64;
const SMALL_FILE: usize = 16 << 10;

/// How a certificate came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// All of its votes were gathered for this request.
    New,
    /// Some of them were on record from a request that was broken off.
    Continued,
    /// Another request was at it at the same moment.
    Shared,
    /// It was finished before, and its time of reuse has not run out.
    Reused,
}

impl Evidence {
    /// The word in the header.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Continued => "continued",
            Self::Shared => "shared",
            Self::Reused => "reused",
        }
    }
}

/// What a picture is answered from.
#[derive(Clone, Debug)]
pub(super) struct Made {
    /// Its certificate. `None` where no ledger knows it by a number.
    pub(super) certificate: Option<(CertificateId, Arc<Document>)>,
    pub(super) evidence: Evidence,
    /// Calls behind it, those of earlier requests included.
    pub(super) calls: u64,
    /// Their price. `None` where it is not known.
    pub(super) cost: Option<Money>,
    /// The uncertified answer, where nothing is certified and the route asks for it.
    pub(super) plain: Option<Answer>,
}

/// One that is asked for.
pub(super) struct Wanted {
    pub(super) route: Arc<Route>,
    pub(super) caller: Caller,
    pub(super) file: Bytes,
    /// BLAKE3 of the file.
    pub(super) hash: blake3::Hash,
    /// Pixels of the file, by its header.
    pub(super) pixels: u64,
    pub(super) place: Place,
    /// The memory of a file that was fetched, held for as long as the file is. Never read.
    pub(super) _held: Option<Held>,
}

/// What all certificates are made with.
pub(super) struct Means {
    pub(super) access: Arc<dyn Access>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) memory: Memory,
}

impl Wanted {
    /// The certificate, by whichever way is cheapest. Once `stop` is turned nothing more is sent.
    pub(super) async fn get(self, means: Arc<Means>, stop: Stop) -> Result<Made, Refusal> {
        let begun = Instant::now();
        let route = Arc::clone(&self.route);
        let made = self.find_or_make(&means, &stop, begun).await;
        if let Err(refusal) = &made {
            means.observer.observe(&Event::Refused { route: route.name(), class: refusal.class });
        }
        made
    }

    async fn find_or_make(self, means: &Means, stop: &Stop, begun: Instant) -> Result<Made, Refusal> {
        let stem = format!("{}/{}", self.caller.id, self.hash.to_hex());
        let mut known = self.latest(&stem)?;
        if known.as_ref().is_some_and(|known| known.certificate.is_none()) {
            // The last records of a sitting that was broken off may be on their way still.
            self.route.run.published().await.map_err(|error| refusals::ledger(&error))?;
            known = self.latest(&stem)?;
        }
        let mut generation = known.as_ref().map_or(0, generation_of);
        let mut start = Start::Anew;
        if let Some(known) = &known {
            match &known.certificate {
                None => start = Start::Begun(known.settled),
                Some((text, stored)) if self.is_fresh(known, *stored) => {
                    if let Some(refusal) = self.unanswered(known) {
                        return Err(refusal);
                    }
                    if let Some(made) = self.reused(means, known, text, begun).await? {
                        return Ok(made);
                    }
                    start = Start::Certified;
                }
                Some(_) => generation += 1,
            }
        }
        let turn = tokio::select! {
            turn = self.place.turn(&self.caller.id, self.need(start)) => turn,
            () = stop.stopped() => None,
        };
        let Some(turn) = turn else { return Err(refusals::interrupted()) };
        let made = self.make(means, stop, &stem, generation, start, begun).await;
        if let Ok(Made { certificate: Some((_, document)), evidence, .. }) = &made
            && *evidence != Evidence::Reused
        {
            turn.took(document.certificate.draws());
        }
        made
    }

    /// What is on record of the file under its latest name.
    fn latest(&self, stem: &str) -> Result<Option<Known>, Refusal> {
        self.route.run.latest(stem).map_err(|error| refusals::ledger(&error))
    }

    /// May the certificate that was stored then be used again? One without votes because the upstream failed says nothing about
    /// the picture, and nothing of the upstream now.
    fn is_fresh(&self, known: &Known, stored: SystemTime) -> bool {
        let passing = |refusal: Refusal| refusal.class == RefusalClass::Throttled;
        // A clock that was set back makes nothing older than it is.
        let age = SystemTime::now().duration_since(stored).unwrap_or_default();
        age < self.route.settings.reuse && !self.unanswered(known).is_some_and(passing)
    }

    /// Why there was nothing to ask about: the question is about the labels of the picture itself, and the upstream has not
    /// answered about that. An answer without a label is one.
    fn unanswered(&self, known: &Known) -> Option<Refusal> {
        known.clean.filter(|_| self.route.settings.question.asks_clean()).and_then(refusals::unanswered)
    }

    /// Most calls that it still takes, without retries.
    fn need(&self, start: Start) -> u64 {
        match start {
            Start::Anew => self.route.calls,
            Start::Begun(settled) => self.route.calls.saturating_sub(settled).max(1),
            Start::Certified => 1,
        }
    }

    /// The certificate on record, as it is. `None` where the plain answer is wanted beside it and was never asked for.
    async fn reused(
        &self,
        means: &Means,
        known: &Known,
        text: &str,
        begun: Instant,
    ) -> Result<Option<Made>, Refusal> {
        self.route.run.published().await.map_err(|error| refusals::ledger(&error))?;
        let document = Document::parse(text.as_bytes()).map_err(|error| {
            tracing::error!(%error, picture = %known.name, "a certificate on record cannot be read");
            refusals::internal()
        })?;
        let mut made = Made {
            evidence: Evidence::Reused,
            calls: known.attempts,
            cost: self.price(known.billable),
            plain: None,
            certificate: Some((CertificateId::of(known.id, &document.certificate), Arc::new(document))),
        };
        if self.wants_plain(&made) {
            if known.clean.is_none() {
                return Ok(None);
            }
            // It is on record, so nothing is sent.
            let image = self.decode(means).await?;
            let certifier = self.route.certifier.clone().charging(self.caller.account.clone());
            let plain = certifier.plain(&known.name, image).await;
            made.plain = plain.map_err(|error| refusals::certify(&error))?;
        }
        self.tell(means, &made, &Spent { cost: Some(Money::ZERO), ..Spent::default() }, begun);
        Ok(Some(made))
    }

    async fn make(
        &self,
        means: &Means,
        stop: &Stop,
        stem: &str,
        mut generation: u64,
        start: Start,
        begun: Instant,
    ) -> Result<Made, Refusal> {
        let price = self.route.upstream.endpoint.describe().price;
        let need = self.need(start);
        let (mut promise, tab) = self.set_aside(means, need, need).await?;
        let mut more = None;
        let tally = Arc::new(Tally::default());
        let mut moved_on = false;
        let made = loop {
            let name = format!("{stem}/{generation}");
            let sitting = Sitting {
                tally: Arc::clone(&tally),
                promise: Arc::clone(&promise),
                new: start == Start::Anew || moved_on,
            };
            let made = self.certify(means, stop, &name, sitting).await;
            // The votes on record are another model's, or another version of this program read the file: they cannot be
            // gone on with, and this is no choice by what they say.
            let stale = match &made {
                Err(Failed::Certify(CertifyError::Engine(EngineError::ModelChanged { .. }))) => true,
                Err(Failed::Certify(error)) => error.is_changed(),
                _ => false,
            };
            if !stale || moved_on || start == Start::Certified {
                break made;
            }
            (moved_on, generation) = (true, generation + 1);
            // It begins anew: all of it must be payable, beside what was spent.
            drop(promise);
            let rest = (self.route.calls + tally.spent(price).calls).saturating_sub(need);
            match self.set_aside(means, self.route.calls, rest).await {
                Ok((all, rest)) => (promise, more) = (all, Some(rest)),
                Err(refusal) => break Err(Failed::Refused(refusal)),
            }
        };
        let spent = tally.spent(price);
        tab.settle(&spent);
        if let Some(more) = more {
            more.settle(&Spent { cost: Some(Money::ZERO), ..Spent::default() });
        }
        means.observer.observe(&Event::Spent { route: self.route.name(), spent });
        let (certified, earlier, plain) = match made {
            Ok(made) => made,
            Err(Failed::Refused(refusal)) => return Err(refusal),
            Err(Failed::Certify(error)) => {
                if error.fault() != Fault::User {
                    tracing::warn!(%error, route = self.route.name(), "no certificate");
                }
                return Err(refusals::certify(&error));
            }
        };
        if certified.document.certificate.draws() == 0
            && let Some(refusal) = self.latest(stem)?.and_then(|known| self.unanswered(&known))
        {
            tracing::warn!(%refusal, route = self.route.name(), "nothing to ask about");
            return Err(refusal);
        }
        let made = Made {
            evidence: match start {
                Start::Certified => Evidence::Reused,
                _ if earlier > 0 => Evidence::Continued,
                _ => Evidence::New,
            },
            calls: earlier + tally.attempts(),
            cost: self.price(certified.billable_before + spent.billable),
            plain,
            certificate: certified.record.map(|record| {
                let id = CertificateId::of(record, &certified.document.certificate);
                (id, Arc::new(certified.document))
            }),
        };
        self.tell(means, &made, &spent, begun);
        Ok(made)
    }

    /// Sets calls aside: in the budgets of the upstream those that a certificate still needs, in the caller's those that are to be paid
    /// from it.
    async fn set_aside(
        &self,
        means: &Means,
        needed: u64,
        charged: u64,
    ) -> Result<(Arc<Promise>, Box<dyn Tab>), Refusal> {
        let price = self.route.upstream.endpoint.describe().price;
        let promise = Arc::new(self.route.promises.make(needed, &self.route.run, price).await?);
        let most = Most { calls: charged, cost: price.of(charged) };
        Ok((promise, means.access.reserve(&self.caller, &most).await?))
    }

    /// One certificate under one name, the calls of earlier sittings, and the plain answer where that is wanted.
    async fn certify(
        &self,
        means: &Means,
        stop: &Stop,
        name: &str,
        sitting: Sitting,
    ) -> Result<(Certified, u64, Option<Answer>), Failed> {
        let image = self.decode(means).await?;
        let memory = self.working_bytes(&image);
        let held = tokio::select! {
            held = means.memory.work(memory) => held,
            () = stop.stopped() => None,
        };
        let Some(_held) = held else { return Err(refusals::interrupted().into()) };
        let watched = Watched {
            inner: Arc::clone(&self.route.upstream.endpoint),
            tally: Arc::clone(&sitting.tally),
            promise: sitting.promise,
            observer: Arc::clone(&means.observer),
        };
        let engine = self.route.certifier.engine().clone().with_stop(stop.clone()).asking(Arc::new(watched));
        let account = self.caller.account.clone();
        let certifier = self.route.certifier.clone().with_engine(engine).charging(account);
        let certifier = certifier.of_unknown(sitting.new);
        let watch = |_: Progress| means.observer.observe(&Event::Vote { route: self.route.name() });
        let certified = certifier.certify(name, Arc::clone(&image), None, &watch).await?;
        let earlier = certified.calls.saturating_sub(sitting.tally.attempts());
        let abstained = certified.document.certificate.outcome() == Outcome::Abstained;
        let plain = match self.route.settings.on_abstain {
            OnAbstain::Plain if abstained => certifier.plain(name, image).await?,
            _ => None,
        };
        Ok((certified, earlier, plain))
    }

    async fn decode(&self, means: &Means) -> Result<Arc<WorkingImage>, Refusal> {
        let _turn = means.memory.decode(self.pixels).await;
        let (file, options): (Bytes, PictureOptions) = (self.file.clone(), self.route.picture);
        let small = self.pixels <= SMALL_PIXELS && file.len() <= SMALL_FILE;
        let decode = move || WorkingImage::decode(&file, &options);
        let decoded = if small { Ok(decode()) } else { tokio::task::spawn_blocking(decode).await };
        match decoded {
            Ok(Ok(image)) => Ok(Arc::new(image)),
            Ok(Err(error)) => Err(Refusal::new(RefusalClass::BadPicture, error.to_string())),
            Err(error) => {
                tracing::error!(%error, "a picture was not decoded");
                Err(refusals::internal())
            }
        }
    }

    /// What a picture of this size takes while it is worked on: itself, a batch of noisy copies, the same denoised, and as
    /// many encoded.
    fn working_bytes(&self, image: &WorkingImage) -> u64 {
        let values = image.values() as u64;
        let batch = self.route.settings.batch as u64;
        values * (2 + batch * (4 + 4 + 1))
    }

    fn wants_plain(&self, made: &Made) -> bool {
        let abstained = made
            .certificate
            .as_ref()
            .is_none_or(|(_, document)| document.certificate.outcome() == Outcome::Abstained);
        abstained && self.route.settings.on_abstain == OnAbstain::Plain
    }

    fn price(&self, calls: u64) -> Option<Money> {
        self.route.upstream.endpoint.describe().price.of(calls)
    }

    fn tell(&self, means: &Means, made: &Made, spent: &Spent, begun: Instant) {
        let certificate = made.certificate.as_ref().map(|(_, document)| &document.certificate);
        means.observer.observe(&Event::Certified {
            route: self.route.name(),
            outcome: certificate.map_or(Outcome::Abstained, Certificate::outcome),
            evidence: made.evidence,
            votes: certificate.map_or(0, Certificate::draws),
            calls: spent.calls,
            cost: spent.cost,
            elapsed: begun.elapsed(),
        });
    }
}

/// The number at the end of a picture's name in its run: how many certificates of the same file by the same caller were
/// finished or given up before it.
fn generation_of(known: &Known) -> u64 {
    known.name.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// What is on record of a picture when its turn comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Nothing that can be used.
    Anew,
    /// So many draws of a certificate, the clean answer among them.
    Begun(u64),
    /// A certificate that is used again. What is missing is the plain answer.
    Certified,
}

/// What the calls of one sitting are counted in.
struct Sitting {
    tally: Arc<Tally>,
    promise: Arc<Promise>,
    /// No picture of this name is in the run.
    new: bool,
}

/// Why there is none.
enum Failed {
    Refused(Refusal),
    Certify(CertifyError),
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<CertifyError> for Failed {
    fn from(error: CertifyError) -> Self {
        Self::Certify(error)
    }
}
