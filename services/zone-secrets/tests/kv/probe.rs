//! A store that counts calls, and lets something happen between two reads.

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use zone_ports::store::{GroupLimit, Revision, Versioned, WriteSet};
use zone_ports::{Key, KeyRange, Store, StoreError};
use zone_testkit::MemStore;

use crate::zone::Zone;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Meanwhile(Work);

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meanwhile")
    }
}

/// A [`MemStore`] that is watched.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    store: MemStore,
    gets: AtomicU64,
    scans: AtomicU64,
    groups: AtomicU64,
    meanwhile: Mutex<Option<Meanwhile>>,
}

#[async_trait::async_trait]
impl Store for Probe {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, StoreError> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        let is_version = key.as_bytes().windows(3).any(|part| part == b"/v/");
        let meanwhile = if is_version {
            self.meanwhile.lock().take()
        } else {
            None
        };
        if let Some(Meanwhile(work)) = meanwhile {
            work.await;
        }
        tokio::task::yield_now().await;
        self.store.get(key).await
    }

    async fn scan(
        &self,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<(Key, Versioned)>, StoreError> {
        self.scans.fetch_add(1, Ordering::Relaxed);
        self.store.scan(range, limit).await
    }

    async fn apply(&self, group: WriteSet) -> Result<(), StoreError> {
        self.groups.fetch_add(1, Ordering::Relaxed);
        self.store.apply(group).await
    }

    async fn last_group(&self) -> Result<Revision, StoreError> {
        self.store.last_group().await
    }

    async fn snapshot(&self, target: &Path) -> Result<Revision, StoreError> {
        self.store.snapshot(target).await
    }

    fn group_limit(&self) -> GroupLimit {
        self.store.group_limit()
    }

    fn kind(&self) -> &'static str {
        self.store.kind()
    }
}

impl Probe {
    /// The zone that `made` is, opened again through a probe.
    pub(crate) async fn open(made: Zone) -> (Arc<Self>, Zone) {
        let store = made.lab.store.clone();
        let probe = Arc::new(Self {
            store: store.clone(),
            ..Self::default()
        });
        let zone = made.through(store, probe.clone()).await;
        (probe, zone)
    }

    /// Does `work` once, just before the next version record is read.
    pub(crate) fn before_version(&self, work: impl Future<Output = ()> + Send + 'static) {
        *self.meanwhile.lock() = Some(Meanwhile(Box::pin(work)));
    }

    /// Gets, scans and groups so far.
    pub(crate) fn counts(&self) -> [u64; 3] {
        [&self.gets, &self.scans, &self.groups].map(|count| count.load(Ordering::Relaxed))
    }
}
