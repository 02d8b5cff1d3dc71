//! Counts of everything that happens, in the text format of `OpenMetrics`, which Prometheus reads.
//!
//! Labels take their values from the configuration and from closed lists, never from a request: the number of series is
//! bounded. Amounts of money are floating point here, as the format has it; the exact ones are in the ledger.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};
use serde::Serialize;
use smoothgate_denoisers::DenoiserStats;
use smoothgate_providers::Money;
use smoothgate_providers::transport::RateState;

use super::gate::Queue;
use super::observer::{Event, Observer, word};

/// The media type of the text.
pub(super) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Decimal = Counter<f64, AtomicU64>;
type Level = Gauge<f64, AtomicU64>;
type Times = Family<One, Histogram, fn() -> Histogram>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Requests {
    api: String,
    route: String,
    /// The status, or `gone`.
    status: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Certificates {
    route: String,
    outcome: Word,
    evidence: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusals {
    route: String,
    class: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempts {
    upstream: String,
    class: Word,
    billed: Word,
}

/// A set of one label: its name and its value.
type One = [(&'static str, String); 1];

fn one(name: &'static str, value: &str) -> One {
    [(name, value.to_owned())]
}

/// The name of a case as it is written elsewhere, too: in exports and logs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Word(String);

impl Word {
    fn of(case: impl Serialize + std::fmt::Debug) -> Self {
        Self(word(case))
    }
}

impl EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.as_str().encode(encoder)
    }
}

/// What is looked up when somebody asks, not counted as it happens.
#[derive(Debug, Default)]
pub(super) struct Now {
    pub(super) upstreams: Vec<UpstreamNow>,
    pub(super) routes: Vec<RouteNow>,
    pub(super) denoisers: Vec<(String, DenoiserStats)>,
    /// Certificates that are being made.
    pub(super) in_flight: usize,
    /// Requests that are being answered.
    pub(super) requests: usize,
}

#[derive(Debug)]
pub(super) struct UpstreamNow {
    pub(super) name: String,
    pub(super) queue: Queue,
    pub(super) rate: Option<RateState>,
    pub(super) stopped: bool,
}

#[derive(Debug)]
pub(super) struct RouteNow {
    pub(super) name: String,
    /// Calls that the budgets admit; `None` where nothing limits them.
    pub(super) calls_left: Option<u64>,
    /// Their price.
    pub(super) money_left: Option<Money>,
}

/// All counts of one proxy.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    counted: Counted,
    looked_up: Mutex<LookedUp>,
    configured: Gauge,
}

/// What [`Observer`] counts.
#[derive(Debug)]
struct Counted {
    requests: Family<Requests, Counter>,
    request_time: Times,
    certificates: Family<Certificates, Counter>,
    certificate_time: Times,
    refusals: Family<Refusals, Counter>,
    votes: Family<One, Counter>,
    attempts: Family<Attempts, Counter>,
    upstream_time: Times,
    cost: Family<One, Decimal>,
    unpriced: Family<One, Counter>,
}

/// What [`Now`] fills.
#[derive(Debug)]
struct LookedUp {
    in_flight: Gauge,
    requests: Gauge,
    active: Family<One, Gauge>,
    waiting: Family<One, Gauge>,
    allowed: Family<One, Level>,
    limit: Family<One, Level>,
    cuts: Family<One, Counter>,
    stopped: Family<One, Gauge>,
    calls_left: Family<One, Gauge>,
    money_left: Family<One, Level>,
    denoiser_turns: Family<One, Counter>,
    denoiser_pictures: Family<One, Counter>,
    denoiser_time: Family<One, Decimal>,
    denoiser_waiting: Family<One, Gauge>,
}

/// From a millisecond to two minutes.
fn times() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 18))
}

/// Registers each metric where it is made.
struct Book(Registry);

impl Book {
    fn add<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.0.register(name, help, metric.clone());
        metric
    }

    fn seconds<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register_with_unit(name, help, Unit::Seconds, metric.clone());
        metric
    }

    fn times(&mut self, name: &str, help: &str) -> Times {
        self.seconds(name, help, Times::new_with_constructor(times))
    }
}

impl Counted {
    fn new(book: &mut Book) -> Self {
        Self {
            requests: book.add("requests", "Requests by format, route and status of the reply"),
            request_time: book.times("request", "Time from the head of a request to its reply"),
            certificates: book
                .add("certificates", "Pictures with a certificate, by its outcome and where it came from"),
            certificate_time: book
                .times("certificate", "Time for the certificate of a picture, its queue included"),
            refusals: book.add("refusals", "Pictures without a certificate, by reason"),
            votes: book.add("votes", "Votes counted"),
            attempts: book.add("attempts", "Calls to upstreams by their end and billing"),
            upstream_time: book.times("upstream", "Time of a call to an upstream"),
            cost: book
                .add("cost_dollars", "What calls cost at most, those whose billing is not known included"),
            unpriced: book.add("unpriced_calls", "Calls whose price is not known"),
        }
    }
}

