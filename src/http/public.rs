//! The public listener: its routes, and the order in which a request is looked at.
//!
//! The message itself and its origin first, then path and method, then whether there is a place for
//! the connection, then what its address may still take, then the call itself. Reading a body or a
//! token comes last. What is answered before the address is looked at costs no more than telling
//! somebody that he asked too often.

use std::convert::Infallible;
use std::future::ready;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use http_body_util::Empty;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ACCESS_CONTROL_REQUEST_METHOD, CONNECTION, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};

use super::body::JsonBody;
use super::cors::Asker;
use super::gate::{Admitted, Latch};
use super::headers::Dress;
use super::page;
use super::problem::{Kind, Problem};
use super::{
    Answer, App, Caller, client, empty, finish, framing, handshake, is_get, rooms, status,
};
use crate::admission::addresses::AddressGuard;
use crate::clock;
use crate::config::{Admission, TrustProxy};
use crate::metrics::{Refusal, Route as Counted};

/// An answer that may be still to come.
pub(super) type Answering = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

/// Answers one request of the public listener. With 101 the latch is closed upon who may speak. All
/// but reading a body and asking other nodes is done when this returns, so that a handshake needs no
/// place for what does that.
pub(super) fn answer_to(
    app: &Arc<App>,
    caller: &Caller,
    request: Request<Incoming>,
    latch: &Arc<Latch>,
) -> Answering {
    let asker = app.origins.asker(request.headers());
    let mut dress = Dress::Interface;
    let mut admitted = None;
    let is_handshake = request.uri().path() == WS_PATH;
    let counted = Route::of(app, request.uri().path()).map_or(Counted::Other, Route::counted);
    let answered = match route(app, caller, &asker, request, &mut dress, &mut admitted) {
        Ok(Routed::Answer(answer)) => Ok(answer),
        Ok(Routed::Handshake(handshake)) => {
            let app = Arc::clone(app);
            let latch = Arc::clone(latch);
            let answering = async move {
                let Handshake { from, address, mut request } = *handshake;
                let shaken = handshake::upgrade_shared(&app, from, &mut request).await;
                let answered = shaken.map(|(answer, reservation)| {
                    latch.close(Admitted { reservation, address });
                    answer
                });
                Ok(shaken_hands(dressed(&app, &asker, (Dress::Upgrade, counted), answered)))
            };
            return Box::pin(answering);
        }
        Ok(Routed::Call(route, from, request)) => {
            let app = Arc::clone(app);
            let answering = async move {
                let answered = call(&app, route, from, *request).await;
                Ok(dressed(&app, &asker, (Dress::Interface, counted), answered))
            };
            return Box::pin(answering);
        }
        Err(problem) => Err(problem),
    };
    if let Some(admitted) = admitted {
        latch.close(admitted);
    }
    let answer = dressed(app, &asker, (dress, counted), answered);
    known(if is_handshake { shaken_hands(answer) } else { answer })
}

/// An answer that is there already.
pub(super) fn known(answer: Answer) -> Answering {
    Box::pin(ready(Ok(answer)))
}

/// Answers a handshake on a node of its own. With 101 comes who may speak on the connection.
pub(super) fn answer_handshake(
    app: &App,
    caller: &Caller,
    request: Request<Empty<Bytes>>,
) -> Option<(Answer, Option<Admitted>)> {
    let asker = app.origins.asker(request.headers());
    let mut dress = Dress::Interface;
    let mut admitted = None;
    let answered = match route(app, caller, &asker, request, &mut dress, &mut admitted) {
        Ok(Routed::Answer(answer)) => Ok(answer),
        Ok(Routed::Handshake(_) | Routed::Call(..)) => return None,
        Err(problem) => Err(problem),
    };
    let answer = dressed(app, &asker, (dress, Counted::WebSocket), answered);
    Some((shaken_hands(answer), admitted))
}

