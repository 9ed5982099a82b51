//! Whose pages may use this relay: the exact list of origins, and the answers to preflights.
//!
//! There is no ambient credential to protect, so an absent `Origin` is a native client and fine;
//! browsers always send it. A present one must be listed, letter for letter: no patterns, no
//! suffixes, no `null`. The built-in page's own origin is allowed while the page is served.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HOST, HeaderMap, HeaderName,
    HeaderValue, ORIGIN, VARY,
};

use super::fields::Fields;
use crate::config::Config;

/// The origins that may use this relay.
pub(crate) struct Origins {
    listed: Vec<String>,
    /// Any page at all; for development only, the configuration checks that.
    any: bool,
    /// Any port of this machine; for development only.
    localhost: bool,
    /// The origin that the built-in page has, as the `Host` of the same request says.
    page: bool,
    max_age_s: u32,
}

/// Who asks, by the `Origin` of the request.
pub(crate) enum Asker {
    /// No browser.
    Native,
    /// A page of an allowed origin.
    Page(HeaderValue),
    /// A page of any other origin.
    Stranger,
}

impl Origins {
    pub(crate) fn new(config: &Config) -> Self {
        let mut listed = Vec::new();
        if config.feature.cors {
            listed.clone_from(&config.cors.allowed_origins);
        }
        let any = listed.iter().any(|origin| origin == "*");
        let localhost = config.feature.cors && listed.is_empty() && !config.is_production();
        if !config.server.public_url.is_empty() {
            listed.push(config.server.public_url.clone());
        }
        let page = config.demo_page();
        Self { listed, any, localhost, page, max_age_s: config.cors.max_age_s }
    }

    /// Finds out who asks. More than one `Origin` is a stranger.
    pub(super) fn asker(&self, fields: &(impl Fields + ?Sized)) -> Asker {
        if fields.all(&ORIGIN).next().is_none() {
            return Asker::Native;
        }
        let allowed = fields.single(&ORIGIN).filter(|origin| self.allows(origin, fields));
        let origin = allowed.and_then(|origin| HeaderValue::from_str(origin).ok());
        origin.map_or(Asker::Stranger, Asker::Page)
    }

    fn allows(&self, origin: &str, fields: &(impl Fields + ?Sized)) -> bool {
        if origin == "null" {
            return false;
        }
        let listed = self.listed.iter().any(|listed| listed == origin);
        let same_host = || {
            let host = fields.texts(&HOST).next().flatten();
            host.is_some() && authority(origin) == host
        };
        self.any || listed || self.localhost && is_localhost(origin) || self.page && same_host()
    }

    /// What a preflight is told, for a path that takes `methods`.
    pub(crate) fn preflight(&self, methods: &'static str, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(self.max_age_s));
    }
}

impl Asker {
    /// What lets the asking page read the answer, and nobody else keep it.
    pub(super) fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let page = match self {
            Self::Page(origin) => Some([
                (ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()),
                (ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED)),
            ]),
            Self::Native | Self::Stranger => None,
        };
        let vary = (VARY, HeaderValue::from_static("origin"));
        std::iter::once(vary).chain(page.into_iter().flatten())
    }
}

const EXPOSED: &str = "retry-after, ratelimit, ratelimit-policy, x-request-id";

fn authority(origin: &str) -> Option<&str> {
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
}

/// `http` or `https`, one of this machine's three names, and any port.
fn is_localhost(origin: &str) -> bool {
    let Some(authority) = authority(origin) else { return false };
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| {
        authority.strip_prefix(host).is_some_and(|rest| match rest.strip_prefix(':') {
            None => rest.is_empty(),
            Some(port) => {
                port.parse::<u16>().is_ok() && port.bytes().all(|byte| byte.is_ascii_digit())
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn origins(adjust: impl FnOnce(&mut Config)) -> Origins {
        let mut config = Config::default();
        adjust(&mut config);
        Origins::new(&config)
    }

    fn allows(origins: &Origins, origin: &'static str) -> bool {
        let headers = headers(&[("origin", origin), ("host", "192.0.2.1:8080")]);
        matches!(origins.asker(&headers), Asker::Page(_))
    }

    #[test]
    fn a_listed_origin_is_matched_letter_for_letter() {
        let origins = origins(|c| c.cors.allowed_origins = vec!["https://chat.example".to_owned()]);
        assert!(allows(&origins, "https://chat.example"));
        for other in [
            "http://chat.example",
            "https://chat.example:443",
            "https://chat.example/",
            "https://CHAT.example",
            "https://evil.chat.example",
            "https://chat.example.evil",
            "https://xchat.example",
            "http://localhost:8080",
            "null",
            "",
        ] {
            assert!(!allows(&origins, other), "{other}");
        }
    }

    #[test]
    fn in_development_any_port_of_localhost_will_do() {
        let origins = origins(|_| ());
        for good in
            ["http://localhost", "https://localhost:3000", "http://127.0.0.1:1", "http://[::1]:80"]
        {
            assert!(allows(&origins, good), "{good}");
        }
        for bad in [
            "http://localhost.evil",
            "http://localhost:",
            "http://localhost:x",
            "http://localhost:+80",
            "http://localhost:99999",
            "http://127.0.0.1.evil:80",
            "http://evil/localhost",
            "ftp://localhost",
            "localhost",
            "null",
        ] {
            assert!(!allows(&origins, bad), "{bad}");
        }
    }

    #[test]
    fn the_built_in_page_may_use_the_relay_that_served_it() {
        assert!(allows(&origins(|_| ()), "http://192.0.2.1:8080"));
        let without = origins(|c| c.feature.demo_page = crate::config::Switch::Off);
        assert!(!allows(&without, "http://192.0.2.1:8080"));
        let public = origins(|c| c.server.public_url = "https://relay.example".to_owned());
        assert!(allows(&public, "https://relay.example"));
    }

    #[test]
    fn without_the_feature_no_other_origin_is_allowed() {
        let off = origins(|c| {
            c.feature.cors = false;
            c.cors.allowed_origins = vec!["https://chat.example".to_owned()];
        });
        assert!(!allows(&off, "https://chat.example"));
        assert!(!allows(&off, "http://localhost:3000"));
    }

    #[test]
    fn two_origins_are_a_stranger_and_none_is_no_browser() {
        let origins = origins(|c| c.cors.allowed_origins = vec!["*".to_owned()]);
        assert!(allows(&origins, "https://anything.example"));
        assert!(!allows(&origins, "null"));
        let two = headers(&[("origin", "http://localhost"), ("origin", "http://localhost")]);
        assert!(matches!(origins.asker(&two), Asker::Stranger));
        assert!(matches!(origins.asker(&headers(&[])), Asker::Native));
    }
}
