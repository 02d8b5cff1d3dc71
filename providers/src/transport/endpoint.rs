//! An API that can be asked: a provider's wire format with transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::Request;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::credentials::{Authorization, Credential, CredentialError, CredentialStatus};
use crate::{
    AskError, Attempt, AttemptEnd, AttemptId, Billed, Description, EncodedPicture, Endpoint, Format, Journal,
    Outcome, OutcomeClass, Provider, RequestError,
};

use super::batch::{Coalescer, Joined};
use super::breaker::{Breaker, Trip};
use super::client::{Exchange, Network};
use super::limiter::{Limiter, RateState};
use super::retry::{self, RetryPolicy};
use super::settings::{Rate, SettingsError, TransportSettings};
use super::{billing, tls};

/// An [`Endpoint`] over HTTP. Cheap to share behind an [`Arc`]; any number of asks may run at once.
pub struct HttpEndpoint {
    pub(super) core: Arc<Core>,
    coalescer: Coalescer,
    retry: RetryPolicy,
}

/// What a call needs, shared by single calls and by calls for several asks.
pub(super) struct Core {
    pub(super) provider: Arc<dyn Provider>,
    pub(super) credential: Arc<dyn Credential>,
    pub(super) network: Network,
    pub(super) limiter: Limiter,
    pub(super) breaker: Breaker,
    pub(super) description: Description,
    retry_after_longest: Duration,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    pictures: AtomicU64,
    answered: AtomicU64,
    throttled: AtomicU64,
    retries: AtomicU64,
}

/// What an endpoint has done so far.
#[derive(Clone, Debug, PartialEq)]
pub struct TransportStats {
    /// Requests sent, or tried to be sent.
    pub calls: u64,
    /// Pictures in them.
    pub pictures: u64,
    /// Pictures that were answered.
    pub answered: u64,
    /// Pictures that were throttled.
    pub throttled: u64,
    /// Attempts beyond the first of their draw.
    pub retries: u64,
    /// The rate limit and what is left of it.
    pub rate: RateState,
    /// Why nothing more is sent, where that is so.
    pub stopped: Option<Trip>,
}

/// The end of one picture's part in a call.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
    pub(super) billed: Billed,
    pub(super) latency: Duration,
    /// How long the reply asks to wait.
    pub(super) wait: Option<Duration>,
    /// How many pictures went in the same call.
    pub(super) company: usize,
    /// The adapter says that it failed only because of them.
    pub(super) blamed_on_company: bool,
    pub(super) used: Arc<Authorization>,
}

impl std::fmt::Debug for HttpEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpEndpoint").field("description", &self.core.description).finish_non_exhaustive()
    }
}

impl HttpEndpoint {
    /// `provider` over `network` with `credential`.
    ///
    /// # Errors
    /// [`SettingsError`] for settings out of their range.
    pub fn new(
        provider: Arc<dyn Provider>,
        credential: Arc<dyn Credential>,
        network: Network,
        settings: TransportSettings,
    ) -> Result<Self, SettingsError> {
        settings.retry.check()?;
        if settings.pictures_per_call == Some(0) {
            return Err(SettingsError::Range { setting: "pictures_per_call", range: "at least 1" });
        }
        if settings.burst == Some(0) {
            return Err(SettingsError::Range { setting: "burst", range: "at least 1" });
        }
        let quota = match settings.rate {
            Rate::Provider => provider.quota(),
            Rate::Quota(quota) => Some(quota),
            Rate::Unlimited => None,
        };
        let no_calls =
            |quota: crate::Quota| quota.calls_per_minute == 0 || quota.pictures_per_minute == Some(0);
        if quota.is_some_and(no_calls) {
            return Err(SettingsError::Range { setting: "rate limit", range: "at least 1 a minute" });
        }
        let limits = provider.limits().clone();
        let most =
            settings.pictures_per_call.unwrap_or(limits.pictures_per_call).min(limits.pictures_per_call);
        let identity = match settings.identity {
            serde_json::Value::Null => serde_json::json!({ "kind": provider.name() }),
            identity => identity,
        };
        let description = Description {
            name: settings.name.unwrap_or_else(|| provider.name().to_owned()),
            identity,
            native_size: None,
            limits,
            price: settings.price.unwrap_or_else(|| provider.price()),
            quota,
        };
        let core = Arc::new(Core {
            provider,
            credential,
            network,
            limiter: Limiter::new(quota, settings.burst),
            breaker: Breaker::new(),
            description,
            retry_after_longest: settings.retry.retry_after_longest,
            counts: Counts::default(),
        });
        let coalescer = Coalescer::new(Arc::clone(&core), most, settings.linger);
        Ok(Self { core, coalescer, retry: settings.retry })
    }

