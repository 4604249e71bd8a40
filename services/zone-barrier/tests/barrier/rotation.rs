//! Key terms: by hand, by count, and across crashes (B3).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::common::{Cut, NOW, Probe, Shares, init, key, start, unseal, zone};
use zone_barrier::{Barrier, Batch};
use zone_types::Timestamp;

async fn put(barrier: &Barrier, at: &str) {
    barrier.commit(Batch::new().put(key(at), at)).await.unwrap();
}

async fn reads(barrier: &Barrier, at: &str) -> bool {
    let found = barrier.get(&key(at)).await.unwrap();
    found.is_some_and(|plain| plain.value.as_slice() == at.as_bytes())
}

/// The term in front of a stored record.
fn term_of(probe: &Probe, at: &str) -> u32 {
    u32::from_be_bytes(probe.raw(at).unwrap()[..4].try_into().unwrap())
}

#[tokio::test]
async fn a_new_term_encrypts_and_the_old_ones_still_open() {
    let (probe, barrier, shares) = zone().await;
    put(&barrier, "one").await;
    let later = Timestamp::from_secs(NOW.secs() + 60);
    let status = barrier.rotate(later).await.unwrap();
    assert_eq!((status.term, status.install_time), (2, later));
    put(&barrier, "two").await;
    assert_eq!((term_of(&probe, "one"), term_of(&probe, "two")), (1, 2));
    assert!(barrier.key_status().unwrap().encryptions > status.encryptions);
    let restarted = start(&probe.restart(), 2).await;
    unseal(&restarted, &shares).await;
    for barrier in [barrier, restarted] {
        assert!(reads(&barrier, "one").await && reads(&barrier, "two").await);
        assert_eq!(barrier.key_status().unwrap().term, 2);
        assert_eq!(barrier.key_status().unwrap().install_time, later);
    }
}

/// Counts what each term really encrypted, from everything that was ever written.
fn encryptions(probe: &Probe) -> BTreeMap<u32, u64> {
    let mut counts = BTreeMap::new();
    for (at, value) in &probe.disk.lock().history {
        let plain = at.starts_with(b"core/commit-log/") || at == b"core/barrier/seal";
        if !plain && at != b"core/barrier/keyring" {
            let term = u32::from_be_bytes(value[..4].try_into().unwrap());
            *counts.entry(term).or_default() += 1;
        }
    }
    counts
}

#[tokio::test]
async fn b3_a_term_ends_at_its_bound_whoever_writes() {
    let (probe, barrier, shares) = zone().await;
    barrier.set_rotation_bound(1);
    let writer = |barrier: Barrier, name: usize| async move {
        for n in 0..60 {
            let batch = (0..7).fold(Batch::new(), |b, m| {
                b.put(key(&format!("{name}/{n}/{m}")), "value")
            });
            barrier.commit(batch).await.unwrap();
        }
    };
    let writers: Vec<_> = (0..4)
        .map(|name| tokio::spawn(writer(barrier.clone(), name)))
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let counts = encryptions(&probe);
    assert!(counts.len() > 7, "{counts:?}");
    assert!(counts.values().all(|count| *count <= 256), "{counts:?}");
    let restarted = start(&probe.restart(), 2).await;
    unseal(&restarted, &shares).await;
    for name in 0..4 {
        assert!(
            restarted
                .get(&key(&format!("{name}/59/6")))
                .await
                .unwrap()
                .is_some()
        );
    }
}

#[tokio::test]
async fn b3_a_term_of_several_blocks_ends_at_its_bound_too() {
    let (probe, barrier, _) = zone().await;
    barrier.set_rotation_bound(66_000);
    for n in 0..1200 {
        let batch = (0..58).fold(Batch::new(), |b, m| b.put(key(&format!("{n}/{m}")), ""));
        barrier.commit(batch).await.unwrap();
    }
    let counts = encryptions(&probe);
    assert_eq!(counts.len(), 2);
    assert!((65_537..=66_000).contains(&counts[&1]), "{counts:?}");
}

#[tokio::test]
async fn b3_a_crash_overcounts_and_never_undercounts() {
    let (probe, barrier, shares) = zone().await;
    let mut floor = 0;
    let mut barrier = barrier;
    for round in 0..5 {
        for n in 0..10 {
            put(&barrier, &format!("{round}/{n}")).await;
        }
        let counted = barrier.key_status().unwrap().encryptions;
        assert!(counted >= encryptions(&probe)[&1] && counted >= floor);
        floor = counted;
        // No orderly end: the next process knows only what is on disk.
        barrier = start(&probe.restart(), 2 + round).await;
        unseal(&barrier, &shares).await;
    }
}

