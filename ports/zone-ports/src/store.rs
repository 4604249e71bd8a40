//! Ordered key-value storage that survives a crash.
//!
//! The port is small because the committer (`zone_barrier::commit`) does what backends would do
//! differently: it judges preconditions, numbers the groups and keeps the commit log. A backend
//! needs an ordered map, atomic durable write sets, and one compare on the group number.

use std::fmt::{self, Debug};

use async_trait::async_trait;
use bytes::Bytes;

use crate::BoxError;

/// Longest key in bytes.
pub const MAX_KEY: usize = 512;
/// Longest value in bytes.
pub const MAX_VALUE: usize = 128 * 1024;

/// A storage key: 1 to 512 bytes, ordered as bytes. Only paths are visible here (B1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

/// A key was empty or longer than 512 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a storage key has 1 to 512 bytes")]
pub struct KeyFault;

impl Key {
    /// Takes `bytes` as a key.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, KeyFault> {
        let bytes = bytes.into();
        if bytes.is_empty() || bytes.len() > MAX_KEY {
            return Err(KeyFault);
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// Keys from `start` (with it) to `end` (without it; `None`: to the last key).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// First key, inclusive. May be empty: from the first key.
    pub start: Bytes,
    /// End, exclusive.
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        let end = successor(&start);
        Self { start, end }
    }

    /// The part of this range behind `key`.
    #[must_use]
    pub fn after(&self, key: &Key) -> Self {
        let mut start = key.as_bytes().to_vec();
        start.push(0);
        Self {
            start: start.into(),
            end: self.end.clone(),
        }
    }

    /// The part of this range from `start` on.
    #[must_use]
    pub fn from(&self, start: impl Into<Bytes>) -> Self {
        Self {
            start: start.into(),
            end: self.end.clone(),
        }
    }
}

/// The first byte string behind every one that begins with `prefix`; `None` if there is none.
pub fn successor(prefix: &[u8]) -> Option<Bytes> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return Some(end.into());
        }
    }
    None
}

/// The number of a commit group; also the revision of each key that the group wrote. Grows by
/// one with each group, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// A value and the group that wrote it.
#[derive(Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The bytes, 0 to 128 KiB.
    pub value: Bytes,
    /// The group that wrote them.
    pub revision: Revision,
}

impl Debug for Versioned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at {:?}", self.value.len(), self.revision)
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes `value` at `key`.
    Put {
        /// Where.
        key: Key,
        /// What, 0 to 128 KiB.
        value: Bytes,
    },
    /// Removes `key` if it is there.
    Delete {
        /// Where.
        key: Key,
    },
}

impl Op {
    /// The key that changes.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// What one group writes: whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteSet {
    /// This group's number. The store applies it only if its last group is `number - 1`.
    pub number: Revision,
    /// The writer's fencing term. The store refuses a term below the highest that it has seen
    /// (S2).
    pub fence: u64,
    /// The changes, in order; no key twice.
    pub ops: Vec<Op>,
}

/// How much one group may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLimit {
    /// Most operations.
    pub ops: usize,
    /// Most bytes of keys and values.
    pub bytes: usize,
}

/// Ordered key-value storage that survives a crash.
///
/// # Contract (every backend passes `zone_conformance::store`)
///
/// * Atomic: a [`WriteSet`] applies whole or not at all, also across a crash.
/// * Durable: once `apply` returned `Ok`, the group is on stable storage (S1).
/// * Linearizable: a `get` or `scan` begun after an `apply` returned sees that group.
/// * A `scan` sees one instant: no group half.
/// * A group of 64 operations and 320 KiB is always allowed.
/// * Once `last_group` has answered, no earlier `apply` takes effect any more.
///
/// No method has a default body. Dropping a future cancels; a cancelled `apply` may have
/// happened, so read [`Store::last_group`] before retrying.
#[async_trait]
pub trait Store: Debug + Send + Sync {
    /// The value of `key`; `None` if it was never written, or deleted since.
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, StoreError>;

    /// The first `limit` (1 to 1,000) pairs of `range`, in key order.
    async fn scan(
        &self,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<(Key, Versioned)>, StoreError>;

    /// Applies one group durably.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fenced`]: the number or the fence is not the next one; nothing was written.
    /// [`StoreError::Full`]: no space; nothing was written.
    async fn apply(&self, group: WriteSet) -> Result<(), StoreError>;

    /// The number of the last group that was applied; zero in a new store.
    async fn last_group(&self) -> Result<Revision, StoreError>;

    /// Writes a consistent copy of the whole store to a new file at `target` while writers go on.
    /// A store of the same backend is made of it: the copy opens as one where a store is a file,
    /// and is restored into an empty one where it is not.
    async fn snapshot(&self, target: &std::path::Path) -> Result<Revision, StoreError>;

    /// How much one group may hold.
    fn group_limit(&self) -> GroupLimit;

    /// The backend's name, as `seal-status` shows it (`storage_type`).
    fn kind(&self) -> &'static str;
}

/// Why storage failed, sorted by what the caller can do about it.
///
/// `Display` tells this step only; the cause is `source()`. Never holds key or value bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another writer has been here. Nothing was written; this head must stop writing.
    #[error("another writer has taken over the store")]
    Fenced,
    /// No space. Nothing was written; it may work later.
    #[error("the store {backend} has no space left")]
    Full {
        /// Which backend.
        backend: &'static str,
        /// The cause.
        source: BoxError,
    },
    /// What was read is not what was written. Seal the zone; never retry.
    #[error("the store {backend} is corrupt")]
    Corrupt {
        /// Which backend.
        backend: &'static str,
        /// The cause.
        source: BoxError,
    },
    /// No answer. A write may have happened; read before retrying.
    #[error("the store {backend} is unavailable")]
    Unavailable {
        /// Which backend.
        backend: &'static str,
        /// The cause.
        source: BoxError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_range_ends_behind_its_last_key() {
        assert_eq!(KeyRange::prefix("a/").end.as_deref(), Some(&b"a0"[..]));
        assert_eq!(
            KeyRange::prefix(vec![0x61, 0xff]).end.as_deref(),
            Some(&b"b"[..])
        );
        assert_eq!(KeyRange::prefix(vec![0xff]).end, None);
        assert_eq!(KeyRange::prefix("").end, None);
    }

    #[test]
    fn keys_are_bounded() {
        assert!(Key::new("").is_err());
        assert!(Key::new(vec![0; 512]).is_ok());
        assert!(Key::new(vec![0; 513]).is_err());
    }
}
