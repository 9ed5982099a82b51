//! Key material: wiped when dropped, never printed, compared in constant time.
//!
//! There is no `Debug`, `Display`, `Serialize` or `Deref` here. The only way to the bytes is
//! `expose`, so searching for that word lists every use. Secrets live on the heap and are moved by
//! pointer, because moving bytes leaves copies behind that nobody wipes.

use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

use super::id;

/// A secret of exactly 32 bytes.
#[derive(ZeroizeOnDrop)]
pub struct Secret32(Box<[u8; Self::LEN]>);

impl Secret32 {
    /// Length, in bytes.
    pub const LEN: usize = 32;

    /// Takes over key material and wipes the copy that was passed in.
    pub fn new(mut bytes: [u8; Self::LEN]) -> Self {
        let secret = Self::from_ref(&bytes);
        bytes.zeroize();
        secret
    }

    /// Copies key material; the caller wipes its own copy.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_ref)
    }

    /// Parses canonical base64url of 32 bytes.
    pub fn from_base64url(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(id::from_base64url(text, Self::LEN)?);
        Self::from_slice(&bytes)
    }

    /// The bytes, for a cryptographic primitive and nothing else.
    pub fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    fn from_ref(bytes: &[u8; Self::LEN]) -> Self {
        let mut secret = Self(Box::new([0; Self::LEN]));
        secret.0.copy_from_slice(bytes);
        secret
    }
}

impl PartialEq for Secret32 {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for Secret32 {}

/// A secret of any length.
///
/// Comparing takes the same time wherever two secrets of one length differ; the length itself is
/// not hidden.
#[derive(ZeroizeOnDrop)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes ownership of key material.
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Length, in bytes.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes at all.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes, for a cryptographic primitive and nothing else.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretBytes {}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

    #[test]
    fn a_secret_of_32_bytes_takes_nothing_else() {
        assert!(Secret32::from_slice(&[7; 31]).is_none());
        assert!(Secret32::from_slice(&[7; 33]).is_none());
        assert!(Secret32::from_slice(&[7; 32]).is_some());
        assert!(Secret32::from_base64url(&TEXT[1..]).is_none());
        assert!(Secret32::from_base64url(&format!("{TEXT}=")).is_none());
        assert_eq!(Secret32::from_base64url(TEXT).unwrap().expose(), &[7; 32]);
    }

    #[test]
    fn equal_means_every_byte() {
        let mut other = [7; 32];
        other[31] ^= 1;
        assert!(Secret32::new([7; 32]) == Secret32::new([7; 32]));
        assert!(Secret32::new([7; 32]) != Secret32::new(other));
        assert!(SecretBytes::new(vec![7; 3]) == SecretBytes::new(vec![7; 3]));
        assert!(SecretBytes::new(vec![7; 3]) != SecretBytes::new(vec![7, 7, 8]));
        assert!(SecretBytes::new(vec![7; 3]) != SecretBytes::new(vec![7; 4]));
        assert!(SecretBytes::new(Vec::new()).is_empty());
        assert_eq!(SecretBytes::new(vec![7; 3]).len(), 3);
    }

    #[test]
    fn dropping_wipes() {
        const fn wipes_on_drop<T: ZeroizeOnDrop>() {}
        wipes_on_drop::<Secret32>();
        wipes_on_drop::<SecretBytes>();
        let mut secret = Secret32::new([7; 32]);
        secret.0.zeroize();
        assert_eq!(secret.expose(), &[0; 32]);
    }
}
