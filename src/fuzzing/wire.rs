//! Data frames and control frames: one meaning has one spelling.

use serde_json::{Value, json};

use crate::core::wire::{
    CLIENT_HEAD_MAX, ClientControl, ClientHead, OwnerOp, RELAY_HEAD, RelayHead,
};

/// What decodes encodes back to the same bytes, and what does not decode breaks a rule that can be
/// named: of the operation, of the flags, or of the length.
///
/// # Panics
///
/// When the property does not hold.
pub fn wire(data: &[u8]) {
    let first = data.get(..CLIENT_HEAD_MAX).unwrap_or(data);
    let head_len = match data.first() {
        Some(1) => Some(4),
        Some(2) => Some(12),
        _ => None,
    };
    let flags_are_known = data.get(1).is_some_and(|flags| *flags < 8);
    let is_frame = flags_are_known && head_len.is_some_and(|len| data.len() > len);
    match ClientHead::parse(first, data.len()) {
        Ok((head, len)) => {
            assert!(is_frame, "took what is no frame");
            assert_eq!(Some(len), head_len, "length of the head");
            assert!(data.starts_with(&head.encode()) && head.encode().len() == len, "encodes back");
        }
        Err(_) => assert!(!is_frame, "refused a frame"),
    }

    if let Some((head, payload)) = RelayHead::parse(data) {
        assert!(data.starts_with(&head.encode()) && payload.len() + RELAY_HEAD == data.len());
    }
}

/// What parses is a JSON object of exactly the documented members, and its canonical form parses to
/// the same.
///
/// # Panics
///
/// When the property does not hold.
pub fn control(data: &[u8]) {
    let Ok(parsed) = ClientControl::parse(data) else { return };
    let mut value: Value = serde_json::from_slice(data).expect("what parses is JSON");
    if let Some(object) = value.as_object_mut() {
        // An optional member may be spelled out as absent.
        object.retain(|_, member| !member.is_null());
    }
    let canonical = canonical(&parsed);
    assert_eq!(value, canonical, "has another form");
    assert_eq!(ClientControl::parse(canonical.to_string().as_bytes()), Ok(parsed));
}

fn canonical(control: &ClientControl) -> Value {
    match control {
        ClientControl::Ping { n } => json!({ "type": "ping", "n": n }),
        ClientControl::Leave {} => json!({ "type": "leave" }),
        ClientControl::Owner(request) => {
            let op = match request.op {
                OwnerOp::Close => "close",
                OwnerOp::Lock => "lock",
                OwnerOp::Unlock => "unlock",
                OwnerOp::Kick => "kick",
            };
            match &request.member {
                Some(member) => json!({ "type": "owner", "op": op, "member": member }),
                None => json!({ "type": "owner", "op": op }),
            }
        }
    }
}
