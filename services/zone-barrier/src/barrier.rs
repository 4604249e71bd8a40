//! The barrier itself: reads, writes, sealing.
//!
//! Keys are held behind one lock that a read takes for the microseconds of a decryption, never
//! across an await. So when [`Barrier::seal`] returns, every key is wiped and no operation still
//! uses one (B2).

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use zeroize::Zeroizing;
use zone_ports::store::{MAX_VALUE, Op, Revision};
use zone_ports::{Key, KeyRange, MemoryError, Random, SecretMemory};
use zone_types::Timestamp;

use crate::batch::{Batch, Change, MAX_BATCH_BYTES, MAX_BATCH_OPS, Plain, Precondition};
use crate::blob::{self, Blobs};
use crate::commit::{Committer, Watch};
use crate::init::Phase;
use crate::keyring::{self, Keyring};
use crate::record::{Format, OVERHEAD};
use crate::seal_record::SealRecord;
use crate::unseal::Attempt;

/// The barrier's own records. No service may write below.
pub(crate) const OWN: &[u8] = b"core/barrier/";
/// The committer's records.
pub(crate) const COMMIT_LOG: &[u8] = b"core/commit-log/";
/// Rereads of a large value whose chunks are being replaced meanwhile.
const REREADS: usize = 16;

/// Encrypts, decrypts, seals. A clone is the same barrier.
#[derive(Clone)]
pub struct Barrier {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) committer: Committer,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) memory: Arc<dyn SecretMemory>,
    /// `None` while sealed.
    pub(crate) keyring: RwLock<Option<Keyring>>,
    /// One change of keys or of the seal's state at a time.
    pub(crate) gate: tokio::sync::Mutex<()>,
    pub(crate) attempt: Mutex<Attempt>,
    pub(crate) phase: Mutex<Phase>,
    /// Once true, the zone stays initialised.
    pub(crate) initialised: AtomicBool,
    /// The seal record as it was last read or written: what can be told while the store is away.
    pub(crate) seal_seen: Mutex<Option<(SealRecord, Revision)>>,
    /// Records after which a new key term begins.
    pub(crate) bound: AtomicU64,
    /// The latest time that the barrier was told, in nanoseconds: a term that begins by count is
    /// dated with it.
    pub(crate) latest: AtomicI64,
    epoch: AtomicU64,
    pub(crate) blobs: Blobs,
    /// Events that were announced.
    pub(crate) events: AtomicU64,
}

/// One change, ready to be encrypted.
pub(crate) enum Todo {
    Seal(Key, Format, Zeroizing<Vec<u8>>),
    Delete(Key),
}

