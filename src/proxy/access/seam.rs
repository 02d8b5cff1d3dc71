//! What the proxy asks of whoever decides who may use it.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use http::Uri;
use smoothgate_providers::Money;
use smoothgate_providers::served::{Incoming, Presented, Refusal};

use super::{Account, Routes};

/// A request whose sender is to be known.
#[derive(Debug)]
pub struct Asking<'a> {
    /// The format, by name; `smoothgate` for the proxy's own paths.
    pub api: &'static str,
    /// The request as it came. While the head alone is there its body is empty.
    pub incoming: Incoming<'a>,
    /// The whole target, for signatures.
    pub uri: &'a Uri,
    /// The credential that came with it, wherever this format's clients put it.
    pub presented: Option<&'a Presented>,
    /// Where it came from.
    pub peer: SocketAddr,
}

/// Somebody who may ask. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The caller's name: what certificates are filed under, queues are fair between and routes can be kept for. Letters,
    /// digits, `-`, `_` and `.`.
    pub id: Arc<str>,
    /// The routes that it may use.
    pub routes: Arc<Routes>,
    /// The account in the ledger that its calls are charged to, with what may be spent for it.
    pub account: Option<Arc<Account>>,
}

impl Caller {
    /// One that may use every route.
    pub fn new(id: &str) -> Self {
        Self { id: id.into(), routes: Arc::default(), account: None }
    }

    /// May it use this route?
    pub fn may_use(&self, route: &str) -> bool {
        self.routes.permit(route)
    }
}

/// What a certificate still takes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Calls, without retries.
    pub calls: u64,
    /// Their price. `None` where it is not known.
    pub cost: Option<Money>,
}

/// What was spent in one sitting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Calls sent, retries included. What never left counts nowhere.
    pub calls: u64,
    /// Of these, calls that were billed or may have been.
    pub billable: u64,
    /// The price of the latter. `None` where it is not known.
    pub cost: Option<Money>,
}

/// Decides who may ask, and keeps what each may spend.
pub trait Access: Send + Sync + 'static {
    /// Looks at the head of a request before its body is read, so that a stranger's body is not. Whoever needs the whole
    /// request to tell lets it pass.
    ///
    /// # Errors
    /// A [`Refusal`], mostly `Unauthenticated`, `UnknownKey`, `Forbidden` or `Throttled`.
    fn greet(&self, head: &Asking<'_>) -> Result<(), Refusal> {
        let _ = head;
        Ok(())
    }

    /// Who sends this whole request.
    ///
    /// # Errors
    /// As [`greet`](Self::greet).
    fn admit(&self, asking: &Asking<'_>) -> Result<Caller, Refusal>;

    /// Sets aside what one certificate takes at most from what the caller may spend, before anything is sent for it.
    ///
    /// # Errors
    /// A [`Refusal`]: `QuotaSpent` where the caller's budget does not last, `Throttled` where it may once other certificates
    /// of the caller have ended.
    fn reserve<'a>(
        &'a self,
        caller: &'a Caller,
        most: &'a Most,
    ) -> BoxFuture<'a, Result<Box<dyn Tab>, Refusal>> {
        let _ = (caller, most);
        Box::pin(async { Ok(Box::new(Unlimited) as Box<dyn Tab>) })
    }
}

/// What was set aside for one certificate. Dropped unsettled, all of it counts as spent.
pub trait Tab: Send + Sync {
    /// Gives back what was not spent.
    fn settle(self: Box<Self>, spent: &Spent);
}

/// Nothing is counted.
pub(super) struct Unlimited;

impl Tab for Unlimited {
    fn settle(self: Box<Self>, _: &Spent) {}
}
