//! An open store: the redb file, its journal, and the groups that only the journal has yet.
//!
//! # What must hold
//!
//! * A reader sees every group whose `apply` returned: a layer leaves memory after the file has it.
//! * The files of a layer are used again after the redb file holds the layer durably.
//! * Locks are taken in the order `journal`, `folder`, `files`, `recent`.

use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use redb::{Database, ReadTransaction, ReadableDatabase};
use rustix::rand::{GetRandomFlags, getrandom};
use zone_ports::store::{Revision, Versioned, WriteSet};
use zone_ports::{Key, KeyRange};

use crate::error::Fault;
use crate::journal::{self, DiskOpener, Journal, JournalFile, Replay};
use crate::recent::{Layer, Recent, merge};
use crate::table::{self, JournalId, Rows};

/// How files are opened. Tests have them fail.
pub(crate) struct Openers {
    pub(crate) database: Box<dyn Fn() -> Result<Database, Fault> + Send + Sync>,
    pub(crate) disk: Box<DiskOpener>,
}

pub(crate) struct Open {
    database: Database,
    journal: Mutex<Journal>,
    /// Held by whoever writes to the redb file.
    folder: Mutex<()>,
    recent: RwLock<Recent>,
    files: Mutex<Files>,
}

/// Files of the journal that are not written to now.
#[derive(Default)]
struct Files {
    /// Of the folding layer.
    busy: Vec<JournalFile>,
    spare: Vec<JournalFile>,
}

impl Open {
    /// Opens the redb file and reads what the journal holds behind it.
    pub(crate) fn new(path: &Path, openers: &Openers) -> Result<Self, Fault> {
        let database = (openers.database)()?;
        let (mut head, id) = table::prepare(&database)?;
        let replay = match id {
            Some(id) => journal::replay(path, &id, head.last, &*openers.disk)?,
            None => begin(path, &database, openers)?,
        };
        let mut layer = Layer::default();
        for group in replay.groups {
            layer.put(group);
        }
        head = layer.head().unwrap_or(head);
        let folding = layer.head().is_some().then(|| Arc::new(layer));
        Ok(Self {
            database,
            journal: Mutex::new(replay.journal),
            folder: Mutex::default(),
            recent: RwLock::new(Recent {
                head,
                active: Layer::default(),
                folding,
            }),
            files: Mutex::new(Files {
                busy: replay.busy,
                spare: replay.spare,
            }),
        })
    }

    /// Applies one group. True if a layer waits to be folded.
    pub(crate) fn apply(
        &self,
        group: WriteSet,
        fold_bytes: usize,
        path: &Path,
        openers: &Openers,
    ) -> Result<bool, Fault> {
        let mut journal = self.journal.lock();
        {
            let head = self.recent.read().head;
            if group.number.0 != head.last.0 + 1 || group.fence < head.fence {
                return Err(Fault::Fenced);
            }
        }
        if self.is_full(&journal, fold_bytes) {
            // The layer before was not folded in time: this writer waits for it, or does it.
            self.fold()?;
            self.turn(&mut journal, path, openers)?;
        }
        journal.append(&group)?;
        {
            let mut recent = self.recent.write();
            recent.head.last = group.number;
            recent.head.fence = group.fence;
            recent.active.put(group);
        }
        if self.is_full(&journal, fold_bytes) {
            self.turn(&mut journal, path, openers)?;
        }
        Ok(self.recent.read().folding.is_some())
    }

    /// Whether it is time for another layer and file. A key that is written again and again takes
    /// no more memory, but all of the journal is read after a crash.
    fn is_full(&self, journal: &Journal, fold_bytes: usize) -> bool {
        let fold = fold_bytes as u64;
        self.recent.read().active.bytes() >= fold_bytes || journal.bytes() / 2 >= fold
    }

    /// Makes the active layer the folding one, unless there is one, and goes on in another file.
    fn turn(&self, journal: &mut Journal, path: &Path, openers: &Openers) -> Result<(), Fault> {
        if self.recent.read().folding.is_some() {
            return Ok(());
        }
        let mut files = self.files.lock();
        let next = files.next(path, journal, openers)?;
        files.busy.push(journal.switch(next));
        drop(files);
        let mut recent = self.recent.write();
        let layer = std::mem::take(&mut recent.active);
        recent.folding = Some(Arc::new(layer));
        Ok(())
    }

