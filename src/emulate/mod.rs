//! A server that stands in for the public vision APIs, with faults on purpose.
//!
//! It speaks eight wire formats in front of a classifier in this process, checks credentials, limits and formats as the
//! real APIs do, and answers what they would answer, errors in their own shape included. A [`Plan`] makes it throttle,
//! fail, break off, drip, repeat itself or change its model, by chance from a seed or by the number of the call. It
//! counts everything: [`Emulator::stats`], and `GET /__emulator/stats`.
//!
//! For dry runs without a key or a bill, and for tests. It is no model of the real APIs' answers or quotas.
//!
//! ```
//! use std::sync::Arc;
//! use smoothgate::emulate::{Emulator, Settings};
//! use smoothgate::providers::local::Backend;
//! use smoothgate::providers::{Answer, EncodedPicture, Outcome};
//!
//! struct Dog;
//! impl Backend for Dog {
//!     fn answer(&self, _: &EncodedPicture) -> Outcome {
//!         Outcome::Answered(Answer::of([("dog", 0.9)]))
//!     }
//! }
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let emulator = Emulator::start(Settings::default(), Arc::new(Dog)).await?;
//! println!("point a client at {}", emulator.url());
//! let stats = emulator.stop().await;
//! assert_eq!(stats.total.calls, 0);
//! # Ok(()) }
//! ```

mod answers;
mod body;
mod desk;
mod fault;
mod forms;
mod keys;
mod plan;
mod stats;

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use smoothgate_providers::local::Backend;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use desk::{Line, Log};
pub use fault::{Fault, Kind};
pub use keys::{DEFAULT_AWS_ID, DEFAULT_KEY, Keys};
pub use plan::{Chance, Latency, Plan, PlanError, Rate, Scripted, Span, Verdict};
pub use stats::{ApiCounts, Counts, FaultCounts, Stats};

use crate::front::{self, Formats};
use desk::Desk;
use stats::Tally;

/// How an emulator is set up.
pub struct Settings {
    /// Where it listens. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// The formats that it speaks. Empty means all.
    pub apis: Vec<String>,
    /// The credentials that it takes.
    pub keys: Keys,
    /// What goes wrong, and how long things take.
    pub plan: Plan,
    /// What answers questions of moderation. Without it such answers are empty: no category, no level.
    pub moderation: Option<Arc<dyn Backend>>,
    /// TLS, where wanted.
    pub tls: Option<Arc<ServerConfig>>,
    /// Gets a line for every request.
    pub log: Option<Log>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("listen", &self.listen)
            .field("apis", &self.apis)
            .field("plan", &self.plan)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl Default for Settings {
    /// Any free port of 127.0.0.1, all formats, [`DEFAULT_KEY`], no faults, no TLS, no log.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            apis: vec![],
            keys: Keys::default(),
            plan: Plan::default(),
            moderation: None,
            tls: None,
            log: None,
        }
    }
}

/// Why an emulator did not start. The user's to mend.
#[derive(Debug, thiserror::Error)]
pub enum EmulateError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}. Choose another with --listen; port 0 takes any free one")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// No such format.
    #[error("no API is called `{name}`: there are {known}")]
    Api {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The plan cannot work.
    #[error("the fault plan: {0}")]
    Plan(#[from] PlanError),
}

/// A running emulator. Dropping it closes its port and its connections at once.
pub struct Emulator {
    address: SocketAddr,
    tls: bool,
    desk: Arc<Desk>,
    stop: watch::Sender<bool>,
    server: JoinSet<()>,
}

impl std::fmt::Debug for Emulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Emulator").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Emulator {
    /// Starts to listen, with `backend` as the classifier behind every format.
    ///
    /// # Errors
    /// [`EmulateError`].
    pub async fn start(settings: Settings, backend: Arc<dyn Backend>) -> Result<Self, EmulateError> {
        let Settings { listen, apis, keys, plan, moderation, tls, log } = settings;
        plan.check()?;
        let formats = if apis.is_empty() { Ok(Formats::all()) } else { Formats::of(&apis) };
        let formats = formats.map_err(|name| EmulateError::Api {
            name,
            known: Formats::all().names().collect::<Vec<_>>().join(", "),
        })?;
        let bound = async {
            let listener = TcpListener::bind(listen).await?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) =
            bound.await.map_err(|source| EmulateError::Listen { address: listen, source })?;
        let desk = Arc::new(Desk { formats, keys, plan, backend, moderation, tally: Tally::new(), log });
        let (stop, stopped) = watch::channel(false);
        // Whoever tries out a load comes from one address.
        let limits = front::Limits { per_peer: usize::MAX, ..front::Limits::default() };
        let options = front::Options { tls, limits, ..front::Options::default() };
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

    /// What it has seen so far.
    pub fn stats(&self) -> Stats {
        self.desk.tally.stats()
    }

    /// Counts from nothing again; the next call is number 1 of the plan.
    pub fn reset(&self) {
        self.desk.tally.reset();
    }

    /// Takes no more connections, gives those that are open two seconds to end, and returns the counts.
    pub async fn stop(mut self) -> Stats {
        self.stop.send_replace(true);
        while self.server.join_next().await.is_some() {}
        self.stats()
    }
}
