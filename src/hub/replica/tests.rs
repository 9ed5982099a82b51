//! Three nodes that share one room over a bus that loses, repeats, breaks and forgets.
//!
//! Everybody's frames are read as its client would read them, and have to be one story: the same at
//! each number of an epoch for all, without a hole that was not announced.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::bus::{Attached, Peer, Refused};
use crate::core::entry::entries;
use crate::core::limit::{Bucket, Limit};
use crate::core::wire::{self, RelayHead};
use crate::hub::log::{Audience, FanoutLimits};

const NODES: usize = 3;
const MEMBERS_MAX: u32 = 4;

fn node_id(node: usize) -> NodeId {
    NodeId::from_bytes([u8::try_from(node).unwrap() + 1; NodeId::LEN])
}

fn member_id(n: u64) -> MemberId {
    MemberId::from_bytes(n.to_be_bytes())
}

/// What the script of the bus does.
#[derive(Default)]
struct Order {
    place: Option<Place>,
    roster: BTreeMap<MemberId, (NodeId, bool)>,
    epochs: u8,
}

/// A member's client: what it was told, and what became of it.
#[derive(Default)]
struct Client {
    heard: Vec<Value>,
    is_closed: bool,
}

struct Node {
    replica: Replica<u64>,
    log: Log<u64>,
    audience: Audience<u64>,
    inbox: VecDeque<Delivery>,
    /// Taken, and not known to have happened.
    under_way: Option<(Batch, Epoch)>,
    is_up: bool,
    is_subscribed: bool,
    seats: Vec<(u64, oneshot::Receiver<Result<SeatIndex, Close>>)>,
    now: Instant,
}

struct World {
    order: Order,
    nodes: Vec<Node>,
    clients: BTreeMap<u64, Client>,
    /// Who said what was accepted, and how much it had heard by then.
    accepted: Vec<(u64, u16, usize)>,
    next: u64,
    /// Somebody was made to leave.
    has_removed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Join,
    Say(u8),
    Leave(u8),
    GiveUp,
    Kick(u8),
    Publish,
    /// Taken by the link, which breaks before it is written.
    Hang,
    Deliver,
    Lose,
    Repeat,
    Down,
    Up,
    Forget,
    Reap,
    Wait,
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let who = any::<u8>();
    let step = prop_oneof![
        4 => Just(Step::Join),
        8 => who.prop_map(Step::Say),
        2 => who.prop_map(Step::Leave),
        1 => Just(Step::GiveUp),
        1 => who.prop_map(Step::Kick),
        12 => Just(Step::Publish),
        1 => Just(Step::Hang),
        24 => Just(Step::Deliver),
        2 => Just(Step::Lose),
        2 => Just(Step::Repeat),
        2 => Just(Step::Down),
        5 => Just(Step::Up),
        1 => Just(Step::Forget),
        1 => Just(Step::Reap),
        1 => Just(Step::Wait),
    ];
    (0..NODES, step)
}

fn limits() -> FanoutLimits {
    let plenty = Limit::new(1 << 40, Duration::from_secs(10));
    FanoutLimits { sender: plenty, room: plenty }
}

impl World {
    fn new() -> Self {
        let node = |node| Node {
            replica: Replica { members_max: MEMBERS_MAX, ..Replica::new(node_id(node), 1 << 20) },
            log: Log::default(),
            audience: Audience::default(),
            inbox: VecDeque::new(),
            under_way: None,
            is_up: true,
            is_subscribed: false,
            seats: Vec::new(),
            now: Instant::START,
        };
        let nodes = (0..NODES).map(node).collect();
        let (order, clients) = (Order::default(), BTreeMap::new());
        let mut world =
            Self { order, nodes, clients, accepted: Vec::new(), next: 0, has_removed: false };
        (0..NODES).for_each(|node| world.attach(node));
        world
    }

