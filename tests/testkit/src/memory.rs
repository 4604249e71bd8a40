//! Key memory on the ordinary heap: wiped, but not locked.

use zeroize::{Zeroize, Zeroizing};
use zone_ports::{LockedBytes, MemoryError, SecretMemory};

/// Gives out heap memory. For tests, which need no `RLIMIT_MEMLOCK`.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainMemory;

struct Plain(Zeroizing<[u8; 32]>);

impl SecretMemory for PlainMemory {
    fn lock(&self, key: &mut [u8; 32]) -> Result<Box<dyn LockedBytes>, MemoryError> {
        let copy = Zeroizing::new(*key);
        key.zeroize();
        Ok(Box::new(Plain(copy)))
    }
}

impl LockedBytes for Plain {
    fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_moves() {
        let mut key = [7; 32];
        let locked = PlainMemory.lock(&mut key).unwrap();
        assert_eq!(key, [0; 32]);
        assert_eq!(locked.expose(), &[7; 32]);
    }
}
