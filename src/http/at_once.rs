//! A handshake that came whole with the first bytes, answered without a connection of the HTTP library.
//!
//! When many join at once their requests are there before their connections are looked at. What the
//! library sets up for a connection (buffers, timers, a place for further requests) is then not needed: the
//! head is read with the parser that the library uses, and only what cannot be read in two ways is taken.
//! Everything else, and every answer but a 101, is the library's.

use std::io::Read as _;
use std::os::fd::AsFd;

use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderName, TRANSFER_ENCODING};
use socket2::SockRef;
use tokio::net::TcpStream;

use super::cors::Asker;
use super::fields::Fields as _;
use super::gate::{Admitted, WELCOME_BYTES};
use super::handshake::Switch;
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
    pub(super) answer: Option<Box<Answer>>,
}

impl Opening {
    /// Whether there is anything yet.
    pub fn has_begun(&self) -> bool {
        !self.bytes.is_empty()
    }
}

/// Reads what is there, and answers it if it is a handshake.
pub fn begin<S: AsFd>(app: &App, caller: &mut Caller, stream: S) -> Begun<S> {
    let mut buffer = [0; FIRST_BYTES];
    let bytes = read(&stream, &mut buffer);
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let handshake = parse(bytes, &mut fields, &app.config.http).filter(|_| app.shared.is_none());
    let answered = handshake.map(|(fields, early)| {
        let answered = public::answer_handshake(app, caller, fields);
        answered.map(|shaken| (shaken, early))
    });
    match answered {
        Some(Ok(((switch, asker, Admitted { reservation: admitted, address }), early))) => {
            let (answer, early) = (written(&switch, &asker), Bytes::copy_from_slice(early));
            let upgraded = Upgraded { stream, answer, early, admitted };
            let address = address.or_else(|| caller.address.take());
            Begun::Shaken(Shaken { upgraded, address })
        }
        answered => {
            let answer = answered.and_then(Result::err);
            Begun::Open(stream, Opening { bytes: Bytes::copy_from_slice(bytes), answer })
        }
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
    caller: &mut Caller,
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
fn read<'b>(stream: &impl AsFd, buffer: &'b mut [u8]) -> &'b [u8] {
    let read = (&*SockRef::from(stream)).read(buffer);
    read.ok().and_then(|count| buffer.get(..count)).unwrap_or_default()
}

/// The fields of a handshake and what came behind it, if its head is all there and within the limits. A
/// message that says anything of a body, or not for whom it is, is for the library to read.
fn parse<'f, 'b>(
    bytes: &'b [u8],
    fields: &'f mut [httparse::Header<'b>],
    limits: &Http,
) -> Option<(&'f [httparse::Header<'b>], &'b [u8])> {
    let mut head = httparse::Request::new(fields);
    let Ok(httparse::Status::Complete(len)) = head.parse(bytes) else { return None };
    let is_handshake =
        (head.method, head.path, head.version) == (Some("GET"), Some(WS_PATH), Some(1));
    let fits = len <= limits.header_bytes as usize && head.headers.len() <= limits.headers as usize;
    if !is_handshake || !fits {
        return None;
    }
    let fields = &*head.headers;
    let speaks_of_a_body = [CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT]
        .iter()
        .any(|name| fields.all(name).next().is_some());
    let is_clear = !speaks_of_a_body && fields.all(&HOST).count() == 1;
    bytes.get(len..).filter(|_| is_clear).map(|early| (fields, early))
}

/// The bytes of a 101, with room for what the connection says first.
fn written(switch: &Switch, asker: &Asker) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ANSWER_BYTES + WELCOME_BYTES);
    bytes.extend_from_slice(STATUS);
    let mut line = |name: HeaderName, value: &[u8]| {
        for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    };
    for (name, value) in switch.fields() {
        line(name, value);
    }
    for (name, value) in asker.fields() {
        line(name, value.as_bytes());
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

    /// Names and values of the fields, and what came behind.
    type Parsed<'h> = (Vec<(String, Vec<u8>)>, &'h [u8]);

    fn parsed(head: &str) -> Option<Parsed<'_>> {
        parsed_within(&crate::config::Config::default().http, head)
    }

    fn parsed_within<'h>(limits: &Http, head: &'h str) -> Option<Parsed<'h>> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let (fields, early) = parse(head.as_bytes(), &mut fields, limits)?;
        let pair = |field: &httparse::Header<'_>| (field.name.to_owned(), field.value.to_vec());
        Some((fields.iter().map(pair).collect(), early))
    }

    const HEAD: &str = "GET /v1/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nX: 1\r\nx:  2 \r\n";

    #[test]
    fn a_whole_handshake_is_read_with_all_its_fields() {
        let head = format!("{HEAD}\r\nmore");
        let (fields, early) = parsed(&head).unwrap();
        assert_eq!(early, b"more");
        let expected = [("Host", "a"), ("Upgrade", "websocket"), ("X", "1"), ("x", "2")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        assert_eq!(fields, expected);
    }

    #[test]
    fn whatever_else_is_the_librarys() {
        assert!(parsed(HEAD).is_none(), "the rest is on its way");
        for line in [
            "Content-Length: 0",
            "transfer-encoding: chunked",
            "Expect: 100-continue",
            "host: b",
            "a b: c",
            "a : c",
        ] {
            assert!(parsed(&format!("{HEAD}{line}\r\n\r\n")).is_none(), "{line}");
        }
        for (is, other) in [
            ("GET", "HEAD"),
            ("1.1", "1.0"),
            ("/v1/ws", "/v1/ws?a"),
            ("/v1/ws", "http://a/v1/ws"),
            ("Host", "Hos"),
        ] {
            assert!(parsed(&format!("{}\r\n", HEAD.replacen(is, other, 1))).is_none(), "{other}");
        }
        let many = "a: b\r\n".repeat(FIELDS_MAX - 4);
        assert!(parsed(&format!("{HEAD}{many}\r\n")).is_some());
        assert!(parsed(&format!("{HEAD}{many}c: d\r\n\r\n")).is_none());
    }

    #[test]
    fn its_limits_are_the_configured_ones() {
        let head = format!("{HEAD}\r\n");
        let mut limits = crate::config::Config::default().http;
        (limits.headers, limits.header_bytes) = (4, u32::try_from(head.len()).unwrap());
        assert!(parsed_within(&limits, &head).is_some());
        limits.headers -= 1;
        assert!(parsed_within(&limits, &head).is_none());
        limits.headers += 1;
        limits.header_bytes -= 1;
        assert!(parsed_within(&limits, &head).is_none());
    }
}
