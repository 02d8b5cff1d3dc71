//! The circuit breaker: when no further call can succeed, none is sent.

use tokio::sync::watch;

use crate::OutcomeClass;

/// Why an endpoint has stopped sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trip {
    /// [`OutcomeClass::Auth`] or [`OutcomeClass::QuotaSpent`].
    pub class: OutcomeClass,
    /// The API's words.
    pub reason: String,
}

/// Opens at the first rejected credential or spent quota, and stays open until [`reset`](Self::reset): asking again
/// without a change by the user would only repeat the error, and may lock the account.
#[derive(Debug)]
pub(crate) struct Breaker(watch::Sender<Option<Trip>>);

impl Breaker {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Stops all asks, those that wait for their turn included.
    pub(crate) fn trip(&self, name: &str, trip: Trip) {
        self.0.send_if_modified(|state| {
            let first = state.is_none();
            if first {
                tracing::error!(endpoint = name, class = %trip.class, reason = %trip.reason, "no more calls are sent");
                *state = Some(trip);
            }
            first
        });
    }

    /// Lets calls pass again, after the user has changed what was wrong.
    pub(crate) fn reset(&self) {
        self.0.send_if_modified(|state| state.take().is_some());
    }

    pub(crate) fn state(&self) -> Option<Trip> {
        self.0.borrow().clone()
    }

    /// Waits for `work`, or for the breaker to open, whichever is first. An open breaker comes before finished work.
    pub(crate) async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, Trip> {
        let mut state = self.0.subscribe();
        let opened = async {
            match state.wait_for(Option::is_some).await {
                Ok(trip) => trip.clone(),
                Err(_) => None, // The sender is `self.0`, which outlives this borrow.
            }
        };
        tokio::select! {
            biased;
            Some(trip) = opened => Err(trip),
            done = work => Ok(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_work_ends_when_it_opens_and_the_first_reason_stays() {
        let breaker = Breaker::new();
        assert_eq!(breaker.guard(async { 7 }).await, Ok(7));
        let trip = |reason: &str| Trip { class: OutcomeClass::Auth, reason: reason.to_owned() };
        let (ended, ()) = tokio::join!(breaker.guard(std::future::pending::<()>()), async {
            tokio::task::yield_now().await;
            breaker.trip("x", trip("first"));
            breaker.trip("x", trip("second"));
        });
        assert_eq!(ended, Err(trip("first")));
        assert_eq!(breaker.guard(async { 7 }).await, Err(trip("first")));
        breaker.reset();
        assert_eq!(breaker.guard(async { 7 }).await, Ok(7));
    }
}
