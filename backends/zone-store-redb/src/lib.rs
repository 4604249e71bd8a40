//! The embedded store: one redb file beside the head, and before it a journal.
//!
//! ```text
//! apply ──▶ journal: one write, one fdatasync ──▶ memory ──megabytes──▶ redb file
//! get, scan ◀── memory over redb file
//! ```
//!
//! A group is durable once the journal has it. The B-tree of the file, where a small group costs
//! dozens of scattered pages, gets some thousand groups in one commit, on a thread of its own.
//!
//! # What must hold
//!
//! * `apply` returns after the group is on stable storage, and blocks no worker of the runtime.
//! * Whenever the files are opened, they are synced, and the pages that the kernel still holds are
//!   dropped, before they are read: neither what a killed process wrote without a sync nor what a
//!   failed fsync left in the page cache is taken for stored. After a failed write they are opened anew.
//! * [`StoreError::Full`] is said only of a group that is not in the journal.
//! * A closed store is one file; one that was not closed is never opened without its journal.
//! * One process at a time has the file open; a second one is refused.
//!
//! # Deliberately absent
//!
//! No preconditions and no commit log (the committer's), no encryption (the barrier's).
//!
//! Start at [`RedbStore::open`], then `open`; the layout is in `docs/formats/store.md`, the choice of engine
//! and of its commit mode in `docs/decisions/0002-embedded-store.md`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use redb::ReadTransaction;
use tokio::runtime::RuntimeFlavor;
use zone_ports::store::{GroupLimit, Op, Revision, Versioned, WriteSet};
use zone_ports::{Key, KeyRange, Store, StoreError};

mod error;
mod file;
mod journal;
mod open;
mod recent;
mod snapshot;
mod table;

use error::{Fault, KIND};
use open::{Open, Openers};

/// Most pairs of one scan.
const MAX_SCAN: usize = 1000;

/// How the store works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedbOptions {
    /// Bytes of memory for pages of the redb file; the kernel's page cache stands behind it.
    pub cache_bytes: usize,
    /// Bytes of groups that the journal gathers before they are written to the redb file. Up to
    /// twice as many are held in memory; up to four times as many are read again after a crash, if
    /// the same keys were written again and again.
    pub fold_bytes: usize,
    /// Free bytes on the file system below which groups are refused as
    /// [`StoreError::Full`] before anything is written.
    pub reserve_bytes: u64,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 8 * 1024 * 1024,
            fold_bytes: 8 * 1024 * 1024,
            reserve_bytes: 16 * 1024 * 1024,
        }
    }
}

/// A store in one file. A clone is the same store.
#[derive(Clone)]
pub struct RedbStore {
    handle: Arc<Handle>,
}

/// Closes the store with the last clone, also while the folding thread still holds it.
struct Handle(Arc<Inner>);

struct Inner {
    path: PathBuf,
    options: RedbOptions,
    openers: Openers,
    slot: RwLock<Slot>,
    /// Held by the group under way, from its first byte until it is known what became of it, also
    /// if nobody waits for it any more.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Held while a copy is made: two of one name would take each other's file.
    copying: Mutex<()>,
    /// Whether the folding thread runs.
    folding: AtomicBool,
}

enum Slot {
    Open(Box<Open>),
    /// After a failure, until the file could be opened again.
    Failed,
    /// For good.
    Closed,
}

impl RedbStore {
    /// Opens the file at `path`, or creates it (0600). Blocks: after a crash the journal is read.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if another process has it open or it cannot be read;
    /// [`StoreError::Corrupt`] if it is no store or a damaged one, or if it was not closed and its
    /// journal is not there.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path, RedbOptions::default())
    }

    /// [`RedbStore::open`] with other options.
    pub fn open_with(path: impl AsRef<Path>, options: RedbOptions) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let at = path.clone();
        let openers = Openers {
            database: Box::new(move || file::open(&at, options.cache_bytes)),
            disk: Box::new(|file| Box::new(file)),
        };
        Self::open_by(path, options, openers)
    }

    fn open_by(path: PathBuf, options: RedbOptions, openers: Openers) -> Result<Self, StoreError> {
        file::create(&path)?;
        let inner = Arc::new(Inner {
            path,
            options,
            openers,
            slot: RwLock::new(Slot::Failed),
            turn: Arc::default(),
            copying: Mutex::default(),
            folding: AtomicBool::new(false),
        });
        inner.reopen()?;
        if inner.with(|open| Ok(open.is_folding()))? {
            inner.fold_in_background();
        }
        Ok(Self {
            handle: Arc::new(Handle(inner)),
        })
    }

    /// Closes the file in good order: afterwards it holds everything and has no journal. Waits for
    /// the group under way; every later call fails. Dropping the last clone closes it too.
    pub fn close(&self) -> Result<(), StoreError> {
        Ok(self.handle.0.close()?)
    }
}

impl std::fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RedbStore({})", self.handle.0.path.display())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Err(error) = self.0.close() {
            tracing::warn!(%error, "the store was not closed in good order; its journal stays");
        }
    }
}

impl Inner {
    /// Runs `work` on the open store. It is opened first if an earlier failure closed it.
    fn with<T>(&self, work: impl FnOnce(&Open) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut slot = self.slot.read();
        if matches!(*slot, Slot::Failed) {
            drop(slot);
            self.heal()?;
            slot = self.slot.read();
        }
        match &*slot {
            Slot::Open(open) => unwinding(|| work(open)),
            Slot::Closed | Slot::Failed => Err(Fault::Closed),
        }
    }

    /// Opens the files after a failure, unless another caller just did.
    fn heal(&self) -> Result<(), Fault> {
        let mut slot = self.slot.write();
        match *slot {
            Slot::Failed => self.open_into(&mut slot),
            Slot::Open(_) | Slot::Closed => Ok(()),
        }
    }

