//! Members of several rooms on several nodes, and what can be asked of all of them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::client::{Plan, Standing, join};
use super::journey::{Journeys, Traveller};
use super::{PATIENCE, Room, Watch, until};
use crate::checker::{Log, Name};

/// Members that talk until they are told to stop.
pub(crate) struct Crowd {
    pub(crate) rooms: Vec<Room>,
    plan: watch::Sender<Plan>,
    seen: Seen,
    names: Vec<Name>,
    tokens: Vec<String>,
    lives: JoinSet<Vec<(usize, Log)>>,
    journeys: Arc<Mutex<Journeys>>,
}

/// How all connections stand, in the order in which they came.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Vec<watch::Receiver<Standing>>>>);

impl Seen {
    /// How many there have been.
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// One more.
    pub(super) fn push(&self, seen: watch::Receiver<Standing>) {
        self.0.lock().unwrap().push(seen);
    }

    fn now(&self) -> Vec<Standing> {
        self.0.lock().unwrap().iter().map(|seen| seen.borrow().clone()).collect()
    }
}

impl Crowd {
    fn nobody() -> Self {
        Self {
            rooms: Vec::new(),
            plan: watch::Sender::new(Plan::default()),
            seen: Seen::default(),
            names: Vec::new(),
            tokens: Vec::new(),
            lives: JoinSet::new(),
            journeys: Arc::default(),
        }
    }

    /// Makes so many rooms at one address, with so many members each who come back there whatever
    /// sends them away. Every second one goes when it is told to, and the others wait to be closed.
    pub(crate) async fn travelling(addr: SocketAddr, rooms: usize, members: usize) -> Self {
        let mut crowd = Self::nobody();
        for number in 0..rooms {
            let room = Room::create(addr).await;
            crowd.rooms.push(room.clone());
            for member in 0..members {
                let traveller = Traveller {
                    room: room.clone(),
                    number,
                    addr,
                    moves: member % 2 == 0,
                    plan: crowd.plan.subscribe(),
                    seen: crowd.seen.clone(),
                    journeys: Arc::clone(&crowd.journeys),
                };
                crowd.lives.spawn(traveller.travel());
            }
        }
        crowd.all_back(members).await;
        crowd
    }

    /// Waits until so many members are in each room and see each other.
    pub(crate) async fn all_back(&self, members: usize) {
        let all = members * self.rooms.len();
        let are_back = async || {
            let living = self.living();
            living.len() == all && living.iter().all(|member| member.members >= members)
        };
        until_said(PATIENCE, "everybody to be back", are_back, || self.describe()).await;
    }

    /// What those who come back have met with so far.
    pub(crate) fn journeys(&self) -> Journeys {
        self.journeys.lock().unwrap().clone()
    }

    /// Makes so many rooms, with so many members of each at every node.
    pub(crate) async fn gather(nodes: &[SocketAddr], rooms: usize, per_node: usize) -> Self {
        let mut crowd = Self::nobody();
        for number in 0..rooms {
            let room = Room::create(nodes[number % nodes.len()]).await;
            crowd.rooms.push(room);
            for _ in 0..per_node {
                for (node, &addr) in nodes.iter().enumerate() {
                    let joined = crowd.add(number, node, addr).await;
                    joined.unwrap_or_else(|code| panic!("not let in: {code}"));
                }
            }
        }
        // Or each node would have a room of its own, with an order as good as any.
        let is_shared = |member: &Standing| member.members == per_node * nodes.len();
        crowd.until_all(PATIENCE, "everybody to see everybody", is_shared).await;
        crowd
    }

    /// One more member; what it is told if it is not let in.
    pub(crate) async fn add(
        &mut self,
        room: usize,
        node: usize,
        addr: SocketAddr,
    ) -> Result<(), u16> {
        let number = self.seen.count();
        let token = self.rooms[room].ask_token(addr).await?;
        let client = join(addr, &token, (room, node, number)).await?;
        self.seen.push(client.seen());
        self.names.push(client.name());
        self.tokens.push(token);
        let plan = self.plan.subscribe();
        self.lives.spawn(async move { vec![(number, client.live(plan).await)] });
        Ok(())
    }

    /// Everybody talks at this pace.
    pub(crate) fn talk(&self, pace: Duration) {
        self.plan.send_modify(|plan| plan.pace = Some(pace));
    }

