//! The operations listener: health, metrics, and the few things that an operator can do.
//!
//! It has no login and belongs on loopback or a private network. Browsers are refused, so that no
//! page in the operator's browser can reach it: they send `Origin` with everything that changes
//! something.

use hyper::body::Incoming;
use hyper::header::{ACCEPT, HeaderMap, ORIGIN};
use hyper::{Method, Request, StatusCode};
use serde::Deserialize;

use super::body::JsonBody;
use super::headers::Dress;
use super::problem::{Kind, Problem};
use super::{Answer, App, answer, empty, finish, framing, health, is_get, json, status};
use crate::admission::records::Refused;
use crate::admission::shared::{Failure, Shared};
use crate::clock;
use crate::core::id::RoomId;
use crate::metrics::{Level, Route as Counted};

/// Answers one request of the operations listener.
pub(super) async fn answer_to(app: &App, request: Request<Incoming>) -> Answer {
    let counted = counted(request.uri().path());
    let answered = route(app, request).await;
    let mut answer = answered.unwrap_or_else(|problem| problem.into_answer(true));
    finish(app, &mut answer, Dress::Interface, counted);
    answer
}

/// Under what the answers of a path are counted.
fn counted(path: &str) -> Counted {
    match path {
        "/live" => Counted::Live,
        "/ready" => Counted::Ready,
        "/health" => Counted::Health,
        "/metrics" => Counted::Metrics,
        path if path.starts_with("/admin/") => Counted::Admin,
        _ => Counted::Other,
    }
}

async fn route(app: &App, request: Request<Incoming>) -> Result<Answer, Problem> {
    framing::check(app, &request)?;
    if request.headers().contains_key(ORIGIN) {
        return Err(Kind::OriginDenied.into());
    }
    let feature = &app.config.feature;
    let route = match request.uri().path() {
        "/live" => Route::Get(|_, _| status::live()),
        "/ready" if feature.readiness_endpoint => Route::Get(|app, _| ready(app)),
        "/health" if feature.health_endpoint => Route::Get(|app, _| health::health(app)),
        "/metrics" if feature.metrics_endpoint => Route::Get(metrics),
        "/admin/config" => Route::Get(|app, _| config(app)),
        "/admin/drain" => Route::Drain,
        "/admin/rooms/close" => Route::CloseRoom,
        _ => return Err(Kind::NotFound.into()),
    };
    match route {
        Route::Get(page) if is_get(request.method()) => Ok(page(app, request.headers())),
        Route::Get(_) => Err(Problem::method_not_allowed("GET, HEAD")),
        Route::Drain | Route::CloseRoom if request.method() != Method::POST => {
            Err(Problem::method_not_allowed("POST"))
        }
        Route::Drain => {
            app.ask_for_drain();
            Ok(json(StatusCode::ACCEPTED, &serde_json::json!({ "draining": true })))
        }
        Route::CloseRoom => {
            let body = JsonBody::read(request, &app.config.http).await?;
            close_room(app, &body).await
        }
    }
}

enum Route {
    Get(fn(&App, &HeaderMap) -> Answer),
    Drain,
    CloseRoom,
}

fn ready(app: &App) -> Answer {
    status::ready(app).unwrap_or_else(|problem| problem.into_answer(true))
}

fn metrics(app: &App, headers: &HeaderMap) -> Answer {
    let now = clock::now();
    app.metrics.set_level(Level::Ready, app.is_ready().into());
    app.metrics.set_level(Level::BusUp, (!app.is_cut_off()).into());
    if !app.config.metrics.prometheus || wants_json(headers) {
        let body = app.metrics.encode_json(now, clock::unix_now());
        return answer(StatusCode::OK, "application/json", body);
    }
    answer(StatusCode::OK, OPEN_METRICS, app.metrics.encode(now))
}

fn config(app: &App) -> Answer {
    answer(StatusCode::OK, "application/toml; charset=utf-8", app.config.redacted())
}

/// Closes a room by its name, as somebody who knows the link can compute it for a report. A room
/// that the relay has forgotten gets a tombstone, so that it cannot be restored either.
async fn close_room(app: &App, body: &JsonBody) -> Result<Answer, Problem> {
    let asked: CloseRoom<'_> = body.parse()?;
    let bad = || Problem::bad_request("room is base64url of 16 to 32 bytes");
    let room = RoomId::from_base64url(asked.room).ok_or_else(bad)?;
    let options = *app.records.ceilings();
    if let Some(shared) = &app.shared {
        return close_everywhere(app, shared, &room).await;
    }
    let now = clock::now();
    match app.records.create(&room, None, options, now) {
        Ok(_) => app.hub.close_room(&room, now),
        Err(Refused::Closed) => {}
        Err(Refused::Full | Refused::Options | Refused::Unknown) => {
            return Err(Problem::reduced_capacity());
        }
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

/// The same where rooms are shared.
async fn close_everywhere(app: &App, shared: &Shared, room: &RoomId) -> Result<Answer, Problem> {
    let closed = async {
        shared.load(room).await?;
        shared.create(room, None, *app.records.ceilings()).await?;
        shared.close(room).await
    };
    match closed.await {
        Ok(()) | Err(Failure::Refused(Refused::Closed)) => Ok(empty(StatusCode::NO_CONTENT)),
        Err(_) => Err(Problem::reduced_capacity()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseRoom<'a> {
    room: &'a str,
}

/// Whether JSON is asked for; everything else, scrapers included, gets the text.
fn wants_json(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let mut kinds = lines.flat_map(|line| line.split(','));
    kinds.any(|kind| {
        let kind = kind.split_once(';').map_or(kind, |(kind, _)| kind).trim();
        kind.eq_ignore_ascii_case("application/json")
    })
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
