//! The PROXY protocol: what is taken as a header is one, of the length that it says.

use std::net::IpAddr;

use crate::server::decode_proxy_header;

/// What decodes is a header of version 2 whose client is where the specification puts it, and what
/// stands behind it does not matter.
///
/// # Panics
///
/// When the property does not hold.
pub fn proxy(data: &[u8]) {
    let Some((client, len)) = decode_proxy_header(data) else { return };
    let header = data.get(..len).expect("a header is not longer than what it is in");
    assert_eq!(decode_proxy_header(header), Some((client, len)), "depends on what follows");
    let shorter = header.get(..len - 1).unwrap_or_default();
    assert_eq!(decode_proxy_header(shorter), None, "takes a part for the whole");
    assert!(header.starts_with(b"\r\n\r\n\0\r\nQUIT\n"), "another signature");
    let at = |at: usize| header.get(at).copied().expect("16 bytes at least");
    assert_eq!(len, 16 + (usize::from(at(14)) << 8) + usize::from(at(15)), "another length");
    let octets = |count: usize| header.get(16..16 + count).expect("as long as its family");
    match client {
        Some(IpAddr::V4(ip)) => {
            assert_eq!((at(12), at(13), octets(4)), (0x21, 0x11, &ip.octets()[..]));
        }
        Some(IpAddr::V6(ip)) => {
            assert_eq!((at(12), at(13), octets(16)), (0x21, 0x21, &ip.octets()[..]));
        }
        None => assert!(at(12) == 0x20 || !matches!(at(13), 0x11 | 0x21), "lost a client"),
    }
}
