//! A copy of the store in a new file, while writers go on.
//!
//! The copy is read in one transaction, so it is the store at one group. It is written under
//! another name and gets its own when it is whole and durable. Pages that the store frees
//! meanwhile are used again only when the copy is done, so the file may grow.

use std::path::Path;

use redb::{Database, ReadTransaction};
use zone_ports::StoreError;
use zone_ports::store::Revision;

use crate::error::Fault;
use crate::file::Partial;
use crate::table::{HEAD, Head, META, RECORDS};
use crate::{Inner, file, unwinding};

/// Bytes that one transaction of the copy holds.
const PART: usize = 4 * 1024 * 1024;
/// Memory of the copy's writer.
const CACHE: usize = 8 * 1024 * 1024;

pub(crate) fn copy(inner: &Inner, target: &Path) -> Result<Revision, StoreError> {
    let _copying = inner.copying.lock();
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
