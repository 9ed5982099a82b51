//! What proves that an opening handshake was understood (RFC 6455, section 1.3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// Length of [`accept`]'s answer: base64 of SHA-1.
pub const ACCEPT_LEN: usize = 28;

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`.
#[expect(clippy::missing_panics_doc, reason = "20 bytes are 28 characters of base64")]
pub fn accept(key: &str) -> [u8; ACCEPT_LEN] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut text = [0; ACCEPT_LEN];
    STANDARD.encode_slice(digest, &mut text).expect("20 bytes are 28 characters of base64");
    text
}

/// The name of the protocol, as RFC 6455 has it.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(&accept("dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
