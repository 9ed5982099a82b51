//! The relay as a whole: listening, letting connections in, sweeping, and the drain.
//!
//! Limits on connections are checked at accept, before a byte is read: in all, and per address. Behind
//! proxies the address is known later: from the header that comes before HTTP ([`proxy`]), or from the
//! handshake's own fields. A connection above a limit is still answered, by a few tasks set
//! aside for that, so that clients and load balancers hear why; above that it is dropped. Who is not a
//! member yet is served on threads of its own ([`front`]). A connection whose handshake is not there at
//! once is one task there; a member's is one where members are; all on one tracker, which the drain
//! waits for.

mod accept;
mod connection;
mod errands;
mod front;
mod lag;
mod listen;
mod proxy;
mod supervisor;
mod totals;
mod watch;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::admission::shared::Shared as OtherNodes;
use crate::clock;
use crate::config::{Config, Loaded};
use crate::http::App;
use crate::metrics::Metrics;

use self::accept::{Listener, accept_operations, accept_public};
use self::connection::Newcomer;
use self::front::{Doorstep, FrontDoor};
use self::listen::{HandOver, Listeners};
pub(crate) use self::proxy::decode as decode_proxy_header;
pub use self::supervisor::Passed;

/// A relay that has its sockets and does not serve yet.
pub struct Server {
    listener: Listener,
    operations: Option<Listener>,
    front: Option<FrontDoor>,
    hand_over: HandOver,
    shared: Arc<Shared>,
}

/// What the tasks of a relay share.
struct Shared {
    app: Arc<App>,
    /// Where members are served; absent if that is where everybody is.
    members: Option<Handle>,
    /// Who is on the way there.
    doorstep: Doorstep<Newcomer>,
    tracker: TaskTracker,
    /// The tasks of the bus, which outlive the connections.
    bus_tasks: TaskTracker,
    /// One permit per connection that may be a member's.
    places: Arc<Semaphore>,
    /// One permit per connection above a limit that is told so.
    apologies: Arc<Semaphore>,
    /// One permit per connection of the operations listener.
    operators: Arc<Semaphore>,
}

impl Server {
    /// Opens the sockets.
    ///
    /// # Errors
    ///
    /// When an address cannot be listened on, or a configured header is none.
    pub fn bind(loaded: Loaded) -> io::Result<Self> {
        Self::bind_with(loaded, Passed::default())
    }

    /// Opens the sockets that were not passed.
    ///
    /// # Errors
    ///
    /// As [`Server::bind`], or when what was passed is no listening socket.
    pub fn bind_with(loaded: Loaded, passed: Passed) -> io::Result<Self> {
        let Loaded { config, keys, bus, notes: _ } = loaded;
        let members = Handle::current();
        let front = FrontDoor::open(config.server.front_threads)?;
        // What the door's threads wait for is watched by them.
        let at_the_door = front.as_ref().map(|front| front.handle().enter());
        let listeners = Listeners::open(&config, passed, OPERATORS_MAX)?;
        let Listeners { members: listener, operations, hand_over } = listeners;
        drop(at_the_door);
        let places = usize::try_from(config.limit.connections).unwrap_or(usize::MAX);
        let refusals = config.limit.refusals_at_once as usize;
        let shared = Shared {
            app: Arc::new(App::new(config, keys, bus.as_ref())?),
            members: front.as_ref().map(|_| members),
            doorstep: Doorstep::new(),
            tracker: TaskTracker::new(),
            bus_tasks: TaskTracker::new(),
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            apologies: Arc::new(Semaphore::new(refusals)),
            operators: Arc::new(Semaphore::new(OPERATORS_MAX as usize)),
        };
        Ok(Self { listener, operations, hand_over, front, shared: Arc::new(shared) })
    }

    /// Where members connect; the port is the real one, also where the configuration says 0.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.socket().local_addr()
    }

    /// Where the operations listener is, if there is one.
    pub fn ops_addr(&self) -> Option<SocketAddr> {
        self.operations.as_ref()?.socket().local_addr().ok()
    }

    /// Every number of this relay.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.shared.app.metrics)
    }

    /// Serves until `stop` is ready or an operator asks for a drain, then drains and returns. Both
    /// listeners answer until the end, unless another process has them too: then they are left to it
    /// first ([`listen`]).
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { listener, operations, hand_over, front, shared } = self;
        shared.app.metrics.set_runtime(Handle::current());
        // Before the first connection, and then with every sweep.
        watch::watch_memory(&shared.app);
        // Dropped at the end of this function, which ends them.
        let mut background = JoinSet::new();
        let mut doors = JoinSet::new();
        let at = front.as_ref().map_or_else(Handle::current, |front| front.handle().clone());
        let members = accept_public(Arc::clone(&shared), listener);
        doors.spawn_on(hand_over.open(Arc::clone(&shared.app), members), &at);
        if let Some(operations) = operations {
            doors.spawn_on(accept_operations(Arc::clone(&shared), operations), &at);
        }
        background.spawn(supervisor::tell_when_ready(Arc::clone(&shared.app)));
        background.spawn(watch::sweep(Arc::clone(&shared.app)));
        background.spawn(lag::measure(Arc::clone(&shared.app)));
        let stop_bus = CancellationToken::new();
        // Also if this future is dropped.
        let _stops_bus = stop_bus.clone().drop_guard();
        if let Some(other_nodes) = &shared.app.shared {
            let bus = Arc::clone(other_nodes.bus());
            let tasks = shared.bus_tasks.clone();
            shared.bus_tasks.spawn(bus.run(tasks, stop_bus.clone()));
            background.spawn(refresh(Arc::clone(other_nodes)));
            background.spawn(errands::run(Arc::clone(&shared.app.hub), Arc::clone(other_nodes)));
        }
        if let Some(interval) = shared.app.config.log.aggregate_interval() {
            background.spawn(totals::log(Arc::clone(&shared.app), interval));
        }
        tokio::select! {
            () = stop => {}
            () = shared.app.drain_asked() => {}
            // They end only by a panic. A relay that does not accept or sweep is better restarted.
            () = failure(&mut background, &mut doors) => error!("a part of the relay failed; stopping"),
        }
        supervisor::tell_stopping();
        hand_over.leave(&shared.app, &mut doors).await;
        shared.drain().await;
        shared.leave_bus(&stop_bus).await;
    }
}

