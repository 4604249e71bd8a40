//! The commit log: one record per group, written with the group itself.
//!
//! Each record says which keys its group touched, so that watches, caches, replication and
//! incremental snapshots work alike on every backend. A record is a hint on where to look, not an
//! authenticated statement: values are judged by the barrier. Format: `docs/formats/store.md`.

use bytes::Bytes;
use zone_ports::store::{MAX_KEY, MAX_VALUE, Revision};
use zone_ports::{Key, KeyRange, Store, StoreError};

/// Where the records are.
pub const PREFIX: &[u8] = b"core/commit-log/";
/// The format's version.
const VERSION: u8 = 1;
/// Bytes before the first key.
pub(super) const HEAD: usize = 1 + 8 + 8 + 8 + 4;
/// Bytes that a key costs beside its own.
pub(super) const PER_KEY: usize = 4;

/// What one group touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// The group.
    pub revision: Revision,
    /// The fencing term of its writer.
    pub fence: u64,
    /// The keys that it wrote or removed, in key order.
    pub keys: Vec<Key>,
}

/// What happened since a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSince {
    /// The next records, oldest first; empty at the end.
    Records(Vec<LogRecord>),
    /// The log no longer reaches back that far (or the store was rolled back): read everything
    /// again.
    Resync,
}

/// Which records the log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// The oldest one that is kept.
    pub(super) first: u64,
    /// The bytes of all records.
    pub(super) bytes: u64,
}

/// The key of one record.
pub fn key(revision: Revision) -> Key {
    let mut bytes = PREFIX.to_vec();
    bytes.extend(revision.0.to_be_bytes());
    Key::new(bytes).expect("24 bytes")
}

/// A record's bytes. `keys` are sorted; `kept` is the log behind this group, whose bytes do not
/// count this record yet.
pub(super) fn encode(fence: u64, kept: Kept, keys: &[Key]) -> Bytes {
    let size: usize = keys.iter().map(|key| key.as_bytes().len() + PER_KEY).sum();
    let mut out = Vec::with_capacity(HEAD + size);
    out.push(VERSION);
    out.extend(fence.to_be_bytes());
    out.extend(kept.first.to_be_bytes());
    let total_at = out.len();
    out.extend([0; 8]);
    let count = u32::try_from(keys.len()).expect("a group holds fewer keys");
    out.extend(count.to_be_bytes());
    let mut last: &[u8] = &[];
    for key in keys {
        let key = key.as_bytes();
        let shared = last.iter().zip(key).take_while(|(a, b)| a == b).count();
        out.extend(length(shared));
        out.extend(length(key.len() - shared));
        out.extend(&key[shared..]);
        last = key;
    }
    let total = kept.bytes + out.len() as u64;
    out[total_at..total_at + 8].copy_from_slice(&total.to_be_bytes());
    debug_assert!(out.len() <= MAX_VALUE, "the writer ends a group in time");
    out.into()
}

fn length(length: usize) -> [u8; 2] {
    u16::try_from(length)
        .expect("keys have at most 512 bytes")
        .to_be_bytes()
}

/// Reads a record; `None` if it is none of this version.
pub fn decode(revision: Revision, bytes: &[u8]) -> Option<LogRecord> {
    read(revision, bytes).map(|(record, _)| record)
}

