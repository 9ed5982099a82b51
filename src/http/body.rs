//! Reading a request's JSON body: its type, its size, its time, and its shape.
//!
//! Bodies carry keys, so they are read into one buffer that is wiped, and parsed in place: texts
//! are borrowed from it, and one that would need a copy (an escape in it) is refused, as nothing
//! that is base64url needs escapes.

use std::fmt;
use std::marker::PhantomData;

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::problem::{Kind, Problem};
use crate::config::Http;

/// The bytes of a JSON body, wiped when dropped.
pub(super) struct JsonBody(Zeroizing<Vec<u8>>);

impl JsonBody {
    /// Reads a body that says it is JSON, within the limits of size and time.
    pub(super) async fn read(request: Request<Incoming>, limits: &Http) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        if !is_json(&head.headers) {
            return Err(Kind::UnsupportedMediaType.into());
        }
        let most = usize::try_from(limits.body_bytes).unwrap_or(usize::MAX);
        if body.size_hint().lower() > u64::from(limits.body_bytes) {
            return Err(Problem::from(Kind::ContentTooLarge).closing());
        }
        let reading = collect(Limited::new(body, most), most);
        match tokio::time::timeout(limits.body_timeout(), reading).await {
            Ok(read) => read.map(Self),
            Err(_late) => Err(Problem::from(Kind::RequestTimeout).closing()),
        }
    }

    /// Parses the whole body as one value of the expected shape.
    pub(super) fn parse<'body, T: Deserialize<'body>>(&'body self) -> Result<T, Problem> {
        let parsed = serde_json::from_slice::<Object<T>>(&self.0);
        parsed.map(|object| object.0).map_err(|_| Problem::bad_request("not the expected JSON"))
    }
}

/// A struct that is written as a JSON object. Derived code alone would also take an array of the
/// values in order, and so give one request two spellings.
#[derive(Default)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// Never grows the buffer, because growing leaves a copy behind.
async fn collect(mut body: Limited<Incoming>, most: usize) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(most));
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend(frame.into_data().unwrap_or_default()),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(Problem::from(Kind::ContentTooLarge).closing());
            }
            Err(_broken) => return Err(Problem::bad_request("the body broke off").closing()),
        }
    }
    Ok(bytes)
}

/// `application/json`, with no other charset than UTF-8, and not compressed.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    let Ok(text) = only.to_str() else { return false };
    let (kind, parameter) = text.split_once(';').unwrap_or((text, ""));
    let parameter = parameter.trim().to_ascii_lowercase();
    let utf8 = matches!(parameter.as_str(), "" | "charset=utf-8" | "charset=\"utf-8\"");
    kind.trim().eq_ignore_ascii_case("application/json")
        && utf8
        && !headers.contains_key(CONTENT_ENCODING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape<'a> {
        a: &'a str,
        b: Option<u32>,
    }

    #[test]
    fn a_body_is_one_object_of_the_expected_shape() {
        let parsed = |text: &str| {
            let body = JsonBody(Zeroizing::new(text.as_bytes().to_vec()));
            body.parse::<Shape<'_>>().ok().map(|shape| (shape.a.to_owned(), shape.b))
        };
        assert_eq!(parsed(r#" {"a":"x","b":1} "#), Some(("x".to_owned(), Some(1))));
        assert_eq!(parsed(r#"{"a":"x"}"#), Some(("x".to_owned(), None)));
        for bad in [
            "",
            "null",
            r#"["x",1]"#,
            r#"{"a":"x","c":1}"#,
            r#"{"a":"x","a":"x"}"#,
            r#"{"a":"x","b":-1}"#,
            r#"{"a":"x","b":1.0}"#,
            r#"{"a":"x","b":4294967296}"#,
            r#"{"a":"\u0078"}"#,
            r#"{"a":1}"#,
            r#"{"a":"x"}{}"#,
            r#"{"a":"x"},"#,
            "\u{feff}{\"a\":\"x\"}",
            r#"{"a":"x""#,
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn json_is_json_in_utf8() {
        for (value, json) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json;charset=\"utf-8\"", true),
            ("application/json; charset=latin1", false),
            ("application/jsonx", false),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            assert!(!is_json(&headers), "none at all");
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(is_json(&headers), json, "{value}");
            let mut compressed = headers.clone();
            compressed.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            assert!(!is_json(&compressed));
            headers.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            assert!(!is_json(&headers), "two types");
        }
    }
}
