//! Randomness (T1).

use std::fmt::Debug;

/// A cryptographically secure generator.
///
/// Everything that the zone draws (ids, tokens, nonces, serials, shares) comes from here. Key
/// generation and randomized signatures inside the crypto library use that library's own
/// generator.
pub trait Random: Debug + Send + Sync {
    /// Fills `out`. A generator that cannot keep its promise ends the process; it never returns
    /// weak bytes.
    fn fill(&self, out: &mut [u8]);
}

/// `N` random bytes.
pub fn bytes<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut out = [0; N];
    random.fill(&mut out);
    out
}
