//! What happens to one request.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming as Body;
use rand::RngCore as _;
use serde::Serialize;
use serde_json::json;
use smoothgate_providers::local::Backend;
use smoothgate_providers::served::{Call, Incoming, Inquiry, Mark, Refusal, RefusalClass, ServedApi};

use super::answers::{Results, answers};
use super::body::Reply;
use super::fault::Kind;
use super::forms::Form;
use super::keys::Keys;
use super::plan::{Plan, Verdict};
use super::stats::{Tally, Ticket};
use crate::front::{Connection, Formats, ReadError};

/// Where the emulator answers about itself.
const CONTROL: &str = "/__emulator/";
/// Most letters of a path that a log line repeats.
const PATH_SHOWN: usize = 200;

/// Everything that requests share.
pub(super) struct Desk {
    pub(super) formats: Formats,
    pub(super) keys: Keys,
    pub(super) plan: Plan,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) moderation: Option<Arc<dyn Backend>>,
    pub(super) tally: Tally,
    pub(super) log: Option<Log>,
}

/// Gets a line for every request.
pub type Log = Arc<dyn Fn(&Line) + Send + Sync>;

/// One request in the log. Holds no header, query or body: they carry keys and pictures.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The call's number; none for requests that are no calls.
    pub call: Option<u64>,
    /// The format.
    pub api: &'static str,
    /// The method.
    pub method: String,
    /// The path without its query, shortened.
    pub path: String,
    /// The status of the reply; none where the connection was reset or nothing was said.
    pub status: Option<u16>,
    /// The call's end, as in [`Counts::outcomes`](super::Counts::outcomes).
    pub outcome: &'static str,
    /// The fault.
    pub fault: Option<Kind>,
    /// Pictures in the call.
    pub pictures: u64,
    /// Pictures that the real API would bill.
    pub billed_pictures: u64,
    /// Milliseconds from the request's head to its reply's.
    pub ms: f64,
}

/// The end of the connection instead of a reply.
#[derive(Debug, thiserror::Error)]
#[error("reset on purpose")]
pub(super) struct Reset;

/// What a request is answered with.
enum Act {
    Reply(Response<Bytes>),
    Cut(Response<Bytes>),
    Drip(Response<Bytes>, Duration),
    Reset,
    Silence,
}

/// A decision, and how it is counted.
struct Done {
    act: Act,
    outcome: &'static str,
    fault: Option<Kind>,
    billed_pictures: u64,
}

