//! The sockets that connections come to: opened here or passed in, and how a process that is about to
//! stop leaves them to the one that follows.
//!
//! What was passed in stays open with whoever passed it: the old process stops taking from the common
//! queue, and what is in the queue waits for the new one. With `REUSE_PORT` each process has a queue of
//! its own, which the kernel resets when it is closed. So the old one first lets no connection begin
//! (its SYN is not heard, and is sent again a second later, to the other one), and takes what had
//! begun before. In both ways what was taken has the time to say what it wants before the drain
//! begins. Whose sockets are nobody else's keeps them until the end, to say that it drains.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::config::Config;
use crate::http::App;
use crate::server::accept::Listener;
use crate::server::supervisor::{Passed, until_ready};

/// The sockets of a relay.
pub(super) struct Listeners {
    pub(super) members: Listener,
    pub(super) operations: Option<Listener>,
    pub(super) hand_over: HandOver,
}

impl Listeners {
    /// Takes what was passed, and opens what was not.
    pub(super) fn open(config: &Config, passed: Passed, operators_max: u32) -> io::Result<Self> {
        let server = &config.server;
        let hand_over = match (&passed.members, server.reuse_port) {
            (Some(_), _) => HandOver::Passed,
            (None, true) => HandOver::Beside(Vec::new()),
            (None, false) => HandOver::Never,
        };
        let open = |passed: Option<TcpListener>, address, backlog| match passed {
            Some(passed) => adopt(passed, backlog),
            None => listen(address, backlog, server.reuse_port),
        };
        let members = open(passed.members, server.listen(), server.listen_backlog)?;
        outlast(&members, config.limit.user_timeout())?;
        wait_for_words(&members, server.defer_accept_s)?;
        let operations = match (passed.operations, server.ops_listen) {
            (None, None) => None,
            (Some(passed), _) => Some(adopt(passed, operators_max)?),
            (None, Some(address)) => Some(listen(address, operators_max, server.reuse_port)?),
        };
        let hand_over = hand_over.of([Some(&members), operations.as_ref()])?;
        let operations = operations.map(Listener::new).transpose()?;
        Ok(Self { members: Listener::new(members)?, operations, hand_over })
    }
}

/// How a process leaves its sockets to the one that follows.
pub(super) enum HandOver {
    /// They are nobody else's.
    Never,
    /// Whoever passed them keeps them open.
    Passed,
    /// The other has its own, on the same ports. These are ours, once more.
    Beside(Vec<OwnedFd>),
}

impl HandOver {
    fn of(self, sockets: [Option<&TcpListener>; 2]) -> io::Result<Self> {
        let Self::Beside(_) = self else { return Ok(self) };
        let copies =
            sockets.into_iter().flatten().map(|socket| socket.as_fd().try_clone_to_owned());
        copies.collect::<io::Result<_>>().map(Self::Beside)
    }

    /// Lets connections in, once they may become members: until then another process may take them.
    pub(super) fn open(
        &self,
        app: Arc<App>,
        accept: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let waits = !matches!(self, Self::Never);
        async move {
            if waits {
                until_ready(&app).await;
            }
            accept.await;
        }
    }

    /// Leaves all connections that are not here yet to the process that follows, or, where none has
    /// the same sockets, lets balancers notice that they should go elsewhere. `doors` are the tasks that
    /// accept; none is left where another process does.
    pub(super) async fn leave(self, app: &App, doors: &mut JoinSet<()>) {
        let server = &app.config.server;
        let notice = match &self {
            Self::Never => server.drain_notice(),
            Self::Passed => {
                doors.shutdown().await;
                LEAVE_TIME
            }
            Self::Beside(sockets) => {
                for socket in sockets {
                    if let Err(error) = let_none_begin(socket) {
                        warn!(%error, "connections that begin now may be reset");
                    }
                }
                LEAVE_TIME
            }
        };
        app.start_leaving();
        if app.config.feature.graceful_shutdown && !notice.is_zero() {
            info!("leaving new connections to others");
            tokio::time::sleep(notice).await;
        }
        if !matches!(self, Self::Never) {
            drop(self);
            doors.shutdown().await;
        }
    }
}

/// A socket that was passed in, as if it had been opened here.
fn adopt(passed: TcpListener, backlog: u32) -> io::Result<TcpListener> {
    passed.set_nonblocking(true)?;
    let socket = SockRef::from(&passed);
    socket.set_tcp_nodelay(true)?;
    // Again, for the backlog; it also fails for a socket that cannot listen.
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(passed)
}

/// Binds and listens; a port that was in use a moment ago can be used again.
fn listen(address: SocketAddr, backlog: u32, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(reuse_port)?;
    // Messages are small and somebody waits for them. The accepted sockets inherit it.
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    socket.listen(backlog)?.into_std()
}

/// Limits how long the kernel keeps a connection whose peer acknowledges nothing or keeps its window
/// closed. Accepted sockets inherit it, also those that are closed with something unsent, which no
/// sweep of ours sees any more.
#[cfg(target_os = "linux")]
fn outlast(listener: &TcpListener, limit: Option<Duration>) -> io::Result<()> {
    SockRef::from(listener).set_tcp_user_timeout(limit)
}

/// Other systems have no such option; their own limits apply.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "setting the option can fail, where there is one")]
fn outlast(_listener: &TcpListener, _limit: Option<Duration>) -> io::Result<()> {
    Ok(())
}

/// Has the kernel keep a connection for as long as its client says nothing, and for so many seconds at most:
/// what is accepted has something to read. Always set, because a socket that was passed in may have it.
#[cfg(target_os = "linux")]
fn wait_for_words(listener: &TcpListener, seconds: u32) -> io::Result<()> {
    let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
    Ok(nix::sys::socket::setsockopt(listener, option::DeferAccept, &seconds)?)
}

/// Elsewhere a connection is accepted before its client has said anything.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "setting the option can fail, where there is one")]
fn wait_for_words(_listener: &TcpListener, _seconds: u32) -> io::Result<()> {
    Ok(())
}

/// Makes a listening socket deaf to SYN segments, and to nothing else: handshakes that have begun go on,
/// and so do the connections, which inherit it. A client that is not heard tries again after a second
/// (RFC 6298, section 2), and finds this socket closed and the other one open.
#[cfg(target_os = "linux")]
fn let_none_begin(socket: &OwnedFd) -> io::Result<()> {
    use socket2::SockFilter;
    // Codes of the kernel's classic filters; what they look at begins with the TCP header.
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    // RFC 9293, section 3.1.
    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    SockRef::from(socket).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_AT),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

/// Elsewhere the socket that was bound last takes all new connections, or nothing can be done.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail, where there is such a filter")]
fn let_none_begin(_socket: &OwnedFd) -> io::Result<()> {
    Ok(())
}

/// How long connections that have begun may take until they are here and have said what they want:
/// several round trips, and well below the second after which a client sends its SYN again.
const LEAVE_TIME: Duration = Duration::from_millis(700);

/// What the other libraries have no call for. The unsafe call is the macro's: it passes an integer.
#[cfg(target_os = "linux")]
mod option {
    use nix::libc::{self, IPPROTO_TCP, TCP_DEFER_ACCEPT, c_int};
    use nix::{setsockopt_impl, sockopt_impl};

    sockopt_impl!(
        /// Seconds that a connection may be silent until it is accepted: tcp(7).
        DeferAccept,
        SetOnly,
        IPPROTO_TCP,
        TCP_DEFER_ACCEPT,
        c_int
    );
}
