//! One member of the throw-away room: its upgrade, and what it says and hears.
//!
//! Frames are those of fastwebsockets, whose reading is not cancel safe: whoever drops a future of
//! [`Member::next`] drops the member as well.

use std::future::Future as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fastwebsockets::{Frame, OpCode, Payload, Role, WebSocket, WebSocketError};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    CONNECTION, HOST, HeaderMap, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use zeroize::Zeroizing;

use super::refused;
use super::stage::{Failure, Stage};
use crate::cli::remote::{Link, Url, explained};
use crate::core::close::Close;
use crate::core::upgrade;

/// Somebody in the room.
pub(super) struct Member {
    socket: WebSocket<TokioIo<Upgraded>>,
}

/// What a member hears.
pub(super) enum Heard {
    /// A control frame.
    Control(Value),
    /// A data frame.
    Data(Vec<u8>),
    /// The end, with its code.
    Closed(u16),
}

impl Member {
    /// Upgrades a connection (RFC 6455 §4.1), with the token as browsers send it.
    pub(super) async fn upgrade(link: Link, url: &Url, token: &str) -> Result<Self, Failure> {
        let key = STANDARD.encode(super::random::<16>()?);
        let request = request(url, token, &key)?;
        let broke = |error: &hyper::Error| {
            Failure::new(Stage::Handshake, explained(error), refused::PROXY_UPGRADE)
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(link.stream))
                .await
                .map_err(|error| broke(&error))?;
        let mut connection = Box::pin(connection.with_upgrades());
        let upgraded = async {
            let mut answer = sender.send_request(request).await.map_err(|e| broke(&e))?;
            check(&answer, &key)?;
            hyper::upgrade::on(&mut answer).await.map_err(|e| broke(&e))
        };
        tokio::pin!(upgraded);
        let upgraded = std::future::poll_fn(|context| {
            // Done when the other is: its error comes with the answer.
            let _ = connection.as_mut().poll(context);
            upgraded.as_mut().poll(context)
        });
        let mut socket = WebSocket::after_handshake(TokioIo::new(upgraded.await?), Role::Client);
        socket.set_max_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { socket })
    }

    /// Says something to the relay.
    pub(super) async fn control(&mut self, text: &str) -> Result<(), String> {
        self.write(Frame::text(Payload::Borrowed(text.as_bytes()))).await
    }

    /// Says something to the room.
    pub(super) async fn data(&mut self, frame: &[u8]) -> Result<(), String> {
        self.write(Frame::binary(Payload::Borrowed(frame))).await
    }

    async fn write(&mut self, frame: Frame<'_>) -> Result<(), String> {
        self.socket.write_frame(frame).await.map_err(|error| broken(&error))?;
        self.socket.flush().await.map_err(|error| broken(&error))
    }

    /// The next thing that it hears; pings are answered. Not cancel safe.
    pub(super) async fn next(&mut self) -> Result<Heard, String> {
        let mut message: Option<(OpCode, Vec<u8>)> = None;
        loop {
            let frame = self.socket.read_frame().await.map_err(|error| broken(&error))?;
            match frame.opcode {
                OpCode::Ping | OpCode::Pong => continue,
                OpCode::Close => {
                    let code =
                        frame.payload.first_chunk().map_or(NO_CODE, |c| u16::from_be_bytes(*c));
                    return Ok(Heard::Closed(code));
                }
                OpCode::Text | OpCode::Binary => {
                    message = Some((frame.opcode, frame.payload.to_vec()));
                }
                // Something on the way may have cut it into pieces.
                OpCode::Continuation => match &mut message {
                    Some((_, bytes)) if bytes.len() + frame.payload.len() <= MESSAGE_BYTES_MAX => {
                        bytes.extend_from_slice(&frame.payload);
                    }
                    _ => return Err("what came are not messages of a relay".to_owned()),
                },
            }
            if let Some((opcode, bytes)) = message.take_if(|_| frame.fin) {
                return match opcode {
                    OpCode::Text => serde_json::from_slice(&bytes)
                        .map(Heard::Control)
                        .map_err(|_| "a control frame that is not JSON".to_owned()),
                    _ => Ok(Heard::Data(bytes)),
                };
            }
        }
    }
}

fn request(url: &Url, token: &str, key: &str) -> Result<Request<Empty<Bytes>>, Failure> {
    let protocols = Zeroizing::new(format!("{SUBPROTOCOL}, lethewire.bearer.{token}"));
    let request = Request::get(url.path("/v1/ws"))
        .header(HOST, url.authority())
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, key)
        .header(SEC_WEBSOCKET_PROTOCOL, protocols.as_str())
        .body(Empty::new());
    request.map_err(|_| {
        Failure::new(Stage::Token, "the token cannot be sent", "is this a Lethewire relay?")
    })
}

/// Whether a member is in: the relay said 101, to us and not to somebody else before.
fn check(answer: &Response<Incoming>, key: &str) -> Result<(), Failure> {
    let failed = |what: &str| Failure::new(Stage::Handshake, what, refused::PROXY_UPGRADE);
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused::by_status(Stage::Handshake, answer.status(), answer.headers()));
    }
    let accept = field(answer.headers(), &SEC_WEBSOCKET_ACCEPT).map(str::as_bytes);
    if accept != Some(&upgrade::accept(key)[..]) {
        return Err(failed("the upgrade is not the answer to this request"));
    }
    if field(answer.headers(), &SEC_WEBSOCKET_PROTOCOL) != Some(SUBPROTOCOL) {
        return Err(failed("the upgrade does not speak lethewire.v1"));
    }
    Ok(())
}

fn field<'a>(headers: &'a HeaderMap, name: &hyper::header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The name of a close code; its reason's text is the relay's and stays there.
pub(super) fn closed(code: u16) -> String {
    let known = Close::ALL.into_iter().find(|close| close.code() == code);
    match known {
        Some(close) => format!("closed with {code} {}", close.name()),
        None if code == NO_CODE => "closed without a code".to_owned(),
        None => format!("closed with {code}"),
    }
}

fn broken(error: &WebSocketError) -> String {
    match error {
        WebSocketError::UnexpectedEOF | WebSocketError::ConnectionClosed => {
            "the connection was cut".to_owned()
        }
        other => format!("the connection broke: {other}"),
    }
}

const SUBPROTOCOL: &str = "lethewire.v1";

/// What RFC 6455 §7.1.5 calls a close frame without a code.
const NO_CODE: u16 = 1005;

/// Longest message that is read, in bytes: a welcome or the probe's own payload, with much to spare.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
