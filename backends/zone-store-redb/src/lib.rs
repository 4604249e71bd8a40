//! The embedded store: one redb file beside the head.
//!
//! # What must hold
//!
//! * `apply` returns after the group is on stable storage, and blocks no worker of the runtime.
//! * After a failed write the pages that the kernel still holds are dropped and the file is opened
//!   and checked anew: what a failed fsync left in the page cache is never taken for stored.
//! * One process at a time has the file open; a second one is refused.
//!
//! # Deliberately absent
//!
//! No preconditions and no commit log (the committer's), no encryption (the barrier's).
//!
//! Start at [`RedbStore::open`]; the layout is in `docs/formats/store.md`, the choice of engine
//! and of its commit mode in `docs/decisions/0002-embedded-store.md`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::runtime::{Handle, RuntimeFlavor};
use zone_ports::store::{GroupLimit, Op, Revision, Versioned, WriteSet};
use zone_ports::{Key, KeyRange, Store, StoreError};

mod error;
mod file;
mod snapshot;

use error::{Fault, KIND};

/// Key to `revision u64 BE | value`.
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
/// [`HEAD`] to `last group u64 BE | fence u64 BE | version u8`.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const HEAD: &str = "head";
/// The version of the layout.
const VERSION: u8 = 1;
/// Bytes of the revision before each value.
const REVISION: usize = 8;
/// Most pairs of one scan.
const MAX_SCAN: usize = 1000;

/// How the store works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedbOptions {
    /// Bytes of memory for pages; the kernel's page cache stands behind it. While a group is
    /// written up to half of it holds that group.
    pub cache_bytes: usize,
    /// Free bytes on the file system below which groups are refused as
    /// [`StoreError::Full`] before anything is written.
    pub reserve_bytes: u64,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 16 * 1024 * 1024,
            reserve_bytes: 16 * 1024 * 1024,
        }
    }
}

/// A store in one file. A clone is the same store.
#[derive(Clone)]
pub struct RedbStore {
    inner: Arc<Inner>,
}

type Opener = Box<dyn Fn() -> Result<Database, Fault> + Send + Sync>;

struct Inner {
    path: PathBuf,
    options: RedbOptions,
    opener: Opener,
    slot: RwLock<Slot>,
}

enum Slot {
    Open(Database),
    /// After a failure, until the file could be opened again.
    Failed,
    /// For good.
    Closed,
}

/// The row of the last group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    last: Revision,
    fence: u64,
}

impl RedbStore {
    /// Opens the file at `path`, or creates it (0600). Blocks: after a crash the whole file is
    /// checked first.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if another process has it open or it cannot be read;
    /// [`StoreError::Corrupt`] if it is no store or a damaged one.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path, RedbOptions::default())
    }

    /// [`RedbStore::open`] with other options.
    pub fn open_with(path: impl AsRef<Path>, options: RedbOptions) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        file::create(&path).map_err(Fault::from)?;
        let at = path.clone();
        let opener = Box::new(move || file::open(&at, options.cache_bytes));
        Self::open_by(path, options, opener)
    }

    fn open_by(path: PathBuf, options: RedbOptions, opener: Opener) -> Result<Self, StoreError> {
        let inner = Inner {
            path,
            options,
            opener,
            slot: RwLock::new(Slot::Failed),
        };
        inner.reopen()?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Closes the file in good order, so that the next start need not check all of it. Waits for
    /// the group under way; every later call fails. Dropping the last clone closes it too.
    pub fn close(&self) -> Result<(), StoreError> {
        match std::mem::replace(&mut *self.inner.slot.write(), Slot::Closed) {
            Slot::Open(database) => unwinding(|| Ok(database.close()?))?,
            Slot::Failed | Slot::Closed => {}
        }
        Ok(())
    }
}

impl std::fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RedbStore({})", self.inner.path.display())
    }
}

impl Inner {
    /// Runs `work` on the open database. It is opened first if an earlier failure closed it.
    fn with<T>(&self, work: impl Fn(&Database) -> Result<T, Fault>) -> Result<T, Fault> {
        match &*self.slot.read() {
            Slot::Open(database) => return unwinding(|| work(database)),
            Slot::Closed => return Err(Fault::Closed),
            Slot::Failed => {}
        }
        self.reopen()?;
        match &*self.slot.read() {
            Slot::Open(database) => unwinding(|| work(database)),
            Slot::Closed | Slot::Failed => Err(Fault::Closed),
        }
    }

    /// Closes the file, forgets what the kernel holds of it, and opens it anew.
    fn reopen(&self) -> Result<(), Fault> {
        let mut slot = self.slot.write();
        match std::mem::replace(&mut *slot, Slot::Failed) {
            Slot::Open(database) => {
                drop(database);
                file::forget_pages(&self.path)?;
            }
            Slot::Failed => {}
            Slot::Closed => {
                *slot = Slot::Closed;
                return Err(Fault::Closed);
            }
        }
        let database = unwinding(|| (self.opener)())?;
        unwinding(|| prepare(&database))?;
        *slot = Slot::Open(database);
        Ok(())
    }

    fn apply(&self, group: &WriteSet) -> Result<(), StoreError> {
        let bytes = group.ops.iter().map(size).sum::<usize>() as u64;
        file::check_room(&self.path, self.options.reserve_bytes.saturating_add(bytes))?;
        let fault = match self.with(|database| write(database, group)) {
            Ok(()) => return Ok(()),
            Err(fault @ Fault::Fenced) => return Err(fault.into()),
            Err(fault) => fault,
        };
        // Whether the group is there shows only when the file is read afresh.
        tracing::warn!(error = %fault, "a group could not be written; the store is opened anew");
        self.reopen()?;
        if self.with(head)?.last == group.number {
            return Ok(());
        }
        Err(fault.into())
    }
}

