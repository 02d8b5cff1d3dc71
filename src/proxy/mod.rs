//! A server that answers in the formats of the public vision APIs with labels that are certified.
//!
//! A client changes its endpoint and nothing else. Every picture of its requests becomes a certificate, made with the policy
//! of a route, and the reply holds the labels that were certified and no others. What it costs is on record in the ledger
//! before it is sent, under the hash of the picture's file: a request that was broken off, by the client or with this
//! process, is gone on with when it comes again, and identical requests at the same time share one certificate.
//!
//! | seam | decides | by default |
//! |---|---|---|
//! | [`Access`](access::Access) | who may ask, and what each may spend | [`Open`](access::Open): everybody, as one caller |
//! | [`Fetch`](fetch::Fetch) | how pictures are got that a request only names | [`Refused`](fetch::Refused): not at all |
//! | [`Observer`](observer::Observer) | what becomes of what is seen | [`Unobserved`](observer::Unobserved): nothing |

pub mod access;
mod certificate;
mod certificates;
mod desk;
pub mod fetch;
mod flights;
mod gate;
mod memory;
pub mod observer;
mod open;
mod promise;
mod refusals;
mod reply;
mod route;
mod watched;

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use certificate::Evidence;
pub use certificates::{CertificateId, CertificateIdError};
pub use gate::Queue;
pub use open::{OpenError, Opened, Opener};
pub use route::{Route, Upstream};

use crate::config::ServeSettings;
use crate::front::{self, Formats};
use access::Access;
use certificate::Means;
use desk::Desk;
use fetch::Fetch;
use flights::Flights;
use memory::Memory;
use observer::Observer;
use route::Routes;

/// How a proxy is set up.
pub struct Settings {
    /// Where it listens, and its limits.
    pub serve: ServeSettings,
    /// Its routes, with the ledger that they record in.
    pub opened: Opened,
    /// Who may ask.
    pub access: Arc<dyn Access>,
    /// How pictures are got that a request only names.
    pub fetch: Arc<dyn Fetch>,
    /// Who watches.
    pub observer: Arc<dyn Observer>,
    /// TLS, where wanted.
    pub tls: Option<Arc<ServerConfig>>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("serve", &self.serve)
            .field("opened", &self.opened)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

/// The address is taken or not ours. The user's to mend.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}. Choose another with --listen; port 0 takes any free one")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// What the operating system said.
    pub source: std::io::Error,
}

/// A running proxy. Dropping it closes its port and its connections at once.
pub struct Proxy {
    address: SocketAddr,
    tls: bool,
    desk: Arc<Desk>,
    stop: watch::Sender<bool>,
    server: JoinSet<()>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Starts to listen.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn start(settings: Settings) -> Result<Self, ListenError> {
        let Settings { serve, opened, access, fetch, observer, tls } = settings;
        let bound = async {
            let listener = TcpListener::bind(serve.listen).await?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) =
            bound.await.map_err(|source| ListenError { address: serve.listen, source })?;
        let means = Means { access, observer, memory: Memory::new(serve.max_memory) };
        let desk = Arc::new(Desk {
            formats: Formats::all(),
            ledger: opened.ledger.path().to_owned(),
            routes: Routes::new(opened.routes),
            fetch,
            means: Arc::new(means),
            flights: Flights::new(),
            max_pixels: serve.max_pixels,
        });
        let (stop, stopped) = watch::channel(false);
        let options = front::Options { tls, max_connections: serve.max_connections };
        let (tls, shared) = (options.tls.is_some(), Arc::clone(&desk));
        let mut server = JoinSet::new();
        server.spawn(front::serve(listener, options, stopped, move |request, connection| {
            Arc::clone(&shared).handle(request, connection)
        }));
        Ok(Self { address, tls, desk, stop, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address for clients, without a slash at the end.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// Its routes, the narrowest first.
    pub fn routes(&self) -> Arc<[Arc<Route>]> {
        self.desk.routes.all()
    }

    /// How many certificates are being made.
    pub fn in_flight(&self) -> usize {
        self.desk.flights.len()
    }

    /// Takes no more connections and sends nothing more. What is out comes back and is recorded; requests that wait are told
    /// to come again.
    pub async fn stop(mut self) {
        self.desk.flights.stop_all();
        self.stop.send_replace(true);
        while self.server.join_next().await.is_some() {}
        while self.in_flight() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}
