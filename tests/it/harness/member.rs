//! A member: a WebSocket client that we did not write, with this protocol's frames on top.

use futures_util::{SinkExt as _, StreamExt as _};
use lethewire::core::id::{MemberId, to_base64url};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::soon;

/// A member's connection.
pub(crate) struct Member {
    pub(super) socket: WebSocketStream<TcpStream>,
    /// What it was told first.
    pub(crate) welcome: Value,
}

/// A data frame from the relay.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Data {
    /// Whether it was for this member alone.
    pub(crate) direct: bool,
    /// The flags as on the wire.
    pub(crate) flags: u8,
    /// Who sent it, as text.
    pub(crate) from: String,
    /// Its number.
    pub(crate) seq: u64,
    /// What was sent.
    pub(crate) payload: Vec<u8>,
}

/// Anything that a member hears.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    /// A data frame.
    Data(Data),
    /// A control frame.
    Control(Value),
    /// The close frame: code and reason.
    Closed(u16, String),
    /// The socket ended without a close frame.
    Lost,
}

impl Member {
    /// Flag: ask for `ack`.
    pub(crate) const ACK: u8 = 1;
    /// Flag: hear it too.
    pub(crate) const ECHO: u8 = 2;
    /// Flag: may be dropped first.
    pub(crate) const VOLATILE: u8 = 4;

    /// Its own name.
    pub(crate) fn id(&self) -> String {
        self.welcome["member"].as_str().expect("welcomed").to_owned()
    }

    /// SEND without flags.
    pub(crate) async fn say(&mut self, payload: &[u8]) {
        self.send(0, 0, payload).await;
    }

    /// SEND.
    pub(crate) async fn send(&mut self, flags: u8, reference: u16, payload: &[u8]) {
        let [high, low] = reference.to_be_bytes();
        self.raw(&[&[1, flags, high, low], payload].concat()).await;
    }

    /// DIRECT.
    pub(crate) async fn send_to(
        &mut self,
        member: &str,
        flags: u8,
        reference: u16,
        payload: &[u8],
    ) {
        let [high, low] = reference.to_be_bytes();
        let member = MemberId::from_base64url(member).unwrap();
        self.raw(&[&[2, flags, high, low], &member.as_bytes()[..], payload].concat()).await;
    }

    /// A binary message with any bytes.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.message(Message::binary(bytes.to_vec())).await;
    }

    /// A control frame.
    pub(crate) async fn tell(&mut self, control: &Value) {
        self.message(Message::text(control.to_string())).await;
    }

    /// Any WebSocket message.
    pub(crate) async fn message(&mut self, message: Message) {
        soon("sending", self.socket.send(message)).await.expect("the socket takes it");
    }

    /// Messages that leave with one write, so that one read may bring all of them.
    pub(crate) async fn in_one_go(&mut self, messages: impl IntoIterator<Item = Vec<u8>>) {
        for message in messages {
            let fed = self.socket.feed(Message::binary(message));
            soon("sending", fed).await.expect("the socket takes it");
        }
        soon("sending", self.socket.flush()).await.expect("the socket takes it");
    }

    /// The next thing that is no heartbeat.
    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            return match soon("a message", self.socket.next()).await {
                Some(Ok(Message::Binary(bytes))) => Heard::Data(Data::decode(&bytes)),
                Some(Ok(Message::Text(text))) => {
                    Heard::Control(serde_json::from_str(&text).expect("JSON"))
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    Heard::Closed(frame.code.into(), frame.reason.to_string())
                }
                Some(Ok(Message::Close(None))) => Heard::Closed(1005, String::new()),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Err(_)) | None => Heard::Lost,
            };
        }
    }

    /// The next thing, which is a data frame.
    pub(crate) async fn data(&mut self) -> Data {
        match self.hear().await {
            Heard::Data(data) => data,
            other => panic!("expected data, heard {other:?}"),
        }
    }

    /// The next thing, which is a control frame.
    pub(crate) async fn control(&mut self) -> Value {
        match self.hear().await {
            Heard::Control(control) => control,
            other => panic!("expected control, heard {other:?}"),
        }
    }

    /// The next thing, which is a control frame of this type.
    pub(crate) async fn control_of(&mut self, kind: &str) -> Value {
        let control = self.control().await;
        assert_eq!(control["type"], kind, "{control}");
        control
    }

    /// The next thing, which is the close frame; then the socket ends.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        match self.hear().await {
            Heard::Closed(code, reason) => {
                assert_eq!(self.hear().await, Heard::Lost, "nothing comes after a close");
                (code, reason)
            }
            other => panic!("expected a close, heard {other:?}"),
        }
    }

    /// Leaves as an application does, and waits for the end.
    pub(crate) async fn leave(mut self) {
        self.tell(&json!({ "type": "leave" })).await;
        while self.hear().await != Heard::Lost {}
    }

    /// The socket, to misbehave on.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.socket.into_inner()
    }
}

impl Data {
    fn decode(bytes: &[u8]) -> Self {
        assert!(bytes.len() > 20, "a frame without payload");
        assert_eq!(bytes[2..4], [0, 0]);
        let direct = match bytes[0] {
            0x81 => false,
            0x82 => true,
            op => panic!("unknown operation {op}"),
        };
        Self {
            direct,
            flags: bytes[1],
            from: to_base64url(&bytes[4..12]),
            seq: u64::from_be_bytes(bytes[12..20].try_into().unwrap()),
            payload: bytes[20..].to_vec(),
        }
    }
}
