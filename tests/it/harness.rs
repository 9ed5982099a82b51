//! The relay under test, and clients that can also misbehave: raw HTTP and WebSocket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use lethewire::config::{Config, Loaded};
use lethewire::core::admission::{AdmissionKey, OwnerSecret, owner_hash, room_id};
use lethewire::core::id::{Jti, Kid, RoomId, to_base64url};
use lethewire::core::limit::UnixSeconds;
use lethewire::core::secret::{Secret32, SecretBytes};
use lethewire::core::token::{Cap, Keys, Policy, SigningKey};
use lethewire::metrics::{Aggregate, Count, Metrics};
use lethewire::server::Server;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::CancellationToken;

/// Longest wait for anything that should happen. Far above what it takes; only a broken test or
/// relay ever waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that should happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.unwrap_or_else(|_late| panic!("waited too long for {what}"))
}

/// 16 or 32 random bytes, or any other number.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// A relay in this process, on free ports of loopback.
pub(crate) struct TestRelay {
    /// The public listener.
    pub(crate) addr: SocketAddr,
    /// The operations listener.
    pub(crate) ops: SocketAddr,
    metrics: Arc<Metrics>,
    signer: Signer,
    stop: CancellationToken,
    running: JoinSet<()>,
}

impl TestRelay {
    /// Starts a relay with the built-in configuration, changed by `adjust`.
    #[expect(clippy::unused_async, reason = "a relay needs a runtime around it")]
    pub(crate) async fn start(adjust: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.server.port = 0;
        config.server.ops_listen = Some(([127, 0, 0, 1], 0).into());
        config.log.aggregate_interval_s = 0;
        // Tests do not wait for each other to leave; those of the drain switch it on.
        config.feature.graceful_shutdown = false;
        config.heartbeat.close_timeout_ms = 300;
        adjust(&mut config);

        let signer = Signer { secret: random(), policy: config.token.policy() };
        let loaded = Loaded { keys: signer.keys(&config.token.kid), config, notes: Vec::new() };
        let server = Server::bind(loaded).expect("free ports");
        let addr = server.local_addr().expect("bound");
        let ops = server.ops_addr().unwrap_or(addr);
        let metrics = server.metrics();
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(server.run(stop.clone().cancelled_owned()));
        Self { addr, ops, metrics, signer, stop, running }
    }

    /// Asks the relay to drain, as a signal does.
    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Waits until the relay has ended by itself.
    pub(crate) async fn ended(&mut self) {
        soon("the relay's end", self.running.join_next()).await.expect("it ran").expect("no panic");
        assert_eq!(self.count(Count::Panics), 0);
    }

    /// Ends the relay and checks that no connection of it panicked.
    pub(crate) async fn stop(mut self) {
        self.begin_stop();
        self.ended().await;
    }

    /// All counters at this moment.
    pub(crate) fn totals(&self) -> Aggregate {
        self.metrics.aggregate()
    }

    /// One counter at this moment.
    pub(crate) fn count(&self, count: Count) -> u64 {
        self.totals().count(count)
    }

