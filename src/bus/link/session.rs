//! A link's supervisor: it connects, subscribes, attaches, sends what waits and matches the answers,
//! until the server does not answer as it should; then it starts again, for ever.
//!
//! Everything of a session ends with it: calls that were not answered are dropped, and the rooms
//! are told. Only sealed batches outlive it, to be sent once more.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, PushInfo, RedisResult, Value};
use tokio::sync::Notify;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::connect::{Reached, fault};
use super::peers::LEASE;
use super::{Announcement, Channel, Commands, Link, Probe};
use crate::bus::room::{Room, seal_peer};
use crate::bus::scripts::{Script, send};
use crate::bus::topic::Standing;
use crate::bus::{Bus, ROOM_LIFE, random};
use crate::clock;
use crate::core::id::NodeId;
use crate::core::limit::Instant;
use crate::metrics::Count;

/// Calls in one write.
const CALLS_MAX: usize = 512;
/// Publishing writes that are under way at once.
const PUBLISHING_MAX: usize = 8;
/// Attaching calls in one write; their answers are large.
const ATTACHING_MAX: usize = 64;
/// Half the time between two probes.
const TICK: Duration = Duration::from_millis(500);
/// In how many seconds every room's keys are renewed once.
const RENEWAL_S: usize = 20;
/// Shortest and longest wait before connecting again.
const WAIT_MIN: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(2);

/// The session is over.
pub(super) struct Broken;

/// A write whose answers have come, or never will.
pub(super) struct Flight {
    pub(super) what: What,
    pub(super) answers: RedisResult<Vec<Value>>,
}

/// What was written.
pub(super) enum What {
    Announced(Vec<Announcement>),
    Attached(Vec<Arc<Room>>),
    Channels(Vec<Channel>),
    Loaded,
    Probed,
    /// The rooms, and when it was handed to the connection.
    Published(Vec<Arc<Room>>, Instant),
    Renewed(Vec<Arc<Room>>),
    Watched(Vec<NodeId>),
}

pub(super) struct Session<'a> {
    pub(super) bus: &'a Arc<Bus>,
    pub(super) link: &'a Link,
    pub(super) number: u64,
    pub(super) commands: Commands,
    pub(super) subscriber: MultiplexedConnection,
    pub(super) life: Vec<u8>,
    pub(super) lease: Box<str>,
    pub(super) partitions: Vec<usize>,
    pub(super) flights: FuturesUnordered<BoxFuture<'static, Flight>>,
    pub(super) publishing: usize,
    pub(super) announcing: bool,
    pub(super) attaching: bool,
    pub(super) subscribing: bool,
    /// The server forgot the scripts, and they are not loaded yet.
    pub(super) by_text: bool,
    pub(super) ticks: usize,
    pub(super) renewed_lease: bool,
}

