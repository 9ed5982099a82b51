//! The address of a relay, as people and `PUBLIC_URL` write it.

use hyper::Uri;

/// Where a relay is: scheme, host, port and what stands before its own paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// Whether TLS is spoken.
    pub(crate) secure: bool,
    /// A name or an address; an IPv6 address without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Nothing, or a path that starts with a slash and does not end with one.
    pub(crate) base: String,
}

impl Url {
    /// Parses `https://`, `wss://`, `http://` or `ws://`, a host, and optionally a port and a path.
    /// A path that ends in `/v1/ws`, as a relay tells it, is the relay's own.
    ///
    /// # Errors
    ///
    /// One sentence for the person who wrote it; it does not repeat what was written.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|_| EXPECTED.to_owned())?;
        let secure = match uri.scheme_str() {
            Some("https" | "wss") => true,
            Some("http" | "ws") => false,
            _ => return Err(EXPECTED.to_owned()),
        };
        let authority = uri.authority().ok_or_else(|| EXPECTED.to_owned())?;
        if authority.as_str().contains('@') || uri.query().is_some() || text.contains('#') {
            return Err("expected an address without user, query and fragment".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str().len() == authority.host().len() => default_port(secure),
            None => return Err(EXPECTED.to_owned()),
        };
        if host.is_empty() || port == 0 {
            return Err(EXPECTED.to_owned());
        }
        let path = uri.path().trim_end_matches('/');
        let base = path.strip_suffix("/v1/ws").unwrap_or(path).trim_end_matches('/').to_owned();
        Ok(Self { secure, host, port, base })
    }

    /// Host and port as in a `Host` field: without the port where it is the scheme's own.
    pub(crate) fn authority(&self) -> String {
        let Self { secure, host, port, .. } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        if *port == default_port(*secure) { host } else { format!("{host}:{port}") }
    }

    /// The path of one of the relay's own resources, as in `/v1/info`.
    pub(crate) fn path(&self, of: &str) -> String {
        format!("{}{of}", self.base)
    }

    /// The address as a WebSocket client writes it, without a path.
    pub(crate) fn to_ws(&self) -> String {
        format!("{}://{}{}", if self.secure { "wss" } else { "ws" }, self.authority(), self.base)
    }
}

const fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

const EXPECTED: &str = "expected an address like https://relay.example or http://127.0.0.1:8080";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_what_stands_before_the_paths() {
        for (text, secure, host, port, base, ws) in [
            ("https://relay.example", true, "relay.example", 443, "", "wss://relay.example"),
            ("wss://relay.example:443/", true, "relay.example", 443, "", "wss://relay.example"),
            ("wss://relay.example/v1/ws", true, "relay.example", 443, "", "wss://relay.example"),
            ("ws://[::1]:80", false, "::1", 80, "", "ws://[::1]"),
            ("http://127.0.0.1:8080", false, "127.0.0.1", 8080, "", "ws://127.0.0.1:8080"),
            ("https://a.b:9/x/", true, "a.b", 9, "/x", "wss://a.b:9/x"),
            ("https://a.b/x/v1/ws", true, "a.b", 443, "/x", "wss://a.b/x"),
        ] {
            let (host, base) = (host.to_owned(), base.to_owned());
            let url = Url::parse(text).unwrap();
            assert_eq!(url, Url { secure, host, port, base }, "{text}");
            assert_eq!(url.to_ws(), ws, "{text}");
        }
        assert_eq!(Url::parse("https://a/x").unwrap().path("/v1/info"), "/x/v1/info");
    }

    #[test]
    fn anything_else_is_refused_without_repeating_it() {
        for text in [
            "",
            "relay.example",
            "relay.example:443",
            "ftp://relay.example",
            "https://",
            "https:///x",
            "https://a:b@relay.example",
            "https://relay.example?x",
            "https://relay.example#secret",
            "https://relay.example:0",
            "https://relay.example:99999",
            "https://relay.example:",
            "https://a b",
            "https://a/\r\nX: y",
        ] {
            let error = Url::parse(text).expect_err(text);
            assert!(error.starts_with("expected an address"), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
