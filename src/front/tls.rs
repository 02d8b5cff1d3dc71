//! TLS with a certificate that may change while the server runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::Watched;

/// A certificate or key that cannot be used. The user's to mend.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be used for TLS: {problem}. Give PEM files: a certificate chain and its key", path.display())]
pub struct TlsError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

/// TLS from two files. When they change, handshakes from then on get the new certificate; open connections keep theirs.
/// Where the changed files cannot be used, the former certificate stays, and an error is logged.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ServerConfig>,
    live: Arc<Live>,
}

#[derive(Debug)]
struct Live {
    certificate: PathBuf,
    key: PathBuf,
    crypto: Arc<CryptoProvider>,
    watched: Watched,
    now: RwLock<Arc<CertifiedKey>>,
}

impl Tls {
    /// TLS with a certificate chain and a key, both PEM. Offers HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it. The key itself is never repeated.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let crypto = Arc::new(rustls::crypto::ring::default_provider());
        let watched = Watched::new([certificate.to_owned(), key.to_owned()]);
        let pair = read(certificate, key, &crypto)?;
        let live = Arc::new(Live {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            crypto: Arc::clone(&crypto),
            watched,
            now: RwLock::new(Arc::new(pair)),
        });
        let mut config = ServerConfig::builder_with_provider(crypto)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError { path: certificate.to_owned(), problem: error.to_string() })?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&live) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), live })
    }

    /// What a server listens with.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Reads the files again at once; for a signal.
    ///
    /// # Errors
    /// [`TlsError`]; the former certificate stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.live.reload()
    }
}

impl Live {
    fn reload(&self) -> Result<(), TlsError> {
        self.watched.settle();
        let read = read(&self.certificate, &self.key, &self.crypto);
        let pair = read.inspect_err(|_| self.watched.unsettle())?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
        Ok(())
    }
}

impl ResolvesServerCert for Live {
    /// Looks at the files first, once a second at most. Two small files are read so rarely that a handshake can wait.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if self.watched.changed() {
            match self.reload() {
                Ok(()) => tracing::info!(file = %self.certificate.display(), "TLS has a new certificate"),
                // Often for a moment only: the certificate was replaced and the key is about to be.
                Err(error) => tracing::error!(%error, "the former TLS certificate stays in use"),
            }
        }
        Some(Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn read(certificate: &Path, key: &Path, crypto: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let bad = |path: &Path, problem: String| TlsError { path: path.to_owned(), problem };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
        .map_err(|error| bad(certificate, error.to_string()))?
        .collect();
    let chain = chain.map_err(|error| bad(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(bad(certificate, "it holds no certificate".to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, error.to_string()))?;
    // Also checks that they belong together.
    CertifiedKey::from_der(chain, secret, crypto)
        .map_err(|error| bad(certificate, format!("it does not go with {}: {error}", key.display())))
}

/// TLS with a certificate chain and a key, both PEM. Offers HTTP/2 and HTTP/1.1. See [`Tls`].
///
/// # Errors
/// [`TlsError`].
pub fn tls(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    Tls::open(certificate, key).map(|tls| tls.config())
}
