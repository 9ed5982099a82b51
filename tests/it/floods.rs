//! Floods: each attack hurts whoever makes it, and nobody else.
//!
//! Every attack runs beside a healthy pair (`harness::Pair`) who talk in lock-step. The attacker is
//! to be ended with what `docs/protocol.md` says, at once; the pair may miss nothing, and goes on.
//!
//! An attack that is bytes is one entry of a table: who sends them, the bytes, the limits that are
//! lowered for it, and its documented end.
//!
//! * [`frames`]: what a member can send, frame by frame;
//! * [`heads`]: what a stranger can send before there is a member;
//! * [`readers`]: who does not read, or reads too slowly;
//! * [`torn`]: sockets that are torn down at every stage;
//! * [`crowds`]: many at once;
//! * [`storms`]: members who keep to the rules, but all the time.

use crate::harness::{Ending, Pair, Rogue, TestRelay, TestRoom};
use lethewire::config::Config;

mod crowds;
mod frames;
mod heads;
mod readers;
mod storms;
mod torn;

/// A test for each attack of a table: `what_it_is: by_member(bytes).…,`.
macro_rules! floods {
    ($($name:ident: $attack:expr,)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                $attack.run().await;
            }
        )+
    };
}
pub(crate) use floods;

/// Bytes that somebody sends, and what has to come of it.
struct Attack {
    who: Who,
    bytes: Vec<u8>,
    pace: Pace,
    limits: Box<dyn FnOnce(&mut Config)>,
    ending: Ending,
}

/// Who sends the bytes.
#[derive(Clone, Copy)]
enum Who {
    /// A member of the pair's room.
    Member,
    /// A member who owns the pair's room.
    Owner,
    /// Somebody who has just connected.
    Stranger,
}

/// How fast.
#[derive(Clone, Copy)]
enum Pace {
    AtOnce,
    /// A byte whenever the pair has exchanged something.
    ByteByByte,
}

/// A member of the pair's room sends this, until it is closed.
fn by_member(bytes: impl Into<Vec<u8>>) -> Attack {
    Attack {
        who: Who::Member,
        bytes: bytes.into(),
        pace: Pace::AtOnce,
        limits: Box::new(|_| ()),
        ending: Ending::Cut,
    }
}

/// The owner of the pair's room sends this, until it is closed.
fn by_owner(bytes: impl Into<Vec<u8>>) -> Attack {
    Attack { who: Who::Owner, ..by_member(bytes) }
}

/// Somebody who is no member sends this, until it is cut.
fn by_stranger(bytes: impl Into<Vec<u8>>) -> Attack {
    Attack { who: Who::Stranger, ..by_member(bytes) }
}

impl Attack {
    /// One byte at a time.
    fn byte_by_byte(self) -> Self {
        Self { pace: Pace::ByteByByte, ..self }
    }

    /// With these limits, where the usual ones would take long to reach.
    fn with(self, limits: impl FnOnce(&mut Config) + 'static) -> Self {
        Self { limits: Box::new(limits), ..self }
    }

    /// It ends with this close code.
    fn closed(self, code: u16, name: &'static str) -> Self {
        Self { ending: Ending::Closed(code, name), ..self }
    }

    /// It ends with an HTTP answer.
    fn answered(self, status: u16) -> Self {
        Self { ending: Ending::Answered(status), ..self }
    }

    /// It ends without a word.
    fn cut(self) -> Self {
        Self { ending: Ending::Cut, ..self }
    }

    async fn run(self) {
        let mut scene = Scene::with(self.limits).await;
        let mut rogue = match self.who {
            Who::Member => scene.rogue("sr").await,
            Who::Owner => scene.rogue("sro").await,
            Who::Stranger => Rogue::connect(scene.relay.addr).await,
        };
        let ending = match self.pace {
            Pace::AtOnce => rogue.strikes(&self.bytes).await,
            Pace::ByteByByte => rogue.drips(&self.bytes, &mut scene.pair).await,
        };
        assert_eq!(ending, self.ending);
        drop(rogue);
        scene.ends_well().await;
    }
}

/// A relay, and a pair that talks.
struct Scene {
    relay: TestRelay,
    room: TestRoom,
    pair: Pair,
}

impl Scene {
    /// Limits are those that an attack is about; the pair talks as fast as it can, and all clients
    /// come from one address.
    async fn with(limits: impl FnOnce(&mut Config)) -> Self {
        let relay = TestRelay::start(|config| {
            config.feature.ip_tracking = false;
            config.room.members_max = 10_000;
            let limit = &mut config.limit;
            limit.connections = 100_000;
            (limit.messages_per_10s, limit.frames_per_10s) = (MESSAGES, MESSAGES);
            (limit.bytes_per_10s, limit.raw_bytes_per_10s) = (1 << 30, 1 << 31);
            limits(config);
        })
        .await;
        let room = relay.create_room().await;
        let pair = Pair::in_room(&relay, &room).await;
        Self { relay, room, pair }
    }

    /// A hostile member of the pair's room.
    async fn rogue(&self, cap: &str) -> Rogue {
        let mut rogue = Rogue::join(self.relay.addr, &self.token(cap)).await;
        rogue.frame(TEXT).await;
        rogue
    }

    /// A token for the pair's room.
    fn token(&self, cap: &str) -> String {
        self.relay.mint(&self.room.id, cap)
    }

    /// The pair goes on, and nobody else is left.
    async fn ends_well(mut self) {
        self.pair.goes_on().await;
        self.relay.until("all others to be gone", |now| now.connections == 2).await;
        assert_eq!(self.relay.totals().members, 2);
        self.pair.goes_on().await;
        self.relay.stop().await;
    }
}

/// Messages, and frames, that a member may send in ten seconds: twice of what the pair does.
const MESSAGES: u32 = 20_000;
/// The first byte of a whole text message.
const TEXT: u8 = 0x81;
/// The first byte of a whole binary message.
const BINARY: u8 = 0x82;
