//! Are the credentials accepted? Asked without a picture, so without a price.

use crate::{AskError, OutcomeClass, RequestError};

use super::client::Exchange;
use super::endpoint::{HttpEndpoint, authorize};
use super::tls;

/// What an API says to a call without a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    /// It knows the caller.
    Accepted,
    /// It does not, or not for this model or operation.
    Rejected {
        /// [`OutcomeClass::Auth`], [`OutcomeClass::QuotaSpent`] or [`OutcomeClass::Misconfigured`].
        class: OutcomeClass,
        /// Its words.
        reason: String,
    },
    /// It did not say: no reply, or an overload. May be asked again.
    Unclear {
        /// What was seen.
        reason: String,
    },
    /// It has no call without a price.
    WouldCost,
}

impl HttpEndpoint {
    /// Asks the API whether it accepts the credentials, where that is free. Neither rate limit nor breaker nor journal
    /// take part: nothing is a vote and nothing is billed.
    ///
    /// # Errors
    /// [`AskError::Credential`] and [`AskError::Request`]: nothing was sent to the API.
    pub async fn probe(&self) -> Result<Probed, AskError> {
        let core = &self.core;
        let Some(request) = core.provider.probe() else { return Ok(Probed::WouldCost) };
        tls::check_scheme(request.uri(), core.network.settings().allow_http)
            .map_err(|problem| RequestError::Invalid { provider: core.description.name.clone(), problem })?;
        let used = core.credential.authorization().await?;
        let request = authorize(&used, request)?;
        let blotter = used.blotter(&request);
        Ok(match core.network.send(request).await {
            Exchange::Reply(mut reply) if !reply.status.is_success() => {
                reply.body = blotter.blot(reply.body);
                // The call has no picture on purpose: whoever complains of its contents let the caller in.
                let complaint = reply.status == http::StatusCode::BAD_REQUEST;
                let outcomes = core.provider.outcomes(1, &reply);
                let (class, reason) = match outcomes.first() {
                    Some(outcome) => (outcome.class(), outcome.reason().unwrap_or_default().to_owned()),
                    None => (OutcomeClass::Malformed, String::new()),
                };
                match class {
                    OutcomeClass::Misconfigured if complaint => Probed::Accepted,
                    _ if class.stops_run() => Probed::Rejected { class, reason },
                    OutcomeClass::Throttled | OutcomeClass::Transient => Probed::Unclear { reason },
                    _ => Probed::Accepted,
                }
            }
            Exchange::Reply(_) | Exchange::TooLong { status: 200..=299, .. } => Probed::Accepted,
            Exchange::TooLong { status, .. } => {
                Probed::Unclear { reason: format!("a very long reply of status {status}") }
            }
            Exchange::Lost(lost) => Probed::Unclear { reason: lost.reason },
        })
    }
}
