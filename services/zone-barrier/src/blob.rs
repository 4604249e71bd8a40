//! Large values: in chunks, replaced by one pointer flip.
//!
//! A value above [`INLINE`] bytes is first written as chunks under a generation of its own, in as
//! many groups as it takes; then its key gets a pointer to them, in the same group as whatever
//! else the batch holds. So a reader sees the old value or the new one whole. The chunks that
//! nothing points to any more are removed after that; what a crash leaves is found by
//! [`Barrier::collect_chunks`].
//!
//! ```text
//! core/barrier/chunk/OWNER/GENERATION/INDEX     OWNER: SHA-256 of the key, 16 bytes in hex
//! index 0: the owner's key · index 1, 2, …: the value, 96 KiB each
//! pointer: generation 16 | chunks u32 BE | length u64 BE
//! ```
//!
//! A generation is spared while its writer is under way. Whoever removes chunks first lists
//! them, then looks which writers are under way, then reads the pointer; in that order nothing
//! that is or becomes current can be taken for garbage.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use zeroize::Zeroizing;
use zone_crypto::sha256;
use zone_ports::store::{Op, Revision};
use zone_ports::{Key, KeyRange, random};

use crate::barrier::{Barrier, BarrierError, Todo};
use crate::batch::{Change, MAX_BATCH_OPS, Precondition};
use crate::record::Format;

/// Values up to this are one record.
pub const INLINE: usize = 96 * 1024;
/// Largest value.
pub const MAX_BLOB: usize = 8 * 1024 * 1024;
/// Bytes of a pointer.
pub(crate) const POINTER_LEN: usize = 28;
/// Where chunks are.
pub(crate) const AREA: &str = "core/barrier/chunk/";
/// Chunks in one group: within the batch's bytes.
const CHUNKS_PER_GROUP: usize = 2;

type Generation = [u8; 16];

/// What the barrier knows of large values.
#[derive(Default)]
pub(crate) struct Blobs {
    /// Whether the zone may hold any chunk. Until it does, no write looks for old ones.
    pub(crate) any: AtomicBool,
    /// Generations whose writers are under way.
    staged: Arc<Mutex<HashSet<Generation>>>,
}

impl Blobs {
    /// Whether these changes need chunks written or looked for.
    pub(crate) fn concern(&self, changes: &[Change]) -> bool {
        self.any.load(Ordering::Acquire)
            || changes
                .iter()
                .any(|c| matches!(c, Change::Put(_, value) if value.len() > INLINE))
    }
}

/// A generation whose writer is under way.
struct Staged {
    generation: Generation,
    all: Arc<Mutex<HashSet<Generation>>>,
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.all.lock().remove(&self.generation);
    }
}

/// Where a large value's chunks are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    generation: Generation,
    chunks: u32,
    len: u64,
}

impl Pointer {
    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(POINTER_LEN));
        out.extend_from_slice(&self.generation);
        out.extend_from_slice(&self.chunks.to_be_bytes());
        out.extend_from_slice(&self.len.to_be_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (generation, rest) = bytes.split_first_chunk::<16>()?;
        let (chunks, rest) = rest.split_first_chunk::<4>()?;
        let len = u64::from_be_bytes(rest.try_into().ok()?);
        let chunks = u32::from_be_bytes(*chunks);
        let fits = len <= MAX_BLOB as u64 && u64::from(chunks) == len.div_ceil(INLINE as u64);
        fits.then_some(Self {
            generation: *generation,
            chunks,
            len,
        })
    }
}

