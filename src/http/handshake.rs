//! The WebSocket handshake: from a request to a place in a room, or to the code that says why not.
//!
//! What is wrong with the request itself is answered in plain HTTP. What is wrong with its token is
//! not, because a browser cannot see the status of a failed handshake: the handshake is completed
//! and the connection closed at once with the code. Only an address that failed too often before
//! is told no more than 429. The token is burnt last, when a place in the room is already held, so
//! that a refusal for any other reason does not use it up.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use hyper::{Request, StatusCode, Version};

use super::fields::Fields;
use super::problem::Problem;
use super::{Answer, App, empty};
use crate::admission::records;
use crate::admission::replay::Burn;
use crate::admission::shared::Failure;
use crate::clock;
use crate::core::close::{Advice, Close};
use crate::core::limit::Instant;
use crate::core::token::{Cap, Claims, Fault, TokenError};
use crate::core::upgrade::{ACCEPT_LEN, accept};
use crate::hub::{Grant, Reservation};
use crate::metrics::{Count, Refusal, RoomOperation, Verdict};

/// The subprotocol, which is also the protocol's version.
pub(crate) const SUBPROTOCOL: &str = "lethewire.v1";
/// What a token is prefixed with among the subprotocols.
const BEARER: &str = "lethewire.bearer.";

/// What the 101 says of the handshake that it answers.
pub(super) struct Switch {
    accept: [u8; ACCEPT_LEN],
    /// Whether our version was offered.
    speaks: bool,
}

impl Switch {
    /// Its fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = (HeaderName, &[u8])> {
        let version = (SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL.as_bytes());
        let fields: [(_, &[u8]); 3] = [
            (CONNECTION, b"upgrade"),
            (UPGRADE, b"websocket"),
            (SEC_WEBSOCKET_ACCEPT, &self.accept),
        ];
        fields.into_iter().chain(self.speaks.then_some(version))
    }

    /// The whole of it, for the library.
    pub(super) fn answer(&self) -> Answer {
        let mut answer = empty(StatusCode::SWITCHING_PROTOCOLS);
        answer.headers_mut().extend(self.fields().map(|(name, value)| {
            let value = HeaderValue::from_bytes(value).expect("fixed words and base64");
            (name, value)
        }));
        answer
    }
}

/// The 101, and who may now speak on the connection, or the code to close it with.
pub(super) type Switched = (Switch, Result<Reservation, Close>);

/// Answers a handshake on a node of its own.
pub(super) fn upgrade(
    app: &App,
    from: IpAddr,
    fields: &(impl Fields + ?Sized),
) -> Result<Switched, Problem> {
    let key = key_of(app, fields)?;
    let offer = Offer::of(fields);
    let admitted = offer.claims(app).and_then(|claims| admit(app, &claims));
    complete(app, from, (key, offer.version), admitted)
}

/// The same where rooms are shared: the other nodes are asked.
pub(super) async fn upgrade_shared(
    app: &App,
    from: IpAddr,
    fields: &HeaderMap,
) -> Result<Switched, Problem> {
    let key = key_of(app, fields)?;
    let offer = Offer::of(fields);
    let admitted = match offer.claims(app) {
        Ok(claims) => admit_shared(app, &claims).await,
        Err(refused) => Err(refused),
    };
    complete(app, from, (key, offer.version), admitted)
}

/// Counts how it ended and makes the 101 for a key; `speaks` is whether our version was offered.
fn complete(
    app: &App,
    from: IpAddr,
    (key, speaks): (&str, bool),
    admitted: Result<Reservation, Refused>,
) -> Result<Switched, Problem> {
    let admitted = match admitted {
        Ok(reservation) => Ok(reservation),
        Err(Refused { close, why }) => {
            if close.advice() == Advice::FreshToken {
                app.take_failure(from)?;
            }
            app.metrics.refused(why);
            if why == Refusal::TokenUsed {
                app.metrics.judged(Verdict::Used);
            }
            Err(close)
        }
    };
    app.metrics.add(Count::Upgrades, 1);
    Ok((Switch { accept: accept(key), speaks }, admitted))
}