/// Waits until one of these tasks has ended, which none does by itself.
async fn failure(background: &mut JoinSet<()>, doors: &mut JoinSet<()>) {
    tokio::select! {
        _ = background.join_next() => {}
        _ = doors.join_next() => {}
    }
}

impl Shared {
    /// Sends everybody away, in stages, and waits until they are gone or the time is over.
    async fn drain(&self) {
        let Config { server, feature, .. } = &*self.app.config;
        self.app.start_draining();
        if !feature.graceful_shutdown {
            return;
        }
        info!(members = watch::shown_members(&self.app), "draining");
        self.app.hub.start_drain(clock::now());
        self.tracker.close();
        let mut gone = pin!(self.tracker.wait());
        let mut step = tokio::time::interval(DRAIN_STEP);
        step.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = watch::DrainLines::since(clock::now());
        let staged = async {
            loop {
                tokio::select! {
                    () = &mut gone => break,
                    _ = step.tick() => {
                        let now = clock::now();
                        self.app.hub.drain_step(now);
                        said.step(&self.app, now);
                    }
                }
            }
        };
        match tokio::time::timeout(server.shutdown_timeout(), staged).await {
            Ok(()) => info!("drained"),
            Err(_late) => warn!(left = watch::shown_members(&self.app), "the drain took too long"),
        }
    }
}

impl Shared {
    /// Says what is left to say to the other nodes, and ends the bus.
    async fn leave_bus(&self, stop: &CancellationToken) {
        let Some(other_nodes) = &self.app.shared else { return };
        if self.app.config.feature.graceful_shutdown {
            other_nodes.bus().finish().await;
        }
        stop.cancel();
        self.bus_tasks.close();
        if tokio::time::timeout(BUS_STOP_MAX, self.bus_tasks.wait()).await.is_err() {
            warn!("the bus took too long to stop");
        }
    }
}

/// Longest time that the bus may take to stop, once there is nothing left to say.
const BUS_STOP_MAX: Duration = Duration::from_secs(2);

/// Says once a second which rooms are in use here, as far as it is time to.
async fn refresh(other_nodes: Arc<OtherNodes>) {
    let mut tick = tokio::time::interval(watch::SWEEP_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        other_nodes.refresh(clock::now()).await;
    }
}

/// Connections of scrapers, probes and operators; more is a mistake.
const OPERATORS_MAX: u32 = 64;

/// Ten steps a second spread a drain's rate evenly.
const DRAIN_STEP: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use socket2::SockRef;
    use tokio::net::TcpStream;

    use super::connection::upgraded_connection;
    use super::*;
    use crate::core::id::Kid;
    use crate::core::secret::SecretBytes;
    use crate::core::token::{Keys, SigningKey};

    fn bound(adjust: impl FnOnce(&mut Config)) -> Server {
        let mut config = Config::default();
        config.server.port = 0;
        config.server.ops_listen = None;
        adjust(&mut config);
        let kid = Kid::new("k1").unwrap();
        let secret = SecretBytes::new(vec![7; 32]);
        let key = SigningKey { kid, issuer: "lethewire".to_owned(), secret };
        let keys = Keys::new(vec![key]).unwrap();
        Server::bind(Loaded { config, keys, bus: None, notes: Vec::new() }).unwrap()
    }

    /// A client's socket and the relay's end of it.
    async fn accepted(server: &Server) -> (TcpStream, std::net::TcpStream) {
        let client = TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
        let (stream, _) = server.listener.accept(&server.metrics()).await;
        (client, stream)
    }

    /// Ten thousand idle members are ten thousand of these.
    #[test]
    fn a_member_is_a_small_task() {
        fn size<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
            size_of::<F>()
        }
        let size = size(upgraded_connection);
        assert!(size <= TASK_BYTES_MAX, "{size}");
    }

    #[tokio::test]
    async fn messages_do_not_wait_for_larger_packets() {
        let server = bound(|_| ());
        let (_client, stream) = accepted(&server).await;
        assert!(stream.nodelay().unwrap(), "inherited");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn accepted_sockets_outlast_a_silent_peer_for_so_long() {
        for (ms, expected) in [(0, None), (1234, Some(Duration::from_millis(1234)))] {
            let server = bound(|config| config.limit.user_timeout_ms = ms);
            let (_client, stream) = accepted(&server).await;
            assert_eq!(SockRef::from(&stream).tcp_user_timeout().unwrap(), expected);
        }
    }

    /// With what the runtime adds, 768.
    const TASK_BYTES_MAX: usize = 576;
}
