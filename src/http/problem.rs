//! Error answers: `application/problem+json` as in RFC 9457.
//!
//! A closed list of problems, each with its status, type and title. Nothing of a request is ever
//! repeated; the optional `detail` is one of our own fixed sentences and is left out in production.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, UPGRADE};
use serde::Serialize;

use super::ready::{Failed, Readiness};
use super::{Answer, answer};

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Malformed JSON, an unknown field, a value that is not canonical, a malformed handshake.
    BadRequest,
    /// Unknown room or wrong key; which of them is not said.
    AdmissionFailed,
    /// The page's origin is not listed.
    OriginDenied,
    /// No such path, or no such member.
    NotFound,
    /// Another method is needed.
    MethodNotAllowed,
    /// The body took too long.
    RequestTimeout,
    /// The room has as many members as it takes.
    RoomFull,
    /// The room was closed.
    RoomClosed,
    /// The body's length has to be told before.
    LengthRequired,
    /// The body is too large.
    ContentTooLarge,
    /// The body is not JSON.
    UnsupportedMediaType,
    /// The room takes no new members.
    RoomLocked,
    /// A plain request where a WebSocket handshake of version 13 is needed.
    UpgradeRequired,
    /// One address took too much.
    QuotaExceeded,
    /// The relay is at capacity, short of memory or about to stop.
    ReducedCapacity,
}

impl Kind {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 15] = [
        Self::BadRequest,
        Self::AdmissionFailed,
        Self::OriginDenied,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::RoomFull,
        Self::RoomClosed,
        Self::LengthRequired,
        Self::ContentTooLarge,
        Self::UnsupportedMediaType,
        Self::RoomLocked,
        Self::UpgradeRequired,
        Self::QuotaExceeded,
        Self::ReducedCapacity,
    ];

    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::AdmissionFailed | Self::OriginDenied => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::RoomFull => StatusCode::CONFLICT,
            Self::RoomClosed => StatusCode::GONE,
            Self::LengthRequired => StatusCode::LENGTH_REQUIRED,
            Self::ContentTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::RoomLocked => StatusCode::LOCKED,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::QuotaExceeded => StatusCode::TOO_MANY_REQUESTS,
            Self::ReducedCapacity => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The problem's name; `about:blank` where the status says it all.
    const fn type_and_title(self) -> (&'static str, &'static str) {
        match self {
            Self::BadRequest => ("urn:lethewire:problem:bad-request", "Bad request"),
            Self::AdmissionFailed => {
                ("urn:lethewire:problem:admission-failed", "Unknown room or wrong key")
            }
            Self::OriginDenied => ("urn:lethewire:problem:origin-denied", "Origin not allowed"),
            Self::RoomFull => ("urn:lethewire:problem:room-full", "The room is full"),
            Self::RoomClosed => ("urn:lethewire:problem:room-closed", "The room is closed"),
            Self::RoomLocked => ("urn:lethewire:problem:room-locked", "The room is locked"),
            // Registered by IANA for the RateLimit header fields.
            Self::QuotaExceeded => (
                "https://iana.org/assignments/http-problem-types#quota-exceeded",
                "Too many requests from one address",
            ),
            Self::ReducedCapacity => (
                "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
                "The relay is at capacity or about to stop",
            ),
            Self::NotFound => ("about:blank", "Not Found"),
            Self::MethodNotAllowed => ("about:blank", "Method Not Allowed"),
            Self::RequestTimeout => ("about:blank", "Request Timeout"),
            Self::LengthRequired => ("about:blank", "Length Required"),
            Self::ContentTooLarge => ("about:blank", "Content Too Large"),
            Self::UnsupportedMediaType => ("about:blank", "Unsupported Media Type"),
            Self::UpgradeRequired => ("about:blank", "Upgrade Required"),
        }
    }
}

/// An error answer in the making.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    kind: Kind,
    detail: Option<&'static str>,
    retry_after: Option<Duration>,
    /// Only where the question was whether the relay is ready.
    ready: Option<Readiness>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl From<Kind> for Problem {
    fn from(kind: Kind) -> Self {
        Self { kind, detail: None, retry_after: None, ready: None, headers: Vec::new() }
    }
}

impl Problem {
    /// A bad request, and in development what is bad about it.
    pub(crate) fn bad_request(detail: &'static str) -> Self {
        Self { detail: Some(detail), ..Kind::BadRequest.into() }
    }