    fn act(&mut self, node: usize, step: Step) {
        self.has_removed |= matches!(step, Step::Kick(_) | Step::Reap);
        match step {
            Step::Join => self.join(node),
            Step::Say(who) => self.say(node, who),
            Step::Leave(who) => {
                if let Some(member) = self.pick_here(node, who) {
                    let Node { replica, log, .. } = &mut self.nodes[node];
                    let _ = replica.leave(log, member_id(member), Gone::Left).unwrap();
                    self.clients.get_mut(&member).unwrap().is_closed = true;
                }
            }
            Step::GiveUp => {
                let Node { replica, log, seats, .. } = &mut self.nodes[node];
                if let Some((member, _)) = seats.pop() {
                    let _ = replica.leave(log, member_id(member), Gone::Lost);
                    self.clients.get_mut(&member).unwrap().is_closed = true;
                }
            }
            Step::Kick(who) => {
                let members: BTreeSet<_> = self.nodes[node].replica.members.keys().collect();
                let picked = members.iter().nth(usize::from(who) % members.len().max(1));
                if let Some(member) = picked.copied().copied() {
                    let _ = self.nodes[node].replica.kick(member);
                }
            }
            Step::Publish => self.publish(node),
            Step::Hang => self.hang(node),
            Step::Deliver => self.deliver(node),
            Step::Lose => drop(self.nodes[node].inbox.pop_front()),
            Step::Repeat => {
                if let Some(first) = self.nodes[node].inbox.front().map(copy) {
                    self.nodes[node].inbox.push_front(first);
                }
            }
            Step::Down => self.down(node),
            Step::Up => self.up(node),
            Step::Forget => {
                self.order.place = None;
                self.order.roster.clear();
            }
            Step::Reap => {
                let down: Vec<_> =
                    (0..NODES).filter(|n| !self.nodes[*n].is_up).map(node_id).collect();
                self.nodes[node].replica.reap(|node| !down.contains(&node));
            }
            Step::Wait => {
                let node = &mut self.nodes[node];
                node.now = node.now.after(Duration::from_secs(5));
            }
        }
        self.flush(node);
        self.answers(node);
    }

    fn join(&mut self, node: usize) {
        self.next += 1;
        let member = self.next;
        let (seated, answer) = oneshot::channel();
        let welcome: Greeting = Box::new(|epoch, seq, members| wire::reset(epoch, seq, members));
        let joiner = Joiner { handle: member, hears: true, welcome, seated };
        if self.nodes[node].replica.join(member_id(member), joiner).is_ok() {
            self.nodes[node].seats.push((member, answer));
            self.clients.insert(member, Client::default());
        }
    }

    /// Whoever is told that there is no seat for it goes.
    fn answers(&mut self, node: usize) {
        let clients = &mut self.clients;
        self.nodes[node].seats.retain_mut(|(member, answer)| match answer.try_recv() {
            Ok(Ok(_)) => false,
            Ok(Err(_)) => {
                clients.get_mut(member).unwrap().is_closed = true;
                false
            }
            Err(_) => true,
        });
    }

    fn pick_here(&self, node: usize, who: u8) -> Option<u64> {
        let members = &self.nodes[node].replica.members;
        let here = members.iter().filter(|(_, known)| known.is_here());
        let here: BTreeSet<_> = here.map(|(member, _)| *member.as_bytes()).collect();
        let index = usize::from(who).checked_rem(here.len())?;
        here.into_iter().nth(index).map(u64::from_be_bytes)
    }

    fn say(&mut self, node: usize, who: u8) {
        let Some(member) = self.pick_here(node, who) else { return };
        self.next += 1;
        let reference = u16::try_from(self.next).unwrap();
        let flags = Flags::ACK.with(Flags::ECHO);
        let head = ClientHead { target: Target::Room, flags, reference };
        let payload = Payload::Joined(reference.to_be_bytes().to_vec());
        let Node { replica, log, now, .. } = &mut self.nodes[node];
        let charge =
            Charge { sender: &mut Bucket::default(), limits: &limits(), payload: 2, now: *now };
        match replica.say(log, member_id(member), &head, (&payload, 0), charge) {
            Ok(taken) => {
                assert!(taken.is_some(), "it has a seat");
                self.accepted.push((member, reference, self.clients[&member].heard.len()));
            }
            Err(unsent) => {
                assert!(matches!(unsent, Unsent::Unavailable(_)) && replica.is_down());
            }
        }
    }

    fn publish(&mut self, node: usize) {
        let Node { replica, is_up, under_way, is_subscribed, .. } = &mut self.nodes[node];
        if !*is_up || !*is_subscribed || under_way.is_some() {
            return;
        }
        let Some(batch) = replica.take() else { return };
        let epoch = replica.place.unwrap().epoch;
        self.execute(node, &batch, epoch);
    }

