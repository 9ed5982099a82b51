//! The three calls that make and rule rooms: `/v1/rooms`, `/v1/tokens`, `/v1/owner`.
//!
//! Identifiers and keys come in bodies, never in a path. An unknown room and a wrong key are the
//! same answer after the same work; what is the matter with a room is said only to those who have
//! proven its key.

use std::net::IpAddr;

use hyper::StatusCode;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::body::{JsonBody, Object};
use super::problem::{Kind, Problem};
use super::{Answer, App, empty, json};
use crate::admission::records::{Refused, View};
use crate::admission::shared::{Failure, Shared};
use crate::clock;
use crate::core::admission::{
    AdmissionKey, OwnerHash, OwnerSecret, PaddingPolicy, RoomOptions, WantedOptions, room_id,
};
use crate::core::id::{Jti, MemberId, RoomId};
use crate::core::limit::Instant;
use crate::core::token::Cap;
use crate::metrics::{Count, OwnerOperation, Refusal, RoomOperation};

/// `POST /v1/rooms`: makes a room, or restores it, and hands out a token for it.
pub(super) async fn create(
    app: &App,
    body: &JsonBody,
    from: IpAddr,
    ws: String,
) -> Result<Answer, Problem> {
    let asked: CreateRoom<'_> = body.parse()?;
    let key = AdmissionKey::from_base64url(asked.key).ok_or(BAD_KEY)?;
    let owner = OwnerHash::from_base64url(asked.owner).ok_or(BAD_OWNER)?;
    let ceilings = app.records.ceilings();
    let wanted = asked.options.unwrap_or_default().0.wanted()?;
    let options = ceilings.changed(&wanted, ceilings).map_err(|_| BAD_OPTIONS)?;
    let room = room_id(&key, &owner);
    let now = clock::now();
    load(app, &room).await?;
    match app.records.view(&room) {
        Some(view) => {
            app.take_token(from)?;
            may_enter(app, &room, &view, false)?;
        }
        None if app.records.is_full() => return Err(at_capacity(app, Refusal::Rooms)),
        None => app.take_room(from)?,
    }
    // Also for a room that is there: one that was made without an owner learns its owner here.
    let new = make(app, &room, owner, options, now).await?;
    let token = mint(app, &room, Cap::SEND.with(Cap::RECEIVE))?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let room = Some(room.to_base64url());
    Ok(json(status, &TokenAnswer { room, token: &token, expires_in_s: app.config.token.ttl_s, ws }))
}

/// `POST /v1/tokens`: hands out a token for a room that is there.
pub(super) async fn token(
    app: &App,
    body: &JsonBody,
    from: IpAddr,
    ws: String,
) -> Result<Answer, Problem> {
    let asked: AskForToken<'_> = body.parse()?;
    let room = RoomId::from_base64url(asked.room).ok_or(BAD_ROOM)?;
    let key = AdmissionKey::from_base64url(asked.key).ok_or(BAD_KEY)?;
    let secret = asked.owner_secret.map(|text| OwnerSecret::from_base64url(text).ok_or(BAD_OWNER));
    let secret = secret.transpose()?;

    app.take_token(from)?;
    load(app, &room).await?;
    let view = app.records.authorize(&room, &key);
    let owner = secret.as_ref().is_none_or(|secret| app.records.owner_matches(&room, secret));
    let Some(view) = view.filter(|_| owner) else { return Err(not_admitted(app, from)) };
    may_enter(app, &room, &view, secret.is_some())?;
    let mut cap = Cap::SEND.with(Cap::RECEIVE);
    if secret.is_some() {
        cap = cap.with(Cap::OWNER);
    }
    let token = mint(app, &room, cap)?;
    let expires_in_s = app.config.token.ttl_s;
    Ok(json(StatusCode::OK, &TokenAnswer { room: None, token: &token, expires_in_s, ws }))
}

