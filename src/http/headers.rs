//! Header fields that every answer but a 101 carries.
//!
//! Two sets, made once at the start: one for answers of the interface, where nothing is a document,
//! and one for the built-in page. A request id is random and made here; one that a client sends is
//! ignored, because it would let a client mark requests across nodes and logs.

use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue,
    REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

use crate::config::Config;
use crate::core::id::to_base64url;

/// The fixed header fields of this deployment.
pub(crate) struct Fixed {
    interface: HeaderMap,
    page: HeaderMap,
    request_id: bool,
}

/// What kind of answer is dressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dress {
    /// JSON, text or nothing.
    Interface,
    /// A file of the built-in page.
    Page,
    /// A 101, which no browser shows to anybody and no cache keeps.
    Upgrade,
}

impl Fixed {
    /// Fails if a configured value cannot be a header field.
    pub(crate) fn new(config: &Config) -> Result<Self, InvalidHeaderValue> {
        let mut common = HeaderMap::new();
        common.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let (mut interface, mut page) = (common.clone(), common);
        if config.feature.security_headers {
            for headers in [&mut interface, &mut page] {
                for (name, value) in COMMON {
                    headers.insert(name, HeaderValue::from_static(value));
                }
                if let Some(value) = hsts(config) {
                    headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_str(&value)?);
                }
            }
            let policy = HeaderValue::from_str(&config.headers.csp)?;
            interface.insert(CONTENT_SECURITY_POLICY, policy);
            page.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_str(&page_policy(config))?);
            page.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
        }
        Ok(Self { interface, page, request_id: config.feature.request_id })
    }

    /// Adds the fixed fields and a fresh request id.
    pub(crate) fn dress(&self, headers: &mut HeaderMap, dress: Dress) {
        let fixed = match dress {
            Dress::Interface => &self.interface,
            Dress::Page => &self.page,
            Dress::Upgrade => return,
        };
        headers.extend(fixed.iter().map(|(name, value)| (name.clone(), value.clone())));
        if self.request_id
            && let Some(id) = request_id()
        {
            headers.insert(X_REQUEST_ID, id);
        }
    }
}

/// 16 random bytes; none if the kernel has no random bytes, because a fixed id is worse than none.
fn request_id() -> Option<HeaderValue> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).ok()?;
    HeaderValue::from_str(&to_base64url(&id)).ok()
}

fn hsts(config: &Config) -> Option<String> {
    let headers = &config.headers;
    let subdomains = if headers.hsts_include_subdomains { "; includeSubDomains" } else { "" };
    let preload = if headers.hsts_preload { "; preload" } else { "" };
    let age = headers.hsts_max_age_s;
    (age > 0).then(|| format!("max-age={age}{subdomains}{preload}"))
}

/// The policy of the built-in page. It may talk to where it came from, and to the relay's public
/// address if that is another.
fn page_policy(config: &Config) -> String {
    let mut connect = String::from("'self'");
    if let Some(ws) = config.server.public_ws() {
        connect = format!("{connect} {} {ws}", config.server.public_url);
    }
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src {connect}; \
         img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// Nothing of the browser is needed, except that the page copies and shares its own links.
const PERMISSIONS: &str = "accelerometer=(), autoplay=(), camera=(), clipboard-read=(), \
    clipboard-write=(self), display-capture=(), encrypted-media=(), fullscreen=(), \
    geolocation=(), gyroscope=(), hid=(), magnetometer=(), microphone=(), midi=(), payment=(), \
    picture-in-picture=(), publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=(), \
    xr-spatial-tracking=()";

const COMMON: [(HeaderName, &str); 5] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("permissions-policy"), PERMISSIONS),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn dressed(adjust: impl FnOnce(&mut Config), dress: Dress) -> HeaderMap {
        let mut config = Config::default();
        adjust(&mut config);
        let mut headers = HeaderMap::new();
        Fixed::new(&config).unwrap().dress(&mut headers, dress);
        headers
    }

    #[test]
    fn hsts_is_sent_when_the_deployment_says_tls() {
        let hsts = |adjust: fn(&mut Config)| {
            let headers = dressed(adjust, Dress::Interface);
            headers.get(STRICT_TRANSPORT_SECURITY).map(|v| v.to_str().unwrap().to_owned())
        };
        assert_eq!(hsts(|_| ()), None);
        assert_eq!(hsts(|c| c.headers.hsts_max_age_s = 300).as_deref(), Some("max-age=300"));
        let all = hsts(|c| {
            c.headers.hsts_max_age_s = 300;
            c.headers.hsts_include_subdomains = true;
            c.headers.hsts_preload = true;
        });
        assert_eq!(all.as_deref(), Some("max-age=300; includeSubDomains; preload"));
    }

    #[test]
    fn toggles_take_fields_away_but_caching_stays_off() {
        let headers = dressed(
            |c| (c.feature.security_headers, c.feature.request_id) = (false, false),
            Dress::Page,
        );
        assert_eq!(headers.len(), 1);
        assert_eq!(headers[CACHE_CONTROL], "no-store");
    }

    #[test]
    fn request_ids_are_fresh() {
        let id = || dressed(|_| (), Dress::Interface)[X_REQUEST_ID].clone();
        assert_ne!(id(), id());
        assert_eq!(id().len(), 22);
    }

    #[test]
    fn the_page_may_talk_to_the_public_address() {
        let policy = |url: &str| {
            let headers = dressed(|c| url.clone_into(&mut c.server.public_url), Dress::Page);
            headers[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned()
        };
        assert!(policy("").contains("; connect-src 'self'; "));
        let public = policy("https://relay.example");
        let expected = "; connect-src 'self' https://relay.example wss://relay.example; ";
        assert!(public.contains(expected), "{public}");
    }

    #[test]
    fn a_policy_that_cannot_be_a_header_is_an_error() {
        let mut config = Config::default();
        config.headers.csp = "default-src\n'none'".to_owned();
        assert!(Fixed::new(&config).is_err());
    }
}
