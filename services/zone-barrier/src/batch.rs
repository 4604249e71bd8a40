//! What services hand to the barrier and get back.

use std::fmt;

use zeroize::Zeroizing;
use zone_ports::Key;
use zone_ports::store::Revision;

/// Most operations in one batch (Consul's and etcd's transactions fit).
pub const MAX_BATCH_OPS: usize = 60;
/// Most bytes of keys and values in one batch.
pub const MAX_BATCH_BYTES: usize = 256 * 1024;

/// A condition that must hold when the batch is applied; else nothing of it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The key has no value.
    Absent(Key),
    /// The key was last written by that group.
    At(Key, Revision),
}

/// One change in the clear.
pub enum Change {
    /// Writes a value.
    Put(Key, Zeroizing<Vec<u8>>),
    /// Removes the key if it is there.
    Delete(Key),
}

impl Change {
    /// The key that changes.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }
}

/// Changes that apply whole or not at all, and the conditions under which they do.
///
/// At most [`MAX_BATCH_OPS`] operations and [`MAX_BATCH_BYTES`] (a record is 33 bytes longer than
/// its value); larger work writes a new generation and then flips one pointer. The barrier does
/// that itself for single values above 96 KiB, up to 8 MiB: of those only a pointer counts.
#[derive(Default)]
pub struct Batch {
    /// The changes, in order; a later change of a key replaces an earlier one.
    pub changes: Vec<Change>,
    /// What must hold.
    pub conditions: Vec<Precondition>,
    /// What is told to [`crate::Events`] if the batch applies. Each counts as one operation.
    pub announcements: Vec<Zeroizing<Vec<u8>>>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a write.
    #[must_use]
    pub fn put(mut self, key: Key, value: impl Into<Vec<u8>>) -> Self {
        self.changes
            .push(Change::Put(key, Zeroizing::new(value.into())));
        self
    }

    /// Adds a removal.
    #[must_use]
    pub fn delete(mut self, key: Key) -> Self {
        self.changes.push(Change::Delete(key));
        self
    }

    /// Tells `event` to whoever listens, if the batch applies and not before it is durable.
    #[must_use]
    pub fn announce(mut self, event: impl Into<Vec<u8>>) -> Self {
        self.announcements.push(Zeroizing::new(event.into()));
        self
    }

    /// Demands that `key` has no value yet.
    #[must_use]
    pub fn require_absent(mut self, key: Key) -> Self {
        self.conditions.push(Precondition::Absent(key));
        self
    }

    /// Demands that `key` is still as it was read: at `revision`, or absent for `None`.
    #[must_use]
    pub fn require(mut self, key: Key, revision: Option<Revision>) -> Self {
        self.conditions.push(match revision {
            Some(revision) => Precondition::At(key, revision),
            None => Precondition::Absent(key),
        });
        self
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch of {} changes", self.changes.len())
    }
}

/// A decrypted value, wiped when dropped.
#[derive(Clone)]
pub struct Plain {
    /// The bytes.
    pub value: Zeroizing<Vec<u8>>,
    /// The group that wrote them, for [`Batch::require`].
    pub revision: Revision,
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[redacted] at {:?}", self.revision)
    }
}
