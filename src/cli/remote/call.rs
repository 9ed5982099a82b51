//! HTTP/1.1 requests over one connection, without a task of their own.

use std::future::Future;
use std::pin::Pin;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;

use super::dial::Link;
use super::url::Url;

/// A request.
pub(crate) struct Call<'a> {
    /// One of the relay's paths, as in `/v1/info`.
    pub(crate) path: &'a str,
    /// JSON to post; `None` gets.
    pub(crate) body: Option<String>,
    /// What the answer should be.
    pub(crate) accept: &'static str,
    /// Longest answer that is read, in bytes.
    pub(crate) bytes_max: usize,
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A connection that takes one request after the other.
pub(crate) struct Caller {
    sender: SendRequest<Full<Bytes>>,
    connection: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>,
    ended: bool,
}

impl Caller {
    /// Takes over a connection on which nothing was said yet.
    pub(crate) async fn new(link: Link) -> Result<Self, String> {
        let (sender, connection) =
            handshake(TokioIo::new(link.stream)).await.map_err(|error| explained(&error))?;
        Ok(Self { sender, connection: Box::pin(connection), ended: false })
    }

    /// Whether the other side keeps the connection for another request.
    pub(crate) fn is_open(&self) -> bool {
        !self.ended && !self.sender.is_closed()
    }

    /// Asks, and reads the whole answer. Not cancel safe: a dropped call leaves the connection in
    /// the middle of an answer.
    pub(crate) async fn call(&mut self, url: &Url, call: Call<'_>) -> Result<Reply, String> {
        let method = if call.body.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::builder()
            .method(method)
            .uri(url.path(call.path))
            .header(HOST, url.authority())
            .header(ACCEPT, call.accept);
        if call.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(call.body.unwrap_or_default())))
            .map_err(|_| "the address cannot be asked for".to_owned())?;
        let Self { sender, connection, ended } = self;
        let answer = async {
            sender.ready().await.map_err(|error| explained(&error))?;
            let answer = sender.send_request(request).await.map_err(|error| explained(&error))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, call.bytes_max).collect().await;
            let body = body.map_err(|_| "the answer broke off, or is too long".to_owned())?;
            Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        tokio::pin!(answer);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                // Its error comes with the answer.
                _ = connection.as_mut(), if !*ended => *ended = true,
            }
        }
    }
}

/// What went wrong with HTTP, in words that hold nothing that was sent.
pub(crate) fn explained(error: &hyper::Error) -> String {
    if error.is_parse() {
        "the answer is not HTTP/1.1".to_owned()
    } else if error.is_incomplete_message() {
        "the connection was closed before an answer".to_owned()
    } else {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        format!("the connection broke: {}", cause.unwrap_or_else(|| error.to_string()))
    }
}
