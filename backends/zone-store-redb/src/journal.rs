//! The journal: each group is one record here, synced, before anybody hears of it.
//!
//! The records go one behind another into a file that was filled with zeros before, so that the
//! sync has no size or extent to write: one small write and one `fdatasync` for a group. A file whose
//! groups are all in the redb file is used again from its beginning. Format: `docs/formats/store.md`.
//!
//! # What must hold
//!
//! * A group is read back only if all of it is as it was written (HMAC-SHA256, cut to 128 bits).
//! * Only the last record can be torn, because each is synced before the next is begun. A damaged
//!   record with a whole one behind it is corruption, not a crash.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes};
use zone_crypto::hmac;
use zone_ports::Key;
use zone_ports::store::{Op, Revision, WriteSet};

use crate::error::Fault;
use crate::file;
use crate::table::JournalId;

const MAGIC: [u8; 4] = *b"zhj1";
/// Magic, length, first group of the file, number, fence, count of operations.
const HEADER: usize = 4 + 4 + 8 + 8 + 8 + 4;
const HASH: usize = 16;
/// Zeros are written ahead in pieces of this size.
const AHEAD: usize = 512 * 1024;
/// Most files; three are in use at a time.
const MOST: usize = 8;
const PUT: u8 = 1;
const DELETE: u8 = 2;

/// What a journal's file can do. A trait so that tests can have it fail.
pub(crate) trait Disk: Send + Sync {
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
}

