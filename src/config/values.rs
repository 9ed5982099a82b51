//! Kinds of values, as text in the environment and as TOML in a file.
//!
//! Both sources are checked here, value by value, before anything is put together. So every wrong
//! value is reported at once, by the name under which it was set, and a value that looks like
//! another type (`0042`, `[a,b]`) stays what it is.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use figment::value::{Num, Value};
use ipnet::IpNet;
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::proxies::{HOPS_MAX, NETWORKS_MAX, PROXY_PROTOCOL};

/// What a key takes.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number from the first to the second.
    Integer(u64, u64),
    /// On or off.
    Bool,
    /// On, off, or what the deployment suggests.
    Switch,
    /// Texts, separated by commas in the environment.
    Texts,
    /// Whole numbers from the first to the second, separated by commas in the environment.
    Integers(u64, u64),
    /// How many proxies to trust, or that they speak the PROXY protocol.
    Proxies,
    /// Networks, separated by commas in the environment.
    Networks,
    /// An IP address.
    Ip,
    /// An IP address and port, or nothing.
    Socket,
}

impl Kind {
    /// Reads a value from the environment. `None` is a value that this kind does not take.
    pub(super) fn parse(self, text: &str) -> Option<Value> {
        let text = text.trim_ascii();
        let value = match self {
            Self::Text | Self::Word(_) | Self::Ip | Self::Socket => Value::from(text),
            Self::Integer(..) => integer(text)?,
            Self::Proxies => integer(text).unwrap_or_else(|| Value::from(text)),
            Self::Bool => Value::from(boolean(text)?),
            Self::Switch => match boolean(text) {
                Some(on) => Value::from(on),
                None => Value::from(text),
            },
            Self::Texts | Self::Networks => {
                Value::from(list(text).map(Value::from).collect::<Vec<_>>())
            }
            Self::Integers(..) => Value::from(list(text).map(integer).collect::<Option<Vec<_>>>()?),
        };
        self.takes(&value).then_some(value)
    }

    /// Whether a value is of this kind and in its range.
    pub(super) fn takes(self, value: &Value) -> bool {
        let text = value.as_str();
        match self {
            Self::Text => text.is_some(),
            Self::Word(words) => text.is_some_and(|text| words.contains(&text)),
            Self::Integer(min, max) => is_integer(value, min, max),
            Self::Proxies => is_integer(value, 0, HOPS_MAX) || text == Some(PROXY_PROTOCOL),
            Self::Bool => value.to_bool().is_some(),
            Self::Switch => value.to_bool().is_some() || text == Some("auto"),
            Self::Texts => value.as_array().is_some_and(|list| list.iter().all(is_text)),
            Self::Networks => value
                .as_array()
                .is_some_and(|list| list.len() <= NETWORKS_MAX && list.iter().all(is_network)),
            Self::Integers(min, max) => {
                value.as_array().is_some_and(|list| list.iter().all(|v| is_integer(v, min, max)))
            }
            Self::Ip => text.is_some_and(|text| text.parse::<IpAddr>().is_ok()),
            Self::Socket => {
                text.is_some_and(|text| text.is_empty() || text.parse::<SocketAddr>().is_ok())
            }
        }
    }

    /// Whether a value may be in a log: it says how the relay behaves and neither who runs it nor
    /// where anything is.
    pub(super) const fn is_harmless(self) -> bool {
        match self {
            Self::Word(_)
            | Self::Integer(..)
            | Self::Bool
            | Self::Switch
            | Self::Integers(..)
            | Self::Proxies => true,
            Self::Text | Self::Texts | Self::Networks | Self::Ip | Self::Socket => false,
        }
    }

    /// Whether an empty variable means the same as none. Container tools set empty variables for
    /// values that they do not have; only where empty is a value of its own does it count as one.
    pub(super) const fn empty_is_unset(self) -> bool {
        !matches!(self, Self::Text | Self::Texts | Self::Networks | Self::Socket)
    }
}

impl fmt::Display for Kind {
    /// Says what the kind takes, to follow "expected".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("a text"),
            Self::Word(words) => f.write_str(&words.join(" or ")),
            Self::Integer(min, max) => write!(f, "a whole number from {min} to {max}"),
            Self::Bool => f.write_str("true or false"),
            Self::Switch => f.write_str("auto, true or false"),
            Self::Texts => f.write_str("a list of texts"),
            Self::Integers(min, max) => {
                write!(f, "a list of whole numbers from {min} to {max}")
            }
            Self::Proxies => write!(
                f,
                "how many proxies are in front of the relay, 0 to {HOPS_MAX}, or {PROXY_PROTOCOL}; \
                 trusting all of X-Forwarded-For would let every client pick its own address"
            ),
            Self::Networks => write!(
                f,
                "a list of at most {NETWORKS_MAX} networks such as 10.0.0.0/8, 2001:db8::/32 or, \
                 for one address, 192.0.2.1/32"
            ),
            Self::Ip => f.write_str("an IP address such as 127.0.0.1, 0.0.0.0 or ::"),
            Self::Socket => {
                f.write_str("an IP address and port such as 127.0.0.1:9090, or nothing")
            }
        }
    }
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some()
}

fn is_network(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.parse::<IpNet>().is_ok())
}

fn is_integer(value: &Value, min: u64, max: u64) -> bool {
    let Value::Num(_, number) = value else { return false };
    whole(*number).is_some_and(|number| (u128::from(min)..=u128::from(max)).contains(&number))
}

/// A number as an unsigned integer, if it is one. TOML's integers are signed.
pub(super) fn whole(number: Num) -> Option<u128> {
    number.to_u128().or_else(|| number.to_i128()?.try_into().ok())
}

