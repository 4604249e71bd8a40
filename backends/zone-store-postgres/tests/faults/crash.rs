//! The server crashes, is away, has no space.

use std::collections::HashMap;
use std::sync::Arc;

use zone_barrier::commit::{CommitError, Committer};
use zone_conformance::store::{group, key, put};
use zone_ports::store::Revision;
use zone_ports::{KeyRange, Random, Store, StoreError};
use zone_testkit::{Postgres, SeededRandom};

use super::{open, said, value};

const CALLERS: u64 = 8;
const CRASHES: usize = 6;

/// Writes until told to end; for each attempt, whether it was acknowledged.
async fn write(
    committer: Committer,
    caller: u64,
    stop: tokio::sync::watch::Receiver<bool>,
    told: tokio::sync::watch::Sender<u64>,
) -> Vec<bool> {
    let mut attempts = Vec::new();
    while !*stop.borrow() {
        let number = attempts.len();
        let at = |part| format!("w/{caller}/{number:06}/{part}");
        let ops = vec![put(at('a'), "v"), put(at('b'), "v")];
        match committer.commit(ops, Vec::new()).await {
            Ok(_) => {
                attempts.push(true);
                told.send_modify(|count| *count += 1);
            }
            Err(CommitError::Store(StoreError::Unavailable { .. })) => attempts.push(false),
            Err(error) => panic!("{error:?}"),
        }
    }
    attempts
}

/// How many parts there are of each attempt.
async fn parts(store: &dyn Store) -> HashMap<String, usize> {
    let (mut rest, mut parts) = (KeyRange::prefix("w/"), HashMap::new());
    loop {
        let page = store.scan(&rest, 1000).await.unwrap();
        let Some((last, _)) = page.last() else {
            return parts;
        };
        rest = rest.after(last);
        for (key, _) in page {
            let (attempt, _) = key.as_bytes().split_at(key.as_bytes().len() - 1);
            let attempt = String::from_utf8(attempt.to_vec()).unwrap();
            *parts.entry(attempt).or_default() += 1;
        }
    }
}

/// S1: the server is ended as by a crash while callers write, again and again. What was
/// acknowledged is there, what was refused is not, and nobody restarts the head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_a_server_that_crashes_mid_commit_loses_nothing_acknowledged() {
    let server = Postgres::start();
    let store = open(&server).await;
    let committer = Committer::open(Arc::new(store.clone())).await.unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let (told, mut heard) = tokio::sync::watch::channel(0_u64);
    let callers = (0..CALLERS).map(|caller| {
        tokio::spawn(write(
            committer.clone(),
            caller,
            stopped.clone(),
            told.clone(),
        ))
    });
    let callers: Vec<_> = callers.collect();
    for _ in 0..CRASHES {
        let enough = *heard.borrow() + 40;
        heard.wait_for(|count| *count >= enough).await.unwrap();
        tokio::task::block_in_place(|| {
            server.crash();
            server.begin();
        });
    }
    let enough = *heard.borrow() + 40;
    heard.wait_for(|count| *count >= enough).await.unwrap();
    stop.send_replace(true);
    let mut attempts = Vec::new();
    for caller in callers {
        attempts.push(caller.await.unwrap());
    }
    let there = parts(&store).await;
    let mut refused = 0;
    for (caller, attempts) in attempts.into_iter().enumerate() {
        for (number, acknowledged) in attempts.into_iter().enumerate() {
            let found = there.get(&format!("w/{caller}/{number:06}/"));
            let expected = acknowledged.then_some(&2);
            assert_eq!(found, expected, "attempt {number} of {caller}");
            refused += usize::from(!acknowledged);
        }
    }
    assert!(refused > 0, "no crash ever met a group under way");
}

/// Away: each call says so, none hangs. Back: the same store serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_told_and_serves_when_it_is_back() {
    let server = Postgres::start();
    let store = open(&server).await;
    for number in [1, 2, 3] {
        let text = number.to_string();
        store
            .apply(group(number, vec![put("a", &*text)]))
            .await
            .unwrap();
        server.crash();
        let unavailable = |error: StoreError| {
            assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        };
        unavailable(store.get(&key("a")).await.unwrap_err());
        unavailable(store.scan(&KeyRange::prefix(""), 9).await.unwrap_err());
        unavailable(
            store
                .apply(group(number + 1, vec![put("a", "no")]))
                .await
                .unwrap_err(),
        );
        unavailable(store.last_group().await.unwrap_err());
        server.begin();
        assert_eq!(value(&store, "a").await, Some(text));
        assert_eq!(store.last_group().await.unwrap(), Revision(number));
    }
}

/// The file system of the tables is full: the group is refused whole, reads go on, and groups too
/// once there is space.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_the_group_and_no_later_one() {
    let server = Postgres::start_small();
    server.sql("CREATE TABLE ballast AS SELECT repeat('x', 1000) FROM generate_series(1, 3000)");
    let store = open(&server).await;
    let random = SeededRandom::new(5);
    let noise = |number: u64| {
        let mut value = vec![0; 100_000];
        random.fill(&mut value);
        let ops = (0..4).map(|part| put(format!("n/{number}/{part}"), value.clone()));
        group(number, ops.collect())
    };
    let mut number = 0;
    let error = loop {
        match store.apply(noise(number + 1)).await {
            Ok(()) => number += 1,
            Err(error) => break error,
        }
        assert!(number < 100, "the disk has no end");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(said(&error).contains("No space left"), "{}", said(&error));
    assert_eq!(store.last_group().await.unwrap(), Revision(number));
    let half = KeyRange::prefix(format!("n/{}/", number + 1));
    assert!(store.scan(&half, 9).await.unwrap().is_empty());
    let whole = KeyRange::prefix(format!("n/{number}/"));
    assert_eq!(store.scan(&whole, 9).await.unwrap().len(), 4);
    server.sql("DROP TABLE ballast");
    store.apply(noise(number + 1)).await.unwrap();
    assert_eq!(store.last_group().await.unwrap(), Revision(number + 1));
}

/// A page whose checksum does not fit is corrupt, and so is a table that is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_a_damaged_page_is_corrupt_and_never_served() {
    let server = Postgres::start();
    let store = open(&server).await;
    store.apply(group(1, vec![put("a", "1")])).await.unwrap();
    let file = server.file_of("zone.records");
    server.crash();
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    server.begin();
    let error = store.get(&key("a")).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    assert!(said(&error).contains("invalid page"), "{}", said(&error));
    server.sql("DROP TABLE zone.records");
    let error = store.get(&key("a")).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}
