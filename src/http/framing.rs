//! What HTTP/1.1 demands of a request's message, and the library does not look at.
//!
//! Somebody in between may see a message's end, or its target, elsewhere than we do; then what is a
//! body for one is the next request for the other. So a message that can be read in two ways is
//! refused, whatever it asks for, and nothing that comes behind it on the connection is read.

use hyper::Request;
use hyper::body::Body;
use hyper::header::{HOST, TRANSFER_ENCODING};
use hyper::{Method, Version};

use super::App;
use super::problem::{Kind, Problem};
use crate::metrics::Refusal;

/// Refuses a message that can be read in two ways.
pub(super) fn check<B: Body>(app: &App, request: &Request<B>) -> Result<(), Problem> {
    let checked = host(request).and_then(|()| length(request));
    checked.map_err(|problem| {
        app.metrics.refused(Refusal::Request);
        problem.closing()
    })
}

/// HTTP/1.1 demands exactly one `Host` (RFC 9112, section 3.2). One that differs from the authority of
/// an absolute target would have to be ignored (section 3.2.2), which not everybody does.
fn host<B>(request: &Request<B>) -> Result<(), Problem> {
    if request.method() == Method::CONNECT {
        return Err(Problem::bad_request("nobody is reached through the relay"));
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    let old = request.version() == Version::HTTP_10 && host.is_none();
    if more.is_some() || (host.is_none() && !old) {
        return Err(Problem::bad_request("one Host"));
    }
    match (request.uri().authority(), host) {
        (Some(authority), Some(host))
            if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            Err(Problem::bad_request("the target and Host name two hosts"))
        }
        _ => Ok(()),
    }
}

/// A body has one length, and it is told before (RFC 9112, section 6.3 allows to insist on that). The
/// library has dropped a `Content-Length` that stood beside `Transfer-Encoding`, so that the two
/// together cannot be told from the second alone.
fn length<B: Body>(request: &Request<B>) -> Result<(), Problem> {
    if request.headers().contains_key(TRANSFER_ENCODING) {
        return Err(Kind::LengthRequired.into());
    }
    if request.method() != Method::POST && !request.body().is_end_stream() {
        return Err(Problem::bad_request("only POST has a body"));
    }
    Ok(())
}
