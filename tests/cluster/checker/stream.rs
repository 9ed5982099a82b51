//! One member's log against the orders: every number in its turn, every roster, every message.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::orders::{Order, Orders, Thing};
use super::{Epoch, Event, Fault, Finding, Hash, Kind, Log, Name, Sending, Sendings, Verdict};

/// What walks along several logs have in common.
#[derive(Default)]
pub(super) struct Common {
    /// Directs that somebody heard.
    pub(super) directs: HashSet<Hash>,
    /// The members at a number, as whoever came first had them.
    rosters: HashMap<(usize, Epoch, u64), BTreeSet<Name>>,
}

/// How a message came.
#[derive(Clone, Copy)]
enum Came {
    ToAll { echo: bool },
    ToMe,
    Volatile,
}

/// A walk along a log.
pub(super) struct Stream<'a> {
    index: usize,
    log: &'a Log,
    orders: &'a Orders,
    sendings: &'a Sendings,
    me: Name,
    epoch: Epoch,
    /// The highest number that has come, was announced as lost, or is an own message's.
    last: u64,
    roster: BTreeSet<Name>,
    /// Every message that came, so that none comes twice.
    heard: HashSet<Hash>,
    /// What was sent with the wish for an answer, and has none yet.
    unanswered: HashSet<Hash>,
    /// Own messages that are not echoed and not answered for: nobody may know their numbers.
    silent: HashSet<Hash>,
}

impl<'a> Stream<'a> {
    pub(super) fn new(
        index: usize,
        log: &'a Log,
        orders: &'a Orders,
        sendings: &'a Sendings,
    ) -> Self {
        Self {
            index,
            log,
            orders,
            sendings,
            me: 0,
            epoch: 0,
            last: 0,
            roster: BTreeSet::new(),
            heard: HashSet::new(),
            unanswered: HashSet::new(),
            silent: HashSet::new(),
        }
    }

    /// Walks to the quiet or to the end.
    pub(super) fn walk(mut self, verdict: &mut Verdict, common: &mut Common) {
        let findings = &mut verdict.findings;
        let mut events = self.log.events.iter();
        match events.next() {
            Some(Event::Welcome(welcome)) => {
                self.me = welcome.me;
                self.enter(welcome.epoch, welcome.seq, &welcome.members);
                self.same_roster(welcome.seq, common, findings);
            }
            // It never came in.
            None | Some(Event::End(_)) => return,
            Some(_) => return self.found(Fault::Unwelcome, 0, findings),
        }
        for event in events {
            match *event {
                Event::Welcome(ref again) => self.found(Fault::Unwelcome, again.seq, findings),
                Event::Join { member, seq } => {
                    self.advance(seq, findings);
                    if !self.roster.insert(member) {
                        self.found(Fault::Roster, seq, findings);
                    }
                    self.same_roster(seq, common, findings);
                }
                Event::Leave { member, seq } => {
                    self.advance(seq, findings);
                    if !self.roster.remove(&member) {
                        self.found(Fault::Roster, seq, findings);
                    }
                    self.same_roster(seq, common, findings);
                }
                Event::Message { from, seq, hash, echo } => {
                    self.advance(seq, findings);
                    self.hears(from, hash, seq, findings);
                    self.came_as_sent(hash, Came::ToAll { echo }, seq, findings);
                }
                Event::Direct { from, seq, hash } => {
                    self.holes_up_to(seq, findings);
                    self.hears(from, hash, seq, findings);
                    self.came_as_sent(hash, Came::ToMe, seq, findings);
                    common.directs.insert(hash);
                }
                Event::Volatile { from, hash } => {
                    self.came(from, hash, 0, findings);
                    self.came_as_sent(hash, Came::Volatile, 0, findings);
                }
                Event::Sent { hash, kind, ack } => self.sends(hash, kind, ack),
                Event::Ack { hash, .. } | Event::Refused { hash } => {
                    self.unanswered.remove(&hash);
                    self.silent.remove(&hash);
                }
                Event::Gap { from, to, ref members } => {
                    self.gap(from, to, members, findings);
                    self.same_roster(to, common, findings);
                }
                Event::Reset { epoch, seq, ref members } => {
                    self.enter(epoch, seq, members);
                    self.same_roster(seq, common, findings);
                }
                Event::Paused | Event::Resumed => {}
                Event::Quiet => return self.at_the_quiet(findings),
                Event::End(_) => return,
            }
        }
        // A log that just stops was cut off by the test, and counts as quiet.
        self.at_the_quiet(findings);
    }

    fn enter(&mut self, epoch: Epoch, seq: u64, members: &[Name]) {
        self.epoch = epoch;
        self.last = seq;
        self.roster = members.iter().copied().collect();
        // What was on its way is announced with it.
        self.unanswered.clear();
        self.silent.clear();
    }

