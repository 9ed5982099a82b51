//! Join tokens: a strict profile of JWT with HMAC-SHA-256.
//!
//! A token lets its bearer into one room, once, for a minute. Any language's JWT library can mint
//! one, but only the exact shape below is accepted: three header members, seven claims and an
//! optional eighth, each of one type, none twice, nothing else. So no identity can reach the relay
//! by accident, and one signature has one spelling.
//!
//! The order of checks is fixed: length, segments, encoding, header, MAC, claims, times, audience,
//! issuer. Nothing of the claims is read before the MAC holds. That a token is used only once is
//! decided by `admission`, which remembers the pair of [`KidIndex`] and [`Jti`].

mod fault;
#[cfg(test)]
mod tests;
mod text;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

pub use self::fault::{Fault, TokenError};
pub use self::text::{Explained, explain};
use self::text::{Parts, RawClaims, RawHeader, append_json, object};
use super::id::{Jti, Kid, RoomId};
use super::limit::UnixSeconds;
use super::secret::SecretBytes;

/// Longest token, in characters.
pub const TOKEN_LEN_MAX: usize = 1024;
/// Longest time between `iat` and `exp` that any configuration can allow, in seconds.
pub const LIFETIME_HARD_MAX_S: u64 = 300;
/// Longest session that a token can ask for, in seconds.
pub const SESSION_MAX_S: u32 = 86_400;
/// Shortest secret, in bytes: what HMAC-SHA-256 can make full use of.
pub const SECRET_LEN_MIN: usize = 32;
/// Longest issuer and audience, in characters; with it every minted token fits [`TOKEN_LEN_MAX`].
pub const NAME_LEN_MAX: usize = 128;

/// The only `alg`.
const ALGORITHM: &str = "HS256";
/// The only `typ`.
const TYPE: &str = "lethewire-join+jwt";

/// What the bearer of a token may do in its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cap(u8);

impl Cap {
    /// May send messages (`s`).
    pub const SEND: Self = Self(1);
    /// Receives messages (`r`).
    pub const RECEIVE: Self = Self(2);
    /// May lock, unlock, close and kick (`o`).
    pub const OWNER: Self = Self(4);
    /// May create the room by joining it (`c`).
    pub const CREATE: Self = Self(8);

    /// Every capability with its letter, in the order in which they are written.
    const LETTERS: [(Self, u8); 4] =
        [(Self::SEND, b's'), (Self::RECEIVE, b'r'), (Self::OWNER, b'o'), (Self::CREATE, b'c')];

    /// Parses one to four distinct letters, in any order.
    pub fn parse(text: &str) -> Option<Self> {
        let mut cap = Self(0);
        for letter in text.bytes() {
            let (one, _) = Self::LETTERS.into_iter().find(|(_, known)| *known == letter)?;
            if cap.contains(one) {
                return None;
            }
            cap = cap.with(one);
        }
        (cap != Self(0)).then_some(cap)
    }

    /// The letters, in the order `s`, `r`, `o`, `c`.
    pub fn to_text(self) -> String {
        self.letters().map(char::from).collect()
    }

    /// The same, one by one, in ASCII.
    pub fn letters(self) -> impl Iterator<Item = u8> {
        let held = Self::LETTERS.into_iter().filter(move |(one, _)| self.contains(*one));
        held.map(|(_, letter)| letter)
    }

    /// Whether all of `other` is allowed.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A signing key as it is configured.
pub struct SigningKey {
    /// The name by which a token's header chooses the key.
    pub kid: Kid,
    /// The `iss` of the tokens that this key may sign.
    pub issuer: String,
    /// The key itself, at least [`SECRET_LEN_MIN`] bytes.
    pub secret: SecretBytes,
}

/// Why a list of signing keys cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The list is empty.
    #[error("there is no signing key")]
    None,
    /// More keys than [`KidIndex`] can tell apart.
    #[error("there are more than {} signing keys", Keys::LEN_MAX)]
    TooMany,
    /// A secret is below [`SECRET_LEN_MIN`].
    #[error("a secret has {0} bytes, and it takes at least {SECRET_LEN_MIN}")]
    ShortSecret(usize),
    /// Two keys share a name.
    #[error("two signing keys have the same kid")]
    SameKid,
    /// An issuer is empty, longer than [`NAME_LEN_MAX`] or not [`is_plain_name`].
    #[error("an issuer is not 1 to {NAME_LEN_MAX} plain printable characters")]
    Issuer,
}

