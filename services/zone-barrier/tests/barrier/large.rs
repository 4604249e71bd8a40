//! Values that do not fit one record.

use crate::common::{Cut, Probe, key, start, unseal, zone};
use zone_barrier::{Barrier, BarrierError, Batch};
use zone_ports::KeyRange;

const MIB: usize = 1024 * 1024;

/// A value whose every byte depends on `seed`.
fn value(seed: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed))
        .collect()
}

async fn put(barrier: &Barrier, at: &str, value: Vec<u8>) {
    barrier
        .commit(Batch::new().put(key(at), value))
        .await
        .unwrap();
}

async fn read(barrier: &Barrier, at: &str) -> Vec<u8> {
    barrier.get(&key(at)).await.unwrap().unwrap().value.to_vec()
}

fn chunks(probe: &Probe) -> usize {
    probe.keys("core/barrier/chunk/").len()
}

#[tokio::test]
async fn values_up_to_8_mib_are_read_whole() {
    let (_, barrier, _) = zone().await;
    for len in [96 * 1024, 96 * 1024 + 1, 192 * 1024, MIB, 8 * MIB] {
        put(&barrier, "x", value(1, len)).await;
        assert!(read(&barrier, "x").await == value(1, len), "{len}");
    }
    let pairs = barrier.scan(&KeyRange::prefix("x"), 10).await.unwrap();
    assert!(pairs.len() == 1 && pairs[0].1.value.len() == 8 * MIB);
    let over = barrier
        .commit(Batch::new().put(key("x"), value(1, 8 * MIB + 1)))
        .await;
    assert!(matches!(over, Err(BarrierError::TooLarge)));
}

#[tokio::test]
async fn b1_no_chunk_reaches_the_store_in_the_clear() {
    let (probe, barrier, _) = zone().await;
    put(&barrier, "x", value(1, MIB)).await;
    let sample = value(1, 32);
    for (_, record) in &probe.disk.lock().history {
        assert!(!record.windows(32).any(|window| window == sample));
    }
}

#[tokio::test]
async fn replaced_and_deleted_values_leave_no_chunk() {
    let (probe, barrier, shares) = zone().await;
    put(&barrier, "x", value(1, MIB)).await;
    assert_eq!(chunks(&probe), 12, "eleven and the owner");
    put(&barrier, "x", value(2, 200_000)).await;
    assert_eq!(chunks(&probe), 4);
    put(&barrier, "x", b"small".to_vec()).await;
    assert_eq!(chunks(&probe), 0);
    put(&barrier, "x", value(3, MIB)).await;
    let barrier = start(&probe.restart(), 2).await;
    unseal(&barrier, &shares).await;
    barrier.commit(Batch::new().delete(key("x"))).await.unwrap();
    assert_eq!(
        chunks(&probe),
        0,
        "a restarted head knows that there are chunks"
    );
}

#[tokio::test]
async fn a_failed_condition_keeps_the_old_value_and_no_new_chunk() {
    let (probe, barrier, _) = zone().await;
    put(&barrier, "x", value(1, MIB)).await;
    let batch = Batch::new()
        .put(key("x"), value(2, MIB))
        .require_absent(key("x"));
    assert!(matches!(
        barrier.commit(batch).await,
        Err(BarrierError::Conflict)
    ));
    assert!(read(&barrier, "x").await == value(1, MIB));
    assert_eq!(chunks(&probe), 12);
}