/// `POST /v1/owner`: closes, locks, unlocks a room, changes its options, or removes a member.
pub(super) async fn rule(app: &App, body: &JsonBody, from: IpAddr) -> Result<Answer, Problem> {
    let asked: Rule<'_> = body.parse()?;
    let room = RoomId::from_base64url(asked.room).ok_or(BAD_ROOM)?;
    let secret = OwnerSecret::from_base64url(asked.owner_secret).ok_or(BAD_OWNER)?;
    let member = asked.member.map(|text| MemberId::from_base64url(text).ok_or(BAD_MEMBER));
    let member = member.transpose()?;
    load(app, &room).await?;
    if !app.records.owner_matches(&room, &secret) {
        return Err(not_admitted(app, from));
    }
    if app.records.view(&room).is_some_and(|view| view.closed) {
        return Err(refuse(app, Refusal::RoomClosed, Kind::RoomClosed));
    }
    let op = match (asked.op, member, asked.options) {
        ("close", None, None) => Op::Close,
        ("lock", None, None) => Op::Lock(true),
        ("unlock", None, None) => Op::Lock(false),
        ("kick", Some(member), None) => Op::Kick(member),
        ("limits", None, Some(options)) => Op::Limits(options.0.wanted()?),
        _ => return Err(Problem::bad_request("no such op, or not with these fields")),
    };
    let done = match &app.shared {
        Some(shared) => op.on_all_nodes(shared, &room).await,
        None => op.here(app, &room),
    };
    match done {
        Ok(true) => {
            app.metrics.owner_did(op.counted());
            Ok(empty(StatusCode::NO_CONTENT))
        }
        Ok(false) => Err(Kind::NotFound.into()),
        Err(Failure::Refused(Refused::Unknown)) => Err(not_admitted(app, from)),
        Err(failure) => Err(refused(app, failure)),
    }
}

/// What an owner may ask for.
enum Op {
    Close,
    Lock(bool),
    Kick(MemberId),
    Limits(WantedOptions),
}

impl Op {
    /// Under what it is counted.
    const fn counted(&self) -> OwnerOperation {
        match self {
            Self::Close => OwnerOperation::Close,
            Self::Lock(true) => OwnerOperation::Lock,
            Self::Lock(false) => OwnerOperation::Unlock,
            Self::Kick(_) => OwnerOperation::Kick,
            Self::Limits(_) => OwnerOperation::Options,
        }
    }

    /// Does it on a node of its own. False if there is nobody to kick.
    fn here(&self, app: &App, room: &RoomId) -> Result<bool, Failure> {
        let now = clock::now();
        match self {
            Self::Close => app.hub.close_room(room, now),
            Self::Lock(locked) => app.hub.set_locked(room, *locked, now),
            Self::Kick(member) => return Ok(app.hub.kick(room, *member, now)),
            Self::Limits(wanted) => {
                app.records.set_options(room, wanted)?;
                app.hub.options_changed(room, now);
            }
        }
        Ok(true)
    }

    /// Does it where rooms are shared: it takes effect as the bus says it. False if there is nobody
    /// to kick.
    async fn on_all_nodes(&self, shared: &Shared, room: &RoomId) -> Result<bool, Failure> {
        match self {
            Self::Close => shared.close(room).await?,
            Self::Lock(locked) => shared.set_locked(room, *locked).await?,
            Self::Kick(member) => return Ok(shared.kick(room, *member).await?),
            Self::Limits(wanted) => shared.set_options(room, wanted).await?,
        }
        Ok(true)
    }
}

/// Makes a record, or finds it. Says whether it is new.
async fn make(
    app: &App,
    room: &RoomId,
    owner: OwnerHash,
    options: RoomOptions,
    now: Instant,
) -> Result<bool, Problem> {
    let made = match &app.shared {
        Some(shared) => shared.create(room, owner, options).await,
        None => app.records.create(room, owner, options, now).map_err(Failure::from),
    };
    let made = made.map_err(|failure| refused(app, failure))?;
    if made.new {
        app.metrics.add(Count::RecordsMade, 1);
        app.metrics.room_did(RoomOperation::Create);
    } else {
        app.metrics.room_did(RoomOperation::Restore);
    }
    Ok(made.new)
}

/// Brings what is known of a room up to date with the other nodes, if there are any.
async fn load(app: &App, room: &RoomId) -> Result<(), Problem> {
    let Some(shared) = &app.shared else { return Ok(()) };
    shared.load(room).await.map_err(|failure| refused(app, failure))
}

