//! The relay under test, and clients that can also misbehave: raw HTTP and WebSocket.

mod member;
mod pair;
mod raw;
mod rogue;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lethewire::config::{BusAccess, Config, Limits, Loaded, RedisUrl, Topology};
use lethewire::core::admission::{AdmissionKey, OwnerSecret, owner_hash, room_id};
use lethewire::core::id::{Jti, Kid, RoomId, to_base64url};
use lethewire::core::limit::UnixSeconds;
use lethewire::core::secret::{Secret32, SecretBytes};
use lethewire::core::token::{Cap, Keys, Policy, SigningKey};
use lethewire::metrics::{Aggregate, Count, Metrics};
use lethewire::server::Server;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue};
use tokio_util::sync::CancellationToken;

pub(crate) use self::member::{Data, Heard, Member};
pub(crate) use self::pair::Pair;
pub(crate) use self::raw::{Answered, JSON, Talk, call, masked};
pub(crate) use self::rogue::{Ending, Rogue, TALK_BYTES, handshake, within};

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
        Self::start_with(random(), None, adjust)
    }

    /// Starts a node that shares its rooms with all that were given the same secrets and Redis.
    #[expect(clippy::unused_async, reason = "a relay needs a runtime around it")]
    pub(crate) async fn start_node(
        secrets: &ClusterSecrets,
        redis: &str,
        adjust: impl FnOnce(&mut Config),
    ) -> Self {
        let access = BusAccess {
            topology: Topology::Single,
            urls: vec![RedisUrl::parse(redis).unwrap()],
            secret: secrets.of_bus(),
        };
        Self::start_with(secrets.join, Some(access), |config| {
            config.bus.warm_up_s = 0;
            adjust(config);
        })
    }

    fn start_with(
        secret: [u8; 32],
        bus: Option<BusAccess>,
        adjust: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config::default();
        config.server.port = 0;
        config.server.ops_listen = Some(([127, 0, 0, 1], 0).into());
        config.log.aggregate_interval_s = 0;
        // Tests do not wait for each other to leave; those of the drain switch it on.
        config.feature.graceful_shutdown = false;
        config.heartbeat.close_timeout_ms = 300;
        roomy(&mut config.limit);
        adjust(&mut config);

        let signer = Signer { secret, policy: config.token.policy() };
        let keys = signer.keys(&config.token.kid);
        let loaded = Loaded { config, keys, bus, notes: Vec::new() };
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
        let now = self.totals();
        let accounted =
            now.count(Count::CopiesDelivered) + now.dropped_in_all() + now.copies_queued;
        assert_eq!(now.count(Count::CopiesAddressed), accounted, "copies that nobody accounts for");
        assert_eq!(now.copies_queued, 0, "copies that wait for nobody");
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

    /// A room of two, the first of whom has heard the second come.
    pub(crate) async fn two_members(&self) -> (Member, Member) {
        let room = self.create_room().await;
        let mut first = self.join(&room).await;
        let second = self.join(&room).await;
        first.control_of("join").await;
        (first, second)
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

/// What all nodes of a cluster have in common.
pub(crate) struct ClusterSecrets {
    join: [u8; 32],
    cluster: [u8; 32],
}

impl ClusterSecrets {
    pub(crate) fn new() -> Self {
        Self { join: random(), cluster: random() }
    }

    /// What their buses are sealed with.
    pub(crate) fn of_bus(&self) -> SecretBytes {
        SecretBytes::new(self.cluster.to_vec())
    }
}

/// The time of day.
pub(crate) fn unix_now() -> UnixSeconds {
    lethewire::clock::unix_now()
}

/// All clients of a test come from one address: what is for one client in real life is for many
/// here. Tests of these limits set them.
const fn roomy(limit: &mut Limits) {
    limit.handshakes_per_10s = 100_000;
    limit.requests_per_min = 100_000;
    limit.tokens_per_min = 100_000;
    limit.failed_admissions_per_min = 100_000;
    limit.slow_max_ms = 0;
    limit.faults = 1000;
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
