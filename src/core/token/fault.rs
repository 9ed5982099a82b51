//! Why a token is refused: for the peer a close code, for the operator the first check that failed.

use thiserror::Error;

use super::{SESSION_MAX_S, TOKEN_LEN_MAX, TYPE};
use crate::core::close::Close;

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// There is none.
    #[error("no token")]
    Missing,
    /// It is not one of ours. The fault is for the operator's `token inspect`, never for a peer.
    #[error("{0}")]
    Invalid(Fault),
    /// It was one of ours, and its time is over.
    #[error("its time is over")]
    Expired,
}

impl TokenError {
    /// The code that the connection is closed with.
    pub const fn close(self) -> Close {
        match self {
            Self::Missing => Close::TokenMissing,
            Self::Invalid(_) => Close::TokenInvalid,
            Self::Expired => Close::TokenExpired,
        }
    }
}

/// The first check that a token fails, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// Longer than [`TOKEN_LEN_MAX`].
    #[error("longer than {TOKEN_LEN_MAX} characters")]
    Length,
    /// Not three parts between dots.
    #[error("not three segments separated by dots")]
    Segments,
    /// A part is not canonical base64url.
    #[error("a segment is not canonical base64url without padding")]
    Encoding,
    /// The header is not an object of exactly `alg`, `kid` and `typ`.
    #[error("the header is not a JSON object of exactly the strings alg, kid and typ, each once")]
    Header,
    /// `alg` is another algorithm.
    #[error("alg is not HS256")]
    Algorithm,
    /// `typ` is another type.
    #[error("typ is not {TYPE}")]
    Type,
    /// `kid` names none of the keys.
    #[error("kid is not one of the configured keys")]
    Key,
    /// The MAC does not hold.
    #[error("the signature does not match")]
    Signature,
    /// The claims are not an object of exactly the known claims with their types.
    #[error(
        "the claims are not a JSON object of exactly iss, aud, room, cap, iat, exp, jti and \
         optionally ses, each once, with non-negative integers for iat, exp and ses"
    )]
    Claims,
    /// `room` is not a room's name.
    #[error("room is not canonical base64url of 16 to 32 bytes")]
    Room,
    /// `cap` is not a set of letters.
    #[error("cap is not one to four distinct letters of s, r, o and c")]
    Cap,
    /// `jti` is not 16 bytes.
    #[error("jti is not canonical base64url of 16 bytes")]
    Jti,
    /// `ses` is zero or above [`SESSION_MAX_S`].
    #[error("ses is not 1 to {SESSION_MAX_S} seconds")]
    Session,
    /// `exp` is not after `iat`, or too long after it.
    #[error("exp is not after iat, or further after it than this relay allows")]
    Lifetime,
    /// `iat` is in the future.
    #[error("iat is in the future")]
    NotYet,
    /// `aud` is another relay.
    #[error("aud is not this relay's audience")]
    Audience,
    /// `iss` is not the issuer that belongs to the key.
    #[error("iss is not the issuer configured for this kid")]
    Issuer,
}

impl From<Fault> for TokenError {
    fn from(fault: Fault) -> Self {
        Self::Invalid(fault)
    }
}
