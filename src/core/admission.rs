//! A room is its own certificate: hashes that tie a room's name to its key and its owner.
//!
//! The name is a hash of the admission key and of the owner's hash, so the relay keeps no table of
//! who made what: it hashes what a client shows and compares. Nobody can take a name or change a
//! room's owner without a second preimage, and any member can restore a room that the relay forgot.
//! What a record looks like in memory is `admission::records`; here are only the rules.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::id::{RoomId, array_from_base64url, to_base64url};
use super::secret::Secret32;

/// What a member shows to be let in (`K_adm`): derived from the link's secret, and says nothing
/// about the key of the messages.
pub struct AdmissionKey(Secret32);

impl AdmissionKey {
    /// Takes over a key.
    pub const fn new(key: Secret32) -> Self {
        Self(key)
    }

    /// Parses canonical base64url of 32 bytes.
    pub fn from_base64url(text: &str) -> Option<Self> {
        Secret32::from_base64url(text).map(Self)
    }
}

/// What an owner shows to be obeyed (`W`): never derived from the link, never part of it.
pub struct OwnerSecret(Secret32);

impl OwnerSecret {
    /// Takes over a secret.
    pub const fn new(secret: Secret32) -> Self {
        Self(secret)
    }

    /// Parses canonical base64url of 32 bytes.
    pub fn from_base64url(text: &str) -> Option<Self> {
        Secret32::from_base64url(text).map(Self)
    }
}

/// The owner's half of a room's name (`O`), part of the link and so known to all members.
///
/// There is no `==`: comparing goes through [`OwnerHash::matches`], in constant time.
#[derive(Clone, Copy)]
pub struct OwnerHash([u8; Self::LEN]);

impl OwnerHash {
    /// Length of the binary form, in bytes.
    pub const LEN: usize = 16;

    /// Wraps the binary form.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Parses the text form.
    pub fn from_base64url(text: &str) -> Option<Self> {
        array_from_base64url(text).map(Self)
    }

    /// The text form, for the wire only.
    pub fn to_base64url(&self) -> String {
        to_base64url(&self.0)
    }

    /// The binary form.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Whether both are the same, in a time that does not depend on where they differ.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// The hash that an owner's secret stands behind.
pub fn owner_hash(secret: &OwnerSecret) -> OwnerHash {
    OwnerHash(truncated(Sha256::new().chain_update(OWNER).chain_update(secret.0.expose())))
}

/// The name of the room that this key opens and this owner rules.
#[expect(clippy::missing_panics_doc, reason = "the length is fixed")]
pub fn room_id(key: &AdmissionKey, owner: &OwnerHash) -> RoomId {
    let hash = Sha256::new().chain_update(ROOM).chain_update(admission_hash(key));
    let name: [u8; RoomId::LEN_MIN] = truncated(hash.chain_update(owner.0));
    RoomId::new(&name).expect("16 bytes are a name")
}

/// Whether this key and this owner's hash are those of `room`, in constant time.
pub fn opens(room: &RoomId, key: &AdmissionKey, owner: &OwnerHash) -> bool {
    room_id(key, owner).as_bytes().ct_eq(room.as_bytes()).into()
}

/// What a room does with a payload whose size is no announced bucket. Later ones are stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaddingPolicy {
    /// It is delivered.
    Off,
    /// It is delivered and counted, and its sender is told once.
    Warn,
    /// Its sender is closed as `padding_violation`.
    Enforce,
}

/// What an owner may choose for a room. Each field is at most the relay's ceiling, and the policy at
/// least as strict as the relay's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomOptions {
    /// How long the room lives at most, in seconds since it was made.
    pub ttl_s: u32,
    /// How long the room stays after its last member left, in seconds.
    pub idle_s: u32,
    /// How many members fit.
    pub members_max: u32,
    /// What is done with sizes that are not announced.
    pub padding: PaddingPolicy,
}

impl RoomOptions {
    /// Fewer members than two are no room.
    pub const MEMBERS_MIN: u32 = 2;

    /// These options with the changes that were asked for, if all of them are in range: at least
    /// one second, at least two members, nothing above `ceilings`, and no policy looser than theirs.
    pub fn changed(self, wanted: &WantedOptions, ceilings: &Self) -> Result<Self, OutOfRange> {
        let pick = |wanted: Option<u32>, old: u32, least: u32, most: u32| match wanted {
            None => Ok(old),
            Some(value) if (least..=most).contains(&value) => Ok(value),
            Some(_) => Err(OutOfRange),
        };
        let most = ceilings;
        let padding = wanted.padding.unwrap_or(self.padding);
        if padding < ceilings.padding {
            return Err(OutOfRange);
        }
        Ok(Self {
            ttl_s: pick(wanted.ttl_s, self.ttl_s, 1, most.ttl_s)?,
            idle_s: pick(wanted.idle_s, self.idle_s, 1, most.idle_s)?,
            members_max: pick(
                wanted.members_max,
                self.members_max,
                Self::MEMBERS_MIN,
                most.members_max,
            )?,
            padding,
        })
    }
}

/// The changes to [`RoomOptions`] that somebody asks for. `None` leaves a field as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WantedOptions {
    /// Seconds since the room was made.
    pub ttl_s: Option<u32>,
    /// Seconds after the last member left.
    pub idle_s: Option<u32>,
    /// Number of members.
    pub members_max: Option<u32>,
    /// What is done with sizes that are not announced.
    pub padding: Option<PaddingPolicy>,
}

/// An option is below its minimum or above the relay's ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a room option is out of range")]
pub struct OutOfRange;

