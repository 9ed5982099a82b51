//! A token's text: three segments of base64url, and the JSON of two of them.
//!
//! What they say is judged by the module above; here it is only taken apart and put together.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use super::TOKEN_LEN_MAX;
use super::fault::Fault;
use crate::core::id;

/// Longest segment that [`explain`] decodes, in bytes: enough to see what a foreign token is.
const EXPLAINED_LEN_MAX: usize = 16 * 1024;

/// A token's segments, decoded.
pub(super) struct Parts<'a> {
    /// What the MAC covers.
    pub(super) signed: &'a str,
    /// Header, claims and signature, one behind the other.
    decoded: Zeroizing<Vec<u8>>,
    /// Where the header ends.
    header: usize,
    /// Where the claims end.
    claims: usize,
}

impl<'a> Parts<'a> {
    /// Takes a token apart: its length, segments and encoding are checked, in this order.
    pub(super) fn decode(token: &'a str) -> Result<Self, Fault> {
        if token.len() > TOKEN_LEN_MAX {
            return Err(Fault::Length);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Fault::Segments)?;
        let (header, claims) = signed.split_once('.').ok_or(Fault::Segments)?;
        if claims.contains('.') {
            return Err(Fault::Segments);
        }
        // As long as the token is, so that growing leaves no copy behind that is not wiped.
        let mut decoded = Zeroizing::new(Vec::with_capacity(token.len()));
        let mut decode = |text| {
            let decode = URL_SAFE_NO_PAD.decode_vec(text, &mut decoded);
            decode.map(|()| decoded.len()).map_err(|_| Fault::Encoding)
        };
        let (header, claims, _) = (decode(header)?, decode(claims)?, decode(signature)?);
        Ok(Self { signed, decoded, header, claims })
    }

    pub(super) fn header(&self) -> &[u8] {
        self.decoded.get(..self.header).unwrap_or_default()
    }

    pub(super) fn claims(&self) -> &[u8] {
        self.decoded.get(self.header..self.claims).unwrap_or_default()
    }

    pub(super) fn signature(&self) -> &[u8] {
        self.decoded.get(self.claims..).unwrap_or_default()
    }
}

/// The header as JSON has it. `Cow`, because a library may escape characters, like `+` in `typ`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHeader<'a> {
    #[serde(borrow)]
    pub(super) alg: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) kid: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) typ: Cow<'a, str>,
}

/// The claims as JSON has them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawClaims<'a> {
    #[serde(borrow)]
    pub(super) iss: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) aud: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) room: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) cap: Cow<'a, str>,
    pub(super) iat: u64,
    pub(super) exp: u64,
    #[serde(borrow)]
    pub(super) jti: Cow<'a, str>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) ses: Option<u32>,
}

/// Reads an optional claim that is there: `null` is not a way to leave it out.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    u32::deserialize(deserializer).map(Some)
}

/// Reads a JSON object. Serde would take an array of the members in order as well.
pub(super) fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    // UTF-8 is checked for the whole at once, which is cheaper than for each string by itself.
    let json = str::from_utf8(json).ok()?;
    if !json.trim_ascii_start().starts_with('{') {
        return None;
    }
    serde_json::from_str(json).ok()
}

/// Appends the base64url of a value's JSON to a token under way.
pub(super) fn append_json(token: &mut String, value: &impl Serialize) {
    let mut json = Zeroizing::new(Vec::with_capacity(TOKEN_LEN_MAX));
    serde_json::to_writer(&mut *json, value).expect("strings and integers always serialise");
    URL_SAFE_NO_PAD.encode_string(&*json, token);
}

/// What a token seems to say, decoded without trusting any of it.
pub struct Explained {
    /// The header's JSON text, if the first segment is base64url of UTF-8.
    pub header: Option<String>,
    /// The claims' JSON text, likewise.
    pub claims: Option<String>,
    /// The signature's length in bytes, if it is base64url.
    pub signature_bytes: Option<usize>,
}

/// Takes a token apart for a human; says nothing about whether it is valid.
pub fn explain(token: &str) -> Explained {
    let mut segments = token.split('.').map(|text| id::from_base64url(text, EXPLAINED_LEN_MAX));
    let mut next = || segments.next().flatten();
    let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes?).ok();
    Explained {
        header: text(next()),
        claims: text(next()),
        signature_bytes: next().map(|bytes| bytes.len()),
    }
}
