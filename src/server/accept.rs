//! Letting connections in, on both listeners.
//!
//! What is accepted is a plain socket that no event loop watches: one that joins at once is watched only
//! where members are.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Shared;
use super::connection::CountsPanics;
use crate::http::serve_operations;
use crate::metrics::{Count, Metrics};

/// A listening socket, watched by the event loop in which it was made.
pub(super) struct Listener(AsyncFd<TcpListener>);

impl Listener {
    /// Watches a socket that is listening and does not block.
    #[expect(
        deprecated,
        reason = "what is to replace it needs unsafe code, for types whose descriptor changes"
    )]
    pub(super) fn new(socket: TcpListener) -> io::Result<Self> {
        AsyncFd::new(socket).map(Self)
    }

    /// The socket itself.
    pub(super) fn socket(&self) -> &TcpListener {
        self.0.get_ref()
    }

    /// The next connection.
    pub(super) async fn accept(&self, metrics: &Metrics) -> (TcpStream, SocketAddr) {
        loop {
            match self.0.async_io(Interest::READABLE, take).await {
                Ok(accepted) => return accepted,
                Err(error) => failed(&error, metrics).await,
            }
        }
    }
}

/// Counts an error. Running out of descriptors would fail again at once, so it waits for some to come free.
async fn failed(error: &io::Error, metrics: &Metrics) {
    metrics.add(Count::AcceptErrors, 1);
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// Takes a connection that does not block, with one system call.
#[cfg(target_os = "linux")]
fn take(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    use rustix::net::{SocketFlags, acceptfrom_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (socket, peer) = acceptfrom_with(listener, flags)?;
    let peer = peer.map(SocketAddr::try_from).transpose()?;
    Ok((socket.into(), peer.ok_or(io::ErrorKind::NotConnected)?))
}

/// Elsewhere it takes two.
#[cfg(not(target_os = "linux"))]
fn take(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept()?;
    stream.set_nonblocking(true)?;
    Ok((stream, peer))
}

/// Lets connections in on the public listener. Dropping it where it waits loses none: until it takes them
/// they are the listener's.
pub(super) async fn accept_public(shared: Arc<Shared>, Listener(listener): Listener) {
    let metrics = &shared.app.metrics;
    let at_once = if shared.members.is_some() { AT_ONCE_AT_THE_DOOR } else { AT_ONCE };
    loop {
        if let Err(error) = listener.readable().await {
            failed(&error, metrics).await;
        }
        // A flood of connections would otherwise stand in line before everybody else, and what they
        // have to say comes a moment after them.
        tokio::task::yield_now().await;
        for _ in 0..at_once {
            match listener.try_io(Interest::READABLE, take) {
                Ok((stream, peer)) => shared.receive(stream, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => failed(&error, metrics).await,
            }
        }
    }
}

/// Lets connections in on the operations listener.
pub(super) async fn accept_operations(shared: Arc<Shared>, listener: Listener) {
    loop {
        let (stream, _) = listener.accept(&shared.app.metrics).await;
        let Ok(permit) = Arc::clone(&shared.operators).try_acquire_owned() else { continue };
        let Some(stream) = shared.watched(stream) else { continue };
        let app = Arc::clone(&shared.app);
        shared.tracker.spawn(async move {
            let panics = CountsPanics(app);
            serve_operations(&panics.0, stream).await;
            drop(permit);
        });
    }
}

/// Connections that are let in before others have their turn, where others may be members.
const AT_ONCE: usize = 4;

/// The same where they are not.
const AT_ONCE_AT_THE_DOOR: usize = 16;

/// How long to wait for descriptors to come free: long enough not to spin, short enough to go
/// unnoticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