/// The answer to a handshake. Whoever passed it on may take what follows for a tunnel's bytes and
/// not look at it.
fn shaken_hands(mut answer: Answer) -> Answer {
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// An answer with all the fields that it carries.
fn dressed(
    app: &App,
    asker: &Asker,
    (dress, route): (Dress, Counted),
    answered: Result<Answer, Problem>,
) -> Answer {
    let (mut answer, dress) = match answered {
        Ok(answer) => (answer, dress),
        Err(problem) => (problem.into_answer(app.config.detailed_errors()), Dress::Interface),
    };
    asker.dress(answer.headers_mut());
    finish(app, &mut answer, dress, route);
    answer
}

/// What becomes of a request that is let through.
enum Routed<B> {
    /// It is answered.
    Answer(Answer),
    /// It is a handshake about which other nodes have to be asked.
    Handshake(Box<Handshake<B>>),
    /// It is one of the three calls with a body, which has to be read.
    Call(Route, IpAddr, Box<Request<B>>),
}

/// A handshake that is let through.
struct Handshake<B> {
    from: IpAddr,
    address: Option<AddressGuard>,
    request: Request<B>,
}

fn route<B: Body>(
    app: &App,
    caller: &Caller,
    asker: &Asker,
    mut request: Request<B>,
    dress: &mut Dress,
    admitted: &mut Option<Admitted>,
) -> Result<Routed<B>, Problem> {
    framing::check(app, &request)?;
    if matches!(asker, Asker::Stranger) {
        app.metrics.refused(Refusal::Origin);
        return Err(Kind::OriginDenied.into());
    }
    let route = Route::of(app, request.uri().path()).ok_or(Kind::NotFound)?;
    if let Some(answer) = preflight(app, asker, route, &request) {
        return Ok(Routed::Answer(answer));
    }
    if !route.takes(request.method()) {
        return Err(Problem::method_not_allowed(route.methods()));
    }
    if route.is_interface() && request.uri().query().is_some() {
        return Err(Problem::bad_request("no call takes a query"));
    }
    match route {
        Route::Live => return Ok(Routed::Answer(status::live())),
        Route::Ready => return status::ready(app).map(Routed::Answer),
        _ => {}
    }
    if let Some(refusal) = caller.no_place {
        return Err(app.no_place(refusal).closing());
    }
    match route {
        Route::Live | Route::Ready | Route::Info => return Ok(Routed::Answer(status::info(app))),
        Route::Page(file) => {
            *dress = Dress::Page;
            return Ok(Routed::Answer(file.answer()));
        }
        Route::Rooms | Route::Tokens | Route::Owner | Route::WebSocket => {}
    }
    if app.is_draining() {
        app.metrics.refused(Refusal::Draining);
        return Err(Problem::reduced_capacity().closing());
    }
    // An owner may still close its room, which gives memory back.
    if app.is_short_of_memory() && !matches!(route, Route::Owner) {
        return Err(app.no_place(Refusal::Memory).closing());
    }
    if app.is_cut_off() {
        return Err(app.no_place(Refusal::Bus).closing());
    }
    let server = &app.config.server;
    let from = client::address(caller.client, request.headers(), server).ok_or_else(|| {
        app.metrics.refused(Refusal::Forwarded);
        Problem::bad_request("the proxies' part of X-Forwarded-For is missing or malformed")
    })?;
    if let Route::WebSocket = route {
        app.take_handshake(from)?;
        if app.warm_up.as_ref().is_some_and(|warm_up| !warm_up.take(clock::now())) {
            return Err(app.no_place(Refusal::WarmUp));
        }
        // Behind X-Forwarded-For, whose a connection is is known only here.
        let address = match server.trust_proxy {
            TrustProxy::Forwarded(_) => {
                app.connect(from).map_err(|refusal| app.no_place(refusal))?
            }
            TrustProxy::Nobody | TrustProxy::ProxyProtocol => None,
        };
        if app.shared.is_some() {
            return Ok(Routed::Handshake(Box::new(Handshake { from, address, request })));
        }
        let (answer, reservation) = handshake::upgrade(app, from, &mut request)?;
        *dress = Dress::Upgrade;
        *admitted = Some(Admitted { reservation, address });
        return Ok(Routed::Answer(answer));
    }
    app.take_request(from)?;
    Ok(Routed::Call(route, from, Box::new(request)))
}

/// The three calls with a body.
async fn call(
    app: &App,
    route: Route,
    from: IpAddr,
    request: Request<Incoming>,
) -> Result<Answer, Problem> {
    let ws = ws_url(app, request.headers());
    let answered = match JsonBody::read(request, &app.config.http).await {
        Ok(body) => match route {
            Route::Rooms => rooms::create(app, &body, from, ws).await,
            Route::Tokens => rooms::token(app, &body, from, ws).await,
            _ => rooms::rule(app, &body, from).await,
        },
        Err(problem) => Err(problem),
    };
    if answered.as_ref().is_err_and(Problem::is_malformed) {
        app.metrics.refused(Refusal::Request);
    }
    answered
}

/// The answer to a preflight, if the request is one.
fn preflight<B>(app: &App, asker: &Asker, route: Route, request: &Request<B>) -> Option<Answer> {
    let names_method = request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if request.method() != Method::OPTIONS || !names_method || !matches!(asker, Asker::Page(_)) {
        return None;
    }
    let mut answer = empty(StatusCode::NO_CONTENT);
    app.origins.preflight(route.methods(), answer.headers_mut());
    Some(answer)
}

/// Where to connect for the WebSocket: the configured address, or what the client itself used.
fn ws_url(app: &App, headers: &HeaderMap) -> String {
    let public = app.config.server.public_ws();
    let base = public.unwrap_or_else(|| {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let proxied = app.config.server.trust_proxy != TrustProxy::Nobody;
        let tls = proxied && text("x-forwarded-proto").is_some_and(|proto| proto == "https");
        let host = text(HOST.as_str()).filter(|host| is_authority(host)).unwrap_or_default();
        format!("{}://{host}", if tls { "wss" } else { "ws" })
    });
    format!("{base}{WS_PATH}")
}

/// Whether a `Host` is a name or address with an optional port, and nothing that means more in a
/// URL.
fn is_authority(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    !host.is_empty() && host.bytes().all(plain)
}

/// Where handshakes go.
pub(super) const WS_PATH: &str = "/v1/ws";

/// What there is on the public listener.
#[derive(Clone, Copy)]
enum Route {
    Rooms,
    Tokens,
    Owner,
    WebSocket,
    Info,
    Live,
    Ready,
    Page(page::File),
}

impl Route {
    fn of(app: &App, path: &str) -> Option<Self> {
        let open = app.config.room.admission == Admission::Open;
        Some(match path {
            "/v1/rooms" if open => Self::Rooms,
            "/v1/tokens" if open => Self::Tokens,
            "/v1/owner" if open => Self::Owner,
            WS_PATH => Self::WebSocket,
            "/v1/info" => Self::Info,
            "/live" => Self::Live,
            "/ready" if app.config.feature.readiness_endpoint => Self::Ready,
            path if app.config.demo_page() => Self::Page(page::file(path)?),
            _ => return None,
        })
    }

    /// Under what its answers are counted.
    const fn counted(self) -> Counted {
        match self {
            Self::Rooms => Counted::Rooms,
            Self::Tokens => Counted::Tokens,
            Self::Owner => Counted::Owner,
            Self::WebSocket => Counted::WebSocket,
            Self::Info => Counted::Info,
            Self::Live => Counted::Live,
            Self::Ready => Counted::Ready,
            Self::Page(_) => Counted::Page,
        }
    }

    const fn methods(self) -> &'static str {
        match self {
            Self::Rooms | Self::Tokens | Self::Owner => "POST",
            Self::WebSocket => "GET",
            Self::Info | Self::Live | Self::Ready | Self::Page(_) => "GET, HEAD",
        }
    }

    fn takes(self, method: &Method) -> bool {
        match self {
            Self::Rooms | Self::Tokens | Self::Owner => method == Method::POST,
            Self::WebSocket => method == Method::GET,
            Self::Info | Self::Live | Self::Ready | Self::Page(_) => is_get(method),
        }
    }

    const fn is_interface(self) -> bool {
        matches!(self, Self::Rooms | Self::Tokens | Self::Owner | Self::WebSocket | Self::Info)
    }
}