/// Keeps a link up until `stop`.
pub(in crate::bus) async fn supervise(bus: Arc<Bus>, link: Arc<Link>, stop: CancellationToken) {
    let mut wait = WAIT_MIN;
    let mut was_up = false;
    loop {
        let lived = tokio::select! {
            lived = live(&bus, &link, was_up) => lived,
            () = stop.cancelled() => false,
        };
        if link.session() != 0 {
            was_up = true;
            link.end(&bus);
        }
        if stop.is_cancelled() {
            return;
        }
        wait = if lived { WAIT_MIN } else { (wait * 2).min(WAIT_MAX) };
        bus.route.stir();
        let jitter = wait.mul_f64(0.5 + f64::from(u8::from_ne_bytes(random())) / 510.0);
        tokio::select! {
            () = tokio::time::sleep(jitter) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// One session; `again` if the link was up before. Returns whether it came so far that a probe came
/// back.
async fn live(bus: &Arc<Bus>, link: &Arc<Link>, again: bool) -> bool {
    let partitions = bus.route.partitions(link);
    let home = partitions.first().copied().unwrap_or(0);
    let lease: Box<str> = bus.names.lease(home, bus.node()).into();
    let broken = Arc::new(Notify::new());
    let push = {
        let (bus, link) = (Arc::downgrade(bus), Arc::downgrade(link));
        let (lease, broken) = (lease.clone(), Arc::clone(&broken));
        move |info: PushInfo| {
            if let Some((bus, link)) = bus.upgrade().zip(link.upgrade()) {
                link.came(&bus, &lease, &broken, info);
            }
        }
    };
    let reached = link.server.reach(&bus.settings, push).await;
    link.set_fault(reached.as_ref().err().map(fault));
    let Ok(Reached { commands, subscriber, life }) = reached else { return false };
    let mut pipe = Pipeline::new();
    pipe.cmd("SSUBSCRIBE").arg(&*lease);
    if send(subscriber.clone(), pipe).await.is_err() {
        return false;
    }
    let session = Session {
        bus,
        link,
        number: bus.sessions.fetch_add(1, Ordering::Relaxed) + 1,
        commands,
        subscriber,
        life,
        lease,
        partitions,
        flights: FuturesUnordered::new(),
        publishing: 0,
        announcing: false,
        attaching: false,
        subscribing: false,
        by_text: false,
        ticks: 0,
        renewed_lease: false,
    };
    if again {
        bus.metrics.add(Count::BusReconnects, 1);
    }
    session.run(&broken).await;
    link.round_trip().is_some()
}

impl Session<'_> {
    async fn run(mut self, broken: &Notify) {
        self.link.begin(self.bus, self.number, &self.commands, &self.partitions);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.step(broken, &mut ticks).await.is_ok() {
            if self.link.is_quiet() {
                self.link.quiet.notify_waiters();
            }
        }
    }

    async fn step(&mut self, broken: &Notify, ticks: &mut Interval) -> Result<(), Broken> {
        self.start();
        tokio::select! {
            Some(flight) = self.flights.next() => self.land(flight),
            () = self.link.wake.notified() => Ok(()),
            _ = ticks.tick() => self.tick(),
            () = broken.notified() => Err(Broken),
        }
    }

    /// Sends what waits, as far as it may be under way at once.
    fn start(&mut self) {
        if !self.subscribing {
            self.start_channels();
        }
        if !self.attaching {
            self.start_attaching();
        }
        if !self.announcing {
            self.start_announcing();
        }
        while self.publishing < PUBLISHING_MAX && self.start_publishing() {}
    }

    fn start_publishing(&mut self) -> bool {
        let rooms: Vec<Arc<Room>> = {
            let mut work = self.link.work();
            let count = work.speaking.len().min(CALLS_MAX);
            if count == 0 {
                return false;
            }
            self.link.flying.fetch_add(1, Ordering::AcqRel);
            work.speaking.drain(..count).collect()
        };
        let mut pipe = Pipeline::with_capacity(rooms.len());
        let mut sent = Vec::with_capacity(rooms.len());
        for room in rooms {
            room.queued.store(false, Ordering::Release);
            let scripts = &self.commands.scripts;
            if room.send(self.bus, self.number, scripts, self.by_text, &mut pipe) {
                sent.push(room);
            }
        }
        if sent.is_empty() {
            self.link.flying.fetch_sub(1, Ordering::AcqRel);
        } else {
            self.publishing += 1;
            self.fly(What::Published(sent, clock::now()), pipe);
        }
        true
    }

    fn start_announcing(&mut self) {
        let announcements: Vec<Announcement> = {
            let mut work = self.link.work();
            let count = work.announcing.len().min(CALLS_MAX);
            if count == 0 {
                return;
            }
            self.link.flying.fetch_add(1, Ordering::AcqRel);
            work.announcing.drain(..count).collect()
        };
        let mut pipe = Pipeline::with_capacity(announcements.len());
        for one in &announcements {
            one.sealed.pack(None, &one.names, &self.commands.scripts, self.by_text, &mut pipe);
        }
        self.announcing = true;
        self.fly(What::Announced(announcements), pipe);
    }

    fn start_channels(&mut self) {
        let changes: Vec<Channel> = {
            let mut work = self.link.work();
            let count = work.channels.len().min(CALLS_MAX);
            work.channels.drain(..count).collect()
        };
        let mut pipe = Pipeline::with_capacity(changes.len());
        let mut made = Vec::with_capacity(changes.len());
        for change in changes {
            match &change {
                Channel::Subscribe(room) if room.is_gone() => continue,
                Channel::Subscribe(room) => {
                    pipe.cmd("SSUBSCRIBE").arg(&*room.names.order);
                }
                Channel::Leave(channel) => {
                    self.link.unsubscribing.fetch_add(1, Ordering::AcqRel);
                    pipe.cmd("SUNSUBSCRIBE").arg(&**channel);
                }
                Channel::Unsubscribe(channel) => {
                    if self.bus.rooms.by_channel(channel.as_bytes()).is_some() {
                        continue;
                    }
                    self.link.unsubscribing.fetch_add(1, Ordering::AcqRel);
                    pipe.cmd("SUNSUBSCRIBE").arg(&**channel);
                }
            }
            made.push(change);
        }
        if !made.is_empty() {
            self.subscribing = true;
            let flight = fly(self.subscriber.clone(), What::Channels(made), pipe);
            self.flights.push(Box::pin(flight));
        }
    }

    fn start_attaching(&mut self) {
        let waiting: Vec<(u64, Arc<Room>, Standing)> = {
            let mut work = self.link.work();
            let count = work.attaching.len().min(ATTACHING_MAX);
            work.attaching.drain(..count).collect()
        };
        let mut pipe = Pipeline::with_capacity(waiting.len());
        let mut rooms = Vec::with_capacity(waiting.len());
        for (session, room, standing) in waiting {
            if session == self.number && !room.is_gone() {
                pipe.add_command(self.attach(&room, &standing));
                rooms.push(room);
            }
        }
        if !rooms.is_empty() {
            self.attaching = true;
            self.fly(What::Attached(rooms), pipe);
        }
    }

    fn attach(&self, room: &Room, standing: &Standing) -> Cmd {
        let keys = [&*room.names.order, &*room.names.roster];
        let mut cmd = self.commands.scripts.call(Script::Attach, self.by_text, &keys);
        match &standing.at {
            Some((epoch, position)) => cmd.arg(&epoch.as_bytes()[..]).arg(*position),
            None => cmd.arg("").arg(0),
        };
        cmd.arg(&random::<8>()[..]).arg(&self.life).arg(ROOM_LIFE.as_secs() * 1000);
        for (member, hears) in &standing.members {
            let field = self.bus.names.member(room.topic.room(), *member);
            cmd.arg(&field[..]).arg(seal_peer(self.bus, &room.names.roster, *member, *hears));
        }
        cmd
    }

    pub(super) fn fly(&self, what: What, pipe: Pipeline) {
        let flight = fly(self.commands.connection.clone(), what, pipe);
        self.flights.push(Box::pin(flight));
    }

    /// Probes, renews, looks for the others' leases.
    fn tick(&mut self) -> Result<(), Broken> {
        let now = clock::now();
        let timeout = self.bus.settings.timeout;
        if self.link.probe().as_ref().is_some_and(|probe| now.since(probe.sent) >= timeout) {
            return Err(Broken);
        }
        self.ticks += 1;
        if self.ticks.is_multiple_of(2) {
            return Ok(());
        }
        if self.link.probe().is_none() && !self.bus.finished.load(Ordering::Acquire) {
            let sign = u64::from_ne_bytes(random());
            *self.link.probe() = Some(Probe { sign, sent: now });
            let mut pipe = Pipeline::new();
            let scripts = &self.commands.scripts;
            let mut cmd = scripts.call(Script::Probe, self.by_text, &[&self.lease]);
            cmd.arg(sign).arg(LEASE.as_secs() * 1000);
            pipe.add_command(cmd);
            self.fly(What::Probed, pipe);
        }
        self.renew();
        self.watch();
        self.bus.note();
        Ok(())
    }

    fn renew(&self) {
        let turn = (self.ticks / 2) % RENEWAL_S;
        let due = self.partitions.iter().filter(|partition| **partition % RENEWAL_S == turn);
        let rooms: Vec<_> = due.flat_map(|part| self.bus.rooms.of_partition(*part)).collect();
        for rooms in rooms.chunks(CALLS_MAX) {
            let mut pipe = Pipeline::with_capacity(2 * rooms.len());
            for room in rooms {
                let life = ROOM_LIFE.as_secs() * 1000;
                pipe.cmd("PEXPIRE").arg(&*room.names.order).arg(life);
                pipe.cmd("PEXPIRE").arg(&*room.names.roster).arg(life);
            }
            self.fly(What::Renewed(rooms.to_vec()), pipe);
        }
    }

    fn watch(&self) {
        let home = self.partitions.first().copied().unwrap_or(0);
        let nodes = self.link.peers().watched();
        for nodes in nodes.chunks(CALLS_MAX) {
            let mut pipe = Pipeline::with_capacity(nodes.len());
            for node in nodes {
                pipe.cmd("EXISTS").arg(self.bus.names.lease(home, *node));
            }
            self.fly(What::Watched(nodes.to_vec()), pipe);
        }
    }
}

impl Link {
    fn begin(&self, bus: &Bus, number: u64, commands: &Commands, partitions: &[usize]) {
        let mut there = self.commands.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        *there = Some(commands.clone());
        drop(there);
        self.peers().settle(clock::now());
        self.session.store(number, Ordering::Release);
        for partition in partitions {
            for room in bus.rooms.of_partition(*partition) {
                self.subscribe(room);
            }
        }
    }

    /// Tells everybody that the session is over.
    fn end(&self, bus: &Bus) {
        bus.metrics.add(Count::BusLinksLost, 1);
        self.session.store(0, Ordering::Release);
        let mut there = self.commands.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        *there = None;
        drop(there);
        self.round_trip_ns.store(0, Ordering::Release);
        *self.probe() = None;
        self.peers().cut();
        self.unsubscribing.store(0, Ordering::Release);
        self.flying.store(0, Ordering::Release);
        let mut work = self.work();
        work.channels.clear();
        work.attaching.clear();
        let unsaid = std::mem::take(&mut work.announcing);
        drop(work);
        // Their callers learn that the bus is down.
        drop(unsaid);
        bus.note();
        for partition in bus.route.partitions(self) {
            for room in bus.rooms.of_partition(partition) {
                bus.cut(&room);
            }
        }
    }
}

/// Sends a pipeline, and says what it was when the answers have come.
async fn fly(connection: MultiplexedConnection, what: What, pipe: Pipeline) -> Flight {
    Flight { what, answers: send(connection, pipe).await }
}
