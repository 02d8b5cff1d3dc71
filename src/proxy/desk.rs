//! What happens to one request.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use futures::future::join_all;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming as Body;
use smoothgate_providers::served::{
    Asked, Call, Incoming, Inquiry, Mark, Presented, Refusal, RefusalClass, ServedApi, Source,
};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::access::{Asking, Caller};
use super::certificate::{Made, Means, Wanted};
use super::fetch::Fetch;
use super::flights::Flights;
use super::gate::Place;
use super::memory::Held;
use super::observer::Event;
use super::own::{Door, Own, State, only_get, problem};
use super::reply::{self, Answered, Of};
use super::route::{At, Route, Routes};
use super::{certificates, refusals};
use crate::front::{self, BodyLimits, Connection, Formats, ReadError};
use crate::ledger::RunId;
use crate::traces;

/// Where certificates are.
const CERTIFICATES: &str = "/certificates/";
/// The header that names a request as the log does.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-smoothgate-request-id");
/// What this server's own paths are to [`Access`].
const OWN: &str = "smoothgate";

/// What a certificate is about: identical requests share one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    run: RunId,
    caller: Arc<str>,
    file: [u8; 32],
}

/// Everything that requests share.
pub(super) struct Desk {
    pub(super) formats: Formats,
    pub(super) routes: Routes,
    pub(super) fetch: Arc<dyn Fetch>,
    pub(super) means: Arc<Means>,
    pub(super) flights: Arc<Flights<Key, Result<Made, Refusal>>>,
    pub(super) ledger: PathBuf,
    pub(super) max_pixels: u64,
    pub(super) state: State,
    pub(super) body: BodyLimits,
}

/// The client has gone, so nothing is said.
#[derive(Debug, thiserror::Error)]
#[error("the client has gone")]
pub(super) struct Gone;

/// What is known of a request so far, told to the observer when it ends, however it ends.
struct Trace<'d> {
    desk: &'d Desk,
    span: Span,
    begun: Instant,
    mark: Mark,
    api: &'static str,
    route: Option<Arc<Route>>,
    caller: Option<Caller>,
    pictures: usize,
    status: Option<u16>,
}

impl Drop for Trace<'_> {
    fn drop(&mut self) {
        let event = Event::Request {
            api: self.api,
            route: self.route.as_ref().map(|route| route.name()),
            caller: self.caller.as_ref().map(|caller| &*caller.id),
            request_id: &self.mark.request_id,
            status: self.status,
            pictures: self.pictures,
            elapsed: self.begun.elapsed(),
        };
        self.span.in_scope(|| self.desk.means.observer.observe(&event));
    }
}

impl Desk {
    pub(super) async fn handle(
        self: Arc<Self>,
        request: Request<Body>,
        connection: Connection,
        door: Door,
    ) -> Result<Response<Full<Bytes>>, Gone> {
        let mark = mark();
        let span = tracing::debug_span!(
            target: traces::TARGET,
            "request",
            otel.kind = "server",
            http.request.method = known(request.method()),
        );
        traces::adopt(&span, request.headers());
        // What is logged is filed under this one.
        let logged = tracing::error_span!("request", request_id = %mark.request_id);
        self.answer(request, connection, door, mark, span).instrument(logged).await
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Body>,
        connection: Connection,
        door: Door,
        mark: Mark,
        span: Span,
    ) -> Result<Response<Full<Bytes>>, Gone> {
        let _open = self.state.open();
        let id = HeaderValue::from_str(&mark.request_id);
        let mut trace = Trace {
            desk: &self,
            span,
            begun: Instant::now(),
            mark,
            api: "",
            route: None,
            caller: None,
            pictures: 0,
            status: None,
        };
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let mut reply = match (Own::at(path), path.strip_prefix(CERTIFICATES)) {
            (Some(own), _) => {
                trace.api = OWN;
                self.own(own, &parts, door).await.unwrap_or_else(|| self.unknown())
            }
            (None, _) if !door.serves => self.unknown(),
            (None, Some(id)) => {
                trace.api = OWN;
                self.certificate(&parts, id, connection.peer(), &mut trace).await
            }
            (None, None) => match self.formats.find(&parts.method, &parts.uri, &parts.headers) {
                Some(api) => {
                    trace.api = api.name();
                    self.labels(api, &parts, body, connection.peer(), &mut trace).await?
                }
                None => self.unknown(),
            },
        };
        trace.status = Some(reply.status().as_u16());
        if let Ok(id) = id {
            reply.headers_mut().insert(REQUEST_ID, id);
        }
        Ok(reply.map(Full::new))
    }

    fn unknown(&self) -> Response<Bytes> {
        let names: Vec<&str> = self.formats.names().collect();
        let words = format!("no format of this server ({}) has this path", names.join(", "));
        problem(StatusCode::NOT_FOUND, words)
    }

