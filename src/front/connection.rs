//! One accepted connection.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A handle to the connection that a request came on. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Connection {
    peer: SocketAddr,
    cut: Arc<AtomicBool>,
}

impl Connection {
    pub(super) fn new(peer: SocketAddr) -> Self {
        Self { peer, cut: Arc::new(AtomicBool::new(false)) }
    }

    /// Who called.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Ends the connection with a reset instead of an orderly close, as soon as its current request ends. Nothing more
    /// is written. On HTTP/2 the other requests of the connection end with it.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }
}

/// The bytes of a connection.
pub(super) struct Wire {
    inner: Inner,
    connection: Connection,
}

enum Inner {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    pub(super) fn plain(stream: TcpStream, connection: Connection) -> Self {
        Self { inner: Inner::Plain(stream), connection }
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>, connection: Connection) -> Self {
        Self { inner: Inner::Tls(Box::new(stream)), connection }
    }

    fn reset() -> io::Error {
        io::Error::new(io::ErrorKind::ConnectionReset, "the connection was cut on purpose")
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.connection.is_cut() {
            let stream = match &self.inner {
                Inner::Plain(stream) => stream,
                Inner::Tls(stream) => stream.get_ref().0,
            };
            // Closing with nothing left to wait for is what makes it a reset. If it fails, the close is orderly.
            let _ = stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Inner::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.connection.is_cut() {
            return Poll::Ready(Err(Self::reset()));
        }
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Inner::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.is_cut() {
            return Poll::Ready(Err(Self::reset()));
        }
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.is_cut() {
            // An orderly end would go out before the reset.
            return Poll::Ready(Ok(()));
        }
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.inner {
            Inner::Plain(stream) => stream.is_write_vectored(),
            Inner::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.connection.is_cut() {
            return Poll::Ready(Err(Self::reset()));
        }
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Inner::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }
}
