//! The committer under faults on demand: who is grouped with whom, who loses, what is said when
//! the store does not answer. The store is the one in memory.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use futures::future::join_all;
use zone_barrier::batch::{MAX_BATCH_BYTES, MAX_BATCH_OPS, Precondition};
use zone_barrier::commit::{CommitError, CommitOptions, Committer, LogSince};
use zone_conformance::store::{delete, group, key, put};
use zone_ports::store::{GroupLimit, Op, Revision};
use zone_ports::{KeyRange, Store, StoreError};
use zone_testkit::{Fault, MemStore};

async fn open(store: &MemStore) -> Committer {
    Committer::open(Arc::new(store.clone())).await.unwrap()
}

async fn value(store: &MemStore, at: &str) -> Option<String> {
    let found = store.get(&key(at)).await.unwrap()?;
    Some(String::from_utf8(found.value.to_vec()).unwrap())
}

type Answer = Result<Revision, CommitError>;

/// Commits all of `batches` while the store is held, so that the first one is under way alone
/// and the others gather behind it. Their answers, in order.
async fn behind_one(
    store: &MemStore,
    committer: &Committer,
    batches: Vec<(Vec<Op>, Vec<Precondition>)>,
) -> Vec<Answer> {
    store.hold();
    let first = {
        let committer = committer.clone();
        tokio::spawn(async move { committer.commit(vec![put("first", "")], Vec::new()).await })
    };
    store.arrived().await;
    let commits = batches
        .into_iter()
        .map(|(ops, conditions)| committer.commit(ops, conditions));
    let mut commits = Box::pin(join_all(commits));
    // Polled once, so every batch is in the queue.
    assert!(futures::poll!(&mut commits).is_pending());
    store.release();
    first.await.unwrap().unwrap();
    commits.await
}

fn all_conflict(answers: &[Answer]) -> bool {
    answers
        .iter()
        .all(|answer| matches!(answer, Err(CommitError::Conflict)))
}

#[tokio::test]
async fn s1_many_callers_share_one_group() {
    let store = MemStore::new();
    let committer = open(&store).await;
    let batches = (0..64).map(|caller| (vec![put(format!("c/{caller}"), "v")], Vec::new()));
    let answers = behind_one(&store, &committer, batches.collect()).await;
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Ok(Revision(2)))),
        "{answers:?}"
    );
    assert_eq!(store.applies(), 2);
    assert_eq!(
        store
            .scan(&KeyRange::prefix("c/"), 1000)
            .await
            .unwrap()
            .len(),
        64
    );
    let LogSince::Records(log) = committer.log_since(Revision(1), 10).await.unwrap() else {
        panic!("nothing was pruned")
    };
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].keys.len(), 64);
}

#[tokio::test]
async fn losers_fail_alone_and_hear_of_it_when_the_winner_is_durable() {
    let store = MemStore::new();
    let committer = open(&store).await;
    let read = committer
        .commit(vec![put("x", "0")], Vec::new())
        .await
        .unwrap();
    let at = |revision| vec![Precondition::At(key("x"), revision)];
    let absent = |name: &str| vec![Precondition::Absent(key(name))];
    let batches = vec![
        (vec![put("x", "1"), put("a", "1")], at(read)),
        (vec![put("x", "2"), put("a", "2"), put("b", "2")], at(read)),
        (vec![put("c", "3")], at(Revision(99))),
        (vec![put("d", "4")], absent("x")),
        (vec![put("e", "5")], absent("a")),
        (vec![put("f", "6")], absent("nothing")),
        (Vec::new(), at(read)),
        (Vec::new(), absent("nothing")),
    ];
    let answers = behind_one(&store, &committer, batches).await;
    assert!(matches!(answers[0], Ok(Revision(3))), "{answers:?}");
    assert!(all_conflict(&answers[1..5]), "{answers:?}");
    assert!(matches!(answers[5], Ok(Revision(3))), "{answers:?}");
    assert!(all_conflict(&answers[6..7]), "{answers:?}");
    assert!(answers[7].is_ok(), "{answers:?}");
    assert_eq!(value(&store, "x").await.as_deref(), Some("1"));
    assert_eq!(value(&store, "a").await.as_deref(), Some("1"));
    for loser in ["b", "c", "d", "e"] {
        assert_eq!(value(&store, loser).await, None, "{loser}");
    }
}

