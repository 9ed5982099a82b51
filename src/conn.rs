//! One connection after its upgrade: reading, metering, draining, and its one end.
//!
//! A connection is one task. In a single poll it waits for its socket to be readable, for its
//! backlog to be writable and for somebody to close its outbox; nothing but the state below lives
//! across an await, so an idle connection has no buffer (`intake`). What a peer may send is metered
//! at the socket (`meter`), below the level at which messages exist. Before a member writes what its room
//! has to say it lets others add to it (`patience`).
//!
//! It ends in one place, [`run`], for one reason, which the peer is told as one close code.

mod intake;
mod member;
mod meter;
mod patience;

use std::future::poll_fn;
use std::net::Shutdown;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::clock;
use crate::config::Config;
use crate::core::close::Close;
use crate::core::frame::{Event, Limits};
use crate::core::wire::{CLIENT_HEAD_MAX, CONTROL_BYTES_MAX, Gone};
use crate::hub::{Hub, Reservation, Session};
use crate::outbox::Outlook;
use intake::{Events, Intake, Receiver};
use member::Member;

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The relay ends it, and the peer is told so, with a hint of when to come back.
    Told(Close, Option<Duration>),
    /// The peer sent a close frame.
    PeerClosed,
    /// The socket broke, or the peer closed it without a word.
    Lost,
}

impl End {
    /// Ends it without a hint.
    const fn told(close: Close) -> Self {
        Self::Told(close, None)
    }

    /// The code that stands for it in the counters.
    const fn close(self) -> Close {
        match self {
            Self::Told(close, _) => close,
            Self::PeerClosed => Close::Left,
            Self::Lost => Close::GoingAway,
        }
    }

    /// What the other members hear.
    const fn gone(self) -> Gone {
        match self {
            Self::PeerClosed | Self::Told(Close::Left, _) => Gone::Left,
            Self::Told(..) | Self::Lost => Gone::Lost,
        }
    }
}

/// A connection whose handshake is decided.
pub struct Upgraded<S = TcpStream> {
    /// The socket.
    pub stream: S,
    /// The 101, which goes out in one write with the first thing that the peer is told.
    pub answer: Vec<u8>,
    /// What the peer sent behind its handshake.
    pub early: Bytes,
    /// Who may speak, or the code to close with at once: browsers cannot see why an upgrade failed,
    /// but they do see a close code.
    pub admitted: Result<Reservation, Close>,
}

impl<S> Upgraded<S> {
    /// The same with its socket as something else; nothing is left of it if the socket fails.
    pub fn with_stream<T>(self, change: impl FnOnce(S) -> Option<T>) -> Option<Upgraded<T>> {
        let Self { stream, answer, early, admitted } = self;
        Some(Upgraded { stream: change(stream)?, answer, early, admitted })
    }
}

/// Runs a connection from its 101 to its end, and returns what ended it: the code that the peer was
/// told, `Left` if it closed first, `GoingAway` if its socket broke. Not an async function: that would
/// keep a place, for as long as the connection lives, for what is gone when it begins.
///
/// # Cancel safety
///
/// Dropping the future leaves the room as lost and drops the socket without a close frame.
pub fn run(upgraded: Upgraded, hub: Arc<Hub>) -> impl Future<Output = Close> + Send {
    let Upgraded { stream, answer, early, admitted } = upgraded;
    let now = clock::now();
    let session_s = admitted.as_ref().ok().and_then(Reservation::session_s);
    let connected = hub.connect(stream, answer, session_s, now);
    let mut intake = Intake::new(&early);
    async move {
        let session = connected.session();
        let seat = match admitted {
            Ok(reservation) => reservation.sit(session, now).await,
            Err(close) => Err(close),
        };
        let end = match seat {
            Ok(seat) => {
                let mut member = Member::new(seat, session, &hub, now);
                member.run(&mut intake).await
            }
            Err(close @ (Close::Restart | Close::Overload)) => {
                End::Told(close, Some(COME_BACK_AFTER))
            }
            Err(close) => End::told(close),
        };
        say_goodbye(end, session, &mut intake, hub.config()).await;
        hub.metrics().closed(end.close());
        end.close()
    }
}

/// When a peer should try again that came while the relay could not take it.
const COME_BACK_AFTER: Duration = Duration::from_secs(1);

fn frame_limits(config: &Config) -> Limits {
    Limits {
        binary_bytes: config.limit.payload_bytes as usize + CLIENT_HEAD_MAX,
        text_bytes: CONTROL_BYTES_MAX,
        fragments: config.limit.fragments_per_message,
    }
}

/// Does the closing handshake (RFC 6455 §7.1.2). The sweep gives up on a peer that takes too long.
async fn say_goodbye(end: End, session: &Session, intake: &mut Intake, config: &Config) {
    let outbox = session.outbox();
    let (close, hint) = match end {
        End::Told(close, hint) => (close, hint),
        End::PeerClosed => (Close::Left, None),
        End::Lost => return,
    };
    outbox.close(close, hint, clock::now());
    let mut peer_closed = end == End::PeerClosed;
    let mut half_closed = false;
    let limits = frame_limits(config);
    let mut farewell = Farewell { bytes_left: config.limit.raw_bytes_per_10s as usize };
    poll_fn(|cx| {
        match outbox.poll_drain(cx, clock::now()) {
            Outlook::Failed => return Poll::Ready(()),
            // The peer's close frame cannot be found any more, and the peer waits for our end of
            // the socket (RFC 6455 §7.1.1): show it that there is one. A socket that refuses is gone.
            Outlook::Closed(_) if intake.is_broken() && !half_closed => {
                half_closed = true;
                let _ = SockRef::from(outbox.socket()).shutdown(Shutdown::Write);
            }
            Outlook::Open | Outlook::Closing(_) | Outlook::Closed(_) => {}
        }
        // Unread bytes would turn the end of the socket into a reset, which can overtake the close
        // frame: so the rest is read, and forgotten.
        while !peer_closed {
            match intake.poll_turn(outbox.socket(), cx, &limits, &mut farewell) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(End::PeerClosed)) => peer_closed = true,
                Poll::Ready(Err(End::Told(..) | End::Lost)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        poll_closed(session, cx)
    })
    .await;
}

fn poll_closed(session: &Session, cx: &mut Context<'_>) -> Poll<()> {
    match session.outbox().poll_drain(cx, clock::now()) {
        Outlook::Closed(_) | Outlook::Failed => Poll::Ready(()),
        Outlook::Open | Outlook::Closing(_) => Poll::Pending,
    }
}

/// Waits for the peer's close frame, and reads no more than a member may send in ten seconds.
struct Farewell {
    bytes_left: usize,
}

impl Receiver for Farewell {
    fn bytes(&mut self, count: usize) -> Result<(), End> {
        self.bytes_left = self.bytes_left.checked_sub(count).ok_or(End::Lost)?;
        Ok(())
    }

    fn events(&mut self, events: &mut Events<'_, '_>) -> Result<(), End> {
        events.each(|event| match event {
            Event::Close(_) => Err(End::PeerClosed),
            Event::Message(..) | Event::Fragment | Event::Ping(_) | Event::Pong => Ok(()),
        })
    }
}