    /// Another method is needed: one of `allow`, a list as in the `Allow` header.
    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        Self::from(Kind::MethodNotAllowed).with(ALLOW, HeaderValue::from_static(allow))
    }

    /// A WebSocket handshake of version 13 is needed.
    pub(crate) fn upgrade_required() -> Self {
        Self::from(Kind::UpgradeRequired)
            .with(UPGRADE, HeaderValue::from_static("websocket"))
            .with(hyper::header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
    }

    /// The address used up `quota` requests of a window; it may come back after `wait`, spread out.
    pub(crate) fn quota_exceeded(name: &str, quota: u64, window: Duration, wait: Duration) -> Self {
        let wait = jittered(wait);
        let policy = format!("\"{name}\";q={quota};w={}", window.as_secs());
        let left = format!("\"{name}\";r=0;t={}", whole_seconds(wait));
        let mut problem = Self { retry_after: Some(wait), ..Kind::QuotaExceeded.into() };
        for (field, value) in [("ratelimit-policy", policy), ("ratelimit", left)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                problem.headers.push((HeaderName::from_static(field), value));
            }
        }
        problem
    }

    /// The relay cannot take more at the moment; clients come back spread over some seconds.
    pub(crate) fn reduced_capacity() -> Self {
        Self { retry_after: Some(jittered(CAPACITY_WAIT)), ..Kind::ReducedCapacity.into() }
    }

    /// The answer to whether the relay is ready, which it is not.
    pub(super) fn not_ready(ready: Readiness, failed: Failed) -> Self {
        Self { detail: Some(failed.detail), ready: Some(ready), ..Self::reduced_capacity() }
    }

    /// Whether the request itself was malformed, as opposed to refused.
    pub(crate) const fn is_malformed(&self) -> bool {
        matches!(
            self.kind,
            Kind::BadRequest
                | Kind::RequestTimeout
                | Kind::LengthRequired
                | Kind::ContentTooLarge
                | Kind::UnsupportedMediaType
        )
    }

    /// Asks for the connection to be closed: the rest of the request is not worth reading.
    #[must_use]
    pub(crate) fn closing(self) -> Self {
        self.with(hyper::header::CONNECTION, HeaderValue::from_static("close"))
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The answer; `detailed` shows the detail, if there is one.
    pub(crate) fn into_answer(self, detailed: bool) -> Answer {
        let (kind, title) = self.kind.type_and_title();
        let body = Body {
            r#type: kind,
            title,
            status: self.kind.status().as_u16(),
            detail: self.detail.filter(|_| detailed),
            ready: self.ready.map(|ready| if detailed { ready } else { ready.without_checks() }),
            retry_after_ms: self.retry_after.map(|wait| wait.as_nanos().div_ceil(1_000_000)),
        };
        let body = serde_json::to_vec(&body).expect("plain texts and numbers are JSON");
        let mut answer = answer(self.kind.status(), "application/problem+json", body);
        let headers = answer.headers_mut();
        headers.extend(self.headers);
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        debug_assert!(headers.contains_key(CONTENT_TYPE));
        answer
    }
}

#[derive(Serialize)]
struct Body {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
    #[serde(flatten)]
    ready: Option<Readiness>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u128>,
}

/// The wait and up to half of it again, at least a second: whoever was refused together must not
/// come back together.
fn jittered(wait: Duration) -> Duration {
    let spread = (wait / 2).max(Duration::from_secs(1));
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    wait + spread.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// Never less than the wait: rounded up.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// Long enough for a second node to be noticed, short enough for a member to wait.
const CAPACITY_WAIT: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    fn body(answer: Answer) -> serde_json::Value {
        let future = answer.into_body().collect();
        let mut future = std::pin::pin!(future);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(body) = future.as_mut().poll(&mut context) else {
            panic!("a full body is ready")
        };
        serde_json::from_slice(&body.unwrap().to_bytes()).unwrap()
    }

    #[test]
    fn every_problem_is_as_the_protocol_lists_it() {
        for kind in Kind::ALL {
            let (status, ends_in) = match kind {
                Kind::BadRequest => (400, "bad-request"),
                Kind::AdmissionFailed => (403, "admission-failed"),
                Kind::OriginDenied => (403, "origin-denied"),
                Kind::NotFound => (404, "about:blank"),
                Kind::MethodNotAllowed => (405, "about:blank"),
                Kind::RequestTimeout => (408, "about:blank"),
                Kind::RoomFull => (409, "room-full"),
                Kind::RoomClosed => (410, "room-closed"),
                Kind::LengthRequired => (411, "about:blank"),
                Kind::ContentTooLarge => (413, "about:blank"),
                Kind::UnsupportedMediaType => (415, "about:blank"),
                Kind::RoomLocked => (423, "room-locked"),
                Kind::UpgradeRequired => (426, "about:blank"),
                Kind::QuotaExceeded => (429, "quota-exceeded"),
                Kind::ReducedCapacity => (503, "temporary-reduced-capacity"),
            };
            let answer = Problem::from(kind).into_answer(true);
            assert_eq!(answer.status(), status, "{kind:?}");
            assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
            let body = body(answer);
            assert_eq!(body["status"], status);
            assert!(body["type"].as_str().unwrap().ends_with(ends_in), "{kind:?}");
            assert!(!body["title"].as_str().unwrap().is_empty());
        }
    }

    #[test]
    fn details_are_for_development() {
        let problem = Problem::bad_request("the room is not one");
        assert_eq!(body(problem.clone().into_answer(true))["detail"], "the room is not one");
        assert!(body(problem.into_answer(false)).get("detail").is_none());
    }

    #[test]
    fn a_wait_is_never_shortened_and_is_the_same_everywhere() {
        let minute = Duration::from_secs(60);
        let wait = Duration::from_millis(2500);
        for _ in 0..50 {
            let answer = Problem::quota_exceeded("rooms", 10, minute, wait).into_answer(false);
            let headers = answer.headers().clone();
            let header = |name: &str| headers[name].to_str().unwrap().to_owned();
            let seconds: u64 = header("retry-after").parse().unwrap();
            assert!((3..=4).contains(&seconds), "{seconds}");
            assert_eq!(header("ratelimit-policy"), "\"rooms\";q=10;w=60");
            assert_eq!(header("ratelimit"), format!("\"rooms\";r=0;t={seconds}"));
            let exact = body(answer)["retry_after_ms"].as_u64().unwrap();
            assert!((2500..=3750).contains(&exact), "{exact}");
            assert_eq!(exact.div_ceil(1000), seconds);
        }
        let answer = Problem::reduced_capacity().into_answer(false);
        assert!(answer.headers().contains_key("retry-after"));
        assert!(!answer.headers().contains_key("ratelimit"));
    }
}
