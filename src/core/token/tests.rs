//! Tests of join tokens: the shared vectors, and tokens of every wrong shape.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::core::close::Close;
use crate::core::id;

/// The file that the SDK's and other implementations' tests read as well.
const VECTORS: &str = include_str!("../../../tests/vectors/token.json");
const NOW: UnixSeconds = UnixSeconds(1_767_225_610);

#[test]
fn every_good_vector_verifies_and_says_what_it_should() {
    let (vectors, keys) = vectors();
    let good = vectors["good"].as_array().unwrap();
    assert!(!good.is_empty());
    for vector in good {
        let token = vector["token"].as_str().unwrap();
        let claims = keys.verify(&policy(), token, now(&vectors)).unwrap();
        let expected = &vector["claims"];
        assert!(claims.room.to_base64url() == expected["room"]);
        assert!(claims.jti.to_base64url() == expected["jti"]);
        assert_eq!(claims.cap, Cap::parse(expected["cap"].as_str().unwrap()).unwrap());
        assert_eq!(Some(claims.iat.0), expected["iat"].as_u64());
        assert_eq!(Some(claims.exp.0), expected["exp"].as_u64());
        assert_eq!(claims.session.map(u64::from), expected["ses"].as_u64());
        assert_eq!(claims.kid, KidIndex(0));
    }
}

#[test]
fn minting_the_good_vector_gives_its_exact_text() {
    let (vectors, keys) = vectors();
    let vector = &vectors["good"][0];
    let claims = &vector["claims"];
    let text = |name: &str| claims[name].as_str().unwrap();
    let number = |name: &str| claims[name].as_u64().unwrap();
    let token = keys.mint(
        &policy(),
        &RoomId::from_base64url(text("room")).unwrap(),
        Cap::parse(text("cap")).unwrap(),
        number("exp") - number("iat"),
        None,
        Jti::from_base64url(text("jti")).unwrap(),
        UnixSeconds(number("iat")),
    );
    assert_eq!(*token, vector["token"].as_str().unwrap());
}

#[test]
fn every_bad_vector_is_refused_for_its_reason() {
    let (vectors, keys) = vectors();
    let bad = vectors["bad"].as_array().unwrap();
    assert_eq!(bad.len(), REASONS.len(), "a reason for each vector");
    for vector in bad {
        let why = vector["why"].as_str().unwrap();
        let (_, expected) = REASONS.iter().find(|(name, _)| *name == why).expect(why);
        let verdict = keys.verify(&policy(), vector["token"].as_str().unwrap(), now(&vectors));
        assert_eq!(verdict.err(), Some(*expected), "{why}");
    }
}

const REASONS: [(&str, TokenError); 29] = [
    ("alg none", TokenError::Invalid(Fault::Algorithm)),
    ("alg HS384", TokenError::Invalid(Fault::Algorithm)),
    ("unknown kid", TokenError::Invalid(Fault::Key)),
    ("wrong typ", TokenError::Invalid(Fault::Type)),
    ("extra header member", TokenError::Invalid(Fault::Header)),
    ("missing exp", TokenError::Invalid(Fault::Claims)),
    ("exp in the past", TokenError::Expired),
    ("lifetime too long", TokenError::Invalid(Fault::Lifetime)),
    ("iat in the future", TokenError::Invalid(Fault::NotYet)),
    ("float exp", TokenError::Invalid(Fault::Claims)),
    ("negative exp", TokenError::Invalid(Fault::Claims)),
    ("aud array", TokenError::Invalid(Fault::Claims)),
    ("other aud", TokenError::Invalid(Fault::Audience)),
    ("other iss", TokenError::Invalid(Fault::Issuer)),
    ("identity claim sub", TokenError::Invalid(Fault::Claims)),
    ("room too short", TokenError::Invalid(Fault::Room)),
    ("room not base64url", TokenError::Invalid(Fault::Room)),
    ("cap unknown letter", TokenError::Invalid(Fault::Cap)),
    ("jti missing", TokenError::Invalid(Fault::Claims)),
    ("wrong key", TokenError::Invalid(Fault::Signature)),
    ("truncated signature", TokenError::Invalid(Fault::Encoding)),
    ("padded signature", TokenError::Invalid(Fault::Encoding)),
    ("four segments", TokenError::Invalid(Fault::Segments)),
    ("empty", TokenError::Missing),
    ("oversize", TokenError::Invalid(Fault::Length)),
    ("non-canonical signature spelling t", TokenError::Invalid(Fault::Encoding)),
    ("non-canonical signature spelling u", TokenError::Invalid(Fault::Encoding)),
    ("non-canonical signature spelling v", TokenError::Invalid(Fault::Encoding)),
    ("duplicate exp claim", TokenError::Invalid(Fault::Claims)),
];