    /// Whether a request can be made, to a place that may be called, before there is a picture. Nothing is sent.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] for an address that is none, or plain `http` beyond this machine.
    pub fn check(&self) -> Result<(), RequestError> {
        // Of a size that most APIs take. What this one says to it is not what is asked.
        let (width, height) = (224, 224);
        let sample =
            EncodedPicture { bytes: Bytes::from_static(&[0; 1024]), format: Format::Png, width, height };
        match self.core.request(&[sample]) {
            Err(error @ RequestError::Invalid { .. }) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// What it has done so far.
    pub fn stats(&self) -> TransportStats {
        let counts = &self.core.counts;
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TransportStats {
            calls: get(&counts.calls),
            pictures: get(&counts.pictures),
            answered: get(&counts.answered),
            throttled: get(&counts.throttled),
            retries: get(&counts.retries),
            rate: *self.rate().borrow(),
            stopped: self.core.breaker.state(),
        }
    }

    /// The allowed rate and every change of it.
    pub fn rate(&self) -> watch::Receiver<RateState> {
        self.core.limiter.subscribe()
    }

    /// What it calls with, without revealing it.
    pub fn credential(&self) -> CredentialStatus {
        self.core.credential.status()
    }

    /// Lets calls pass again after rejected credentials or a spent quota, once the user has mended it.
    pub fn resume(&self) {
        self.core.breaker.reset();
    }

    async fn ask_until_done(
        &self,
        draw: Option<u64>,
        picture: EncodedPicture,
        journal: &dyn Journal,
    ) -> Result<Outcome, AskError> {
        let mut attempt = Attempt {
            draw,
            number: 0,
            price: self.core.description.price,
            picture: *blake3::hash(&picture.bytes).as_bytes(),
        };
        let mut alone = false;
        let mut renewed = false;
        let mut failures = 0;
        loop {
            attempt.number += 1;
            if attempt.number > 1 {
                self.core.counts.retries.fetch_add(1, Ordering::Relaxed);
            }
            let end = loop {
                let ask = Ask { attempt: &attempt, picture: &picture, journal };
                let tried = if alone { self.core.single(&ask).await } else { self.shared(&ask).await };
                match tried {
                    Ok(Some(end)) => break end,
                    Ok(None) => alone = true, // Not sent: these pictures do not go together.
                    Err(Failure::Ask(error)) => return Err(error),
                    Err(Failure::Credential(error)) => {
                        failures += 1;
                        if !error.may_retry() || failures >= self.retry.attempts {
                            return Err(self.core.credentials_failed(error));
                        }
                        self.pause(failures, None).await?;
                    }
                }
            };
            let class = end.outcome.class();
            let more = attempt.number < self.retry.attempts;
            if end.blamed_on_company && more && !class.stops_run() {
                alone = true;
                continue;
            }
            if class.stops_run() {
                // A token may have been revoked before its time: one more try with a fresh one.
                let fresh = class == OutcomeClass::Auth && !renewed && more;
                if fresh && self.core.credential.rejected(&end.used) {
                    renewed = true;
                    continue;
                }
                let reason = end.outcome.reason().unwrap_or_default().to_owned();
                self.core.breaker.trip(&self.core.description.name, Trip { class, reason });
                return Ok(end.outcome);
            }
            if !class.may_retry() || !more {
                return Ok(end.outcome);
            }
            // What failed in company may have failed because of it.
            alone |= end.company > 1 && class != OutcomeClass::Throttled;
            self.pause(attempt.number, end.wait).await?;
        }
    }

    async fn shared(&self, ask: &Ask<'_>) -> Result<Option<End>, Failure> {
        let joined = self.coalescer.join(ask.picture).await;
        match joined.map_err(|refusal| self.core.refused(refusal))? {
            Joined::Alone => self.core.single(ask).await,
            Joined::Apart => Ok(None),
            Joined::Seat(seat) => {
                // A failure here, or a drop, gives the seat up, and the call goes without this picture.
                let id = ask.journal.open(ask.attempt).await.map_err(AskError::from)?;
                let end = seat.end().await.map(Some);
                self.core.close(ask, id, end).await.map(Some)
            }
        }
    }

    async fn pause(&self, retry: u32, asked: Option<Duration>) -> Result<(), AskError> {
        let pause = self.retry.pause(retry, asked, fastrand::f64());
        let rest = self.core.breaker.guard(tokio::time::sleep(pause)).await;
        rest.map_err(|trip| self.core.stopped(trip))
    }
}

impl Endpoint for HttpEndpoint {
    fn describe(&self) -> &Description {
        &self.core.description
    }

    fn ask<'a>(
        &'a self,
        draw: Option<u64>,
        picture: EncodedPicture,
        journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<Outcome, AskError>> {
        Box::pin(self.ask_until_done(draw, picture, journal))
    }

    fn stopped(&self) -> Option<String> {
        self.core.breaker.state().map(|trip| format!("{}: {}", trip.class, trip.reason))
    }
}

/// One attempt that is about to be made.
struct Ask<'a> {
    attempt: &'a Attempt,
    picture: &'a EncodedPicture,
    journal: &'a dyn Journal,
}

/// Why an attempt was not made.
#[derive(Debug)]
enum Failure {
    Ask(AskError),
    Credential(CredentialError),
}

/// Why no permission was given.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    Stopped(Trip),
    Credential(CredentialError),
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        Self::Ask(error)
    }
}

