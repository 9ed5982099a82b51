//! Who is at the other end: the client's address, behind a fixed number of trusted proxies.
//!
//! Without proxies it is the socket's, and behind the PROXY protocol what that said before HTTP began.
//! With N proxies it is the Nth entry from the right of all `X-Forwarded-For` lines together; whatever
//! stands left of it, anybody could have written. Fewer entries than proxies, or a peer that is none of
//! them, means that the request took another way, and it is refused.

use std::net::{IpAddr, SocketAddr};

use hyper::header::HeaderName;

use super::fields::Fields;
use crate::config::{Server, TrustProxy};

/// The address of the client, or `None` if the proxies' part of the list is missing, malformed or not
/// from a proxy. `peer` is who the connection itself is from.
pub(super) fn address(
    peer: IpAddr,
    fields: &(impl Fields + ?Sized),
    server: &Server,
) -> Option<IpAddr> {
    let TrustProxy::Forwarded(hops) = server.trust_proxy else { return Some(peer) };
    if !server.trusts(peer) {
        return None;
    }
    let name = HeaderName::from_static("x-forwarded-for");
    let entries = fields.all(&name).flat_map(|line| line.split(|byte| *byte == b','));
    // The lines come in one direction only; there are no more of them than a head has.
    let entries: Vec<_> = entries.collect();
    let entry = entries.into_iter().rev().nth(usize::from(hops.get()) - 1)?;
    parse(std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']))
}

/// An address, in the forms that proxies write: bare, with a port, or in brackets.
fn parse(entry: &str) -> Option<IpAddr> {
    let bare = || entry.parse::<IpAddr>().ok();
    let with_port = || entry.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    bare().or_else(with_port).or_else(bracketed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderMap, HeaderValue};

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 200));

    fn behind(proxies: u8, lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_str(line).unwrap());
        }
        let mut server = crate::config::Config::default().server;
        server.trust_proxy = proxies.into();
        address(PEER, &headers, &server).map(|address| address.to_string())
    }

    #[test]
    fn only_the_listed_proxies_are_believed() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_static("203.0.113.9"));
        let mut server = crate::config::Config::default().server;
        server.trust_proxy = 1.into();
        server.trust_proxy_from = vec!["192.0.2.0/24".parse().unwrap()];
        let client = "203.0.113.9".parse().unwrap();
        assert_eq!(address(PEER, &headers, &server), Some(client));
        assert_eq!(address("192.0.3.1".parse().unwrap(), &headers, &server), None);
    }

    #[test]
    fn behind_the_proxy_protocol_the_header_is_the_clients_own_invention() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_static("203.0.113.9"));
        let mut server = crate::config::Config::default().server;
        server.trust_proxy = TrustProxy::ProxyProtocol;
        assert_eq!(address(PEER, &headers, &server), Some(PEER));
    }

    #[test]
    fn without_proxies_the_header_is_the_clients_own_invention() {
        assert_eq!(behind(0, &["203.0.113.9"]).as_deref(), Some("192.0.2.200"));
        assert_eq!(behind(0, &[]).as_deref(), Some("192.0.2.200"));
    }

    #[test]
    fn the_nth_from_the_right_counts_over_all_lines() {
        let spoofed = ["6.6.6.6, 203.0.113.1", "203.0.113.2,203.0.113.3"];
        assert_eq!(behind(1, &spoofed).as_deref(), Some("203.0.113.3"));
        assert_eq!(behind(2, &spoofed).as_deref(), Some("203.0.113.2"));
        assert_eq!(behind(3, &spoofed).as_deref(), Some("203.0.113.1"));
        assert_eq!(behind(5, &spoofed), None, "fewer entries than proxies");
        assert_eq!(behind(1, &[]), None);
        assert_eq!(behind(2, &["203.0.113.1"]), None);
    }

    #[test]
    fn an_entry_is_an_address_and_nothing_else() {
        for (entry, address) in [
            ("203.0.113.1", Some("203.0.113.1")),
            (" 203.0.113.1\t", Some("203.0.113.1")),
            ("203.0.113.1:4711", Some("203.0.113.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:4711", Some("2001:db8::1")),
            ("::ffff:203.0.113.1", Some("::ffff:203.0.113.1")),
            ("fe80::1%eth0", None),
            ("unknown", None),
            ("_hidden", None),
            ("", None),
            ("203.0.113.1 203.0.113.2", None),
            ("0x7f.1", None),
        ] {
            assert_eq!(behind(1, &[entry]).as_deref(), address, "{entry}");
        }
        assert_eq!(behind(1, &["203.0.113.1, "]), None, "the last one is empty");
    }
}
