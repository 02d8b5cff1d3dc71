//! The proxy's own paths beside the formats: whether it lives, is ready, and what it has done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde::Serialize;

use super::desk::Desk;
use super::health::{Doctor, Health};
use super::metrics::{MEDIA_TYPE, Metrics, Now, RouteNow, UpstreamNow};
use super::openapi::{Problem, openapi};

/// What is asked on a path of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// `/healthz`
    Alive,
    /// `/readyz`
    Ready,
    /// `/metrics`
    Metrics,
    /// `/openapi.json`
    Described,
}

impl Own {
    /// What is asked at `path`, if it is one of ours.
    pub(super) fn at(path: &str) -> Option<Self> {
        match path {
            "/healthz" => Some(Self::Alive),
            "/readyz" => Some(Self::Ready),
            "/metrics" => Some(Self::Metrics),
            "/openapi.json" => Some(Self::Described),
            _ => None,
        }
    }
}

/// A port that requests come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Door {
    /// Requests in the formats are answered here.
    pub(super) serves: bool,
    /// Only the operator reaches it: reasons and counts are told.
    pub(super) trusted: bool,
}

/// What is known of the whole proxy.
pub(super) struct State {
    pub(super) metrics: Arc<Metrics>,
    pub(super) doctor: Doctor,
    pub(super) stopping: AtomicBool,
    /// Requests that are being answered.
    pub(super) open: AtomicUsize,
}

/// A request that is being answered, until it is dropped.
pub(super) struct Open<'s>(&'s State);

impl State {
    pub(super) fn open(&self) -> Open<'_> {
        self.open.fetch_add(1, SeqCst);
        Open(self)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, SeqCst);
    }
}

impl Desk {
    /// Answers what is asked on a path of ours. `None` where this door does not.
    pub(super) async fn own(&self, own: Own, parts: &Parts, door: Door) -> Option<Response<Bytes>> {
        if own == Own::Metrics && !door.trusted {
            return None;
        }
        if let Err(reply) = only_get(parts) {
            return Some(reply);
        }
        Some(match own {
            Own::Alive => say(StatusCode::OK, &Health { alive: true }),
            Own::Described => say(StatusCode::OK, &openapi()),
            Own::Ready => {
                let accepting = !self.state.stopping.load(SeqCst);
                let readiness = self.state.doctor.look(accepting, &self.routes.all()).await;
                let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                say(status, &if door.trusted { readiness } else { readiness.without_reasons() })
            }
            Own::Metrics => match self.state.metrics.text(&self.now().await) {
                Ok(text) => {
                    let mut reply = Response::new(Bytes::from(text));
                    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
                    reply
                }
                Err(error) => {
                    tracing::error!(%error, "the metrics");
                    problem(StatusCode::INTERNAL_SERVER_ERROR, "the metrics failed")
                }
            },
        })
    }

    /// What is not counted but looked up.
    async fn now(&self) -> Now {
        let routes = self.routes.all();
        let mut now =
            Now { in_flight: self.flights.len(), requests: self.state.open.load(SeqCst), ..Now::default() };
        for route in routes.iter() {
            let upstream = &route.upstream;
            if !now.upstreams.iter().any(|seen| seen.name == upstream.name()) {
                now.upstreams.push(UpstreamNow {
                    name: upstream.name().to_owned(),
                    queue: route.gate.queue(),
                    rate: upstream.rate.as_ref().map(|rate| *rate.borrow()),
                    stopped: upstream.endpoint.stopped().is_some(),
                });
            }
            let denoiser = &route.settings.denoiser;
            if !now.denoisers.iter().any(|(name, _)| name == denoiser) {
                now.denoisers.push((denoiser.clone(), route.certifier.engine().denoiser().stats()));
            }
            let price = upstream.endpoint.describe().price;
            let calls_left = match route.run.room(price).await {
                Ok(room) => room,
                Err(error) => {
                    tracing::warn!(%error, route = route.name(), "the budget left is not known");
                    None
                }
            };
            let money_left = calls_left.and_then(|calls| price.of(calls));
            now.routes.push(RouteNow { name: route.name().to_owned(), calls_left, money_left });
        }
        now
    }
}

/// Refuses every method but GET and HEAD.
pub(super) fn only_get(parts: &Parts) -> Result<(), Response<Bytes>> {
    if matches!(parts.method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let mut reply = problem(StatusCode::METHOD_NOT_ALLOWED, "use GET");
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    Err(reply)
}

/// A refusal on a path of ours.
pub(super) fn problem(status: StatusCode, error: impl Into<String>) -> Response<Bytes> {
    say(status, &Problem { error: error.into() })
}

/// A reply in JSON.
pub(super) fn say(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    // Our own types and values always have a form in JSON.
    let text = serde_json::to_vec(body).unwrap_or_default();
    let mut reply = Response::new(Bytes::from(text));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}
