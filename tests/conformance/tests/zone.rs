//! A whole zone on the embedded store: what the barrier promises holds on a real file too.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use zone_barrier::commit::{Committer, WatchEvent};
use zone_barrier::{Barrier, Batch, InitAsk};
use zone_conformance::store::key;
use zone_ports::KeyRange;
use zone_store_redb::RedbStore;
use zone_testkit::{PlainMemory, SeededRandom};
use zone_types::Timestamp;

const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);
const LARGE: usize = 200_000;

type Shares = Vec<Vec<u8>>;

async fn start(path: &Path, seed: u64) -> Barrier {
    let store = Arc::new(RedbStore::open(path).unwrap());
    let committer = Committer::open(store).await.unwrap();
    let random = Arc::new(SeededRandom::new(seed));
    Barrier::new(committer, random, Arc::new(PlainMemory))
}

async fn init(barrier: &Barrier) -> Shares {
    let ask = InitAsk {
        shares: 5,
        threshold: 3,
    };
    let prepared = barrier.init_prepare(ask, NOW).await.unwrap();
    barrier.init_finish().await.unwrap();
    let expose = |share: &zone_types::Secret<Vec<u8>>| share.expose().clone();
    prepared.shares.iter().map(expose).collect()
}

async fn unseal(barrier: &Barrier, shares: &[Vec<u8>]) {
    for share in shares {
        barrier.unseal_share(share, "test", NOW).await.unwrap();
    }
    assert!(!barrier.is_sealed());
}

/// Batch `number` of a writer: the two keys always say the same.
fn pair(number: u64) -> Batch {
    let text = number.to_string();
    Batch::new()
        .put(key("pair/a"), text.clone())
        .put(key(format!("pair/all/{number:08}")), "")
        .put(key("pair/b"), text)
}

async fn number(barrier: &Barrier, at: &str) -> u64 {
    let found = barrier.get(&key(at)).await.unwrap();
    found.map_or(0, |plain| {
        std::str::from_utf8(&plain.value).unwrap().parse().unwrap()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_beside_writers_is_a_zone_that_the_shares_open() {
    let dir = tempfile::tempdir().unwrap();
    let barrier = start(&dir.path().join("zone.redb"), 1).await;
    let shares = init(&barrier).await;
    let large = Batch::new().put(key("large"), vec![7; LARGE]);
    barrier.commit(large).await.unwrap();
    barrier.rotate(NOW).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (barrier, stop) = (barrier.clone(), stop.clone());
        async move {
            let mut last = 0;
            while !stop.load(Ordering::Relaxed) {
                last += 1;
                barrier.commit(pair(last)).await.unwrap();
            }
            last
        }
    });
    let mut before = Vec::new();
    for copy in 0..5 {
        while number(&barrier, "pair/a").await < (copy + 1) * 10 {
            tokio::task::yield_now().await;
        }
        let acknowledged = number(&barrier, "pair/a").await;
        let path = dir.path().join(format!("copy-{copy}"));
        let revision = barrier.snapshot(&path).await.unwrap();
        before.push((path, acknowledged, revision));
    }
    stop.store(true, Ordering::Relaxed);
    let last = writer.await.unwrap();
    for (path, acknowledged, revision) in before {
        let copy = start(&path, 2).await;
        assert_eq!(copy.last_revision(), revision);
        unseal(&copy, &shares[1..4]).await;
        let found = number(&copy, "pair/a").await;
        assert!((acknowledged..=last).contains(&found));
        assert_eq!(number(&copy, "pair/b").await, found);
        let after = KeyRange::prefix("pair/all/").from(format!("pair/all/{:08}", found + 1));
        assert_eq!(copy.scan_keys(&after, 9).await.unwrap(), []);
        let large = copy.get(&key("large")).await.unwrap().unwrap();
        assert!(*large.value == [7; LARGE]);
        // The copy is a zone of its own: it is written to, sealed, and opens again.
        copy.commit(pair(0)).await.unwrap();
        copy.seal();
        unseal(&copy, &shares[..3]).await;
        assert_eq!(number(&copy, "pair/b").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_restart_needs_the_shares_and_keeps_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zone.redb");
    let first = start(&path, 1).await;
    let shares = init(&first).await;
    for last in 1..=20 {
        first.commit(pair(last)).await.unwrap();
    }
    let (revision, kind) = (first.last_revision(), first.store_kind());
    drop(first);
    // The committer's thread lets the file go a moment later.
    let again = loop {
        match RedbStore::open(&path) {
            Ok(store) => break store,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    drop(again);
    let second = start(&path, 2).await;
    assert!(second.is_sealed() && second.is_initialised().await.unwrap());
    assert_eq!(
        (second.last_revision(), second.store_kind()),
        (revision, kind)
    );
    unseal(&second, &shares[2..]).await;
    assert_eq!(number(&second, "pair/b").await, 20);
    assert!(second.key_status().unwrap().encryptions > 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_watch_of_the_barrier_tells_of_the_keys_below_its_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let barrier = start(&dir.path().join("zone.redb"), 1).await;
    init(&barrier).await;
    let mut watch = barrier.watch("pair/all/");
    let other = Batch::new().put(key("other"), "1");
    barrier.commit(other).await.unwrap();
    let revision = barrier.commit(pair(1)).await.unwrap();
    let keys = vec![key("pair/all/00000001")];
    let expected = WatchEvent::Changed { revision, keys };
    assert_eq!(watch.next().await, Some(expected));
}
