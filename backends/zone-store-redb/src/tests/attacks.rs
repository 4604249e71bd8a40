//! Sequences that would lose, forge or pile up groups.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::*;

/// `Full` is a promise that nothing was written: the committer writes another group of the same
/// number and takes what it finds there for its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s1_full_is_never_said_of_a_group_that_is_there() {
    let (mut told, mut unclear) = (0, 0);
    for nth in 1..40 {
        let dir = tempfile::tempdir().unwrap();
        let (store, countdown) = failing(dir.path(), usize::MAX);
        store.apply(group(1, 1)).await.unwrap();
        // The journal's sync fails, and later a write while the files are opened anew.
        countdown.syncs.store(1, Ordering::SeqCst);
        countdown.writes.store(nth, Ordering::SeqCst);
        let answer = store.apply(group(2, 2)).await;
        countdown.writes.store(0, Ordering::SeqCst);
        if matches!(*store.handle.0.slot.read(), Slot::Failed) {
            unclear += 1;
        }
        let last = store.last_group().await.unwrap();
        match answer {
            Ok(()) => assert_eq!(last, Revision(2)),
            Err(StoreError::Full { .. }) => {
                assert_eq!(last, Revision(1), "at write {nth}");
                told += 1;
            }
            Err(StoreError::Unavailable { .. }) => {}
            Err(error) => panic!("at write {nth}: {error:?}"),
        }
    }
    assert!(told > 0 && unclear > 0, "{told} {unclear}");
}

/// All of the journal is read after a crash, so it may not grow without a bound, also if memory
/// holds a single key.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_key_written_again_and_again_does_not_grow_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zone.redb");
    let store = RedbStore::open_with(&path, options(100_000)).unwrap();
    for number in 1..=600 {
        store.apply(group(number, 5)).await.unwrap();
    }
    let files = (0..8).filter_map(|index| std::fs::metadata(journal_file(&path, index)).ok());
    let bytes: u64 = files.map(|file| file.len()).sum();
    assert!(bytes < 2_000_000, "{bytes}");
    assert_eq!(everything(&store).await.len(), 5);
}

/// The future of an `apply` that waits for a thread is dropped. Once the last group was told, the
/// apply has happened or never will.
#[test]
fn s2_a_cancelled_group_does_not_come_later() {
    let dir = tempfile::tempdir().unwrap();
    let store = RedbStore::open(dir.path().join("zone.redb")).unwrap();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let holder = tokio::task::spawn_blocking(move || held.recv());
        let mut apply = store.apply(group(1, 1));
        assert!(poll_once(apply.as_mut()).await.is_pending());
        drop(apply);
        let mut asked = store.last_group();
        let early = poll_once(asked.as_mut()).await;
        release.send(()).unwrap();
        holder.await.unwrap().unwrap();
        let told = match early {
            Poll::Ready(told) => told.unwrap(),
            Poll::Pending => asked.await.unwrap(),
        };
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        assert_eq!(store.last_group().await.unwrap(), told);
    });
}

async fn poll_once<T>(mut future: Pin<&mut (dyn Future<Output = T> + Send)>) -> Poll<T> {
    std::future::poll_fn(|context: &mut Context<'_>| Poll::Ready(future.as_mut().poll(context)))
        .await
}

#[test]
fn two_snapshots_of_one_name_do_not_take_each_others_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = RedbStore::open(dir.path().join("zone.redb")).unwrap();
    let target = dir.path().join("copy");
    store.handle.0.apply(group(1, 200)).unwrap();
    let copies = std::thread::scope(|scope| {
        let copy = || snapshot::copy(&store.handle.0, &target).is_ok();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(copy)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .filter(|copied| *copied)
            .count()
    });
    assert_eq!(copies, 1);
    let copy = RedbStore::open(&target).unwrap();
    assert_eq!(
        copy.handle.0.with(|open| Ok(open.last())).unwrap(),
        Revision(1)
    );
}

/// redb cannot tell a file that it was killed over while making it from a foreign one.
#[tokio::test]
async fn a_first_start_that_was_killed_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zone.redb");
    std::fs::write(dir.path().join("zone.redb.partial"), vec![0; 5000]).unwrap();
    let store = RedbStore::open(&path).unwrap();
    store.apply(group(1, 1)).await.unwrap();
    store.close().unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// A store whose files could not be opened again was not closed in good order.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn closing_a_failed_store_does_not_say_that_all_is_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = failing(dir.path(), usize::MAX);
    store.apply(group(1, 1)).await.unwrap();
    *store.handle.0.slot.write() = Slot::Failed;
    store.close().unwrap_err();
    drop(store);
    let store = RedbStore::open(dir.path().join("zone.redb")).unwrap();
    assert_eq!(store.last_group().await.unwrap(), Revision(1));
}

/// A snapshot that a crash cut short: records of some groups and no head.
#[tokio::test]
async fn a_copy_that_was_not_finished_is_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copy.partial");
    let copy = redb::Database::create(&path).unwrap();
    let transaction = copy.begin_write().unwrap();
    transaction
        .open_table(table::RECORDS)
        .unwrap()
        .insert(&b"k"[..], &[0; 9][..])
        .unwrap();
    transaction.commit().unwrap();
    drop(copy);
    for _ in 0..2 {
        let answer = RedbStore::open(&path);
        let refused = matches!(answer, Err(StoreError::Corrupt { .. }));
        assert!(refused, "{answer:?}");
    }
}

/// Odd groups write the keys 0 to 9, even ones remove 0 to 4 and write 5 to 14; readers look while
/// layers turn into pages of the file.
#[test]
fn s1_no_reader_sees_half_a_group_while_the_journal_is_folded() {
    let key = |at: u64| Key::new(format!("k/{at:02}")).unwrap();
    let next = |number: u64| {
        let put = |at| Op::Put {
            key: key(at),
            value: number.to_be_bytes().to_vec().into(),
        };
        let remove = |at| Op::Delete { key: key(at) };
        let ops = match number % 2 {
            1 => (0..10).map(put).chain((10..15).map(remove)).collect(),
            _ => (0..5).map(remove).chain((5..15).map(put)).collect(),
        };
        let (number, fence) = (Revision(number), 1);
        WriteSet { number, fence, ops }
    };
    for fold_bytes in [1, 9_000] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zone.redb");
        let store = RedbStore::open_with(path, options(fold_bytes)).unwrap();
        let inner = &store.handle.0;
        inner.apply(next(1)).unwrap();
        let done = AtomicBool::new(false);
        let look = |limit: usize, seen: u64| {
            let pairs = inner.with(|open| open.scan(&KeyRange::prefix("k/"), limit));
            let pairs = pairs.unwrap();
            let number = pairs[0].1.revision;
            let first = [5, 0][(number.0 % 2) as usize];
            let keys: Vec<_> = pairs.iter().map(|(key, _)| key.clone()).collect();
            let expected: Vec<_> = (first..first + limit.min(10) as u64).map(key).collect();
            assert_eq!(keys, expected, "group {number:?}");
            assert!(pairs.iter().all(|(_, found)| found.revision == number));
            assert!(number.0 >= seen, "{number:?} after {seen}");
            number.0
        };
        std::thread::scope(|scope| {
            for limit in [3, 7, 1000] {
                let (look, done) = (&look, &done);
                scope.spawn(move || {
                    let mut seen = 0;
                    while !done.load(Ordering::SeqCst) {
                        seen = look(limit, seen);
                    }
                });
            }
            for number in 2..120 {
                inner.apply(next(number)).unwrap();
                assert_eq!(look(10, number), number);
            }
            done.store(true, Ordering::SeqCst);
        });
    }
}
