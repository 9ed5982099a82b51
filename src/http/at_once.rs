//! A handshake that came whole with the first bytes, answered without a connection of the HTTP library.
//!
//! When many join at once their requests are there before their connections are looked at. What the
//! library sets up for a connection (buffers, timers, a place for further requests) is then not needed: the
//! head is read with the parser that the library uses, and only what cannot be read in two ways is taken.
//! Everything else, and every answer but a 101, is the library's.

use std::io::Read as _;
use std::os::fd::AsFd;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{
    CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use hyper::{Request, Uri};
use socket2::SockRef;
use tokio::net::TcpStream;

use super::gate::{Admitted, WELCOME_BYTES};
use super::public::{self, WS_PATH};
use super::{Answer, App, Caller, Shaken};
use crate::config::Http;
use crate::conn::Upgraded;
use crate::metrics::Refusal;

/// What became of a connection's first bytes.
pub enum Begun<S> {
    /// A handshake that is answered.
    Shaken(Shaken<S>),
    /// Anything else, or nothing yet.
    Open(S, Opening),
}

/// What is known of a connection for which the library is needed.
pub struct Opening {
    /// What was read.
    pub(super) bytes: Bytes,
    /// The answer to the first request, where it is known.
    pub(super) answer: Option<Answer>,
}

impl Opening {
    /// Whether there is anything yet.
    pub fn has_begun(&self) -> bool {
        !self.bytes.is_empty()
    }
}

/// Reads what is there, and answers it if it is a handshake.
pub fn begin<S: AsFd>(app: &App, caller: &Caller, stream: S) -> Begun<S> {
    let bytes = read(&stream);
    let handshake = parse(&bytes, &app.config.http).filter(|_| app.shared.is_none());
    let answered = handshake.and_then(|(request, len)| {
        let answered = public::answer_handshake(app, caller, request);
        answered.map(|(answer, admitted)| (answer, admitted, len))
    });
    match answered {
        Some((answer, Some(Admitted { reservation: admitted, address }), len)) => {
            let (answer, early) = (written(&answer), bytes.slice(len..));
            Begun::Shaken(Shaken {
                upgraded: Upgraded { stream, answer, early, admitted },
                address,
            })
        }
        Some((answer, None, _)) => Begun::Open(stream, Opening { bytes, answer: Some(answer) }),
        None => Begun::Open(stream, Opening { bytes, answer: None }),
    }
}

/// Waits until there is something, for as long as a request's head may take, and does the same. `None`
/// ends the connection.
///
/// # Cancel safety
///
/// Dropping the future drops the connection.
pub(super) async fn begin_later(
    app: &App,
    caller: &Caller,
    stream: TcpStream,
) -> Option<Begun<TcpStream>> {
    let limits = &app.config.http;
    // Who comes during the drain is still told of it.
    let is_late = app.is_draining();
    tokio::select! {
        biased;
        readable = stream.readable() => readable.ok()?,
        () = tokio::time::sleep(limits.header_timeout().min(limits.keep_alive())) => {
            app.metrics.refused(Refusal::Request);
            return None;
        }
        () = app.draining(), if !is_late => return None,
    }
    Some(begin(app, caller, stream))
}

/// The first bytes, if there are any. Asks the system and not the event loop, which has not heard of the
/// socket yet. An end is found again by whoever reads next.
fn read(stream: &impl AsFd) -> Bytes {
    let mut bytes = [0; FIRST_BYTES];
    let read = (&*SockRef::from(stream)).read(&mut bytes);
    read.ok().and_then(|n| bytes.get(..n)).map(Bytes::copy_from_slice).unwrap_or_default()
}

/// A handshake and the length of its head, if that is all there and within the limits. A message that
/// says anything of a body is for the library to read.
fn parse(bytes: &Bytes, limits: &Http) -> Option<(Request<Empty<Bytes>>, usize)> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(len)) = head.parse(bytes) else { return None };
    let is_handshake =
        (head.method, head.path, head.version) == (Some("GET"), Some(WS_PATH), Some(1));
    let fits = len <= limits.header_bytes as usize && head.headers.len() <= limits.headers as usize;
    if !is_handshake || !fits {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(head.headers.len());
    for field in head.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        if [CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT].contains(&name) {
            return None;
        }
        headers.append(name, HeaderValue::from_maybe_shared(bytes.slice_ref(field.value)).ok()?);
    }
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = Uri::from_static(WS_PATH);
    *request.headers_mut() = headers;
    Some((request, len))
}

