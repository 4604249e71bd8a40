//! Shares from the right people and from strangers (attack 4).

use std::sync::atomic::Ordering;

use crate::common::{Counted, NOW, Probe, Shares, init, key, start, start_with, unseal};
use zone_barrier::{Barrier, BarrierError, Batch, UnsealError, UnsealProgress};

async fn sealed() -> (std::sync::Arc<Probe>, Barrier, Shares) {
    let probe = Probe::new();
    let barrier = start(&probe, 1).await;
    let shares = init(&barrier, 5, 3).await;
    barrier.seal();
    (probe, barrier, shares)
}

async fn give(barrier: &Barrier, share: &[u8], client: &str) -> UnsealProgress {
    barrier.unseal_share(share, client, NOW).await.unwrap()
}

async fn refusal(barrier: &Barrier, share: &[u8]) -> UnsealError {
    barrier
        .unseal_share(share, "stranger", NOW)
        .await
        .unwrap_err()
}

#[tokio::test]
async fn progress_counts_to_the_threshold() {
    let (_, barrier, shares) = sealed().await;
    let first = give(&barrier, &shares[0], "a").await;
    assert_eq!(
        (first.sealed, first.t, first.n, first.progress),
        (true, 3, 5, 1)
    );
    assert_eq!(first.nonce.len(), 36);
    let second = give(&barrier, &shares[3], "b").await;
    assert_eq!((second.progress, &second.nonce), (2, &first.nonce));
    let last = give(&barrier, &shares[1], "a").await;
    let open = UnsealProgress {
        sealed: false,
        t: 3,
        n: 5,
        progress: 0,
        nonce: String::new(),
    };
    assert_eq!(last, open);
    assert!(!barrier.is_sealed());
    assert_eq!(
        give(&barrier, &[0; 33], "a").await,
        open,
        "an open zone takes no shares"
    );
}

#[tokio::test]
async fn the_same_share_twice_counts_once() {
    let (_, barrier, shares) = sealed().await;
    give(&barrier, &shares[0], "a").await;
    for client in ["a", "b"] {
        assert_eq!(give(&barrier, &shares[0], client).await.progress, 1);
    }
}

#[tokio::test]
async fn attack_4_a_bad_share_is_refused_and_named_and_spoils_nothing() {
    let (_, barrier, shares) = sealed().await;
    give(&barrier, &shares[0], "a").await;
    give(&barrier, &shares[1], "a").await;
    let mut bent = shares[2].clone();
    bent[7] ^= 1;
    assert!(matches!(
        refusal(&barrier, &bent).await,
        UnsealError::WrongShare
    ));
    let mut moved = shares[2].clone();
    moved[32] ^= 1;
    assert!(matches!(
        refusal(&barrier, &moved).await,
        UnsealError::WrongShare
    ));
    for len in [0, 1, 32, 34, 10_000] {
        let refused = refusal(&barrier, &vec![1; len]).await;
        let named = matches!(
            refused,
            UnsealError::NotAShare { expected: 33, found } if found == len
        );
        assert!(named, "{len}");
    }
    assert_eq!(barrier.seal_status("a").await.unwrap().progress.progress, 2);
    assert!(!give(&barrier, &shares[2], "a").await.sealed);
}

