//! AES-256-GCM (NIST SP 800-38D) with explicit 96-bit nonces.
//!
//! The caller owes a fresh nonce for each record that a key seals: random ones are safe for 2^32
//! records of one key (section 8.3), which the barrier counts.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// Bytes of a key.
pub const KEY_LEN: usize = 32;
/// Bytes of a nonce.
pub const NONCE_LEN: usize = 12;
/// Bytes of a tag.
pub const TAG_LEN: usize = 16;

/// What was given does not open under this key, nonce and associated data. Says no more, so
/// that it cannot serve as an oracle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ciphertext does not belong to this key and context")]
pub struct OpenFault;

/// An expanded key. Its schedule lives on the heap and is wiped when dropped; hold it only as
/// long as one operation takes if the key itself lies in locked memory.
pub struct Key(LessSafeKey);

impl Key {
    /// Expands `key`.
    pub fn new(key: &[u8; KEY_LEN]) -> Self {
        let unbound = UnboundKey::new(&AES_256_GCM, key);
        Self(LessSafeKey::new(
            unbound.expect("the key has the length that AES-256 takes"),
        ))
    }

    /// Encrypts `in_out` in place and returns the tag.
    pub fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], in_out: &mut [u8]) -> [u8; TAG_LEN] {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(aad), in_out);
        let mut out = [0; TAG_LEN];
        out.copy_from_slice(tag.expect("a record is far below GCM's 64 GiB").as_ref());
        out
    }

    /// Decrypts `sealed` (ciphertext, then tag) in place; returns the plaintext part of it.
    ///
    /// # Errors
    ///
    /// [`OpenFault`]: nothing of the buffer may be used.
    pub fn open<'a>(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenFault> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .open_in_place(nonce, Aad::from(aad), sealed)
            .map_err(|_| OpenFault)
    }

    /// Decrypts `sealed` (ciphertext, then tag) into a buffer of its own, with no copy between.
    pub fn open_copy(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenFault> {
        let at = sealed.len().checked_sub(TAG_LEN).ok_or(OpenFault)?;
        let (ciphertext, tag) = sealed.split_at(at);
        let mut out = Zeroizing::new(vec![0; at]);
        self.0
            .open_separate_gather(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(aad),
                ciphertext,
                tag,
                &mut out,
            )
            .map_err(|_| OpenFault)?;
        Ok(out)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[aes key]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test case 16 of McGrew and Viega, "The Galois/Counter Mode of Operation".
    #[test]
    fn gcm_test_case_16() {
        let key: [u8; 32] =
            hex::decode("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
                .unwrap()
                .try_into()
                .unwrap();
        let nonce: [u8; 12] = hex::decode("cafebabefacedbaddecaf888")
            .unwrap()
            .try_into()
            .unwrap();
        let aad = hex::decode("feedfacedeadbeeffeedfacedeadbeefabaddad2").unwrap();
        let plain = hex::decode(concat!(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
            "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
        ))
        .unwrap();
        let key = Key::new(&key);
        let mut text = plain.clone();
        let tag = key.seal(&nonce, &aad, &mut text);
        assert_eq!(hex::encode(tag), "76fc6ece0f4e1768cddf8853bb2d551b");
        assert!(hex::encode(&text).starts_with("522dc1f099567d07f47f37a32a84427d"));
        text.extend(tag);
        assert_eq!(
            key.open_copy(&nonce, &aad, &text).unwrap().as_slice(),
            &plain
        );
        assert_eq!(key.open(&nonce, &aad, &mut text).unwrap(), &plain);
    }

    #[test]
    fn b3_any_changed_bit_is_refused() {
        let key = Key::new(&[7; 32]);
        let mut sealed = b"attack at dawn".to_vec();
        let tag = key.seal(&[1; 12], b"where", &mut sealed);
        sealed.extend(tag);
        for bit in 0..sealed.len() * 8 {
            let mut bent = sealed.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open_copy(&[1; 12], b"where", &bent).is_err());
        }
        assert_eq!(key.open_copy(&[2; 12], b"where", &sealed), Err(OpenFault));
        assert_eq!(key.open_copy(&[1; 12], b"there", &sealed), Err(OpenFault));
        assert_eq!(
            key.open_copy(&[1; 12], b"where", &sealed[..15]),
            Err(OpenFault)
        );
        assert_eq!(
            Key::new(&[8; 32]).open_copy(&[1; 12], b"where", &sealed),
            Err(OpenFault)
        );
    }
}
