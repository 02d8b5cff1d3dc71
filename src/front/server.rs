//! The loop that accepts connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::connection::{Connection, Wire};
use super::peers::Peers;

/// [`Options::grace`] where nothing else is said, and most time to write what is left for a connection that ends.
const GRACE: Duration = Duration::from_secs(2);

/// How a server listens.
#[derive(Clone, Debug)]
pub struct Options {
    /// TLS, where wanted. See [`Tls`](super::Tls).
    pub tls: Option<Arc<ServerConfig>>,
    /// Most connections at once. Others wait to be accepted.
    pub max_connections: usize,
    /// Most time that connections get to end once the server is told to stop.
    pub grace: Duration,
    /// What a connection may take.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self { tls: None, max_connections: 1024, grace: GRACE, limits: Limits::default() }
    }
}

/// What one connection may take before a request of it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most connections at once of one peer: an address, or a /64 network of IPv6. More are closed as they come.
    pub per_peer: usize,
    /// Most time for a TLS handshake, and for the head of a request (HTTP/1.1).
    pub head_time: Duration,
    /// Most time without a byte in either direction while no request is being answered. Ends connections that say
    /// nothing, those that wait for another request, and those whose client does not read its reply.
    pub idle_time: Duration,
    /// Most header fields of a request (HTTP/1.1). More get a 431.
    pub headers: usize,
    /// Most bytes of a request's head. At least 8192. More get a 431 (HTTP/1.1), or the stream ends (HTTP/2).
    pub head_bytes: u32,
    /// Most requests at once on a connection (HTTP/2).
    pub streams: u32,
}

impl Default for Limits {
    /// 256 connections, 30 seconds, 60 seconds, 100 fields, 64 KiB, 256 requests.
    fn default() -> Self {
        Self {
            per_peer: 256,
            head_time: Duration::from_secs(30),
            idle_time: Duration::from_mins(1),
            headers: 100,
            head_bytes: 64 << 10,
            streams: 256,
        }
    }
}

/// Accepts connections and hands their requests to `handle`, until `stop` says true (or its sender is gone). Then
/// connections get [`Options::grace`] to end, and are closed. Dropping the future closes everything at once.
///
/// An error of `handle` closes the request's connection without a reply (HTTP/1.1) or resets its stream (HTTP/2).
pub async fn serve<H, F, B, E>(
    listener: TcpListener,
    options: Options,
    mut stop: watch::Receiver<bool>,
    handle: H,
) where
    H: Fn(Request<Incoming>, Connection) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>, Data: Send> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
{
    let permits = Arc::new(Semaphore::new(options.max_connections.max(1)));
    let acceptor = options.tls.map(TlsAcceptor::from);
    let (limits, grace) = (options.limits, options.grace);
    let peers = Peers::new(limits.per_peer.max(1));
    let mut open = JoinSet::new();
    loop {
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (stream, permit) = tokio::select! {
            accepted = accepted => accepted,
            Some(_) = open.join_next() => continue,
            () = stopped(&mut stop) => break,
        };
        let Ok((stream, peer)) = stream else {
            // Out of file handles, or a connection that ended before it was accepted: others may still come.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let Some(seat) = peers.enter(peer.ip()) else {
            tracing::debug!(most = limits.per_peer, "a peer has too many connections");
            continue;
        };
        let connection = Connection::new(peer);
        let (acceptor, handle, stop) = (acceptor.clone(), handle.clone(), stop.clone());
        open.spawn(async move {
            let _places = (permit, seat);
            match wire(stream, acceptor, &connection, limits.head_time).await {
                Ok(wire) => talk(wire, connection, limits, stop, handle).await,
                Err(error) => tracing::debug!(%error, "no connection came about"),
            }
        });
    }
    drop(listener);
    let ended = async { while open.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(grace, ended).await;
}

/// Waits until the server is told to stop, or nobody is left to tell it.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn wire(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    connection: &Connection,
    head_time: Duration,
) -> io::Result<Wire> {
    stream.set_nodelay(true)?;
    match acceptor {
        None => Ok(Wire::plain(stream, connection.clone())),
        Some(acceptor) => {
            let stream = tokio::time::timeout(head_time, acceptor.accept(stream)).await??;
            Ok(Wire::tls(stream, connection.clone()))
        }
    }
}

async fn talk<H, F, B, E>(
    wire: Wire,
    connection: Connection,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
    handle: H,
) where
    H: Fn(Request<Incoming>, Connection) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>, Data: Send> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let head_bytes = limits.head_bytes.max(8192);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_headers(limits.headers)
        .max_buf_size(head_bytes as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(head_bytes);
    let idle = connection.idle(limits.idle_time);
    let service = service_fn(move |request| {
        let busy = connection.busy();
        let answer = handle(request, connection.clone());
        async move {
            let answer = answer.await;
            drop(busy);
            answer
        }
    });
    let talk = builder.serve_connection(TokioIo::new(wire), service);
    tokio::pin!(talk, idle);
    let ended = tokio::select! {
        ended = talk.as_mut() => ended,
        () = stopped(&mut stop) => {
            talk.as_mut().graceful_shutdown();
            talk.await
        }
        () = idle => {
            talk.as_mut().graceful_shutdown();
            // One that does not read what is left for it is not waited for.
            match tokio::time::timeout(GRACE, talk).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}