/// What the relay hashes a key to before anything else (`A`).
fn admission_hash(key: &AdmissionKey) -> [u8; 32] {
    Sha256::new().chain_update(ADMISSION).chain_update(key.0.expose()).finalize().into()
}

fn truncated(hash: Sha256) -> [u8; 16] {
    let whole: [u8; 32] = hash.finalize().into();
    let (half, _) = whole.split_first_chunk().expect("16 is less than 32");
    *half
}

const ADMISSION: &[u8] = b"lethewire/v1 admission\0";
const OWNER: &[u8] = b"lethewire/v1 owner\0";
const ROOM: &[u8] = b"lethewire/v1 room\0";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(text: &serde_json::Value) -> Vec<u8> {
        let text = text.as_str().unwrap().as_bytes();
        let digit = |c: u8| u8::try_from(char::from(c).to_digit(16).unwrap()).unwrap();
        text.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }

    #[test]
    fn keys_and_names_are_those_of_the_vectors() {
        let vectors = include_str!("../../tests/vectors/link.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert!(cases.len() >= 2);
        for case in cases {
            let secret = |name: &str| Secret32::from_slice(&hex(&case[name])).unwrap();
            let key = AdmissionKey::new(secret("admission_key"));
            assert_eq!(admission_hash(&key).as_slice(), hex(&case["admission_hash"]));

            let owner = owner_hash(&OwnerSecret::new(secret("owner_secret")));
            assert_eq!(owner.as_bytes().as_slice(), hex(&case["owner_hash"]));
            assert!(case["link"].as_str().unwrap().ends_with(&owner.to_base64url()));

            let room = room_id(&key, &owner);
            assert_eq!(room.as_bytes(), hex(&case["room"]));
            assert_eq!(room.to_base64url(), case["room_b64url"].as_str().unwrap());
            assert!(opens(&room, &key, &owner));
        }
    }

    #[test]
    fn text_forms_are_strict() {
        let long = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        assert!(AdmissionKey::from_base64url(long).is_some());
        assert!(OwnerSecret::from_base64url(long).is_some());
        assert!(OwnerHash::from_base64url("D1ZVk44JM7QVgejv9qRC-A").is_some());
        for bad in ["", "AAAA", &long[1..], &format!("{long}="), &format!("{}9", &long[1..])] {
            assert!(AdmissionKey::from_base64url(bad).is_none(), "{bad}");
            assert!(OwnerSecret::from_base64url(bad).is_none(), "{bad}");
            assert!(OwnerHash::from_base64url(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn options_stay_between_their_least_and_the_ceilings() {
        let padding = PaddingPolicy::Off;
        let most = RoomOptions { ttl_s: 100, idle_s: 50, members_max: 8, padding };
        let none = WantedOptions::default();
        assert_eq!(most.changed(&none, &most), Ok(most));
        for (wanted, fits) in [
            (WantedOptions { ttl_s: Some(1), ..none }, true),
            (WantedOptions { ttl_s: Some(0), ..none }, false),
            (WantedOptions { ttl_s: Some(100), ..none }, true),
            (WantedOptions { ttl_s: Some(101), ..none }, false),
            (WantedOptions { idle_s: Some(0), ..none }, false),
            (WantedOptions { idle_s: Some(50), ..none }, true),
            (WantedOptions { idle_s: Some(51), ..none }, false),
            (WantedOptions { members_max: Some(1), ..none }, false),
            (WantedOptions { members_max: Some(2), ..none }, true),
            (WantedOptions { members_max: Some(9), ..none }, false),
        ] {
            assert_eq!(most.changed(&wanted, &most).is_ok(), fits, "{wanted:?}");
        }
    }

    #[test]
    fn a_policy_may_be_stricter_than_the_floor_and_never_looser() {
        use PaddingPolicy::{Enforce, Off, Warn};
        let options = |padding| RoomOptions { ttl_s: 1, idle_s: 1, members_max: 2, padding };
        for floor in [Off, Warn, Enforce] {
            for before in [Off, Warn, Enforce] {
                for wanted in [Off, Warn, Enforce] {
                    let asked = WantedOptions { padding: Some(wanted), ..WantedOptions::default() };
                    let changed = options(before).changed(&asked, &options(floor));
                    let fits = matches!(
                        (floor, wanted),
                        (Off, _) | (Warn, Warn | Enforce) | (Enforce, Enforce)
                    );
                    let expected = if fits { Ok(options(wanted)) } else { Err(OutOfRange) };
                    assert_eq!(changed, expected, "{wanted:?} above {floor:?}");
                }
            }
        }
    }

    proptest! {
        /// Whatever bit differs in key or owner, the room is another one.
        #[test]
        fn no_other_key_or_owner_opens_a_room(
            key in any::<[u8; 32]>(),
            owner in any::<[u8; 16]>(),
            bit in 0..384_usize,
        ) {
            let name = |key, owner| {
                room_id(&AdmissionKey::new(Secret32::new(key)), &OwnerHash::from_bytes(owner))
            };
            let room = name(key, owner);
            let (mut other_key, mut other_owner) = (key, owner);
            match bit.checked_sub(256) {
                None => other_key[bit / 8] ^= 1 << (bit % 8),
                Some(bit) => other_owner[bit / 8] ^= 1 << (bit % 8),
            }
            let key = AdmissionKey::new(Secret32::new(other_key));
            let owner = OwnerHash::from_bytes(other_owner);
            prop_assert!(!opens(&room, &key, &owner));
            prop_assert!(opens(&name(other_key, other_owner), &key, &owner));
        }
    }
}
