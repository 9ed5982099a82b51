//! The socket as the HTTP library has it: everything passes, until the answer that upgrades.
//!
//! That one is kept back, so that it goes out in one write with what the connection says first. The
//! library takes it for written, and gives the socket back.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::body::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::admission::addresses::AddressGuard;
use crate::core::close::Close;
use crate::hub::Reservation;

/// A handshake's second half: who may speak on the connection, or why it is closed at once.
pub(super) struct Admitted {
    pub(super) reservation: Result<Reservation, Close>,
    pub(super) address: Option<AddressGuard>,
}

/// Holds the outcome of a handshake, once there is one.
#[derive(Default)]
pub(super) struct Latch(Mutex<Option<Admitted>>);

impl Latch {
    /// From now on nothing is written any more: the next answer is the 101.
    pub(super) fn close(&self, admitted: Admitted) {
        *self.lock() = Some(admitted);
    }

    /// The outcome, if there is one.
    pub(super) fn take(&self) -> Option<Admitted> {
        self.lock().take()
    }

    fn is_closed(&self) -> bool {
        self.lock().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Admitted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a welcome to a small room takes; it only saves growing.
pub(super) const WELCOME_BYTES: usize = 512;

/// A socket whose writes are kept back behind a closed latch.
pub(super) struct Gate {
    socket: TokioIo<TcpStream>,
    latch: Arc<Latch>,
    /// What was read before the library was asked.
    begun: Bytes,
    kept: Vec<u8>,
}

impl Gate {
    pub(super) fn new(stream: TcpStream, begun: Bytes, latch: Arc<Latch>) -> Self {
        Self { socket: TokioIo::new(stream), latch, begun, kept: Vec::new() }
    }

    /// The socket, and what was not written to it.
    pub(super) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.socket.into_inner(), self.kept)
    }

    fn socket(&mut self) -> Pin<&mut TokioIo<TcpStream>> {
        Pin::new(&mut self.socket)
    }
}

impl Read for Gate {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.begun.is_empty() {
            let count = self.begun.len().min(buffer.remaining());
            buffer.put_slice(&self.begun.split_to(count));
            return Poll::Ready(Ok(()));
        }
        self.socket().poll_read(cx, buffer)
    }
}

impl Write for Gate {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.latch.is_closed() {
            self.kept.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        self.socket().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.latch.is_closed() {
            let count = parts.iter().map(|part| part.len()).sum();
            self.kept.reserve_exact(count + WELCOME_BYTES);
            for part in parts {
                self.kept.extend_from_slice(part);
            }
            return Poll::Ready(Ok(count));
        }
        self.socket().poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_shutdown(cx)
    }
}