    /// `GET /certificates/{id}`.
    async fn certificate(
        &self,
        parts: &Parts,
        id: &str,
        peer: SocketAddr,
        trace: &mut Trace<'_>,
    ) -> Response<Bytes> {
        if let Err(reply) = only_get(parts) {
            return reply;
        }
        let body = Bytes::new();
        let incoming = incoming(parts, &body);
        let presented = own_credential(&incoming);
        let asking = Asking { api: OWN, incoming, uri: &parts.uri, presented: presented.as_ref(), peer };
        let access = &self.means.access;
        let caller = match access.greet(&asking).and_then(|()| access.admit(&asking)) {
            Ok(caller) => caller,
            Err(refusal) => return own_refusal(&refusal),
        };
        trace.caller = Some(caller.clone());
        let (ledger, routes, id) = (self.ledger.clone(), self.routes.all(), id.to_owned());
        let found = tokio::task::spawn_blocking(move || certificates::find(&ledger, &routes, &caller, &id));
        match found.await.unwrap_or_else(|_| Err(refusals::internal())) {
            Ok(text) => {
                let mut reply = Response::new(Bytes::from(text));
                reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                reply
            }
            Err(refusal) => own_refusal(&refusal),
        }
    }

    /// A request in a format of ours.
    async fn labels(
        &self,
        api: &dyn ServedApi,
        parts: &Parts,
        body: Body,
        peer: SocketAddr,
        trace: &mut Trace<'_>,
    ) -> Result<Response<Bytes>, Gone> {
        let refuse = |trace: &Trace<'_>, refusal: &Refusal| Ok(api.refuse(refusal, &trace.mark));
        let nothing = Bytes::new();
        let head = incoming(parts, &nothing);
        let presented = api.credential(&head);
        let asking = |incoming| Asking {
            api: api.name(),
            incoming,
            uri: &parts.uri,
            presented: presented.as_ref(),
            peer,
        };
        if let Err(refusal) = self.means.access.greet(&asking(head)) {
            return refuse(trace, &refusal);
        }
        let (body, held) = match self.read(api, parts, body).await? {
            Ok(read) => read,
            Err(refusal) => return refuse(trace, &refusal),
        };
        let whole = incoming(parts, &body);
        let caller = match self.means.access.admit(&asking(whole)) {
            Ok(caller) => caller,
            Err(refusal) => return refuse(trace, &refusal),
        };
        trace.caller = Some(caller.clone());
        let mut inquiry = match api.decode(&whole) {
            Ok(Call::Inquiry(inquiry)) => Inquiry { only_certain: true, ..inquiry },
            Ok(Call::Plain(reply)) => return Ok(reply),
            Err(refusal) => return refuse(trace, &refusal),
        };
        trace.pictures = inquiry.pictures.len();
        let at = At { api: api.name(), incoming: &whole, inquiry: &inquiry, caller: &caller };
        let route = match reply::answerable(&inquiry).and_then(|()| self.routes.find(&at)) {
            Ok(route) => route,
            Err(refusal) => return refuse(trace, &refusal),
        };
        trace.route = Some(Arc::clone(&route));
        let deadline = route.settings.deadline;
        let rate = route.upstream.calls_per_second();
        // Without keys all callers are one.
        let one_of_several = caller.account.as_ref().map(|_| &caller.id);
        let places = match route.gate.places(one_of_several, inquiry.pictures.len(), rate, deadline) {
            Ok(places) => places,
            Err(pause) => return refuse(trace, &refusals::busy(pause)),
        };
        let pictures = inquiry.pictures.iter().zip(places).map(|(asked, place)| {
            let span =
                tracing::debug_span!(target: traces::TARGET, parent: &trace.span, "picture", shared = Empty);
            self.picture(api, &inquiry, asked, &route, &caller, place, trace.begun + deadline, span)
        });
        let answered: Vec<Answered> = join_all(pictures).await;
        drop(held);
        reply::respell(&mut inquiry, &answered);
        Ok(write(api, &route, &inquiry, answered, &trace.mark))
    }

    /// The body, where there is memory for it.
    async fn read(
        &self,
        api: &dyn ServedApi,
        parts: &Parts,
        body: Body,
    ) -> Result<Result<(Bytes, Arc<Held>), Refusal>, Gone> {
        let (body, held) = self.means.memory.body(body);
        match Formats::read_within(api, &parts.headers, body, self.body).await {
            Ok(bytes) => Ok(Ok((bytes, held))),
            Err(ReadError::Refused(refusal)) => Ok(Err(refusal)),
            Err(ReadError::Gone) if held.is_full() => Ok(Err(refusals::full())),
            Err(ReadError::Gone) => Err(Gone),
        }
    }