    fn hang(&mut self, node: usize) {
        let Node { replica, is_up, under_way, is_subscribed, .. } = &mut self.nodes[node];
        if *is_up && *is_subscribed && under_way.is_none() {
            let epoch = replica.place.unwrap().epoch;
            *under_way = replica.take().map(|batch| (batch, epoch));
            self.down(node);
        }
    }

    /// The publish script, and its answer.
    fn execute(&mut self, node: usize, batch: &Batch, epoch: Epoch) {
        let order = &mut self.order;
        let Some(place) = order.place.as_mut().filter(|place| place.epoch == epoch) else {
            self.refuse(node, batch, Refused::Void);
            return self.attach(node);
        };
        if batch.leaves.iter().any(|member| !order.roster.contains_key(member)) {
            return self.refuse(node, batch, Refused::Absent);
        }
        let joined = order.roster.len() + batch.joins.len();
        if !batch.joins.is_empty() && joined > batch.members_max as usize {
            return self.refuse(node, batch, Refused::Full);
        }
        for (member, hears) in &batch.joins {
            let before = order.roster.insert(*member, (node_id(node), *hears));
            assert!(before.is_none(), "joined twice");
        }
        for member in &batch.leaves {
            order.roster.remove(member);
        }
        let seq_before = place.seq;
        place.advance(batch.numbers.into());
        let Place { epoch, position, .. } = *place;
        let origin = node_id(node);
        let delivery = |is_own| {
            let entries = batch.entries.clone();
            Delivery { origin, is_own, epoch, position, seq_before, entries }
        };
        for (other, to) in self.nodes.iter_mut().enumerate().filter(|(_, to)| to.is_subscribed) {
            to.inbox.push_back(delivery(other == node));
        }
    }

    fn refuse(&mut self, node: usize, batch: &Batch, why: Refused) {
        let Node { replica, log, .. } = &mut self.nodes[node];
        let (_, closed) = replica.refused(log, batch, why);
        self.close(closed);
    }

    fn close(&mut self, closed: impl IntoIterator<Item = (u64, Close)>) {
        for (member, _) in closed {
            self.clients.get_mut(&member).unwrap().is_closed = true;
        }
    }

    /// The attach script, and what the bus does with its answer.
    fn attach(&mut self, node: usize) {
        let Standing { at, members } = self.nodes[node].replica.standing();
        let order = &mut self.order;
        let is_behind = |there: &Place| {
            at.is_some_and(|(epoch, position)| there.epoch == epoch && there.position < position)
        };
        let here = order.place.filter(|there| !is_behind(there));
        let place = here.unwrap_or_else(|| {
            order.epochs += 1;
            let epoch = Epoch::from_bytes([order.epochs; Epoch::LEN]);
            let fresh = Place { epoch, position: 0, seq: 0 };
            order.place = Some(fresh);
            let own = members.iter().map(|(member, hears)| (*member, (node_id(node), *hears)));
            order.roster = own.collect();
            for to in self.nodes.iter_mut().filter(|to| to.is_subscribed) {
                let (origin, is_own) = (node_id(node), false);
                let entries = Vec::new();
                to.inbox.push_back(Delivery {
                    origin,
                    is_own,
                    epoch,
                    position: 0,
                    seq_before: 0,
                    entries,
                });
            }
            fresh
        });
        let peer = |(member, (node, hears)): (&MemberId, &(NodeId, bool))| Peer {
            member: *member,
            node: *node,
            hears: *hears,
        };
        let roster = order.roster.iter().map(peer).collect();
        let Place { epoch, position, seq } = place;
        let state = Attached { epoch, position, seq, roster };
        let Node { replica, log, is_subscribed, now, .. } = &mut self.nodes[node];
        *is_subscribed = true;
        let (_, closed) = replica.attached(log, &state, *now);
        self.flush(node);
        self.close(closed);
        if let Some((batch, epoch)) = self.nodes[node].under_way.take() {
            self.execute(node, &batch, epoch);
        }
    }

