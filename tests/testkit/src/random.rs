//! A generator whose bytes a test can predict. Never for production.

use parking_lot::Mutex;
use zone_ports::Random;

/// SHA-256 of the seed and a counter. The same calls get the same bytes for the same seed.
#[derive(Debug)]
pub struct SeededRandom {
    seed: u64,
    blocks: Mutex<u64>,
}

impl SeededRandom {
    /// A generator of its own for each `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            blocks: Mutex::new(0),
        }
    }

    /// A number below `bound` (which is not zero), near enough to uniform for tests.
    pub fn below(&self, bound: u64) -> u64 {
        u64::from_be_bytes(zone_ports::random::bytes(self)) % bound
    }
}

impl Random for SeededRandom {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let block = {
                let mut blocks = self.blocks.lock();
                *blocks += 1;
                *blocks
            };
            let mut input = [0; 16];
            input[..8].copy_from_slice(&self.seed.to_be_bytes());
            input[8..].copy_from_slice(&block.to_be_bytes());
            chunk.copy_from_slice(&zone_crypto::sha256(&input)[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_no_other() {
        let draw = |seed| {
            let random = SeededRandom::new(seed);
            let mut out = [0; 80];
            random.fill(&mut out[..40]);
            random.fill(&mut out[40..]);
            out
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_ne!(draw(1)[..32], draw(1)[40..72]);
    }
}
