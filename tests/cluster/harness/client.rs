//! A member that talks as it is told and writes down everything.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use lethewire::core::id::MemberId;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{random, soon};
use crate::checker::{Event, Hash, Kind, Log, Name, Welcome};

/// What every payload begins with; the rest is random.
pub(crate) const MARK: [u8; 16] = *b"canary+of+a+word";

const ACK: u8 = 1;
const ECHO: u8 = 2;
const VOLATILE: u8 = 4;

/// What all members of a crowd do.
#[derive(Clone, Copy, Default)]
pub(crate) struct Plan {
    /// Time between two messages of a member; none says nothing.
    pub(crate) pace: Option<Duration>,
    /// Goes up whenever everybody should say one message that everybody hears.
    pub(crate) round: u64,
    /// It is quiet: leave.
    pub(crate) end: bool,
}

/// How a member stands, for whoever waits for something.
#[derive(Clone, Default)]
pub(crate) struct Standing {
    pub(crate) room: usize,
    pub(crate) node: usize,
    pub(crate) epoch: u64,
    /// The highest number that it knows of.
    pub(crate) last: u64,
    /// The last round in which its message was accepted, and under which number.
    pub(crate) round: u64,
    pub(crate) round_seq: u64,
    /// Sent, and neither accepted, refused nor put in doubt by an announced loss.
    pub(crate) open: usize,
    pub(crate) is_paused: bool,
    pub(crate) pauses: u64,
    pub(crate) members: usize,
    pub(crate) acked: u64,
    pub(crate) has_ended: bool,
}

/// How a connection ended, for whoever comes back.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ended {
    /// When it was to go by itself, if it was told that the relay is about to stop.
    pub(crate) told: Option<Instant>,
    /// The close code; 0 is an end without a word.
    pub(crate) code: u16,
    /// When to come back, if the close said so.
    pub(crate) hint: Duration,
}

/// A connected member.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    number: usize,
    log: Log,
    me: Name,
    roster: BTreeSet<Name>,
    /// What has no answer yet, by its reference: what it was, the round, and whether it is in doubt.
    open: HashMap<u64, (Hash, Option<u64>, bool)>,
    next: u64,
    /// Not to be bothered before.
    quiet_until: Instant,
    /// Whether it goes by itself when it is told to, as the SDK does, or waits to be closed.
    moves: bool,
    end: Ended,
    seen: watch::Sender<Standing>,
}

/// A WebSocket at a relay, with this token.
pub(crate) async fn open(addr: SocketAddr, token: &str) -> Result<WebSocketStream<TcpStream>, u16> {
    let stream = TcpStream::connect(addr).await.map_err(|_refused| 0_u16)?;
    stream.set_nodelay(true).unwrap();
    let mut request = format!("ws://{addr}/v1/ws").into_client_request().unwrap();
    let offer = HeaderValue::from_str(&format!("lethewire.v1, lethewire.bearer.{token}")).unwrap();
    request.headers_mut().append("sec-websocket-protocol", offer);
    match soon("a handshake", tokio_tungstenite::client_async(request, stream)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(_) => Err(0),
    }
}

/// Joins with this token and waits for the welcome; the HTTP status or close code if it is not let
/// in. `place` is what is known of it: room, node and a number of its own.
pub(crate) async fn join(
    addr: SocketAddr,
    token: &str,
    place: (usize, usize, usize),
) -> Result<Client, u16> {
    let mut socket = open(addr, token).await?;
    let (room, node, number) = place;
    let first = soon("a welcome", socket.next()).await;
    let text = match first {
        Some(Ok(Message::Text(text))) => text,
        Some(Ok(Message::Close(Some(frame)))) => return Err(frame.code.into()),
        _ => return Err(0),
    };
    let told: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(told["type"], "welcome", "{told}");
    let (me, members) = (name(&told["member"]), names(&told["members"]));
    let (epoch, seq) = (name(&told["epoch"]), told["seq"].as_u64().unwrap());
    let roster = members.iter().copied().collect::<BTreeSet<_>>();
    let welcome = Welcome { epoch, seq, me, members: members.into() };
    let standing =
        Standing { room, node, epoch, last: seq, members: roster.len(), ..Standing::default() };
    Ok(Client {
        socket,
        number,
        log: Log { room, events: vec![Event::Welcome(Box::new(welcome))] },
        me,
        roster,
        open: HashMap::new(),
        next: 0,
        quiet_until: Instant::now(),
        moves: false,
        end: Ended::default(),
        seen: watch::Sender::new(standing),
    })
}

