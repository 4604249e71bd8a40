//! A copy of the store in a new file, while writers go on.
//!
//! The copy is read in one transaction, so it is the store at one group. It is written under
//! another name and gets its own when it is whole and durable. Pages that the store frees
//! meanwhile are used again only when the copy is done, so the file may grow.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use redb::{Database, ReadTransaction};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use zone_ports::StoreError;
use zone_ports::store::Revision;

use crate::error::Fault;
use crate::table::{HEAD, Head, META, RECORDS};
use crate::{Inner, file, unwinding};

/// Bytes that one transaction of the copy holds.
const PART: usize = 4 * 1024 * 1024;
/// Memory of the copy's writer.
const CACHE: usize = 8 * 1024 * 1024;

pub(crate) fn copy(inner: &Inner, target: &Path) -> Result<Revision, StoreError> {
    let source = inner.folded()?;
    let partial = Partial::new(target)?;
    let revision = unwinding(|| fill(&source, &partial.path))?;
    partial.finish(target)?;
    Ok(revision)
}

fn fill(source: &ReadTransaction, target: &Path) -> Result<Revision, Fault> {
    let copy = file::open(target, CACHE)?;
    let records = source.open_table(RECORDS)?;
    let mut rows = records.range::<&[u8]>(..)?;
    loop {
        let transaction = copy.begin_write()?;
        let mut bytes = 0;
        {
            let mut table = transaction.open_table(RECORDS)?;
            while bytes < PART {
                let Some(row) = rows.next() else { break };
                let (key, value) = row?;
                bytes += key.value().len() + value.value().len();
                table.insert(key.value(), value.value())?;
            }
        }
        transaction.commit()?;
        if bytes < PART {
            break;
        }
    }
    let revision = copy_head(source, &copy)?;
    copy.close()?;
    Ok(revision)
}

/// Comes last: without it the copy is no store.
fn copy_head(source: &ReadTransaction, copy: &Database) -> Result<Revision, Fault> {
    let meta = source.open_table(META)?;
    let row = meta.get(HEAD)?.ok_or(Fault::Layout)?;
    let head = Head::read(row.value())?;
    let transaction = copy.begin_write()?;
    transaction.open_table(META)?.insert(HEAD, row.value())?;
    transaction.commit()?;
    Ok(head.last)
}

/// A file under another name, gone again unless it is finished.
struct Partial {
    path: PathBuf,
}

impl Partial {
    fn new(target: &Path) -> Result<Self, Fault> {
        let mut name = OsString::from(target);
        name.push(".partial");
        let path = PathBuf::from(name);
        // What a crash left of an earlier try.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        file::create(&path)?;
        Ok(Self { path })
    }

    /// Gives the file its name; fails if there is one of that name.
    fn finish(self, target: &Path) -> Result<(), Fault> {
        File::open(&self.path)?.sync_all()?;
        renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE)?;
        file::sync_directory(target)?;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Already renamed, or nothing more can be done.
        drop(fs::remove_file(&self.path));
    }
}
