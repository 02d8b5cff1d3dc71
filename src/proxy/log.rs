//! A line of the log for every request: who, which way, how it ended. No picture, no path, no credential.

use super::observer::{Event, Observer};

/// What the lines are filed under.
const TARGET: &str = "smoothgate::requests";

/// Writes a line for every request and every certificate. Lines carry the request id by the span that they are written in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log;

impl Observer for Log {
    fn observe(&self, event: &Event<'_>) {
        match *event {
            Event::Request { api, route, caller, status, pictures, elapsed, .. } => tracing::info!(
                target: TARGET,
                api,
                route,
                caller,
                status,
                pictures,
                seconds = elapsed.as_secs_f64(),
                "request"
            ),
            Event::Certified { route, outcome, evidence, votes, calls, cost, elapsed } => tracing::info!(
                target: TARGET,
                route,
                ?outcome,
                evidence = evidence.name(),
                votes,
                calls,
                cost = cost.map(tracing::field::display),
                seconds = elapsed.as_secs_f64(),
                "certificate"
            ),
            Event::Refused { route, class } => tracing::info!(target: TARGET, route, ?class, "refused"),
            Event::Spent { .. } | Event::Vote { .. } | Event::Attempt { .. } => {}
        }
    }
}
