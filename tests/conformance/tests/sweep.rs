//! Crash sweeps: several callers write a history through the committer; at each apply in turn
//! something goes wrong. What they were told must agree with what is there afterwards.
//!
//! Each caller owns three keys that every batch of his gives one value. Two of them also add one to
//! a counter that they share, so those lose against each other and the others are grouped. The model of a caller is: the last value that he was told is stored, and the
//! one that he was waiting for.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use parking_lot::Mutex;
use zone_barrier::batch::Precondition;
use zone_barrier::commit::{CommitError, CommitOptions, Committer, LogSince};
use zone_conformance::store::{delete, key, put};
use zone_ports::store::{Revision, Versioned};
use zone_ports::{KeyRange, Store};
use zone_testkit::{Fault, MemStore, SeededRandom};

const CALLERS: usize = 5;
/// The first callers, who share the counter.
const COUNTING: usize = 2;
const BATCHES: u64 = 6;

/// What one caller knows.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The last batch that he was told is stored, and its group.
    stored: Option<(u64, Revision)>,
    /// The batch that he had no answer to yet.
    waiting: Option<u64>,
    /// Batches that he was told are stored.
    successes: u64,
}

type Log = Arc<Mutex<Vec<Known>>>;

/// One caller's history: each batch demands that nobody changed his keys, and perhaps adds to the
/// shared counter as it was read; on a conflict he reads again.
async fn write(
    committer: Committer,
    caller: usize,
    seed: u64,
    log: Log,
) -> Result<(), CommitError> {
    let random = SeededRandom::new(seed * 100 + caller as u64);
    for batch in 1..=BATCHES {
        let length = random.below(3000) as usize;
        log.lock()[caller].waiting = Some(batch);
        loop {
            let (count, unchanged) = count(&committer).await?;
            let value = format!("{batch}:{}", "x".repeat(length));
            let mut ops = vec![
                put(format!("c/{caller}/a"), value.clone()),
                put(format!("c/{caller}/b"), value),
            ];
            // Alternately there and gone.
            let flag = format!("c/{caller}/odd");
            ops.push(if batch % 2 == 1 {
                put(flag, "")
            } else {
                delete(flag)
            });
            let stored = log.lock()[caller].stored;
            let own = key(format!("c/{caller}/a"));
            let mine = match stored {
                Some((_, revision)) => Precondition::At(own, revision),
                None => Precondition::Absent(own),
            };
            let mut conditions = vec![mine];
            if caller < COUNTING {
                ops.push(put("count", (count + 1).to_string()));
                conditions.push(unchanged);
            }
            match committer.commit(ops, conditions).await {
                Ok(revision) => {
                    let known = &mut log.lock()[caller];
                    known.stored = Some((batch, revision));
                    known.successes += 1;
                    break;
                }
                Err(CommitError::Conflict) => {}
                Err(error) => {
                    log.lock()[caller].waiting = None;
                    return Err(error);
                }
            }
        }
        log.lock()[caller].waiting = None;
    }
    Ok(())
}

async fn count(committer: &Committer) -> Result<(u64, Precondition), CommitError> {
    let found = committer
        .get(&key("count"))
        .await
        .map_err(CommitError::Store)?;
    Ok(match found {
        Some(Versioned { value, revision }) => {
            let count = std::str::from_utf8(&value).unwrap().parse().unwrap();
            (count, Precondition::At(key("count"), revision))
        }
        None => (0, Precondition::Absent(key("count"))),
    })
}

/// What is stored of a caller: his batch, and its group; and that it is whole.
async fn stored(store: &MemStore, caller: usize) -> Option<(u64, Revision)> {
    let range = KeyRange::prefix(format!("c/{caller}/"));
    let found = store.scan(&range, 10).await.unwrap();
    let (_, first) = found.first()?;
    assert_eq!(found[1].1, *first, "half a batch");
    let text = std::str::from_utf8(&first.value).unwrap();
    let batch: u64 = text.split_once(':').unwrap().0.parse().unwrap();
    assert_eq!(found.len() == 3, batch % 2 == 1, "half a batch");
    if let Some((_, odd)) = found.get(2) {
        assert_eq!(odd.revision, first.revision, "half a batch");
    }
    Some((batch, first.revision))
}

