//! What the port itself promises.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use zone_ports::random;
use zone_ports::store::{MAX_KEY, MAX_VALUE, Op, Revision, WriteSet};
use zone_ports::{Key, KeyRange, Store, StoreError};
use zone_testkit::SeededRandom;

use super::{Place, delete, group, key, put};

/// Values of every allowed length come back with their group's number.
pub async fn what_is_written_is_read(place: Place) {
    let store = place.store().await;
    assert_eq!(store.last_group().await.unwrap(), Revision(0));
    assert_eq!(store.get(&key("a")).await.unwrap(), None);
    let longest = "k".repeat(MAX_KEY);
    let ops = vec![
        put("a", ""),
        put("b", vec![7; MAX_VALUE]),
        put(longest.clone(), "x"),
    ];
    store.apply(group(1, ops)).await.unwrap();
    store
        .apply(group(2, vec![put("a", "new"), put("a\0", "near")]))
        .await
        .unwrap();
    assert_eq!(store.last_group().await.unwrap(), Revision(2));
    for (at, value, revision) in [
        ("a", &b"new"[..], 2),
        ("a\0", b"near", 2),
        ("b", &vec![7; MAX_VALUE][..], 1),
        (&*longest, b"x", 1),
    ] {
        let found = store.get(&key(at)).await.unwrap().unwrap();
        assert!(
            found.value == value,
            "another value at {} bytes of key",
            at.len()
        );
        assert_eq!(found.revision, Revision(revision));
    }
    assert_eq!(store.get(&key("a\0\0")).await.unwrap(), None);
    assert_eq!(
        store.get(&key("k".repeat(MAX_KEY - 1))).await.unwrap(),
        None
    );
}

/// Keys are bytes, and their order is that of bytes.
pub async fn keys_of_any_bytes_keep_their_order(place: Place) {
    let store = place.store().await;
    let random = SeededRandom::new(1);
    let mut keys = BTreeSet::new();
    for byte in 0..=255 {
        keys.insert(vec![byte]);
        keys.insert(vec![b'm', byte]);
    }
    while keys.len() < 900 {
        let mut bytes = vec![0; 1 + random.below(MAX_KEY as u64) as usize];
        zone_ports::Random::fill(&random, &mut bytes);
        keys.insert(bytes);
    }
    let mut shuffled: Vec<Vec<u8>> = keys.iter().cloned().collect();
    shuffled.sort_by_key(|bytes| (bytes.len() * 31 + usize::from(bytes[0]) * 17) % 101);
    for (number, chunk) in (1..).zip(shuffled.chunks(60)) {
        let op = |bytes: &Vec<u8>| Op::Put {
            key: Key::new(bytes.clone()).unwrap(),
            value: Bytes::from(bytes.clone()),
        };
        store
            .apply(group(number, chunk.iter().map(op).collect()))
            .await
            .unwrap();
    }
    let found = store.scan(&KeyRange::prefix(""), 1000).await.unwrap();
    let found: Vec<Vec<u8>> = found
        .iter()
        .map(|(key, _)| key.as_bytes().to_vec())
        .collect();
    assert!(
        found == keys.into_iter().collect::<Vec<_>>(),
        "another order, or another set"
    );
}

/// Ranges hold their start and not their end.
pub async fn ranges_begin_and_end_where_they_say(place: Place) {
    let store = place.store().await;
    let keys = ["a", "a/", "a/1", "a/2", "a/2\0", "a/3", "a0", "b"];
    store
        .apply(group(1, keys.map(|at| put(at, at)).to_vec()))
        .await
        .unwrap();
    let all = KeyRange::prefix("");
    let inside = KeyRange::prefix("a/");
    let cases: Vec<(KeyRange, &[&str])> = vec![
        (all.clone(), &keys),
        (inside.clone(), &["a/", "a/1", "a/2", "a/2\0", "a/3"]),
        (inside.after(&key("a/2")), &["a/2\0", "a/3"]),
        (inside.from("a/2"), &["a/2", "a/2\0", "a/3"]),
        (inside.after(&key("a/3")), &[]),
        (all.from("a0"), &["a0", "b"]),
        (all.from("c"), &[]),
        (
            KeyRange {
                start: "a/1".into(),
                end: Some("a/2".into()),
            },
            &["a/1"],
        ),
        (
            KeyRange {
                start: "b".into(),
                end: Some("b".into()),
            },
            &[],
        ),
        (
            KeyRange {
                start: "b".into(),
                end: Some("a".into()),
            },
            &[],
        ),
    ];
    for (range, expected) in cases {
        let found = store.scan(&range, 1000).await.unwrap();
        let found: Vec<_> = found.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(
            found,
            expected.iter().map(|at| key(*at)).collect::<Vec<_>>(),
            "{range:?}"
        );
    }
}