/// How it is told that a room cannot be made, changed or looked up.
fn refused(app: &App, failure: Failure) -> Problem {
    match failure {
        Failure::Down => at_capacity(app, Refusal::Bus),
        Failure::Refused(Refused::Closed) => refuse(app, Refusal::RoomClosed, Kind::RoomClosed),
        Failure::Refused(Refused::Options) => BAD_OPTIONS.into(),
        Failure::Refused(Refused::Unknown) => {
            refuse(app, Refusal::Admission, Kind::AdmissionFailed)
        }
        Failure::Refused(Refused::Full) => at_capacity(app, Refusal::Rooms),
    }
}

/// Whether somebody who proved the room's key would get in now; the hub decides again at the door.
fn may_enter(app: &App, room: &RoomId, view: &View, owner: bool) -> Result<(), Problem> {
    if view.closed {
        return Err(refuse(app, Refusal::RoomClosed, Kind::RoomClosed));
    }
    if view.locked && !owner {
        return Err(refuse(app, Refusal::RoomLocked, Kind::RoomLocked));
    }
    if app.hub.room_full(room) {
        return Err(refuse(app, Refusal::RoomFull, Kind::RoomFull));
    }
    Ok(())
}

fn mint(app: &App, room: &RoomId, cap: Cap) -> Result<zeroize::Zeroizing<String>, Problem> {
    let mut jti = [0; Jti::LEN];
    getrandom::fill(&mut jti).map_err(|_| Problem::reduced_capacity())?;
    app.metrics.add(Count::TokensMinted, 1);
    let ttl_s = u64::from(app.config.token.ttl_s);
    let jti = Jti::from_bytes(jti);
    Ok(app.keys.mint(&app.policy, room, cap, ttl_s, None, jti, clock::unix_now()))
}

/// The answer to an unknown room and to a wrong key; another one if there were too many of them.
fn not_admitted(app: &App, from: IpAddr) -> Problem {
    match app.take_failure(from) {
        Ok(()) => refuse(app, Refusal::Admission, Kind::AdmissionFailed),
        Err(too_many) => too_many,
    }
}

fn at_capacity(app: &App, refusal: Refusal) -> Problem {
    app.metrics.refused(refusal);
    Problem::reduced_capacity()
}

fn refuse(app: &App, refusal: Refusal, kind: Kind) -> Problem {
    app.metrics.refused(refusal);
    kind.into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateRoom<'a> {
    key: &'a str,
    owner: &'a str,
    options: Option<Object<Options>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskForToken<'a> {
    room: &'a str,
    key: &'a str,
    owner_secret: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule<'a> {
    room: &'a str,
    owner_secret: &'a str,
    op: &'a str,
    member: Option<&'a str>,
    options: Option<Object<Options>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    ttl_s: Option<u32>,
    idle_s: Option<u32>,
    members_max: Option<u32>,
    padding: Option<Padding>,
}

impl Options {
    fn wanted(self) -> Result<WantedOptions, Bad> {
        let Self { ttl_s, idle_s, members_max, padding } = self;
        let padding = match padding {
            None => None,
            Some(Padding::Policy(policy)) => Some(policy),
            Some(Padding::Other(IgnoredAny)) => return Err(BAD_PADDING),
        };
        Ok(WantedOptions { ttl_s, idle_s, members_max, padding })
    }
}

/// A policy, or anything else: that is said with its name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Padding {
    Policy(PaddingPolicy),
    Other(IgnoredAny),
}

#[derive(Serialize)]
struct TokenAnswer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<String>,
    token: &'a str,
    expires_in_s: u32,
    ws: String,
}

/// What is wrong with a value, shown in development.
struct Bad(&'static str);

const BAD_ROOM: Bad = Bad("room is base64url of 16 to 32 bytes");
const BAD_KEY: Bad = Bad("key is base64url of 32 bytes");
const BAD_OWNER: Bad = Bad("owner is base64url of 16 bytes, owner_secret of 32");
const BAD_MEMBER: Bad = Bad("member is base64url of 8 bytes");
const BAD_PADDING: Bad = Bad("padding is off, warn or enforce, as text");
const BAD_OPTIONS: Bad = Bad("an option is out of the range that /v1/info tells");

impl From<Bad> for Problem {
    fn from(bad: Bad) -> Self {
        Self::bad_request(bad.0)
    }
}
