//! A relay on one thread, with real sockets to members that the benchmark plays.
//!
//! Whatever the relay is to read is in its sockets before the count begins, so that the one thing
//! counted is [`Stage::settle`]: the runtime runs until no connection has anything to do.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use lethewire::clock;
use lethewire::config::Config;
use lethewire::conn::{self, Upgraded};
use lethewire::core::id::{Jti, Kid, RoomId};
use lethewire::core::limit::UnixSeconds;
use lethewire::core::secret::SecretBytes;
use lethewire::core::token::{Cap, Keys, Policy, SigningKey};
use lethewire::http::{App, Begun, Caller, begin};
use lethewire::hub::Grant;
use tokio::runtime::{Builder, Runtime};

/// Bytes of the head of a message to the room.
pub(crate) const HEAD: usize = 4;
/// The moment of [`mint`].
pub(crate) const NOW: UnixSeconds = UnixSeconds(1_767_225_600);
/// Payload of the messages, in bytes.
const PAYLOAD: usize = 128;
/// Turns of the scheduler without any connection running, after which nothing is left to do: at the
/// end of one, sockets are looked at, and in the next one runs who was woken by that.
const QUIET_TURNS: u32 = 2;
/// How long a member waits for what the relay has already written.
const PATIENCE: Duration = Duration::from_secs(20);

/// A relay with one room.
pub(crate) struct Stage {
    runtime: Runtime,
    app: Arc<App>,
    listener: TcpListener,
    room: RoomId,
    members: Vec<Member>,
    /// Who knocked and was not welcomed yet.
    newcomer: Option<Member>,
    /// How often any connection was polled.
    polls: Arc<AtomicU64>,
}

impl Stage {
    /// A room with so many members, who have heard of each other.
    pub(crate) fn with_members(count: usize) -> Self {
        let mut stage = Self {
            // As the relay's own, but for the number of threads.
            runtime: Builder::new_current_thread().enable_all().build().expect("a runtime"),
            app: Arc::new(App::new(config(), keys(), None).expect("the built-in headers")),
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"),
            room: room(),
            members: Vec::new(),
            newcomer: None,
            polls: Arc::default(),
        };
        let options = *stage.app.records.ceilings();
        let made = stage.app.records.create(&stage.room, None, options, clock::now());
        assert!(made.is_ok_and(|made| made.new), "there is no such room yet");
        for number in 1..=count {
            stage.sit();
            // Not let their sockets fill up with what they are told of newcomers.
            if number % 50 == 0 || number == count {
                stage.members.iter_mut().for_each(Member::drain);
            }
        }
        assert_eq!(stage.app.hub.members(&stage.room), count, "somebody was not let in");
        stage
    }

    /// Runs the relay until no connection has anything to do.
    pub(crate) fn settle(&self) {
        self.runtime.block_on(async {
            let (mut seen, mut quiet) = (self.polls.load(Ordering::Relaxed), 0);
            while quiet < QUIET_TURNS {
                tokio::task::yield_now().await;
                let before = std::mem::replace(&mut seen, self.polls.load(Ordering::Relaxed));
                quiet = if seen == before { quiet + 1 } else { 0 };
            }
        });
    }

    /// The first `speakers` members send `each` messages, which the relay has not read afterwards.
    pub(crate) fn speak(&mut self, speakers: usize, each: usize) {
        let bytes = client_frame(PAYLOAD).repeat(each);
        for member in &mut self.members[..speakers] {
            member.write(&bytes);
        }
        for (number, member) in self.members.iter_mut().enumerate() {
            member.expected += each * (speakers - usize::from(number < speakers));
        }
    }

    /// Checks that everybody got what the others said.
    pub(crate) fn expect_all_heard(&mut self) {
        self.members.iter_mut().for_each(Member::hear);
    }

