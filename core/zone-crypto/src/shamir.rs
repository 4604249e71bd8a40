//! Shamir's secret sharing over GF(2^8), in Vault's share format.
//!
//! The field is AES's (polynomial x^8 + x^4 + x^3 + x + 1, 0x11b). Each byte of the secret is
//! the constant term of a polynomial of degree `threshold - 1` whose other coefficients are
//! uniform random bytes (zero included: a biased coefficient would leak, RUSTSEC-2024-0398). A
//! share is the value of each polynomial at the share's x, then x itself: 33 bytes for a 32-byte
//! secret (Vault `shamir/shamir.go`). x is random, non-zero and distinct.
//!
//! One share of one (`shares = threshold = 1`) is the secret itself without x, as in Vault.
//!
//! Field operations use no table and no branch on a secret. Nothing here tells whether shares
//! are right: combining wrong ones gives a wrong secret. The barrier checks shares by their
//! salted hashes and the result by opening the root key with it.

use zeroize::Zeroizing;
use zone_types::Secret;

use crate::Fill;

/// What a share is longer than the secret: its x.
pub const OVERHEAD: usize = 1;

/// Why nothing was split or combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShamirFault {
    /// Wanted: 1 <= threshold <= shares <= 255.
    #[error("the threshold must be at least 1 and at most the number of shares (1 to 255)")]
    Numbers,
    /// Vault refuses many shares of which one suffices.
    #[error("the threshold must be greater than one for multiple shares")]
    OneOfMany,
    /// There is no secret to split.
    #[error("an empty secret cannot be split")]
    Empty,
    /// Too few shares, or of different lengths, or too short.
    #[error("the shares do not belong together")]
    Mismatch,
    /// Two shares have the same x, or x is zero.
    #[error("two shares are the same one")]
    Duplicate,
}

/// Whether `shares` and `threshold` are numbers that [`split`] takes.
pub fn check_numbers(shares: u8, threshold: u8) -> Result<(), ShamirFault> {
    match (shares, threshold) {
        (_, 0) => Err(ShamirFault::Numbers),
        (n, t) if t > n => Err(ShamirFault::Numbers),
        (n, 1) if n > 1 => Err(ShamirFault::OneOfMany),
        _ => Ok(()),
    }
}

/// Splits `secret` into `shares` parts of which any `threshold` give it back.
pub fn split(
    secret: &[u8],
    shares: u8,
    threshold: u8,
    fill: Fill<'_>,
) -> Result<Vec<Secret<Vec<u8>>>, ShamirFault> {
    check_numbers(shares, threshold)?;
    if secret.is_empty() {
        return Err(ShamirFault::Empty);
    }
    if threshold == 1 {
        return Ok(vec![Secret::new(secret.to_vec())]);
    }
    let xs = distinct(shares, fill);
    let mut parts: Vec<_> = xs
        .iter()
        .map(|_| Zeroizing::new(Vec::with_capacity(secret.len() + OVERHEAD)))
        .collect();
    let mut polynomial = Zeroizing::new(vec![0; usize::from(threshold)]);
    for byte in secret {
        polynomial[0] = *byte;
        fill(&mut polynomial[1..]);
        for (part, x) in parts.iter_mut().zip(&xs) {
            part.push(evaluate(&polynomial, *x));
        }
    }
    for (part, x) in parts.iter_mut().zip(&xs) {
        part.push(*x);
    }
    Ok(parts
        .into_iter()
        .map(|mut part| Secret::new(std::mem::take(&mut *part)))
        .collect())
}

/// Gives back the secret from `threshold` or more shares of one [`split`].
///
/// # Errors
///
/// Only on shares that cannot belong together; wrong shares of the right shape give a wrong
/// secret.
pub fn combine(shares: &[&[u8]], threshold: u8) -> Result<Secret<Vec<u8>>, ShamirFault> {
    let first = shares.first().ok_or(ShamirFault::Mismatch)?;
    if threshold <= 1 {
        return Ok(Secret::new(first.to_vec()));
    }
    let len = first.len();
    let fit = shares.len() >= usize::from(threshold)
        && len > OVERHEAD
        && shares.iter().all(|share| share.len() == len);
    if !fit {
        return Err(ShamirFault::Mismatch);
    }
    let xs: Vec<u8> = shares.iter().map(|share| share[len - 1]).collect();
    let repeated = xs
        .iter()
        .enumerate()
        .any(|(i, x)| *x == 0 || xs[..i].contains(x));
    if repeated {
        return Err(ShamirFault::Duplicate);
    }
    let weights = Zeroizing::new(weights_at_zero(&xs));
    let mut secret = Zeroizing::new(vec![0; len - OVERHEAD]);
    for (share, weight) in shares.iter().zip(weights.iter()) {
        for (sum, y) in secret.iter_mut().zip(share.iter()) {
            *sum ^= multiply(*y, *weight);
        }
    }
    Ok(Secret::new(std::mem::take(&mut *secret)))
}