impl Client {
    /// How it stands, from now on.
    pub(crate) fn seen(&self) -> watch::Receiver<Standing> {
        self.seen.subscribe()
    }

    /// Its name on the wire.
    pub(crate) fn name(&self) -> Name {
        self.me
    }

    /// The same, and it goes by itself when it is told that the relay is about to stop.
    pub(crate) fn moving(self) -> Self {
        Self { moves: true, ..self }
    }

    /// Does what the plan says until it is over, or until the connection ends; returns what it
    /// wrote down.
    pub(crate) async fn live(self, plan: watch::Receiver<Plan>) -> Log {
        self.live_and_end(plan).await.0
    }

    /// The same, with how it ended.
    pub(crate) async fn live_and_end(mut self, mut plan: watch::Receiver<Plan>) -> (Log, Ended) {
        let mut now = *plan.borrow_and_update();
        let mut turns = turns(now.pace);
        let mut said_in = now.round;
        loop {
            tokio::select! {
                heard = self.socket.next() => {
                    if !self.hear(heard) {
                        break;
                    }
                }
                () = until_told(self.end.told.filter(|_| self.moves)) => {
                    self.note(Event::End(LEFT));
                    // The relay may have closed it in the same moment.
                    let _ = self.socket.close(None).await;
                    break;
                }
                _ = plan.changed() => {
                    now = *plan.borrow_and_update();
                    turns = self::turns(now.pace);
                    if now.end {
                        self.note(Event::Quiet);
                        self.say_goodbye().await;
                        break;
                    }
                }
                _ = turns.tick(), if self.may_speak() => {
                    if said_in < now.round || self.round_is_open(now.round) {
                        said_in = now.round;
                        self.say_round(now.round).await;
                    } else if now.pace.is_some() {
                        self.say().await;
                    }
                }
            }
            self.look();
        }
        self.look();
        self.seen.send_modify(|standing| standing.has_ended = true);
        if let Some(Event::End(code)) = self.log.events.last() {
            self.end.code = *code;
        }
        (self.log, self.end)
    }

    /// Whether its message of this round was not accepted and is not on its way.
    fn round_is_open(&self, round: u64) -> bool {
        let is_on_its_way = self.open.values().any(|&(_, of, doubt)| of == Some(round) && !doubt);
        self.seen.borrow().round < round && !is_on_its_way
    }

    /// Whether it is its turn: not too much is unanswered, and the relay did not ask it to wait.
    /// Every third member tries also while it is told that the order is interrupted.
    fn may_speak(&self) -> bool {
        const OPEN_MAX: usize = 64;
        let standing = self.seen.borrow();
        let tries = !standing.is_paused || self.number.is_multiple_of(3);
        tries && standing.open < OPEN_MAX && Instant::now() >= self.quiet_until
    }

    async fn say_round(&mut self, round: u64) {
        self.send(Kind::Echo, true, Some(round)).await;
    }

    /// The next message, in all the ways that there are.
    async fn say(&mut self) {
        let others = self.roster.iter().copied().filter(|&member| member != self.me);
        let choice = usize::try_from(self.next).expect("a few messages");
        let to = others.clone().nth(choice % self.roster.len().max(2).saturating_sub(1));
        let (kind, ack) = match (choice % 8, to) {
            (0 | 4, _) => (Kind::Echo, true),
            (1, _) => (Kind::Plain, false),
            (2, Some(to)) => (Kind::Direct(to), true),
            (6, _) => (Kind::Volatile, false),
            _ => (Kind::Plain, true),
        };
        self.send(kind, ack, None).await;
    }

