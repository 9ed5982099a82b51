//! A room's secrets, and how its members ask any relay for tokens.

use std::net::SocketAddr;

use lethewire::core::admission::{AdmissionKey, OwnerSecret, owner_hash, room_id};
use lethewire::core::id::to_base64url;
use lethewire::core::secret::Secret32;
use serde_json::{Value, json};

use super::random;
use super::raw::{Answered, JSON, call};

/// A room.
#[derive(Clone)]
pub(crate) struct Room {
    key: [u8; 32],
    owner_secret: [u8; 32],
    id: String,
}

impl Room {
    /// Makes it known at a relay.
    pub(crate) async fn create(at: SocketAddr) -> Self {
        let (key, owner_secret) = (random(), random());
        let owner = owner_hash(&OwnerSecret::new(Secret32::new(owner_secret)));
        let id = room_id(&AdmissionKey::new(Secret32::new(key)), &owner).to_base64url();
        let room = Self { key, owner_secret, id };
        let body = json!({ "key": room.key(), "owner": owner.to_base64url() });
        let answer = post(at, "/v1/rooms", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(answer.json()["room"], json!(room.id));
        room
    }

    /// A token for it from a relay that may not know it any more, or what the relay says instead.
    pub(crate) async fn restore(&self, at: SocketAddr) -> Result<String, u16> {
        let owner = owner_hash(&OwnerSecret::new(Secret32::new(self.owner_secret)));
        let body = json!({ "key": self.key(), "owner": owner.to_base64url() });
        let answer = post(at, "/v1/rooms", &body).await;
        match answer.status {
            200 | 201 => Ok(answer.json()["token"].as_str().expect("a token").to_owned()),
            status => Err(status),
        }
    }

    /// A token for it, or what the relay says instead.
    pub(crate) async fn ask_token(&self, at: SocketAddr) -> Result<String, u16> {
        let answer = post(at, "/v1/tokens", &json!({ "room": self.id, "key": self.key() })).await;
        if answer.status != 200 {
            return Err(answer.status);
        }
        Ok(answer.json()["token"].as_str().expect("a token").to_owned())
    }

    /// A token for it.
    pub(crate) async fn token(&self, at: SocketAddr) -> String {
        let token = self.ask_token(at).await;
        token.unwrap_or_else(|status| panic!("no token, but {status}"))
    }

    /// The owner's word, over HTTP; the answer's status.
    pub(crate) async fn rule(&self, at: SocketAddr, op: &str, member: Option<&str>) -> u16 {
        let mut body =
            json!({ "room": self.id, "owner_secret": to_base64url(&self.owner_secret), "op": op });
        if let Some(member) = member {
            body["member"] = json!(member);
        }
        post(at, "/v1/owner", &body).await.status
    }

    /// What nobody but its members may see: for the search in captured bytes.
    pub(crate) fn secrets(&self) -> Vec<(&'static str, Vec<u8>)> {
        let id = lethewire::core::id::from_base64url(&self.id, 32).unwrap();
        vec![("key", self.key.to_vec()), ("owner secret", self.owner_secret.to_vec()), ("room", id)]
    }

    fn key(&self) -> String {
        to_base64url(&self.key)
    }
}

async fn post(at: SocketAddr, path: &str, body: &Value) -> Answered {
    call(at, "POST", path, JSON, &body.to_string()).await
}
