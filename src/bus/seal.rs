//! What nodes write for each other is sealed: Redis can neither read nor change it, nor put it into
//! another room, nor pass it off as new.
//!
//! Each node has a key of its own, derived from the common secret and its name, and seals with a
//! counter that only rises, so no nonce is used twice. Whatever is sealed begins with the node and
//! the counter. A reader derives the key from the name, and keeps it once it has opened something.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aes_gcm::aead::{AeadInOut as _, KeyInit as _, Nonce};
use aes_gcm::{Aes256Gcm, Tag};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::names::subkey;
use crate::core::id::NodeId;
use crate::core::secret::{Secret32, SecretBytes};

/// Bytes in front of what is encrypted: the node and the counter.
const HEAD: usize = NodeId::LEN + 8;
/// Bytes behind it.
const TAG: usize = 16;
/// Bytes of the length in front of the padded content.
const LENGTH: usize = 4;
/// Smallest padded content, its length included.
const BUCKET_MIN: usize = 64;
/// How many other nodes' keys are kept. A node more costs a derivation per envelope, nothing else.
const KEYS_MAX: usize = 1024;

/// One sequence of envelopes: a name, its key, and how far it has counted.
pub(super) struct Voice {
    node: NodeId,
    key: Aes256Gcm,
    counter: AtomicU64,
}

impl Voice {
    pub(super) const fn node(&self) -> NodeId {
        self.node
    }

    /// The next counter; never the same twice.
    pub(super) fn count(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Seals `content` for `place`, padded so that only its order of magnitude can be seen.
    ///
    /// A counter from [`Voice::count`] is for one call.
    pub(super) fn seal(&self, counter: u64, place: &[u8], content: &[u8]) -> Vec<u8> {
        let padded = padded_len(LENGTH + content.len());
        let mut sealed = Vec::with_capacity(HEAD + padded + TAG);
        sealed.extend_from_slice(self.node.as_bytes());
        sealed.extend_from_slice(&counter.to_be_bytes());
        let length = u32::try_from(content.len()).expect("a batch is far below 4 GiB");
        sealed.extend_from_slice(&length.to_be_bytes());
        sealed.extend_from_slice(content);
        sealed.resize(HEAD + padded, 0);
        let said = said(self.node, counter, place);
        let (_, plain) = sealed.split_at_mut(HEAD);
        let tag = self
            .key
            .encrypt_inout_detached(&nonce(counter), &said, plain.into())
            .expect("a batch is far below 64 GiB");
        sealed.extend_from_slice(&tag);
        sealed
    }
}

/// Opens what any node sealed.
pub(super) struct Sealer {
    secret: Secret32,
    known: RwLock<HashMap<NodeId, Arc<Aes256Gcm>>>,
}

/// What was in an envelope.
#[derive(PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) node: NodeId,
    pub(super) counter: u64,
    pub(super) content: Vec<u8>,
}

impl Sealer {
    pub(super) fn new(secret: &SecretBytes) -> Self {
        let secret = subkey(secret, b"lethewire bus: seal, 1");
        Self { secret, known: RwLock::default() }
    }

    /// A sequence of this process; `node` is fresh and random.
    pub(super) fn voice(&self, node: NodeId) -> Voice {
        Voice { node, key: self.derive(node), counter: AtomicU64::new(0) }
    }

    /// Opens an envelope that was sealed for `place` and begins `skip` bytes into `bytes`. `None`
    /// if it was not sealed by any node, for this place, or was changed.
    pub(super) fn open(&self, place: &[u8], mut bytes: Vec<u8>, skip: usize) -> Option<Opened> {
        let (node, counter) = head(bytes.get(skip..)?)?;
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned();
        let key = known.clone().unwrap_or_else(|| Arc::new(self.derive(node)));
        let tag = Tag::try_from(bytes.get(bytes.len().checked_sub(TAG)?..)?).ok()?;
        let end = bytes.len() - TAG;
        let sealed = bytes.get_mut(skip + HEAD..end)?;
        let said = said(node, counter, place);
        key.decrypt_inout_detached(&nonce(counter), &said, sealed.into(), &tag).ok()?;
        if known.is_none() {
            self.keep(node, key);
        }
        let start = skip + HEAD + LENGTH;
        let length = bytes.get(skip + HEAD..start)?.try_into().map(u32::from_be_bytes).ok()?;
        let length = usize::try_from(length).ok()?;
        if start.checked_add(length)? > end {
            return None;
        }
        bytes.copy_within(start..start + length, 0);
        bytes.truncate(length);
        Some(Opened { node, counter, content: bytes })
    }

    fn keep(&self, node: NodeId, key: Arc<Aes256Gcm>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEYS_MAX {
            known.clear();
        }
        known.insert(node, key);
    }

