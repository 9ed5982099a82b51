//! A link's supervisor: it connects, subscribes, attaches, sends what waits and matches the answers,
//! until the server does not answer as it should; then it starts again, for ever.
//!
//! Everything of a session ends with it: calls that were not answered are dropped, and the rooms
//! are told. Only sealed batches outlive it, to be sent once more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, PushInfo, PushKind, RedisResult, Value};
use tokio::sync::Notify;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::super::room::{Room, seal_peer};
use super::super::scripts::{Script, Scripts, integer, is_forgotten, send};
use super::super::topic::{Refused, Standing};
use super::super::{Bus, ROOM_LIFE, random, read_attached};
use super::connect::Reached;
use super::peers::LEASE;
use super::{Announcement, Channel, Commands, Link, Probe};
use crate::bus::room::Told;
use crate::clock;
use crate::core::id::NodeId;
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
struct Broken;

/// A write whose answers have come, or never will.
struct Flight {
    what: What,
    answers: RedisResult<Vec<Value>>,
}

/// What was written.
enum What {
    Announced(Vec<Announcement>),
    Attached(Vec<Arc<Room>>),
    Channels(Vec<Channel>),
    Loaded,
    Probed,
    Published(Vec<Arc<Room>>),
    Renewed(Vec<Arc<Room>>),
    Watched(Vec<NodeId>),
}

struct Session<'a> {
    bus: &'a Arc<Bus>,
    link: &'a Link,
    number: u64,
    commands: Commands,
    subscriber: MultiplexedConnection,
    life: Vec<u8>,
    lease: Box<str>,
    partitions: Vec<usize>,
    flights: FuturesUnordered<BoxFuture<'static, Flight>>,
    publishing: usize,
    announcing: bool,
    attaching: bool,
    subscribing: bool,
    /// The server forgot the scripts, and they are not loaded yet.
    by_text: bool,
    ticks: usize,
    renewed_lease: bool,
}