impl Barrier {
    /// Commits changes of which some are large values, or may replace some.
    ///
    /// Runs as a task of its own: a caller that goes away must not leave a pointer under way to
    /// chunks that count as abandoned.
    pub(crate) async fn commit_blobs(
        &self,
        changes: Vec<Change>,
        conditions: Vec<Precondition>,
    ) -> Result<Revision, BarrierError> {
        let barrier = self.clone();
        let task = tokio::spawn(async move { barrier.stage_and_commit(changes, conditions).await });
        match task.await {
            Ok(done) => done,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down.
                Err(_) => Err(BarrierError::Sealed),
            },
        }
    }

    async fn stage_and_commit(
        &self,
        changes: Vec<Change>,
        conditions: Vec<Precondition>,
    ) -> Result<Revision, BarrierError> {
        let keys: Vec<Key> = changes.iter().map(|change| change.key().clone()).collect();
        let mut staged = Vec::new();
        let done = self.flip(changes, conditions, &mut staged).await;
        drop(staged);
        for key in keys {
            if let Err(error) = self.sweep(&key).await {
                // The change itself stands; `collect_chunks` finds what is left.
                tracing::warn!(%error, "old chunks of a large value were left behind");
                break;
            }
        }
        done
    }

    async fn flip(
        &self,
        changes: Vec<Change>,
        conditions: Vec<Precondition>,
        staged: &mut Vec<Staged>,
    ) -> Result<Revision, BarrierError> {
        let mut todo = Vec::with_capacity(changes.len());
        for change in changes {
            todo.push(match change {
                Change::Put(key, value) if value.len() > INLINE => {
                    let pointer = self.stage(&key, &value, staged).await?;
                    Todo::Seal(key, Format::Pointer, pointer.encode())
                }
                small => small.into(),
            });
        }
        self.commit_todo(&todo, conditions).await
    }

    /// Writes the chunks of `value` under a new generation.
    async fn stage(
        &self,
        key: &Key,
        value: &[u8],
        staged: &mut Vec<Staged>,
    ) -> Result<Pointer, BarrierError> {
        let generation: Generation = random::bytes(&*self.inner.random);
        let all = self.inner.blobs.staged.clone();
        all.lock().insert(generation);
        staged.push(Staged { generation, all });
        self.inner.blobs.any.store(true, Ordering::Release);

        let seal = |index: u32, content: &[u8]| {
            let content = Zeroizing::new(content.to_vec());
            Todo::Seal(chunk_key(key, &generation, index), Format::Chunk, content)
        };
        self.commit_todo(&[seal(0, key.as_bytes())], Vec::new())
            .await?;
        let mut chunks = 0;
        for group in value.chunks(INLINE * CHUNKS_PER_GROUP) {
            let mut todo = Vec::with_capacity(CHUNKS_PER_GROUP);
            for chunk in group.chunks(INLINE) {
                chunks += 1;
                todo.push(seal(chunks, chunk));
            }
            self.commit_todo(&todo, Vec::new()).await?;
        }
        Ok(Pointer {
            generation,
            chunks,
            len: value.len() as u64,
        })
    }

    /// The value that a pointer found at `key` points to; `None` if a chunk is not there.
    pub(crate) async fn read_chunks(
        &self,
        key: &Key,
        format: Format,
        pointer: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, BarrierError> {
        let pointer = Some(pointer).filter(|_| format == Format::Pointer);
        let pointer = pointer
            .and_then(Pointer::decode)
            .ok_or(BarrierError::Corrupt)?;
        let len = usize::try_from(pointer.len).map_err(|_| BarrierError::Corrupt)?;
        let mut value = Zeroizing::new(Vec::with_capacity(len));
        for index in 1..=pointer.chunks {
            let at = chunk_key(key, &pointer.generation, index);
            let Some(found) = self.inner.committer.get(&at).await? else {
                return Ok(None);
            };
            let (format, chunk) = self.open_record(&at, &found.value)?;
            if format != Format::Chunk || value.len() + chunk.len() > len {
                return Err(BarrierError::Corrupt);
            }
            value.extend_from_slice(&chunk);
        }
        if value.len() == len {
            Ok(Some(value))
        } else {
            Err(BarrierError::Corrupt)
        }
    }

    /// Removes chunks that nothing points to: what a crash in the middle of a large write left.
    /// Returns how many records it removed. For housekeeping; runs beside readers and writers.
    pub async fn collect_chunks(&self) -> Result<usize, BarrierError> {
        self.check_open()?;
        let mut removed = 0;
        let mut range = KeyRange::prefix(AREA);
        loop {
            let found = self.inner.committer.scan(&range, 1).await?;
            let Some((key, found)) = found.into_iter().next() else {
                return Ok(removed);
            };
            let owner_prefix = owner_prefix_of(&key).ok_or(BarrierError::Corrupt)?;
            // Index 0 sorts first and is removed last, so it is there whenever a chunk is.
            let (_, owner) = self.open_record(&key, &found.value)?;
            let owner = Key::new(owner.to_vec()).map_err(|_| BarrierError::Corrupt)?;
            if owner_prefix != owner_prefix_for(&owner) {
                return Err(BarrierError::Corrupt);
            }
            removed += self.sweep(&owner).await?;
            let Some(next) = zone_ports::store::successor(owner_prefix.as_bytes()) else {
                return Ok(removed);
            };
            range = range.from(next);
        }
    }

    /// Removes the chunks of `owner` that nothing points to. The order is the argument: list,
    /// then writers under way, then the pointer.
    async fn sweep(&self, owner: &Key) -> Result<usize, BarrierError> {
        let listed = self.chunks_of(owner).await?;
        if listed.is_empty() {
            return Ok(0);
        }
        let under_way = self.inner.blobs.staged.lock().clone();
        let current = self.current_generation(owner).await?;
        let garbage = |key: &Key| {
            generation_of(key).is_some_and(|g| Some(g) != current && !under_way.contains(&g))
        };
        let mut garbage: Vec<Key> = listed.into_iter().filter(garbage).collect();
        let count = garbage.len();
        garbage.reverse();
        for group in garbage.chunks(MAX_BATCH_OPS) {
            let ops = group
                .iter()
                .map(|key| Op::Delete { key: key.clone() })
                .collect();
            self.inner.committer.commit(ops, Vec::new()).await?;
        }
        Ok(count)
    }

    async fn chunks_of(&self, owner: &Key) -> Result<Vec<Key>, BarrierError> {
        let mut keys: Vec<Key> = Vec::new();
        let mut range = KeyRange::prefix(owner_prefix_for(owner));
        loop {
            let page = self.inner.committer.scan(&range, 1000).await?;
            let Some((last, _)) = page.last() else {
                return Ok(keys);
            };
            range = range.after(last);
            keys.extend(page.into_iter().map(|(key, _)| key));
        }
    }

    async fn current_generation(&self, owner: &Key) -> Result<Option<Generation>, BarrierError> {
        let Some(found) = self.inner.committer.get(owner).await? else {
            return Ok(None);
        };
        match self.open_record(owner, &found.value)? {
            (Format::Pointer, content) => {
                let pointer = Pointer::decode(&content).ok_or(BarrierError::Corrupt)?;
                Ok(Some(pointer.generation))
            }
            _ => Ok(None),
        }
    }
}

