//! The PROXY protocol, version 2: what a trusted proxy says about the client that it speaks for.
//!
//! The layout is that of its specification by `HAProxy`, section 2.2: 12 bytes of signature, version and
//! command, family and transport, the length of what follows, then addresses and extensions. Nobody
//! is asked whether the header comes: it does, or the connection is dropped. Exactly the header is
//! taken from the socket, so that HTTP gets all the rest. What to do with the address, and who may
//! say it, is decided elsewhere.
//!
//! Not a library's parser: those at hand refuse a LOCAL header whose family is unknown, which the
//! specification wants ignored, and none bounds the extensions without a buffer for them.

use std::io;
use std::net::IpAddr;

use tokio::net::TcpStream;

/// Reads the header of a connection and no byte more. `None` stands for the socket's own address: a
/// health check of the proxy itself, or a client without an Internet address.
///
/// # Errors
///
/// When the socket ends or breaks before that, or what comes is no such header.
///
/// # Cancel safety
///
/// What was read before the future was dropped is lost, and with it the connection.
pub(super) async fn read_header(stream: &TcpStream) -> io::Result<Option<IpAddr>> {
    let mut head = [0; HEAD_LEN];
    fill(stream, &mut head).await?;
    let Head { family, mut rest } = Head::parse(head).ok_or(io::ErrorKind::InvalidData)?;
    let mut addresses = [0; ADDRESSES_MAX];
    let addresses = addresses.get_mut(..family.addresses_len()).unwrap_or_default();
    fill(stream, addresses).await?;
    rest -= addresses.len();
    let mut skipped = [0; ADDRESSES_MAX];
    while rest > 0 {
        let part = skipped.get_mut(..rest.min(ADDRESSES_MAX)).unwrap_or_default();
        fill(stream, part).await?;
        rest -= part.len();
    }
    Ok(family.source(addresses))
}

/// Reads as many bytes as fit.
async fn fill(stream: &TcpStream, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        stream.readable().await?;
        match stream.try_read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => buffer = buffer.get_mut(n..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What the fixed part says: whose addresses follow, and how many bytes there are behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    family: Family,
    rest: usize,
}

/// What kind of client it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// None, one that has no IP address, or one that is to be ignored.
    Other,
    V4,
    V6,
}

impl Head {
    /// `None` is anything but a header of version 2 that is as long as its family needs and not
    /// longer than anybody's.
    fn parse(head: [u8; HEAD_LEN]) -> Option<Self> {
        let [signature @ .., command, family, high, low] = head;
        let rest = usize::from(u16::from_be_bytes([high, low]));
        if signature != SIGNATURE || rest > REST_MAX {
            return None;
        }
        let family = match (command, family) {
            (0x21, 0x11) => Family::V4,
            (0x21, 0x21) => Family::V6,
            // LOCAL: the proxy speaks for itself; family and addresses mean nothing. Or AF_UNSPEC,
            // AF_UNIX, or no transport: the client has no address that could be limited.
            (0x20, _) | (0x21, 0x00 | 0x10 | 0x20 | 0x30 | 0x31) => Family::Other,
            _ => return None,
        };
        (rest >= family.addresses_len()).then_some(Self { family, rest })
    }
}

impl Family {
    /// Two addresses and two ports.
    const fn addresses_len(self) -> usize {
        match self {
            Self::Other => 0,
            Self::V4 => 12,
            Self::V6 => ADDRESSES_MAX,
        }
    }

    /// The first of the addresses: the client's.
    fn source(self, addresses: &[u8]) -> Option<IpAddr> {
        match self {
            Self::Other => None,
            Self::V4 => addresses.first_chunk::<4>().map(|octets| (*octets).into()),
            Self::V6 => addresses.first_chunk::<16>().map(|octets| (*octets).into()),
        }
    }
}

/// Decodes a header from the beginning of some bytes: the client's address, if the header has one,
/// and the header's length. For fuzzers; a connection is read by [`read_header`].
pub(crate) fn decode(bytes: &[u8]) -> Option<(Option<IpAddr>, usize)> {
    let (head, rest) = bytes.split_first_chunk()?;
    let head = Head::parse(*head)?;
    let addresses = rest.get(..head.rest)?.get(..head.family.addresses_len())?;
    Some((head.family.source(addresses), HEAD_LEN + head.rest))
}

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

const HEAD_LEN: usize = 16;

/// Two IPv6 addresses and two ports.
const ADDRESSES_MAX: usize = 36;

/// Longest addresses and extensions together. The longest that proxies send are a host name, a
/// unique id and the names in a certificate, a few hundred bytes; more only keeps us busy.
const REST_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, rest].concat()
    }

    #[test]
    fn a_header_names_its_client() {
        let v4 = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
        let mut v6 = [0; 36];
        (v6[..4]).copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
        v6[15] = 7;
        let extended = [&v4[..], &[4, 0, 3, 1, 2, 3]].concat();
        for (command, family, rest, client) in [
            (0x21, 0x11, &v4[..], Some("203.0.113.9")),
            (0x21, 0x11, &extended, Some("203.0.113.9")),
            (0x21, 0x21, &v6, Some("2001:db8::7")),
            (0x20, 0x11, &v4, None),
            (0x20, 0x00, &[], None),
            (0x20, 0xff, &[1, 2, 3], None),
            (0x21, 0x00, &[], None),
            (0x21, 0x00, &[1, 2, 3], None),
            (0x21, 0x31, &[0; 216], None),
        ] {
            let bytes = header(command, family, rest);
            let client = client.map(|client| client.parse::<IpAddr>().unwrap());
            assert_eq!(decode(&bytes), Some((client, bytes.len())), "{command:x} {family:x}");
        }
    }

    #[test]
    fn anything_else_is_no_header() {
        let v4 = [0; 12];
        for bytes in [
            Vec::new(),
            b"PROXY TCP4 203.0.113.9 10.0.0.1 4660 80\r\n".to_vec(),
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            header(0x11, 0x11, &v4),
            header(0x31, 0x11, &v4),
            header(0x22, 0x11, &v4),
            header(0x21, 0x12, &v4),
            header(0x21, 0x22, &[0; 36]),
            header(0x21, 0x32, &[0; 216]),
            header(0x21, 0x40, &v4),
            header(0x21, 0x11, &v4[..11]),
            header(0x21, 0x21, &[0; 35]),
            header(0x21, 0x11, &[0; REST_MAX + 1]),
            header(0x20, 0x00, &[0; REST_MAX + 1]),
        ] {
            assert_eq!(decode(&bytes), None, "{bytes:x?}");
        }
        assert!(decode(&header(0x21, 0x11, &[0; REST_MAX])).is_some());
    }

    proptest! {
        #[test]
        fn a_cut_header_is_none_and_what_follows_does_not_matter(
            octets in any::<[u8; 4]>(),
            extensions in prop::collection::vec(any::<u8>(), 0..40),
            more in prop::collection::vec(any::<u8>(), 0..40),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = header(0x21, 0x11, &[&octets[..], &[0; 8], &extensions].concat());
            let expected = Some((Some(IpAddr::from(octets)), bytes.len()));
            prop_assert_eq!(decode(&[&bytes[..], &more].concat()), expected);
            prop_assert_eq!(decode(&bytes[..cut.index(bytes.len())]), None);
        }
    }
}