/// `count` different values of 1 to 255 in random order: Fisher and Yates with fair draws.
fn distinct(count: u8, fill: Fill<'_>) -> Vec<u8> {
    let mut all: Vec<u8> = (1..=255).collect();
    for at in 0..usize::from(count) {
        let choice = at + below(all.len() - at, fill);
        all.swap(at, choice);
    }
    all.truncate(usize::from(count));
    all
}

/// A fair draw from 0 to `limit - 1`; `limit` is 1 to 255.
fn below(limit: usize, fill: Fill<'_>) -> usize {
    let fair = 256 - 256 % limit;
    loop {
        let mut byte = [0];
        fill(&mut byte);
        if usize::from(byte[0]) < fair {
            return usize::from(byte[0]) % limit;
        }
    }
}

/// The Lagrange coefficients for x = 0: with `y` the values at `xs`, the sum of `y * weight`.
fn weights_at_zero(xs: &[u8]) -> Vec<u8> {
    let weight = |(i, x): (usize, &u8)| {
        let others = xs.iter().enumerate().filter(|(j, _)| *j != i);
        others.fold(1, |product, (_, other)| {
            multiply(product, multiply(*other, invert(x ^ other)))
        })
    };
    xs.iter().enumerate().map(weight).collect()
}

/// Horner's rule.
fn evaluate(polynomial: &[u8], x: u8) -> u8 {
    polynomial
        .iter()
        .rev()
        .fold(0, |sum, coefficient| multiply(sum, x) ^ coefficient)
}

/// Product in the field; eight rounds whatever the factors.
fn multiply(mut a: u8, b: u8) -> u8 {
    let mut product = 0;
    for bit in 0..8 {
        product ^= a & mask(b >> bit);
        a = (a << 1) ^ (0x1b & mask(a >> 7));
    }
    product
}

/// All ones if the lowest bit of `value` is set, else zero. The black box keeps the compiler
/// from making a branch of it.
fn mask(value: u8) -> u8 {
    0u8.wrapping_sub(std::hint::black_box(value & 1))
}