/// The bytes of a 101, with room for what the connection says first.
fn written(answer: &Answer) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ANSWER_BYTES + WELCOME_BYTES);
    bytes.extend_from_slice(STATUS);
    for (name, value) in answer.headers() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

const STATUS: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n";

/// What a 101 takes; it only saves growing.
const ANSWER_BYTES: usize = 256;

/// More than a browser's handshake with a token takes; a longer one is the library's.
const FIRST_BYTES: usize = 2048;

/// More fields than a browser sends behind several proxies.
const FIELDS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(head: &str) -> Option<(Request<Empty<Bytes>>, usize)> {
        parse(&Bytes::copy_from_slice(head.as_bytes()), &crate::config::Config::default().http)
    }

    const HEAD: &str = "GET /v1/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nX: 1\r\nx:  2 \r\n";

    #[test]
    fn a_whole_handshake_is_read_with_all_its_fields() {
        let (request, len) = parsed(&format!("{HEAD}\r\nmore")).unwrap();
        assert_eq!(len, HEAD.len() + 2);
        assert_eq!((request.method().as_str(), request.uri().path()), ("GET", "/v1/ws"));
        assert_eq!(request.version(), hyper::Version::HTTP_11);
        let fields: Vec<_> = request.headers().get_all("x").iter().collect();
        assert_eq!(fields, ["1", "2"]);
        assert_eq!(request.headers().len(), 4);
    }

    #[test]
    fn whatever_else_is_the_librarys() {
        assert!(parsed(HEAD).is_none(), "the rest is on its way");
        for line in [
            "Content-Length: 0",
            "transfer-encoding: chunked",
            "Expect: 100-continue",
            "a b: c",
            "a : c",
        ] {
            assert!(parsed(&format!("{HEAD}{line}\r\n\r\n")).is_none(), "{line}");
        }
        for (is, other) in
            [("GET", "HEAD"), ("1.1", "1.0"), ("/v1/ws", "/v1/ws?a"), ("/v1/ws", "http://a/v1/ws")]
        {
            assert!(parsed(&format!("{}\r\n", HEAD.replacen(is, other, 1))).is_none(), "{other}");
        }
        let many = "a: b\r\n".repeat(FIELDS_MAX - 4);
        assert!(parsed(&format!("{HEAD}{many}\r\n")).is_some());
        assert!(parsed(&format!("{HEAD}{many}c: d\r\n\r\n")).is_none());
    }

    #[test]
    fn its_limits_are_the_configured_ones() {
        let head = Bytes::from(format!("{HEAD}\r\n"));
        let mut limits = crate::config::Config::default().http;
        (limits.headers, limits.header_bytes) = (4, u32::try_from(head.len()).unwrap());
        assert!(parse(&head, &limits).is_some());
        limits.headers -= 1;
        assert!(parse(&head, &limits).is_none());
        limits.headers += 1;
        limits.header_bytes -= 1;
        assert!(parse(&head, &limits).is_none());
    }

    #[test]
    fn an_answer_is_written_as_http_has_it() {
        let mut answer = Answer::default();
        answer.headers_mut().insert("upgrade", HeaderValue::from_static("websocket"));
        answer.headers_mut().insert("vary", HeaderValue::from_static("origin"));
        let written = written(&answer);
        let expected =
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nvary: origin\r\n\r\n";
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }
}
