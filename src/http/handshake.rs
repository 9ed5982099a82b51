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
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Request, Version};

use super::problem::Problem;
use super::{Answer, App};
use crate::admission::records;
use crate::admission::replay::Burn;
use crate::admission::shared::Failure;
use crate::clock;
use crate::core::close::{Advice, Close};
use crate::core::limit::Instant;
use crate::core::token::{Cap, Claims, Fault, TokenError};
use crate::hub::{Grant, Reservation};
use crate::metrics::{Count, Refusal, RoomOperation, Verdict};

/// The subprotocol, which is also the protocol's version.
pub(crate) const SUBPROTOCOL: &str = "lethewire.v1";
/// What a token is prefixed with among the subprotocols.
const BEARER: &str = "lethewire.bearer.";

/// Answers a handshake on a node of its own. With 101 comes who may now speak on the connection, or
/// the code to close it with.
pub(super) fn upgrade<B>(
    app: &App,
    from: IpAddr,
    request: &mut Request<B>,
) -> Result<(Answer, Result<Reservation, Close>), Problem> {
    check(request).inspect_err(|_| app.metrics.refused(Refusal::Upgrade))?;
    let offer = Offer::of(request.headers());
    let admitted = offer.claims(app).and_then(|claims| admit(app, &claims));
    let speaks = offer.version;
    complete(app, from, request, speaks, admitted)
}

/// The same where rooms are shared: the other nodes are asked.
pub(super) async fn upgrade_shared(
    app: &App,
    from: IpAddr,
    request: &mut Request<Incoming>,
) -> Result<(Answer, Result<Reservation, Close>), Problem> {
    check(request).inspect_err(|_| app.metrics.refused(Refusal::Upgrade))?;
    let offer = Offer::of(request.headers());
    let (claims, speaks) = (offer.claims(app), offer.version);
    let admitted = match claims {
        Ok(claims) => admit_shared(app, &claims).await,
        Err(refused) => Err(refused),
    };
    complete(app, from, request, speaks, admitted)
}

/// Counts how it ended and makes the 101; `speaks` is whether our version was offered.
fn complete<B>(
    app: &App,
    from: IpAddr,
    request: &mut Request<B>,
    speaks: bool,
    admitted: Result<Reservation, Refused>,
) -> Result<(Answer, Result<Reservation, Close>), Problem> {
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
    let Ok((answer, _socket)) = fastwebsockets::upgrade::upgrade(&mut *request) else {
        return Err(Problem::bad_request("not a WebSocket handshake"));
    };
    let mut answer = answer.map(|_empty| http_body_util::Full::default());
    if speaks {
        let version = HeaderValue::from_static(SUBPROTOCOL);
        answer.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, version);
    }
    app.metrics.add(Count::Upgrades, 1);
    Ok((answer, admitted))
}

/// The opening handshake of RFC 6455, section 4.2.1, and what this relay refuses on top of it.
fn check<B>(request: &Request<B>) -> Result<(), Problem> {
    let headers = request.headers();
    if request.version() != Version::HTTP_11 {
        return Err(Problem::bad_request("a handshake is HTTP/1.1"));
    }
    // A body here is a second request for somebody in between who reads it otherwise.
    if headers.contains_key(CONTENT_LENGTH) {
        return Err(Problem::bad_request("a handshake has no body"));
    }
    if !lists(headers, &UPGRADE, "websocket") || !lists(headers, &CONNECTION, "upgrade") {
        return Err(Problem::upgrade_required());
    }
    if single(headers, &SEC_WEBSOCKET_VERSION) != Some("13") {
        return Err(Problem::upgrade_required());
    }
    let mut bytes = [0; 16];
    let key = single(headers, &SEC_WEBSOCKET_KEY);
    if key.and_then(|key| STANDARD.decode_slice(key, &mut bytes).ok()) != Some(bytes.len()) {
        return Err(Problem::bad_request("Sec-WebSocket-Key is one value of 16 bytes"));
    }
    Ok(())
}

/// What a client offers: our version, and a token.
struct Offer<'request> {
    version: bool,
    token: Result<&'request str, Close>,
}

impl<'request> Offer<'request> {
    /// Reads subprotocols and `Authorization`. Two tokens are as bad as a wrong one: which of them
    /// was meant is not for us to guess.
    fn of(headers: &'request HeaderMap) -> Self {
        let mut version = false;
        let mut tokens = Vec::new();
        for protocol in items(headers, &SEC_WEBSOCKET_PROTOCOL) {
            version |= protocol == SUBPROTOCOL;
            tokens.extend(protocol.strip_prefix(BEARER));
        }
        for line in headers.get_all(AUTHORIZATION) {
            let text = line.to_str().unwrap_or_default();
            let bearer = text.split_once(' ').filter(|(s, _)| s.eq_ignore_ascii_case("bearer"));
            tokens.push(bearer.map_or("", |(_, token)| token.trim_matches(' ')));
        }
        let token = match tokens[..] {
            [] => Err(Close::TokenMissing),
            [only] => Ok(only),
            _ => Err(Close::TokenInvalid),
        };
        Self { version, token }
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
    shared.load(&claims.room).await?;
    if makes_room(app, claims) {
        let made = shared.create(&claims.room, None, *app.records.ceilings()).await?;
        count_made(app, made.new);
    }
    // Held until the place is taken, so that the room stays attached.
    let _door = match app.records.view(&claims.room) {
        Some(view) if !view.closed => {
            app.hub.enter(&claims.room).await.map_err(|_| Failure::Down)?
        }
        _ => None,
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

/// The value of a field that must be there once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let (only, more) = (values.next()?, values.next());
    only.to_str().ok().filter(|_| more.is_none())
}

/// The items of a comma-separated field, over all its lines.
fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(|item| item.trim_matches([' ', '\t']))
}

fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    items(headers, name).any(|item| item.eq_ignore_ascii_case(wanted))
}
