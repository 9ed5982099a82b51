//! Who is trusted to say where a client connects from.
//!
//! Three ways and no guessing between them: whoever could choose the way could choose an address.

use std::fmt;
use std::num::NonZeroU8;

use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::values::Kind;

/// Where the address of a client comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustProxy {
    /// From the socket: there is no proxy in front. `0` in TOML.
    Nobody,
    /// From `X-Forwarded-For`, so many entries from the right. `1` to `10` in TOML.
    Forwarded(NonZeroU8),
    /// From the PROXY protocol header that every connection begins with. `"proxy-protocol"` in TOML.
    ProxyProtocol,
}

impl From<u8> for TrustProxy {
    fn from(hops: u8) -> Self {
        NonZeroU8::new(hops).map_or(Self::Nobody, Self::Forwarded)
    }
}

impl Serialize for TrustProxy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nobody => serializer.serialize_u8(0),
            Self::Forwarded(hops) => serializer.serialize_u8(hops.get()),
            Self::ProxyProtocol => serializer.serialize_str(PROXY_PROTOCOL),
        }
    }
}

impl<'de> Deserialize<'de> for TrustProxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TrustVisitor;

        impl Visitor<'_> for TrustVisitor {
            type Value = TrustProxy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&Kind::Proxies, f)
            }

            fn visit_u64<E: serde::de::Error>(self, hops: u64) -> Result<TrustProxy, E> {
                let hops = u8::try_from(hops).ok().filter(|hops| u64::from(*hops) <= HOPS_MAX);
                hops.map(TrustProxy::from).ok_or_else(|| E::custom("too many proxies"))
            }

            fn visit_i64<E: serde::de::Error>(self, hops: i64) -> Result<TrustProxy, E> {
                self.visit_u64(u64::try_from(hops).map_err(|_| E::custom("below zero"))?)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<TrustProxy, E> {
                match text {
                    PROXY_PROTOCOL => Ok(TrustProxy::ProxyProtocol),
                    _ => Err(E::custom("neither a number nor proxy-protocol")),
                }
            }
        }

        deserializer.deserialize_any(TrustVisitor)
    }
}

/// What stands for [`TrustProxy::ProxyProtocol`].
pub(super) const PROXY_PROTOCOL: &str = "proxy-protocol";

/// Most proxies that can be trusted one behind the other.
pub(super) const HOPS_MAX: u64 = 10;

/// Most networks of trusted proxies: each new connection looks at all of them.
pub(super) const NETWORKS_MAX: usize = 256;