/// Keeps a link up until `stop`.
pub(in crate::bus) async fn supervise(bus: Arc<Bus>, link: Arc<Link>, stop: CancellationToken) {
    let mut wait = WAIT_MIN;
    loop {
        let lived = tokio::select! {
            lived = live(&bus, &link) => lived,
            () = stop.cancelled() => false,
        };
        if link.session() != 0 {
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

/// One session. Returns whether it came so far that a probe came back.
async fn live(bus: &Arc<Bus>, link: &Arc<Link>) -> bool {
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
    let Ok(reached) = link.server.reach(&bus.settings, push).await else { return false };
    let Reached { commands, subscriber, life } = reached;
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
            self.fly(What::Published(sent), pipe);
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

    fn fly(&self, what: What, pipe: Pipeline) {
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

    fn land(&mut self, flight: Flight) -> Result<(), Broken> {
        let answers = flight.answers.map_err(|_| Broken)?;
        if answers.iter().any(is_forgotten) && !self.by_text {
            self.by_text = true;
            self.fly(What::Loaded, Scripts::loading());
        }
        match flight.what {
            What::Announced(announcements) => {
                self.announcing = false;
                self.link.flying.fetch_sub(1, Ordering::AcqRel);
                self.announced(announcements, &answers)
            }
            What::Attached(rooms) => {
                self.attaching = false;
                self.attached(rooms, answers)
            }
            What::Channels(changes) => {
                self.subscribing = false;
                self.changed(changes, &answers)
            }
            What::Loaded => {
                self.by_text = false;
                healthy(&answers)
            }
            What::Probed => self.probed(&answers),
            What::Published(rooms) => {
                self.publishing -= 1;
                self.published(rooms, &answers)?;
                self.link.flying.fetch_sub(1, Ordering::AcqRel);
                Ok(())
            }
            What::Renewed(rooms) => self.renewed(&rooms, &answers),
            What::Watched(nodes) => {
                healthy(&answers)?;
                let now = clock::now();
                for (node, answer) in nodes.into_iter().zip(&answers) {
                    self.link.peers().saw(node, integer(answer) == Some(1), now);
                }
                Ok(())
            }
        }
    }

    fn published(&self, rooms: Vec<Arc<Room>>, answers: &[Value]) -> Result<(), Broken> {
        for (room, answer) in rooms.into_iter().zip(answers) {
            let mut line = room.line();
            if line.flying != self.number {
                continue;
            }
            line.flying = 0;
            let code = match integer(answer) {
                Some(code) => code,
                // It goes again, with the text of the script.
                None if is_forgotten(answer) => {
                    drop(line);
                    self.link.speak(room);
                    continue;
                }
                None => return Err(Broken),
            };
            let metrics = &self.bus.metrics;
            let why = match code {
                -1 if line.pending.as_ref().map(|pending| pending.epoch) == line.epoch => {
                    drop(line);
                    self.bus.ask(&room);
                    continue;
                }
                -1 => Some(Refused::Void),
                -3 => Some(Refused::Absent),
                -4 => Some(Refused::Full),
                _ => {
                    metrics.add(Count::BusPublished, 1);
                    None
                }
            };
            let done = line.pending.take();
            drop(line);
            if let (Some(why), Some(pending)) = (why, done) {
                metrics.bus_refused(why.into());
                self.bus.tell(&room, Told::Refused(pending.batch, why));
            }
            self.link.speak(room);
        }
        Ok(())
    }

    fn announced(&self, all: Vec<Announcement>, answers: &[Value]) -> Result<(), Broken> {
        let mut again = VecDeque::new();
        for (one, answer) in all.into_iter().zip(answers) {
            match integer(answer) {
                // Whoever asked may have given up.
                Some(-3) => drop(one.answer.send(Err(Refused::Absent))),
                Some(-4) => drop(one.answer.send(Err(Refused::Full))),
                Some(_) => drop(one.answer.send(Ok(()))),
                None if is_forgotten(answer) => again.push_back(one),
                None => return Err(Broken),
            }
        }
        if !again.is_empty() {
            let mut work = self.link.work();
            again.append(&mut work.announcing);
            work.announcing = again;
        }
        Ok(())
    }

    fn attached(&self, rooms: Vec<Arc<Room>>, answers: Vec<Value>) -> Result<(), Broken> {
        for (room, answer) in rooms.into_iter().zip(answers) {
            if is_forgotten(&answer) {
                room.inbox().asked = 0;
                self.bus.ask(&room);
                continue;
            }
            let state = read_attached(self.bus, &room, answer).ok_or(Broken)?;
            let others = state.roster.iter().filter(|peer| peer.node != self.bus.node());
            if let Some(link) = self.bus.route.lease_link(room.names.partition) {
                let mut peers = link.peers();
                others.for_each(|peer| peers.watch(peer.node));
            }
            self.bus.tell(&room, Told::Attached(state));
        }
        Ok(())
    }

    fn changed(&self, changes: Vec<Channel>, answers: &[Value]) -> Result<(), Broken> {
        healthy(answers)?;
        for change in changes {
            if let Channel::Subscribe(room) = change {
                let before = std::mem::replace(&mut room.inbox().subscribed, self.number);
                if before != self.number {
                    self.bus.ask(&room);
                }
            }
        }
        Ok(())
    }

    fn probed(&mut self, answers: &[Value]) -> Result<(), Broken> {
        let Some(was_there) = answers.first().and_then(integer) else {
            // With the scripts forgotten, the next one is sent as text.
            *self.link.probe() = None;
            return if answers.iter().all(is_forgotten) { Ok(()) } else { Err(Broken) };
        };
        if was_there == 0 && self.renewed_lease {
            // The server lost what it had, and nothing else tells it.
            self.link.peers().settle(clock::now());
            for partition in &self.partitions {
                for room in self.bus.rooms.of_partition(*partition) {
                    self.bus.ask(&room);
                }
            }
        }
        self.renewed_lease = true;
        Ok(())
    }

    fn renewed(&self, rooms: &[Arc<Room>], answers: &[Value]) -> Result<(), Broken> {
        healthy(answers)?;
        for (room, answers) in rooms.iter().zip(answers.chunks(2)) {
            if answers.first().and_then(integer) == Some(0) && room.line().epoch.is_some() {
                self.bus.ask(room);
            }
        }
        Ok(())
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
        for partition in bus.route.partitions(self) {
            for room in bus.rooms.of_partition(partition) {
                bus.cut(&room);
            }
        }
    }

    /// Something came on the subscriber's connection. Called in its task, so it only sorts.
    fn came(&self, bus: &Arc<Bus>, lease: &str, broken: &Notify, info: PushInfo) {
        match info.kind {
            PushKind::SMessage => {
                let mut data = info.data.into_iter();
                let (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) =
                    (data.next(), data.next())
                else {
                    return;
                };
                if let Some(room) = bus.rooms.by_channel(&channel) {
                    bus.receive(&room, payload);
                } else if channel == lease.as_bytes() {
                    self.echoed(&payload);
                }
            }
            PushKind::SUnsubscribe => {
                let less = |count: usize| count.checked_sub(1);
                let (set, get) = (Ordering::AcqRel, Ordering::Acquire);
                if self.unsubscribing.fetch_update(set, get, less).is_err() {
                    broken.notify_one();
                }
            }
            PushKind::Disconnection => broken.notify_one(),
            _ => {}
        }
    }

    /// A probe came back.
    fn echoed(&self, payload: &[u8]) {
        let sign = std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok());
        let mut probe = self.probe();
        if let Some(sent) = probe.take_if(|probe| Some(probe.sign) == sign).map(|probe| probe.sent)
        {
            let nanos = clock::now().since(sent).as_nanos();
            self.round_trip_ns
                .store(u64::try_from(nanos).unwrap_or(u64::MAX).max(1), Ordering::Release);
        }
    }
}

/// Sends a pipeline, and says what it was when the answers have come.
async fn fly(connection: MultiplexedConnection, what: What, pipe: Pipeline) -> Flight {
    Flight { what, answers: send(connection, pipe).await }
}

/// No answer is an error.
fn healthy(answers: &[Value]) -> Result<(), Broken> {
    let sick = answers.iter().any(|answer| matches!(answer, Value::ServerError(_)));
    if sick { Err(Broken) } else { Ok(()) }
}