#[test]
fn any_single_changed_character_is_refused() {
    let (vectors, keys) = vectors();
    let token = vectors["good"][0]["token"].as_str().unwrap();
    for (at, original) in token.char_indices() {
        for other in (0..128).map(char::from).filter(|other| *other != original) {
            let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
            let verdict = keys.verify(&policy(), &changed, NOW);
            assert!(verdict.is_err(), "{other:?} at {at}");
        }
    }
}

#[test]
fn a_missing_or_added_character_is_refused() {
    let (vectors, keys) = vectors();
    let token = vectors["good"][0]["token"].as_str().unwrap();
    for at in 0..=token.len() {
        let (head, tail) = token.split_at(at);
        for added in ["A", ".", "=", " ", "\n", "\0", "\u{e9}"] {
            assert!(keys.verify(&policy(), &format!("{head}{added}{tail}"), NOW).is_err());
        }
        if !tail.is_empty() {
            assert!(keys.verify(&policy(), &format!("{head}{}", &tail[1..]), NOW).is_err());
            assert!(keys.verify(&policy(), head, NOW).is_err());
        }
    }
}

#[test]
fn the_checks_come_in_their_order() {
    let bad_times = json!({"iat": 0, "exp": 1});
    // Each line is wrong in everything from its own check on.
    let unsigned = |header: &str, claims: &str| {
        let encode = |text: &str| id::to_base64url(text.as_bytes());
        format!("{}.{}.{}", encode(header), encode(claims), id::to_base64url(&[0; 32]))
    };
    for (token, fault) in [
        (".".repeat(TOKEN_LEN_MAX + 1), Fault::Length),
        ("=.=".to_owned(), Fault::Segments),
        ("=.=.=.=".to_owned(), Fault::Segments),
        ("=.e30.AA".to_owned(), Fault::Encoding),
        ("e30.=.AA".to_owned(), Fault::Encoding),
        (unsigned("{}", "?"), Fault::Header),
        (unsigned(r#"{"alg":"none","kid":"?","typ":"?"}"#, "?"), Fault::Algorithm),
        (unsigned(r#"{"alg":"HS256","kid":"?","typ":"?"}"#, "?"), Fault::Type),
        (unsigned(r#"{"alg":"HS256","kid":"?","typ":"lethewire-join+jwt"}"#, "?"), Fault::Key),
        (unsigned(HEADER, "?"), Fault::Signature),
        (sign(HEADER, "?"), Fault::Claims),
        (with(&json!({"room": "?", "iat": 0, "exp": 1, "aud": "?"})), Fault::Room),
        (with(&json!({"iat": 9, "exp": 1, "aud": "?"})), Fault::Lifetime),
        (with(&json!({"aud": "?", "iss": "?"})), Fault::Audience),
        (with(&json!({"iss": "?"})), Fault::Issuer),
    ] {
        assert_eq!(fault_of(&token), Some(fault), "{token}");
    }
    assert_eq!(verdict(&with(&bad_times)), Some(TokenError::Expired));
    assert_eq!(verdict(&with(&json!({}))), None);
}

#[test]
fn the_header_is_exactly_three_strings() {
    let claims = base().to_string();
    for header in [
        "",
        "null",
        "[]",
        "{}",
        r#"["HS256","k1","lethewire-join+jwt"]"#,
        r#"{"alg":"HS256","kid":"k1"}"#,
        r#"{"alg":"HS256","typ":"lethewire-join+jwt"}"#,
        r#"{"alg":"HS256","alg":"HS256","kid":"k1","typ":"lethewire-join+jwt"}"#,
        r#"{"alg":"HS256","kid":"k1","kid":"k1","typ":"lethewire-join+jwt"}"#,
        r#"{"alg":"HS256","kid":["k1"],"typ":"lethewire-join+jwt"}"#,
        r#"{"alg":"HS256","kid":"k1","typ":"lethewire-join+jwt"} {}"#,
        r#"{"alg":"HS256","kid":"k1","typ":"lethewire-join+jwt","b64":false}"#,
        r#"{"alg":"HS256","kid":"k1","typ":"lethewire-join+jwt","jku":"https://x"}"#,
        r#"{"ALG":"HS256","kid":"k1","typ":"lethewire-join+jwt"}"#,
        "\u{feff}{\"alg\":\"HS256\",\"kid\":\"k1\",\"typ\":\"lethewire-join+jwt\"}",
    ] {
        assert_eq!(fault_of(&sign(header, &claims)), Some(Fault::Header), "{header}");
    }
    for (alg, fault) in [("hs256", Fault::Algorithm), ("RS256", Fault::Algorithm)] {
        let header = json!({"alg": alg, "kid": "k1", "typ": TYPE}).to_string();
        assert_eq!(fault_of(&sign(&header, &claims)), Some(fault));
    }
}

#[test]
fn escapes_and_spaces_are_only_another_spelling_of_the_same_json() {
    // Some libraries escape `+`, and some indent.
    let header = r#" { "alg" : "HS256", "\u006bid" : "k1", "typ" : "lethewire-join\u002bjwt" } "#;
    let claims = serde_json::to_string_pretty(&base()).unwrap();
    assert_eq!(verdict(&sign(header, &claims)), None);
    // A duplicate is one in whatever spelling.
    let claims = base().to_string().replacen('{', r#"{"\u0065xp":1767225660,"#, 1);
    assert_eq!(fault_of(&sign(HEADER, &claims)), Some(Fault::Claims));
}

#[test]
fn the_claims_have_one_type_each_and_no_company() {
    for (name, wrong) in [
        ("iat", json!("1767225600")),
        ("iat", json!(1_767_225_600.0)),
        ("iat", json!(null)),
        ("exp", json!(-1)),
        ("exp", json!(true)),
        ("exp", json!([1_767_225_660])),
        ("iss", json!(["lethewire"])),
        ("room", json!(7)),
        ("cap", json!(["s", "r"])),
        ("jti", json!(null)),
        ("ses", json!(null)),
        ("ses", json!(-1)),
        ("ses", json!(60.5)),
        ("ses", json!("60")),
        ("ses", json!(4_294_967_296_u64)),
        ("sub", json!("alice")),
        ("name", json!("Alice")),
        ("email", json!("alice@example.org")),
        ("nbf", json!(0)),
    ] {
        let token = with(&json!({ name: wrong }));
        assert_eq!(fault_of(&token), Some(Fault::Claims), "{name}");
    }
    for name in ["iss", "aud", "room", "cap", "iat", "exp", "jti"] {
        let mut claims = base();
        claims.as_object_mut().unwrap().remove(name);
        assert_eq!(fault_of(&sign(HEADER, &claims.to_string())), Some(Fault::Claims), "{name}");
        let twice = base().to_string();
        let member = format!("{{\"{name}\":{},", base()[name]);
        let twice = twice.replacen('{', &member, 1);
        assert_eq!(fault_of(&sign(HEADER, &twice)), Some(Fault::Claims), "{name} twice");
    }
    // Numbers that JSON can spell and an integer cannot hold.
    for number in ["1e9", "-0", "1767225660.0", "18446744073709551616", "1e308", "NaN", "01"] {
        let claims = base().to_string().replace("\"exp\":1767225660", &format!("\"exp\":{number}"));
        assert!(claims.contains(number));
        assert_eq!(fault_of(&sign(HEADER, &claims)), Some(Fault::Claims), "{number}");
    }
    let deep = format!("{{\"iss\":{}", "[".repeat(600));
    for claims in ["", "null", "\"\"", "[]", deep.as_str()] {
        assert_eq!(fault_of(&sign(HEADER, claims)), Some(Fault::Claims));
    }
}

#[test]
fn json_is_utf8_wherever_it_is_looked_at() {
    let claims = base().to_string();
    for (bytes, is_header) in [(HEADER.as_bytes(), true), (claims.as_bytes(), false)] {
        // In front of it, within names and values, between them, and behind it.
        for at in 0..=bytes.len() {
            let mut broken = bytes.to_vec();
            broken.insert(at, 0xFF);
            let (token, fault) = if is_header {
                (sign(&broken, &claims), Fault::Header)
            } else {
                (sign(HEADER, &broken), Fault::Claims)
            };
            assert_eq!(fault_of(&token), Some(fault), "{at}");
        }
    }
}

#[test]
fn each_claim_has_its_own_form() {
    let text = |bytes: usize| id::to_base64url(&vec![7; bytes]);
    for (name, value, fault) in [
        ("room", json!(text(15)), Some(Fault::Room)),
        ("room", json!(text(16)), None),
        ("room", json!(text(32)), None),
        ("room", json!(text(33)), Some(Fault::Room)),
        ("room", json!(text(16) + "=="), Some(Fault::Room)),
        ("room", json!("AAAAAAAAAAAAAAAAAAAAAB"), Some(Fault::Room)),
        ("cap", json!("o"), None),
        ("cap", json!("cors"), None),
        ("cap", json!(""), Some(Fault::Cap)),
        ("cap", json!("ss"), Some(Fault::Cap)),
        ("cap", json!("S"), Some(Fault::Cap)),
        ("cap", json!("s r"), Some(Fault::Cap)),
        ("jti", json!(text(15)), Some(Fault::Jti)),
        ("jti", json!(text(17)), Some(Fault::Jti)),
        ("jti", json!("AAAAAAAAAAAAAAAAAAAAAB"), Some(Fault::Jti)),
        ("ses", json!(0), Some(Fault::Session)),
        ("ses", json!(1), None),
        ("ses", json!(86_400), None),
        ("ses", json!(86_401), Some(Fault::Session)),
    ] {
        let token = with(&json!({ name: value }));
        assert_eq!(fault_of(&token), fault, "{name} {}", token.len());
    }
}

#[test]
fn times_are_exact_to_the_second() {
    let at = |iat: u64, exp: u64| verdict(&with(&json!({"iat": iat, "exp": exp})));
    let now = NOW.0;
    // Skew is 30 s and the longest lifetime 300 s.
    assert_eq!(at(now + 30, now + 60), None);
    assert_eq!(at(now + 31, now + 60), Some(Fault::NotYet.into()));
    assert_eq!(at(now - 100, now - 29), None);
    assert_eq!(at(now - 100, now - 30), Some(TokenError::Expired));
    assert_eq!(at(now, now + 300), None);
    assert_eq!(at(now, now + 301), Some(Fault::Lifetime.into()));
    assert_eq!(at(now, now), Some(Fault::Lifetime.into()));
    assert_eq!(at(now, now - 1), Some(Fault::Lifetime.into()));
    assert_eq!(at(0, u64::MAX), Some(Fault::Lifetime.into()));
    assert_eq!(at(u64::MAX - 1, u64::MAX), Some(Fault::NotYet.into()));
}

#[test]
fn no_policy_allows_more_than_the_hard_limit() {
    let policy = Policy { lifetime_max_s: u64::MAX, ..policy() };
    let token = with(&json!({"iat": NOW.0, "exp": NOW.0 + 301}));
    let verdict = keys().verify(&policy, &token, NOW);
    assert_eq!(verdict.err(), Some(Fault::Lifetime.into()));
}

#[test]
fn the_newest_key_mints_and_all_verify() {
    let old = keys();
    let both = || vec![key("k2", "lethewire", 2), key("k1", "lethewire", 1)];
    let both = Keys::new(both()).unwrap();
    let new = Keys::new(vec![key("k2", "lethewire", 2)]).unwrap();
    let by_old = mint(&old, 60);
    let by_both = mint(&both, 60);
    assert!(both.verify(&policy(), &by_old, NOW).unwrap().kid == KidIndex(1));
    assert!(both.verify(&policy(), &by_both, NOW).unwrap().kid == KidIndex(0));
    assert!(new.verify(&policy(), &by_both, NOW).is_ok());
    assert_eq!(new.verify(&policy(), &by_old, NOW).err(), Some(Fault::Key.into()));
}

#[test]
fn a_key_signs_for_its_own_issuer_only() {
    let keys = Keys::new(vec![key("k2", "backend", 2), key("k1", "lethewire", 1)]).unwrap();
    assert!(keys.verify(&policy(), &with(&json!({"iss": "lethewire"})), NOW).is_ok());
    let crossed = keys.verify(&policy(), &with(&json!({"iss": "backend"})), NOW);
    assert_eq!(crossed.err(), Some(Fault::Issuer.into()));
}

#[test]
fn key_lists_that_cannot_work_are_refused() {
    let refused = |list: Vec<SigningKey>| Keys::new(list).err();
    let short = |len: usize| SigningKey {
        secret: SecretBytes::new(vec![1; len]),
        ..key("k1", "lethewire", 1)
    };
    let many = |n: usize| (0..n).map(|i| key(&format!("k{i}"), "lethewire", 1)).collect();
    assert_eq!(refused(Vec::new()), Some(KeyError::None));
    assert_eq!(refused(vec![short(31)]), Some(KeyError::ShortSecret(31)));
    assert_eq!(refused(vec![key("k1", "a", 1), short(0)]), Some(KeyError::ShortSecret(0)));
    assert_eq!(refused(vec![short(32)]), None);
    assert_eq!(refused(vec![short(64)]), None);
    assert_eq!(refused(vec![key("k1", "a", 1), key("k1", "a", 2)]), Some(KeyError::SameKid));
    assert_eq!(refused(many(8)), None);
    assert_eq!(refused(many(9)), Some(KeyError::TooMany));
    for issuer in ["", "a b", "a\"b", "a\\b", "a\n", "\u{e9}", "x".repeat(129).as_str()] {
        assert_eq!(refused(vec![key("k1", issuer, 1)]), Some(KeyError::Issuer), "{issuer}");
    }
}

#[test]
fn the_longest_token_that_can_be_minted_is_accepted() {
    let name = "x".repeat(NAME_LEN_MAX);
    let keys = Keys::new(vec![key("0123456789abcdef", &name, 1)]).unwrap();
    let policy = Policy { audience: name, ..policy() };
    let room = RoomId::new(&[7; 32]).unwrap();
    let cap = Cap::parse("sroc").unwrap();
    let late = UnixSeconds(u64::MAX - 400);
    let jti = Jti::from_bytes([9; 16]);
    let token = keys.mint(&policy, &room, cap, u64::MAX, Some(u32::MAX), jti, late);
    assert!(token.len() <= TOKEN_LEN_MAX, "{}", token.len());
    let claims = keys.verify(&policy, &token, late).unwrap();
    assert_eq!(claims.exp.0 - claims.iat.0, 300, "clamped to what the policy allows");
    assert_eq!(claims.session, Some(SESSION_MAX_S));
}

#[test]
fn minting_never_makes_a_token_that_is_born_invalid() {
    for (ttl_s, lifetime) in [(0, 1), (1, 1), (60, 60), (300, 300), (301, 300)] {
        let claims = keys().verify(&policy(), &mint(&keys(), ttl_s), NOW).unwrap();
        assert_eq!(claims.exp.0 - claims.iat.0, lifetime);
    }
}

#[test]
fn each_error_has_its_close_code() {
    assert_eq!(TokenError::Missing.close(), Close::TokenMissing);
    assert_eq!(TokenError::Invalid(Fault::Signature).close(), Close::TokenInvalid);
    assert_eq!(TokenError::Expired.close(), Close::TokenExpired);
}

#[test]
fn explaining_decodes_what_it_can_and_trusts_nothing() {
    let explained = explain(&sign(HEADER, "not json"));
    assert_eq!(explained.header.as_deref(), Some(HEADER));
    assert_eq!(explained.claims.as_deref(), Some("not json"));
    assert_eq!(explained.signature_bytes, Some(32));
    let explained = explain("=.\u{e9}");
    assert!(explained.header.is_none() && explained.claims.is_none());
    assert_eq!(explained.signature_bytes, None);
    assert!(explain(&id::to_base64url(&[0xff])).header.is_none(), "not UTF-8");
}

#[test]
fn capabilities_are_sets_with_one_spelling() {
    for bits in 1..16_u8 {
        let cap = Cap(bits);
        assert_eq!(Cap::parse(&cap.to_text()), Some(cap));
    }
    assert_eq!(Cap::parse("rs"), Cap::parse("sr"));
    let both = Cap::SEND.with(Cap::RECEIVE);
    assert_eq!(both.to_text(), "sr");
    assert!(both.contains(Cap::SEND) && !both.contains(Cap::OWNER));
    assert!(!Cap::SEND.contains(both));
}

proptest! {
    #[test]
    fn what_is_minted_verifies_to_the_same(
        room in prop::collection::vec(any::<u8>(), 16..=32),
        bits in 1..16_u8,
        ttl_s in 1..=300_u64,
        session in prop::option::of(1..=SESSION_MAX_S),
        jti in any::<[u8; 16]>(),
        now in 0..=u64::MAX / 2,
        later in 0..330_u64,
    ) {
        let (room, cap, jti) = (RoomId::new(&room).unwrap(), Cap(bits), Jti::from_bytes(jti));
        let token = keys().mint(&policy(), &room, cap, ttl_s, session, jti, UnixSeconds(now));
        let verdict = keys().verify(&policy(), &token, UnixSeconds(now + later));
        if later < ttl_s + 30 {
            let (iat, exp, kid) = (UnixSeconds(now), UnixSeconds(now + ttl_s), KidIndex(0));
            let expected = Claims { room, cap, iat, exp, jti, session, kid };
            prop_assert!(verdict == Ok(expected));
        } else {
            prop_assert!(verdict == Err(TokenError::Expired));
        }
    }

    #[test]
    fn no_text_makes_it_panic_or_verifies(text in "\\PC*", dots in "[A-Za-z0-9_.=-]{0,200}") {
        for token in [text, dots] {
            prop_assert!(keys().verify(&policy(), &token, NOW).is_err());
            let _ = explain(&token);
        }
    }

    #[test]
    fn signed_claims_of_any_value_never_panic(
        member in prop::sample::select(vec!["iss", "aud", "room", "cap", "iat", "exp", "jti", "ses"]),
        text in "\\PC{0,40}",
        number in any::<i64>(),
    ) {
        for value in [json!(text), json!(number)] {
            if let Ok(claims) = keys().verify(&policy(), &with(&json!({ member: value })), NOW) {
                prop_assert!(claims.exp.0 - claims.iat.0 <= 300);
            }
        }
    }
}

const HEADER: &str = r#"{"alg":"HS256","kid":"k1","typ":"lethewire-join+jwt"}"#;

fn vectors() -> (Value, Keys) {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let hex = vectors["key"].as_str().unwrap();
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let secret = (0..hex.len()).step_by(2).map(byte).collect();
    let kid = Kid::new(vectors["kid"].as_str().unwrap()).unwrap();
    let key = SigningKey { kid, secret: SecretBytes::new(secret), ..key("k1", "lethewire", 1) };
    (vectors, Keys::new(vec![key]).unwrap())
}

fn now(vectors: &Value) -> UnixSeconds {
    UnixSeconds(vectors["now"].as_u64().unwrap())
}

fn policy() -> Policy {
    Policy { audience: "relay.example".to_owned(), lifetime_max_s: 300, skew_s: 30 }
}

fn key(kid: &str, issuer: &str, byte: u8) -> SigningKey {
    SigningKey {
        kid: Kid::new(kid).unwrap(),
        issuer: issuer.to_owned(),
        secret: SecretBytes::new(vec![byte; 32]),
    }
}

fn keys() -> Keys {
    Keys::new(vec![key("k1", "lethewire", 1)]).unwrap()
}

fn mint(keys: &Keys, ttl_s: u64) -> Zeroizing<String> {
    let room = RoomId::new(&[7; 16]).unwrap();
    keys.mint(&policy(), &room, Cap::SEND, ttl_s, None, Jti::from_bytes([9; 16]), NOW)
}

/// Claims that are good at [`NOW`].
fn base() -> Value {
    json!({
        "iss": "lethewire", "aud": "relay.example", "room": id::to_base64url(&[7; 16]),
        "cap": "sr", "iat": 1_767_225_600, "exp": 1_767_225_660, "jti": id::to_base64url(&[9; 16]),
    })
}

/// A token whose claims are [`base`] with some members replaced or added, correctly signed.
fn with(members: &Value) -> String {
    let mut claims = base();
    claims.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    sign(HEADER, &claims.to_string())
}

fn sign(header: &(impl AsRef<[u8]> + ?Sized), claims: &(impl AsRef<[u8]> + ?Sized)) -> String {
    let (header, claims) = (header.as_ref(), claims.as_ref());
    let signed = format!("{}.{}", id::to_base64url(header), id::to_base64url(claims));
    let mut mac = hmac(&[1; 32]);
    mac.update(signed.as_bytes());
    format!("{signed}.{}", id::to_base64url(&mac.finalize().into_bytes()))
}

fn verdict(token: &str) -> Option<TokenError> {
    keys().verify(&policy(), token, NOW).err()
}

fn fault_of(token: &str) -> Option<Fault> {
    match verdict(token)? {
        TokenError::Invalid(fault) => Some(fault),
        other @ (TokenError::Missing | TokenError::Expired) => panic!("{other}"),
    }
}