impl Desk {
    pub(super) async fn handle(
        self: Arc<Self>,
        request: Request<Body>,
        connection: Connection,
    ) -> Result<Response<Reply>, Reset> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        if let Some(what) = path.strip_prefix(CONTROL) {
            return Ok(whole(self.control(&parts.method, what)));
        }
        let mut line = Line {
            call: None,
            api: "",
            method: parts.method.to_string(),
            path: path.chars().take(PATH_SHOWN).collect(),
            status: None,
            outcome: "unrecognised",
            fault: None,
            pictures: 0,
            billed_pictures: 0,
            ms: 0.0,
        };
        let Some(api) = self.formats.find(&parts.method, &parts.uri, &parts.headers) else {
            self.tally.unrecognised();
            let names: Vec<&str> = self.formats.names().collect();
            let words = format!("no format of this emulator ({}) has this path", names.join(", "));
            let reply = say(404, &json!({ "error": words }));
            line.status = Some(404);
            self.log(&line);
            return Ok(whole(reply));
        };
        line.api = api.name();
        let mut ticket = self.tally.arrive(api.name());
        let decoded = match Formats::read(api, &parts.headers, body).await {
            Ok(bytes) => {
                ticket.bytes_in = bytes.len() as u64;
                self.decode(api, &parts, &bytes)
            }
            Err(ReadError::Refused(refusal)) => Err(refusal),
            Err(ReadError::Gone) => return Err(Reset),
        };
        let decoded = match decoded {
            Ok(Call::Plain(reply)) => {
                ticket.was_plain();
                (line.outcome, line.status) = ("plain", Some(reply.status().as_u16()));
                self.log(&line);
                return Ok(whole(reply));
            }
            Ok(Call::Inquiry(inquiry)) => Ok(inquiry),
            Err(refusal) => Err(refusal),
        };
        let (call, of_api) = ticket.number();
        let mut verdict = self.plan.verdict(call, api.name(), of_api);
        let mark = mark(&mut verdict.dice);
        let done = match decoded {
            Ok(inquiry) => {
                ticket.pictures = inquiry.pictures.len() as u64;
                self.answer(api, inquiry, verdict, &mark, &ticket).await
            }
            Err(refusal) => Done::refused(api.refuse(&refusal, &mark), refusal.class),
        };
        line.call = Some(call);
        self.finish(done, ticket, line, &connection).await
    }

    /// Counts, logs and carries out a decision.
    async fn finish(
        &self,
        done: Done,
        mut ticket: Ticket<'_>,
        mut line: Line,
        connection: &Connection,
    ) -> Result<Response<Reply>, Reset> {
        let Done { act, outcome, fault, billed_pictures } = done;
        let (status, bytes) = match &act {
            Act::Reply(reply) | Act::Drip(reply, _) => (Some(reply.status().as_u16()), reply.body().len()),
            Act::Cut(reply) => (Some(reply.status().as_u16()), reply.body().len() / 2),
            Act::Reset | Act::Silence => (None, 0),
        };
        ticket.end(outcome, fault, billed_pictures, bytes as u64);
        line.pictures = ticket.pictures;
        line.ms = ticket.at.elapsed().as_secs_f64() * 1e3;
        (line.status, line.outcome, line.fault) = (status, outcome, fault);
        line.billed_pictures = billed_pictures;
        self.log(&line);
        match act {
            Act::Reply(reply) => Ok(whole(reply)),
            Act::Cut(reply) => Ok(reply.map(Reply::cut)),
            Act::Drip(reply, pause) => Ok(reply.map(|bytes| Reply::drip(bytes, pause))),
            Act::Reset => {
                connection.cut();
                Err(Reset)
            }
            Act::Silence => std::future::pending().await,
        }
    }

    /// Credentials first, then the request itself, as the real APIs do.
    fn decode(
        &self,
        api: &dyn ServedApi,
        parts: &http::request::Parts,
        body: &Bytes,
    ) -> Result<Call, Refusal> {
        let incoming = Incoming {
            method: &parts.method,
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            body,
        };
        let presented = api.credential(&incoming);
        let request = (&parts.method, &parts.uri, &parts.headers, &body[..]);
        self.keys.check(api.name(), presented.as_ref(), request)?;
        api.decode(&incoming)
    }

    async fn answer(
        &self,
        api: &dyn ServedApi,
        inquiry: Inquiry,
        mut verdict: Verdict<'_>,
        mark: &Mark,
        ticket: &Ticket<'_>,
    ) -> Done {
        let pictures = inquiry.pictures.len() as u64;
        let fault = verdict.fault;
        let kind = fault.map(|fault| fault.kind);
        if let Some(fault) = fault.filter(|fault| !fault.kind.strikes_answer()) {
            // Work that nobody gets anything of need not be done, but it is billed.
            let billed_pictures = if fault.billed { pictures } else { 0 };
            hold(ticket.at, verdict.latency).await;
            let act = match fault.kind {
                Kind::Reset => Act::Reset,
                Kind::Silence => Act::Silence,
                _ => {
                    let form = Form { api, fault, inquiry: &inquiry, mark };
                    Act::Reply(form.instead(&mut verdict.dice))
                }
            };
            return Done { act, outcome: "fault", fault: kind, billed_pictures };
        }
        let mut results = self.results(api, &inquiry).await;
        if let Some(version) = verdict.model {
            for found in results.iter_mut().flatten() {
                found.answer.model_version = Some(version.to_owned());
            }
        }
        let best = results.first().and_then(|result| result.as_ref().ok()?.answer.labels.first());
        let added = best.map_or(Duration::ZERO, |label| self.plan.latency_of_label(&label.name));
        hold(ticket.at, verdict.latency + added).await;
        let refused = results.iter().find_map(|result| Some(result.as_ref().err()?.class));
        let outcome = refused.map_or("answered", class_name);
        let Some(fault) = fault else {
            let billed_pictures = results.iter().filter(|result| result.is_ok()).count() as u64;
            let reply = api.encode(&inquiry, &results, mark);
            return Done { act: Act::Reply(reply), outcome, fault: None, billed_pictures };
        };
        let form = Form { api, fault, inquiry: &inquiry, mark };
        let (reply, billed_pictures) = form.in_answer(results, &mut verdict.dice);
        let (act, outcome) = match fault.kind {
            Kind::Truncated => (Act::Cut(reply), "fault"),
            Kind::Drip => (Act::Drip(reply, fault.pause), outcome),
            Kind::EmptyAnswer | Kind::Reorder | Kind::Duplicate => (Act::Reply(reply), outcome),
            _ => (Act::Reply(reply), "fault"),
        };
        Done { act, outcome, fault: kind, billed_pictures }
    }

    /// What the classifier says, from a thread that may take its time if it does.
    async fn results(&self, api: &dyn ServedApi, inquiry: &Inquiry) -> Results {
        let results = if self.backend.is_quick() {
            // As another thread would: nobody sees the classifier in between.
            let work = || answers(api, inquiry, &self.backend, self.moderation.as_ref());
            catch_unwind(AssertUnwindSafe(work)).ok()
        } else {
            let (backend, moderation) = (Arc::clone(&self.backend), self.moderation.clone());
            let (api, inquiry) = (api.name(), inquiry.clone());
            let work = tokio::task::spawn_blocking(move || {
                let api = smoothgate_providers::served::by_name(api)?;
                Some(answers(api.as_ref(), &inquiry, &backend, moderation.as_ref()))
            });
            work.await.ok().flatten()
        };
        // The classifier panicked: its defect, told as the API would tell it.
        let failed = || Refusal::new(RefusalClass::Internal, "The classifier failed.");
        results.unwrap_or_else(|| inquiry.pictures.iter().map(|_| Err(failed())).collect())
    }

    fn control(&self, method: &Method, what: &str) -> Response<Bytes> {
        match (method, what) {
            (&Method::GET, "stats") => say(200, &self.tally.stats()),
            (&Method::POST, "reset") => {
                self.tally.reset();
                say(200, &json!({ "reset": true }))
            }
            (_, "stats" | "reset") => say(405, &json!({ "error": "use GET for stats and POST for reset" })),
            _ => say(404, &json!({ "error": "there are stats and reset" })),
        }
    }

    fn log(&self, line: &Line) {
        tracing::debug!(
            call = line.call,
            api = line.api,
            path = line.path,
            status = line.status,
            outcome = line.outcome,
            fault = line.fault.map(Kind::name),
            "request"
        );
        if let Some(log) = &self.log {
            log(line);
        }
    }
}

