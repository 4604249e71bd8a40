//! The barrier itself. (skeleton: the signatures are the contract, bodies follow)

use std::sync::Arc;

use zone_ports::store::Revision;
use zone_ports::{Key, KeyRange, Random, SecretMemory};

use crate::batch::{Batch, Plain};
use crate::commit::Committer;

/// Encrypts, decrypts, seals.
#[derive(Debug, Clone)]
pub struct Barrier;

impl Barrier {
    /// A sealed barrier over `committer`.
    pub fn new(_committer: Committer, _random: Arc<dyn Random>, _memory: Arc<dyn SecretMemory>) -> Self {
        unimplemented!()
    }
    /// Whether no key is held.
    pub fn is_sealed(&self) -> bool {
        unimplemented!()
    }
    /// The value of `key` in the clear.
    pub async fn get(&self, _key: &Key) -> Result<Option<Plain>, BarrierError> {
        unimplemented!()
    }
    /// The first `limit` (1 to 1,000) pairs of `range`, decrypted.
    pub async fn scan(&self, _range: &KeyRange, _limit: usize) -> Result<Vec<(Key, Plain)>, BarrierError> {
        unimplemented!()
    }
    /// The first `limit` (1 to 1,000) keys of `range`.
    pub async fn scan_keys(&self, _range: &KeyRange, _limit: usize) -> Result<Vec<Key>, BarrierError> {
        unimplemented!()
    }
    /// Applies `batch` durably.
    pub async fn commit(&self, _batch: Batch) -> Result<Revision, BarrierError> {
        unimplemented!()
    }
    /// Drops and wipes every key.
    pub fn seal(&self) {
        unimplemented!()
    }
}

/// Why the barrier refused, sorted by what the caller can do. Never holds key or value bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// No key is held (B2).
    #[error("the zone is sealed")]
    Sealed,
    /// A precondition no longer holds and nothing was written. Read, then retry.
    #[error("storage changed since it was read")]
    Conflict,
    /// The batch is over its limits; nothing was written.
    #[error("the batch is larger than a batch may be")]
    TooLarge,
    /// A record is not what was written there (B3). Never served.
    #[error("a stored record is corrupt")]
    Corrupt,
    /// The store failed.
    #[error("storage failed")]
    Store(#[from] zone_ports::StoreError),
}