impl Disk for File {
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_all_at(data, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Makes a disk of an open file.
pub(crate) type DiskOpener = dyn Fn(File) -> Box<dyn Disk> + Send + Sync;

/// One file of the journal.
pub(crate) struct JournalFile {
    disk: Box<dyn Disk>,
    index: usize,
    /// Bytes that were ever written: records or zeros.
    length: u64,
}

/// Where groups go.
pub(crate) struct Journal {
    id: JournalId,
    file: JournalFile,
    /// Where the next record goes.
    at: u64,
    /// The first group of the file.
    first: Revision,
    buffer: Vec<u8>,
}

/// What the files hold behind the redb file's last group.
pub(crate) struct Replay {
    /// In order, without a gap.
    pub(crate) groups: Vec<WriteSet>,
    /// Goes on behind the last of them.
    pub(crate) journal: Journal,
    /// The other files that hold some.
    pub(crate) busy: Vec<JournalFile>,
    /// They hold nothing that is needed.
    pub(crate) spare: Vec<JournalFile>,
}

impl Journal {
    /// Begins in `file`, whose content is no longer needed.
    pub(crate) fn new(id: JournalId, file: JournalFile) -> Self {
        let (at, first) = (0, Revision(0));
        Self {
            id,
            file,
            at,
            first,
            buffer: Vec::new(),
        }
    }

    pub(crate) fn index(&self) -> usize {
        self.file.index
    }

    /// Bytes of records in the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.at
    }

    /// Goes on in another file; gives back the one of before.
    pub(crate) fn switch(&mut self, file: JournalFile) -> JournalFile {
        self.at = 0;
        std::mem::replace(&mut self.file, file)
    }

    /// Writes one group. It is on stable storage when this returns.
    pub(crate) fn append(&mut self, group: &WriteSet) -> io::Result<()> {
        if self.at == 0 {
            self.first = group.number;
        }
        self.buffer.clear();
        encode(&self.id, self.first, group, &mut self.buffer);
        let length = self.buffer.len() as u64;
        self.file.fill_to(self.at + length)?;
        self.file.disk.write(self.at, &self.buffer)?;
        self.file.disk.sync()?;
        self.at += length;
        // One large group need not keep its memory.
        self.buffer.shrink_to(AHEAD);
        Ok(())
    }
}

impl JournalFile {
    /// A new file beside `store`, empty and durable, under the first free index.
    pub(crate) fn create(
        store: &Path,
        taken: impl Fn(usize) -> bool,
        opener: &DiskOpener,
    ) -> Result<Self, Fault> {
        let free = (0..MOST).find(|index| !taken(*index));
        let index = free.ok_or(Fault::Room)?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path(store, index))?;
        file.sync_all()?;
        file::sync_directory(store)?;
        Ok(Self {
            disk: opener(file),
            index,
            length: 0,
        })
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Sees to it that the file has bytes up to `end`.
    fn fill_to(&mut self, end: u64) -> io::Result<()> {
        while self.length < end {
            self.disk.write(self.length, &vec![0; AHEAD])?;
            self.length += AHEAD as u64;
        }
        Ok(())
    }
}

/// Removes the files beside `store`.
pub(crate) fn remove(store: &Path) -> io::Result<()> {
    let mut any = false;
    for index in 0..MOST {
        match std::fs::remove_file(path(store, index)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => {
                done?;
                any = true;
            }
        }
    }
    if any {
        file::sync_directory(store)
    } else {
        Ok(())
    }
}

/// Reads what the files of journal `id` hold behind group `last`.
pub(crate) fn replay(
    store: &Path,
    id: &JournalId,
    last: Revision,
    opener: &DiskOpener,
) -> Result<Replay, Fault> {
    // Whoever made a file may have been killed before its name was durable.
    file::sync_directory(store)?;
    let (mut groups, mut journals, mut spare) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..MOST {
        let mut options = OpenOptions::new();
        let mut source = match options.read(true).write(true).open(path(store, index)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            source => source?,
        };
        let disk = opener(source.try_clone()?);
        // Whoever reads a group may tell of it, so it must be on the disk, and read from there.
        disk.sync()?;
        file::drop_pages(&source)?;
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes)?;
        let bytes = Bytes::from(bytes);
        let file = JournalFile {
            disk,
            index,
            length: bytes.len() as u64,
        };
        let content = read(id, &bytes, last)?;
        let Some(newest) = content.groups.last().map(|group| group.number) else {
            spare.push(file);
            continue;
        };
        let journal = Journal {
            at: content.end as u64,
            first: content.first,
            ..Journal::new(*id, file)
        };
        journals.push((newest, journal));
        groups.extend(content.groups);
    }
    groups.sort_by_key(|group| group.number);
    let mut numbers = (last.0 + 1..).zip(&groups);
    if !numbers.all(|(number, group)| group.number.0 == number) {
        return Err(Fault::Journal);
    }
    journals.sort_by_key(|(newest, _)| *newest);
    let newest = journals.pop().map(|(_, journal)| journal);
    let unused = || spare.pop().map(|file| Journal::new(*id, file));
    let journal = newest.or_else(unused).ok_or(Fault::NoJournal)?;
    let busy = journals.into_iter().map(|(_, journal)| journal.file);
    Ok(Replay {
        groups,
        journal,
        busy: busy.collect(),
        spare,
    })
}

fn path(store: &Path, index: usize) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(format!(".journal-{index}"));
    name.into()
}

/// What one file holds.
struct Content {
    /// Those behind the last group of the redb file.
    groups: Vec<WriteSet>,
    first: Revision,
    /// Where its last record ends.
    end: usize,
}

fn read(id: &JournalId, bytes: &Bytes, last: Revision) -> Result<Content, Fault> {
    let mut groups: Vec<WriteSet> = Vec::new();
    let (mut end, mut first, mut number) = (0, None, last);
    while let Some(record) = decode(id, bytes.slice(end..)) {
        let group = record.group;
        // What the file held before it was used again lies behind its last record.
        if *first.get_or_insert(group.number) != record.first {
            break;
        }
        end += record.length;
        number = number.max(group.number);
        if group.number > last {
            groups.push(group);
        }
    }
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    let rest = bytes.get(end..=used).unwrap_or_default();
    let begins = (0..rest.len()).filter(|from| rest[*from..].starts_with(&MAGIC));
    let mut behind = begins.filter_map(|from| decode(id, bytes.slice(end + from..)));
    if behind.any(|record| record.group.number > number) {
        return Err(Fault::Journal);
    }
    Ok(Content {
        groups,
        first: first.unwrap_or_default(),
        end,
    })
}