#[tokio::test]
async fn a_large_value_and_its_metadata_change_together() {
    let (_, barrier, _) = zone().await;
    let batch = Batch::new()
        .put(key("data"), value(1, MIB))
        .put(key("meta"), "1");
    let revision = barrier.commit(batch).await.unwrap();
    for at in ["data", "meta"] {
        assert_eq!(
            barrier.get(&key(at)).await.unwrap().unwrap().revision,
            revision
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_never_see_half_a_value() {
    let (probe, barrier, _) = zone().await;
    put(&barrier, "x", value(0, 300_000)).await;
    let writers: Vec<_> = (0..2)
        .map(|writer| {
            let barrier = barrier.clone();
            tokio::spawn(async move {
                for n in 0..20 {
                    put(
                        &barrier,
                        "x",
                        value(writer * 100 + n, 200_000 + usize::from(n)),
                    )
                    .await;
                }
            })
        })
        .collect();
    while !writers.iter().all(|writer| writer.is_finished()) {
        let seen = read(&barrier, "x").await;
        let seed = seen[0];
        assert!(seen == value(seed, seen.len()));
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    barrier.collect_chunks().await.unwrap();
    assert_eq!(
        chunks(&probe),
        4,
        "three chunks of the last value and its owner"
    );
    read(&barrier, "x").await;
}

#[tokio::test]
async fn a_crash_at_any_write_leaves_the_old_value_or_the_new() {
    let (mut old, mut new) = (0, 0);
    for at in 1..20 {
        for cut in [Cut::Before(at), Cut::After(at)] {
            let (probe, first, shares) = zone().await;
            put(&first, "x", value(1, 300_000)).await;
            drop(first);
            let dying = Probe::over(probe.disk.clone(), Some(cut));
            let barrier = start(&dying, 2).await;
            unseal(&barrier, &shares).await;
            let write = barrier.commit(Batch::new().put(key("x"), value(2, 400_000)));
            tokio::select! {
                done = write => { done.unwrap(); }
                () = dying.death() => {}
            }
            let barrier = start(&probe.restart(), 3).await;
            unseal(&barrier, &shares).await;
            let left = check_after_crash(&barrier).await;
            assert!(chunks(&probe) == if left == 1 { 5 } else { 6 }, "{cut:?}");
            *(if left == 1 { &mut old } else { &mut new }) += 1;
        }
    }
    assert!(old >= 4 && new >= 4, "{old} {new}");
}

/// Collects leftovers; 1 if the old value stands, 2 if the new one.
async fn check_after_crash(barrier: &Barrier) -> u8 {
    let seen = read(barrier, "x").await;
    let is_old = seen == value(1, 300_000);
    assert!(is_old || seen == value(2, 400_000));
    barrier.collect_chunks().await.unwrap();
    assert_eq!(barrier.collect_chunks().await.unwrap(), 0);
    assert!(read(barrier, "x").await == seen);
    if is_old { 1 } else { 2 }
}

#[tokio::test]
async fn chunks_of_a_writer_under_way_are_not_collected() {
    let (probe, barrier, _) = zone().await;
    put(&barrier, "x", value(1, 300_000)).await;
    // Owner, two groups of chunks, then the pointer, which is held back.
    let pointer = probe.writes() + 4;
    probe.hold.send_replace(Some(pointer));
    let write = tokio::spawn({
        let barrier = barrier.clone();
        async move { put(&barrier, "x", value(2, 300_000)).await }
    });
    while probe.writes() < pointer {
        tokio::task::yield_now().await;
    }
    let collect = tokio::spawn({
        let barrier = barrier.clone();
        async move { barrier.collect_chunks().await.unwrap() }
    });
    yields(50).await;
    assert!(read(&barrier, "x").await == value(1, 300_000));
    probe.hold.send_replace(None);
    write.await.unwrap();
    assert_eq!(collect.await.unwrap(), 0);
    assert!(read(&barrier, "x").await == value(2, 300_000));
}

#[tokio::test]
async fn a_crash_while_old_chunks_are_removed_leaves_what_can_be_collected() {
    let (probe, first, shares) = zone().await;
    put(&first, "x", value(1, 7 * MIB)).await;
    drop(first);
    // The count of a head that has just started, the deletion, the first of two groups of chunks.
    let dying = Probe::over(probe.disk.clone(), Some(Cut::After(3)));
    let barrier = start(&dying, 2).await;
    unseal(&barrier, &shares).await;
    tokio::select! {
        done = barrier.commit(Batch::new().delete(key("x"))) => { done.unwrap(); }
        () = dying.death() => {}
    }
    let left = chunks(&probe);
    assert!(left > 0 && left < 76, "{left}");
    let barrier = start(&probe.restart(), 3).await;
    unseal(&barrier, &shares).await;
    assert_eq!(barrier.collect_chunks().await.unwrap(), left);
    assert_eq!(chunks(&probe), 0);
}

#[tokio::test]
async fn a_writer_that_is_given_up_harms_nobody() {
    let (probe, barrier, _) = zone().await;
    put(&barrier, "x", value(1, 300_000)).await;
    for polls in 0..30 {
        let write = barrier.commit(Batch::new().put(key("x"), value(2, 300_000)));
        tokio::select! {
            biased;
            done = write => { done.unwrap(); }
            () = yields(polls) => {}
        }
        barrier.collect_chunks().await.unwrap();
        let seen = read(&barrier, "x").await;
        assert!(seen == value(seen[0], 300_000));
    }
    // A batch that was handed over is applied although nobody waits for it; one behind it in the
    // queue says when.
    put(&barrier, "behind", value(3, 10)).await;
    // Whoever handed it over may still be on his way out.
    for _ in 0..10_000 {
        barrier.collect_chunks().await.unwrap();
        if chunks(&probe) == 5 {
            break;
        }
        yields(1).await;
    }
    assert_eq!(chunks(&probe), 5);
}

async fn yields(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn b3_chunks_of_another_value_or_generation_are_corrupt() {
    let (probe, barrier, _) = zone().await;
    put(&barrier, "x", value(1, 200_000)).await;
    let keys = probe.keys("core/barrier/chunk/");
    let (first, second) = (probe.raw(&keys[1]).unwrap(), probe.raw(&keys[2]).unwrap());
    probe.forge(&keys[1], &second);
    assert!(matches!(
        barrier.get(&key("x")).await,
        Err(BarrierError::Corrupt)
    ));
    probe.forge(&keys[1], &first);
    assert!(read(&barrier, "x").await == value(1, 200_000));
    probe.disk.lock().records.remove(keys[2].as_bytes());
    assert!(matches!(
        barrier.get(&key("x")).await,
        Err(BarrierError::Corrupt)
    ));
}
