//! A WebSocket server that returns every message, for Autobahn's fuzzing client and nothing else.
//!
//! It reads with the relay's own frame reader and writes with its own frame writer, so that what
//! Autobahn finds holds for the relay. Only the limits are raised, to what its largest cases send.
//! It prints the address that it listens on and runs until it is killed.

#![expect(clippy::print_stdout, reason = "its address is all that it has to say")]

use std::convert::Infallible;
use std::io;

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::http::response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use lethewire::core::close::Close;
use lethewire::core::frame::{self, Event, Kind, Limits, Opcode, Reader, Step};
use lethewire::core::upgrade::accept;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

/// Case 9 sends 16 MiB at once, and 4 MiB in fragments of 64 bytes with an empty one behind.
const LIMITS: Limits =
    Limits { binary_bytes: 16 << 20, text_bytes: 16 << 20, fragments: (4 << 20) / 64 + 1 };

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?);
    let connections = TaskTracker::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A broken connection is one of the things that Autobahn tries.
        connections.spawn(async move { serve(stream).await.ok() });
    }
}

async fn serve(stream: TcpStream) -> io::Result<()> {
    let http = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .without_shutdown();
    let parts = http.await.map_err(io::Error::other)?;
    let mut stream = parts.io.into_inner();
    let last_word = echo(&mut stream, parts.read_buf.into()).await?;
    stream.write_all(&last_word).await?;
    stream.shutdown().await?;
    // Closing with unread bytes would reset the connection and lose what was just written.
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(())
}

/// Answers the upgrade. The connection itself comes back from `without_shutdown`.
async fn answer(request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let key = request.headers().get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    let Some(key) = key else {
        return Ok(answered(Response::builder().status(StatusCode::BAD_REQUEST)));
    };
    let switching = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, &accept(key)[..]);
    Ok(answered(switching))
}

fn answered(builder: response::Builder) -> Response<Empty<Bytes>> {
    builder.body(Empty::new()).expect("the fields are fixed words and base64")
}

/// Returns messages until the peer closes or breaks a rule, then the frame to close with.
async fn echo(stream: &mut TcpStream, mut buffer: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut reader = Reader::default();
    loop {
        let all = buffer.len();
        let mut rest = buffer.as_mut_slice();
        let (need, left) = loop {
            match reader.next(rest, &LIMITS) {
                Ok(Step::Frame(event, behind)) => {
                    if let Event::Close(code) = event {
                        return Ok(frame::close_frame(code.unwrap_or(Close::Left.code()), ""));
                    }
                    stream.write_all(&reply(event)).await?;
                    rest = behind;
                }
                Ok(Step::Need(need, left)) => break (need, left.len()),
                Err(close) => return Ok(frame::close_frame(close.code(), close.name())),
            }
        };
        buffer.drain(..all - left);
        buffer.reserve(need.saturating_sub(buffer.len()));
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(Vec::new());
        }
    }
}

/// What goes back for one frame; nothing for some.
fn reply(event: Event<'_>) -> Vec<u8> {
    match event {
        Event::Message(Kind::Text, mut payload) => frame::frame(Opcode::Text, payload.unmask()),
        Event::Message(Kind::Binary, mut payload) => frame::frame(Opcode::Binary, payload.unmask()),
        Event::Ping(payload) => frame::frame(Opcode::Pong, payload),
        Event::Fragment | Event::Pong | Event::Close(_) => Vec::new(),
    }
}
