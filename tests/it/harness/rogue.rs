//! A hostile peer: a socket on which anything can be written, read as slowly as one likes, and torn
//! down in any way.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::{Pair, masked, soon};

/// How a connection that was not let go on came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A close frame with this code and name.
    Closed(u16, &'static str),
    /// An HTTP answer with this status, and the end of the socket.
    Answered(u16),
    /// The end of the socket, without a word.
    Cut,
}

/// A hostile peer's socket.
pub(crate) struct Rogue {
    stream: TcpStream,
    /// What came and was not looked at.
    unread: Vec<u8>,
    is_upgraded: bool,
}

impl Rogue {
    /// A socket that has said nothing yet.
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(addr)).await.expect("it listens");
        Self::over(stream)
    }

    /// A socket whose kernel keeps as little as it can of what is not read.
    pub(crate) async fn connect_narrow(addr: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self::over(soon("a connection", socket.connect(addr)).await.expect("it listens"))
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("connected");
        Self { stream, unread: Vec::new(), is_upgraded: false }
    }

    /// Joins with a token, and reads up to its 101.
    pub(crate) async fn join(addr: SocketAddr, token: &str) -> Self {
        Self::connect(addr).await.upgraded(token).await
    }

    /// Makes the handshake, and reads up to its 101.
    pub(crate) async fn upgraded(mut self, token: &str) -> Self {
        self.write(handshake(token).as_bytes()).await;
        while !self.takes_head() {
            assert!(self.read().await, "no answer to the handshake");
        }
        self.is_upgraded = true;
        self
    }

    /// Takes the 101 off what came, if it is all there.
    fn takes_head(&mut self) -> bool {
        let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") else {
            return false;
        };
        assert!(self.unread.starts_with(b"HTTP/1.1 101 "));
        self.unread.drain(..at + 4);
        true
    }

    /// Writes as far as the relay lets it. That it does not is for [`Rogue::ending`] to find out.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let _ = soon("sending", self.stream.write_all(bytes)).await;
    }

    /// Reads at most this many bytes, and forgets them. Zero at the end.
    pub(crate) async fn sip(&mut self, most: usize) -> usize {
        let mut buffer = vec![0; most];
        soon("a byte", self.stream.read(&mut buffer)).await.unwrap_or(0)
    }

    /// Waits for a frame with this first byte, past all others but a close.
    pub(crate) async fn frame(&mut self, first: u8) -> Vec<u8> {
        loop {
            match self.next_frame() {
                Some((found, payload)) if found == first => return payload,
                Some((found, _)) => assert_ne!(found, CLOSE, "closed"),
                None => assert!(self.read().await, "the connection ended before that"),
            }
        }
    }

    /// Sends a large message and waits until the relay has taken it, again and again, until it hears
    /// that somebody left: at most [`WITHIN`] after the message. Whatever should happen in between is
    /// `meanwhile`.
    pub(crate) async fn talks_until_a_leave(&mut self, mut meanwhile: impl AsyncFnMut()) {
        let message = masked(0x82, &[&[1, 1, 0, 0][..], &vec![7; TALK_BYTES]].concat());
        for _ in 0..1000 {
            self.write(&message).await;
            meanwhile().await;
            if !within("an ack or a leave", self.acked()).await {
                return;
            }
        }
        panic!("the kernel takes all of it");
    }

    /// Waits until the relay has taken a message; false if somebody left before that.
    pub(crate) async fn acked(&mut self) -> bool {
        loop {
            let told = self.frame(0x81).await;
            if told.starts_with(br#"{"type":"ack""#) || told.starts_with(br#"{"type":"leave""#) {
                return told.starts_with(br#"{"type":"ack""#);
            }
        }
    }

    /// Writes all of this while it reads, and says how the relay ended it: at most [`WITHIN`] after
    /// the last byte.
    pub(crate) async fn strikes(&mut self, bytes: &[u8]) -> Ending {
        let Self { stream, unread, is_upgraded } = self;
        let (mut reader, mut writer) = stream.split();
        let mut ended = std::pin::pin!(read_to_end(&mut reader, unread, *is_upgraded));
        let sent = async {
            let _ = soon("sending", writer.write_all(bytes)).await;
        };
        tokio::select! {
            ending = &mut ended => return ending,
            () = sent => {}
        }
        within("its end", ended).await
    }

    /// Writes a byte whenever the pair has exchanged something, and says how the relay ended it: at
    /// most [`WITHIN`] after the first byte.
    pub(crate) async fn drips(&mut self, bytes: &[u8], pair: &mut Pair) -> Ending {
        let Self { stream, unread, is_upgraded } = self;
        let (mut reader, mut writer) = stream.split();
        let mut ended = std::pin::pin!(read_to_end(&mut reader, unread, *is_upgraded));
        let sent = async {
            for byte in bytes {
                let _ = writer.write_all(&[*byte]).await;
                pair.goes_on().await;
            }
        };
        let ending = async {
            tokio::select! {
                ending = &mut ended => return ending,
                () = sent => {}
            }
            ended.await
        };
        within("its end", ending).await
    }

    /// How the relay ended it.
    pub(crate) async fn ending(&mut self) -> Ending {
        self.strikes(b"").await
    }

    /// Ends the writing half only.
    pub(crate) async fn half_close(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Ends with a reset instead of an orderly end.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("a socket");
    }

    async fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match soon("bytes", self.stream.read(&mut buffer)).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                true
            }
        }
    }

    fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        take_frame(&mut self.unread)
    }
}