    /// How those stand who are there.
    pub(crate) fn living(&self) -> Vec<Standing> {
        let all = self.seen.now();
        all.into_iter().filter(|standing| !standing.has_ended).collect()
    }

    /// The names of all, those who are gone included, in the order in which they came.
    pub(crate) fn names(&self) -> &[Name] {
        &self.names
    }

    /// The tokens with which they came.
    pub(crate) fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// Waits until nobody is there any more, and collects what everybody wrote down.
    pub(crate) async fn ended(self) -> Vec<Log> {
        until(PATIENCE, "everybody's end", async || self.living().is_empty()).await;
        self.collect().await
    }

    /// Messages that were accepted.
    pub(crate) fn acked(&self) -> u64 {
        self.seen.now().iter().map(|seen| seen.acked).sum()
    }

    /// Waits until so many more messages were accepted.
    pub(crate) async fn until_acked(&self, more: u64, limit: Duration) {
        let wanted = self.acked() + more;
        until(limit, "messages to be accepted", async || self.acked() >= wanted).await;
    }

    /// Waits until those who are there stand as they should.
    pub(crate) async fn until_all(
        &self,
        limit: Duration,
        what: &str,
        is_so: impl Fn(&Standing) -> bool,
    ) {
        let all_are = async || self.living().iter().all(&is_so);
        until_said(limit, what, all_are, || self.describe()).await;
    }

    /// Waits until everybody who is there has said something that everybody in the room has heard,
    /// all of one epoch; returns how many seconds that took.
    pub(crate) async fn in_order(&self, limit: Duration) -> f64 {
        let watch = Watch::start();
        self.plan.send_modify(|plan| plan.round += 1);
        let round = self.plan.borrow().round;
        let what = "all rooms to be in order";
        until_said(limit, what, async || self.rooms_in_order(round), || self.describe()).await;
        watch.seconds()
    }

    fn rooms_in_order(&self, round: u64) -> bool {
        let living = self.living();
        let is_in_order = |room: usize| {
            let members: Vec<_> = living.iter().filter(|member| member.room == room).collect();
            let Some(first) = members.first() else { return true };
            let said = members.iter().map(|member| member.round_seq).max().unwrap_or(0);
            members.iter().all(|member| {
                let is_done = member.round == round && !member.is_paused;
                is_done && member.epoch == first.epoch && member.last >= said
            })
        };
        (0..self.rooms.len()).all(is_in_order)
    }

    /// Stops the talking, waits until all has arrived, and collects what everybody wrote down.
    pub(crate) async fn end(self) -> Vec<Log> {
        self.plan.send_modify(|plan| plan.pace = None);
        self.in_order(PATIENCE).await;
        until_said(
            PATIENCE,
            "answers to all that was sent",
            async || self.living().iter().all(|member| member.open == 0),
            || self.describe(),
        )
        .await;
        self.plan.send_modify(|plan| plan.end = true);
        self.collect().await
    }

    async fn collect(mut self) -> Vec<Log> {
        let mut logs = Vec::new();
        while let Some(life) = self.lives.join_next().await {
            logs.extend(life.expect("no panic"));
        }
        logs.sort_by_key(|(number, _)| *number);
        logs.into_iter().map(|(_, log)| log).collect()
    }

    /// How everybody stands, for whoever reads a failure.
    fn describe(&self) -> String {
        let line = |member: Standing| {
            let Standing { room, node, epoch, last, round, round_seq, open, .. } = member;
            let Standing { is_paused, members, acked, has_ended, .. } = member;
            format!(
                "room {room} node {node} epoch {epoch:x} last {last} round {round}@{round_seq} \
                 open {open} paused {is_paused} members {members} acked {acked} ended {has_ended}"
            )
        };
        self.seen.now().into_iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Like [`until`], and tells how things stand when it takes too long.
async fn until_said(
    limit: Duration,
    what: &str,
    mut is_so: impl AsyncFnMut() -> bool,
    how: impl Fn() -> String,
) {
    let waiting = async {
        let mut again = tokio::time::interval(Duration::from_millis(10));
        loop {
            again.tick().await;
            if is_so().await {
                return;
            }
        }
    };
    let waited = tokio::time::timeout(limit, waiting).await;
    waited.unwrap_or_else(|_late| panic!("waited longer than {limit:?} for {what}:\n{}", how()));
}
