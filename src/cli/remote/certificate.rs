//! When a certificate ends: the one field of X.509 (RFC 5280 §4.1) that nobody below us tells.

use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{Decode as _, SliceReader, Tag, Tagged as _};

use crate::core::limit::UnixSeconds;

/// The end of the validity of a certificate in DER; `None` if it is none, or ends before 1970.
pub(super) fn not_after(certificate: &[u8]) -> Option<UnixSeconds> {
    let whole = inside(AnyRef::from_der(certificate).ok()?)?;
    let mut signed = inside(AnyRef::decode(&mut reader(whole)?).ok()?).and_then(reader)?;
    let mut field = AnyRef::decode(&mut signed).ok()?;
    if field.tag().is_context_specific() {
        // The version, which certificates of version 1 leave out.
        field = AnyRef::decode(&mut signed).ok()?;
    }
    if field.tag() != Tag::Integer {
        return None;
    }
    for _ in ["signature", "issuer"] {
        AnyRef::decode(&mut signed).ok()?;
    }
    let mut validity = inside(AnyRef::decode(&mut signed).ok()?).and_then(reader)?;
    AnyRef::decode(&mut validity).ok()?;
    let since_1970 = match Tag::peek(&validity).ok()? {
        Tag::UtcTime => UtcTime::decode(&mut validity).ok()?.to_unix_duration(),
        _ => GeneralizedTime::decode(&mut validity).ok()?.to_unix_duration(),
    };
    Some(UnixSeconds(since_1970.as_secs()))
}

fn inside(any: AnyRef<'_>) -> Option<&[u8]> {
    (any.tag() == Tag::Sequence).then(|| any.value())
}

fn reader(bytes: &[u8]) -> Option<SliceReader<'_>> {
    SliceReader::new(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(year: i32) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 2, 3);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn both_forms_of_a_time_are_read() {
        // `date -u -d 2031-02-03 +%s`, and of 2061, which needs the long form.
        assert_eq!(not_after(&certificate(2031)), Some(UnixSeconds(1_927_843_200)));
        assert_eq!(not_after(&certificate(2061)), Some(UnixSeconds(2_874_614_400)));
    }

    #[test]
    fn what_is_cut_or_no_certificate_says_nothing() {
        let whole = certificate(2031);
        for len in 0..whole.len() {
            assert_eq!(not_after(&whole[..len]), None, "{len} bytes");
        }
        assert_eq!(not_after(b"0\x03\x02\x01\x01"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_a_panic(
            at in 0..400_usize,
            with in proptest::prelude::any::<u8>(),
            noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64),
        ) {
            let mut bytes = certificate(2031);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = with;
            }
            // Whatever they say: these two return.
            let _ = (not_after(&bytes), not_after(&noise));
        }
    }
}
