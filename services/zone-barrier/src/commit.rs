//! The committer: the one writer above the store port.
//!
//! ```text
//! many callers ──batches──▶ queue ──▶ writer thread ──one write set──▶ ports::Store
//!                                        │
//!                                        └──▶ commit log (in the same write set), watches
//! ```
//!
//! While one group is being applied the next one gathers, so many callers share one fsync and a
//! lone caller waits for nobody (S1). The writer judges each batch against the store and against
//! what is in flight and fails the losers alone. Losers to a batch of the same group hear of it
//! when that group is durable, so who reads again sees the winner.
//!
//! # What must hold
//!
//! * A key is written by at most one batch of a group: a revision names one writer's value.
//! * After [`StoreError::Unavailable`] nobody gets an answer before the last group was read back.
//! * After [`StoreError::Fenced`] nothing is written any more (S2).
//!
//! # Deliberately absent
//!
//! No encryption, no cache of values, no retry of a conflict. Start at [`Committer::commit`]; the
//! thread is in `writer`, the stored record in [`log`] (`docs/formats/store.md`).

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{broadcast, oneshot};
use zone_ports::store::{MAX_VALUE, Op, Revision, Versioned};
use zone_ports::{Key, KeyRange, Store, StoreError};

use crate::batch::{MAX_BATCH_BYTES, MAX_BATCH_OPS, Precondition};

mod group;
pub mod log;
mod queue;
mod watch;
mod writer;

pub use log::{LogRecord, LogSince};
pub use watch::{Watch, WatchEvent};

use queue::{Queue, Request};
use watch::Committed;

/// How a committer works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitOptions {
    /// This writer's fencing term (S2). The store refuses a term below the highest it has seen.
    pub fence: u64,
    /// Groups that the commit log keeps.
    pub keep_groups: u64,
    /// Bytes of records that the commit log keeps; whichever bound is reached first.
    pub keep_bytes: u64,
    /// Groups that a watch may be behind before it is told to resync. At least one.
    pub watch_backlog: usize,
}

impl Default for CommitOptions {
    fn default() -> Self {
        Self {
            fence: 1,
            keep_groups: 10_000,
            keep_bytes: 8 * 1024 * 1024,
            watch_backlog: 1024,
        }
    }
}

/// Takes batches from any number of callers. A clone is the same committer; its thread ends with
/// the last one.
#[derive(Clone)]
pub struct Committer {
    front: Arc<Front>,
}

struct Front {
    store: Arc<dyn Store>,
    queue: Arc<Queue>,
    /// The last group that this committer applied or found.
    last: Arc<AtomicU64>,
    /// Ends with the writer, and every watch with it.
    events: broadcast::WeakSender<Committed>,
    /// Its sender is dropped when the writer has ended.
    ended: tokio::sync::watch::Receiver<()>,
}

impl Committer {
    /// Begins to write to `store` where its last group ended.
    ///
    /// # Errors
    ///
    /// Those of the store; [`StoreError::Corrupt`] if the last record of the commit log is;
    /// [`StoreError::Unavailable`] if the store's groups cannot hold the largest batch.
    pub async fn open(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        Self::open_with(store, CommitOptions::default()).await
    }

    /// [`Committer::open`] with other options.
    pub async fn open_with(
        store: Arc<dyn Store>,
        options: CommitOptions,
    ) -> Result<Self, StoreError> {
        let limit = store.group_limit();
        if limit.ops < group::LEAST.ops || limit.bytes < group::LEAST.bytes {
            return Err(StoreError::Unavailable {
                backend: store.kind(),
                source: "its groups are smaller than the largest batch".into(),
            });
        }
        let number = store.last_group().await?;
        let kept = log::last_kept(&*store, number).await?;
        let last = Arc::new(AtomicU64::new(number.0));
        let queue = Arc::new(Queue::default());
        let (events, _) = broadcast::channel(options.watch_backlog);
        let (ending, ended) = tokio::sync::watch::channel(());
        let front = Front {
            store: store.clone(),
            queue: queue.clone(),
            last: last.clone(),
            events: events.downgrade(),
            ended,
        };
        writer::Writer {
            store,
            queue,
            options,
            number,
            kept,
            last,
            events,
        }
        .start(ending)?;
        Ok(Self {
            front: Arc::new(front),
        })
    }

