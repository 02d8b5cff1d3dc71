//! A server that answers in the formats of the public vision APIs with labels that are certified.
//!
//! A client changes its endpoint and nothing else. Every picture of its requests becomes a certificate, made with the policy
//! of a route, and the reply holds the labels that were certified and no others. What it costs is on record in the ledger
//! before it is sent, under the hash of the picture's file: a request that was broken off, by the client or with this
//! process, is gone on with when it comes again, and identical requests at the same time share one certificate.
//!
//! | seam | decides | by default |
//! |---|---|---|
//! | [`access::Access`] | who may ask, and what each may spend | [`access::Open`]: programs on this machine, as one caller |
//! | [`fetch::Fetch`] | how pictures are got that a request only names | [`fetch::Refused`]: not at all |
//! | [`observer::Observer`] | what becomes of what is seen | [`observer::Unobserved`]: nothing but counts |

pub mod access;
mod certificate;
mod certificates;
mod desk;
pub mod fetch;
mod flights;
mod gate;
mod health;
mod log;
mod memory;
mod metrics;
pub mod observer;
mod open;
mod openapi;
mod own;
mod promise;
mod refusals;
mod reply;
mod route;
mod watched;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use certificate::Evidence;
pub use certificates::{CertificateId, CertificateIdError};
pub use gate::Queue;
pub use log::Log;
pub use open::{OpenError, Opened, Opener};
pub use openapi::openapi;
pub use route::{Route, Upstream};

use crate::config::ServeSettings;
use crate::front::{self, Formats};
use crate::ledger::LedgerError;
use access::Access;
use certificate::Means;
use desk::Desk;
use fetch::Fetch;
use flights::Flights;
use health::Doctor;
use memory::Memory;
use metrics::Metrics;
use observer::{Both, Observer};
use own::{Door, State};
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

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ListenError> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map_err(|source| ListenError { address, source })
}

/// Most time for replies that are written already to reach their clients, once nothing else is waited for.
const FLUSH: Duration = Duration::from_secs(2);
/// How often it is looked whether work has ended.
const TICK: Duration = Duration::from_millis(10);
/// Most connections of the operator's at once.
const ADMIN_CONNECTIONS: usize = 64;

/// A running proxy. Dropping it closes its port and its connections at once.
pub struct Proxy {
    address: SocketAddr,
    admin: Option<SocketAddr>,
    serve: ServeSettings,
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
        let (listener, address) = listen(serve.listen).await?;
        let admin = match serve.admin {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let metrics = Arc::new(Metrics::new());
        let observer: Arc<dyn Observer> = Arc::new(Both(Arc::clone(&metrics), observer));
        let means = Means { access, observer, memory: Memory::new(serve.max_memory) };
        let desk = Arc::new(Desk {
            formats: Formats::all(),
            ledger: opened.ledger.path().to_owned(),
            routes: Routes::new(opened.routes),
            fetch,
            means: Arc::new(means),
            flights: Flights::new(),
            max_pixels: serve.max_pixels,
            state: State {
                metrics,
                doctor: Doctor::new(opened.ledger),
                stopping: AtomicBool::new(false),
                open: AtomicUsize::new(0),
            },
            body: serve.guard.body,
        });
        let (stop, stopped) = watch::channel(false);
        let limits = serve.guard.connection;
        let mut server = JoinSet::new();
        let mut open = |listener, options, door| {
            let desk = Arc::clone(&desk);
            server.spawn(front::serve(listener, options, stopped.clone(), move |request, connection| {
                Arc::clone(&desk).handle(request, connection, door)
            }));
        };
        let grace = serve.finish + serve.settle + FLUSH;
        let encrypted = tls.is_some();
        let trusted = admin.is_none() && address.ip().is_loopback();
        let options = front::Options { tls, max_connections: serve.max_connections, grace, limits };
        open(listener, options, Door { serves: true, trusted });
        let admin = admin.map(|(listener, address)| {
            let options = front::Options { tls: None, max_connections: ADMIN_CONNECTIONS, grace, limits };
            open(listener, options, Door { serves: false, trusted: true });
            address
        });
        Ok(Self { address, admin, serve, tls: encrypted, desk, stop, server })
    }

    /// Where the operator asks for counts and reasons, where that is a port of its own.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
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

    /// Answers requests that come from now on by these routes. Requests in flight end as they began.
    pub fn replace(&self, routes: Vec<Route>) {
        self.desk.routes.replace(routes);
    }

    /// Says in the counts whether the last attempt to load the configuration anew succeeded.
    pub fn reloaded(&self, well: bool) {
        self.desk.state.metrics.reloaded(well);
    }

    /// Ends in phases: says that it is not ready for [`drain`](ServeSettings::drain), takes no more connections and lets
    /// requests end for [`finish`](ServeSettings::finish), then sends nothing more and waits for what is out for
    /// [`settle`](ServeSettings::settle), telling requests that wait to come again. What is out after that is on record as
    /// perhaps billed. When it returns all records are on the disk.
    ///
    /// # Errors
    /// The first failure of the ledger.
    pub async fn stop(mut self) -> Result<Stopped, LedgerError> {
        let state = &self.desk.state;
        state.stopping.store(true, SeqCst);
        tokio::time::sleep(self.serve.drain).await;
        self.stop.send_replace(true);
        until(self.serve.finish, || state.open.load(SeqCst) == 0).await;
        let desk = &self.desk;
        let settled = || {
            // Also what has begun a moment ago.
            desk.flights.stop_all();
            state.open.load(SeqCst) == 0 && desk.flights.len() == 0
        };
        until(self.serve.settle, settled).await;
        let left = self.in_flight();
        if left == 0 {
            // Their last words to the ledger included.
            desk.flights.ended().await;
        }
        let server = &mut self.server;
        let flushed = async { while server.join_next().await.is_some() {} };
        // Whoever does not read his reply is not waited for.
        let _ = tokio::time::timeout(FLUSH, flushed).await;
        let mut ended = Ok(Stopped { left });
        for route in self.desk.routes.all().iter() {
            if let Err(error) = route.run.clone().finish(false).await {
                ended = ended.and(Err(error));
            }
        }
        ended
    }
}

/// How a proxy has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Certificates whose calls had not come back.
    pub left: usize,
}

/// Waits until `done`, or for `longest`.
async fn until(longest: Duration, done: impl Fn() -> bool) {
    let waited = async {
        while !done() {
            tokio::time::sleep(TICK).await;
        }
    };
    let _ = tokio::time::timeout(longest, waited).await;
}
