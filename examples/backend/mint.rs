//! Mints join tokens in Rust, with nothing of the relay: `hmac`, `sha2`, `base64` and `serde_json`.
//!
//! ```sh
//! JOIN_TOKEN_SECRET_FILE=join-token.secret cargo run --example backend_mint -- ROOM CAP [TTL_S [SESSION_S]]
//! ```
//!
//! ROOM is base64url of 16 to 32 bytes; CAP are letters of s, r, o and c (docs/protocol.md, section
//! 4). `TOKEN_KID`, `TOKEN_ISSUER` and `TOKEN_AUDIENCE` are those of the relay.

#![expect(clippy::print_stdout, reason = "the token is all that it has to say")]
#![expect(
    clippy::disallowed_methods,
    reason = "those are the relay's rules, and this is a backend"
)]

use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

/// What the relay and the backend have in common.
struct Settings {
    secret: Vec<u8>,
    kid: String,
    issuer: String,
    audience: String,
}

impl Settings {
    fn of_environment() -> Result<Self, Box<dyn Error>> {
        let or = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
        let mut secret = fs::read(env::var("JOIN_TOKEN_SECRET_FILE")?)?;
        // One line end is not part of the secret: the relay reads the same file in the same way.
        if secret.pop_if(|last| *last == b'\n').is_some() {
            secret.pop_if(|last| *last == b'\r');
        }
        Ok(Self {
            secret,
            kid: or("TOKEN_KID", "k1"),
            issuer: or("TOKEN_ISSUER", "lethewire"),
            audience: or("TOKEN_AUDIENCE", "lethewire"),
        })
    }

    /// A token that lets its bearer into a room once; `session_s` is how long it may stay.
    fn mint(
        &self,
        room: &str,
        cap: &str,
        ttl_s: u64,
        session_s: Option<u64>,
    ) -> Result<String, Box<dyn Error>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut jti = [0; 16];
        getrandom::fill(&mut jti)?;
        let header = json!({ "alg": "HS256", "kid": self.kid, "typ": "lethewire-join+jwt" });
        let mut claims = json!({
            "iss": self.issuer,
            "aud": self.audience,
            "room": room,
            "cap": cap,
            "iat": now,
            "exp": now + ttl_s,
            "jti": URL_SAFE_NO_PAD.encode(jti),
        });
        if let (Some(seconds), Some(claims)) = (session_s, claims.as_object_mut()) {
            claims.insert("ses".to_owned(), seconds.into());
        }
        let encode = |part: &serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret)?;
        mac.update(signed.as_bytes());
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [room, cap, rest @ ..] = &*arguments else {
        return Err("which room, and what cap?".into());
    };
    let number = |at: usize| rest.get(at).map(|text: &String| text.parse::<u64>()).transpose();
    let token =
        Settings::of_environment()?.mint(room, cap, number(0)?.unwrap_or(60), number(1)?)?;
    println!("{token}");
    Ok(())
}