    /// Applies `ops` durably if every condition holds: whole or not at all (S1). A later change of
    /// a key replaces an earlier one. Without `ops` only the conditions are judged.
    ///
    /// Dropping the future does not take the batch back.
    pub async fn commit(
        &self,
        ops: Vec<Op>,
        conditions: Vec<Precondition>,
    ) -> Result<Revision, CommitError> {
        let ops = last_of_each(ops);
        let bytes = check(&ops, &conditions)?;
        let (reply, answer) = oneshot::channel();
        self.front.queue.push(Request {
            ops,
            conditions,
            bytes,
            reply,
        })?;
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(CommitError::Stopped),
        }
    }

    /// The stored value of `key`.
    pub async fn get(&self, key: &Key) -> Result<Option<Versioned>, StoreError> {
        self.front.store.get(key).await
    }

    /// The first `limit` (1 to 1,000) pairs of `range`.
    pub async fn scan(
        &self,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<(Key, Versioned)>, StoreError> {
        self.front.store.scan(range, limit).await
    }

    /// Writes a consistent copy of the store to a new file while writers go on.
    pub async fn snapshot(&self, target: &Path) -> Result<Revision, StoreError> {
        self.front.store.snapshot(target).await
    }

    /// Tells of every group from now on that touches a key beginning with `prefix`.
    pub fn watch(&self, prefix: impl Into<bytes::Bytes>) -> Watch {
        let receiver = match self.front.events.upgrade() {
            Some(events) => events.subscribe(),
            None => broadcast::channel(1).1,
        };
        Watch::new(prefix.into(), receiver)
    }

    /// The first `limit` (1 to 1,000) records of the commit log behind `revision`.
    pub async fn log_since(
        &self,
        revision: Revision,
        limit: usize,
    ) -> Result<LogSince, StoreError> {
        log::since(&*self.front.store, revision, limit).await
    }

    /// Ends the writer when the group under way is done; later batches are refused, reads go on.
    /// When this returns, only the committer's clones still hold the store.
    pub async fn stop(&self) {
        self.front.queue.close(queue::Failure::Stopped);
        let mut ended = self.front.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    /// The number of the last group that this committer applied or found.
    pub fn last_revision(&self) -> Revision {
        Revision(self.front.last.load(Ordering::Acquire))
    }

    /// The store's name.
    pub fn kind(&self) -> &'static str {
        self.front.store.kind()
    }
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Committer({:?})", self.last_revision())
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.queue.close(queue::Failure::Stopped);
    }
}

/// Keeps the last change of each key, in order.
fn last_of_each(mut ops: Vec<Op>) -> Vec<Op> {
    let mut at = 0;
    while at < ops.len() {
        let key = ops[at].key();
        if ops[at + 1..].iter().any(|later| later.key() == key) {
            ops.remove(at);
        } else {
            at += 1;
        }
    }
    ops
}

/// The batch's bytes, if it keeps the limits.
fn check(ops: &[Op], conditions: &[Precondition]) -> Result<usize, CommitError> {
    let mut bytes = 0;
    for op in ops {
        if op.key().as_bytes().starts_with(log::PREFIX) {
            return Err(CommitError::Reserved);
        }
        bytes += op.key().as_bytes().len();
        if let Op::Put { value, .. } = op {
            bytes += value.len();
            if value.len() > MAX_VALUE {
                return Err(CommitError::TooLarge);
            }
        }
    }
    let few = ops.len() <= MAX_BATCH_OPS && conditions.len() <= MAX_BATCH_OPS;
    if few && bytes <= MAX_BATCH_BYTES {
        Ok(bytes)
    } else {
        Err(CommitError::TooLarge)
    }
}

/// Why a batch was not applied, sorted by what the caller can do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// A condition does not hold; nothing of the batch was written. Read again, then retry.
    #[error("storage changed since it was read")]
    Conflict,
    /// The batch is over 60 operations or 256 KiB, or a value over 128 KiB; nothing was written.
    #[error("the batch is larger than a batch may be")]
    TooLarge,
    /// The batch names a key of the commit log; nothing was written.
    #[error("the key is reserved")]
    Reserved,
    /// The store failed and nothing of the batch was written. Every caller of a group gets the
    /// same cause.
    #[error("storage failed")]
    Store(#[source] StoreError),
    /// This committer writes no more: another writer has taken over, or it ended. Only a batch
    /// that was under way at that moment may have been applied.
    #[error("this head no longer writes to the store")]
    Stopped,
}

impl From<CommitError> for crate::BarrierError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict => Self::Conflict,
            CommitError::TooLarge => Self::TooLarge,
            CommitError::Reserved => Self::Reserved,
            CommitError::Store(error) => Self::Store(error),
            CommitError::Stopped => Self::Store(StoreError::Fenced),
        }
    }
}

/// One more copy of an error for one more caller; they share the cause.
fn share(error: &Arc<StoreError>) -> StoreError {
    let source = || Box::new(error.clone());
    match **error {
        StoreError::Full { backend, .. } => StoreError::Full {
            backend,
            source: source(),
        },
        StoreError::Corrupt { backend, .. } => StoreError::Corrupt {
            backend,
            source: source(),
        },
        StoreError::Unavailable { backend, .. } => StoreError::Unavailable {
            backend,
            source: source(),
        },
        _ => StoreError::Fenced,
    }
}