    /// Waits until the counters are as wanted. For effects that no answer announces.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Aggregate) -> bool) {
        soon(what, async {
            while !wanted(&self.totals()) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Opens a connection for requests to the public listener.
    pub(crate) async fn talk(&self) -> Talk {
        Talk::to(self.addr).await
    }

    /// Sends one request with these extra header lines and reads its answer.
    pub(crate) async fn call(&self, method: &str, path: &str, extra: &str, body: &str) -> Answered {
        call(self.addr, method, path, extra, body).await
    }

    /// `GET` on the public listener.
    pub(crate) async fn get(&self, path: &str) -> Answered {
        self.call("GET", path, "", "").await
    }

    /// `POST` of JSON on the public listener.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answered {
        self.call("POST", path, JSON, &body.to_string()).await
    }

    /// Makes a room with secrets of its own.
    pub(crate) async fn create_room(&self) -> TestRoom {
        self.create_room_with(json!(null)).await
    }

    /// Makes a room with options.
    pub(crate) async fn create_room_with(&self, options: Value) -> TestRoom {
        let room = TestRoom::new();
        let answer = self.post("/v1/rooms", &room.creation(options)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        room
    }

    /// Asks for a token, as a member does.
    pub(crate) async fn token(&self, room: &TestRoom) -> String {
        let answer = self.post("/v1/tokens", &room.ask()).await;
        answer.json()["token"].as_str().expect("a token").to_owned()
    }

    /// Asks for a token with the owner's capability.
    pub(crate) async fn owner_token(&self, room: &TestRoom) -> String {
        let mut ask = room.ask();
        ask["owner_secret"] = json!(room.owner_secret());
        let answer = self.post("/v1/tokens", &ask).await;
        answer.json()["token"].as_str().expect("a token").to_owned()
    }

    /// Signs a token with the relay's own key, as a backend does.
    pub(crate) fn mint(&self, room: &RoomId, cap: &str) -> String {
        self.mint_at(room, cap, unix_now(), None)
    }

    /// Signs a token as if it were `at`, for a session of so many seconds.
    pub(crate) fn mint_at(
        &self,
        room: &RoomId,
        cap: &str,
        at: UnixSeconds,
        session_s: Option<u32>,
    ) -> String {
        let Signer { policy, .. } = &self.signer;
        let cap = Cap::parse(cap).unwrap();
        let jti = Jti::from_bytes(random());
        let keys = self.signer.keys("k1");
        keys.mint(policy, room, cap, policy.lifetime_max_s, session_s, jti, at).to_string()
    }

    /// Joins with a fresh token and waits for the welcome.
    pub(crate) async fn join(&self, room: &TestRoom) -> Member {
        let token = self.token(room).await;
        self.join_with(&token).await
    }

    /// Joins as owner with a fresh token and waits for the welcome.
    pub(crate) async fn join_as_owner(&self, room: &TestRoom) -> Member {
        let token = self.owner_token(room).await;
        self.join_with(&token).await
    }

    /// Joins with a token and waits for the welcome.
    pub(crate) async fn join_with(&self, token: &str) -> Member {
        let mut member = self.connect(token).await;
        member.welcome = member.control().await;
        assert_eq!(member.welcome["type"], "welcome", "{}", member.welcome);
        member
    }

    /// Joins with a token that is not good, and returns what it is closed with.
    pub(crate) async fn refused_with(&self, token: &str) -> (u16, String) {
        self.connect(token).await.closed().await
    }

    /// Completes a handshake as browsers do, whatever comes of it.
    pub(crate) async fn connect(&self, token: &str) -> Member {
        let protocols = format!("lethewire.v1, lethewire.bearer.{token}");
        let (member, headers) =
            self.handshake(&[("sec-websocket-protocol", &protocols)]).await.expect("upgraded");
        assert_eq!(headers["sec-websocket-protocol"], "lethewire.v1");
        member
    }

    /// A handshake with these extra header fields.
    pub(crate) async fn handshake(
        &self,
        fields: &[(&'static str, &str)],
    ) -> Result<(Member, HeaderMap), tungstenite::Error> {
        let stream = TcpStream::connect(self.addr).await.expect("the relay listens");
        stream.set_nodelay(true).expect("connected");
        let mut request = format!("ws://{}/v1/ws", self.addr).into_client_request()?;
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_str(value)?);
        }
        let handshake = tokio_tungstenite::client_async(request, stream);
        let (socket, answer) = soon("the handshake", handshake).await?;
        Ok((Member { socket, welcome: Value::Null }, answer.headers().clone()))
    }
}

/// The time of day.
pub(crate) fn unix_now() -> UnixSeconds {
    lethewire::clock::unix_now()
}

/// Signs tokens as the relay does.
struct Signer {
    secret: [u8; 32],
    policy: Policy,
}

impl Signer {
    fn keys(&self, kid: &str) -> Keys {
        let kid = Kid::new(kid).unwrap();
        let secret = SecretBytes::new(self.secret.to_vec());
        Keys::new(vec![SigningKey { kid, issuer: "lethewire".to_owned(), secret }]).unwrap()
    }
}

/// A room's secrets, as its members have them.
pub(crate) struct TestRoom {
    key: [u8; 32],
    owner_secret: [u8; 32],
    /// The only name that the relay knows.
    pub(crate) id: RoomId,
}

impl TestRoom {
    /// A room that nobody has made yet.
    pub(crate) fn new() -> Self {
        let (key, owner_secret) = (random(), random());
        let owner = owner_hash(&OwnerSecret::new(Secret32::new(owner_secret)));
        let id = room_id(&AdmissionKey::new(Secret32::new(key)), &owner);
        Self { key, owner_secret, id }
    }

    pub(crate) fn key(&self) -> String {
        to_base64url(&self.key)
    }

    pub(crate) fn owner(&self) -> String {
        owner_hash(&OwnerSecret::new(Secret32::new(self.owner_secret))).to_base64url()
    }

    pub(crate) fn owner_secret(&self) -> String {
        to_base64url(&self.owner_secret)
    }

    /// The body of `POST /v1/rooms`.
    pub(crate) fn creation(&self, options: Value) -> Value {
        let mut body = json!({ "key": self.key(), "owner": self.owner() });
        if !options.is_null() {
            body["options"] = options;
        }
        body
    }

    /// The body of `POST /v1/tokens`.
    pub(crate) fn ask(&self) -> Value {
        json!({ "room": self.id.to_base64url(), "key": self.key() })
    }

    /// The body of `POST /v1/owner`.
    pub(crate) fn rule(&self, op: &str) -> Value {
        json!({ "room": self.id.to_base64url(), "owner_secret": self.owner_secret(), "op": op })
    }
}

/// A member's connection.
pub(crate) struct Member {
    socket: WebSocketStream<TcpStream>,
    /// What it was told first.
    pub(crate) welcome: Value,
}

/// A data frame from the relay.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Data {
    /// Whether it was for this member alone.
    pub(crate) direct: bool,
    /// The flags as on the wire.
    pub(crate) flags: u8,
    /// Who sent it, as text.
    pub(crate) from: String,
    /// Its number.
    pub(crate) seq: u64,
    /// What was sent.
    pub(crate) payload: Vec<u8>,
}

/// Anything that a member hears.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    /// A data frame.
    Data(Data),
    /// A control frame.
    Control(Value),
    /// The close frame: code and reason.
    Closed(u16, String),
    /// The socket ended without a close frame.
    Lost,
}