/// Which key signed a token: its place in the list of [`Keys`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KidIndex(pub u8);

/// What this relay expects of every token, whichever key signed it.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The `aud` of tokens for this relay.
    pub audience: String,
    /// Longest time between `iat` and `exp`, in seconds; above [`LIFETIME_HARD_MAX_S`] that counts.
    pub lifetime_max_s: u64,
    /// By how much another machine's clock may differ from ours, in seconds.
    pub skew_s: u64,
}

/// What a valid token says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    /// The room to join.
    pub room: RoomId,
    /// What the bearer may do there.
    pub cap: Cap,
    /// When it was made.
    pub iat: UnixSeconds,
    /// When it ends.
    pub exp: UnixSeconds,
    /// The token's own name.
    pub jti: Jti,
    /// How long the session may last, in seconds; `None` leaves it to the room.
    pub session: Option<u32>,
    /// Which key signed it.
    pub kid: KidIndex,
}

/// The keys that tokens may be signed with: the first mints, all verify.
pub struct Keys {
    keys: Vec<Key>,
    /// Stands in for an unknown key, so that looking for one takes as long as having one.
    stand_in: Hmac<Sha256>,
}

struct Key {
    kid: Kid,
    issuer: String,
    mac: Hmac<Sha256>,
}

impl Keys {
    /// Most keys at a time.
    pub const LEN_MAX: usize = 8;

    /// Takes the keys, newest first, and wipes the secrets once they are set up.
    pub fn new(list: Vec<SigningKey>) -> Result<Self, KeyError> {
        if list.is_empty() {
            return Err(KeyError::None);
        }
        if list.len() > Self::LEN_MAX {
            return Err(KeyError::TooMany);
        }
        let mut keys = Vec::<Key>::with_capacity(list.len());
        for SigningKey { kid, issuer, secret } in list {
            if secret.len() < SECRET_LEN_MIN {
                return Err(KeyError::ShortSecret(secret.len()));
            }
            if !is_plain_name(&issuer) {
                return Err(KeyError::Issuer);
            }
            if keys.iter().any(|key| key.kid == kid) {
                return Err(KeyError::SameKid);
            }
            keys.push(Key { kid, issuer, mac: hmac(secret.expose()) });
        }
        Ok(Self { keys, stand_in: hmac(&[0; SECRET_LEN_MIN]) })
    }

    /// The name of a key in the list, which is the same on every node, wherever in its list it is.
    pub fn kid(&self, index: KidIndex) -> Option<&Kid> {
        self.keys.get(usize::from(index.0)).map(|key| &key.kid)
    }