/// A scan gives as many pairs as were asked for, and the next page goes on behind them.
pub async fn pages_are_bounded(place: Place) {
    let store = place.store().await;
    let mut number = 0;
    for part in 0..30 {
        let ops = (0..50)
            .map(|index| put(format!("p/{:05}", part * 50 + index), "v"))
            .collect();
        number += 1;
        store.apply(group(number, ops)).await.unwrap();
    }
    let range = KeyRange::prefix("p/");
    assert_eq!(store.scan(&range, 1).await.unwrap().len(), 1);
    assert_eq!(store.scan(&range, 1000).await.unwrap().len(), 1000);
    let (mut rest, mut seen) = (range, Vec::new());
    loop {
        let page = store.scan(&rest, 137).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        rest = rest.after(last);
        seen.extend(page.into_iter().map(|(key, _)| key));
    }
    let expected: Vec<_> = (0..1500)
        .map(|index| key(format!("p/{index:05}")))
        .collect();
    assert_eq!(seen, expected);
}

/// A group with any number but the next one is refused whole.
pub async fn a_group_is_the_next_one_or_none(place: Place) {
    let store = place.store().await;
    for number in [0, 2, u64::MAX] {
        let answer = store.apply(group(number, vec![put("a", "no")])).await;
        assert!(
            matches!(answer, Err(StoreError::Fenced)),
            "{number}: {answer:?}"
        );
    }
    store.apply(group(1, vec![put("a", "1")])).await.unwrap();
    for number in [0, 1, 3] {
        let ops = vec![put("a", "no"), put("b", "no")];
        let answer = store.apply(group(number, ops)).await;
        assert!(
            matches!(answer, Err(StoreError::Fenced)),
            "{number}: {answer:?}"
        );
    }
    assert_eq!(store.last_group().await.unwrap(), Revision(1));
    assert_eq!(store.get(&key("a")).await.unwrap().unwrap().value, "1");
    assert_eq!(store.get(&key("b")).await.unwrap(), None);
    store.apply(group(2, vec![put("a", "2")])).await.unwrap();
}

/// S2: who comes with a lower fence than the highest seen writes nothing, also after a restart.
pub async fn s2_an_old_fence_is_refused(place: Place) {
    let fenced = |number, fence| WriteSet {
        number: Revision(number),
        fence,
        ops: vec![put("a", fence.to_string())],
    };
    let store = place.store().await;
    store.apply(fenced(1, 3)).await.unwrap();
    store.apply(fenced(2, 3)).await.unwrap();
    let answer = store.apply(fenced(3, 2)).await;
    assert!(matches!(answer, Err(StoreError::Fenced)), "{answer:?}");
    store.apply(fenced(3, 7)).await.unwrap();
    drop(store);
    let store = place.store().await;
    let answer = store.apply(fenced(4, 6)).await;
    assert!(matches!(answer, Err(StoreError::Fenced)), "{answer:?}");
    assert_eq!(store.get(&key("a")).await.unwrap().unwrap().value, "7");
    store.apply(fenced(4, 7)).await.unwrap();
}

/// A removed key is gone, may be removed again, and may come back.
pub async fn removals_remove(place: Place) {
    let store = place.store().await;
    store
        .apply(group(1, vec![put("a", "1"), put("b", "1")]))
        .await
        .unwrap();
    store
        .apply(group(2, vec![delete("a"), delete("never")]))
        .await
        .unwrap();
    assert_eq!(store.get(&key("a")).await.unwrap(), None);
    let left = store.scan(&KeyRange::prefix(""), 10).await.unwrap();
    assert_eq!(
        left.into_iter().map(|(key, _)| key).collect::<Vec<_>>(),
        [key("b")]
    );
    store
        .apply(group(3, vec![delete("a"), delete("b")]))
        .await
        .unwrap();
    assert!(
        store
            .scan(&KeyRange::prefix(""), 10)
            .await
            .unwrap()
            .is_empty()
    );
    store.apply(group(4, vec![put("a", "4")])).await.unwrap();
    assert_eq!(
        store.get(&key("a")).await.unwrap().unwrap().revision,
        Revision(4)
    );
}

/// A group as large as the backend says that it may be goes through.
pub async fn the_largest_group_fits(place: Place) {
    let store = place.store().await;
    let limit = store.group_limit();
    let many = (0..limit.ops)
        .map(|index| put(format!("m/{index:08}"), "v"))
        .collect();
    store.apply(group(1, many)).await.unwrap();
    let value = (limit.bytes / limit.ops.min(64) - 32).min(MAX_VALUE);
    let count = (limit.bytes / (value + 32)).min(limit.ops);
    let large = (0..count)
        .map(|index| put(format!("l/{index:08}"), vec![1; value]))
        .collect();
    store.apply(group(2, large)).await.unwrap();
    let last = key(format!("l/{:08}", count - 1));
    assert_eq!(store.get(&last).await.unwrap().unwrap().value.len(), value);
}