fn read(revision: Revision, bytes: &[u8]) -> Option<(LogRecord, Kept)> {
    let mut rest = bytes;
    let [version] = take::<1>(&mut rest)?;
    if version != VERSION {
        return None;
    }
    let fence = u64::from_be_bytes(take(&mut rest)?);
    let first = u64::from_be_bytes(take(&mut rest)?);
    let bytes = u64::from_be_bytes(take(&mut rest)?);
    let count = u32::from_be_bytes(take(&mut rest)?);
    let mut keys = Vec::new();
    let mut last = Vec::with_capacity(MAX_KEY);
    for _ in 0..count {
        let shared = usize::from(u16::from_be_bytes(take(&mut rest)?));
        let own = usize::from(u16::from_be_bytes(take(&mut rest)?));
        if shared > last.len() {
            return None;
        }
        last.truncate(shared);
        last.extend(rest.split_off(..own)?);
        keys.push(Key::new(last.clone()).ok()?);
    }
    let kept = Kept { first, bytes };
    let whole = rest.is_empty() && keys.is_sorted();
    let record = LogRecord {
        revision,
        fence,
        keys,
    };
    (whole && first <= revision.0).then_some((record, kept))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

/// What the log holds, by its last record. A store that was filled without a log begins one.
pub(super) async fn last_kept(store: &dyn Store, last: Revision) -> Result<Kept, StoreError> {
    let none = Kept {
        first: last.0 + 1,
        bytes: 0,
    };
    if last == Revision(0) {
        return Ok(none);
    }
    match store.get(&key(last)).await? {
        Some(found) => match read(last, &found.value) {
            Some((_, kept)) => Ok(kept),
            None => Err(corrupt(store)),
        },
        None => Ok(none),
    }
}

/// The first `limit` records behind `revision`.
pub(super) async fn since(
    store: &dyn Store,
    revision: Revision,
    limit: usize,
) -> Result<LogSince, StoreError> {
    let Some(next) = revision.0.checked_add(1).map(Revision) else {
        return Ok(LogSince::Resync);
    };
    let range = KeyRange::prefix(PREFIX).from(key(next).as_bytes().to_vec());
    let found = store.scan(&range, limit).await?;
    if found.is_empty() {
        let last = store.last_group().await?;
        // A group that came in between is for the next call.
        let end = last == revision || store.get(&key(next)).await?.is_some();
        return Ok(if end {
            LogSince::Records(Vec::new())
        } else {
            LogSince::Resync
        });
    }
    let mut records = Vec::with_capacity(found.len());
    for (offset, (at, value)) in (0..).zip(found) {
        let expected = Revision(next.0 + offset);
        if at != key(expected) {
            return Ok(LogSince::Resync);
        }
        records.push(decode(expected, &value.value).ok_or_else(|| corrupt(store))?);
    }
    Ok(LogSince::Records(records))
}

fn corrupt(store: &dyn Store) -> StoreError {
    StoreError::Corrupt {
        backend: store.kind(),
        source: "a record of the commit log is malformed".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(texts: &[&str]) -> Vec<Key> {
        let key = |text: &&str| Key::new((*text).to_owned()).unwrap();
        texts.iter().map(key).collect()
    }

    /// The record of `docs/formats/store.md`: change it only with a new version.
    #[test]
    fn the_commit_log_record_keeps_its_form() {
        let keys = keys(&["ab/cd/secret/x", "ab/cd/secret/y", "b"]);
        let kept = Kept {
            first: 3,
            bytes: 100,
        };
        let bytes = encode(7, kept, &keys);
        assert_eq!(
            hex::encode(&bytes),
            include_str!("../../tests/golden/commit-log-1.hex").trim()
        );
        let (record, total) = read(Revision(9), &bytes).unwrap();
        assert_eq!(record.keys, keys);
        assert_eq!((record.fence, record.revision), (7, Revision(9)));
        assert_eq!(total.first, 3);
        assert_eq!(total.bytes, 100 + bytes.len() as u64);
    }

    #[test]
    fn no_damaged_record_is_read() {
        let kept = Kept { first: 1, bytes: 0 };
        let bytes = encode(1, kept, &keys(&["a", "ab", "b"]));
        for cut in 0..bytes.len() {
            assert!(decode(Revision(1), &bytes[..cut]).is_none(), "cut at {cut}");
        }
        let mut long = bytes.to_vec();
        long.push(0);
        assert!(decode(Revision(1), &long).is_none());
        let mut other = bytes.to_vec();
        other[0] = 2;
        assert!(decode(Revision(1), &other).is_none());
        let mut far = bytes.to_vec();
        far[HEAD] = 1;
        assert!(
            decode(Revision(1), &far).is_none(),
            "shares more than there is"
        );
    }
}
