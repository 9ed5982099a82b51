//! Raw HTTP: what is written is what is sent, so that requests can be malformed.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::soon;

/// The header line of a JSON body.
pub(crate) const JSON: &str = "Content-Type: application/json\r\n";

/// Sends one request and reads its answer.
pub(crate) async fn call(
    addr: SocketAddr,
    method: &str,
    path: &str,
    extra: &str,
    body: &str,
) -> Answered {
    let mut talk = Talk::to(addr).await;
    let length = match body.len() {
        0 => String::new(),
        length => format!("Content-Length: {length}\r\n"),
    };
    talk.say(format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\n{length}{extra}\r\n{body}"))
        .await;
    if method == "HEAD" { talk.head().await } else { talk.answer().await }
}

/// A raw connection to a listener: what is written is what is sent.
pub(crate) struct Talk {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    /// Names in lower case, as they came.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answered {
    /// A header field that is there at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        let first = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is there twice");
        first
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// Checks that this is the problem with this status and this end of its type.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, type_ends_in: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let body = self.json();
        assert_eq!(body["status"], status);
        assert!(body["type"].as_str().unwrap().ends_with(type_ends_in), "{body}");
        assert!(body["title"].is_string());
    }
}

impl Talk {
    pub(crate) async fn to(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("the relay listens");
        Self::over(stream)
    }

    /// Over a connection that was made in a way of its own.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("connected");
        Self { stream, unread: Vec::new() }
    }

    /// Sends bytes as they are.
    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        soon("sending", self.stream.write_all(bytes.as_ref())).await.expect("the socket takes it");
    }

    /// Gives the system as many of these bytes as it takes, without letting anybody else on this thread
    /// run meanwhile; says how many those were.
    pub(crate) fn say_at_once(&mut self, bytes: &[u8]) -> usize {
        let mut said = 0;
        while let Ok(count @ 1..) = self.stream.try_write(&bytes[said..]) {
            said += count;
        }
        said
    }

    /// Sends bytes to a relay that may have ended the connection already.
    pub(crate) async fn try_say(&mut self, bytes: impl AsRef<[u8]>) {
        let _gone = soon("sending", self.stream.write_all(bytes.as_ref())).await;
    }

    /// Reads one whole answer.
    pub(crate) async fn answer(&mut self) -> Answered {
        let mut answer = self.head().await;
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        answer.body = self.next(length).await;
        answer
    }

    /// Reads the head of an answer that has no body.
    pub(crate) async fn head(&mut self) -> Answered {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.read().await, "no answer but the end of the connection");
        };
        let rest = self.unread.split_off(end);
        let head = String::from_utf8(std::mem::replace(&mut self.unread, rest)).expect("ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().strip_prefix("HTTP/1.").expect("HTTP/1");
        let pairs = lines.map(|line| line.split_once(": ").expect("a header line"));
        Answered {
            status: status[2..5].parse().unwrap(),
            headers: pairs.map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).collect(),
            body: Vec::new(),
        }
    }

    /// Reads so many bytes.
    pub(crate) async fn next(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert!(self.read().await, "the connection ended before that");
        }
        let rest = self.unread.split_off(count);
        std::mem::replace(&mut self.unread, rest)
    }

    /// Reads until these bytes have come.
    pub(crate) async fn until(&mut self, wanted: &[u8]) {
        while !self.unread.windows(wanted.len()).any(|window| window == wanted) {
            assert!(self.read().await, "the connection ended before that");
        }
    }

    /// Waits until the relay ends the connection, and returns what came before that.
    pub(crate) async fn ended(mut self) -> Vec<u8> {
        while self.read().await {}
        self.unread
    }

    /// Like [`Talk::ended`], and the end is no reset.
    pub(crate) async fn ended_well(mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.unread);
        soon("the end", self.stream.read_to_end(&mut rest)).await.expect("no reset");
        rest
    }

    /// Reads what comes next. False at the end.
    async fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match soon("an answer", self.stream.read(&mut buffer)).await {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.unread.extend_from_slice(&buffer[..n]);
                true
            }
        }
    }
}

/// A client's frame with an all-zero key, which changes nothing.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let head = match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < 126 => vec![first, 0x80 | short],
        (_, Ok(medium)) => [&[first, 0xFE][..], &medium.to_be_bytes()].concat(),
        _ => [&[first, 0xFF][..], &(payload.len() as u64).to_be_bytes()].concat(),
    };
    [&head, &[0; 4][..], payload].concat()
}
