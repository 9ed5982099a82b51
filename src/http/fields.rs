//! The fields of a request's head, for those who look at a handshake: it is read by the HTTP library, or by
//! the parser that the library uses and nothing else.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// The fields of a head, under names that have no case.
pub(super) trait Fields {
    /// The values of a field, line by line, in order.
    fn all<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]>;

    /// The same as text; `None` for what is not visible ASCII.
    fn texts<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = Option<&'a str>> {
        self.all(name).map(text)
    }

    /// The value of a field that must be there once.
    fn single<'a>(&'a self, name: &HeaderName) -> Option<&'a str> {
        let mut values = self.texts(name);
        let (only, more) = (values.next()?, values.next());
        only.filter(|_| more.is_none())
    }

    /// The items of a comma-separated field, over all its lines.
    fn items<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a str> {
        let lines = self.texts(name).flatten().flat_map(|line| line.split(','));
        lines.map(|item| item.trim_matches([' ', '\t']))
    }

    /// Whether an item is among them, in any case.
    fn lists(&self, name: &HeaderName, wanted: &str) -> bool {
        self.items(name).any(|item| item.eq_ignore_ascii_case(wanted))
    }
}

impl Fields for HeaderMap {
    fn all<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name).into_iter().map(HeaderValue::as_bytes)
    }
}

impl Fields for [httparse::Header<'_>] {
    fn all<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        let same = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case(name.as_str());
        self.iter().filter(same).map(|field| field.value)
    }
}

fn text(value: &[u8]) -> Option<&str> {
    // All of them, so that the compiler can look at many at once.
    let visible = |all, byte: &u8| all & matches!(byte, b'\t' | b' '..=b'~');
    std::str::from_utf8(value).ok().filter(|_| value.iter().fold(true, visible))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::VIA;

    const LINES: [(&str, &[u8]); 4] =
        [("Via", b"a, B"), ("x", b"no"), ("vIA", b"\xc3\xa4"), ("via", b" c\t,")];

    fn check(fields: &(impl Fields + ?Sized)) {
        let all: Vec<_> = fields.all(&VIA).collect();
        assert_eq!(all, [LINES[0].1, LINES[2].1, LINES[3].1]);
        let texts: Vec<_> = fields.texts(&VIA).collect();
        assert_eq!(texts, [Some("a, B"), None, Some(" c\t,")]);
        let items: Vec<_> = fields.items(&VIA).collect();
        assert_eq!(items, ["a", "B", "c", ""]);
        assert!(fields.lists(&VIA, "b") && !fields.lists(&VIA, "d"));
        let x = HeaderName::from_static("x");
        assert_eq!((fields.single(&x), fields.single(&VIA)), (Some("no"), None));
        assert_eq!(fields.single(&HeaderName::from_static("y")), None);
    }

    #[test]
    fn both_forms_say_the_same() {
        let mut map = HeaderMap::new();
        for (name, value) in LINES {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        check(&map);
        check(&LINES.map(|(name, value)| httparse::Header { name, value })[..]);
    }
}