fn integer(text: &str) -> Option<Value> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits {
        return None;
    }
    text.parse::<u64>().ok().map(Value::from)
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "on" | "yes" => Some(true),
        "0" | "false" | "off" | "no" => Some(false),
        _ => None,
    }
}

/// The items between commas, without the spaces around them and without empty ones.
fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim_ascii).filter(|item| !item.is_empty())
}

/// On, off, or what the deployment suggests; `"auto"`, `true` and `false` in TOML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// What the deployment suggests.
    Auto,
    /// Off, whatever the deployment.
    Off,
    /// On, whatever the deployment.
    On,
}

impl Switch {
    /// Whether it is on, where `auto` is what the deployment suggests.
    pub const fn is_on(self, auto: bool) -> bool {
        match self {
            Self::Auto => auto,
            Self::Off => false,
            Self::On => true,
        }
    }
}

impl Serialize for Switch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Off => serializer.serialize_bool(false),
            Self::On => serializer.serialize_bool(true),
        }
    }
}

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SwitchVisitor;

        impl Visitor<'_> for SwitchVisitor {
            type Value = Switch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&Kind::Switch, f)
            }

            fn visit_bool<E: serde::de::Error>(self, on: bool) -> Result<Switch, E> {
                Ok(if on { Switch::On } else { Switch::Off })
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Switch, E> {
                match text {
                    "auto" => Ok(Switch::Auto),
                    _ => Err(E::custom("expected auto, true or false")),
                }
            }
        }

        deserializer.deserialize_any(SwitchVisitor)
    }
}

/// An address and port that may be missing, as a text that may be empty.
pub(super) mod optional_socket {
    use std::net::SocketAddr;

    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
    pub(crate) fn serialize<S: Serializer>(
        address: &Option<SocketAddr>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match address {
            Some(address) => serializer.collect_str(address),
            None => serializer.serialize_str(""),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SocketAddr>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_have_eight_spellings() {
        for text in ["1", "true", "on", "yes", "TRUE", " Yes "] {
            assert_eq!(Kind::Bool.parse(text), Some(Value::from(true)), "{text}");
        }
        for text in ["0", "false", "off", "no", "Off"] {
            assert_eq!(Kind::Bool.parse(text), Some(Value::from(false)), "{text}");
        }
        for text in ["", "2", "enabled", "auto", "tru"] {
            assert_eq!(Kind::Bool.parse(text), None, "{text}");
        }
        assert_eq!(Kind::Switch.parse("auto"), Some(Value::from("auto")));
        assert_eq!(Kind::Switch.parse("no"), Some(Value::from(false)));
        assert_eq!(Kind::Switch.parse("maybe"), None);
    }

    #[test]
    fn integers_are_digits_in_a_range() {
        let kind = Kind::Integer(5, 50);
        assert_eq!(kind.parse("0042"), Some(Value::from(42_u64)));
        for text in ["4", "51", "-5", "+5", "5.0", "5e0", "0x5", "5 5", "", "99999999999999999999"]
        {
            assert_eq!(kind.parse(text), None, "{text}");
        }
        assert!(kind.takes(&Value::from(5)) && kind.takes(&Value::from(50_u8)));
        for value in [Value::from(-5), Value::from(5.0), Value::from("5"), Value::from(true)] {
            assert!(!kind.takes(&value), "{value:?}");
        }
    }

    #[test]
    fn text_stays_text() {
        for text in ["0042", "true", "[a,b]", "{x=1}", "1e3", "\"quoted\""] {
            assert_eq!(Kind::Text.parse(text), Some(Value::from(text)), "{text}");
        }
    }

    #[test]
    fn lists_are_separated_by_commas() {
        let texts = |items: &[&str]| {
            Some(Value::from(items.iter().map(|item| Value::from(*item)).collect::<Vec<_>>()))
        };
        assert_eq!(Kind::Texts.parse(" a ,b,, c,"), texts(&["a", "b", "c"]));
        assert_eq!(Kind::Texts.parse(""), texts(&[]));
        assert!(Kind::Integers(1, 9).parse("1, 2,9").is_some());
        assert!(Kind::Integers(1, 9).parse("1,10").is_none());
        assert!(Kind::Integers(1, 9).parse("1;2").is_none());
    }

    #[test]
    fn addresses_are_numeric() {
        assert!(Kind::Ip.parse("::1").is_some() && Kind::Ip.parse("0.0.0.0").is_some());
        assert!(Kind::Ip.parse("localhost").is_none() && Kind::Ip.parse("1.2.3.4:5").is_none());
        assert!(Kind::Socket.parse("").is_some() && Kind::Socket.parse("[::]:9090").is_some());
        assert!(Kind::Socket.parse("9090").is_none() && Kind::Socket.parse("::1:99999x").is_none());
    }

    #[test]
    fn networks_are_addresses_with_a_length() {
        let all = " 10.0.0.0/8, 192.0.2.1/32,2001:db8::/32,::1/128,0.0.0.0/0 ";
        assert!(Kind::Networks.parse(all).is_some() && Kind::Networks.parse("").is_some());
        for text in ["10.0.0.1", "10.0.0.0/33", "10/8", "::/129", "localhost", "10.0.0.0/8;::/0"] {
            assert!(Kind::Networks.parse(text).is_none(), "{text}");
        }
        let many = |count: usize| vec!["10.0.0.0/8"; count].join(",");
        assert!(Kind::Networks.parse(&many(256)).is_some());
        assert!(Kind::Networks.parse(&many(257)).is_none());
    }

    #[test]
    fn a_switch_follows_the_deployment_only_on_auto() {
        for auto in [false, true] {
            assert_eq!(Switch::Auto.is_on(auto), auto);
            assert!(Switch::On.is_on(auto));
            assert!(!Switch::Off.is_on(auto));
        }
    }
}