    fn deliver(&mut self, node: usize) {
        let Some(delivery) = self.nodes[node].inbox.pop_front() else { return };
        let receipt = self.nodes[node].replica.receive(&delivery);
        match receipt {
            Receipt::Ignore => {}
            Receipt::Again => self.attach(node),
            Receipt::Apply { numbers } => {
                for entry in entries(&delivery.entries).map(Result::unwrap) {
                    if self.nodes[node].replica.unseats(&entry) {
                        self.flush(node);
                    }
                    let Node { replica, log, now, .. } = &mut self.nodes[node];
                    let limit = limits().room;
                    match replica.apply(log, delivery.origin, &entry, &limit, *now) {
                        Some(Demand::Close(closed)) => self.close(closed),
                        Some(Demand::LookUp | Demand::End) => panic!("nobody asked for it"),
                        None => {}
                    }
                }
                self.nodes[node].replica.applied(numbers);
            }
        }
    }

    fn down(&mut self, node: usize) {
        let Node { replica, log, inbox, is_up, is_subscribed, now, .. } = &mut self.nodes[node];
        if std::mem::replace(is_up, false) {
            *is_subscribed = false;
            inbox.clear();
            replica.detached(log, *now);
        }
    }

    fn up(&mut self, node: usize) {
        if !std::mem::replace(&mut self.nodes[node].is_up, true) {
            self.attach(node);
        }
    }

    /// Hands everybody what it hears.
    fn flush(&mut self, node: usize) {
        let Node { log, audience, .. } = &mut self.nodes[node];
        let Some(mut batch) = log.take_for(audience) else { return };
        batch.seal();
        for listener in &mut audience.listeners {
            let mut runs = Vec::new();
            let from = std::mem::take(&mut listener.from);
            batch.stream(listener.seat, from, listener.hears, &mut runs);
            let bytes: Vec<u8> = runs.iter().flat_map(|run| run.bytes().to_vec()).collect();
            let client = self.clients.get_mut(&listener.handle).unwrap();
            client.heard.extend(frames(&bytes));
        }
    }

    /// Everything is repaired, and all has time to arrive.
    fn settle(&mut self) {
        (0..NODES).for_each(|node| self.up(node));
        // What was lost last shows when something follows it; the bus has probes for that.
        (0..NODES).for_each(|node| self.attach(node));
        self.run_dry();
        if self.has_removed {
            // Somebody may have been removed before its own node saw it: its join takes too long.
            for node in 0..NODES {
                while !self.nodes[node].seats.is_empty() {
                    self.act(node, Step::GiveUp);
                }
                let Node { replica, log, now, .. } = &mut self.nodes[node];
                let closed = replica.give_up_absent(log, now.after(BACK_WITHIN));
                self.close(closed);
            }
            self.run_dry();
        }
    }

    fn run_dry(&mut self) {
        for _ in 0..200 {
            for node in 0..NODES {
                self.act(node, Step::Publish);
                while !self.nodes[node].inbox.is_empty() {
                    self.act(node, Step::Deliver);
                }
            }
        }
    }

    fn check(&self) {
        let mut story = BTreeMap::new();
        for (member, client) in &self.clients {
            let end = client.retell(&mut story);
            if client.is_closed {
                continue;
            }
            let (epoch, seq, roster) = end.expect("whoever is not closed has been welcomed");
            let place = self.order.place.unwrap();
            assert_eq!((epoch, seq), (place.epoch.to_base64url(), place.seq), "one place");
            let names = self.order.roster.keys().map(MemberId::to_base64url);
            assert_eq!(roster, names.collect(), "one roster");
            assert!(roster.contains(&member_id(*member).to_base64url()), "is there itself");
        }
        for (member, reference, heard_before) in &self.accepted {
            let client = &self.clients[member];
            let after = client.heard.iter().skip(*heard_before);
            let is_told = after.clone().any(|said| {
                said["said"] == *reference || said["type"] == "gap" || said["type"] == "reset"
            });
            assert!(is_told || client.is_closed, "{reference} was lost silently");
        }
        let seats: usize = self.nodes.iter().map(|node| node.log.members()).sum();
        let open = self.clients.values().filter(|client| !client.is_closed).count();
        assert_eq!((seats, self.order.roster.len()), (open, open), "nobody is left over");
        for node in &self.nodes {
            assert!(node.seats.is_empty() && !node.replica.is_busy(), "nothing is left lying");
        }
    }
}

type End = (String, u64, BTreeSet<String>);

