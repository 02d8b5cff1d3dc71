//! The body of a reply, which may be made to misbehave.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// Pieces of a body that drips.
const PIECES: usize = 10;

/// A body.
pub(super) struct Reply {
    left: Bytes,
    manner: Manner,
}

enum Manner {
    Whole,
    /// Half of what was announced, then the end of the connection. True once the half was given.
    Cut(bool),
    /// Piece by piece.
    Drip {
        piece: usize,
        pause: Duration,
        sleep: Pin<Box<Sleep>>,
    },
}

/// The end of a body that was announced to be longer.
#[derive(Debug, thiserror::Error)]
#[error("cut off on purpose")]
pub(super) struct Cut;

impl Reply {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self { left: bytes, manner: Manner::Whole }
    }

    pub(super) fn cut(bytes: Bytes) -> Self {
        Self { left: bytes, manner: Manner::Cut(false) }
    }

    pub(super) fn drip(bytes: Bytes, pause: Duration) -> Self {
        let piece = bytes.len().div_ceil(PIECES).max(1);
        let sleep = Box::pin(tokio::time::sleep(pause));
        Self { left: bytes, manner: Manner::Drip { piece, pause, sleep } }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let Self { left, manner } = &mut *self;
        match manner {
            Manner::Cut(true) => Poll::Ready(Some(Err(Cut))),
            Manner::Cut(given) => {
                *given = true;
                let half = left.split_to(left.len() / 2);
                Poll::Ready(Some(Ok(Frame::data(half))))
            }
            _ if left.is_empty() => Poll::Ready(None),
            Manner::Whole => Poll::Ready(Some(Ok(Frame::data(std::mem::take(left))))),
            Manner::Drip { piece, pause, sleep } => {
                std::task::ready!(sleep.as_mut().poll(cx));
                sleep.as_mut().reset(tokio::time::Instant::now() + *pause);
                let piece = left.split_to((*piece).min(left.len()));
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && !matches!(self.manner, Manner::Cut(_))
    }

    /// What is announced, also where less comes.
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn each_manner() {
        let text = Bytes::from_static(b"0123456789abcdef");
        let whole = Reply::whole(text.clone()).collect().await.unwrap().to_bytes();
        let drip = Reply::drip(text.clone(), Duration::from_millis(1));
        assert_eq!(drip.size_hint().exact(), Some(16));
        assert_eq!((whole, drip.collect().await.unwrap().to_bytes()), (text.clone(), text.clone()));
        let mut cut = Reply::cut(text);
        assert_eq!(cut.size_hint().exact(), Some(16));
        assert_eq!(cut.frame().await.unwrap().unwrap().into_data().unwrap(), &b"01234567"[..]);
        assert!(cut.frame().await.unwrap().is_err());
        for empty in [Reply::whole(Bytes::new()), Reply::drip(Bytes::new(), Duration::ZERO)] {
            assert!(empty.is_end_stream() && empty.collect().await.unwrap().to_bytes().is_empty());
        }
    }
}
