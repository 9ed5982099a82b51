//! Order and loss, judged from what every member wrote down: a pure function over logs.
//!
//! It demands one order per epoch for all members on all nodes, nothing twice, holes that are own
//! messages or were announced, one roster at each number, nothing from another room, nothing that was
//! refused, and that what was acknowledged came to all who were there. It knows nothing of nodes or
//! of Redis, and so cannot excuse them.

mod orders;
mod stream;
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use self::orders::Orders;
use self::stream::{Common, Stream};

/// A member, as on the wire.
pub(crate) type Name = u64;
/// An order's name, as on the wire.
pub(crate) type Epoch = u64;
/// What stands for a payload.
pub(crate) type Hash = u64;

/// One connection's life: everything that it sent and heard, in the order in which it did.
pub(crate) struct Log {
    /// Which room, by a number of the test's own.
    pub(crate) room: usize,
    /// What happened.
    pub(crate) events: Vec<Event>,
}

/// What happens to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is in: its own join has this number.
    Welcome(Box<Welcome>),
    /// Somebody came.
    Join { member: Name, seq: u64 },
    /// Somebody went.
    Leave { member: Name, seq: u64 },
    /// A message to all.
    Message { from: Name, seq: u64, hash: Hash, echo: bool },
    /// A message to it alone, after this number.
    Direct { from: Name, seq: u64, hash: Hash },
    /// A message without a number.
    Volatile { from: Name, hash: Hash },
    /// It sent something.
    Sent { hash: Hash, kind: Kind, ack: bool },
    /// What it sent was accepted, with this number.
    Ack { hash: Hash, seq: u64 },
    /// What it sent was not accepted.
    Refused { hash: Hash },
    /// These numbers do not come; the members at the last of them.
    Gap { from: u64, to: u64, members: Box<[Name]> },
    /// Another order.
    Reset { epoch: Epoch, seq: u64, members: Box<[Name]> },
    /// The order is interrupted.
    Paused,
    /// It goes on.
    Resumed,
    /// Nobody says anything any more, and whatever was on its way has come.
    Quiet,
    /// The end: with a close code, or without a word (0).
    End(u16),
}

/// What a newcomer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub(crate) epoch: Epoch,
    pub(crate) seq: u64,
    pub(crate) me: Name,
    pub(crate) members: Vec<Name>,
}

/// How something was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To all others.
    Plain,
    /// To all, the sender included.
    Echo,
    /// To one.
    Direct(Name),
    /// To all others, or nobody.
    Volatile,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A number did not come, and nobody said so.
    Lost,
    /// A direct message was acknowledged and did not come, and nobody said so.
    DirectLost,
    /// What was sent was neither acknowledged nor refused, and nobody said so.
    Unanswered,
    /// A number or a message came again, or a number below one that had come.
    Repeated,
    /// Two members have different things under one number.
    Disagree,
    /// Two members have different rosters at one number.
    Roster,
    /// A message that nobody sent in this room, or not this one to this member.
    Foreign,
    /// A message from somebody who is no member at its number.
    NoMember,
    /// A message that its sender was told was refused.
    Refused,
    /// Epochs in another order than for another member, or one again.
    Epochs,
    /// Something before the welcome, or a second one.
    Unwelcome,
}

/// Where it is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) fault: Fault,
    /// The log, as an index.
    pub(crate) log: usize,
    pub(crate) room: usize,
    pub(crate) seq: u64,
}

/// What was found.
#[derive(Default)]
pub(crate) struct Verdict {
    /// Everything that is wrong.
    pub(crate) findings: Vec<Finding>,
    /// Messages that members heard.
    pub(crate) deliveries: u64,
    /// Messages that were sent.
    pub(crate) sent: u64,
    /// Messages that were acknowledged.
    pub(crate) acked: u64,
    /// Messages that were refused.
    pub(crate) refused: u64,
    /// Gaps that members were told of.
    pub(crate) gaps: u64,
    /// Numbers in them.
    pub(crate) gap_numbers: u64,
    /// Resets that members were told of.
    pub(crate) resets: u64,
    /// Times that members were told of an interruption.
    pub(crate) pauses: u64,
    /// Ends with a close code or without a word, before the quiet.
    pub(crate) ends: BTreeMap<u16, u64>,
}

impl Verdict {
    /// What was lost without a word to whoever lost it.
    pub(crate) fn undetected(&self) -> usize {
        let losses = [Fault::Lost, Fault::DirectLost, Fault::Unanswered];
        self.findings.iter().filter(|finding| losses.contains(&finding.fault)).count()
    }

    /// The kinds of faults.
    pub(crate) fn faults(&self) -> BTreeSet<Fault> {
        self.findings.iter().map(|finding| finding.fault).collect()
    }
}