    async fn send(&mut self, kind: Kind, ack: bool, round: Option<u64>) {
        let reference = self.next % (1 << 16);
        self.next += 1;
        let [.., high, low] = reference.to_be_bytes();
        let ack_flag = if ack { ACK } else { 0 };
        let mut frame = match kind {
            Kind::Plain => vec![1, ack_flag, high, low],
            Kind::Echo => vec![1, ECHO | ack_flag, high, low],
            Kind::Volatile => vec![1, VOLATILE | ack_flag, high, low],
            Kind::Direct(to) => [&[2, ack_flag, high, low][..], &to.to_be_bytes()].concat(),
        };
        // Nobody says the same twice, in no room.
        let payload = [MARK, random()].concat();
        frame.extend_from_slice(&payload);
        let hash = hash_of(&payload);
        self.note(Event::Sent { hash, kind, ack });
        self.open.insert(reference, (hash, round, !ack));
        // If it cannot be sent, the end is what is heard next.
        let _ = self.socket.send(Message::binary(frame)).await;
    }

    /// Writes down what came; whether there is more.
    fn hear(&mut self, heard: Option<Result<Message, Error>>) -> bool {
        match heard {
            Some(Ok(Message::Binary(bytes))) => self.hear_data(&bytes),
            Some(Ok(Message::Text(text))) => {
                self.hear_control(&serde_json::from_str(&text).expect("JSON"));
            }
            Some(Ok(Message::Close(frame))) => {
                let reason = frame.as_ref().map_or("", |frame| frame.reason.as_str());
                let hint = reason.split_once(";r=").and_then(|(_, ms)| ms.parse().ok());
                self.end.hint = Duration::from_millis(hint.unwrap_or(0));
                self.note(Event::End(frame.map_or(1005, |frame| frame.code.into())));
                return false;
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(_)) | None => {
                self.note(Event::End(0));
                return false;
            }
        }
        true
    }

    fn hear_data(&mut self, bytes: &[u8]) {
        let from = u64::from_be_bytes(bytes[4..12].try_into().unwrap());
        let seq = u64::from_be_bytes(bytes[12..20].try_into().unwrap());
        let hash = hash_of(&bytes[20..]);
        let event = match (bytes[0], bytes[1] & VOLATILE != 0) {
            (0x82, _) => Event::Direct { from, seq, hash },
            (0x81, true) => Event::Volatile { from, hash },
            (0x81, false) => Event::Message { from, seq, hash, echo: bytes[1] & ECHO != 0 },
            (op, _) => panic!("unknown operation {op}"),
        };
        self.reach(seq);
        self.note(event);
    }

    fn hear_control(&mut self, told: &Value) {
        let number = |name: &str| told[name].as_u64().unwrap_or_else(|| panic!("{name}: {told}"));
        match told["type"].as_str().expect("a type") {
            "join" => {
                let (member, seq) = (name(&told["member"]), number("seq"));
                self.roster.insert(member);
                self.reach(seq);
                self.note(Event::Join { member, seq });
            }
            "leave" => {
                let (member, seq) = (name(&told["member"]), number("seq"));
                self.roster.remove(&member);
                self.reach(seq);
                self.note(Event::Leave { member, seq });
            }
            "ack" => self.accepted(number("ref"), number("seq")),
            "error" => self.refused(told),
            "gap" => {
                let (from, to) = (number("from"), number("to"));
                let members = self.members_are(&told["members"]);
                self.reach(to);
                self.doubt();
                self.note(Event::Gap { from, to, members });
            }
            "reset" => {
                let (epoch, seq) = (name(&told["epoch"]), number("seq"));
                let members = self.members_are(&told["members"]);
                self.doubt();
                self.quiet_until = Instant::now();
                self.seen.send_modify(|standing| {
                    (standing.epoch, standing.last, standing.round) = (epoch, seq, 0);
                });
                self.note(Event::Reset { epoch, seq, members });
            }
            "paused" => {
                self.seen.send_modify(|standing| {
                    standing.is_paused = true;
                    standing.pauses += 1;
                });
                self.note(Event::Paused);
            }
            "resumed" => {
                self.quiet_until = Instant::now();
                self.seen.send_modify(|standing| standing.is_paused = false);
                self.note(Event::Resumed);
            }
            "drain" => {
                let ms = number("reconnect_after_ms");
                self.end.told = Some(Instant::now() + Duration::from_millis(ms));
            }
            // Pong, the room's state: nothing about order.
            _ => {}
        }
    }