    /// Makes a token with the first key.
    ///
    /// The lifetime is at least a second and at most what `policy` allows, the session at least a
    /// second and at most [`SESSION_MAX_S`]. `jti` are 16 fresh random bytes.
    #[expect(clippy::too_many_arguments, reason = "each is a claim, and each has its own type")]
    #[expect(clippy::missing_panics_doc, reason = "the list of keys is never empty")]
    pub fn mint(
        &self,
        policy: &Policy,
        room: &RoomId,
        cap: Cap,
        ttl_s: u64,
        session: Option<u32>,
        jti: Jti,
        now: UnixSeconds,
    ) -> Zeroizing<String> {
        let key = self.keys.first().expect("`new` refuses an empty list");
        let header =
            RawHeader { alg: ALGORITHM.into(), kid: key.kid.as_str().into(), typ: TYPE.into() };
        let claims = RawClaims {
            iss: key.issuer.as_str().into(),
            aud: policy.audience.as_str().into(),
            room: room.to_base64url().into(),
            cap: cap.to_text().into(),
            iat: now.0,
            exp: now.0.saturating_add(ttl_s.clamp(1, policy.lifetime_s())),
            jti: jti.to_base64url().into(),
            ses: session.map(|seconds| seconds.clamp(1, SESSION_MAX_S)),
        };
        // Room for the whole token, so that growing leaves no copy behind that is not wiped.
        let mut token = Zeroizing::new(String::with_capacity(TOKEN_LEN_MAX));
        append_json(&mut token, &header);
        token.push('.');
        append_json(&mut token, &claims);
        let mut mac = key.mac.clone();
        mac.update(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(mac.finalize().into_bytes(), &mut token);
        token
    }

    /// Checks a token and returns what it says.
    ///
    /// That it was not used before is not checked here.
    pub fn verify(
        &self,
        policy: &Policy,
        token: &str,
        now: UnixSeconds,
    ) -> Result<Claims, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        let parts = Parts::decode(token)?;
        let (kid, key) = self.authenticate(&parts)?;
        let raw: RawClaims<'_> = object(parts.claims()).ok_or(Fault::Claims)?;
        let claims = Claims::read(&raw, kid)?;
        claims.check_times(policy, now)?;
        if raw.aud != policy.audience {
            return Err(Fault::Audience.into());
        }
        if raw.iss != key.issuer {
            return Err(Fault::Issuer.into());
        }
        Ok(claims)
    }

    /// Checks the header and the MAC.
    fn authenticate(&self, parts: &Parts<'_>) -> Result<(KidIndex, &Key), Fault> {
        let header: RawHeader<'_> = object(parts.header()).ok_or(Fault::Header)?;
        if header.alg != ALGORITHM {
            return Err(Fault::Algorithm);
        }
        if header.typ != TYPE {
            return Err(Fault::Type);
        }
        let found = (0..).zip(&self.keys).find(|(_, key)| key.kid.as_str() == header.kid);
        let mut mac = found.map_or(&self.stand_in, |(_, key)| &key.mac).clone();
        mac.update(parts.signed.as_bytes());
        let holds = mac.verify_slice(parts.signature()).is_ok();
        match found {
            None => Err(Fault::Key),
            Some(_) if !holds => Err(Fault::Signature),
            Some((index, key)) => Ok((KidIndex(index), key)),
        }
    }
}

impl Policy {
    /// Longest lifetime, in seconds, at least one.
    fn lifetime_s(&self) -> u64 {
        self.lifetime_max_s.clamp(1, LIFETIME_HARD_MAX_S)
    }
}

impl Claims {
    fn read(raw: &RawClaims<'_>, kid: KidIndex) -> Result<Self, Fault> {
        if raw.ses.is_some_and(|seconds| !(1..=SESSION_MAX_S).contains(&seconds)) {
            return Err(Fault::Session);
        }
        Ok(Self {
            room: RoomId::from_base64url(&raw.room).ok_or(Fault::Room)?,
            cap: Cap::parse(&raw.cap).ok_or(Fault::Cap)?,
            iat: UnixSeconds(raw.iat),
            exp: UnixSeconds(raw.exp),
            jti: Jti::from_base64url(&raw.jti).ok_or(Fault::Jti)?,
            session: raw.ses,
            kid,
        })
    }

    fn check_times(&self, policy: &Policy, now: UnixSeconds) -> Result<(), TokenError> {
        let lifetime = self.exp.0.checked_sub(self.iat.0);
        if !lifetime.is_some_and(|s| (1..=policy.lifetime_s()).contains(&s)) {
            return Err(Fault::Lifetime.into());
        }
        if self.iat.0 > now.0.saturating_add(policy.skew_s) {
            return Err(Fault::NotYet.into());
        }
        if now.0 >= self.exp.0.saturating_add(policy.skew_s) {
            return Err(TokenError::Expired);
        }
        Ok(())
    }
}

/// Whether an issuer or audience has 1 to [`NAME_LEN_MAX`] printable ASCII characters, none of
/// which JSON writes in more than one byte.
pub fn is_plain_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
    (1..=NAME_LEN_MAX).contains(&text.len()) && text.bytes().all(plain)
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}