/// S1: what was applied is there when the store is opened again, each time.
pub async fn s1_what_was_applied_is_there_again(place: Place) {
    for round in 0..5 {
        let store = place.store().await;
        assert_eq!(store.last_group().await.unwrap(), Revision(round * 3));
        for number in round * 3 + 1..=round * 3 + 3 {
            let ops = vec![
                put(format!("r/{number}"), number.to_string()),
                put("last", "x"),
            ];
            store.apply(group(number, ops)).await.unwrap();
        }
        for number in 1..=round * 3 + 3 {
            let found = store
                .get(&key(format!("r/{number}")))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(found.value, number.to_string());
            assert_eq!(found.revision, Revision(number));
        }
    }
}

const STAMPED: usize = 40;

/// One group that gives every key of `s/` the same value.
fn stamp(number: u64) -> WriteSet {
    let value = vec![number as u8; 600 + (number % 7) as usize * 300];
    let ops = (0..STAMPED)
        .map(|index| put(format!("s/{index:02}"), value.clone()))
        .collect();
    group(number, ops)
}

/// Whether all keys of `s/` are of one group; which one.
async fn stamped(store: &dyn Store) -> Revision {
    let found = store.scan(&KeyRange::prefix("s/"), 1000).await.unwrap();
    assert_eq!(found.len(), STAMPED);
    let first = &found[0].1;
    assert!(
        found.iter().all(|(_, other)| other == first),
        "a scan sees half a group"
    );
    first.revision
}

/// Scans beside a writer see whole groups, and never go back.
pub async fn a_scan_sees_one_instant(place: Place) {
    let store = place.store().await;
    store.apply(stamp(1)).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let scanner = {
        let (store, done) = (store.clone(), done.clone());
        tokio::spawn(async move {
            let (mut scans, mut last) = (0, Revision(0));
            while !done.load(Ordering::Acquire) || scans == 0 {
                let seen = stamped(&*store).await;
                assert!(seen >= last, "a scan goes back");
                last = seen;
                scans += 1;
                tokio::task::yield_now().await;
            }
        })
    };
    for number in 2..=60 {
        store.apply(stamp(number)).await.unwrap();
    }
    done.store(true, Ordering::Release);
    scanner.await.unwrap();
    assert_eq!(stamped(&*store).await, Revision(60));
}

/// A read that begins when `apply` has returned sees the group, wherever it runs.
pub async fn a_read_sees_what_was_applied_before(place: Place) {
    let store = place.store().await;
    for number in 1..=50 {
        store
            .apply(group(number, vec![put("x", number.to_string())]))
            .await
            .unwrap();
        let readers = (0..4).map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.get(&key("x")).await.unwrap().unwrap().revision })
        });
        for reader in readers.collect::<Vec<_>>() {
            assert_eq!(reader.await.unwrap(), Revision(number));
        }
    }
}

/// A snapshot holds one group's instant and opens as a store that can go on from there.
pub async fn a_snapshot_is_one_instant_while_writers_go_on(place: Place) {
    let store = place.store().await;
    let random = SeededRandom::new(3);
    for number in 1..=20 {
        let noise = random::bytes::<4096>(&random).to_vec();
        let mut set = stamp(number);
        set.ops
            .extend((0..8).map(|part| put(format!("t/{number:03}/{part}"), noise.clone())));
        store.apply(set).await.unwrap();
    }
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (store, done) = (store.clone(), done.clone());
        tokio::spawn(async move {
            let mut number = 20;
            while !done.load(Ordering::Acquire) || number < 30 {
                number += 1;
                store.apply(stamp(number)).await.unwrap();
            }
            number
        })
    };
    let mut taken = Vec::new();
    for name in ["one", "two"] {
        let revision = store.snapshot(&place.path(name)).await.unwrap();
        taken.push((name, revision));
    }
    done.store(true, Ordering::Release);
    let last = writer.await.unwrap();
    assert_eq!(store.last_group().await.unwrap(), Revision(last));
    for (name, revision) in taken {
        let copy = place.store_at(name).await;
        assert_eq!(copy.last_group().await.unwrap(), revision);
        assert_eq!(stamped(&*copy).await, revision);
        assert_eq!(
            copy.scan(&KeyRange::prefix("t/"), 1000)
                .await
                .unwrap()
                .len(),
            160
        );
        copy.apply(stamp(revision.0 + 1)).await.unwrap();
        assert_eq!(stamped(&*copy).await.0, revision.0 + 1);
    }
    assert_eq!(stamped(&*store).await, Revision(last));
}

/// A snapshot onto a file that is there fails and leaves that file alone.
pub async fn a_snapshot_replaces_no_file(place: Place) {
    let store = place.store().await;
    store.apply(stamp(1)).await.unwrap();
    let target = place.path("taken");
    std::fs::write(&target, "mine").unwrap();
    store.snapshot(&target).await.unwrap_err();
    assert_eq!(std::fs::read(&target).unwrap(), b"mine");
    let others: Vec<_> = std::fs::read_dir(target.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("taken") && name != "taken")
        .collect();
    assert!(others.is_empty(), "left behind: {others:?}");
}