impl Barrier {
    /// A sealed barrier over `committer`.
    pub fn new(
        committer: Committer,
        random: Arc<dyn Random>,
        memory: Arc<dyn SecretMemory>,
    ) -> Self {
        let inner = Inner {
            committer,
            random,
            memory,
            keyring: RwLock::new(None),
            gate: tokio::sync::Mutex::new(()),
            attempt: Mutex::new(Attempt::default()),
            phase: Mutex::new(Phase::default()),
            initialised: AtomicBool::new(false),
            seal_seen: Mutex::new(None),
            bound: AtomicU64::new(keyring::DEFAULT_BOUND),
            latest: AtomicI64::new(0),
            epoch: AtomicU64::new(0),
            blobs: Blobs::default(),
            events: AtomicU64::new(0),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Whether no key is held.
    pub fn is_sealed(&self) -> bool {
        self.inner.keyring.read().is_none()
    }

    /// Grows by one whenever the barrier opens or seals. A cache of anything that was read
    /// through the barrier is worthless once this differs from when it was filled (B2).
    pub fn epoch(&self) -> u64 {
        self.inner.epoch.load(Ordering::Acquire)
    }

    /// The value of `key` in the clear. Large values (see [`blob`]) come whole.
    pub async fn get(&self, key: &Key) -> Result<Option<Plain>, BarrierError> {
        self.check_open()?;
        let mut last_seen = None;
        for _ in 0..REREADS {
            let Some(found) = self.inner.committer.get(key).await? else {
                self.check_open()?;
                return Ok(None);
            };
            let (format, content) = self.open_record(key, &found.value)?;
            if format == Format::Value {
                return Ok(Some(Plain {
                    value: content,
                    revision: found.revision,
                }));
            }
            if let Some(value) = self.read_chunks(key, format, &content).await? {
                return Ok(Some(Plain {
                    value,
                    revision: found.revision,
                }));
            }
            // The chunks are gone. Either a newer value replaced them since, or they were lost.
            if last_seen.replace(found.revision) == Some(found.revision) {
                return Err(BarrierError::Corrupt);
            }
        }
        Err(BarrierError::Conflict)
    }

    /// The first `limit` (1 to 1,000) pairs of `range`, decrypted. Fewer only at the end of the
    /// range. Records of the barrier itself and of the committer are left out.
    pub async fn scan(
        &self,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<(Key, Plain)>, BarrierError> {
        for _ in 0..REREADS {
            if let Some(pairs) = self.scan_once(range, limit).await? {
                return Ok(pairs);
            }
        }
        Err(BarrierError::Conflict)
    }

    /// `None` if a large value was removed between the scan and its reading.
    async fn scan_once(
        &self,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Option<Vec<(Key, Plain)>>, BarrierError> {
        self.check_open()?;
        let found = self.inner.committer.scan(range, limit).await?;
        self.check_open()?;
        let mut pairs = Vec::with_capacity(found.len());
        for (key, found) in found {
            if is_own(key.as_bytes()) {
                continue;
            }
            let (format, value) = self.open_record(&key, &found.value)?;
            if format == Format::Value {
                pairs.push((
                    key,
                    Plain {
                        value,
                        revision: found.revision,
                    },
                ));
            } else {
                let Some(plain) = self.get(&key).await? else {
                    return Ok(None);
                };
                pairs.push((key, plain));
            }
        }
        Ok(Some(pairs))
    }

    /// The first `limit` (1 to 1,000) keys of `range`.
    pub async fn scan_keys(
        &self,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<Key>, BarrierError> {
        self.check_open()?;
        let found = self.inner.committer.scan(range, limit).await?;
        self.check_open()?;
        let keys = found.into_iter().map(|(key, _)| key);
        Ok(keys.filter(|key| !is_own(key.as_bytes())).collect())
    }

    /// Applies `batch` durably: whole or not at all (S1).
    ///
    /// # Errors
    ///
    /// [`BarrierError::Conflict`]: a condition did not hold and nothing was written.
    pub async fn commit(&self, batch: Batch) -> Result<Revision, BarrierError> {
        self.check_open()?;
        let Batch {
            changes,
            conditions,
            announcements,
        } = batch;
        let mut changes = last_of_each(changes);
        if changes.iter().any(|change| is_event(change.key())) {
            return Err(BarrierError::Reserved);
        }
        let announced = announcements.into_iter();
        changes.extend(announced.map(|event| Change::Put(self.event_key(), event)));
        check_limits(&changes, &conditions)?;
        if self.inner.blobs.concern(&changes) {
            return self.commit_blobs(changes, conditions).await;
        }
        let todo = changes.into_iter().map(Todo::from).collect::<Vec<_>>();
        self.commit_todo(&todo, conditions).await
    }

    /// Tells of every group from now on that touches a key beginning with `prefix`. Watch first,
    /// then read. Tells keys and no values, so it goes on while sealed.
    pub fn watch(&self, prefix: impl Into<bytes::Bytes>) -> Watch {
        self.inner.committer.watch(prefix)
    }

    /// Writes a consistent copy of the store, sealed as it is, to a new file while writers go on.
    /// The copy opens with the shares that open the zone now, also after a later rekey.
    pub async fn snapshot(&self, target: &Path) -> Result<Revision, BarrierError> {
        self.check_open()?;
        Ok(self.inner.committer.snapshot(target).await?)
    }

    /// Drops and wipes every key. What was read before stays with those who read it; compare
    /// [`Barrier::epoch`].
    pub fn seal(&self) {
        self.inner.phase.lock().end();
        self.inner.attempt.lock().clear();
        if self.inner.keyring.write().take().is_some() {
            self.inner.epoch.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The number of the last group that this head applied or found: for audit checkpoints,
    /// which remember it against a rollback of the store (B3).
    pub fn last_revision(&self) -> Revision {
        self.inner.committer.last_revision()
    }

    /// The store's name, as `seal-status` shows it.
    pub fn store_kind(&self) -> &'static str {
        self.inner.committer.kind()
    }

    /// Tells the barrier the time. It has no clock; terms that begin by count are dated with the
    /// latest time that it was told.
    pub fn observe(&self, now: Timestamp) {
        self.inner.latest.fetch_max(now.nanos(), Ordering::Relaxed);
    }

    pub(crate) fn latest(&self) -> Timestamp {
        Timestamp::from_nanos(self.inner.latest.load(Ordering::Relaxed))
    }

    /// Opens the barrier with `keyring`.
    pub(crate) fn open_with(&self, keyring: Keyring) {
        *self.inner.keyring.write() = Some(keyring);
        self.inner.epoch.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn check_open(&self) -> Result<(), BarrierError> {
        if self.is_sealed() {
            Err(BarrierError::Sealed)
        } else {
            Ok(())
        }
    }

    pub(crate) fn open_record(
        &self,
        key: &Key,
        found: &[u8],
    ) -> Result<(Format, Zeroizing<Vec<u8>>), BarrierError> {
        let keyring = self.inner.keyring.read();
        let keyring = keyring.as_ref().ok_or(BarrierError::Sealed)?;
        keyring
            .open(key.as_bytes(), found)
            .map_err(|_| BarrierError::Corrupt)
    }

    /// Encrypts and commits, beginning a new block or term of encryptions where needed.
    pub(crate) async fn commit_todo(
        &self,
        todo: &[Todo],
        conditions: Vec<Precondition>,
    ) -> Result<Revision, BarrierError> {
        let ops = loop {
            match self.encrypt(todo)? {
                Some(ops) => break ops,
                None => self.reserve().await?,
            }
        };
        Ok(self.inner.committer.commit(ops, conditions).await?)
    }

    /// `None`: more encryptions must be reserved first.
    fn encrypt(&self, todo: &[Todo]) -> Result<Option<Vec<Op>>, BarrierError> {
        let keyring = self.inner.keyring.read();
        let keyring = keyring.as_ref().ok_or(BarrierError::Sealed)?;
        if !keyring.take(todo.len() as u64) {
            return Ok(None);
        }
        let random = &*self.inner.random;
        let op = |todo: &Todo| match todo {
            Todo::Seal(key, format, content) => {
                let value = keyring.seal(random, *format, key.as_bytes(), content);
                Op::Put {
                    key: key.clone(),
                    value,
                }
            }
            Todo::Delete(key) => Op::Delete { key: key.clone() },
        };
        Ok(Some(todo.iter().map(op).collect()))
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_sealed() {
            "Barrier(sealed)"
        } else {
            "Barrier(open)"
        })
    }
}

impl From<Change> for Todo {
    fn from(change: Change) -> Self {
        match change {
            Change::Put(key, value) => Self::Seal(key, Format::Value, value),
            Change::Delete(key) => Self::Delete(key),
        }
    }
}

/// Whether `key` is not for services.
fn is_own(key: &[u8]) -> bool {
    key.starts_with(OWN) || key.starts_with(COMMIT_LOG)
}

/// Whether `key` is one of the ring of events.
fn is_event(key: &Key) -> bool {
    key.as_bytes().starts_with(crate::event::EVENTS)
}

/// Keeps the last change of each key, in order.
fn last_of_each(mut changes: Vec<Change>) -> Vec<Change> {
    let mut seen = std::collections::HashSet::new();
    changes.reverse();
    changes.retain(|change| seen.insert(change.key().clone()));
    changes.reverse();
    changes
}

/// Large values are chunked elsewhere; only their pointer counts here.
fn check_limits(changes: &[Change], conditions: &[Precondition]) -> Result<(), BarrierError> {
    if changes.iter().any(|change| is_own(change.key().as_bytes())) {
        return Err(BarrierError::Reserved);
    }
    let size = |change: &Change| match change {
        Change::Put(_, value) if value.len() > blob::MAX_BLOB => None,
        Change::Put(key, value) if value.len() > blob::INLINE => {
            Some(key.as_bytes().len() + OVERHEAD + blob::POINTER_LEN)
        }
        Change::Put(key, value) => Some(key.as_bytes().len() + OVERHEAD + value.len()),
        Change::Delete(key) => Some(key.as_bytes().len()),
    };
    let bytes: Option<usize> = changes.iter().map(size).sum();
    let fits = changes.len() <= MAX_BATCH_OPS
        && conditions.len() <= MAX_BATCH_OPS
        && bytes.is_some_and(|bytes| bytes <= MAX_BATCH_BYTES);
    if fits {
        Ok(())
    } else {
        Err(BarrierError::TooLarge)
    }
}

const _: () = assert!(blob::INLINE + OVERHEAD <= MAX_VALUE);

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
    /// The key belongs to the barrier or the committer.
    #[error("the key is reserved")]
    Reserved,
    /// The keyring holds as many terms as it may.
    #[error("the keyring is full: no new key term can begin")]
    KeyringFull,
    /// A record is not what was written there (B3). Never served.
    #[error("a stored record is corrupt")]
    Corrupt,
    /// Keys could not be locked.
    #[error("no memory for keys")]
    Memory(#[from] MemoryError),
    /// The store failed.
    #[error("storage failed")]
    Store(#[from] zone_ports::StoreError),
}
