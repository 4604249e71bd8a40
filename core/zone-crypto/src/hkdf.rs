//! HKDF-SHA256 (RFC 5869).

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use zone_types::Secret;

/// Derives 32 bytes from `secret`. `info` names the use, so that two uses never share a key.
pub fn derive(secret: &[u8], salt: &[u8], info: &[&[u8]]) -> Secret<[u8; 32]> {
    let prk = Salt::new(HKDF_SHA256, salt).extract(secret);
    let mut out = [0; 32];
    // `fill` fails only on a length other than the one asked of `expand`, and `expand` only
    // beyond 255 blocks; both are one block here.
    prk.expand(info, HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut out))
        .expect("one block is within HKDF's limit");
    Secret::new(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_5869_test_case_1_first_block() {
        let salt: Vec<u8> = (0..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let okm = derive(&[0x0b; 22], &salt, &[&info]);
        assert_eq!(
            hex::encode(okm.expose()),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
        );
    }
}
