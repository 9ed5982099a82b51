//! Driving one HTTP connection: limits of time and size, a graceful end, and handing back the
//! socket after a handshake.
//!
//! Everything here lives in one boxed future that is dropped before the connection proper begins, so
//! that an idle member costs no HTTP buffers. The 101 of a handshake is handed back unsent, for the connection to write it
//! together with the welcome.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, Write};
use hyper::server::conn::http1::{Builder, Parts};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::at_once::{Begun, Opening, begin_later};
use super::gate::{Admitted, Gate, Latch};
use super::linger::linger;
use super::{Answer, App, ops, public};
use crate::admission::addresses::AddressGuard;
use crate::config;
use crate::conn::Upgraded;
use crate::metrics::Refusal;

/// What the public listener knows about a connection before its first request.
pub struct Caller {
    /// The client: the other end of the socket, or who a trusted proxy says that it is. Behind
    /// `X-Forwarded-For` it is still the proxy.
    pub client: IpAddr,
    /// Set on connections above a limit: they get an answer, but no place.
    pub no_place: Option<Refusal>,
    /// Keeps the connection counted for the client, where it is known already who that is.
    pub address: Option<AddressGuard>,
}

/// What a handshake leaves.
pub struct Shaken<S = TcpStream> {
    /// The connection to run.
    pub upgraded: Upgraded<S>,
    /// Keeps the connection counted for its address.
    pub address: Option<AddressGuard>,
}

/// Answers requests on a connection of the public listener until it ends or is upgraded. `opening` is what
/// it has begun with, if it was looked at and had.
pub async fn serve_public(
    app: Arc<App>,
    stream: TcpStream,
    mut caller: Caller,
    opening: Option<Opening>,
) -> Option<Shaken> {
    let (stream, opening) = match opening {
        Some(opening) => {
            // The library does not wait to write its answer to what it cannot read, and the event loop
            // has to be told first that the socket takes anything.
            stream.writable().await.ok()?;
            (stream, opening)
        }
        None => match begin_later(&app, &mut caller, stream).await? {
            Begun::Shaken(shaken) => return Some(shaken),
            Begun::Open(stream, opening) => (stream, opening),
        },
    };
    // Boxed, so that a handshake that comes whole has no place for it.
    Box::pin(serve_requests(app, stream, caller, opening)).await
}

/// The same with the library.
async fn serve_requests(
    app: Arc<App>,
    stream: TcpStream,
    mut caller: Caller,
    opening: Opening,
) -> Option<Shaken> {
    let once = caller.no_place.is_some();
    let latch = Arc::new(Latch::default());
    let gate = Gate::new(stream, opening.bytes, Arc::clone(&latch));
    let service = {
        let (app, caller, latch) = (Arc::clone(&app), &caller, Arc::clone(&latch));
        let first = Mutex::new(opening.answer);
        move |request| match first.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(answer) => public::known(*answer),
            None => public::answer_to(&app, caller, request, &latch),
        }
    };
    let (gate, early) = serve(&app, gate, once, service).await?;
    let (stream, answer) = gate.into_parts();
    let Some(Admitted { reservation: admitted, address }) = latch.take() else {
        drop((early, answer));
        linger(stream).await;
        return None;
    };
    let address = address.or_else(|| caller.address.take());
    Some(Shaken { upgraded: Upgraded { stream, answer, early, admitted }, address })
}

/// Answers requests on a connection of the operations listener until it ends.
pub async fn serve_operations(app: &Arc<App>, stream: TcpStream) {
    let service = {
        let app = Arc::clone(app);
        move |request| {
            let app = Arc::clone(&app);
            Box::pin(async move { Ok(ops::answer_to(&app, request).await) })
        }
    };
    if let Some((socket, _)) = serve(app, TokioIo::new(stream), false, service).await {
        linger(socket.into_inner()).await;
    }
}

/// Runs the HTTP half of a connection, for one request only if `once`. Returns the socket and what
/// was read beyond the last request, unless nothing was answered or its time ran out.
async fn serve<S: Read + Write + Unpin, F>(
    app: &Arc<App>,
    socket: S,
    once: bool,
    answer_to: impl Fn(Request<Incoming>) -> F + Unpin,
) -> Option<(S, Bytes)>
where
    F: Future<Output = Result<Answer, Infallible>> + Send + Unpin,
{
    let asked = AtomicBool::new(false);
    // Its futures can be moved, because a graceful end needs that.
    let service = service_fn(|request| {
        asked.store(true, Ordering::Relaxed);
        answer_to(request)
    });
    // A connection that comes during the drain is answered once; telling it to end before its first
    // request would close it without an answer.
    let late = app.is_draining();
    let limits = &app.config.http;
    let builder = builder(limits, !once && !late);
    let mut connection = builder.serve_connection(socket, service);
    let mut draining = pin!(app.draining());
    let mut timer = pin!(tokio::time::sleep(limits.keep_alive()));
    let mut is_last = late;
    let mut is_late = false;
    // The connection first: a handshake that is there already needs no timer.
    let running = std::future::poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = connection.poll_without_shutdown(cx) {
                return Poll::Ready(Some(ended));
            }
            if timer.as_mut().poll(cx).is_ready() {
                if std::mem::replace(&mut is_late, true) {
                    return Poll::Ready(None);
                }
                // For clients that never read their answers, which nothing else would notice.
                let end = timer.deadline() + limits.header_timeout() + limits.body_timeout();
                timer.as_mut().reset(end);
            } else if is_last || draining.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if !std::mem::replace(&mut is_last, true) {
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    });
    match running.await {
        // Without a request there is no last answer that has to arrive.
        Some(Ok(())) if !asked.load(Ordering::Relaxed) => None,
        Some(Ok(())) => {
            let Parts { io, read_buf, .. } = connection.into_parts();
            Some((io, read_buf))
        }
        Some(Err(error)) => {
            // Between two requests running out of time is how a connection ends.
            let silent = error.is_timeout() && !asked.load(Ordering::Relaxed);
            if error.is_parse() || silent {
                app.metrics.refused(Refusal::Request);
            }
            error.is_parse().then(|| {
                let Parts { io, read_buf, .. } = connection.into_parts();
                (io, read_buf)
            })
        }
        None => None,
    }
}

fn builder(limits: &config::Http, keep_alive: bool) -> Builder {
    let usize = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout())
        .max_headers(usize(limits.headers))
        .max_header_size(usize(limits.header_bytes))
        .max_buf_size(usize(limits.header_bytes).max(BUFFER_MIN))
        .keep_alive(keep_alive);
    builder
}

/// What the library asks for at least.
const BUFFER_MIN: usize = 8192;
