//! A throw-away room, and permission to join it twice: from the relay as members get it, or from
//! this machine's own secret where a backend mints.

use std::path::Path;

use hyper::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::random;
use super::refused::{NO_RELAY, by_status};
use super::stage::{Failure, Stage};
use crate::cli::remote::{Call, Caller, Reply, Trust, Url, dial};
use crate::clock;
use crate::config::{Environment, Note, load};
use crate::core::admission::{AdmissionKey, OwnerSecret, owner_hash, room_id};
use crate::core::id::{Jti, RoomId, to_base64url};
use crate::core::secret::Secret32;
use crate::core::token::Cap;

/// Two tokens for a room that nobody else knows. The second one's bearer owns the room.
pub(super) struct Tickets {
    pub(super) first: Zeroizing<String>,
    pub(super) second: Zeroizing<String>,
    /// Where members are to connect; `None` is wherever the relay was asked.
    pub(super) ws: Option<String>,
    /// Who gave them.
    pub(super) by: &'static str,
}

/// A connection for calls, made anew when the other side ends it.
pub(super) struct Desk<'a> {
    pub(super) url: &'a Url,
    pub(super) trust: Option<&'a Trust>,
    pub(super) caller: Caller,
    pub(super) patience: std::time::Duration,
}

impl Desk<'_> {
    async fn call(&mut self, path: &str, body: Option<Value>) -> Result<Reply, Failure> {
        if !self.caller.is_open() {
            let link = dial(self.url, self.trust, self.patience).await?;
            self.caller = Caller::new(link).await.map_err(broken)?;
        }
        let body = body.map(|body| body.to_string());
        let call = Call { path, body, accept: "application/json", bytes_max: ANSWER_BYTES_MAX };
        self.caller.call(self.url, call).await.map_err(broken)
    }

    /// Two tokens, in the way that this relay wants.
    pub(super) async fn tickets(&mut self, file: Option<&Path>) -> Result<Tickets, Failure> {
        let reply = self.call("/v1/info", None).await?;
        let info: Info = parsed(&reply, &[StatusCode::OK])?;
        match &*info.admission {
            "open" => self.granted(&info.limits).await,
            "backend" => minted(file),
            _ => Err(Failure::new(Stage::Token, "an unknown kind of admission", NO_RELAY)),
        }
    }

    async fn granted(&mut self, limits: &Limits) -> Result<Tickets, Failure> {
        let (key, owner_secret) =
            (Zeroizing::new(random::<32>()?), Zeroizing::new(random::<32>()?));
        let owner = owner_hash(&OwnerSecret::new(Secret32::new(*owner_secret)));
        let room = room_id(&AdmissionKey::new(Secret32::new(*key)), &owner);
        let key = to_base64url(&*key);
        // Ends soon by itself, should this process not come to close it.
        let ttl_s = limits.ttl_s.clamp(1, ROOM_TTL_MAX_S);
        let idle_s = limits.idle_s.clamp(1, ROOM_IDLE_MAX_S);
        let options = json!({ "ttl_s": ttl_s, "idle_s": idle_s });
        let body = json!({ "key": key, "owner": owner.to_base64url(), "options": options });
        let reply = self.call("/v1/rooms", Some(body)).await?;
        let first: Ticket = parsed(&reply, &[StatusCode::CREATED, StatusCode::OK])?;
        let owner_secret = to_base64url(&*owner_secret);
        let body = json!({ "room": room.to_base64url(), "key": key, "owner_secret": owner_secret });
        let reply = self.call("/v1/tokens", Some(body)).await?;
        let second: Ticket = parsed(&reply, &[StatusCode::OK])?;
        Ok(Tickets {
            first: first.token.into(),
            second: second.token.into(),
            ws: Some(second.ws),
            by: "the relay made the room",
        })
    }
}

/// Tokens from this machine's secret, as a backend makes them.
fn minted(file: Option<&Path>) -> Result<Tickets, Failure> {
    let failed = |what: String| {
        let next = "give the prober the relay's secret: JOIN_TOKEN_SECRET_FILE, and TOKEN_ISSUER, \
                    TOKEN_AUDIENCE and TOKEN_KID if the relay has its own";
        Failure::new(Stage::Token, what, next)
    };
    let wants = "this relay takes tokens of a backend";
    // Read anew for each probe, so that a secret can change under an exporter.
    let loaded = load(file, &Environment::of_process())
        .map_err(|error| failed(format!("{wants}, and {error}")))?;
    if loaded.notes.contains(&Note::RandomSecret) {
        return Err(failed(format!("{wants}, and there is no secret here to make one")));
    }
    let room = RoomId::new(&random::<16>()?).expect("16 bytes are a room's name");
    let policy = loaded.config.token.policy();
    let mint = |cap: Cap| -> Result<_, Failure> {
        let ttl_s = u64::from(loaded.config.token.ttl_s);
        let (session, jti) = (Some(ROOM_TTL_MAX_S), Jti::from_bytes(random()?));
        Ok(loaded.keys.mint(&policy, &room, cap, ttl_s, session, jti, clock::unix_now()))
    };
    let talk = Cap::SEND.with(Cap::RECEIVE);
    Ok(Tickets {
        first: mint(talk.with(Cap::CREATE))?,
        second: mint(talk.with(Cap::OWNER))?,
        ws: None,
        by: "minted here, as a backend does",
    })
}

fn broken(what: String) -> Failure {
    Failure::new(Stage::Token, what, NO_RELAY)
}

/// What an answer of one of these statuses says.
fn parsed<T: DeserializeOwned>(reply: &Reply, good: &[StatusCode]) -> Result<T, Failure> {
    if !good.contains(&reply.status) {
        return Err(by_status(Stage::Token, reply.status, &reply.headers));
    }
    serde_json::from_slice(&reply.body)
        .map_err(|_| broken("the answer is not that of a relay".to_owned()))
}

/// What is of interest of `GET /v1/info`.
#[derive(Deserialize)]
struct Info {
    admission: String,
    limits: Limits,
}

#[derive(Deserialize)]
struct Limits {
    ttl_s: u32,
    idle_s: u32,
}

/// What the relay says when it gives a token.
#[derive(Deserialize)]
struct Ticket {
    token: String,
    ws: String,
}

/// Longest answer to a call, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// How long the room lives at most, and its members' sessions, in seconds.
const ROOM_TTL_MAX_S: u32 = 120;

/// How long the room stays when its members are gone, in seconds.
const ROOM_IDLE_MAX_S: u32 = 5;
