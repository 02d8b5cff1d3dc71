//! One accepted connection.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A handle to the connection that a request came on. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Connection {
    peer: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    cut: AtomicBool,
    opened: Instant,
    /// Milliseconds from `opened` to the last byte.
    moved: AtomicU64,
    /// Requests that are being answered.
    busy: AtomicUsize,
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Busy(Arc<Shared>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.touch();
        self.0.busy.fetch_sub(1, Ordering::Release);
    }
}

impl Shared {
    fn touch(&self) {
        self.moved.store(self.opened.elapsed().as_millis() as u64, Ordering::Relaxed);
    }
}

impl Connection {
    pub(super) fn new(peer: SocketAddr) -> Self {
        let shared = Shared {
            cut: AtomicBool::new(false),
            opened: Instant::now(),
            moved: AtomicU64::new(0),
            busy: AtomicUsize::new(0),
        };
        Self { peer, shared: Arc::new(shared) }
    }

    /// A request begins to be answered; it ends when this is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.shared.busy.fetch_add(1, Ordering::Acquire);
        Busy(Arc::clone(&self.shared))
    }

    /// Ends when for `longest` no byte has moved and no request was being answered.
    pub(super) fn idle(&self, longest: Duration) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        async move {
            loop {
                let since = Duration::from_millis(shared.moved.load(Ordering::Relaxed));
                let idle = shared.opened.elapsed().saturating_sub(since);
                let busy = shared.busy.load(Ordering::Acquire) > 0;
                if !busy && idle >= longest {
                    return;
                }
                let wait = if busy { longest } else { longest.saturating_sub(idle) };
                tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
            }
        }
    }

    /// Who called.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Ends the connection with a reset instead of an orderly close, as soon as its current request ends. Nothing more
    /// is written. On HTTP/2 the other requests of the connection end with it.
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::SeqCst);
    }

    fn is_cut(&self) -> bool {
        self.shared.cut.load(Ordering::SeqCst)
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

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(bytes)) if bytes > 0) {
            self.connection.shared.touch();
        }
        written
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
        let before = buf.filled().len();
        let read = match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Inner::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if buf.filled().len() > before {
            self.connection.shared.touch();
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.connection.is_cut() {
            return Poll::Ready(Err(Self::reset()));
        }
        let written = match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Inner::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        self.wrote(written)
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
        let written = match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Inner::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        self.wrote(written)
    }
}