    fn accepted(&mut self, reference: u64, seq: u64) {
        let Some((hash, round, _)) = self.open.remove(&reference) else {
            return self.note(Event::Ack { hash: 0, seq });
        };
        self.reach(seq);
        self.seen.send_modify(|standing| {
            standing.acked += 1;
            if let Some(round) = round {
                (standing.round, standing.round_seq) = (round, seq);
            }
        });
        self.note(Event::Ack { hash, seq });
    }

    fn refused(&mut self, told: &Value) {
        let reference = told["ref"].as_u64();
        if let Some(ms) = told["retry_after_ms"].as_u64() {
            self.quiet_until = Instant::now() + Duration::from_millis(ms);
        }
        if let Some((hash, ..)) = reference.and_then(|reference| self.open.remove(&reference)) {
            self.note(Event::Refused { hash });
        }
    }

    /// What is on its way may have been lost.
    fn doubt(&mut self) {
        self.open.values_mut().for_each(|(_, _, doubt)| *doubt = true);
    }

    fn members_are(&mut self, told: &Value) -> Box<[Name]> {
        let members = names(told);
        self.roster = members.iter().copied().collect();
        members
    }

    fn reach(&self, seq: u64) {
        self.seen.send_if_modified(|standing| {
            let is_new = seq > standing.last;
            standing.last = standing.last.max(seq);
            is_new
        });
    }

    /// Says how it stands.
    fn look(&self) {
        let open = self.open.values().filter(|(_, _, doubt)| !doubt).count();
        self.seen.send_if_modified(|standing| {
            let is_new = (standing.open, standing.members) != (open, self.roster.len());
            (standing.open, standing.members) = (open, self.roster.len());
            is_new
        });
    }

    fn note(&mut self, event: Event) {
        self.log.events.push(event);
    }

    async fn say_goodbye(&mut self) {
        // The relay may be gone already.
        let _ = self.socket.send(Message::text(r#"{"type":"leave"}"#)).await;
        let ended = async { while let Some(Ok(_)) = self.socket.next().await {} };
        let _ = tokio::time::timeout(super::PATIENCE, ended).await;
    }
}

/// Waits until it is time to go, if there is such a time.
async fn until_told(time: Option<Instant>) {
    let Some(time) = time else { return std::future::pending().await };
    let _ = tokio::time::timeout_at(time, std::future::pending::<()>()).await;
}

/// Left by itself.
pub(crate) const LEFT: u16 = 1000;

/// When it is a member's turn: at its pace, and often when only a round is to be said.
fn turns(pace: Option<Duration>) -> tokio::time::Interval {
    const WHEN_QUIET: Duration = Duration::from_millis(20);
    let mut turns = tokio::time::interval(pace.unwrap_or(WHEN_QUIET));
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns
}

fn name(told: &Value) -> Name {
    let text = told.as_str().unwrap_or_else(|| panic!("no name: {told}"));
    u64::from_be_bytes(*MemberId::from_base64url(text).expect("eight bytes").as_bytes())
}

fn names(told: &Value) -> Box<[Name]> {
    told.as_array().expect("a list of members").iter().map(name).collect()
}

fn hash_of(payload: &[u8]) -> Hash {
    let mut hasher = DefaultHasher::new();
    payload.hash(&mut hasher);
    hasher.finish()
}