impl Done {
    fn refused(reply: Response<Bytes>, class: RefusalClass) -> Self {
        Self { act: Act::Reply(reply), outcome: class_name(class), fault: None, billed_pictures: 0 }
    }
}

/// Waits until `latency` has passed since the request arrived.
async fn hold(arrived: Instant, latency: Duration) {
    if !latency.is_zero() {
        tokio::time::sleep_until((arrived + latency).into()).await;
    }
}

fn whole(reply: Response<Bytes>) -> Response<Reply> {
    reply.map(Reply::whole)
}

fn say(status: u16, body: &impl Serialize) -> Response<Bytes> {
    // Our own types serialise without error; were one not to, an empty body is still a reply.
    let mut reply = Response::new(Bytes::from(serde_json::to_vec(body).unwrap_or_default()));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A request id in the form of a random UUID, which one API's schema asks for.
fn mark(dice: &mut rand_chacha::ChaCha8Rng) -> Mark {
    let mut b = [0; 16];
    dice.fill_bytes(&mut b);
    (b[6], b[8]) = (b[6] & 0x0f | 0x40, b[8] & 0x3f | 0x80);
    let id = format!("{:032x}", u128::from_be_bytes(b));
    let request_id = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-");
    Mark { request_id, unix_seconds: unix_seconds() }
}

/// A refusal's name in the counts.
fn class_name(class: RefusalClass) -> &'static str {
    use RefusalClass as C;
    match class {
        C::BadRequest => "bad-request",
        C::Unsupported => "unsupported",
        C::NotFound => "not-found",
        C::MethodNotAllowed => "method-not-allowed",
        C::UnsupportedMediaType => "unsupported-media-type",
        C::BodyTooLarge => "body-too-large",
        C::BadPicture => "bad-picture",
        C::PictureTooLarge => "picture-too-large",
        C::PictureTooSmall => "picture-too-small",
        C::PictureUnreachable => "picture-unreachable",
        C::Unauthenticated => "unauthenticated",
        C::UnknownKey => "unknown-key",
        C::Forbidden => "forbidden",
        C::Throttled => "throttled",
        C::QuotaSpent => "quota-spent",
        C::Abstained => "abstained",
        C::Unavailable => "unavailable",
        C::Internal => "internal",
    }
}