    /// One picture of a request.
    #[expect(clippy::too_many_arguments, reason = "a picture, and all that decides what becomes of it")]
    async fn picture(
        &self,
        api: &dyn ServedApi,
        inquiry: &Inquiry,
        asked: &Asked,
        route: &Arc<Route>,
        caller: &Caller,
        place: Place,
        until: Instant,
        span: Span,
    ) -> Answered {
        let (file, of, held) = match self.file(api, &asked.source, caller).await {
            Ok(file) => file,
            Err(refusal) => return Answered::refused(refusal),
        };
        let hash = blake3::hash(&file);
        let pixels = u64::from(of.width) * u64::from(of.height);
        let key = Key { run: route.run.id(), caller: Arc::clone(&caller.id), file: *hash.as_bytes() };
        let wanted = Wanted {
            route: Arc::clone(route),
            caller: caller.clone(),
            file,
            hash,
            pixels,
            place,
            _held: held,
        };
        let means = Arc::clone(&self.means);
        let joined = self.flights.join(key, |stop| wanted.get(means, stop).instrument(span.clone()));
        match tokio::time::timeout_at(until.into(), joined).await {
            Err(_) => Answered::refused(refusals::late(route.settings.deadline)),
            Ok(None) => Answered::refused(refusals::internal()),
            Ok(Some(landed)) => {
                span.record("shared", landed.shared);
                match landed.result {
                    Ok(made) => Answered::made(api, route, inquiry, asked, &made, landed.shared, of),
                    Err(refusal) => Answered::refused(refusal),
                }
            }
        }
    }

    /// The file of a picture, and what its header says, where the API would look at it; and the memory of one that was fetched.
    async fn file(
        &self,
        api: &dyn ServedApi,
        source: &Source,
        caller: &Caller,
    ) -> Result<(Bytes, Of, Option<Held>), Refusal> {
        let (file, held) = match source {
            Source::Bytes(bytes) => (bytes.clone(), None),
            other => {
                let file = self.fetch.fetch(caller, other, api.limits().max_bytes).await?;
                let held = self.means.memory.fetched(file.len()).ok_or_else(refusals::full)?;
                (file, Some(held))
            }
        };
        let (kind, width, height) = front::measure(api, &file)?;
        if u64::from(width) * u64::from(height) > self.max_pixels {
            let what =
                format!("the picture has {width}x{height} pixels; at most {} are taken", self.max_pixels);
            return Err(Refusal::new(RefusalClass::PictureTooLarge, what));
        }
        Ok((file, Of { kind, width, height }, held))
    }
}

/// The reply: the API's own, with our headers.
fn write(
    api: &dyn ServedApi,
    route: &Route,
    inquiry: &Inquiry,
    answered: Vec<Answered>,
    mark: &Mark,
) -> Response<Bytes> {
    let (results, lines): (Vec<_>, Vec<_>) =
        answered.into_iter().map(|answered| (answered.result, answered.line)).unzip();
    // Where every picture has to come back later, the request has.
    let later = results
        .iter()
        .all(|result| matches!(result, Err(refusal) if refusal.class == RefusalClass::Throttled));
    let longest = results.iter().filter_map(|result| result.as_ref().err()).max_by_key(|r| r.retry_after);
    let mut reply = match longest {
        Some(refusal) if later => api.refuse(refusal, mark),
        _ => api.encode(inquiry, &results, mark),
    };
    reply::head(&mut reply, route, &lines);
    reply
}

fn incoming<'a>(parts: &'a Parts, body: &'a Bytes) -> Incoming<'a> {
    Incoming {
        method: &parts.method,
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        body,
    }
}

/// The credential on our own paths: a bearer token, `x-api-key`, or a signature with an AWS pair.
fn own_credential(incoming: &Incoming<'_>) -> Option<Presented> {
    let authorization = |wanted: &str| {
        let (scheme, rest) = incoming.header("authorization")?.split_once(' ')?;
        (scheme.eq_ignore_ascii_case(wanted) && !rest.trim().is_empty()).then(|| rest.trim())
    };
    let bearer = authorization("bearer");
    let key = bearer.or_else(|| incoming.header("x-api-key").filter(|key| !key.is_empty()));
    let signed = || authorization("AWS4-HMAC-SHA256").map(|_| Presented::SigV4);
    key.map(|key| Presented::Key(key.into())).or_else(signed)
}

/// A refusal on our own paths.
fn own_refusal(refusal: &Refusal) -> Response<Bytes> {
    let status = match refusal.class {
        RefusalClass::NotFound => StatusCode::NOT_FOUND,
        RefusalClass::Unauthenticated | RefusalClass::UnknownKey => StatusCode::UNAUTHORIZED,
        RefusalClass::Forbidden | RefusalClass::QuotaSpent => StatusCode::FORBIDDEN,
        RefusalClass::Throttled => StatusCode::TOO_MANY_REQUESTS,
        RefusalClass::Internal | RefusalClass::Unavailable => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    let mut reply = problem(status, refusal.message.clone());
    if status == StatusCode::TOO_MANY_REQUESTS {
        let pause = refusal.retry_after.unwrap_or_default().as_secs().max(1);
        reply.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(pause));
    }
    reply
}

/// A method by its name, where it has one: anything else is the client's word.
fn known(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::DELETE
        | Method::PATCH
        | Method::OPTIONS => method.as_str(),
        _ => "_OTHER",
    }
}

/// A request id in the form of a random UUID, which one API's schema asks for, and the time.
fn mark() -> Mark {
    let mut b: [u8; 16] = rand::random();
    (b[6], b[8]) = (b[6] & 0x0f | 0x40, b[8] & 0x3f | 0x80);
    let id = format!("{:032x}", u128::from_be_bytes(b));
    let request_id = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Mark { request_id, unix_seconds: now.as_secs() }
}