    /// Somebody sends a handshake, which the relay has not read afterwards.
    pub(crate) fn knock(&mut self) {
        let (mut member, stream) = self.connect();
        let token = keys().mint(
            &self.app.config.token.policy(),
            &self.room,
            cap(),
            60,
            None,
            Jti::from_bytes([u8::try_from(self.members.len()).unwrap_or(0); Jti::LEN]),
            clock::unix_now(),
        );
        let request = format!(
            "GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: lethewire.v1, lethewire.bearer.{}\r\n\r\n",
            token.as_str()
        );
        let app = Arc::clone(&self.app);
        self.spawn(async move {
            let client = Ipv4Addr::LOCALHOST.into();
            let address = app.connect(client).expect("a place for the address");
            let mut caller = Caller { client, no_place: None, address };
            if let Begun::Shaken(shaken) = begin(&app, &mut caller, stream) {
                conn::run(shaken.upgraded, Arc::clone(&app.hub)).await;
            }
        });
        member.write(request.as_bytes());
        self.newcomer = Some(member);
    }

    /// Checks that who knocked was answered and has a seat.
    pub(crate) fn expect_welcome(&mut self) {
        let mut member = self.newcomer.take().expect("somebody knocked");
        member.expect_text("HTTP/1.1 101 ", r#"{"type":"welcome""#);
        self.members.push(member);
        assert_eq!(self.app.hub.members(&self.room), self.members.len(), "no seat");
        self.members.iter_mut().for_each(Member::drain);
    }

    /// One more member, without a handshake.
    fn sit(&mut self) {
        let grant = Grant { cap: cap(), session_s: None };
        let admitted = self.app.hub.reserve(&self.room, grant);
        let (member, stream) = self.connect();
        let app = Arc::clone(&self.app);
        self.spawn(async move {
            let (answer, early) = (Vec::new(), Default::default());
            conn::run(Upgraded { stream, answer, early, admitted }, Arc::clone(&app.hub)).await;
        });
        self.settle();
        self.members.push(member);
    }

    /// Both ends of a connection.
    fn connect(&self) -> (Member, tokio::net::TcpStream) {
        let address = self.listener.local_addr().expect("it is bound");
        let ours = TcpStream::connect(address).expect("it listens");
        let (theirs, _) = self.listener.accept().expect("somebody connected");
        ours.set_nodelay(true).expect("it is connected");
        theirs.set_nodelay(true).expect("it is connected");
        theirs.set_nonblocking(true).expect("it is connected");
        // Only who speaks is looked after like this; a descriptor less for all the others.
        let inside = (self.members.len() < SPEAKERS_MAX)
            .then(|| theirs.try_clone().expect("a descriptor is left"));
        let _inside = self.runtime.enter();
        let stream = tokio::net::TcpStream::from_std(theirs).expect("a descriptor is left");
        (Member { ours, inside, unread: Vec::new(), heard: 0, expected: 0 }, stream)
    }

    fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let polls = Arc::clone(&self.polls);
        let mut connection = Box::pin(connection);
        self.runtime.spawn(std::future::poll_fn(move |cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            let ended: Poll<()> = connection.as_mut().poll(cx);
            ended
        }));
    }
}

/// Members of a room that can be made to speak: the first ones.
const SPEAKERS_MAX: usize = 10;

/// A member, from its own end of the socket.
struct Member {
    ours: TcpStream,
    /// The relay's end, to see that what was written has arrived there.
    inside: Option<TcpStream>,
    /// What was read and is not a whole frame.
    unread: Vec<u8>,
    /// Messages that came, and that should have.
    heard: usize,
    expected: usize,
}

impl Member {
    /// Writes, and sees to it that the relay will find all of it at once.
    fn write(&mut self, bytes: &[u8]) {
        self.ours.write_all(bytes).expect("the relay takes it");
        let inside = self.inside.as_ref().expect("it is one of those who speak");
        let mut there = vec![0; bytes.len()];
        let begun = Instant::now();
        while inside.peek(&mut there).unwrap_or(0) < bytes.len() {
            assert!(begun.elapsed() < PATIENCE, "it does not arrive");
            std::thread::yield_now();
        }
    }

    /// Reads what is there.
    fn drain(&mut self) {
        self.ours.set_nonblocking(true).expect("it is connected");
        while self.read() > 0 {}
        self.ours.set_nonblocking(false).expect("it is connected");
        self.take_frames();
    }

