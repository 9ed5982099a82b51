//! Two healthy members who talk in lock-step, and notice whatever goes wrong with that.
//!
//! Each speaks in turn, a running number at a time, and hears itself, so that both hear every number
//! of their room: a message that is lost, doubled or out of order is the end of the test.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::{Heard, Member, TestRelay, TestRoom, soon};

/// How often both speak, if the relay is as fast: well below what the scenes allow a member.
const RHYTHM: Duration = Duration::from_millis(1);

/// Two members who talk until this is dropped.
pub(crate) struct Pair {
    rounds: watch::Receiver<u64>,
    task: JoinSet<()>,
}

impl Pair {
    /// Lets two members join, and begin.
    pub(crate) async fn in_room(relay: &TestRelay, room: &TestRoom) -> Self {
        let first = Healthy::new(relay.join_with(&relay.mint(&room.id, "sr")).await);
        let second = Healthy::new(relay.join_with(&relay.mint(&room.id, "sr")).await);
        let (told, rounds) = watch::channel(0);
        let mut task = JoinSet::new();
        task.spawn(talk([first, second], told));
        let mut pair = Self { rounds, task };
        pair.goes_on().await;
        pair
    }

    /// How often both have spoken.
    pub(crate) fn rounds(&self) -> u64 {
        *self.rounds.borrow()
    }

    /// Waits until both have spoken and heard each other a few times more.
    pub(crate) async fn goes_on(&mut self) {
        let goal = self.rounds() + 3;
        if soon("the pair", self.rounds.wait_for(|rounds| *rounds >= goal)).await.is_err() {
            let fault = self.task.join_next().await.expect("the pair talks").unwrap_err();
            std::panic::resume_unwind(fault.into_panic());
        }
    }
}

/// A member who minds the numbers of its room.
struct Healthy {
    member: Member,
    id: String,
    /// The number that it heard last.
    seq: u64,
}

async fn talk(mut both: [Healthy; 2], told: watch::Sender<u64>) {
    let mut rhythm = tokio::time::interval(RHYTHM);
    rhythm.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 0_u64.. {
        rhythm.tick().await;
        for speaker in 0..2 {
            let payload = round.to_be_bytes();
            both[speaker].member.send(Member::ECHO, 0, &payload).await;
            let from = both[speaker].id.clone();
            for listener in &mut both {
                assert_eq!(listener.hear_from(&from).await, payload, "lost, doubled or reordered");
            }
        }
        told.send_replace(round + 1);
    }
}

impl Healthy {
    fn new(member: Member) -> Self {
        let seq = member.welcome["seq"].as_u64().expect("welcomed");
        Self { id: member.id(), member, seq }
    }

    /// What this member says next. Everything before it has the number that follows.
    async fn hear_from(&mut self, from: &str) -> Vec<u8> {
        loop {
            let (seq, heard) = match self.member.hear().await {
                Heard::Data(data) => (Some(data.seq), (data.from == from).then_some(data.payload)),
                Heard::Control(control) => {
                    assert_ne!(control["type"], "error", "{control}");
                    (control["seq"].as_u64(), None)
                }
                other => panic!("the healthy member heard {other:?}"),
            };
            if let Some(seq) = seq {
                assert_eq!(seq, self.seq + 1, "a number of the room is missing or doubled");
                self.seq = seq;
            }
            if let Some(payload) = heard {
                return payload;
            }
        }
    }
}
