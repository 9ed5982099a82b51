//! What all requests share: the configuration, the tables, the keys, and whether a drain is on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::body::Bytes;
use tokio_util::sync::CancellationToken;

use super::cors::Origins;
use super::headers::Fixed;
use super::lag::LoopLag;
use super::memory::Memory;
use super::ready::{Failed, Readiness};
use super::status;
use crate::admission::addresses::Addresses;
use crate::admission::records::Records;
use crate::admission::replay::Replay;
use crate::admission::shared::Shared;
use crate::admission::warm_up::WarmUp;
use crate::bus::{Bus, BusSettings};
use crate::clock;
use crate::config::{BusAccess, Config};
use crate::core::token::{Keys, Policy};
use crate::hub::Hub;
use crate::metrics::{Aggregate, Level, Metrics};

/// What all requests of a relay share.
pub struct App {
    /// The configuration, secrets excepted.
    pub config: Arc<Config>,
    /// Every number.
    pub metrics: Arc<Metrics>,
    /// The rooms that are known.
    pub records: Arc<Records>,
    /// The rooms that have members.
    pub hub: Arc<Hub>,
    /// The tokens that were used; absent if that is switched off.
    pub replay: Option<Replay>,
    /// What addresses take; absent if that is switched off.
    pub addresses: Option<Arc<Addresses>>,
    /// Whether there is memory for newcomers.
    pub memory: Memory,
    /// How late the event loop was.
    pub lag: LoopLag,
    pub(super) keys: Keys,
    pub(super) policy: Policy,
    pub(super) origins: Origins,
    pub(super) fixed: Fixed,
    pub(super) info: Bytes,
    /// What is shared with other nodes; absent on a node of its own.
    pub shared: Option<Arc<Shared>>,
    /// Set on a node that shares rooms and has just started.
    pub(super) warm_up: Option<WarmUp>,
    leaving: AtomicBool,
    draining: CancellationToken,
    drain_asked: CancellationToken,
}

impl App {
    /// Puts everything together that requests need.
    ///
    /// # Errors
    ///
    /// When a configured header is none, an address of the bus cannot be read, or the system has no
    /// random bytes.
    pub fn new(config: Config, keys: Keys, access: Option<&BusAccess>) -> io::Result<Self> {
        let config = Arc::new(config);
        let metrics = Arc::new(Metrics::with(config.privacy()));
        let records = Arc::new(Records::new((&*config).into()));
        let bus = match access {
            Some(access) => {
                let settings = BusSettings::of(&config, access);
                Some(Bus::connect(settings, &access.secret, Arc::clone(&metrics))?)
            }
            None => None,
        };
        let outgoing_bytes_max = config.bus.outgoing_bytes as usize;
        let over = bus.clone().map(|bus| (bus, outgoing_bytes_max));
        let hub = Hub::with(Arc::clone(&config), Arc::clone(&metrics), Arc::clone(&records), over);
        let shared = bus.map(|bus| {
            let (records, metrics) = (Arc::clone(&records), Arc::clone(&metrics));
            Arc::new(Shared::new(bus, records, metrics, &config))
        });
        let warm_up = config.bus.warm_up().filter(|_| shared.is_some());
        let places = u64::from(config.limit.connections);
        let warm_up = warm_up.map(|over| WarmUp::new(places, over, clock::now()));
        let feature = &config.feature;
        let policy = config.token.policy();
        let addresses = Addresses::of(&config, clock::now())?;
        let replay = feature.token_replay_protection.then(|| Replay::of(&config));
        note_ceilings(&config, &metrics);
        let fixed = Fixed::new(&config).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "headers.csp is no header value")
        })?;
        Ok(Self {
            origins: Origins::new(&config),
            info: status::info_body(&config),
            memory: Memory::of(&config),
            leaving: AtomicBool::new(false),
            lag: LoopLag::default(),
            draining: CancellationToken::new(),
            drain_asked: CancellationToken::new(),
            config,
            metrics,
            records,
            hub,
            replay,
            addresses,
            shared,
            warm_up,
            keys,
            policy,
            fixed,
        })
    }

    /// Whether newcomers had better come later: too much is resident, or too much waits for members
    /// that are slow.
    pub fn is_short_of_memory(&self) -> bool {
        self.memory.is_short() || self.hub.is_short_of_memory()
    }

    /// The totals as they may be shown, in the same snapshot as the metrics.
    pub fn totals(&self) -> Aggregate {
        self.metrics.published(clock::now())
    }

    /// A number as it may be shown.
    pub fn shown(&self, n: u64) -> u64 {
        self.metrics.rounded(n)
    }

    /// Why no new members should be sent here, if so.
    pub fn not_ready(&self) -> Option<Failed> {
        Readiness::of(self).1
    }

    /// What rooms are shared through, if they are.
    pub fn bus(&self) -> Option<&Bus> {
        self.shared.as_ref().map(|shared| &**shared.bus())
    }

    /// Whether rooms are shared with other nodes that cannot be asked now.
    pub fn is_cut_off(&self) -> bool {
        self.bus().is_some_and(|bus| !bus.is_up())
    }

    /// Whether new members should be sent here.
    pub fn is_ready(&self) -> bool {
        self.not_ready().is_none()
    }

    /// Answers "not ready" from now on, while whoever is here already may still become a member: a
    /// drain follows.
    pub fn start_leaving(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether another process takes the new connections.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Answers "not ready" and takes no new members from now on.
    pub fn start_draining(&self) {
        self.metrics.drain_began(clock::now());
        self.draining.cancel();
    }

    /// Whether the relay is about to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits until the relay is about to stop.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Waits until an operator asks for a drain.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn drain_asked(&self) {
        self.drain_asked.cancelled().await;
    }

    pub(super) fn ask_for_drain(&self) {
        self.drain_asked.cancel();
    }
}

/// Shows how much there may be of what is limited.
fn note_ceilings(config: &Config, metrics: &Metrics) {
    let Config { limit, room, token, .. } = config;
    for (level, most) in [
        (Level::ConnectionsMax, limit.connections.into()),
        (Level::RecordsMax, room.rooms_max.into()),
        (Level::ReplayEntriesMax, token.replay_entries_max.into()),
        (Level::QueuedBytesMax, limit.buffered_bytes),
        (Level::MemoryBytesMax, limit.memory_bytes),
    ] {
        metrics.set_level(level, most);
    }
}