/// `core/barrier/chunk/OWNER/` of a value's key.
fn owner_prefix_for(owner: &Key) -> String {
    let hash = sha256(owner.as_bytes());
    format!("{AREA}{}/", hex::encode(&hash[..16]))
}

/// The same, of a chunk's key.
fn owner_prefix_of(chunk: &Key) -> Option<String> {
    let prefix = chunk.as_bytes().get(..AREA.len() + 33)?;
    String::from_utf8(prefix.to_vec()).ok()
}

fn chunk_key(owner: &Key, generation: &Generation, index: u32) -> Key {
    let prefix = owner_prefix_for(owner);
    let key = format!("{prefix}{}/{index:08x}", hex::encode(generation));
    Key::new(key).expect("a chunk's key has 94 bytes")
}

pub(crate) fn generation_of(chunk: &Key) -> Option<Generation> {
    let from = AREA.len() + 33;
    let digits = chunk.as_bytes().get(from..from + 32)?;
    hex::decode(digits).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_survives_its_form_and_no_other_form_passes() {
        let pointer = Pointer {
            generation: [3; 16],
            chunks: 11,
            len: 1024 * 1024,
        };
        let bytes = pointer.encode();
        assert_eq!(bytes.len(), POINTER_LEN);
        assert_eq!(Pointer::decode(&bytes), Some(pointer));
        assert_eq!(Pointer::decode(&bytes[..27]), None);
        let wrong_count = Pointer {
            generation: [3; 16],
            chunks: 10,
            len: 1024 * 1024,
        };
        assert_eq!(Pointer::decode(&wrong_count.encode()), None);
        let too_long = Pointer {
            generation: [3; 16],
            chunks: 87,
            len: 8 * 1024 * 1024 + 1,
        };
        assert_eq!(Pointer::decode(&too_long.encode()), None);
    }

    #[test]
    fn chunk_keys_tell_their_owner_and_generation() {
        let owner = Key::new("root/0123456789abcdef/data/x").unwrap();
        let key = chunk_key(&owner, &[0xab; 16], 1);
        assert_eq!(generation_of(&key), Some([0xab; 16]));
        assert_eq!(owner_prefix_of(&key), Some(owner_prefix_for(&owner)));
    }
}
