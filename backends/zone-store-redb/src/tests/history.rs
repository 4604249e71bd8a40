//! Random histories on a failing disk, against a map.
//!
//! Writes and syncs of both files fail at random, the power goes, the store is closed or copied;
//! groups are folded early, late or never. After each step the store holds exactly the groups
//! that were acknowledged, and of one that was not: all or nothing.

use std::collections::BTreeMap;

use zone_testkit::SeededRandom;

use super::*;

const STEPS: u64 = 60;
const KEYS: u64 = 30;

type Map = BTreeMap<Key, Versioned>;

/// A group of up to eight changes; each key is in one of them.
fn some_group(random: &SeededRandom, number: u64) -> WriteSet {
    let from = random.below(KEYS);
    let change = |at: u64| {
        let key = Key::new(format!("k/{:02}", (from + at * 7) % KEYS)).unwrap();
        if random.below(4) == 0 {
            return Op::Delete { key };
        }
        let length = [0, 50, 3000, 70_000][random.below(4) as usize];
        let value = vec![number as u8; length].into();
        Op::Put { key, value }
    };
    let ops = (0..1 + random.below(8)).map(change).collect();
    let (number, fence) = (Revision(number), 1);
    WriteSet { number, fence, ops }
}

fn put(map: &mut Map, group: &WriteSet) {
    for op in &group.ops {
        match op {
            Op::Put { key, value } => {
                let (value, revision) = (value.clone(), group.number);
                map.insert(key.clone(), Versioned { value, revision });
            }
            Op::Delete { key } => drop(map.remove(key)),
        }
    }
}

async fn check(store: &RedbStore, map: &Map, number: u64, case: &str) {
    assert_eq!(
        store.last_group().await.unwrap(),
        Revision(number),
        "{case}"
    );
    let expected: Vec<_> = map.clone().into_iter().collect();
    assert!(everything(store).await == expected, "{case}");
    for at in 0..KEYS {
        let key = Key::new(format!("k/{at:02}")).unwrap();
        assert!(
            store.get(&key).await.unwrap() == map.get(&key).cloned(),
            "{case}"
        );
    }
}

/// Applies one group while something may fail; what became of it.
async fn step(
    store: &RedbStore,
    countdown: &Countdown,
    random: &SeededRandom,
    number: u64,
) -> Option<WriteSet> {
    let group = some_group(random, number);
    match random.below(6) {
        0 => countdown
            .writes
            .store(1 + random.below(40) as i64, Ordering::SeqCst),
        1 => countdown
            .syncs
            .store(1 + random.below(6) as i64, Ordering::SeqCst),
        _ => {}
    }
    let answer = store.apply(group.clone()).await;
    if random.below(2) == 0 {
        settle(store).await;
    }
    countdown.writes.store(0, Ordering::SeqCst);
    countdown.syncs.store(0, Ordering::SeqCst);
    let last = store.last_group().await.unwrap();
    match answer {
        Ok(()) => assert_eq!(last, Revision(number)),
        Err(StoreError::Full { .. } | StoreError::Unavailable { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }
    (last == Revision(number)).then_some(group)
}

/// How many groups were refused.
async fn history(seed: u64) -> u64 {
    let random = SeededRandom::new(seed);
    let mut dir = tempfile::tempdir().unwrap();
    let fold_bytes = [1, 5_000, 200_000, usize::MAX][seed as usize % 4];
    let (mut store, mut countdown) = failing(dir.path(), fold_bytes);
    let (mut map, mut number, mut refused) = (Map::new(), 0, 0);
    for at in 0..STEPS {
        let case = format!("seed {seed}, step {at}");
        if let Some(group) = step(&store, &countdown, &random, number + 1).await {
            put(&mut map, &group);
            number += 1;
        } else {
            refused += 1;
        }
        check(&store, &map, number, &case).await;
        match random.below(12) {
            0 => {
                // The power goes.
                settle(&store).await;
                let next = tempfile::tempdir().unwrap();
                image(dir.path(), next.path());
                drop(store);
                dir = next;
                (store, countdown) = failing(dir.path(), fold_bytes);
            }
            1 => {
                store.close().unwrap();
                drop(store);
                assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "{case}");
                (store, countdown) = failing(dir.path(), fold_bytes);
            }
            2 => {
                let copy = dir.path().join("copy");
                let taken = store.snapshot(&copy).await.unwrap();
                assert_eq!(taken, Revision(number), "{case}");
                check(&RedbStore::open(&copy).unwrap(), &map, number, &case).await;
                std::fs::remove_file(copy).unwrap();
            }
            _ => continue,
        }
        check(&store, &map, number, &case).await;
    }
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s1_random_histories_on_a_failing_disk() {
    let mut refused = 0;
    for seed in 1..=12 {
        refused += history(seed).await;
    }
    assert!(refused > 0, "no fault ever met a group");
}