    fn derive(&self, node: NodeId) -> Aes256Gcm {
        let mut key = Zeroizing::new([0; Secret32::LEN]);
        Hkdf::<Sha256>::from_prk(self.secret.expose())
            .expect("32 bytes are enough of a key")
            .expand(node.as_bytes(), key.as_mut_slice())
            .expect("HKDF gives 32 bytes");
        Aes256Gcm::new_from_slice(key.as_slice()).expect("the key has 32 bytes")
    }
}

/// The length to which `len` bytes are padded: at most a quarter more, and 64 at least.
fn padded_len(len: usize) -> usize {
    let step = (len.next_power_of_two() / 8).max(BUCKET_MIN);
    len.next_multiple_of(step)
}

fn head(sealed: &[u8]) -> Option<(NodeId, u64)> {
    let node = sealed.get(..NodeId::LEN)?.try_into().ok()?;
    let counter = sealed.get(NodeId::LEN..HEAD)?.try_into().ok()?;
    Some((NodeId::from_bytes(node), u64::from_be_bytes(counter)))
}

fn nonce(counter: u64) -> Nonce<Aes256Gcm> {
    let mut nonce = Nonce::<Aes256Gcm>::default();
    let (_, low) = nonce.split_at_mut(4);
    low.copy_from_slice(&counter.to_be_bytes());
    nonce
}

/// What is authenticated with the content: where it belongs, and whose it is.
fn said(node: NodeId, counter: u64, place: &[u8]) -> Vec<u8> {
    let mut said = Vec::with_capacity(HEAD + place.len());
    said.extend_from_slice(node.as_bytes());
    said.extend_from_slice(&counter.to_be_bytes());
    said.extend_from_slice(place);
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLACE: &[u8] = b"lw:{7}:oAAAA";

    fn sealer(secret: u8) -> Sealer {
        Sealer::new(&SecretBytes::new(vec![secret; 32]))
    }

    fn sealed(content: &[u8]) -> Vec<u8> {
        let voice = sealer(1).voice(NodeId::from_bytes([5; 16]));
        voice.seal(voice.count(), PLACE, content)
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens(content in prop::collection::vec(any::<u8>(), 0..3000), skip in 0..40_usize) {
            let mut bytes = vec![0; skip];
            bytes.extend(sealed(&content));
            let opened = sealer(1).open(PLACE, bytes, skip).unwrap();
            prop_assert!(opened.content == content && opened.counter == 1);
            prop_assert!(opened.node == NodeId::from_bytes([5; 16]));
        }

        #[test]
        fn what_was_changed_does_not(content in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut bytes = sealed(&content);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(sealer(1).open(PLACE, bytes, 0).is_none());
        }

        #[test]
        fn what_was_cut_does_not(cut in 0..140_usize) {
            let mut bytes = sealed(b"content");
            let keep = bytes.len().saturating_sub(cut + 1);
            bytes.truncate(keep);
            prop_assert!(sealer(1).open(PLACE, bytes, 0).is_none());
        }

        #[test]
        fn padding_costs_64_bytes_or_a_quarter_at_most(len in 0..2_000_000_usize) {
            let padded = padded_len(len);
            prop_assert!(padded >= len && padded.is_multiple_of(BUCKET_MIN));
            prop_assert!(padded < len + BUCKET_MIN.max(len / 4 + 1), "{len} {padded}");
        }
    }

    #[test]
    fn an_envelope_opens_in_its_own_place_and_with_its_own_secret_only() {
        assert!(sealer(1).open(b"lw:{7}:oAAAB", sealed(b"x"), 0).is_none());
        assert!(sealer(2).open(PLACE, sealed(b"x"), 0).is_none());
        assert!(sealer(1).open(PLACE, sealed(b"x"), 0).is_some());
    }

    #[test]
    fn equal_contents_look_different_and_different_lengths_alike() {
        let voice = sealer(1).voice(NodeId::from_bytes([5; 16]));
        let seal = |content: &[u8]| voice.seal(voice.count(), PLACE, content);
        let (one, two) = (seal(b"same"), seal(b"same"));
        assert_ne!(one[HEAD..], two[HEAD..]);
        assert_eq!(one.len(), seal(&[0; 60]).len());
        assert_ne!(one.len(), seal(&[0; 61]).len());
    }

    #[test]
    fn keys_of_other_nodes_are_kept_up_to_a_bound_and_only_when_they_opened_something() {
        let sealer = sealer(1);
        for node in 0..KEYS_MAX as u64 + 10 {
            let mut name = [0; 16];
            name[..8].copy_from_slice(&node.to_be_bytes());
            let voice = sealer.voice(NodeId::from_bytes(name));
            let bytes = voice.seal(1, PLACE, b"x");
            let mut forged = bytes.clone();
            forged[0] ^= 1;
            assert!(sealer.open(PLACE, forged, 0).is_none());
            assert!(sealer.open(PLACE, bytes, 0).is_some());
            assert!(sealer.known.read().unwrap().len() <= KEYS_MAX);
        }
        assert_eq!(sealer.known.read().unwrap().len(), 10);
    }
}
