//! The arithmetic of Redis Cluster: which of its slots a partition is in, and who is where.

use redis::ConnectionAddr;

use super::link::{Link, Server};

/// Slots of a cluster.
const SLOTS: u16 = 16384;

/// The slot of keys with a partition's number in braces.
pub(super) fn of_partition(partition: usize) -> u16 {
    crc16(partition.to_string().as_bytes()) % SLOTS
}

/// CRC-16/XMODEM, as the specification of Redis Cluster asks for.
fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0_u16;
    for byte in bytes {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1021;
            }
        }
    }
    crc
}

/// The host of an address.
pub(super) fn host(address: &ConnectionAddr) -> String {
    match address {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
        _ => String::new(),
    }
}

/// The host and port of a link.
pub(super) fn place(link: &Link) -> (String, u16) {
    let Server::Fixed(info) = &link.server else { return (String::new(), 0) };
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            (host.clone(), *port)
        }
        _ => (String::new(), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert!((0..256).all(|partition| of_partition(partition) < SLOTS));
    }

    #[test]
    fn partitions_are_spread_over_three_masters() {
        let mut counts = [0; 3];
        for partition in 0..256 {
            counts[usize::from(of_partition(partition)) * 3 / usize::from(SLOTS)] += 1;
        }
        assert!(counts.iter().all(|count| (60..=110).contains(count)), "{counts:?}");
    }
}