#[tokio::test]
async fn attack_4_strangers_leave_nothing_in_memory() {
    let (probe, memory) = (Probe::new(), Counted::default());
    let barrier = start_with(&probe, 1, memory.clone()).await;
    let shares = init(&barrier, 5, 3).await;
    barrier.seal();
    for n in 0..100u8 {
        refusal(&barrier, &[n; 33]).await;
    }
    assert_eq!(memory.0.load(Ordering::SeqCst), 0);
    give(&barrier, &shares[0], "a").await;
    assert_eq!(memory.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn attack_4_a_reset_without_the_nonce_drops_ones_own_shares_only() {
    let (_, barrier, shares) = sealed().await;
    let nonce = give(&barrier, &shares[0], "operator").await.nonce;
    give(&barrier, &shares[1], "stranger").await;
    assert_eq!(barrier.reset("passer-by", None).await.unwrap().progress, 2);
    assert_eq!(barrier.reset("stranger", None).await.unwrap().progress, 1);
    let wrong = barrier.reset("stranger", Some("not-the-nonce")).await;
    assert!(matches!(wrong, Err(UnsealError::WrongNonce)));
    assert!(matches!(
        barrier.reset("x", Some("")).await,
        Err(UnsealError::WrongNonce)
    ));
    assert_eq!(
        barrier
            .seal_status("operator")
            .await
            .unwrap()
            .progress
            .progress,
        1
    );
    assert_eq!(
        barrier
            .reset("elsewhere", Some(&nonce))
            .await
            .unwrap()
            .progress,
        0
    );
    give(&barrier, &shares[0], "operator").await;
    assert_eq!(barrier.reset_all().await.unwrap().progress, 0);
}

#[tokio::test]
async fn attack_4_only_those_who_gave_a_share_learn_the_nonce() {
    let (_, barrier, shares) = sealed().await;
    let first = give(&barrier, &shares[0], "a").await.nonce;
    let nonce = async |client| barrier.seal_status(client).await.unwrap().progress.nonce;
    assert_eq!(nonce("a").await, first);
    assert_eq!(nonce("b").await, "");
    barrier.reset("a", None).await.unwrap();
    let second = give(&barrier, &shares[0], "a").await.nonce;
    assert_ne!(
        first, second,
        "an attempt that begins anew has a nonce of its own"
    );
    barrier.reset_all().await.unwrap();
    assert_eq!(nonce("a").await, "");
    assert!(matches!(
        barrier.reset("a", Some("")).await,
        Err(UnsealError::WrongNonce)
    ));
}

#[tokio::test]
async fn outdated_shares_are_named_after_a_rekey() {
    let (probe, barrier, old) = sealed().await;
    unseal(&barrier, &old[..3]).await;
    barrier
        .commit(Batch::new().put(key("x"), "1"))
        .await
        .unwrap();
    let rekey = crate::common::rekey(&barrier, &old[..3], 3, 2).await;
    let new: Shares = crate::common::shares_of(&rekey);
    barrier.rekey_apply(rekey).await.unwrap();
    barrier.rotate(NOW).await.unwrap();
    for barrier in [barrier, start(&probe.restart(), 2).await] {
        barrier.seal();
        assert!(matches!(
            refusal(&barrier, &old[0]).await,
            UnsealError::OutdatedShare
        ));
        unseal(&barrier, &new[1..]).await;
        assert_eq!(
            barrier
                .get(&key("x"))
                .await
                .unwrap()
                .unwrap()
                .value
                .as_slice(),
            b"1"
        );
    }
}

#[tokio::test]
async fn a_rekey_ends_the_attempts_of_before() {
    let (_, barrier, old) = sealed().await;
    unseal(&barrier, &old[..3]).await;
    let first = crate::common::rekey(&barrier, &old[..3], 1, 1).await;
    let second = crate::common::rekey(&barrier, &old[..3], 1, 1).await;
    barrier.rekey_apply(first).await.unwrap();
    let late = barrier.rekey_apply(second).await;
    assert!(matches!(late, Err(BarrierError::Conflict)));
}

/// Nobody who asks for the seal makes an open zone read its store, and none needs it to answer.
#[tokio::test]
async fn the_seal_is_told_while_the_store_is_away() {
    let probe = Probe::new();
    let barrier = start(&probe, 1).await;
    probe.away.store(true, Ordering::Relaxed);
    let unknown = barrier.seal_status("a").await;
    assert!(matches!(unknown, Err(BarrierError::Store(_))));
    probe.away.store(false, Ordering::Relaxed);
    let old = init(&barrier, 5, 3).await;
    let rekey = crate::common::rekey(&barrier, &old[..3], 3, 2).await;
    barrier.rekey_apply(rekey).await.unwrap();
    let reads = probe.reads.load(Ordering::Relaxed);
    let open = barrier.seal_status("a").await.unwrap();
    assert_eq!((open.progress.n, open.progress.t), (3, 2));
    assert!(open.initialised && !open.progress.sealed);
    assert_eq!(probe.reads.load(Ordering::Relaxed), reads);
    barrier.seal();
    probe.away.store(true, Ordering::Relaxed);
    let sealed = barrier.seal_status("a").await.unwrap();
    assert_eq!((sealed.progress.n, sealed.progress.t), (3, 2));
    assert!(sealed.initialised && sealed.progress.sealed);
    let share = barrier.unseal_share(&old[0], "a", NOW).await;
    assert!(matches!(
        share,
        Err(UnsealError::Barrier(BarrierError::Store(_)))
    ));
}

#[tokio::test]
async fn tampering_with_the_seal_record_is_corrupt_not_open() {
    let (probe, barrier, shares) = sealed().await;
    let raw = probe.raw("core/barrier/seal").unwrap();
    let text = std::str::from_utf8(&raw).unwrap();
    let lower = text.replace("\"threshold\":3", "\"threshold\":2");
    assert_ne!(lower, text);
    probe.forge("core/barrier/seal", lower.as_bytes());
    give(&barrier, &shares[0], "a").await;
    let opened = barrier.unseal_share(&shares[1], "a", NOW).await;
    assert!(matches!(
        opened,
        Err(UnsealError::Barrier(BarrierError::Corrupt))
    ));
    assert!(barrier.is_sealed());
    for bytes in [b"".as_slice(), b"{}", &raw[..raw.len() - 1]] {
        probe.forge("core/barrier/seal", bytes);
        assert!(matches!(
            barrier.seal_status("a").await,
            Err(BarrierError::Corrupt)
        ));
    }
    probe.forge("core/barrier/seal", &raw);
    unseal(&barrier, &shares[..3]).await;
}

#[tokio::test]
async fn a_keyring_of_another_zone_or_time_does_not_open() {
    let (probe, barrier, shares) = sealed().await;
    let other = Probe::new();
    init(&start(&other, 2).await, 1, 1).await;
    let (ring, count) = ("core/barrier/keyring", "core/barrier/count");
    let mut nonces = std::collections::HashSet::new();
    let (good_ring, good_count) = (probe.raw(ring).unwrap(), probe.raw(count).unwrap());
    for (at, value) in [
        (ring, other.raw(ring).unwrap()),
        (count, other.raw(count).unwrap()),
        (ring, good_count.clone()),
        (count, good_ring.clone()),
    ] {
        probe.forge(at, &value);
        let nonce = give(&barrier, &shares[0], "a").await.nonce;
        assert!(nonces.insert(nonce), "a failed attempt is over");
        give(&barrier, &shares[1], "a").await;
        let opened = barrier.unseal_share(&shares[2], "a", NOW).await;
        assert!(
            matches!(opened, Err(UnsealError::Barrier(BarrierError::Corrupt))),
            "{at}"
        );
        assert_eq!(barrier.seal_status("a").await.unwrap().progress.progress, 0);
        probe.forge(ring, &good_ring);
        probe.forge(count, &good_count);
    }
    unseal(&barrier, &shares[..3]).await;
}

#[tokio::test]
async fn shares_that_come_at_once_open_the_zone_once() {
    let (_, barrier, shares) = sealed().await;
    let epoch = barrier.epoch();
    let gives = shares
        .iter()
        .map(|share| barrier.unseal_share(share, "a", NOW));
    let [a, b, c, d, e] = <[_; 5]>::try_from(gives.collect::<Vec<_>>()).ok().unwrap();
    let all = tokio::join!(a, b, c, d, e);
    assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok() && all.3.is_ok() && all.4.is_ok());
    assert!(!barrier.is_sealed());
    assert_eq!(barrier.epoch(), epoch + 1);
}

#[tokio::test]
async fn unsealing_reads_the_same_number_of_records_whatever_the_zone_holds() {
    let mut counts = Vec::new();
    for records in [0, 3000] {
        let probe = Probe::new();
        let barrier = start(&probe, 1).await;
        let shares = init(&barrier, 1, 1).await;
        for n in 0..records / 50 {
            let batch = (0..50).fold(Batch::new(), |batch, m| {
                batch.put(key(&format!("data/{n}/{m}")), "value")
            });
            barrier.commit(batch).await.unwrap();
            if n % 20 == 0 {
                barrier.rotate(NOW).await.unwrap();
            }
        }
        let restarted = probe.restart();
        let barrier = start(&restarted, 2).await;
        let before = restarted.reads.load(Ordering::Relaxed);
        unseal(&barrier, &shares).await;
        counts.push(restarted.reads.load(Ordering::Relaxed) - before);
    }
    assert_eq!(counts, [4, 4], "seal record, keyring, count, first chunk");
}
