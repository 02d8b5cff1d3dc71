//! The loop that accepts connections.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::connection::{Connection, Wire};

/// Most time for a TLS handshake and for the head of a request.
const HEAD_LONGEST: Duration = Duration::from_secs(30);
/// [`Options::grace`] where nothing else is said.
const GRACE: Duration = Duration::from_secs(2);

/// How a server listens.
#[derive(Clone, Debug)]
pub struct Options {
    /// TLS, where wanted. See [`tls`].
    pub tls: Option<Arc<ServerConfig>>,
    /// Most connections at once. Others wait to be accepted.
    pub max_connections: usize,
    /// Most time that connections get to end once the server is told to stop.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { tls: None, max_connections: 1024, grace: GRACE }
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
    let acceptor = options.tls.clone().map(TlsAcceptor::from);
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
        let connection = Connection::new(peer);
        let (acceptor, handle, stop) = (acceptor.clone(), handle.clone(), stop.clone());
        open.spawn(async move {
            let _permit = permit;
            match wire(stream, acceptor, &connection).await {
                Ok(wire) => talk(wire, connection, stop, handle).await,
                Err(error) => tracing::debug!(%error, "no connection came about"),
            }
        });
    }
    drop(listener);
    let ended = async { while open.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(options.grace, ended).await;
}

/// Waits until the server is told to stop, or nobody is left to tell it.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn wire(stream: TcpStream, acceptor: Option<TlsAcceptor>, connection: &Connection) -> io::Result<Wire> {
    stream.set_nodelay(true)?;
    match acceptor {
        None => Ok(Wire::plain(stream, connection.clone())),
        Some(acceptor) => {
            let stream = tokio::time::timeout(HEAD_LONGEST, acceptor.accept(stream)).await??;
            Ok(Wire::tls(stream, connection.clone()))
        }
    }
}

async fn talk<H, F, B, E>(wire: Wire, connection: Connection, mut stop: watch::Receiver<bool>, handle: H)
where
    H: Fn(Request<Incoming>, Connection) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>, Data: Send> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_LONGEST);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(256);
    let service = service_fn(move |request| handle(request, connection.clone()));
    let talk = builder.serve_connection(TokioIo::new(wire), service);
    tokio::pin!(talk);
    let ended = tokio::select! {
        ended = talk.as_mut() => ended,
        () = stopped(&mut stop) => {
            talk.as_mut().graceful_shutdown();
            talk.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

/// TLS with a certificate chain and a key, both PEM. Offers HTTP/2 and HTTP/1.1.
///
/// # Errors
/// [`TlsError`] names the file and what is wrong with it. The key itself is never repeated.
pub fn tls(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let bad = |path: &Path, problem: String| TlsError { path: path.to_owned(), problem };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
        .map_err(|error| bad(certificate, error.to_string()))?
        .collect();
    let chain = chain.map_err(|error| bad(certificate, error.to_string()))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, error.to_string()))?;
    let crypto = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(certificate, error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| bad(certificate, format!("it does not go with {}: {error}", key.display())))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A certificate or key that cannot be used. The user's to mend.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be used for TLS: {problem}. Give PEM files: a certificate chain and its key", path.display())]
pub struct TlsError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}
