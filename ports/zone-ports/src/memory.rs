//! Pages that hold keys: never swapped, never in a core dump, wiped when freed.

use std::fmt::Debug;

/// Gives out locked memory.
pub trait SecretMemory: Debug + Send + Sync {
    /// Moves a 32-byte key into a page of its own and wipes `key`.
    fn lock(&self, key: &mut [u8; 32]) -> Result<Box<dyn LockedBytes>, MemoryError>;
}

/// A key in locked memory. Dropping it wipes it.
pub trait LockedBytes: Send + Sync {
    /// The key. Copy it only for the length of one operation and wipe the copy.
    fn expose(&self) -> &[u8; 32];
}

impl Debug for dyn LockedBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[locked]")
    }
}

/// Memory could not be locked (`RLIMIT_MEMLOCK`).
#[derive(Debug, thiserror::Error)]
#[error("key memory could not be locked: raise LimitMEMLOCK for this service")]
pub struct MemoryError(#[source] pub std::io::Error);