impl Member {
    /// Flag: ask for `ack`.
    pub(crate) const ACK: u8 = 1;
    /// Flag: hear it too.
    pub(crate) const ECHO: u8 = 2;
    /// Flag: may be dropped first.
    pub(crate) const VOLATILE: u8 = 4;

    /// Its own name.
    pub(crate) fn id(&self) -> String {
        self.welcome["member"].as_str().expect("welcomed").to_owned()
    }

    /// SEND without flags.
    pub(crate) async fn say(&mut self, payload: &[u8]) {
        self.send(0, 0, payload).await;
    }

    /// SEND.
    pub(crate) async fn send(&mut self, flags: u8, reference: u16, payload: &[u8]) {
        let [high, low] = reference.to_be_bytes();
        self.raw(&[&[1, flags, high, low], payload].concat()).await;
    }

    /// DIRECT.
    pub(crate) async fn send_to(
        &mut self,
        member: &str,
        flags: u8,
        reference: u16,
        payload: &[u8],
    ) {
        let [high, low] = reference.to_be_bytes();
        let member = lethewire::core::id::MemberId::from_base64url(member).unwrap();
        self.raw(&[&[2, flags, high, low], &member.as_bytes()[..], payload].concat()).await;
    }

    /// A binary message with any bytes.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.message(Message::binary(bytes.to_vec())).await;
    }

    /// A control frame.
    pub(crate) async fn tell(&mut self, control: &Value) {
        self.message(Message::text(control.to_string())).await;
    }

    /// Any WebSocket message.
    pub(crate) async fn message(&mut self, message: Message) {
        soon("sending", self.socket.send(message)).await.expect("the socket takes it");
    }

    /// The next thing that is no heartbeat.
    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            return match soon("a message", self.socket.next()).await {
                Some(Ok(Message::Binary(bytes))) => Heard::Data(Data::decode(&bytes)),
                Some(Ok(Message::Text(text))) => {
                    Heard::Control(serde_json::from_str(&text).expect("JSON"))
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    Heard::Closed(frame.code.into(), frame.reason.to_string())
                }
                Some(Ok(Message::Close(None))) => Heard::Closed(1005, String::new()),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Err(_)) | None => Heard::Lost,
            };
        }
    }

    /// The next thing, which is a data frame.
    pub(crate) async fn data(&mut self) -> Data {
        match self.hear().await {
            Heard::Data(data) => data,
            other => panic!("expected data, heard {other:?}"),
        }
    }

    /// The next thing, which is a control frame.
    pub(crate) async fn control(&mut self) -> Value {
        match self.hear().await {
            Heard::Control(control) => control,
            other => panic!("expected control, heard {other:?}"),
        }
    }

    /// The next thing, which is a control frame of this type.
    pub(crate) async fn control_of(&mut self, kind: &str) -> Value {
        let control = self.control().await;
        assert_eq!(control["type"], kind, "{control}");
        control
    }

    /// The next thing, which is the close frame; then the socket ends.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        match self.hear().await {
            Heard::Closed(code, reason) => {
                assert_eq!(self.hear().await, Heard::Lost, "nothing comes after a close");
                (code, reason)
            }
            other => panic!("expected a close, heard {other:?}"),
        }
    }

    /// Leaves as an application does, and waits for the end.
    pub(crate) async fn leave(mut self) {
        self.tell(&json!({ "type": "leave" })).await;
        while self.hear().await != Heard::Lost {}
    }

    /// The socket, to misbehave on.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.socket.into_inner()
    }
}