impl LookedUp {
    fn new(book: &mut Book) -> Self {
        Self {
            in_flight: book.add("certificates_open", "Certificates that are being made"),
            requests: book.add("requests_open", "Requests that are being answered"),
            active: book.add("queue_active", "Pictures that are being certified"),
            waiting: book.add("queue_waiting", "Pictures that wait for their turn"),
            allowed: book.add("rate_allowed", "Calls a second that the limiter lets through now"),
            limit: book.add("rate_limit", "Calls a second that are configured as the limit"),
            cuts: book.add("rate_cuts", "Throttle answers that have lowered the rate"),
            stopped: book.add(
                "upstream_stopped",
                "1 where nothing is sent to it any more, since its credentials or quota were rejected",
            ),
            calls_left: book.add("budget_left_calls", "Calls that the budgets still admit"),
            money_left: book.add("budget_left_dollars", "The price of these calls"),
            denoiser_turns: book.add("denoiser_turns", "Runs of the model"),
            denoiser_pictures: book.add("denoiser_pictures", "Pictures in these runs"),
            denoiser_time: book.seconds("denoiser_busy", "Time in which the model ran", Family::default()),
            denoiser_waiting: book.add("denoiser_waiting", "Calls that wait for the model or are in it"),
        }
    }
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut book = Book(Registry::with_prefix("smoothgate"));
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        book.0.register("build", "The version of this program", version);
        let started = book.seconds("start_time", "When this process began to serve", Level::default());
        started.set(unix_seconds());
        let configured: Gauge = book.add(
            "configuration_loaded",
            "0 where the last attempt to load the configuration anew failed, so that the one before it stands",
        );
        configured.set(1);
        let (counted, looked_up) = (Counted::new(&mut book), LookedUp::new(&mut book));
        Self { registry: book.0, counted, looked_up: Mutex::new(looked_up), configured }
    }

    /// Did the last attempt to load the configuration succeed?
    pub(super) fn reloaded(&self, well: bool) {
        self.configured.set(i64::from(well));
    }

    /// All of them as text.
    pub(super) fn text(&self, now: &Now) -> Result<String, std::fmt::Error> {
        let looked_up = self.looked_up.lock().unwrap_or_else(PoisonError::into_inner);
        looked_up.fill(now);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn whole(n: impl TryInto<i64>) -> i64 {
    n.try_into().unwrap_or(i64::MAX)
}

impl LookedUp {
    fn fill(&self, now: &Now) {
        self.in_flight.set(whole(now.in_flight));
        self.requests.set(whole(now.requests));
        // What a new configuration has no more is not reported.
        for family in [&self.active, &self.waiting, &self.stopped] {
            family.clear();
        }
        for family in [&self.allowed, &self.limit] {
            family.clear();
        }
        for upstream in &now.upstreams {
            let label = one("upstream", &upstream.name);
            self.active.get_or_create(&label).set(whole(upstream.queue.active));
            self.waiting.get_or_create(&label).set(whole(upstream.queue.waiting));
            self.stopped.get_or_create(&label).set(i64::from(upstream.stopped));
            let Some(rate) = &upstream.rate else { continue };
            self.cuts.get_or_create(&label).inner().store(rate.cuts, Ordering::Relaxed);
            if let Some(allowed) = rate.allowed {
                self.allowed.get_or_create(&label).set(allowed);
            }
            if let Some(limit) = rate.limit {
                self.limit.get_or_create(&label).set(limit);
            }
        }
        self.calls_left.clear();
        self.money_left.clear();
        for route in &now.routes {
            let label = one("route", &route.name);
            if let Some(calls) = route.calls_left {
                self.calls_left.get_or_create(&label).set(whole(calls));
            }
            if let Some(money) = route.money_left {
                self.money_left.get_or_create(&label).set(dollars(money));
            }
        }
        self.denoiser_waiting.clear();
        for (name, stats) in &now.denoisers {
            let label = one("denoiser", name);
            self.denoiser_turns.get_or_create(&label).inner().store(stats.turns, Ordering::Relaxed);
            self.denoiser_pictures.get_or_create(&label).inner().store(stats.pictures, Ordering::Relaxed);
            let seconds = (stats.busy_us as f64 / 1e6).to_bits();
            self.denoiser_time.get_or_create(&label).inner().store(seconds, Ordering::Relaxed);
            self.denoiser_waiting.get_or_create(&label).set(whole(stats.waiting));
        }
    }
}

fn dollars(money: Money) -> f64 {
    f64::try_from(money.dollars()).unwrap_or(f64::INFINITY)
}

impl Observer for Metrics {
    fn observe(&self, event: &Event<'_>) {
        let counted = &self.counted;
        match *event {
            Event::Request { api, route, status, elapsed, .. } => {
                let status = status.map_or_else(|| "gone".to_owned(), |status| status.to_string());
                let route = route.unwrap_or_default().to_owned();
                counted.requests.get_or_create(&Requests { api: api.to_owned(), route, status }).inc();
                counted.request_time.get_or_create(&one("api", api)).observe(elapsed.as_secs_f64());
            }
            Event::Certified { route, outcome, evidence, elapsed, .. } => {
                let time = counted.certificate_time.get_or_create(&one("route", route));
                time.observe(elapsed.as_secs_f64());
                let (route, outcome, evidence) = (route.to_owned(), Word::of(outcome), evidence.name());
                counted.certificates.get_or_create(&Certificates { route, outcome, evidence }).inc();
            }
            Event::Spent { route, spent } => {
                let label = one("route", route);
                match spent.cost {
                    Some(cost) => _ = counted.cost.get_or_create(&label).inc_by(dollars(cost)),
                    None => _ = counted.unpriced.get_or_create(&label).inc_by(spent.billable),
                }
            }
            Event::Refused { route, class } => {
                let refusals = Refusals { route: route.to_owned(), class: Word::of(class) };
                counted.refusals.get_or_create(&refusals).inc();
            }
            Event::Vote { route } => {
                counted.votes.get_or_create(&one("route", route)).inc();
            }
            Event::Attempt { upstream, class, billed, latency, .. } => {
                let time = counted.upstream_time.get_or_create(&one("upstream", upstream));
                time.observe(latency.as_secs_f64());
                let (upstream, class, billed) = (upstream.to_owned(), Word::of(class), Word::of(billed));
                counted.attempts.get_or_create(&Attempts { upstream, class, billed }).inc();
            }
        }
    }
}