/// Refuses a handshake whose message is not a handshake's.
pub(super) fn check_message<B>(app: &App, request: &Request<B>) -> Result<(), Problem> {
    let refused = |why| {
        app.metrics.refused(Refusal::Upgrade);
        Err(Problem::bad_request(why))
    };
    if request.version() != Version::HTTP_11 {
        return refused("a handshake is HTTP/1.1");
    }
    // A body here is a second request for somebody in between who reads it otherwise.
    if request.headers().contains_key(CONTENT_LENGTH) {
        return refused("a handshake has no body");
    }
    Ok(())
}

/// The key of a handshake, if its fields are those of one.
fn key_of<'f>(app: &App, fields: &'f (impl Fields + ?Sized)) -> Result<&'f str, Problem> {
    check_fields(fields).inspect_err(|_| app.metrics.refused(Refusal::Upgrade))
}

/// The opening handshake of RFC 6455, section 4.2.1.
fn check_fields(fields: &(impl Fields + ?Sized)) -> Result<&str, Problem> {
    if !fields.lists(&UPGRADE, "websocket") || !fields.lists(&CONNECTION, "upgrade") {
        return Err(Problem::upgrade_required());
    }
    if fields.single(&SEC_WEBSOCKET_VERSION) != Some("13") {
        return Err(Problem::upgrade_required());
    }
    let mut bytes = [0; 16];
    let decodes = |key: &&str| STANDARD.decode_slice(key, &mut bytes) == Ok(bytes.len());
    let key = fields.single(&SEC_WEBSOCKET_KEY).filter(decodes);
    key.ok_or_else(|| Problem::bad_request("Sec-WebSocket-Key is one value of 16 bytes"))
}

/// What a client offers: our version, and a token.
struct Offer<'request> {
    version: bool,
    token: Result<&'request str, Close>,
}

impl<'request> Offer<'request> {
    /// Reads subprotocols and `Authorization`. Two tokens are as bad as a wrong one: which of them
    /// was meant is not for us to guess.
    fn of(fields: &'request (impl Fields + ?Sized)) -> Self {
        let mut offer = Self { version: false, token: Err(Close::TokenMissing) };
        for protocol in fields.items(&SEC_WEBSOCKET_PROTOCOL) {
            offer.version |= protocol == SUBPROTOCOL;
            if let Some(token) = protocol.strip_prefix(BEARER) {
                offer.add(token);
            }
        }
        for line in fields.texts(&AUTHORIZATION) {
            let text = line.unwrap_or_default();
            let bearer = text.split_once(' ').filter(|(s, _)| s.eq_ignore_ascii_case("bearer"));
            offer.add(bearer.map_or("", |(_, token)| token.trim_matches(' ')));
        }
        offer
    }

    fn add(&mut self, token: &'request str) {
        self.token = match self.token {
            Err(Close::TokenMissing) => Ok(token),
            _ => Err(Close::TokenInvalid),
        };
    }

    /// What the token says, if everything about it is right but whether it was used.
    fn claims(&self, app: &App) -> Result<Claims, Refused> {
        if !self.version {
            return Err(Close::UnsupportedVersion.into());
        }
        let judged = |verdict| app.metrics.judged(verdict);
        let token = self.token.inspect_err(|close| {
            judged(if *close == Close::TokenMissing { Verdict::Missing } else { Verdict::Several });
        })?;
        let verified = app.keys.verify(&app.policy, token, clock::unix_now());
        judged(verified.as_ref().map_or_else(|error| verdict_of(*error), |_| Verdict::Valid));
        Ok(verified.map_err(TokenError::close)?)
    }
}