    /// Closes the files, forgets what the kernel holds of them, and opens them anew.
    fn reopen(&self) -> Result<(), Fault> {
        let mut slot = self.slot.write();
        if matches!(*slot, Slot::Closed) {
            return Err(Fault::Closed);
        }
        *slot = Slot::Failed;
        self.open_into(&mut slot)
    }

    fn open_into(&self, slot: &mut Slot) -> Result<(), Fault> {
        let open = file::forget_pages(&self.path)
            .and_then(|()| unwinding(|| Open::new(&self.path, &self.openers)));
        let open = open.map_err(|fault| Fault::NotOpened(Box::new(fault)))?;
        *slot = Slot::Open(Box::new(open));
        Ok(())
    }

    fn close(&self) -> Result<(), Fault> {
        match std::mem::replace(&mut *self.slot.write(), Slot::Closed) {
            Slot::Open(open) => unwinding(|| open.close(&self.path)),
            Slot::Closed => Ok(()),
            // Its journal stays.
            Slot::Failed => Err(Fault::Closed),
        }
    }

    fn apply(self: &Arc<Self>, group: WriteSet) -> Result<(), StoreError> {
        let bytes = group.ops.iter().map(size).sum::<usize>() as u64;
        file::check_room(&self.path, self.options.reserve_bytes.saturating_add(bytes))?;
        let (number, fold_bytes) = (group.number, self.options.fold_bytes);
        let applied = self.with(|open| open.apply(group, fold_bytes, &self.path, &self.openers));
        let fault = match applied {
            Ok(false) => return Ok(()),
            Ok(true) => {
                self.fold_in_background();
                return Ok(());
            }
            Err(fault @ Fault::Fenced) => return Err(fault.into()),
            Err(fault) => fault,
        };
        // Whether the group is there shows only when the files are read afresh.
        tracing::warn!(error = %fault, "a group could not be written; the store is opened anew");
        self.reopen()?;
        if self.with(|open| Ok(open.last()))? == number {
            return Ok(());
        }
        Err(fault.into())
    }

    /// Begins to fold on a thread of its own, unless one is at it.
    fn fold_in_background(self: &Arc<Self>) {
        if self.folding.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = self.clone();
        let thread = std::thread::Builder::new().name("store-fold".to_owned());
        if let Err(error) = thread.spawn(move || inner.fold_all()) {
            // A writer folds by itself once both layers are full.
            tracing::warn!(%error, "no thread for the store");
            self.folding.store(false, Ordering::Release);
        }
    }

    fn fold_all(&self) {
        loop {
            let folded = self.fold();
            self.folding.store(false, Ordering::Release);
            let more = folded.is_ok() && self.with(|open| Ok(open.is_folding())).unwrap_or(false);
            if !more || self.folding.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    }

    /// The file at one instant, with every group that was applied before.
    fn folded(&self) -> Result<ReadTransaction, Fault> {
        self.fold()?;
        self.with(|open| open.folded(&self.path, &self.openers))
    }

    /// Folds what waits. After a failure the groups stay in the journal, and the next write tries
    /// again.
    fn fold(&self) -> Result<(), Fault> {
        let folded = self.with(Open::fold);
        if let Err(fault) = &folded
            && !matches!(fault, Fault::Closed)
        {
            tracing::warn!(error = %fault, "the journal could not be written to the store's file");
            self.reopen()?;
        }
        folded
    }
}

/// A panic inside redb means a file that is not as redb wrote it.
fn unwinding<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Fault::Panicked))
}

fn size(op: &Op) -> usize {
    let value = match op {
        Op::Put { value, .. } => value.len(),
        Op::Delete { .. } => 0,
    };
    op.key().as_bytes().len() + value
}

/// Runs `work`, which may wait for the disk, where it holds up no other task.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::runtime::Handle::try_current().map(|handle| (handle.runtime_flavor(), handle)) {
        Err(_) => work(),
        // On a thread that is not one of the runtime's this costs nothing: so does the committer.
        Ok((RuntimeFlavor::MultiThread, _)) => tokio::task::block_in_place(work),
        Ok((_, handle)) => handle
            .spawn_blocking(work)
            .await
            .map_err(|_| Fault::Closed)?,
    }
}

#[async_trait]
impl Store for RedbStore {
    // Reads take microseconds from memory, so they run where they are asked.
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, StoreError> {
        Ok(self.handle.0.with(|open| open.get(key))?)
    }

    async fn scan(
        &self,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<(Key, Versioned)>, StoreError> {
        let limit = limit.min(MAX_SCAN);
        Ok(self.handle.0.with(|open| open.scan(range, limit))?)
    }

    async fn apply(&self, group: WriteSet) -> Result<(), StoreError> {
        let inner = self.handle.0.clone();
        let turn = inner.turn.clone().lock_owned().await;
        blocking(move || {
            let _turn = turn;
            inner.apply(group)
        })
        .await
    }

    async fn last_group(&self) -> Result<Revision, StoreError> {
        // Behind each group that was begun before.
        let _turn = self.handle.0.turn.lock().await;
        Ok(self.handle.0.with(|open| Ok(open.last()))?)
    }

    async fn snapshot(&self, target: &Path) -> Result<Revision, StoreError> {
        let (inner, target) = (self.handle.0.clone(), target.to_owned());
        blocking(move || snapshot::copy(&inner, &target)).await
    }

    fn group_limit(&self) -> GroupLimit {
        GroupLimit {
            ops: 4096,
            bytes: 8 * 1024 * 1024,
        }
    }

    fn kind(&self) -> &'static str {
        KIND
    }
}

#[cfg(test)]
mod tests;