/// A panic inside redb means a file that is not as redb wrote it.
fn unwinding<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Fault::Panicked))
}

/// Makes the tables of a new file, and refuses one of another layout.
fn prepare(database: &Database) -> Result<(), Fault> {
    let transaction = database.begin_write()?;
    let new = {
        let mut meta = transaction.open_table(META)?;
        let found = meta
            .get(HEAD)?
            .map(|row| read_head(row.value()))
            .transpose()?;
        if found.is_none() {
            let head = Head {
                last: Revision(0),
                fence: 0,
            };
            meta.insert(HEAD, &head_row(head)[..])?;
            transaction.open_table(RECORDS)?;
        }
        found.is_none()
    };
    if new {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(())
}

fn head_row(head: Head) -> [u8; 17] {
    let mut row = [VERSION; 17];
    row[..8].copy_from_slice(&head.last.0.to_be_bytes());
    row[8..16].copy_from_slice(&head.fence.to_be_bytes());
    row
}

fn read_head(row: &[u8]) -> Result<Head, Fault> {
    let (last, rest) = row.split_first_chunk().ok_or(Fault::Layout)?;
    let (fence, rest) = rest.split_first_chunk().ok_or(Fault::Layout)?;
    if rest != [VERSION] {
        return Err(Fault::Layout);
    }
    let last = Revision(u64::from_be_bytes(*last));
    Ok(Head {
        last,
        fence: u64::from_be_bytes(*fence),
    })
}

fn head(database: &Database) -> Result<Head, Fault> {
    let meta = database.begin_read()?.open_table(META)?;
    let row = meta.get(HEAD)?.ok_or(Fault::Layout)?;
    read_head(row.value())
}

/// One transaction, one fsync: redb's checksums tell a torn commit from a whole one.
fn write(database: &Database, group: &WriteSet) -> Result<(), Fault> {
    let transaction = database.begin_write()?;
    let next = {
        let mut meta = transaction.open_table(META)?;
        let head = read_head(meta.get(HEAD)?.ok_or(Fault::Layout)?.value())?;
        let next = head.last.0 + 1 == group.number.0 && head.fence <= group.fence;
        if next {
            let head = Head {
                last: group.number,
                fence: group.fence,
            };
            meta.insert(HEAD, &head_row(head)[..])?;
        }
        next
    };
    if !next {
        transaction.abort()?;
        return Err(Fault::Fenced);
    }
    {
        let mut records = transaction.open_table(RECORDS)?;
        for op in &group.ops {
            match op {
                Op::Put { key, value } => {
                    let length = REVISION + value.len();
                    let mut row = records.insert_reserve(key.as_bytes(), length)?;
                    let row: &mut [u8] = row.as_mut();
                    row[..REVISION].copy_from_slice(&group.number.0.to_be_bytes());
                    row[REVISION..].copy_from_slice(value);
                }
                Op::Delete { key } => {
                    records.remove(key.as_bytes())?;
                }
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn size(op: &Op) -> usize {
    let value = match op {
        Op::Put { value, .. } => value.len(),
        Op::Delete { .. } => 0,
    };
    op.key().as_bytes().len() + value
}

fn read_row(row: &[u8]) -> Result<Versioned, Fault> {
    let (revision, value) = row.split_first_chunk().ok_or(Fault::Layout)?;
    let revision = Revision(u64::from_be_bytes(*revision));
    Ok(Versioned {
        value: Bytes::copy_from_slice(value),
        revision,
    })
}

fn get(database: &Database, key: &Key) -> Result<Option<Versioned>, Fault> {
    let records = database.begin_read()?.open_table(RECORDS)?;
    let row = records.get(key.as_bytes())?;
    row.map(|row| read_row(row.value())).transpose()
}

fn scan(
    database: &Database,
    range: &KeyRange,
    limit: usize,
) -> Result<Vec<(Key, Versioned)>, Fault> {
    let mut found = Vec::new();
    if range.end.as_ref().is_some_and(|end| *end <= range.start) {
        return Ok(found);
    }
    let records = database.begin_read()?.open_table(RECORDS)?;
    let start = &range.start[..];
    let rows = match &range.end {
        Some(end) => records.range(start..&end[..])?,
        None => records.range(start..)?,
    };
    for row in rows.take(limit.min(MAX_SCAN)) {
        let (key, row) = row?;
        let key = Key::new(Bytes::copy_from_slice(key.value())).map_err(|_| Fault::Layout)?;
        found.push((key, read_row(row.value())?));
    }
    Ok(found)
}

/// Runs `work`, which may wait for the disk, where it holds up no other task.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match Handle::try_current().map(|handle| (handle.runtime_flavor(), handle)) {
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
        Ok(self.inner.with(|database| get(database, key))?)
    }

    async fn scan(
        &self,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<(Key, Versioned)>, StoreError> {
        Ok(self.inner.with(|database| scan(database, range, limit))?)
    }

    async fn apply(&self, group: WriteSet) -> Result<(), StoreError> {
        let inner = self.inner.clone();
        blocking(move || inner.apply(&group)).await
    }

    async fn last_group(&self) -> Result<Revision, StoreError> {
        Ok(self.inner.with(head)?.last)
    }

    async fn snapshot(&self, target: &Path) -> Result<Revision, StoreError> {
        let (inner, target) = (self.inner.clone(), target.to_owned());
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
