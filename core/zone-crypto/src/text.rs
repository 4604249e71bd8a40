//! Random text for tokens.

use zone_types::Secret;

use crate::Fill;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The largest multiple of 62 in a byte: values from here on are drawn again, so that each
/// digit is equally likely.
const FAIR: u8 = 248;

/// `len` random base62 digits, 5.95 bits each: Vault's tokens have 24 of them (142 bits) behind
/// `hvs.`.
pub fn base62(len: usize, fill: Fill<'_>) -> Secret<String> {
    let mut text = String::with_capacity(len);
    let mut bytes = [0; 32];
    while text.len() < len {
        fill(&mut bytes);
        let fair = bytes.iter().filter(|byte| **byte < FAIR);
        text.extend(
            fair.map(|b| char::from(DIGITS[usize::from(b % 62)]))
                .take(len - text.len()),
        );
    }
    zeroize::Zeroize::zeroize(&mut bytes);
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_digit_is_equally_likely() {
        let mut next = 0u8;
        let mut fill = |out: &mut [u8]| {
            for byte in out {
                *byte = next;
                next = next.wrapping_add(1);
            }
        };
        // Four rounds of all fair bytes: every digit exactly 16 times.
        let text = base62(62 * 16, &mut fill);
        for digit in DIGITS {
            let count = text.expose().bytes().filter(|b| b == digit).count();
            assert_eq!(count, 16, "{}", char::from(*digit));
        }
    }

    #[test]
    fn has_the_length_that_was_asked() {
        let mut fill = |out: &mut [u8]| out.fill(7);
        for len in [0, 1, 24, 33, 95] {
            assert_eq!(base62(len, &mut fill).expose().len(), len);
        }
    }
}