/// A record as it was written.
struct Record {
    group: WriteSet,
    /// The first group of the file at that time.
    first: Revision,
    length: usize,
}

fn encode(id: &JournalId, first: Revision, group: &WriteSet, out: &mut Vec<u8>) {
    out.extend(MAGIC);
    out.extend([0; 4]);
    out.extend(first.0.to_be_bytes());
    out.extend(group.number.0.to_be_bytes());
    out.extend(group.fence.to_be_bytes());
    out.extend(count(group.ops.len()).to_be_bytes());
    for op in &group.ops {
        let key = op.key().as_bytes();
        out.push(if matches!(op, Op::Put { .. }) {
            PUT
        } else {
            DELETE
        });
        out.extend(count(key.len()).to_be_bytes());
        out.extend(key);
        if let Op::Put { value, .. } = op {
            out.extend(count(value.len()).to_be_bytes());
            out.extend(&value[..]);
        }
    }
    let length = count(out.len() + HASH);
    out[4..8].copy_from_slice(&length.to_be_bytes());
    let hash = hmac::Key::new(id).sign(out);
    out.extend(&hash[..HASH]);
}

fn count(count: usize) -> u32 {
    u32::try_from(count).expect("a group is smaller than 4 GiB")
}

/// The record at the beginning of `bytes`, if it is whole. Its values share memory with them.
fn decode(id: &JournalId, bytes: Bytes) -> Option<Record> {
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*rest.first_chunk()?) as usize;
    if *magic != MAGIC || length < HEADER + HASH {
        return None;
    }
    let (signed, hash) = bytes.get(..length)?.split_last_chunk::<HASH>()?;
    if hmac::Key::new(id).sign(signed)[..HASH] != *hash {
        return None;
    }
    let mut rest = bytes.slice(8..length - HASH);
    let first = Revision(rest.try_get_u64().ok()?);
    let number = Revision(rest.try_get_u64().ok()?);
    let fence = rest.try_get_u64().ok()?;
    let ops = (0..rest.try_get_u32().ok()?).map(|_| decode_op(&mut rest));
    let ops = ops.collect::<Option<_>>()?;
    let group = WriteSet { number, fence, ops };
    Some(Record {
        group,
        first,
        length,
    })
}

fn decode_op(rest: &mut Bytes) -> Option<Op> {
    let kind = rest.try_get_u8().ok()?;
    let key = Key::new(take(rest)?).ok()?;
    match kind {
        PUT => Some(Op::Put {
            key,
            value: take(rest)?,
        }),
        DELETE => Some(Op::Delete { key }),
        _ => None,
    }
}

fn take(rest: &mut Bytes) -> Option<Bytes> {
    let length = rest.try_get_u32().ok()? as usize;
    (length <= rest.len()).then(|| rest.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The record of `docs/formats/store.md`: change it only with a new magic.
    #[test]
    fn the_journal_record_keeps_its_form() {
        let key = |text: &str| Key::new(text.to_owned()).unwrap();
        let put = |at: &str, value: &'static [u8]| Op::Put {
            key: key(at),
            value: value.into(),
        };
        let group = WriteSet {
            number: Revision(9),
            fence: 3,
            ops: vec![
                put("a", b"one"),
                put("b", b""),
                Op::Delete { key: key("c") },
            ],
        };
        let (id, first) = ([7; 16], Revision(8));
        let mut bytes = Vec::new();
        encode(&id, first, &group, &mut bytes);
        let golden = include_str!("../tests/golden/journal-1.hex").trim();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden);
        let record = decode(&id, bytes.clone().into()).unwrap();
        assert_eq!((record.group, record.first), (group, first));
        assert_eq!(record.length, bytes.len());
        assert!(
            decode(&[8; 16], bytes.clone().into()).is_none(),
            "another journal's"
        );
        for end in 0..bytes.len() {
            assert!(
                decode(&id, bytes[..end].to_vec().into()).is_none(),
                "cut at {end}"
            );
        }
    }
}
