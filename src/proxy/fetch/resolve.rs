//! From a host's name to the addresses that are connected to.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use reqwest::dns::{Name, Resolving};

use super::address;

/// Finds the addresses of a host.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of `host`.
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The operating system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Resolve for System {
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Stands between a resolver and the connections: the addresses that it lets through are the very ones that are
/// connected to.
#[derive(Clone)]
pub(super) struct Guard {
    resolver: Arc<dyn Resolve>,
    forbids: fn(IpAddr) -> Option<&'static str>,
}

/// A host that leads where nothing may be fetched from.
#[derive(Debug, thiserror::Error)]
#[error("it leads to an address that is {0}")]
struct Forbidden(&'static str);

impl Guard {
    /// Lets through the public internet alone.
    pub(super) fn public(resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, forbids: address::forbidden }
    }

    /// Lets through this machine as well, where the servers of tests are.
    #[cfg(test)]
    pub(super) fn with_loopback(resolver: Arc<dyn Resolve>) -> Self {
        let forbids =
            |address: IpAddr| if address.is_loopback() { None } else { address::forbidden(address) };
        Self { resolver, forbids }
    }

    /// Why an address may not be connected to.
    pub(super) fn forbids(&self, address: IpAddr) -> Option<&'static str> {
        (self.forbids)(address)
    }
}

impl reqwest::dns::Resolve for Guard {
    /// One forbidden address among several is enough to refuse the host: whoever names it does so on purpose.
    fn resolve(&self, name: Name) -> Resolving {
        let (found, forbids) = (self.resolver.resolve(name.as_str().to_owned()), self.forbids);
        Box::pin(async move {
            let found = found.await?;
            if let Some(why) = found.iter().copied().find_map(forbids) {
                return Err(Forbidden(why).into());
            }
            // Port 0 stands for the address's own.
            let found = found.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(found) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}

/// Why the guard refused, where that is behind an error.
pub(super) fn forbidden_in(error: &reqwest::Error) -> Option<&'static str> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(Forbidden(why)) = error.downcast_ref() {
            return Some(why);
        }
        cause = error.source();
    }
    None
}