impl Data {
    fn decode(bytes: &[u8]) -> Self {
        assert!(bytes.len() > 20, "a frame without payload");
        assert_eq!(bytes[2..4], [0, 0]);
        let direct = match bytes[0] {
            0x81 => false,
            0x82 => true,
            op => panic!("unknown operation {op}"),
        };
        Self {
            direct,
            flags: bytes[1],
            from: to_base64url(&bytes[4..12]),
            seq: u64::from_be_bytes(bytes[12..20].try_into().unwrap()),
            payload: bytes[20..].to_vec(),
        }
    }
}

/// The header line of a JSON body.
pub(crate) const JSON: &str = "Content-Type: application/json\r\n";

/// Sends one request and reads its answer.
pub(crate) async fn call(
    addr: SocketAddr,
    method: &str,
    path: &str,
    extra: &str,
    body: &str,
) -> Answered {
    let mut talk = Talk::to(addr).await;
    let length = match body.len() {
        0 => String::new(),
        length => format!("Content-Length: {length}\r\n"),
    };
    talk.say(format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\n{length}{extra}\r\n{body}"))
        .await;
    if method == "HEAD" { talk.head().await } else { talk.answer().await }
}

/// A raw connection to a listener: what is written is what is sent.
pub(crate) struct Talk {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    /// Names in lower case, as they came.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answered {
    /// A header field that is there at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        let first = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is there twice");
        first
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// Checks that this is the problem with this status and this end of its type.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, type_ends_in: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let body = self.json();
        assert_eq!(body["status"], status);
        assert!(body["type"].as_str().unwrap().ends_with(type_ends_in), "{body}");
        assert!(body["title"].is_string());
    }
}

impl Talk {
    pub(crate) async fn to(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("the relay listens");
        stream.set_nodelay(true).expect("connected");
        Self { stream, unread: Vec::new() }
    }

    /// Sends bytes as they are.
    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        soon("sending", self.stream.write_all(bytes.as_ref())).await.expect("the socket takes it");
    }

    /// Reads one whole answer.
    pub(crate) async fn answer(&mut self) -> Answered {
        let mut answer = self.head().await;
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        answer.body = self.next(length).await;
        answer
    }

    /// Reads the head of an answer that has no body.
    pub(crate) async fn head(&mut self) -> Answered {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.read().await, "no answer but the end of the connection");
        };
        let rest = self.unread.split_off(end);
        let head = String::from_utf8(std::mem::replace(&mut self.unread, rest)).expect("ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().strip_prefix("HTTP/1.").expect("HTTP/1");
        let pairs = lines.map(|line| line.split_once(": ").expect("a header line"));
        Answered {
            status: status[2..5].parse().unwrap(),
            headers: pairs.map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).collect(),
            body: Vec::new(),
        }
    }

    /// Reads so many bytes.
    pub(crate) async fn next(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert!(self.read().await, "the connection ended before that");
        }
        let rest = self.unread.split_off(count);
        std::mem::replace(&mut self.unread, rest)
    }

    /// Reads until these bytes have come.
    pub(crate) async fn until(&mut self, wanted: &[u8]) {
        while !self.unread.windows(wanted.len()).any(|window| window == wanted) {
            assert!(self.read().await, "the connection ended before that");
        }
    }

    /// Waits until the relay ends the connection, and returns what came before that.
    pub(crate) async fn ended(mut self) -> Vec<u8> {
        while self.read().await {}
        self.unread
    }

    /// Reads what comes next. False at the end.
    async fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match soon("an answer", self.stream.read(&mut buffer)).await {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.unread.extend_from_slice(&buffer[..n]);
                true
            }
        }
    }
}