/// How a token that is refused for what it says is counted.
const fn verdict_of(error: TokenError) -> Verdict {
    match error {
        TokenError::Missing => Verdict::Missing,
        TokenError::Expired => Verdict::Expired,
        TokenError::Invalid(fault) => match fault {
            Fault::Length | Fault::Segments | Fault::Encoding | Fault::Header => Verdict::Malformed,
            Fault::Algorithm | Fault::Type => Verdict::Algorithm,
            Fault::Key => Verdict::Key,
            Fault::Signature => Verdict::Signature,
            Fault::Audience | Fault::Issuer => Verdict::Audience,
            _ => Verdict::Claims,
        },
    }
}

/// Why a handshake ends with a close: what the client is told, and how it is counted.
struct Refused {
    close: Close,
    why: Refusal,
}

impl From<Close> for Refused {
    fn from(close: Close) -> Self {
        let why = match close {
            Close::RoomClosed => Refusal::RoomClosed,
            Close::RoomLocked => Refusal::RoomLocked,
            Close::RoomFull => Refusal::RoomFull,
            Close::UnsupportedVersion => Refusal::Version,
            Close::Restart => Refusal::Draining,
            Close::Overload => Refusal::Bus,
            _ => Refusal::Token,
        };
        Self { close, why }
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Down => Self { close: Close::Overload, why: Refusal::Bus },
            Failure::Refused(records::Refused::Closed) => Close::RoomClosed.into(),
            Failure::Refused(_full) => Self { close: Close::Overload, why: Refusal::Rooms },
        }
    }
}

/// Takes a place in the token's room, and uses the token up.
fn admit(app: &App, claims: &Claims) -> Result<Reservation, Refused> {
    let now = clock::now();
    if makes_room(app, claims) {
        let options = *app.records.ceilings();
        let made = app.records.create(&claims.room, None, options, now);
        count_made(app, made.map_err(Failure::from)?.new);
    }
    take_place(app, claims, now)
}

/// The same where rooms are shared. Without an answer nobody comes in.
async fn admit_shared(app: &App, claims: &Claims) -> Result<Reservation, Refused> {
    let shared = app.shared.as_ref().ok_or(Failure::Down)?;
    // Kept until the place is taken, so that the room stays attached.
    let door = app.hub.enter_if_attached(&claims.room);
    shared.load(&claims.room).await?;
    if makes_room(app, claims) {
        let made = shared.create(&claims.room, None, *app.records.ceilings()).await?;
        count_made(app, made.new);
    }
    let is_open = app.records.view(&claims.room).is_some_and(|view| !view.closed);
    let _door = if is_open && door.is_none() {
        let door = app.hub.enter(&claims.room).await.map_err(|_| Failure::Down)?;
        // What changed before the room was attached was told to others only.
        shared.load(&claims.room).await?;
        door
    } else {
        door
    };
    let reservation = take_place(app, claims, clock::now())?;
    if let Some(kid) = app.keys.kid(claims.kid).filter(|_| app.replay.is_some()) {
        let is_first = shared.burn(kid, claims.jti).await.map_err(Failure::from)?;
        if !is_first {
            return Err(Refused { close: Close::TokenUsed, why: Refusal::TokenUsed });
        }
    }
    Ok(reservation)
}

fn count_made(app: &App, is_new: bool) {
    if is_new {
        app.metrics.add(Count::RecordsMade, 1);
        app.metrics.room_did(RoomOperation::Create);
    }
}

/// Whether the token is to make its room; an application's backend has no other way.
fn makes_room(app: &App, claims: &Claims) -> bool {
    claims.cap.contains(Cap::CREATE) && app.records.view(&claims.room).is_none()
}

/// Takes a place in a room, and uses the token up on this node.
fn take_place(app: &App, claims: &Claims, now: Instant) -> Result<Reservation, Refused> {
    let grant = Grant { cap: claims.cap, session_s: claims.session };
    let reservation = app.hub.reserve(&claims.room, grant)?;
    if let Some(replay) = &app.replay {
        replay.burn(claims.kid, claims.jti, now).map_err(|burn| match burn {
            Burn::Used => Refused { close: Close::TokenUsed, why: Refusal::TokenUsed },
            Burn::Full => Refused { close: Close::Overload, why: Refusal::ReplayFull },
        })?;
    }
    Ok(reservation)
}