    /// Writes the folding layer, if there is one, to the redb file.
    pub(crate) fn fold(&self) -> Result<(), Fault> {
        let _folder = self.folder.lock();
        let Some(layer) = self.recent.read().folding.clone() else {
            return Ok(());
        };
        table::fold(&self.database, &[&layer])?;
        {
            // First: as soon as the layer is gone the next one may bring its own file.
            let mut files = self.files.lock();
            let Files { busy, spare } = &mut *files;
            spare.append(busy);
        }
        self.recent.write().folding = None;
        Ok(())
    }

    /// Bytes of memory of what the file does not have yet.
    #[cfg(test)]
    pub(crate) fn waiting_bytes(&self) -> usize {
        let recent = self.recent.read();
        let folding = recent.folding.as_ref().map_or(0, |layer| layer.bytes());
        recent.active.bytes() + folding
    }

    pub(crate) fn is_folding(&self) -> bool {
        self.recent.read().folding.is_some()
    }

    /// The file at one instant, with every group that was applied before.
    pub(crate) fn folded(&self, path: &Path, openers: &Openers) -> Result<ReadTransaction, Fault> {
        self.fold()?;
        {
            let mut journal = self.journal.lock();
            if self.recent.read().active.head().is_some() {
                self.turn(&mut journal, path, openers)?;
            }
        }
        self.fold()?;
        Ok(self.database.begin_read()?)
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<Versioned>, Fault> {
        let recent = self.recent.read().get(key);
        match recent {
            Some(found) => Ok(found),
            None => table::get(&self.database, key),
        }
    }

    pub(crate) fn scan(
        &self,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<(Key, Versioned)>, Fault> {
        // Both under one lock: a layer that is folded meanwhile is in one of them.
        let (recent, transaction) = {
            let recent = self.recent.read();
            (recent.scan(range, limit), self.database.begin_read()?)
        };
        merge(recent, Rows::of(&transaction)?.range(range)?, limit)
    }

    /// The last group. Waits for the one that is being written.
    pub(crate) fn last(&self) -> Revision {
        let _journal = self.journal.lock();
        self.recent.read().head.last
    }

    /// Writes everything to the redb file, closes it and removes the journal.
    pub(crate) fn close(self, path: &Path) -> Result<(), Fault> {
        let recent = self.recent.into_inner();
        let mut layers: Vec<&Layer> = recent.folding.as_deref().into_iter().collect();
        layers.push(&recent.active);
        table::fold_last(&self.database, &layers)?;
        // Still under the file's lock: the next process may begin a journal as soon as it is free.
        journal::remove(path)?;
        Ok(self.database.close()?)
    }
}

impl Files {
    /// A file to go on in.
    fn next(
        &mut self,
        path: &Path,
        current: &Journal,
        openers: &Openers,
    ) -> Result<JournalFile, Fault> {
        if let Some(spare) = self.spare.pop() {
            return Ok(spare);
        }
        let taken =
            |index| current.index() == index || self.busy.iter().any(|file| file.index() == index);
        JournalFile::create(path, taken, &*openers.disk)
    }
}

/// Begins the journal of a file that has none.
fn begin(path: &Path, database: &Database, openers: &Openers) -> Result<Replay, Fault> {
    // What a crash left between the end of closing and the removal.
    journal::remove(path)?;
    let mut id = JournalId::default();
    if getrandom(&mut id, GetRandomFlags::empty())? != id.len() {
        return Err(Fault::Closed);
    }
    // The file comes first: whoever reads the id later expects one.
    let file = JournalFile::create(path, |_| false, &*openers.disk)?;
    table::begin_journal(database, &id)?;
    Ok(Replay {
        groups: Vec::new(),
        journal: Journal::new(id, file),
        busy: Vec::new(),
        spare: Vec::new(),
    })
}