/// What its sender wrote down of a message.
struct Sending {
    room: usize,
    from: Name,
    kind: Kind,
}

/// All that was sent, and what became of it as far as senders know.
#[derive(Default)]
struct Sendings {
    by_hash: HashMap<Hash, Sending>,
    refused: HashSet<Hash>,
    /// Acknowledged directs: their numbers and epochs.
    directs: HashMap<Hash, (Epoch, u64)>,
}

/// Judges the logs of all members of all rooms.
pub(crate) fn check(logs: &[Log]) -> Verdict {
    let mut verdict = Verdict::default();
    let sendings = sendings(logs, &mut verdict);
    let orders = Orders::of(logs, &sendings, &mut verdict.findings);
    let mut common = Common::default();
    for (index, log) in logs.iter().enumerate() {
        Stream::new(index, log, &orders, &sendings).walk(&mut verdict, &mut common);
    }
    lost_directs(logs, &sendings, &common.directs, &mut verdict.findings);
    count(logs, &mut verdict);
    verdict
}

/// Gathers what was sent, and the epochs in which directs were acknowledged.
fn sendings(logs: &[Log], verdict: &mut Verdict) -> Sendings {
    let mut all = Sendings::default();
    for (index, log) in logs.iter().enumerate() {
        let (mut me, mut now) = (0, 0);
        for event in &log.events {
            match *event {
                Event::Welcome(ref welcome) => (me, now) = (welcome.me, welcome.epoch),
                Event::Reset { epoch, .. } => now = epoch,
                Event::Sent { hash, kind, .. } => {
                    verdict.sent += 1;
                    all.by_hash.insert(hash, Sending { room: log.room, from: me, kind });
                }
                Event::Refused { hash } => {
                    verdict.refused += 1;
                    all.refused.insert(hash);
                }
                Event::Ack { hash, seq } => {
                    verdict.acked += 1;
                    match all.by_hash.get(&hash) {
                        Some(Sending { kind: Kind::Direct(_), .. }) => {
                            all.directs.insert(hash, (now, seq));
                        }
                        Some(_) => {}
                        None => verdict.findings.push(Finding {
                            fault: Fault::Foreign,
                            log: index,
                            room: log.room,
                            seq,
                        }),
                    }
                }
                _ => {}
            }
        }
    }
    all
}

/// Directs that were acknowledged and that the one they are for neither heard nor was told of.
fn lost_directs(
    logs: &[Log],
    sendings: &Sendings,
    heard: &HashSet<Hash>,
    findings: &mut Vec<Finding>,
) {
    let mut by_name = HashMap::new();
    for (index, log) in logs.iter().enumerate() {
        if let Some(Event::Welcome(welcome)) = log.events.first() {
            by_name.insert(welcome.me, index);
        }
    }
    for (hash, &(epoch, seq)) in &sendings.directs {
        let Some(Sending { kind: Kind::Direct(to), .. }) = sendings.by_hash.get(hash) else {
            continue;
        };
        let Some((index, log)) = by_name.get(to).map(|&index| (index, &logs[index])) else {
            continue;
        };
        if !heard.contains(hash) && !was_told(log, epoch, seq) {
            findings.push(Finding { fault: Fault::DirectLost, log: index, room: log.room, seq });
        }
    }
}

/// Whether a member was told of an interruption at or after this number, or was not there.
fn was_told(log: &Log, epoch: Epoch, seq: u64) -> bool {
    let mut now = None;
    for event in &log.events {
        match *event {
            Event::Welcome(ref welcome) => now = Some(welcome.epoch),
            Event::Reset { epoch: next, .. } => {
                if now == Some(epoch) {
                    return true;
                }
                now = Some(next);
            }
            Event::Gap { to, .. } if now == Some(epoch) && to >= seq => return true,
            Event::End(_) => return true,
            Event::Quiet => return now != Some(epoch),
            _ => {}
        }
    }
    // Neither quiet nor ended: the log was cut off, and nobody can tell.
    false
}

fn count(logs: &[Log], verdict: &mut Verdict) {
    for log in logs {
        for event in &log.events {
            match event {
                Event::Message { .. } | Event::Direct { .. } | Event::Volatile { .. } => {
                    verdict.deliveries += 1;
                }
                Event::Gap { from, to, .. } => {
                    verdict.gaps += 1;
                    verdict.gap_numbers += (to + 1).saturating_sub(*from);
                }
                Event::Reset { .. } => verdict.resets += 1,
                Event::Paused => verdict.pauses += 1,
                Event::End(code) => *verdict.ends.entry(*code).or_default() += 1,
                Event::Quiet => break,
                _ => {}
            }
        }
    }
}