#[tokio::test]
async fn rotation_goes_on_beside_writers() {
    let (_, barrier, _) = zone().await;
    let writer = tokio::spawn({
        let barrier = barrier.clone();
        async move {
            for n in 0..200 {
                put(&barrier, &format!("w/{n}")).await;
            }
        }
    });
    for _ in 0..20 {
        barrier.rotate(NOW).await.unwrap();
    }
    writer.await.unwrap();
    for n in 0..200 {
        assert!(reads(&barrier, &format!("w/{n}")).await);
    }
    assert_eq!(barrier.key_status().unwrap().term, 21);
}

#[tokio::test]
async fn two_heads_that_rotate_do_not_lose_a_term() {
    let (probe, first, shares) = zone().await;
    let second = start(&probe, 2).await;
    unseal(&second, &shares).await;
    first.rotate(NOW).await.unwrap();
    put(&first, "x").await;
    drop(first);
    // The second head holds the keyring of before; it reads the new one and goes on from there.
    let second_again = start(&probe, 3).await;
    unseal(&second_again, &shares).await;
    assert_eq!(second_again.rotate(NOW).await.unwrap().term, 3);
    assert!(reads(&second_again, "x").await);
}

/// Runs `work` on an open zone and dies at one write; false if nothing died.
async fn dies<F: Future<Output = ()>>(probe: &Arc<Probe>, work: F) -> bool {
    tokio::select! {
        () = work => false,
        () = probe.death() => true,
    }
}

#[tokio::test]
async fn a_crash_at_any_write_of_a_rotation_leaves_the_old_term_or_the_new() {
    let mut terms = Vec::new();
    for at in 1..4 {
        for cut in [Cut::Before(at), Cut::After(at)] {
            let (disk, first, shares) = zone().await;
            put(&first, "before").await;
            drop(first);
            let dying = Probe::over(disk.disk.clone(), Some(cut));
            let barrier = start(&dying, 2).await;
            unseal(&barrier, &shares).await;
            let died = dies(&dying, async {
                barrier.rotate(NOW).await.unwrap();
                put(&barrier, "after").await;
            });
            if !died.await {
                continue;
            }
            let barrier = start(&disk.restart(), 3).await;
            unseal(&barrier, &shares).await;
            assert!(reads(&barrier, "before").await, "{cut:?}");
            terms.push(barrier.key_status().unwrap().term);
            put(&barrier, "then").await;
            barrier.rotate(NOW).await.unwrap();
            assert!(reads(&barrier, "then").await, "{cut:?}");
        }
    }
    assert_eq!(
        terms[..2],
        [1, 2],
        "before and after the one write of a rotation"
    );
    assert!(terms.len() >= 4 && terms[2..].iter().all(|term| *term == 2));
}

#[tokio::test]
async fn a_crash_at_any_write_of_a_rekey_leaves_one_set_that_opens() {
    let mut opened_by_new = Vec::new();
    for cut in [Cut::Before(1), Cut::After(1), Cut::Before(2)] {
        let probe = Probe::new();
        let first = start(&probe, 1).await;
        let old = init(&first, 3, 2).await;
        put(&first, "x").await;
        drop(first);
        let dying = Probe::over(probe.disk.clone(), Some(cut));
        let barrier = start(&dying, 2).await;
        unseal(&barrier, &old[..2]).await;
        let rekey = crate::common::rekey(&barrier, &old[..2], 2, 2).await;
        let new: Shares = crate::common::shares_of(&rekey);
        dies(&dying, async { barrier.rekey_apply(rekey).await.unwrap() }).await;
        let barrier = start(&probe.restart(), 3).await;
        let by_new = barrier.unseal_share(&new[0], "a", NOW).await.is_ok();
        let by_old = barrier.unseal_share(&old[0], "a", NOW).await.is_ok();
        assert!(by_new != by_old, "{cut:?}");
        unseal(&barrier, if by_new { &new[1..] } else { &old[1..2] }).await;
        assert!(reads(&barrier, "x").await);
        opened_by_new.push(by_new);
    }
    assert_eq!(opened_by_new, [false, true, true]);
}