#[tokio::test]
async fn a_key_is_in_one_batch_of_a_group() {
    let store = MemStore::new();
    let committer = open(&store).await;
    let batches = vec![
        (vec![put("x", "1")], Vec::new()),
        (vec![put("x", "2"), put("y", "2")], Vec::new()),
        (vec![delete("x")], Vec::new()),
        (vec![put("z", "4")], Vec::new()),
    ];
    let answers = behind_one(&store, &committer, batches).await;
    let revisions: Vec<u64> = answers
        .iter()
        .map(|answer| answer.as_ref().unwrap().0)
        .collect();
    assert_eq!(revisions, [2, 3, 4, 2]);
    assert_eq!(value(&store, "x").await, None);
    assert_eq!(value(&store, "y").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn the_removal_of_a_key_lets_its_absence_hold() {
    let store = MemStore::new();
    let committer = open(&store).await;
    committer
        .commit(vec![put("x", "0")], Vec::new())
        .await
        .unwrap();
    let absent = || vec![Precondition::Absent(key("x"))];
    let batches = vec![
        (vec![delete("x")], Vec::new()),
        (vec![put("y", "1")], absent()),
        (vec![put("x", "2")], absent()),
        (vec![put("x", "3")], absent()),
    ];
    let answers = behind_one(&store, &committer, batches).await;
    assert!(matches!(
        answers[..3],
        [Ok(Revision(3)), Ok(Revision(3)), Ok(Revision(4))]
    ));
    assert!(all_conflict(&answers[3..]), "{answers:?}");
    assert_eq!(value(&store, "x").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_batch_keeps_its_limits() {
    let store = MemStore::new();
    let committer = open(&store).await;
    let many = |count: usize| {
        (0..count)
            .map(|at| put(format!("m/{at}"), ""))
            .collect::<Vec<_>>()
    };
    committer
        .commit(many(MAX_BATCH_OPS), Vec::new())
        .await
        .unwrap();
    let half = |at| put(at, vec![0; MAX_BATCH_BYTES / 2 - 1]);
    committer
        .commit(vec![half("a"), half("b")], Vec::new())
        .await
        .unwrap();
    let conditions = vec![Precondition::Absent(key("x")); MAX_BATCH_OPS + 1];
    for (ops, conditions) in [
        (many(MAX_BATCH_OPS + 1), Vec::new()),
        (vec![half("a"), half("b"), put("c", "x")], Vec::new()),
        (vec![put("a", "")], conditions),
    ] {
        let answer = committer.commit(ops, conditions).await;
        assert!(matches!(answer, Err(CommitError::TooLarge)), "{answer:?}");
    }
    let log = "core/commit-log/x";
    for op in [put(log, ""), delete(log)] {
        let answer = committer.commit(vec![op], Vec::new()).await;
        assert!(matches!(answer, Err(CommitError::Reserved)), "{answer:?}");
    }
    assert_eq!(store.last_group().await.unwrap(), Revision(2));
}

#[tokio::test]
async fn a_later_change_of_a_key_replaces_an_earlier_one() {
    let store = MemStore::new();
    let committer = open(&store).await;
    let ops = vec![
        put("a", "1"),
        put("b", "1"),
        delete("a"),
        put("a", "2"),
        delete("b"),
    ];
    committer.commit(ops, Vec::new()).await.unwrap();
    assert_eq!(value(&store, "a").await.as_deref(), Some("2"));
    assert_eq!(value(&store, "b").await, None);
}

#[tokio::test]
async fn groups_keep_the_limits_of_a_small_store() {
    let store = MemStore::with_limit(GroupLimit {
        ops: 64,
        bytes: 512 * 1024,
    });
    let options = CommitOptions {
        keep_groups: 3,
        ..CommitOptions::default()
    };
    let committer = Committer::open_with(Arc::new(store.clone()), options)
        .await
        .unwrap();
    let large = |caller: u8| {
        (
            vec![put(format!("l/{caller}"), vec![caller; 100_000])],
            Vec::new(),
        )
    };
    let many = |caller: u8| {
        let ops = (0..60)
            .map(|at| put(format!("m/{caller}/{at}"), "v"))
            .collect();
        (ops, Vec::new())
    };
    let batches = (0..12).map(large).chain((0..12).map(many)).collect();
    let answers = behind_one(&store, &committer, batches).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(
        store
            .scan(&KeyRange::prefix("m/"), 1000)
            .await
            .unwrap()
            .len(),
        720
    );
    assert_eq!(
        store
            .scan(&KeyRange::prefix("l/"), 1000)
            .await
            .unwrap()
            .len(),
        12
    );
    let (ops, bytes) = store.largest_group();
    assert!(
        ops <= 64 && bytes <= 512 * 1024,
        "{ops} operations, {bytes} bytes"
    );
}

#[tokio::test]
async fn a_group_of_many_long_keys_still_fits_its_log_record() {
    let store = MemStore::new();
    let committer = open(&store).await;
    let batch = |caller: usize| {
        let at = |part: usize| format!("{:03}{}", (part * 7 + caller * 61) % 997, "k".repeat(500));
        let ops = (0..60)
            .map(|part| put(format!("{caller:02}/{}", at(part)), ""))
            .collect();
        (ops, Vec::new())
    };
    let answers = behind_one(&store, &committer, (0..16).map(batch).collect()).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let LogSince::Records(log) = committer.log_since(Revision(1), 100).await.unwrap() else {
        panic!("nothing was pruned")
    };
    assert_eq!(
        log.iter().map(|record| record.keys.len()).sum::<usize>(),
        16 * 60
    );
    assert!(log.len() < 8, "{} groups for sixteen batches", log.len());
}

#[tokio::test]
async fn a_full_store_fails_the_group_and_no_later_one() {
    let store = MemStore::new();
    let committer = open(&store).await;
    store.fail_at(1, Fault::Full);
    let answer = committer.commit(vec![put("a", "1")], Vec::new()).await;
    let Err(CommitError::Store(StoreError::Full { .. })) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(value(&store, "a").await, None);
    assert_eq!(
        committer
            .commit(vec![put("a", "2")], Vec::new())
            .await
            .unwrap(),
        Revision(1)
    );
}

#[tokio::test]
async fn who_lost_against_a_group_that_failed_hears_of_the_failure() {
    let store = MemStore::new();
    let committer = open(&store).await;
    store.fail_at(2, Fault::Full);
    let absent = || vec![Precondition::Absent(key("x"))];
    let batches = vec![
        (vec![put("x", "1")], absent()),
        (vec![put("x", "2")], absent()),
    ];
    let answers = behind_one(&store, &committer, batches).await;
    let full = |answer: &Answer| matches!(answer, Err(CommitError::Store(StoreError::Full { .. })));
    assert!(answers.iter().all(full), "{answers:?}");
}

#[tokio::test]
async fn after_no_answer_the_group_is_read_back() {
    for deaf in [0, 1, 3] {
        let store = MemStore::new();
        let committer = open(&store).await;
        committer
            .commit(vec![put("a", "0")], Vec::new())
            .await
            .unwrap();

        store.fail_at(1, Fault::AnswerLost);
        store.fail_last_group(deaf);
        let mut watch = committer.watch("");
        let answer = committer.commit(vec![put("a", "1")], Vec::new()).await;
        assert_eq!(answer.unwrap(), Revision(2), "it was applied");
        assert!(watch.next().await.is_some());

        store.fail_at(1, Fault::Lost);
        store.fail_last_group(deaf);
        let answer = committer.commit(vec![put("a", "2")], Vec::new()).await;
        let Err(CommitError::Store(StoreError::Unavailable { .. })) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(
            value(&store, "a").await.as_deref(),
            Some("1"),
            "it was not applied"
        );
        let revision = committer
            .commit(vec![put("a", "3")], Vec::new())
            .await
            .unwrap();
        assert_eq!(revision, Revision(3));
    }
}

#[tokio::test]
async fn while_a_group_is_in_doubt_others_are_refused_at_once() {
    let store = MemStore::new();
    let committer = open(&store).await;
    store.fail_at(1, Fault::AnswerLost);
    store.fail_last_group(u32::MAX);
    let doubtful = {
        let committer = committer.clone();
        tokio::spawn(async move { committer.commit(vec![put("a", "1")], Vec::new()).await })
    };
    store.asked_in_vain().await;
    let answer = committer.commit(vec![put("b", "1")], Vec::new()).await;
    let Err(CommitError::Store(StoreError::Unavailable { .. })) = answer else {
        panic!("{answer:?}")
    };
    assert!(!doubtful.is_finished());
    assert_eq!(committer.get(&key("b")).await.unwrap(), None);
    store.fail_last_group(0);
    assert_eq!(doubtful.await.unwrap().unwrap(), Revision(1));
    assert_eq!(store.applies(), 1);
}

#[tokio::test]
async fn s2_after_another_writer_nothing_is_written() {
    for (fault, applied) in [
        (Fault::Overtaken, false),
        (Fault::OvertakenUnheard, false),
        (Fault::AnswerLostThenOvertaken, true),
    ] {
        let store = MemStore::new();
        let committer = open(&store).await;
        let mut watch = committer.watch("");
        store.fail_at(1, fault);
        let answer = committer.commit(vec![put("a", "1")], Vec::new()).await;
        if applied {
            assert_eq!(answer.unwrap(), Revision(1), "{fault:?}");
            assert!(watch.next().await.is_some());
        } else {
            assert!(
                matches!(answer, Err(CommitError::Stopped)),
                "{fault:?}: {answer:?}"
            );
        }
        assert_eq!(value(&store, "a").await.is_some(), applied, "{fault:?}");
        assert_eq!(watch.next().await, None, "the watch ends with the writer");
        let sent = store.applies();
        let late = committer.commit(vec![put("b", "1")], Vec::new()).await;
        assert!(
            matches!(late, Err(CommitError::Stopped)),
            "{fault:?}: {late:?}"
        );
        assert_eq!(store.applies(), sent, "{fault:?}");
        assert_eq!(committer.watch("").next().await, None);
        assert!(committer.get(&key("a")).await.is_ok(), "reads go on");
    }
}

#[tokio::test]
async fn a_corrupt_store_is_never_written_again() {
    let store = MemStore::new();
    let committer = open(&store).await;
    store.fail_at(1, Fault::Corrupt);
    for _ in 0..2 {
        let answer = committer.commit(vec![put("a", "1")], Vec::new()).await;
        let Err(CommitError::Store(StoreError::Corrupt { .. })) = answer else {
            panic!("{answer:?}")
        };
    }
    assert_eq!(store.applies(), 1);
}

#[tokio::test]
async fn a_forged_log_record_is_corrupt_at_the_start() {
    let store = MemStore::new();
    let committer = open(&store).await;
    let revision = committer
        .commit(vec![put("a", "1")], Vec::new())
        .await
        .unwrap();
    store.forge(&zone_barrier::commit::log::key(revision), "nonsense");
    let answer = committer.log_since(Revision(0), 10).await;
    assert!(
        matches!(answer, Err(StoreError::Corrupt { .. })),
        "{answer:?}"
    );
    let answer = Committer::open(Arc::new(store.clone())).await;
    assert!(
        matches!(answer, Err(StoreError::Corrupt { .. })),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_store_filled_without_a_log_gets_one() {
    let store = MemStore::new();
    store.apply(group(1, vec![put("a", "1")])).await.unwrap();
    let committer = open(&store).await;
    committer
        .commit(vec![put("a", "2")], Vec::new())
        .await
        .unwrap();
    assert_eq!(
        committer.log_since(Revision(0), 10).await.unwrap(),
        LogSince::Resync
    );
    let LogSince::Records(log) = committer.log_since(Revision(1), 10).await.unwrap() else {
        panic!("the second group is there")
    };
    assert_eq!(log[0].revision, Revision(2));
}

#[tokio::test]
async fn a_caller_who_goes_away_harms_nobody() {
    let store = MemStore::new();
    let committer = open(&store).await;
    store.hold();
    {
        let mut gone = Box::pin(committer.commit(vec![put("gone", "")], Vec::new()));
        assert!(futures::poll!(&mut gone).is_pending());
    }
    store.release();
    committer
        .commit(vec![put("a", "1")], Vec::new())
        .await
        .unwrap();
    assert_eq!(value(&store, "a").await.as_deref(), Some("1"));
    // The batch of the one who left is there whole or not at all; its log record says which.
    let groups = store.last_group().await.unwrap().0;
    let LogSince::Records(log) = committer.log_since(Revision(0), 10).await.unwrap() else {
        panic!("nothing was pruned")
    };
    assert_eq!(log.len() as u64, groups);
    let logged = log.iter().any(|record| record.keys.contains(&key("gone")));
    assert_eq!(logged, value(&store, "gone").await.is_some());
}

#[tokio::test]
async fn the_thread_ends_with_the_last_clone() {
    let store = MemStore::new();
    let committer = open(&store).await;
    let clone = committer.clone();
    drop(committer);
    clone.commit(vec![put("a", "1")], Vec::new()).await.unwrap();
    let mut watch = clone.watch("");
    drop(clone);
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn a_store_of_too_small_groups_is_refused() {
    for limit in [(63, 512 * 1024), (64, 256 * 1024)] {
        let (ops, bytes) = limit;
        let store = MemStore::with_limit(GroupLimit { ops, bytes });
        let answer = Committer::open(Arc::new(store)).await;
        assert!(
            matches!(answer, Err(StoreError::Unavailable { .. })),
            "{answer:?}"
        );
    }
}
