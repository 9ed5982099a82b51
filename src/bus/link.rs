//! The link to one Redis server: what waits to be sent, and whether the server answers.
//!
//! A link has a supervisor ([`session`]) that connects, over and over, and owns both connections.
//! Everybody else puts work into the link's queues and wakes it.

mod answers;
mod connect;
mod incoming;
mod peers;
mod session;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use redis::Pipeline;
use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, oneshot};

pub(super) use self::connect::{Server, ask_once, moved, parse};
use self::peers::Peers;
pub(super) use self::session::supervise;
use super::room::{Room, Sealed};
use super::scripts::{Scripts, send};
use super::topic::{Refused, Standing};
use super::{Bus, Down, names::RoomNames};
use crate::core::limit::Instant;

/// A link, as others see it.
pub(super) struct Link {
    pub(super) server: Server,
    work: Mutex<Work>,
    wake: Notify,
    /// The number of the session that is up; 0 while none is. No two sessions of a process have
    /// the same, on any link.
    session: AtomicU64,
    commands: RwLock<Option<Commands>>,
    /// How long the last probe took that came back, in nanoseconds; 0 while none has in this
    /// session.
    round_trip_ns: AtomicU64,
    probe: Mutex<Option<Probe>>,
    /// Confirmations of unsubscribing that are to come. One that comes unasked says that the
    /// channel has moved to another server.
    unsubscribing: AtomicUsize,
    /// Publishing calls that are not answered.
    flying: AtomicUsize,
    quiet: Notify,
    peers: Mutex<Peers>,
    /// Why the server could not be reached the last time.
    fault: Mutex<Option<&'static str>>,
}

/// A connection for commands, and the scripts that its server knows.
#[derive(Clone)]
pub(super) struct Commands {
    pub(super) connection: MultiplexedConnection,
    pub(super) scripts: Arc<Scripts>,
}

/// What waits to be sent. Each queue holds a room once, or belongs to a caller that waits.
#[derive(Default)]
struct Work {
    speaking: VecDeque<Arc<Room>>,
    channels: VecDeque<Channel>,
    attaching: VecDeque<(u64, Arc<Room>, Standing)>,
    announcing: VecDeque<Announcement>,
}

/// A change of subscriptions; they are made in order.
enum Channel {
    Subscribe(Arc<Room>),
    Unsubscribe(Box<str>),
    Leave(Box<str>),
}

/// A batch that is said from outside its room.
pub(super) struct Announcement {
    pub(super) names: RoomNames,
    pub(super) sealed: Sealed,
    pub(super) answer: oneshot::Sender<Result<(), Refused>>,
}

/// A probe that is under way.
struct Probe {
    sign: u64,
    sent: Instant,
}

impl Link {
    pub(super) fn new(server: Server) -> Self {
        Self {
            server,
            work: Mutex::default(),
            wake: Notify::new(),
            session: AtomicU64::new(0),
            commands: RwLock::default(),
            round_trip_ns: AtomicU64::new(0),
            probe: Mutex::default(),
            unsubscribing: AtomicUsize::new(0),
            flying: AtomicUsize::new(0),
            quiet: Notify::new(),
            peers: Mutex::default(),
            fault: Mutex::default(),
        }
    }

    /// The session that is up, or 0.
    pub(super) fn session(&self) -> u64 {
        self.session.load(Ordering::Acquire)
    }

    /// Whether a probe came back in this session, and none is overdue.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        let nanos = self.round_trip_ns.load(Ordering::Acquire);
        (nanos > 0 && self.session() != 0).then(|| Duration::from_nanos(nanos))
    }

    /// The connection for single commands.
    pub(super) fn commands(&self) -> Result<Commands, Down> {
        let commands = self.commands.read().unwrap_or_else(PoisonError::into_inner);
        commands.clone().ok_or(Down)
    }

    /// There is something to take from a room.
    pub(super) fn speak(&self, room: Arc<Room>) {
        if !room.queued.swap(true, Ordering::AcqRel) {
            self.work().speaking.push_back(room);
            self.wake.notify_one();
        }
    }

    /// Subscribes to a room's channel and then attaches it.
    pub(super) fn subscribe(&self, room: Arc<Room>) {
        self.work().channels.push_back(Channel::Subscribe(room));
        self.wake.notify_one();
    }

    /// Unsubscribes, unless the channel is wanted again by then.
    pub(super) fn unsubscribe(&self, channel: Box<str>) {
        if self.session() != 0 {
            self.work().channels.push_back(Channel::Unsubscribe(channel));
            self.wake.notify_one();
        }
    }

    /// Unsubscribes from a channel that moved to another link, where it is still wanted.
    pub(super) fn leave(&self, channel: Box<str>) {
        if self.session() != 0 {
            self.work().channels.push_back(Channel::Leave(channel));
            self.wake.notify_one();
        }
    }

    /// Attaches a room that said where it is.
    pub(super) fn attach(&self, session: u64, room: &Arc<Room>, standing: Standing) {
        self.work().attaching.push_back((session, Arc::clone(room), standing));
        self.wake.notify_one();
    }

    /// Publishes from outside.
    pub(super) fn announce(&self, announcement: Announcement) -> Result<(), Down> {
        if self.session() == 0 {
            return Err(Down);
        }
        self.work().announcing.push_back(announcement);
        self.wake.notify_one();
        Ok(())
    }

    /// Waits until nothing is to be published and all that was is answered.
    pub(super) async fn until_quiet(&self) {
        loop {
            let mut quiet = std::pin::pin!(self.quiet.notified());
            quiet.as_mut().enable();
            if self.is_quiet() {
                return;
            }
            quiet.await;
        }
    }

    pub(super) fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_quiet(&self) -> bool {
        let work = self.work();
        let idle = work.speaking.is_empty() && work.announcing.is_empty();
        idle && self.flying.load(Ordering::Acquire) == 0
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the server could not be reached, since it was the last time.
    pub(super) fn fault(&self) -> Option<&'static str> {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_fault(&self, fault: Option<&'static str>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn probe(&self) -> MutexGuard<'_, Option<Probe>> {
        self.probe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bus {
    /// Deletes a lease, so that nobody waits for a node that said goodbye.
    pub(super) async fn give_back(&self, link: &Link, lease: &str) {
        let Ok(Commands { connection, .. }) = link.commands() else { return };
        let mut pipe = Pipeline::new();
        pipe.cmd("DEL").arg(lease);
        // It ends by itself otherwise.
        drop(send(connection, pipe).await);
    }
}