impl Client {
    /// Follows what it heard, and checks that everybody hears the same at each number.
    fn retell(&self, story: &mut BTreeMap<(String, u64), Value>) -> Option<End> {
        let names = |said: &Value| -> BTreeSet<String> {
            let members = said["members"].as_array().unwrap().iter();
            members.map(|name| name.as_str().unwrap().to_owned()).collect()
        };
        let mut heard = self.heard.iter();
        // The test's welcome looks like a reset.
        let first = heard.next()?;
        assert_eq!(first["type"], "reset");
        let begins = |said: &Value| -> End {
            let epoch = said["epoch"].as_str().unwrap().to_owned();
            (epoch, said["seq"].as_u64().unwrap(), names(said))
        };
        let mut here = begins(first);
        let mut is_paused = false;
        for said in heard {
            match said["type"].as_str().unwrap() {
                "reset" => {
                    let next = begins(said);
                    assert!(next.0 != here.0, "another epoch");
                    here = next;
                }
                "gap" => {
                    assert_eq!(said["from"], here.1 + 1, "a gap begins where it broke off");
                    here.1 = said["to"].as_u64().unwrap();
                    here.2 = names(said);
                }
                "paused" => assert!(!std::mem::replace(&mut is_paused, true)),
                "resumed" => assert!(std::mem::replace(&mut is_paused, false)),
                "ack" => assert_eq!(said["seq"], here.1),
                kind => {
                    assert_eq!(said["seq"], here.1 + 1, "no hole, nothing twice: {said}");
                    here.1 += 1;
                    let name = said["member"].as_str().unwrap_or_default().to_owned();
                    match kind {
                        "join" => drop(here.2.insert(name)),
                        "leave" => drop(here.2.remove(&name)),
                        _ => {}
                    }
                    let told =
                        story.entry((here.0.clone(), here.1)).or_insert_with(|| said.clone());
                    assert_eq!(told, said, "one order for all");
                }
            }
        }
        assert!(!is_paused || self.is_closed);
        Some(here)
    }
}

fn copy(delivery: &Delivery) -> Delivery {
    Delivery { entries: delivery.entries.clone(), ..*delivery }
}

/// The frames of a relay: text as it is, messages as something like it.
fn frames(mut bytes: &[u8]) -> Vec<Value> {
    let mut frames = Vec::new();
    while let [opcode, len, rest @ ..] = bytes {
        let (len, rest) = match len {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => panic!("nothing here is that long"),
            len => (usize::from(*len), rest),
        };
        let (payload, rest) = rest.split_at(len);
        bytes = rest;
        if *opcode == 0x81 {
            frames.push(serde_json::from_slice(payload).unwrap());
            continue;
        }
        let (head, payload) = RelayHead::parse(payload).unwrap();
        let said = u16::from_be_bytes(payload.try_into().unwrap());
        let from = head.from.to_base64url();
        let text =
            serde_json::json!({ "type": "said", "seq": head.seq, "from": from, "said": said });
        frames.push(text);
    }
    frames
}

/// Somebody alone is told something that no other hears, leaves before it is sent, and the seat is
/// given to the next one.
#[test]
fn who_gets_a_seat_does_not_hear_what_was_for_the_one_before() {
    let mut world = World::new();
    for step in [Step::Join, Step::Publish, Step::Deliver, Step::Say(0), Step::Publish] {
        world.act(0, step);
    }
    let first = world.pick_here(0, 0).unwrap();
    // Delivered and not flushed, because another flush is under way.
    world.deliver(0);
    let Node { replica, log, .. } = &mut world.nodes[0];
    let _ = replica.leave(log, member_id(first), Gone::Left).unwrap();
    world.join(0);
    world.publish(0);
    world.deliver(0);
    world.flush(0);
    let second = world.pick_here(0, 0).unwrap();
    assert!(world.nodes[0].log.find(member_id(first)).is_none());
    let heard = &world.clients[&second].heard;
    assert_eq!(heard.len(), 1, "its welcome and nothing else: {heard:?}");
    assert_eq!(heard[0]["type"], "reset");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn all_nodes_tell_one_story(steps in prop::collection::vec(step(), 0..250)) {
        let mut world = World::new();
        for (node, step) in steps {
            world.act(node, step);
        }
        world.settle();
        world.check();
    }
}
