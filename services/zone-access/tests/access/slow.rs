//! A store in which one read can be stopped after it has read and before it answers, and which
//! counts reads.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use zone_ports::store::{GroupLimit, Revision, Versioned, WriteSet};
use zone_ports::{Key, KeyRange, Store, StoreError};
use zone_testkit::MemStore;

#[derive(Debug)]
pub(crate) struct SlowStore {
    inner: MemStore,
    /// The next read of a key that ends so is stopped.
    slow: Mutex<Option<String>>,
    /// The next scan that begins with such a key is stopped.
    slow_scan: Mutex<Option<&'static str>>,
    stopped: Notify,
    go: Semaphore,
    reads: AtomicUsize,
}

impl SlowStore {
    pub(crate) fn new(inner: MemStore) -> Self {
        Self {
            inner,
            slow: Mutex::new(None),
            slow_scan: Mutex::new(None),
            stopped: Notify::new(),
            go: Semaphore::new(0),
            reads: AtomicUsize::new(0),
        }
    }

    /// Reads and scans so far.
    pub(crate) fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    /// The next read of a key that ends in `ending` is stopped.
    pub(crate) fn stop_read_of(&self, ending: &str) {
        *self.slow.lock() = Some(ending.to_owned());
    }

    /// The next scan that begins at a key with `part` is stopped.
    pub(crate) fn stop_scan_of(&self, part: &'static str) {
        *self.slow_scan.lock() = Some(part);
    }

    /// Comes back when a read is stopped.
    pub(crate) async fn stopped(&self) {
        self.stopped.notified().await;
    }

    /// Lets the stopped read go on.
    pub(crate) fn go_on(&self) {
        self.go.add_permits(1);
    }
}

#[async_trait]
impl Store for SlowStore {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let found = self.inner.get(key).await;
        let mine = {
            let mut slow = self.slow.lock();
            let hit = slow
                .as_ref()
                .is_some_and(|ending| key.as_bytes().ends_with(ending.as_bytes()));
            hit && slow.take().is_some()
        };
        if mine {
            self.stopped.notify_one();
            self.go.acquire().await.unwrap().forget();
        }
        found
    }

    async fn scan(
        &self,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<(Key, Versioned)>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let found = self.inner.scan(range, limit).await;
        let mine = {
            let mut slow = self.slow_scan.lock();
            let start = String::from_utf8_lossy(&range.start);
            slow.is_some_and(|part| start.contains(part)) && slow.take().is_some()
        };
        if mine {
            self.stopped.notify_one();
            self.go.acquire().await.unwrap().forget();
        }
        found
    }

    async fn apply(&self, group: WriteSet) -> Result<(), StoreError> {
        self.inner.apply(group).await
    }

    async fn last_group(&self) -> Result<Revision, StoreError> {
        self.inner.last_group().await
    }

    async fn snapshot(&self, target: &Path) -> Result<Revision, StoreError> {
        self.inner.snapshot(target).await
    }

    fn group_limit(&self) -> GroupLimit {
        self.inner.group_limit()
    }

    fn kind(&self) -> &'static str {
        self.inner.kind()
    }
}
