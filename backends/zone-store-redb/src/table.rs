//! The redb file: its tables, and what is read from and written to them.

use bytes::Bytes;
use redb::{
    Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};
use zone_ports::Key;
use zone_ports::KeyRange;
use zone_ports::store::{Revision, Versioned};

use crate::error::Fault;
use crate::recent::Layer;

/// Key to `revision u64 BE | value`.
pub(crate) const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
pub(crate) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// In [`META`]: `last group u64 BE | fence u64 BE | version u8`.
pub(crate) const HEAD: &str = "head";
/// In [`META`]: the id of the journal beside the file, 16 bytes. Absent in a closed file.
pub(crate) const JOURNAL: &str = "journal";
/// The version of the layout.
const VERSION: u8 = 1;
/// Bytes of the revision before each value.
const REVISION: usize = 8;

/// Names the journal of one opening, so that no record of another one is ever taken for its own.
pub(crate) type JournalId = [u8; 16];

/// The row of the last group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) last: Revision,
    pub(crate) fence: u64,
}

impl Head {
    fn row(self) -> [u8; 17] {
        let mut row = [VERSION; 17];
        row[..8].copy_from_slice(&self.last.0.to_be_bytes());
        row[8..16].copy_from_slice(&self.fence.to_be_bytes());
        row
    }

    pub(crate) fn read(row: &[u8]) -> Result<Self, Fault> {
        let (last, rest) = row.split_first_chunk().ok_or(Fault::Layout)?;
        let (fence, rest) = rest.split_first_chunk().ok_or(Fault::Layout)?;
        if rest != [VERSION] {
            return Err(Fault::Layout);
        }
        let last = Revision(u64::from_be_bytes(*last));
        Ok(Self {
            last,
            fence: u64::from_be_bytes(*fence),
        })
    }
}

/// Makes the tables of a new file, and refuses one of another layout, or with records and no head: a
/// copy that was not finished. What the file knows of its
/// groups, and the journal that belongs to it if it was not closed.
pub(crate) fn prepare(database: &Database) -> Result<(Head, Option<JournalId>), Fault> {
    let transaction = begin_write(database)?;
    let mut found = None;
    let new = transaction.list_tables()?.next().is_none();
    {
        let mut meta = transaction.open_table(META)?;
        let head = meta.get(HEAD)?.map(|row| Head::read(row.value()));
        if let Some(head) = head.transpose()? {
            let id = meta.get(JOURNAL)?.map(|row| row.value().try_into());
            let id = id.transpose().map_err(|_| Fault::Layout)?;
            found = Some((head, id));
        } else if !new {
            return Err(Fault::Layout);
        } else {
            meta.insert(HEAD, &Head::default().row()[..])?;
            transaction.open_table(RECORDS)?;
        }
    }
    match found {
        Some(_) => transaction.abort()?,
        None => transaction.commit()?,
    }
    Ok(found.unwrap_or_default())
}

/// Says which journal stands beside the file from now on.
pub(crate) fn begin_journal(database: &Database, id: &JournalId) -> Result<(), Fault> {
    let transaction = begin_write(database)?;
    transaction.open_table(META)?.insert(JOURNAL, &id[..])?;
    Ok(transaction.commit()?)
}

/// Writes what the layers hold, older first, whole or not at all.
pub(crate) fn fold(database: &Database, layers: &[&Layer]) -> Result<(), Fault> {
    let transaction = begin_write(database)?;
    write(&transaction, layers)?;
    Ok(transaction.commit()?)
}

/// [`fold`], and from now on no journal belongs to the file.
pub(crate) fn fold_last(database: &Database, layers: &[&Layer]) -> Result<(), Fault> {
    let transaction = begin_write(database)?;
    write(&transaction, layers)?;
    transaction.open_table(META)?.remove(JOURNAL)?;
    Ok(transaction.commit()?)
}

/// Each commit is in two phases and keeps the allocator's state: so opening after a crash takes
/// the same short time whatever the file holds.
fn begin_write(database: &Database) -> Result<WriteTransaction, Fault> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

fn write(transaction: &WriteTransaction, layers: &[&Layer]) -> Result<(), Fault> {
    let mut records = transaction.open_table(RECORDS)?;
    let mut meta = transaction.open_table(META)?;
    for layer in layers {
        for (key, found) in layer.rows() {
            match found {
                Some(found) => {
                    let length = REVISION + found.value.len();
                    let mut row = records.insert_reserve(key.as_bytes(), length)?;
                    let row: &mut [u8] = row.as_mut();
                    row[..REVISION].copy_from_slice(&found.revision.0.to_be_bytes());
                    row[REVISION..].copy_from_slice(&found.value);
                }
                None => drop(records.remove(key.as_bytes())?),
            }
        }
        if let Some(head) = layer.head() {
            meta.insert(HEAD, &head.row()[..])?;
        }
    }
    Ok(())
}

pub(crate) fn get(database: &Database, key: &Key) -> Result<Option<Versioned>, Fault> {
    let records = database.begin_read()?.open_table(RECORDS)?;
    let row = records.get(key.as_bytes())?;
    row.map(|row| read_row(row.value())).transpose()
}

/// The rows at one instant.
pub(crate) struct Rows(ReadOnlyTable<&'static [u8], &'static [u8]>);

impl Rows {
    pub(crate) fn of(transaction: &ReadTransaction) -> Result<Self, Fault> {
        Ok(Self(transaction.open_table(RECORDS)?))
    }

    /// The rows of `range`, in key order.
    pub(crate) fn range(
        &self,
        range: &KeyRange,
    ) -> Result<impl Iterator<Item = Result<(Key, Versioned), Fault>>, Fault> {
        let start = &range.start[..];
        let rows = match &range.end {
            // redb panics on a range that ends before it begins.
            Some(end) => self.0.range(start..start.max(&end[..]))?,
            None => self.0.range(start..)?,
        };
        Ok(rows.map(|row| {
            let (key, row) = row?;
            let key = Bytes::copy_from_slice(key.value());
            let key = Key::new(key).map_err(|_| Fault::Layout)?;
            Ok((key, read_row(row.value())?))
        }))
    }
}

fn read_row(row: &[u8]) -> Result<Versioned, Fault> {
    let (revision, value) = row.split_first_chunk().ok_or(Fault::Layout)?;
    let revision = Revision(u64::from_be_bytes(*revision));
    Ok(Versioned {
        value: Bytes::copy_from_slice(value),
        revision,
    })
}
