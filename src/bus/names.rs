//! What things are called in Redis: by names that tell nothing to whoever has not got the secret.
//!
//! A room's keys and its channel carry the number of its partition in braces, so that a cluster
//! keeps them together, and only 256 places have to be known.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::core::id::{MemberId, NodeId, RoomId, to_base64url};
use crate::core::secret::{Secret32, SecretBytes};

/// Into how many parts rooms are divided. All nodes must agree.
pub(super) const PARTITIONS: usize = 256;

/// A name in the roster.
pub(super) type Field = [u8; 16];

/// Makes names.
pub(super) struct Names(Hmac<Sha256>);

/// The names of one room.
pub(super) struct RoomNames {
    /// Below [`PARTITIONS`].
    pub(super) partition: usize,
    /// The key of the order, and the channel.
    pub(super) order: Box<str>,
    /// The key of the roster.
    pub(super) roster: Box<str>,
}

impl Names {
    pub(super) fn new(secret: &SecretBytes) -> Self {
        let key = subkey(secret, b"lethewire bus: names, 1");
        Self(Hmac::new_from_slice(key.expose()).expect("HMAC takes keys of any length"))
    }

    pub(super) fn room(&self, room: &RoomId) -> RoomNames {
        let (partition, name) = self.blinded_room(room);
        RoomNames {
            partition,
            order: format!("lw:{{{partition}}}:o{name}").into(),
            roster: format!("lw:{{{partition}}}:m{name}").into(),
        }
    }

    /// The partition and the key of a room's record.
    pub(super) fn record(&self, room: &RoomId) -> (usize, String) {
        let (partition, name) = self.blinded_room(room);
        (partition, format!("lw:{{{partition}}}:c{name}"))
    }

    /// The partition and the key of something that can be used once.
    pub(super) fn used(&self, name: &[u8]) -> (usize, String) {
        let blinded = self.blinded(b'j', &[name]);
        let partition = usize::from(blinded[0]);
        (partition, format!("lw:{{{partition}}}:j{}", to_base64url(&blinded)))
    }

    /// The key of a node's lease in a partition, and the channel of its probes.
    pub(super) fn lease(&self, partition: usize, node: NodeId) -> String {
        let blinded = self.blinded(b'l', &[node.as_bytes()]);
        format!("lw:{{{partition}}}:l{}", to_base64url(&blinded))
    }

    /// A member's field in its room's roster.
    pub(super) fn member(&self, room: &RoomId, member: MemberId) -> Field {
        self.blinded(b'm', &[room.as_bytes(), member.as_bytes()])
    }

    /// How much a server wants a partition; the one that wants it most has it.
    pub(super) fn weight(&self, partition: usize, server: &str) -> Field {
        self.blinded(b's', &[&partition.to_be_bytes(), server.as_bytes()])
    }

    fn blinded_room(&self, room: &RoomId) -> (usize, String) {
        let blinded = self.blinded(b'o', &[room.as_bytes()]);
        (usize::from(blinded[0]), to_base64url(&blinded))
    }

    /// Half an HMAC over the kind and the parts, none of which can be mistaken for another.
    fn blinded(&self, kind: u8, parts: &[&[u8]]) -> Field {
        let mut mac = self.0.clone();
        mac.update(&[kind]);
        for part in parts {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        let mut half = [0; 16];
        half.copy_from_slice(&whole[..16]);
        half
    }
}

/// The partition that a channel's name says.
pub(super) fn partition_of(channel: &[u8]) -> Option<usize> {
    let digits = channel.strip_prefix(b"lw:{")?.split(|byte| *byte == b'}').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|partition| *partition < PARTITIONS)
}

/// A key of its own for each purpose.
pub(super) fn subkey(secret: &SecretBytes, purpose: &[u8]) -> Secret32 {
    let mut key = Zeroizing::new([0; Secret32::LEN]);
    Hkdf::<Sha256>::new(None, secret.expose())
        .expand(purpose, key.as_mut_slice())
        .expect("HKDF gives 32 bytes");
    Secret32::new(*key)
}

const _: () = assert!(PARTITIONS == 256, "a partition is one byte of a name");

#[cfg(test)]
mod tests {
    use super::*;

    fn names(secret: u8) -> Names {
        Names::new(&SecretBytes::new(vec![secret; 32]))
    }

    #[test]
    fn a_name_depends_on_the_secret_the_kind_and_what_it_names() {
        let (room, other) = (RoomId::new(&[7; 16]).unwrap(), RoomId::new(&[7; 17]).unwrap());
        let one = names(1).room(&room);
        assert_eq!(one.order, names(1).room(&room).order);
        assert_ne!(one.order, names(2).room(&room).order);
        assert_ne!(one.order, names(1).room(&other).order);
        assert_ne!(one.order, one.roster);
        let member = MemberId::from_bytes([9; 8]);
        assert_ne!(names(1).member(&room, member), names(1).member(&other, member));
        assert_ne!(names(1).used(b"ab").1, names(1).used(b"abc").1);
    }

    #[test]
    fn all_names_of_a_room_are_in_its_partition() {
        for seed in 0..=255 {
            let room = RoomId::new(&[seed; 16]).unwrap();
            let one = names(1).room(&room);
            let (partition, record) = names(1).record(&room);
            for name in [&*one.order, &*one.roster, &*record] {
                assert_eq!(partition_of(name.as_bytes()), Some(partition));
            }
            assert_eq!(one.partition, partition);
        }
        for not in ["", "lw:{", "lw:{256}:o", "lw:{x}:o", "other"] {
            assert_eq!(partition_of(not.as_bytes()), None, "{not}");
        }
    }

    #[test]
    fn a_name_in_redis_is_not_the_name() {
        let room = RoomId::new(&[7; 16]).unwrap();
        assert!(!names(1).room(&room).order.contains(&room.to_base64url()));
    }
}