impl Core {
    /// One picture in a call of its own.
    async fn single(&self, ask: &Ask<'_>) -> Result<Option<End>, Failure> {
        let request = self.request(std::slice::from_ref(ask.picture)).map_err(AskError::from)?;
        let used = self.permission(self.limiter.pictures(1)).await;
        let used = used.map_err(|refusal| self.refused(refusal))?;
        let request = authorize(&used, request).map_err(Failure::Credential)?;
        let id = ask.journal.open(ask.attempt).await.map_err(AskError::from)?;
        let end = match self.breaker.state() {
            Some(trip) => Err(trip), // It opened while the intent was being recorded.
            None => Ok(self.exchange(request, 1, &used).await.pop()),
        };
        self.close(ask, id, end).await.map(Some)
    }

    /// Waits for the limiter (and then for `more` of it) and the credentials, unless the breaker opens.
    pub(super) async fn permission(
        &self,
        more: impl Future<Output = ()>,
    ) -> Result<Arc<Authorization>, Refusal> {
        let wait = async {
            // First, so that the calls that wait for one token do not pile up behind the limiter.
            self.credential.authorization().await?;
            self.limiter.call().await;
            more.await;
            // Again, since the wait may have been long. Mostly at hand.
            self.credential.authorization().await
        };
        let done = self.breaker.guard(wait).await.map_err(Refusal::Stopped)?;
        done.map_err(Refusal::Credential)
    }

    /// A request for these pictures, to a place that may be called.
    pub(super) fn request(&self, pictures: &[EncodedPicture]) -> Result<Request<Bytes>, RequestError> {
        let request = self.provider.request(pictures)?;
        tls::check_scheme(request.uri(), self.network.settings().allow_http)
            .map_err(|problem| RequestError::Invalid { provider: self.description.name.clone(), problem })?;
        Ok(request)
    }

