//! What each call costs the store.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use zone_access::{Access, Operation, Permit};
use zone_barrier::Barrier;
use zone_barrier::commit::Committer;
use zone_ports::store::{GroupLimit, Revision, Versioned, WriteSet};
use zone_ports::{Clock, Key, KeyRange, Store, StoreError};
use zone_secrets::KvService;
use zone_secrets::kv2::MetadataUpdate;
use zone_testkit::{Lab, MemStore, PlainMemory};

use crate::zone::{Zone, object};

/// A store that counts reads and groups.
#[derive(Debug, Default)]
struct Counting {
    store: MemStore,
    gets: AtomicU64,
    scans: AtomicU64,
    groups: AtomicU64,
}

#[async_trait::async_trait]
impl Store for Counting {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, StoreError> {
        self.gets.fetch_add(1, Ordering::Relaxed);
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

/// Gets, scans and groups of a call, its permit aside.
macro_rules! cost {
    ($counting:expr, $call:expr) => {{
        let before = $counting.counts();
        $call.await.unwrap();
        let after = $counting.counts();
        [
            after[0] - before[0],
            after[1] - before[1],
            after[2] - before[2],
        ]
    }};
}

impl Counting {
    fn counts(&self) -> [u64; 3] {
        [&self.gets, &self.scans, &self.groups].map(|count| count.load(Ordering::Relaxed))
    }

    /// The zone that `made` is, opened again through this store.
    async fn open(self: &Arc<Self>, made: Zone) -> (Lab, KvService) {
        let Lab {
            clock,
            random,
            root,
            shares,
            store,
            ..
        } = made.lab;
        let committer = Committer::open(self.clone() as Arc<dyn Store>)
            .await
            .unwrap();
        let barrier = Barrier::new(committer, random.clone(), Arc::new(PlainMemory));
        barrier
            .unseal_share(shares[0].expose(), "lab", clock.now())
            .await
            .unwrap();
        let access = Access::new(barrier.clone(), clock.clone(), random.clone());
        access.load().await.unwrap();
        let kv = KvService::new(barrier.clone(), random.clone());
        (
            Lab {
                store,
                barrier,
                access,
                clock,
                random,
                root,
                shares,
            },
            kv,
        )
    }
}

async fn permit(lab: &Lab, operation: Operation, rest: &str) -> Permit {
    lab.permit(operation, &format!("kv/{rest}")).await
}

/// Of a write's gets two are its own (configuration and metadata) and one is the committer's, who
/// judges the condition.
#[tokio::test]
async fn a_read_is_two_gets_and_a_write_three_gets_and_one_group() {
    let zone = Zone::new().await;
    let counting = Arc::new(Counting {
        store: zone.lab.store.clone(),
        ..Counting::default()
    });
    let (lab, kv) = counting.open(zone).await;
    let data = object(r#"{"k":"v"}"#);
    // The first write of a head reserves a block of encryptions.
    let first = permit(&lab, Operation::Update, "data/first").await;
    kv.write(&first, &data, None).await.unwrap();
    let write = permit(&lab, Operation::Update, "data/a").await;
    assert_eq!(
        cost!(counting, kv.write(&write, &data, None)),
        [3, 0, 1],
        "new"
    );
    for version in 2..=15 {
        assert_eq!(
            cost!(counting, kv.write(&write, &data, None)),
            [3, 0, 1],
            "{version}"
        );
    }
    let patch = permit(&lab, Operation::Patch, "data/a").await;
    assert_eq!(cost!(counting, kv.patch(&patch, &data, None)), [4, 0, 1]);
    let read = permit(&lab, Operation::Read, "data/a").await;
    assert_eq!(cost!(counting, kv.read(&read, None)), [2, 0, 0]);
    assert_eq!(cost!(counting, kv.read(&read, Some(9))), [2, 0, 0]);
    let subkeys = permit(&lab, Operation::Read, "subkeys/a").await;
    assert_eq!(cost!(counting, kv.subkeys(&subkeys, None, 0)), [2, 0, 0]);
    let metadata = permit(&lab, Operation::Read, "metadata/a").await;
    assert_eq!(cost!(counting, kv.read_metadata(&metadata)), [1, 0, 0]);
    let update = MetadataUpdate {
        max_versions: Some(3),
        ..Default::default()
    };
    let set = permit(&lab, Operation::Update, "metadata/a").await;
    assert_eq!(cost!(counting, kv.write_metadata(&set, &update)), [3, 0, 1]);
    assert_eq!(
        cost!(counting, kv.write(&write, &data, None)),
        [3, 0, 1],
        "and eight removals"
    );
    let destroy = permit(&lab, Operation::Update, "destroy/a").await;
    assert_eq!(cost!(counting, kv.destroy(&destroy, &[15, 16])), [3, 0, 1]);
    let remove = permit(&lab, Operation::Delete, "metadata/a").await;
    assert_eq!(cost!(counting, kv.delete_metadata(&remove)), [3, 0, 1]);
    let list = permit(&lab, Operation::List, "metadata/").await;
    assert_eq!(cost!(counting, kv.list(&list, None, None)), [0, 1, 0]);
    let mount = list.mount();
    assert_eq!(cost!(counting, kv.exists(mount, "data/a")), [1, 0, 0]);
}
