//! Which prefixes an address counts for, and what stands for them in memory.
//!
//! IPv4 counts by the whole address. An IPv6 customer has at least a /64, often a /56, sometimes a
//! /48, and can use all of it: so an IPv6 address counts for all three, each with its own ceilings.
//! A prefix is kept as a keyed hash under a random salt. Whoever can read this process' memory can
//! try all IPv4 addresses: the hash keeps them out of tables and dumps of tables, no more.

use std::net::IpAddr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What stands for a prefix, under one salt.
pub(super) type Key = [u8; 8];

/// How wide a prefix is: which of the ceilings hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// An IPv4 address, or an IPv6 /64.
    Narrow,
    /// An IPv6 /56.
    Wide,
    /// An IPv6 /48.
    Widest,
}

impl Width {
    /// How many there are.
    pub(super) const COUNT: usize = 3;

    /// Every width of an address, the widest first: who is refused there needs no narrower entry,
    /// so whoever has a whole /48 cannot fill the table from it.
    pub(super) const fn all_of(ip: IpAddr) -> &'static [Self] {
        match ip.to_canonical() {
            IpAddr::V4(_) => &[Self::Narrow],
            IpAddr::V6(_) => &[Self::Widest, Self::Wide, Self::Narrow],
        }
    }

    /// How many bytes of an IPv6 address count.
    const fn bytes(self) -> usize {
        match self {
            Self::Narrow => 8,
            Self::Wide => 7,
            Self::Widest => 6,
        }
    }
}

/// A random salt and what it makes of prefixes.
pub(super) struct Salt(Hmac<Sha256>);

impl Salt {
    /// Fails if the kernel has no random bytes.
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let mut salt = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(salt.as_mut_slice())?;
        let salted = Hmac::new_from_slice(salt.as_slice()).expect("a key of any length will do");
        Ok(Self(salted))
    }

    /// The key of an address' prefix. Prefixes of different widths differ in length, so no two of
    /// them share a key.
    pub(super) fn key(&self, ip: IpAddr, width: Width) -> Key {
        let mut hash = self.0.clone();
        match ip.to_canonical() {
            IpAddr::V4(ip) => hash.update(&ip.octets()),
            IpAddr::V6(ip) => {
                let octets = ip.octets();
                hash.update(octets.get(..width.bytes()).expect("no prefix is above 16 bytes"));
            }
        }
        let hash = hash.finalize().into_bytes();
        *hash.first_chunk().expect("8 is below 32")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn keys(salt: &Salt, text: &str) -> Vec<Key> {
        let ip: IpAddr = text.parse().unwrap();
        Width::all_of(ip).iter().map(|width| salt.key(ip, *width)).collect()
    }

    #[test]
    fn an_ipv6_address_counts_for_three_prefixes() {
        let salt = Salt::new().unwrap();
        let own = keys(&salt, "2001:db8:1:1100::1");
        assert_eq!(own.len(), 3);
        for (other, shared) in [
            ("2001:db8:1:1100:ffff:ffff:ffff:ffff", [true, true, true]),
            ("2001:db8:1:1101::1", [true, true, false]),
            ("2001:db8:1:1200::1", [true, false, false]),
            ("2001:db8:2:1100::1", [false, false, false]),
        ] {
            let same: Vec<_> = own.iter().zip(keys(&salt, other)).map(|(a, b)| *a == b).collect();
            assert_eq!(same, shared, "{other}");
        }
        let all_zero = keys(&salt, "2001:db8::1");
        assert!(all_zero[0] != all_zero[1] && all_zero[1] != all_zero[2]);
    }

    #[test]
    fn mapped_ipv4_is_ipv4_and_each_address_is_its_own() {
        let salt = Salt::new().unwrap();
        let v4 = Ipv4Addr::new(192, 0, 2, 1);
        let mapped = IpAddr::V6(v4.to_ipv6_mapped());
        assert_eq!(Width::all_of(mapped), [Width::Narrow]);
        assert!(salt.key(mapped, Width::Narrow) == salt.key(v4.into(), Width::Narrow));
        let next = Ipv4Addr::new(192, 0, 2, 2).into();
        assert!(salt.key(next, Width::Narrow) != salt.key(v4.into(), Width::Narrow));
        // Deprecated "IPv4-compatible" addresses are not mapped ones.
        let compatible = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0xc000, 0x201).into();
        assert_eq!(Width::all_of(compatible).len(), 3);
    }

    #[test]
    fn another_salt_makes_another_key() {
        let ip = Ipv4Addr::new(192, 0, 2, 1).into();
        let key = || Salt::new().unwrap().key(ip, Width::Narrow);
        assert!(key() != key());
    }
}
