//! HMAC-SHA256 (RFC 2104).

use std::fmt;

use aws_lc_rs::hmac;

/// A key that is set up once and used often. Wiped when dropped.
#[derive(Clone)]
pub struct Key(hmac::Key);

impl Key {
    /// Any length; 32 random bytes are best.
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The code of `data`.
    pub fn sign(&self, data: &[u8]) -> [u8; 32] {
        self.sign_parts(&[data])
    }

    /// The code of the parts one after the other. Parts of varying length need a separator or a
    /// length of their own, else two lists give one code.
    pub fn sign_parts(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }

    /// Whether `code` is the code of `data`, in constant time.
    pub fn verify(&self, data: &[u8], code: &[u8]) -> bool {
        hmac::verify(&self.0, data, code).is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hmac key]")
    }
}

/// The code of `data` under `key`.
pub fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; 32] {
    Key::new(key).sign(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4231_test_case_2() {
        let want = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let key = Key::new(b"Jefe");
        assert_eq!(hex::encode(key.sign(b"what do ya want for nothing?")), want);
        assert_eq!(
            hex::encode(key.sign_parts(&[b"what do ya ", b"want for nothing?"])),
            want
        );
        let code = hmac_sha256(b"Jefe", b"x");
        assert!(key.verify(b"x", &code));
        assert!(!key.verify(b"y", &code));
        assert!(!key.verify(b"x", &code[..31]));
    }
}
