//! The one door to the crypto library (aws-lc-rs).
//!
//! Other crates name algorithms by what they are for and never see the library's types, so it
//! can be replaced in one place. Pure as all of `core`: no clock, and no generator of its own
//! but inside key generation and randomized signatures (see `zone_ports::Random`); whoever needs
//! random bytes here passes a [`Fill`].
//!
//! # What must hold
//!
//! * Comparing, multiplying and choosing on secrets takes the same time whatever they are.
//! * Key material of ours is wiped when dropped; the library wipes its own contexts when it
//!   frees them (`OPENSSL_free` and `HMAC_CTX_cleanup` cleanse).
//!
//! # Deliberately absent
//!
//! Anything with a choice of algorithm by name at run time, and key storage.

pub mod aead;
pub mod hash;
pub mod hkdf;
pub mod hmac;
pub mod password;
pub mod shamir;
pub mod sign;
pub mod text;

pub use hash::{Sha256, sha1, sha256};
pub use hmac::hmac_sha256;

use subtle::ConstantTimeEq;

/// Fills a buffer with random bytes: `&mut |out| random.fill(out)`.
pub type Fill<'a> = &'a mut dyn FnMut(&mut [u8]);

/// Whether `a` and `b` are the same bytes, in time that depends on their lengths alone.
pub fn ct_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ct_eq_needs_every_byte_and_the_length() {
        assert!(ct_eq(b"abc", b"abc"));
        assert!(!ct_eq(b"abc", b"abd"));
        assert!(!ct_eq(b"xbc", b"abc"));
        assert!(!ct_eq(b"abc", b"ab"));
        assert!(ct_eq(b"", b""));
    }
}
