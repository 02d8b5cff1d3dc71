//! Which route a request takes.

use std::sync::{Arc, RwLock};

use smoothgate_providers::Endpoint;
use smoothgate_providers::served::{Incoming, Inquiry, Refusal, RefusalClass};
use smoothgate_providers::transport::RateState;
use tokio::sync::watch;

use super::access::Caller;
use super::gate::{Gate, Queue};
use super::promise::Promises;
use crate::certifier::Certifier;
use crate::config::{Answers, BudgetsOverTime, RouteSettings};
use crate::ledger::{Run, Spec};
use crate::picture::PictureOptions;

/// Whom routes ask.
pub struct Upstream {
    /// What is asked.
    pub endpoint: Arc<dyn Endpoint>,
    /// What may be spent on it over time.
    pub budgets: BudgetsOverTime,
    /// The rate that it is asked at, where it is asked over a network.
    pub rate: Option<watch::Receiver<RateState>>,
}

impl Upstream {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.endpoint.describe().name
    }

    /// How many calls a second it takes now, where that is limited.
    pub(super) fn calls_per_second(&self) -> Option<f64> {
        self.rate.as_ref().and_then(|rate| rate.borrow().allowed)
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// A route, ready to certify.
pub struct Route {
    pub(super) settings: RouteSettings,
    pub(super) upstream: Arc<Upstream>,
    pub(super) certifier: Certifier,
    pub(super) run: Run,
    pub(super) picture: PictureOptions,
    pub(super) gate: Gate,
    pub(super) promises: Promises,
    /// What makes its run the same one again.
    pub(super) parameters: Spec,
    /// Most votes of a certificate.
    pub(super) votes: u64,
    /// Most calls of a certificate, without retries.
    pub(super) calls: u64,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Route {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// What it does.
    pub fn settings(&self) -> &RouteSettings {
        &self.settings
    }

    /// Most votes of a certificate.
    pub fn votes(&self) -> u64 {
        self.votes
    }

    /// Whom it asks.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// The run that its calls are on record in.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The queue in front of its upstream.
    pub fn queue(&self) -> Queue {
        self.gate.queue()
    }

    /// Is the request within its scope?
    fn takes(&self, at: &At<'_>) -> bool {
        let settings = &self.settings;
        let named = |list: &[String], name: &str| list.is_empty() || list.iter().any(|entry| entry == name);
        let below = |path: &String| {
            let parts = path.split('/').filter(|part| !part.is_empty());
            let segments = at.incoming.segments();
            let count = parts.clone().count();
            segments.len() >= count && segments.iter().zip(parts).all(|(a, b)| a == b)
        };
        named(&settings.api, at.api)
            && named(&settings.callers, &at.caller.id)
            && settings.path.as_ref().is_none_or(below)
            && settings.model.as_ref().is_none_or(|model| at.inquiry.model.as_ref() == Some(model))
    }

    /// How narrow its scope is: the narrowest route that takes a request gets it.
    fn narrowness(&self) -> (bool, usize, bool, bool) {
        let settings = &self.settings;
        let path = settings.path.as_ref().map_or(0, String::len);
        (!settings.callers.is_empty(), path, settings.model.is_some(), !settings.api.is_empty())
    }
}

/// What decides the route of a request.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) api: &'static str,
    pub(super) incoming: &'a Incoming<'a>,
    pub(super) inquiry: &'a Inquiry,
    pub(super) caller: &'a Caller,
}

/// The routes, which may be exchanged while requests run.
pub(super) struct Routes(RwLock<Arc<[Arc<Route>]>>);

impl Routes {
    pub(super) fn new(routes: Vec<Route>) -> Self {
        Self(RwLock::new(sorted(routes)))
    }

    /// All of them, the narrowest first.
    pub(super) fn all(&self) -> Arc<[Arc<Route>]> {
        Arc::clone(&self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Requests that come from now on take these.
    pub(super) fn replace(&self, routes: Vec<Route>) {
        *self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = sorted(routes);
    }

    /// The route of a request: the narrowest whose scope it is in, whose caller may use it, and that answers what it asks.
    pub(super) fn find(&self, at: &At<'_>) -> Result<Arc<Route>, Refusal> {
        let routes = self.all();
        let within: Vec<&Arc<Route>> = routes.iter().filter(|route| route.takes(at)).collect();
        if within.is_empty() {
            let what =
                "no route of this server takes such a request: its format, path or model is none of theirs";
            return Err(Refusal::new(RefusalClass::NotFound, what));
        }
        let allowed: Vec<&Arc<Route>> =
            within.into_iter().filter(|route| at.caller.may_use(route.name())).collect();
        if allowed.is_empty() {
            let what = "this credential may not use the route of this request";
            return Err(Refusal::new(RefusalClass::Forbidden, what));
        }
        let asked = at.inquiry.pictures.iter().flat_map(|asked| &asked.features);
        let answers =
            |route: &&Arc<Route>| asked.clone().all(|feature| *feature == route.settings.answers.feature());
        match allowed.iter().find(|route| answers(route)) {
            Some(route) => Ok(Arc::clone(route)),
            None => Err(unanswered(&allowed)),
        }
    }
}

/// What the routes answer, where that is not what was asked.
fn unanswered(routes: &[&Arc<Route>]) -> Refusal {
    let has = |answers| routes.iter().any(|route| route.settings.answers == answers);
    let what = match (has(Answers::Labels), has(Answers::Moderation)) {
        (true, true) => {
            "labels and moderation are certified by different routes: ask for them in two requests"
        }
        (true, false) => "only labels are certified here, no moderation",
        _ => "only moderation is certified here, no labels",
    };
    Refusal::new(RefusalClass::Unsupported, what)
}

fn sorted(routes: Vec<Route>) -> Arc<[Arc<Route>]> {
    let mut routes: Vec<Arc<Route>> = routes.into_iter().map(Arc::new).collect();
    routes.sort_by_key(|route| std::cmp::Reverse(route.narrowness()));
    routes.into()
}
