//! HTTP: routes, errors, headers, and the handshake that makes a request a connection.
//!
//! One [`App`] is shared by all requests of both listeners. Each request is answered by one plain
//! function of the app and the request; what all answers have in common (fixed headers, counting)
//! is put on in one place, so no route can forget it. This is the only folder that knows the HTTP
//! library.

mod app;
mod at_once;
mod body;
mod client;
mod cors;
mod fields;
mod framing;
mod gate;
mod handshake;
mod headers;
mod health;
mod lag;
mod linger;
mod memory;
mod ops;
mod page;
mod problem;
mod public;
mod quota;
mod ready;
mod rooms;
mod serve;
mod status;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;

use self::headers::Dress;
use crate::metrics::Route;

pub use self::app::App;
pub use self::at_once::{Begun, Opening, begin};
pub use self::health::{Check, Status, checks};
pub use self::lag::LoopLag;
pub use self::memory::{Memory, resident_bytes};
pub use self::ready::Failed;
pub use self::serve::{Caller, Shaken, serve_operations, serve_public};

/// The answer to a request, complete in memory.
type Answer = Response<Full<Bytes>>;

/// Puts on what every answer carries, and counts it for its route.
fn finish(app: &App, answer: &mut Answer, dress: Dress, route: Route) {
    app.fixed.dress(answer.headers_mut(), dress);
    app.metrics.answered(route, answer.status().as_u16());
}

fn is_get(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Answer::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(body).expect("answers are plain data");
    answer(status, "application/json", body)
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = status;
    answer
}
