//! Join tokens: nothing is accepted but what somebody with the key has made, in its only shape.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is what a property has to say"
)]

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::core::id::{Jti, Kid, RoomId, from_base64url, to_base64url};
use crate::core::limit::UnixSeconds;
use crate::core::secret::SecretBytes;
use crate::core::token::{
    Cap, Claims, Keys, KidIndex, Policy, SESSION_MAX_S, SigningKey, TOKEN_LEN_MAX, explain,
};

/// Whatever is done to a token or put into one, it is accepted only if its MAC holds and if header
/// and claims are exactly what the accepted claims say.
///
/// The first byte chooses what the others are: a token, claims or a header to sign, or the making of
/// a token and how to damage it.
///
/// # Panics
///
/// When the property does not hold.
pub fn token(data: &[u8]) {
    let Some((variant, input)) = data.split_first() else { return };
    match variant % 4 {
        0 => {
            if let Ok(text) = std::str::from_utf8(input) {
                check(text);
            }
        }
        1 => check(&sign(HEADER.as_bytes(), input)),
        2 => check(&sign(input, base().to_string().as_bytes())),
        _ => minted(input),
    }
}

/// If the token is accepted, then it is honest.
fn check(token: &str) {
    let _ = explain(token);
    let Ok(claims) = keys().verify(&policy(), token, NOW) else { return };
    assert!(token.len() <= TOKEN_LEN_MAX, "accepted a long one");
    let segments: Vec<&str> = token.split('.').collect();
    let [header, body, signature] = segments[..] else { panic!("accepted {}", segments.len()) };
    assert_eq!(signature, mac(&format!("{header}.{body}")), "accepted a wrong MAC");
    assert_eq!(decoded(header), serde_json::from_str::<Value>(HEADER).expect("is JSON"));
    let mut said = decoded(body);
    let letters = said["cap"].take();
    let mut meant = of_claims(&claims);
    let cap = meant["cap"].take();
    assert_eq!(said, meant, "accepted other claims than it returned");
    // Letters may come in any order, but each once.
    let sorted = |text: &Value| {
        let mut letters: Vec<char> = text.as_str().unwrap_or_default().chars().collect();
        letters.sort_unstable();
        letters
    };
    assert_eq!(sorted(&letters), sorted(&cap), "accepted other capabilities than it returned");
    let lifetime = claims.exp.0.checked_sub(claims.iat.0);
    assert!(lifetime.is_some_and(|s| (1..=policy().lifetime_max_s).contains(&s)), "lives long");
    assert!(claims.iat.0 <= NOW.0 + policy().skew_s, "is of the future");
    assert!(NOW.0 < claims.exp.0 + policy().skew_s, "is over");
}

/// What is minted is accepted as it was meant, and refused after any change.
fn minted(input: &[u8]) {
    let Some(([cap, ttl, session, room, jti, edits @ ..], _)) = input.split_first_chunk::<16>()
    else {
        return;
    };
    let Some(cap) = Cap::parse(CAPS[usize::from(*cap) % CAPS.len()]) else { return };
    let room = RoomId::new(&vec![*room; 16 + usize::from(*room % 17)]).expect("16 to 32 bytes");
    let session = (*session > 0).then(|| u32::from(*session) * (SESSION_MAX_S / 255));
    let (ttl_s, jti) = (u64::from(*ttl) + 1, Jti::from_bytes([*jti; 16]));
    let token = keys().mint(&policy(), &room, cap, ttl_s, session, jti, NOW);
    let exp = UnixSeconds(NOW.0 + ttl_s.min(policy().lifetime_max_s));
    let expected = Claims { room, cap, iat: NOW, exp, jti, session, kid: KidIndex(0) };
    assert!(keys().verify(&policy(), &token, NOW) == Ok(expected), "refused what it minted");
    check(&token);

    let mut damaged = token.as_bytes().to_vec();
    for edit in edits.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % damaged.len();
        match edit[2] {
            0 => damaged.truncate(at.max(1)),
            1..0x80 => damaged[at] = edit[2],
            _ => damaged.insert(at, edit[2] & 0x7F),
        }
    }
    let damaged = String::from_utf8(damaged).expect("ASCII");
    let verdict = keys().verify(&policy(), &damaged, NOW);
    assert!(damaged == *token || verdict.is_err(), "accepted a damaged token");
}

fn of_claims(claims: &Claims) -> Value {
    let mut value = json!({
        "iss": ISSUER, "aud": policy().audience, "room": claims.room.to_base64url(),
        "cap": claims.cap.to_text(), "iat": claims.iat.0, "exp": claims.exp.0,
        "jti": claims.jti.to_base64url(),
    });
    if let Some(session) = claims.session {
        value["ses"] = session.into();
    }
    value
}

fn base() -> Value {
    json!({
        "iss": ISSUER, "aud": policy().audience, "room": to_base64url(&[7; 16]), "cap": "sr",
        "iat": NOW.0, "exp": NOW.0 + 60, "jti": to_base64url(&[9; 16]),
    })
}

fn decoded(segment: &str) -> Value {
    let bytes = from_base64url(segment, TOKEN_LEN_MAX).expect("accepted another encoding");
    serde_json::from_slice(&bytes).expect("accepted what is not JSON")
}

fn sign(header: &[u8], claims: &[u8]) -> String {
    let signed = format!("{}.{}", to_base64url(header), to_base64url(claims));
    let mac = mac(&signed);
    format!("{signed}.{mac}")
}

fn mac(signed: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(&SECRET).expect("HMAC takes keys of any length");
    to_base64url(&mac.chain_update(signed).finalize().into_bytes())
}

fn keys() -> Keys {
    let key = SigningKey {
        kid: Kid::new("k1").expect("is a name"),
        issuer: ISSUER.to_owned(),
        secret: SecretBytes::new(SECRET.to_vec()),
    };
    Keys::new(vec![key]).expect("is one good key")
}

fn policy() -> Policy {
    Policy { audience: "relay.example".to_owned(), lifetime_max_s: 200, skew_s: 30 }
}

const HEADER: &str = r#"{"alg":"HS256","kid":"k1","typ":"lethewire-join+jwt"}"#;
const ISSUER: &str = "lethewire";
const SECRET: [u8; 32] = [7; 32];
const NOW: UnixSeconds = UnixSeconds(1_767_225_600);
const CAPS: [&str; 6] = ["s", "r", "sr", "sro", "cors", "c"];
