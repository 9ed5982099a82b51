//! What a relay or a proxy means when it does not do what a member asks, and what to do about it.

use hyper::StatusCode;
use hyper::header::{HeaderMap, RETRY_AFTER};

use super::member::closed;
use super::stage::{Failure, Stage};

/// For whatever looks like a proxy that does not know WebSockets.
pub(super) const PROXY_UPGRADE: &str = "does the proxy pass Connection, Upgrade and \
    Sec-WebSocket-Protocol on? see docs/proxies/README.md";

/// For answers that are no relay's.
pub(super) const NO_RELAY: &str =
    "is this the address of a Lethewire relay? /v1/info should say so";

/// A request that was answered with another status than it should.
pub(super) fn by_status(stage: Stage, status: StatusCode, headers: &HeaderMap) -> Failure {
    let next = match status.as_u16() {
        301 | 302 | 307 | 308 => "use the address that it redirects to, most likely https://",
        400 | 426 => PROXY_UPGRADE,
        401 | 403 => "does something in front of the relay ask who comes? an Origin is not sent",
        404 | 405 => NO_RELAY,
        429 => "this address asks too often: probe less, or from another address",
        502 | 504 => "the proxy does not reach the relay: is it running where the proxy looks?",
        503 => "draining, or as full as it may be: look at /health on the operations listener",
        _ => "look at the log of the relay, and of the proxy in front of it",
    };
    let wait = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let what = match wait.and_then(|seconds| seconds.parse::<u32>().ok()) {
        Some(seconds) => format!("status {}, come back in {seconds} s", status.as_u16()),
        None => format!("status {}", status.as_u16()),
    };
    Failure::new(stage, what, next)
}

/// A member that was closed instead of served.
pub(super) fn by_close(stage: Stage, code: u16) -> Failure {
    let next = match code {
        1012 => "the relay drains or was restarted: probe again",
        1013 => "as full as it may be, or cut off from its bus: look at /health",
        4101 => {
            "the relay does not know who signed the token, or its room: JOIN_TOKEN_SECRET, \
             TOKEN_KID, TOKEN_ISSUER and TOKEN_AUDIENCE must be those of the relay; several nodes \
             without a bus do not know each other's rooms"
        }
        4102 => "compare the clocks of this machine and of the relay",
        4104 => "something sent the token twice: does a proxy repeat requests?",
        4200..=4205 => "look at /health and at the relay's log",
        _ => "docs/protocol.md, section 9, says what the code means",
    };
    Failure::new(stage, closed(code), next)
}