    fn sends(&mut self, hash: Hash, kind: Kind, ack: bool) {
        if ack {
            self.unanswered.insert(hash);
        } else if kind == Kind::Plain {
            self.silent.insert(hash);
        }
    }

    fn gap(&mut self, from: u64, to: u64, members: &[Name], findings: &mut Vec<Finding>) {
        if from <= self.last {
            // It came, and now it is said not to come.
            self.found(Fault::Repeated, from, findings);
        } else {
            self.holes_up_to(from - 1, findings);
        }
        self.last = self.last.max(to);
        self.roster = members.iter().copied().collect();
        self.unanswered.clear();
    }

    /// The next number: above the last one, with nothing unexplained in between.
    fn advance(&mut self, seq: u64, findings: &mut Vec<Finding>) {
        if seq <= self.last {
            self.found(Fault::Repeated, seq, findings);
            return;
        }
        self.holes_up_to(seq - 1, findings);
        self.last = seq;
    }

    /// Numbers up to this one that did not come are own messages' that were not to be echoed.
    fn holes_up_to(&mut self, seq: u64, findings: &mut Vec<Finding>) {
        for hole in self.last + 1..=seq {
            let is_own = match self.order().and_then(|order| order.at(hole)) {
                Some(Thing::Message(hash)) if self.is_own_and_silent(hash) => {
                    self.silent.remove(&hash);
                    true
                }
                Some(_) => false,
                None => self.takes_a_silent_one(),
            };
            if !is_own {
                self.found(Fault::Lost, hole, findings);
            }
        }
        self.last = self.last.max(seq);
    }

    fn is_own_and_silent(&self, hash: Hash) -> bool {
        let sending = self.sendings.by_hash.get(&hash);
        sending.is_some_and(|sending| sending.from == self.me && sending.kind == Kind::Plain)
    }

    /// Whether one of its own may have this number, which nobody knows; then it has.
    fn takes_a_silent_one(&mut self) -> bool {
        let Some(&one) = self.silent.iter().next() else { return false };
        self.silent.remove(&one)
    }

    fn order(&self) -> Option<&'a Order> {
        self.orders.of_epoch(self.log.room, self.epoch)
    }

    /// A message in the order: its sender is there.
    fn hears(&mut self, from: Name, hash: Hash, seq: u64, findings: &mut Vec<Finding>) {
        if !self.roster.contains(&from) {
            self.found(Fault::NoMember, seq, findings);
        }
        self.came(from, hash, seq, findings);
    }

    /// A message: sent in this room by whoever it says, not refused, not heard before.
    fn came(&mut self, from: Name, hash: Hash, seq: u64, findings: &mut Vec<Finding>) {
        match self.sendings.by_hash.get(&hash) {
            Some(sending) if sending.room == self.log.room && sending.from == from => {}
            _ => self.found(Fault::Foreign, seq, findings),
        }
        if self.sendings.refused.contains(&hash) {
            self.found(Fault::Refused, seq, findings);
        }
        if !self.heard.insert(hash) {
            self.found(Fault::Repeated, seq, findings);
        }
    }

    /// It came in the way in which it was sent, and to whom it was sent.
    fn came_as_sent(&self, hash: Hash, came: Came, seq: u64, findings: &mut Vec<Finding>) {
        let Some(Sending { kind, from, .. }) = self.sendings.by_hash.get(&hash) else { return };
        let is_mine = *from == self.me;
        let is_right = match (came, kind) {
            (Came::ToMe, Kind::Direct(to)) => *to == self.me,
            (Came::ToAll { echo }, Kind::Echo) => is_mine == echo,
            (Came::ToAll { echo }, Kind::Plain) => !is_mine && !echo,
            (Came::Volatile, Kind::Volatile) => !is_mine,
            _ => false,
        };
        if !is_right {
            self.found(Fault::Foreign, seq, findings);
        }
    }

    /// Nothing is on its way: what others have, this one has too.
    fn at_the_quiet(&mut self, findings: &mut Vec<Finding>) {
        let last = self.order().map_or(0, Order::last_message);
        self.holes_up_to(last, findings);
        for _ in 0..self.unanswered.len() {
            self.found(Fault::Unanswered, self.last, findings);
        }
    }

    /// The same members as everybody else has at this number.
    fn same_roster(&self, seq: u64, common: &mut Common, findings: &mut Vec<Finding>) {
        let place = (self.log.room, self.epoch, seq);
        let known = common.rosters.entry(place).or_insert_with(|| self.roster.clone());
        if *known != self.roster {
            self.found(Fault::Roster, seq, findings);
        }
    }

    fn found(&self, fault: Fault, seq: u64, findings: &mut Vec<Finding>) {
        findings.push(Finding { fault, log: self.index, room: self.log.room, seq });
    }
}
