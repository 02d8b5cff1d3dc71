//! What each fault looks like in each API's format.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use smoothgate_providers::served::{Feature, Inquiry, Mark, Refusal, RefusalClass, ServedApi};

use super::answers::Results;
use super::fault::{Fault, Kind};

const PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Temporarily unavailable</title></head>\
                    <body><h1>Temporarily unavailable</h1></body></html>\n";

/// A fault on its way to a reply.
pub(super) struct Form<'a> {
    pub(super) api: &'a dyn ServedApi,
    pub(super) fault: Fault,
    pub(super) inquiry: &'a Inquiry,
    pub(super) mark: &'a Mark,
}

impl Form<'_> {
    /// The reply of a fault that leaves no answer. For the kinds that do not strike an answer.
    pub(super) fn instead(&self, dice: &mut ChaCha8Rng) -> Response<Bytes> {
        let refuse = |class, words: &str| self.api.refuse(&Refusal::new(class, words), self.mark);
        match self.fault.kind {
            Kind::Throttle => self.throttle(dice),
            Kind::Html => {
                let status = self.fault.status.unwrap_or_else(|| [200, 502, 503][dice.random_range(0..3)]);
                let mut page = Response::new(Bytes::from_static(PAGE.as_bytes()));
                set_status(&mut page, status);
                page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
                page
            }
            Kind::ErrorIn200 => {
                let mut reply = refuse(RefusalClass::Internal, "Internal error encountered.");
                set_status(&mut reply, 200);
                reply
            }
            Kind::EmptyBody => {
                // The media type is the API's own; the headers of an error are not sent with it.
                let usual = refuse(RefusalClass::Internal, "");
                let mut reply = Response::new(Bytes::new());
                reply
                    .headers_mut()
                    .extend(usual.headers().get(CONTENT_TYPE).map(|v| (CONTENT_TYPE, v.clone())));
                reply
            }
            Kind::BadKey => refuse(RefusalClass::UnknownKey, "The credential has been revoked."),
            Kind::QuotaSpent => refuse(RefusalClass::QuotaSpent, "The account's quota is used up."),
            _ => self.server_error(dice),
        }
    }

    fn server_error(&self, dice: &mut ChaCha8Rng) -> Response<Bytes> {
        let class = if dice.random() { RefusalClass::Unavailable } else { RefusalClass::Internal };
        let mut reply = self.api.refuse(&Refusal::new(class, "Internal error encountered."), self.mark);
        if let Some(status) = self.fault.status {
            set_status(&mut reply, status);
        }
        reply
    }

    fn throttle(&self, dice: &mut ChaCha8Rng) -> Response<Bytes> {
        let refusal = Refusal {
            retry_after: self.fault.retry_after,
            ..Refusal::new(RefusalClass::Throttled, "Too many requests: slow down.")
        };
        let api = self.api.name();
        let mut reply = match (api, dice.random_range(0..3)) {
            ("google", 0) => {
                let every = vec![Err(refusal); self.inquiry.pictures.len()];
                self.api.encode(self.inquiry, &every, self.mark)
            }
            ("aws", 0) => {
                let aws_code = Some("ProvisionedThroughputExceededException");
                self.api.refuse(&Refusal { aws_code, ..refusal }, self.mark)
            }
            ("aws", 1) => {
                let mut reply = self.api.refuse(&refusal, self.mark);
                set_status(&mut reply, 500);
                reply
            }
            _ => self.api.refuse(&refusal, self.mark),
        };
        let silent = match self.fault.retry_after {
            Some(pause) => pause.is_zero(),
            None => matches!(api, "google" | "aws" | "clarifai"),
        };
        if silent {
            reply.headers_mut().remove(RETRY_AFTER);
        }
        reply
    }

    /// The reply with a fault in the answer, and how many of its pictures were answered. For the kinds that strike an
    /// answer.
    pub(super) fn in_answer(&self, mut results: Results, dice: &mut ChaCha8Rng) -> (Response<Bytes>, u64) {
        let answered = |results: &Results| results.iter().filter(|result| result.is_ok()).count() as u64;
        let victim = dice.random_range(0..results.len().max(1));
        let several = results.len() > 1;
        match self.fault.kind {
            Kind::PictureError => {
                let partial = self.api.name() == "google" || self.api.name() == "clarifai" && several;
                if !partial {
                    return (self.server_error(dice), 0);
                }
                let form = dice.random_range(0..4);
                let class = [
                    RefusalClass::Throttled,
                    RefusalClass::Internal,
                    RefusalClass::Unavailable,
                    RefusalClass::Unavailable,
                ][form];
                if let Some(result) = results.get_mut(victim) {
                    *result = Err(Refusal::new(class, "This picture failed. Try again."));
                }
                let mut reply = self.api.encode(self.inquiry, &results, self.mark);
                if form == 3 && self.api.name() == "google" {
                    // DEADLINE_EXCEEDED, which no refusal of a server of ours is.
                    edit(&mut reply, |body| body["responses"][victim]["error"]["code"] = 4.into());
                }
                (reply, answered(&results))
            }
            Kind::BadPicture => {
                if let Some(result) = results.get_mut(victim) {
                    *result = Err(Refusal::new(RefusalClass::BadPicture, "Bad image data."));
                }
                (self.api.encode(self.inquiry, &results, self.mark), answered(&results))
            }
            Kind::EmptyAnswer => {
                for found in results.iter_mut().flatten() {
                    found.answer.labels.clear();
                }
                (self.api.encode(self.inquiry, &results, self.mark), answered(&results))
            }
            Kind::Duplicate | Kind::Reorder => {
                let inquiry = self.relabel(&mut results);
                let mut reply = self.api.encode(&inquiry, &results, self.mark);
                if self.fault.kind == Kind::Duplicate {
                    edit(&mut reply, |body| self.repeat_entry(body, victim));
                }
                (reply, answered(&results))
            }
            _ => (self.api.encode(self.inquiry, &results, self.mark), answered(&results)),
        }
    }

    /// Doubles or turns round the labels that the client wants. The client's own limits have then had their effect.
    fn relabel(&self, results: &mut Results) -> Inquiry {
        let mut inquiry = self.inquiry.clone();
        // Where labels are chosen from a closed set, their order says which one is meant.
        let ordered = !inquiry.choices.is_empty();
        for (asked, result) in inquiry.pictures.iter_mut().zip(results) {
            let Ok(found) = result else { continue };
            if asked.wants(Feature::Moderation) || ordered {
                continue;
            }
            let mut labels: Vec<_> = asked.select(&found.answer).into_iter().cloned().collect();
            if self.fault.kind == Kind::Duplicate {
                labels = labels.into_iter().flat_map(|label| [label.clone(), label]).collect();
            } else {
                labels.reverse();
            }
            found.answer.labels = labels;
            asked.most = None;
        }
        inquiry
    }

    /// One entry too many, in the formats that list pictures (or, of a chat, choices).
    fn repeat_entry(&self, body: &mut Value, victim: usize) {
        let list = match self.api.name() {
            "google" => "responses",
            "clarifai" => "outputs",
            "openai" => "choices",
            _ => return,
        };
        if let Some(list) = body[list].as_array_mut()
            && let Some(entry) = list.get(victim).cloned()
            && (self.inquiry.pictures.len() > 1 || self.api.name() == "openai")
        {
            list.push(entry);
        }
    }
}

fn set_status(reply: &mut Response<Bytes>, status: u16) {
    if let Ok(status) = StatusCode::from_u16(status) {
        *reply.status_mut() = status;
    }
}

/// Changes a JSON body. Leaves any other as it is.
fn edit(reply: &mut Response<Bytes>, change: impl FnOnce(&mut Value)) {
    if let Ok(mut body) = serde_json::from_slice::<Value>(reply.body())
        && body.is_object()
    {
        change(&mut body);
        *reply.body_mut() = body.to_string().into();
        reply.headers_mut().remove(CONTENT_LENGTH);
    }
}