/// What survived against what everybody knows.
async fn check(store: &MemStore, log: &Log, case: &str) {
    let known = log.lock().clone();
    let mut total = 0;
    for (caller, known) in known.iter().enumerate() {
        let found = stored(store, caller).await;
        let unheard = known.waiting.is_some() && found.map(|found| found.0) == known.waiting;
        if !unheard {
            assert_eq!(
                found, known.stored,
                "{case}: caller {caller} knows {known:?}"
            );
        }
        if caller < COUNTING {
            total += known.successes + u64::from(unheard);
        }
    }
    let found = store.get(&key("count")).await.unwrap();
    let count = found.map_or(0, |found| {
        std::str::from_utf8(&found.value).unwrap().parse().unwrap()
    });
    assert_eq!(count, total, "{case}: the shared counter");
    log_agrees(store, case).await;
}

/// The commit log ends with the last group, and says of each key which group wrote it last.
async fn log_agrees(store: &MemStore, case: &str) {
    let committer = Committer::open(Arc::new(store.clone())).await.unwrap();
    let last = store.last_group().await.unwrap();
    let told = committer.log_since(Revision(0), 1000).await.unwrap();
    let LogSince::Records(records) = told else {
        panic!("{case}: {told:?}")
    };
    assert_eq!(records.len() as u64, last.0, "{case}");
    for at in store.keys() {
        let found = store.get(&at).await.unwrap().unwrap();
        if at.as_bytes().starts_with(zone_barrier::commit::log::PREFIX) {
            continue;
        }
        let named = records
            .iter()
            .rev()
            .find(|record| record.keys.contains(&at));
        assert_eq!(
            named.map(|record| record.revision),
            Some(found.revision),
            "{case}: {at:?}"
        );
    }
}

/// Runs the history with `fault` at the `nth` apply. False once the history is shorter.
async fn run(nth: u64, fault: Fault, seed: u64) -> bool {
    let case = format!("{fault:?} at {nth}, seed {seed}");
    let store = MemStore::new();
    store.fail_at(nth, fault);
    let log: Log = Arc::new(Mutex::new(vec![Known::default(); CALLERS]));
    let committer = Committer::open(Arc::new(store.clone())).await.unwrap();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| tokio::spawn(write(committer.clone(), caller, seed, log.clone())))
        .collect();
    let aborts: Vec<_> = callers
        .iter()
        .map(tokio::task::JoinHandle::abort_handle)
        .collect();
    let all = futures::future::join_all(callers);
    tokio::select! {
        () = store.died() => {}
        answers = all => {
            for answer in answers {
                drop(answer.unwrap());
            }
        }
    }
    for abort in aborts {
        abort.abort();
    }
    let survivor = store.crash_image();
    check(&survivor, &log, &case).await;
    go_on(&survivor, &case).await;
    nth <= store.applies()
}

/// After a crash the next head writes on.
async fn go_on(store: &MemStore, case: &str) {
    let options = CommitOptions {
        fence: 99,
        ..CommitOptions::default()
    };
    let committer = Committer::open_with(Arc::new(store.clone()), options)
        .await
        .unwrap();
    let last = store.last_group().await.unwrap();
    let next = committer
        .commit(vec![put("next", "")], Vec::new())
        .await
        .unwrap();
    assert_eq!(next.0, last.0 + 1, "{case}");
}

async fn sweep(fault: Fault) {
    for seed in 1..=3 {
        let mut cuts = 0;
        for nth in 1.. {
            if !run(nth, fault, seed).await {
                break;
            }
            cuts += 1;
        }
        // Of the batches that count, each is in a group of its own.
        assert!(cuts >= COUNTING as u64 * BATCHES, "{cuts} cuts");
    }
}

#[tokio::test]
async fn s1_power_goes_before_any_group() {
    sweep(Fault::CrashBefore).await;
}

#[tokio::test]
async fn s1_power_goes_behind_any_group() {
    sweep(Fault::CrashAfter).await;
}

#[tokio::test]
async fn s1_any_answer_is_lost_with_its_group() {
    sweep(Fault::Lost).await;
}

#[tokio::test]
async fn s1_any_answer_is_lost_and_its_group_is_there() {
    sweep(Fault::AnswerLost).await;
}

#[tokio::test]
async fn s1_the_store_is_full_at_any_group() {
    sweep(Fault::Full).await;
}