    /// Reads until it has heard everything, and nothing else.
    fn hear(&mut self) {
        self.ours.set_read_timeout(Some(PATIENCE)).expect("it is no zero");
        self.take_frames();
        while self.heard < self.expected {
            assert!(self.read() > 0, "the relay said less than it should");
            self.take_frames();
        }
        assert_eq!(self.heard, self.expected, "the relay said more than it should");
    }

    /// Reads until there is `inner`, behind a `start`.
    fn expect_text(&mut self, start: &str, inner: &str) {
        self.ours.set_read_timeout(Some(PATIENCE)).expect("it is no zero");
        let has = |bytes: &[u8]| bytes.windows(inner.len()).any(|part| part == inner.as_bytes());
        while !has(&self.unread) {
            assert!(self.read() > 0, "the relay did not say {inner}");
        }
        assert!(self.unread.starts_with(start.as_bytes()), "the relay did not say {start}");
        self.unread.clear();
    }

    fn read(&mut self) -> usize {
        let mut buffer = [0; 32 * 1024];
        let count = self.ours.read(&mut buffer).unwrap_or(0);
        self.unread.extend_from_slice(&buffer[..count]);
        count
    }

    /// Takes whole frames off, and counts those with messages.
    fn take_frames(&mut self) {
        let mut at = 0;
        while let [first, short, rest @ ..] = &self.unread[at..] {
            let len = match (*short, rest) {
                (short @ 0..126, _) => 2 + usize::from(short),
                (126, [high, low, ..]) => 4 + usize::from(u16::from_be_bytes([*high, *low])),
                _ => break,
            };
            if self.unread.len() < at + len {
                break;
            }
            self.heard += usize::from(*first == 0x82);
            at += len;
        }
        self.unread.drain(..at);
    }
}

/// A message to the room with so many bytes of payload, as a client sends it.
pub(crate) fn client_frame(payload: usize) -> Vec<u8> {
    let (key, mut message) = ([0x12_u8, 0x34, 0x56, 0x78], vec![1, 0, 0, 0]);
    message.resize(HEAD + payload, 0xA5);
    message.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    let len = message.len();
    let mut bytes = vec![0x82];
    match u16::try_from(len) {
        Ok(short @ 0..126) => bytes.push(0x80 | short.to_be_bytes()[1]),
        Ok(short) => {
            bytes.push(0x80 | 126);
            bytes.extend(short.to_be_bytes());
        }
        Err(_) => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(key);
    bytes.extend(message);
    bytes
}

/// A token, and what is needed to make and to check it.
pub(crate) struct Minted {
    pub(crate) keys: Keys,
    pub(crate) policy: Policy,
    pub(crate) token: String,
}

pub(crate) fn minted() -> Minted {
    let (keys, policy) = (keys(), config().token.policy());
    let token = mint(&keys, &policy);
    Minted { keys, policy, token }
}

/// One token, always the same.
pub(crate) fn mint(keys: &Keys, policy: &Policy) -> String {
    keys.mint(policy, &room(), cap(), 60, None, Jti::from_bytes([9; Jti::LEN]), NOW).to_string()
}

fn room() -> RoomId {
    RoomId::new(&[3; 16]).expect("16 bytes are a name")
}

fn cap() -> Cap {
    Cap::parse("sr").expect("both letters are capabilities")
}

fn keys() -> Keys {
    let key = SigningKey {
        kid: Kid::new("k1").expect("it is a name"),
        issuer: "lethewire".to_owned(),
        secret: SecretBytes::new(vec![7; 32]),
    };
    Keys::new(vec![key]).expect("it is one good key")
}

/// The built-in configuration, with limits that do not bind.
fn config() -> Config {
    let mut config = Config::default();
    config.room.members_max = 2000;
    // How many turns that are depends on the time.
    config.room.batch_wait_ns = 0;
    config.limit.messages_per_10s = 1_000_000;
    config.limit.bytes_per_10s = 1 << 30;
    config.limit.frames_per_10s = 10_000_000;
    config.limit.raw_bytes_per_10s = 1 << 31;
    config.limit.fanout_bytes_per_10s = 1 << 50;
    config.limit.room_fanout_bytes_per_10s = 1 << 50;
    config
}