/// Inverse in the field, a^254; zero for zero.
fn invert(a: u8) -> u8 {
    let mut power = a; // a^(2^n - 1) for n = 1
    for _ in 0..6 {
        power = multiply(multiply(power, power), a);
    }
    multiply(power, power) // a^(2 * 127)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A generator that counts up; good enough to be distinct, and repeatable.
    fn counter(mut state: u64) -> impl FnMut(&mut [u8]) {
        move |out| {
            for byte in out {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                *byte = (state >> 56) as u8;
            }
        }
    }

    /// The schoolbook product: carry-less, then reduced by 0x11b.
    fn schoolbook(a: u8, b: u8) -> u8 {
        let mut wide = 0u16;
        for bit in 0..8 {
            if b >> bit & 1 == 1 {
                wide ^= u16::from(a) << bit;
            }
        }
        for bit in (8..16).rev() {
            if wide >> bit & 1 == 1 {
                wide ^= 0x11b << (bit - 8);
            }
        }
        wide as u8
    }

    #[test]
    fn the_field_is_that_of_aes() {
        // FIPS 197 section 4.2.
        assert_eq!(multiply(0x57, 0x83), 0xc1);
        assert_eq!(multiply(0x57, 0x13), 0xfe);
        // Vault shamir/shamir_test.go.
        assert_eq!(multiply(3, 7), 9);
        assert_eq!(multiply(6, invert(3)), 2);
        assert_eq!(invert(0x53), 0xca);
        assert_eq!(invert(0), 0);
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(multiply(a, b), schoolbook(a, b));
            }
            assert_eq!(multiply(a, invert(a)), u8::from(a != 0));
        }
    }

    /// f(x) = 0x2a + 0x11 x + 0x85 x^2 and g(x) = 0x07 + 0x53 x + 0xca x^2, worked out apart
    /// from this code with the log table of FIPS 197's field (generator 3).
    #[test]
    fn known_shares_combine() {
        let shares: [&[u8]; 4] = [
            &[0xbe, 0x9e, 1],
            &[0x2a, 0xa4, 2],
            &[0xbe, 0x3d, 3],
            &[0x34, 0x03, 0xfe],
        ];
        for picked in [[0, 1, 2], [3, 1, 0], [2, 3, 1]] {
            let picked = picked.map(|i| shares[i]);
            assert_eq!(combine(&picked, 3).unwrap().expose(), &[0x2a, 0x07]);
        }
        assert_eq!(combine(&shares, 3).unwrap().expose(), &[0x2a, 0x07]);
    }

    #[test]
    fn one_share_of_one_is_the_secret_as_in_vault() {
        let parts = split(&[9; 32], 1, 1, &mut counter(1)).unwrap();
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].expose(), &vec![9; 32]);
        assert_eq!(
            combine(&[parts[0].expose()], 1).unwrap().expose(),
            &vec![9; 32]
        );
    }

    #[test]
    fn a_share_has_its_x_last() {
        let parts = split(&[0; 32], 255, 2, &mut counter(1)).unwrap();
        let mut xs: Vec<u8> = parts.iter().map(|part| part.expose()[32]).collect();
        assert!(parts.iter().all(|part| part.expose().len() == 33));
        xs.sort_unstable();
        assert_eq!(xs, (1..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn impossible_numbers_are_refused() {
        let fill = &mut counter(1);
        assert_eq!(split(&[1], 3, 4, fill).unwrap_err(), ShamirFault::Numbers);
        assert_eq!(split(&[1], 3, 0, fill).unwrap_err(), ShamirFault::Numbers);
        assert_eq!(split(&[1], 0, 0, fill).unwrap_err(), ShamirFault::Numbers);
        assert_eq!(split(&[1], 3, 1, fill).unwrap_err(), ShamirFault::OneOfMany);
        assert_eq!(split(&[], 3, 2, fill).unwrap_err(), ShamirFault::Empty);
    }

    #[test]
    fn shares_that_cannot_belong_together_are_refused() {
        let fault = |shares: &[&[u8]]| combine(shares, 2).unwrap_err();
        assert_eq!(fault(&[]), ShamirFault::Mismatch);
        assert_eq!(fault(&[&[1, 2]]), ShamirFault::Mismatch);
        assert_eq!(fault(&[&[1, 2], &[1, 2, 3]]), ShamirFault::Mismatch);
        assert_eq!(fault(&[&[1], &[2]]), ShamirFault::Mismatch);
        assert_eq!(fault(&[&[1, 2], &[3, 2]]), ShamirFault::Duplicate);
        assert_eq!(fault(&[&[1, 0], &[3, 2]]), ShamirFault::Duplicate);
    }

    /// Perfect secrecy on a small case: for two of n, one share's byte takes each value once as
    /// the one random coefficient runs over all 256.
    #[test]
    fn one_share_of_two_says_nothing() {
        for secret in [0u8, 1, 0x5a, 0xff] {
            let mut seen = [false; 256];
            for coefficient in 0..=255 {
                seen[usize::from(evaluate(&[secret, coefficient], 3))] = true;
            }
            assert!(seen.iter().all(|hit| *hit));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_threshold_of_the_shares_gives_the_secret_back(
            secret in prop::collection::vec(any::<u8>(), 1..48),
            shares in 2u8..12,
            spare in 0u8..10,
            seed in any::<u64>(),
            skip in any::<prop::sample::Index>(),
        ) {
            let threshold = shares.saturating_sub(spare).max(2);
            let parts = split(&secret, shares, threshold, &mut counter(seed)).unwrap();
            let mut picked: Vec<&[u8]> = parts.iter().map(|p| p.expose().as_slice()).collect();
            picked.rotate_left(skip.index(parts.len()));
            picked.truncate(usize::from(threshold));
            let whole = combine(&picked, threshold).unwrap();
            prop_assert_eq!(whole.expose(), &secret);
            if threshold > 2 {
                let short = combine(&picked[1..], threshold - 1).unwrap();
                prop_assert!(secret.len() < 8 || short.expose() != &secret);
            }
        }
    }
}