/// The payload of a message that is to fill sockets.
pub(crate) const TALK_BYTES: usize = 60_000;

/// How long the relay may take to end what is over a limit.
const WITHIN: Duration = Duration::from_secs(2);
const CLOSE: u8 = 0x88;

/// Waits for an end that has to come at once.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(WITHIN, future).await;
    waited.unwrap_or_else(|_late| panic!("{what} took longer than {WITHIN:?}"))
}

/// A handshake as a browser makes it.
pub(crate) fn handshake(token: &str) -> String {
    format!(
        "GET /v1/ws HTTP/1.1\r\nHost: relay.example\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: lethewire.v1, lethewire.bearer.{token}\r\n\r\n"
    )
}

/// Reads to a close frame, or to the end of the socket.
async fn read_to_end(
    reader: &mut tokio::net::tcp::ReadHalf<'_>,
    unread: &mut Vec<u8>,
    is_upgraded: bool,
) -> Ending {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        while is_upgraded && let Some((first, payload)) = take_frame(unread) {
            if first == CLOSE {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                return Ending::Closed(code, name_of(code, &payload[2..]));
            }
        }
        match reader.read(&mut buffer).await {
            Ok(0) | Err(_) if is_upgraded || unread.is_empty() => return Ending::Cut,
            Ok(0) | Err(_) => return Ending::Answered(last_status(unread)),
            Ok(count) => unread.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Takes one whole frame of the relay's off the front: its first byte and its payload.
fn take_frame(unread: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (first, short) = (*unread.first()?, *unread.get(1)?);
    let (head, len) = match short {
        126 => (4, u64::from(u16::from_be_bytes(unread.get(2..4)?.try_into().unwrap()))),
        127 => (10, u64::from_be_bytes(unread.get(2..10)?.try_into().unwrap())),
        short => (2, u64::from(short)),
    };
    let end = head + usize::try_from(len).unwrap();
    let payload = unread.get(head..end)?.to_vec();
    unread.drain(..end);
    Some((first, payload))
}

/// The name of a code, which the reason has to be, but for a hint of when to come back.
fn name_of(code: u16, reason: &[u8]) -> &'static str {
    let known = lethewire::core::close::Close::ALL.into_iter().find(|known| known.code() == code);
    let name = known.expect("a documented code").name();
    let reason = std::str::from_utf8(reason).expect("text");
    assert_eq!(reason.split(';').next(), Some(name));
    name
}

/// The status of the last of the answers.
fn last_status(answers: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(answers);
    let status = text.rsplit("HTTP/1.1 ").next().and_then(|rest| rest.get(..3));
    status.and_then(|status| status.parse().ok()).expect("an HTTP answer")
}
