//! The proxy's gate: keys, or none where none are needed.

use std::sync::Arc;
use std::time::SystemTime;

use futures::future::BoxFuture;
use smoothgate_providers::credentials::aws::sigv4::Received;
use smoothgate_providers::served::Refusal;

use super::purse::Purses;
use super::seam::Unlimited;
use super::{Access, Account, Asking, Books, Caller, Denied, Keyring, Most, StoreError, Tab, open};

/// Lets in the holders of keys, and keeps their budgets.
pub struct Keys {
    ring: Keyring,
    purses: Purses,
    books: Arc<dyn Books>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Keys").field(&self.ring).finish()
    }
}

impl Keys {
    /// Lets in the holders of these keys, whose spending so far is in `books`.
    pub fn new(ring: Keyring, books: Arc<dyn Books>) -> Self {
        Self { ring, purses: Purses::default(), books }
    }

    /// The keys.
    pub fn ring(&self) -> &Keyring {
        &self.ring
    }

    /// Reads the keys again, for a signal. Where the file cannot be used the former keys stay in force.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn reload(&self) -> Result<(), StoreError> {
        self.ring.reload()
    }

    async fn set_aside(&self, caller: &Caller, most: Most) -> Result<Box<dyn Tab>, Denied> {
        // A key that was taken back in the meantime begins nothing more.
        let key = caller.id.parse().ok().and_then(|id| self.ring.find(id, SystemTime::now()));
        let key = key.ok_or(Denied::Unknown { bearer: false })?;
        let reserved = self.purses.reserve(self.books.as_ref(), key.id, key.budget, most).await?;
        Ok(Box::new(reserved))
    }
}

impl Access for Keys {
    fn greet(&self, head: &Asking<'_>) -> Result<(), Refusal> {
        Ok(self.ring.greet(head.presented, head.incoming.headers, SystemTime::now())?)
    }

    fn admit(&self, asking: &Asking<'_>) -> Result<Caller, Refusal> {
        let key = self.ring.check(asking.presented, &received(asking), SystemTime::now())?;
        let name = key.id.to_string();
        Ok(Caller {
            id: name.as_str().into(),
            routes: Arc::new(key.routes),
            account: Some(Arc::new(Account { name, cap: key.budget })),
        })
    }

    fn reserve<'a>(
        &'a self,
        caller: &'a Caller,
        most: &'a Most,
    ) -> BoxFuture<'a, Result<Box<dyn Tab>, Refusal>> {
        Box::pin(async move { Ok(self.set_aside(caller, *most).await?) })
    }
}

/// Lets in everyone, as one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// Programs on this machine. No web pages.
    Local,
    /// Everyone who reaches the server.
    Everyone,
}

impl Access for Open {
    fn greet(&self, head: &Asking<'_>) -> Result<(), Refusal> {
        match self {
            Self::Local => Ok(open::check_local(&received(head))?),
            Self::Everyone => Ok(()),
        }
    }

    fn admit(&self, asking: &Asking<'_>) -> Result<Caller, Refusal> {
        self.greet(asking)?;
        Ok(Caller::new("anyone"))
    }

    fn reserve<'a>(&'a self, _: &'a Caller, _: &'a Most) -> BoxFuture<'a, Result<Box<dyn Tab>, Refusal>> {
        Box::pin(async { Ok(Box::new(Unlimited) as Box<dyn Tab>) })
    }
}

fn received<'a>(asking: &Asking<'a>) -> Received<'a> {
    let incoming = &asking.incoming;
    Received { method: incoming.method, uri: asking.uri, headers: incoming.headers, body: incoming.body }
}