    /// Sends a request and names the end of each of its pictures: exactly `pictures` of them.
    pub(super) async fn exchange(
        &self,
        request: Request<Bytes>,
        pictures: usize,
        used: &Arc<Authorization>,
    ) -> Vec<End> {
        let name = &self.description.name;
        self.counts.calls.fetch_add(1, Ordering::Relaxed);
        self.counts.pictures.fetch_add(pictures as u64, Ordering::Relaxed);
        let sent = Instant::now();
        let blotter = used.blotter(&request);
        let exchange = self.network.send(request).await;
        let latency = sent.elapsed();
        let mut wait = None;
        let mut singly = false;
        let (outcomes, status, lost) = match exchange {
            Exchange::Reply(mut reply) => {
                wait = retry::retry_after(&reply.headers, SystemTime::now());
                reply.body = blotter.blot(reply.body);
                let mut outcomes = self.provider.outcomes(pictures, &reply);
                singly = pictures > 1 && self.provider.ask_singly(pictures, &reply);
                if outcomes.len() != pictures {
                    let reason = format!(
                        "the adapter read {} outcomes for {pictures} pictures (a defect of ours: please report it)",
                        outcomes.len()
                    );
                    outcomes = vec![Outcome::Malformed { reason }; pictures];
                }
                (outcomes, Some(reply.status.as_u16()), None)
            }
            Exchange::TooLong { status, most } => {
                let reason = format!("a reply of more than {most} bytes");
                (vec![Outcome::Malformed { reason }; pictures], Some(status), None)
            }
            Exchange::Lost(lost) => {
                let outcome = Outcome::Transient { reason: lost.reason };
                (vec![outcome; pictures], lost.status, Some(lost.sent))
            }
        };
        let mut throttled = None;
        let mut answered = 0;
        let mut ends = Vec::with_capacity(pictures);
        for outcome in outcomes {
            let class = outcome.class();
            let mut wait = wait;
            match &outcome {
                Outcome::Throttled { retry_after, .. } => {
                    wait = wait.max(*retry_after);
                    throttled = throttled.max(Some(wait.unwrap_or_default()));
                    self.counts.throttled.fetch_add(1, Ordering::Relaxed);
                }
                Outcome::Answered(_) => answered += 1,
                _ => {}
            }
            let billed = match (lost, status) {
                (None, Some(status)) => billing::of_reply(status, class),
                (sent, _) => billing::of_loss(sent.unwrap_or(true)),
            };
            ends.push(End {
                outcome,
                status,
                billed,
                latency,
                wait,
                company: pictures,
                // What was said of a picture is not asked for again, whatever else went wrong in the call.
                blamed_on_company: singly && !class.settles(),
                used: Arc::clone(used),
            });
        }
        self.counts.answered.fetch_add(answered, Ordering::Relaxed);
        if let Some(wait) = throttled {
            let wait = wait.min(self.retry_after_longest);
            self.limiter.throttled(name, sent, (wait > Duration::ZERO).then_some(wait));
        } else if answered > 0 {
            self.limiter.answered();
        }
        tracing::debug!(endpoint = %name, status, pictures, answered, latency_ms = latency.as_millis() as u64, "call");
        ends
    }

    /// Records the end of an attempt, before it may count. `Err`: nothing was sent, since the breaker had opened.
    async fn close(
        &self,
        ask: &Ask<'_>,
        id: AttemptId,
        end: Result<Option<End>, Trip>,
    ) -> Result<End, Failure> {
        let stopped = match end {
            Ok(Some(end)) => {
                let record = AttemptEnd {
                    outcome: &end.outcome,
                    status: end.status,
                    latency: end.latency,
                    billed: end.billed,
                };
                ask.journal.close(id, record).await.map_err(AskError::from)?;
                return Ok(end);
            }
            Err(trip) => self.stopped(trip),
            Ok(None) => AskError::Broken {
                name: self.description.name.clone(),
                problem: "a call ended without an outcome".to_owned(),
            },
        };
        let outcome = Outcome::Transient { reason: "not sent".to_owned() };
        ask.journal.close(id, AttemptEnd::not_sent(&outcome)).await.map_err(AskError::from)?;
        Err(Failure::Ask(stopped))
    }

    fn refused(&self, refusal: Refusal) -> Failure {
        match refusal {
            Refusal::Stopped(trip) => Failure::Ask(self.stopped(trip)),
            Refusal::Credential(error) => Failure::Credential(error),
        }
    }

    fn stopped(&self, trip: Trip) -> AskError {
        AskError::Stopped { name: self.description.name.clone(), class: trip.class, reason: trip.reason }
    }

    fn credentials_failed(&self, error: CredentialError) -> AskError {
        if !error.may_retry() {
            let trip = Trip { class: OutcomeClass::Auth, reason: error.to_string() };
            self.breaker.trip(&self.description.name, trip);
        }
        AskError::Credential(error)
    }
}

/// `request` with its credentials.
pub(super) fn authorize(
    used: &Authorization,
    mut request: Request<Bytes>,
) -> Result<Request<Bytes>, CredentialError> {
    used.apply(&mut request, SystemTime::now())?;
    Ok(request)
}
