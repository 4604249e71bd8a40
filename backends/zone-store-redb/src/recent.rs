//! What the journal holds and the redb file does not yet: kept in memory, read before the file.
//!
//! ```text
//! apply ──▶ journal (one fdatasync) ──▶ active layer ──full──▶ folding layer ──▶ redb file
//! ```

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use zone_ports::store::{Op, Versioned, WriteSet};
use zone_ports::{Key, KeyRange};

use crate::error::Fault;
use crate::table::Head;

/// What a row costs beside its key and value.
const ROW: usize = 160;

/// The last value of each key that some groups wrote; `None` if they removed it.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    rows: BTreeMap<ByBytes, Option<Versioned>>,
    bytes: usize,
    /// The last of its groups.
    head: Option<Head>,
}

impl Layer {
    /// Bytes of memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn head(&self) -> Option<Head> {
        self.head
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = (&Key, Option<&Versioned>)> {
        self.rows
            .iter()
            .map(|(key, found)| (&key.0, found.as_ref()))
    }

    /// Takes in one group.
    pub(crate) fn put(&mut self, group: WriteSet) {
        self.head = Some(Head {
            last: group.number,
            fence: group.fence,
        });
        for op in group.ops {
            let (key, found) = match op {
                Op::Put { key, value } => {
                    let revision = group.number;
                    (key, Some(Versioned { value, revision }))
                }
                Op::Delete { key } => (key, None),
            };
            let size = |found: &Option<Versioned>| found.as_ref().map_or(0, |f| f.value.len());
            self.bytes += ROW + key.as_bytes().len() + size(&found);
            if let Some(before) = self.rows.insert(ByBytes(key.clone()), found) {
                self.bytes -= ROW + key.as_bytes().len() + size(&before);
            }
        }
    }

    fn range(&self, range: &KeyRange) -> impl Iterator<Item = (&Key, &Option<Versioned>)> {
        let end = match &range.end {
            Some(end) => Bound::Excluded(&end[..]),
            None => Bound::Unbounded,
        };
        let empty = range.end.as_ref().is_some_and(|end| *end <= range.start);
        let bounds = (Bound::Included(&range.start[..]), end);
        let rows = (!empty).then(|| self.rows.range::<[u8], _>(bounds));
        rows.into_iter()
            .flatten()
            .map(|(key, found)| (&key.0, found))
    }
}

/// Both layers, and the last group of all.
#[derive(Debug)]
pub(crate) struct Recent {
    pub(crate) head: Head,
    pub(crate) active: Layer,
    /// On its way into the file, which holds all of it or nothing.
    pub(crate) folding: Option<Arc<Layer>>,
}

impl Recent {
    /// What the layers say of a key; the outer `None` if nothing.
    pub(crate) fn get(&self, key: &Key) -> Option<Option<Versioned>> {
        let found = self.active.rows.get(key.as_bytes());
        let older = || self.folding.as_ref()?.rows.get(key.as_bytes());
        found.or_else(older).cloned()
    }

    /// What they say of the keys of `range`: up to the `limit`-th key that has a value.
    pub(crate) fn scan(&self, range: &KeyRange, limit: usize) -> Vec<(Key, Option<Versioned>)> {
        let mut newer = self.active.range(range).peekable();
        let folding = self.folding.as_deref();
        let mut older = folding.into_iter().flat_map(|f| f.range(range)).peekable();
        let (mut rows, mut live) = (Vec::new(), 0);
        while live < limit {
            let order = match (newer.peek(), older.peek()) {
                (Some((a, _)), Some((b, _))) => a.cmp(b),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            let hidden = order == Ordering::Equal;
            let next = if order == Ordering::Greater {
                older.next()
            } else {
                newer.next()
            };
            if hidden {
                older.next();
            }
            if let Some((key, found)) = next {
                live += usize::from(found.is_some());
                rows.push((key.clone(), found.clone()));
            }
        }
        rows
    }
}

/// The first `limit` pairs of the file's rows under what the layers say. Both in key order.
pub(crate) fn merge(
    recent: Vec<(Key, Option<Versioned>)>,
    rows: impl Iterator<Item = Result<(Key, Versioned), Fault>>,
    limit: usize,
) -> Result<Vec<(Key, Versioned)>, Fault> {
    let mut recent = recent.into_iter().peekable();
    let mut rows = rows.peekable();
    let mut pairs = Vec::new();
    while pairs.len() < limit {
        let order = match (recent.peek(), rows.peek()) {
            (Some((a, _)), Some(Ok((b, _)))) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (_, Some(_)) => Ordering::Greater,
            (None, None) => break,
        };
        if order == Ordering::Greater {
            pairs.extend(rows.next().transpose()?);
            continue;
        }
        if order == Ordering::Equal {
            rows.next();
        }
        if let Some((key, Some(found))) = recent.next() {
            pairs.push((key, found));
        }
    }
    Ok(pairs)
}

/// A key that a map finds by its bytes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ByBytes(Key);

impl Borrow<[u8]> for ByBytes {
    fn borrow(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
