//! What a session makes of the answers to what it wrote.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use redis::Value;

use super::Announcement;
use super::Channel;
use super::session::{Broken, Flight, Session, What};
use crate::bus::read_attached;
use crate::bus::room::{Room, Told};
use crate::bus::scripts::{Scripts, integer, is_forgotten};
use crate::bus::topic::Refused;
use crate::clock;
use crate::metrics::{Count, Timed};

impl Session<'_> {
    /// Takes in the answers to one write.
    pub(super) fn land(&mut self, flight: Flight) -> Result<(), Broken> {
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
            What::Published(rooms, since) => {
                self.publishing -= 1;
                self.bus.metrics.observe(Timed::BusPublish, clock::now().since(since));
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

/// No answer is an error.
fn healthy(answers: &[Value]) -> Result<(), Broken> {
    let sick = answers.iter().any(|answer| matches!(answer, Value::ServerError(_)));
    if sick { Err(Broken) } else { Ok(()) }
}
