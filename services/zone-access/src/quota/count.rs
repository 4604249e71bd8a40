//! Counting leases against lease-count quotas.
//!
//! Only where there is such a quota are leases known in memory, by 8 bytes each: the hashes of
//! their entries in an index of the store. A set of them cannot drift as a number could: what is
//! written or removed twice counts once.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use zone_barrier::Barrier;
use zone_barrier::batch::Change;
use zone_ports::{Key, KeyRange};

use crate::AccessError;

const PAGE: usize = 1000;

/// The leases of one quota.
#[derive(Debug)]
pub(super) struct Counter {
    /// What the entries of the index begin with.
    prefix: Vec<u8>,
    /// Whether what follows is the last part of an entry.
    exact: bool,
    hasher: RandomState,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    leases: HashSet<u64>,
    /// Places of leases that are being made.
    reserved: u64,
    /// While the index is read for the first time: what was removed meanwhile.
    gone: Option<HashSet<u64>>,
}

/// A place for one lease, until its entry is counted or it came to nothing.
#[derive(Debug)]
pub(crate) struct Reservation(Arc<Counter>);

impl Drop for Reservation {
    fn drop(&mut self) {
        self.0.counted.lock().reserved -= 1;
    }
}

impl Counter {
    /// Of the entries that begin with `prefix`; if `exact`, those with one more part alone. It
    /// follows changes from now on and knows the rest after [`Counter::read`].
    pub(super) fn new(prefix: Vec<u8>, exact: bool) -> Arc<Self> {
        let counted = Counted {
            gone: Some(HashSet::new()),
            ..Counted::default()
        };
        Arc::new(Self {
            prefix,
            exact,
            hasher: RandomState::new(),
            counted: Mutex::new(counted),
        })
    }

    fn holds(&self, key: &Key) -> bool {
        let rest = key.as_bytes().strip_prefix(&self.prefix[..]);
        rest.is_some_and(|rest| !self.exact || !rest.contains(&b'/'))
    }

    /// Reads what was there before.
    pub(super) async fn read(&self, barrier: &Barrier) -> Result<(), AccessError> {
        let mut range = KeyRange::prefix(self.prefix.clone());
        loop {
            let page = barrier.scan_keys(&range, PAGE).await?;
            let Some(last) = page.last() else { break };
            range = range.after(last);
            let mut counted = self.counted.lock();
            for key in page.iter().filter(|key| self.holds(key)) {
                let hash = self.hasher.hash_one(key);
                if !counted
                    .gone
                    .as_ref()
                    .is_some_and(|gone| gone.contains(&hash))
                {
                    counted.leases.insert(hash);
                }
            }
        }
        self.counted.lock().gone = None;
        Ok(())
    }

    /// Takes note of a change that was applied.
    pub(super) fn follow(&self, change: &Seen) {
        if !self.holds(change.key()) {
            return;
        }
        let hash = self.hasher.hash_one(change.key());
        let mut counted = self.counted.lock();
        match change {
            Seen::Put(_) => {
                counted.leases.insert(hash);
            }
            Seen::Delete(_) => {
                counted.leases.remove(&hash);
                if let Some(gone) = &mut counted.gone {
                    gone.insert(hash);
                }
            }
        }
    }

    /// A place below `most`, if there is one.
    pub(super) fn reserve(self: &Arc<Self>, most: u64) -> Option<Reservation> {
        let mut counted = self.counted.lock();
        if counted.leases.len() as u64 + counted.reserved >= most {
            return None;
        }
        counted.reserved += 1;
        drop(counted);
        Some(Reservation(self.clone()))
    }

    /// How many there are.
    pub(super) fn number(&self) -> u64 {
        self.counted.lock().leases.len() as u64
    }
}

/// A change, without its value.
pub(super) enum Seen {
    Put(Key),
    Delete(Key),
}

impl Seen {
    pub(super) fn of(change: &Change) -> Self {
        match change {
            Change::Put(key, _) => Self::Put(key.clone()),
            Change::Delete(key) => Self::Delete(key.clone()),
        }
    }

    fn key(&self) -> &Key {
        match self {
            Self::Put(key) | Self::Delete(key) => key,
        }
    }
}
