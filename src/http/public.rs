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

use hyper::body::Incoming;
use hyper::header::{ACCESS_CONTROL_REQUEST_METHOD, CONNECTION, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};

use super::body::JsonBody;
use super::cors::Asker;
use super::fields::Fields;
use super::gate::{Admitted, Latch};
use super::handshake::Switch;
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
                let Handshake { from, address, headers } = *handshake;
                let shaken = handshake::upgrade_shared(&app, from, &headers).await;
                let answered = shaken.map(|(switch, reservation)| {
                    latch.close(Admitted { reservation, address });
                    switch.answer()
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

/// Answers a handshake on a node of its own that the library has not read, and that can be read in
/// one way only: with what a 101 says, and who may speak on the connection.
pub(super) fn answer_handshake(
    app: &App,
    caller: &Caller,
    fields: &(impl Fields + ?Sized),
) -> Result<(Switch, Asker, Admitted), Box<Answer>> {
    let asker = app.origins.asker(fields);
    let shake = || {
        check_asker(app, &asker)?;
        check_place(app, caller)?;
        let from = let_in(app, caller, fields, Route::WebSocket)?;
        let address = take_handshake(app, caller, from)?;
        let (switch, reservation) = handshake::upgrade(app, from, fields)?;
        Ok((switch, Admitted { reservation, address }))
    };
    match shake() {
        Ok((switch, admitted)) => {
            app.metrics.answered(Counted::WebSocket, StatusCode::SWITCHING_PROTOCOLS.as_u16());
            Ok((switch, asker, admitted))
        }
        Err(problem) => {
            let of = (Dress::Interface, Counted::WebSocket);
            Err(Box::new(shaken_hands(dressed(app, &asker, of, Err(problem)))))
        }
    }
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
    for (name, value) in asker.fields() {
        answer.headers_mut().append(name, value);
    }
    finish(app, &mut answer, dress, route);
    answer
}

/// What becomes of a request that is let through.
enum Routed {
    /// It is answered.
    Answer(Answer),
    /// It is a handshake about which other nodes have to be asked.
    Handshake(Box<Handshake>),
    /// It is one of the three calls with a body, which has to be read.
    Call(Route, IpAddr, Box<Request<Incoming>>),
}

/// A handshake that is let through.
struct Handshake {
    from: IpAddr,
    address: Option<AddressGuard>,
    headers: HeaderMap,
}

fn route(
    app: &App,
    caller: &Caller,
    asker: &Asker,
    request: Request<Incoming>,
    dress: &mut Dress,
    admitted: &mut Option<Admitted>,
) -> Result<Routed, Problem> {
    framing::check(app, &request)?;
    check_asker(app, asker)?;
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
    check_place(app, caller)?;
    match route {
        Route::Live | Route::Ready | Route::Info => return Ok(Routed::Answer(status::info(app))),
        Route::Page(file) => {
            *dress = Dress::Page;
            return Ok(Routed::Answer(file.answer()));
        }
        Route::Rooms | Route::Tokens | Route::Owner | Route::WebSocket => {}
    }
    let from = let_in(app, caller, request.headers(), route)?;
    if let Route::WebSocket = route {
        let address = take_handshake(app, caller, from)?;
        handshake::check_message(app, &request)?;
        let headers = request.into_parts().0.headers;
        if app.shared.is_some() {
            return Ok(Routed::Handshake(Box::new(Handshake { from, address, headers })));
        }
        let (switch, reservation) = handshake::upgrade(app, from, &headers)?;
        *dress = Dress::Upgrade;
        *admitted = Some(Admitted { reservation, address });
        return Ok(Routed::Answer(switch.answer()));
    }
    app.take_request(from)?;
    Ok(Routed::Call(route, from, Box::new(request)))
}

/// Refuses pages of origins that are not allowed.
fn check_asker(app: &App, asker: &Asker) -> Result<(), Problem> {
    if matches!(asker, Asker::Stranger) {
        app.metrics.refused(Refusal::Origin);
        return Err(Kind::OriginDenied.into());
    }
    Ok(())
}

/// Refuses whoever has no place.
fn check_place(app: &App, caller: &Caller) -> Result<(), Problem> {
    caller.no_place.map_or(Ok(()), |refusal| Err(app.no_place(refusal).closing()))
}

/// Refuses calls that the relay cannot take now, and says of whom one is that it can.
fn let_in(
    app: &App,
    caller: &Caller,
    fields: &(impl Fields + ?Sized),
    route: Route,
) -> Result<IpAddr, Problem> {
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
    client::address(caller.client, fields, &app.config.server).ok_or_else(|| {
        app.metrics.refused(Refusal::Forwarded);
        Problem::bad_request("the proxies' part of X-Forwarded-For is missing or malformed")
    })
}

/// Takes a handshake of an address, and counts its connection where that could not be done before.
fn take_handshake(
    app: &App,
    caller: &Caller,
    from: IpAddr,
) -> Result<Option<AddressGuard>, Problem> {
    app.take_handshake(from, caller.address.as_ref())?;
    if app.warm_up.as_ref().is_some_and(|warm_up| !warm_up.take(clock::now())) {
        return Err(app.no_place(Refusal::WarmUp));
    }
    match app.config.server.trust_proxy {
        // Whose a connection is is known only here.
        TrustProxy::Forwarded(_) => app.connect(from).map_err(|refusal| app.no_place(refusal)),
        TrustProxy::Nobody | TrustProxy::ProxyProtocol => Ok(None),
    }
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
