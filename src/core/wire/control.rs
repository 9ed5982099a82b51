//! The control frames that clients send, parsed strictly.

use serde::Deserialize;

use crate::core::close::Close;

/// Longest control frame that a client may send, in bytes.
pub const CONTROL_BYTES_MAX: usize = 1024;

/// A control frame from a client.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum ClientControl {
    /// A sign of life above the WebSocket layer, answered by `pong`.
    Ping {
        /// Returned as it came.
        n: u64,
    },
    /// The member says goodbye; the relay closes with 1000.
    Leave {},
    /// Something that only the owner may do.
    Owner(OwnerRequest),
}

/// What an owner asks for, over the WebSocket or over HTTP.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnerRequest {
    /// The operation.
    pub op: OwnerOp,
    /// Whom to kick, in text form; for `kick` only.
    #[serde(default)]
    pub member: Option<String>,
}

/// The operations of a room's owner.
///
/// Read from a text, because serde would take `{"lock":null}` for `"lock"` as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum OwnerOp {
    /// End the room for everybody.
    Close,
    /// Let nobody in any more.
    Lock,
    /// Let members in again.
    Unlock,
    /// Remove one member.
    Kick,
}

impl TryFrom<String> for OwnerOp {
    type Error = &'static str;

    fn try_from(word: String) -> Result<Self, Self::Error> {
        Ok(match word.as_str() {
            "close" => Self::Close,
            "lock" => Self::Lock,
            "unlock" => Self::Unlock,
            "kick" => Self::Kick,
            _ => return Err("unknown operation"),
        })
    }
}

impl ClientControl {
    /// Parses a text message.
    ///
    /// # Errors
    ///
    /// `BadFrame` for what is not exactly one of the known frames.
    pub fn parse(text: &[u8]) -> Result<Self, Close> {
        // Serde would take an array of the members in order as well.
        if text.trim_ascii_start().first() != Some(&b'{') {
            return Err(Close::BadFrame);
        }
        serde_json::from_slice(text).map_err(|_| Close::BadFrame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_frames_of_clients_are_exact() {
        let parse = |text: &str| ClientControl::parse(text.as_bytes());
        assert_eq!(parse(r#"{"type":"ping","n":3}"#), Ok(ClientControl::Ping { n: 3 }));
        assert_eq!(parse(r#"{"type":"leave"}"#), Ok(ClientControl::Leave {}));
        let kick = r#"{"type":"owner","op":"kick","member":"AQIDBAUGBwg"}"#;
        let member = Some("AQIDBAUGBwg".to_owned());
        let request = OwnerRequest { op: OwnerOp::Kick, member };
        assert_eq!(parse(kick), Ok(ClientControl::Owner(request)));
        for bad in [
            "",
            "{}",
            "null",
            r#"{"type":"leave"} x"#,
            r#"{"type":"leave","why":"x"}"#,
            r#"{"type":"ping"}"#,
            r#"{"type":"ping","n":-1}"#,
            r#"{"type":"ping","n":1.5}"#,
            r#"{"type":"ping","n":1,"n":2}"#,
            r#"{"type":"ping","type":"ping","n":1}"#,
            r#"{"type":"Leave"}"#,
            r#"{"type":"owner","op":"rename"}"#,
            r#"{"type":"owner","op":"lock","extra":1}"#,
            r#"{"type":"owner","op":{"lock":null}}"#,
            r#"["ping",1]"#,
        ] {
            assert_eq!(parse(bad), Err(Close::BadFrame), "{bad}");
        }
    }
}
