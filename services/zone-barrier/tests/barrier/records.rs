//! Reading and writing through the barrier: B1, B2, B3.

use std::sync::atomic::Ordering;

use crate::common::{Counted, NOW, Probe, init, key, start, start_with, unseal, zone};
use zone_barrier::{Barrier, BarrierError, Batch, InitAsk, Quorum, UnsealError};
use zone_ports::KeyRange;

async fn put(barrier: &Barrier, at: &str, value: &str) {
    barrier
        .commit(Batch::new().put(key(at), value))
        .await
        .unwrap();
}

async fn read(barrier: &Barrier, at: &str) -> Option<String> {
    let plain = barrier.get(&key(at)).await.unwrap()?;
    Some(String::from_utf8(plain.value.to_vec()).unwrap())
}

#[tokio::test]
async fn what_is_written_is_read() {
    let (_, barrier, _) = zone().await;
    put(&barrier, "a/1", "one").await;
    let batch = Batch::new()
        .put(key("a/2"), "two")
        .put(key("a/3"), "")
        .delete(key("a/1"));
    let revision = barrier.commit(batch).await.unwrap();
    assert_eq!(read(&barrier, "a/1").await, None);
    assert_eq!(read(&barrier, "a/2").await.as_deref(), Some("two"));
    assert_eq!(read(&barrier, "a/3").await.as_deref(), Some(""));
    assert_eq!(
        barrier.get(&key("a/2")).await.unwrap().unwrap().revision,
        revision
    );
    assert!(barrier.last_revision() >= revision);
}

#[tokio::test]
async fn scans_are_in_order_and_bounded() {
    let (_, barrier, _) = zone().await;
    for name in ["c", "a", "b"] {
        put(&barrier, &format!("list/{name}"), name).await;
    }
    let range = KeyRange::prefix("list/");
    let pairs = barrier.scan(&range, 2).await.unwrap();
    let seen: Vec<_> = pairs
        .iter()
        .map(|(k, v)| (k.clone(), v.value.to_vec()))
        .collect();
    assert_eq!(
        seen,
        [
            (key("list/a"), b"a".to_vec()),
            (key("list/b"), b"b".to_vec())
        ]
    );
    let rest = barrier
        .scan_keys(&range.after(&pairs[1].0), 1000)
        .await
        .unwrap();
    assert_eq!(rest, [key("list/c")]);
    let everything = barrier
        .scan_keys(&KeyRange::prefix("core/"), 1000)
        .await
        .unwrap();
    assert_eq!(
        everything,
        [],
        "records of the barrier and the committer are not shown"
    );
}

#[tokio::test]
async fn the_last_change_of_a_key_counts() {
    let (_, barrier, _) = zone().await;
    let batch = Batch::new()
        .put(key("x"), "old")
        .delete(key("y"))
        .put(key("x"), "new");
    barrier.commit(batch).await.unwrap();
    assert_eq!(read(&barrier, "x").await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_failed_condition_writes_nothing() {
    let (_, barrier, _) = zone().await;
    put(&barrier, "x", "1").await;
    let stale = barrier.get(&key("x")).await.unwrap().unwrap().revision;
    put(&barrier, "x", "2").await;
    for batch in [
        Batch::new()
            .put(key("y"), "3")
            .require(key("x"), Some(stale)),
        Batch::new().put(key("y"), "3").require_absent(key("x")),
    ] {
        let refused = barrier.commit(batch).await;
        assert!(matches!(refused, Err(BarrierError::Conflict)));
    }
    assert_eq!(read(&barrier, "y").await, None);
}

#[tokio::test]
async fn batches_over_the_limits_are_refused() {
    let (_, barrier, _) = zone().await;
    let many = (0..61).fold(Batch::new(), |batch, n| {
        batch.put(key(&format!("k{n}")), "v")
    });
    let large = (0..3).fold(Batch::new(), |b, n| {
        b.put(key(&format!("k{n}")), vec![0; 90_000])
    });
    for batch in [many, large] {
        assert!(matches!(
            barrier.commit(batch).await,
            Err(BarrierError::TooLarge)
        ));
    }
    let full = (0..60).fold(Batch::new(), |batch, n| {
        batch.put(key(&format!("k{n}")), "v")
    });
    barrier.commit(full).await.unwrap();
    for own in ["core/barrier/seal", "core/commit-log/x"] {
        let refused = barrier.commit(Batch::new().delete(key(own))).await;
        assert!(matches!(refused, Err(BarrierError::Reserved)), "{own}");
    }
}

#[tokio::test]
async fn b1_no_value_reaches_the_store_in_the_clear() {
    let (probe, barrier, shares) = zone().await;
    put(&barrier, "path/stays/visible", "canary-7391").await;
    barrier.rotate(NOW).await.unwrap();
    let written = probe.disk.lock().history.clone();
    assert!(written.iter().any(|(key, _)| key == b"path/stays/visible"));
    for (_, value) in &written {
        assert!(!value.windows(11).any(|w| w == b"canary-7391"));
        assert!(!value.windows(16).any(|w| w == &shares[0][..16]));
        let hex = hex::encode(&shares[0]);
        assert!(!value.windows(hex.len()).any(|w| w == hex.as_bytes()));
    }
}

#[tokio::test]
async fn b2_while_sealed_every_call_fails() {
    let (_, barrier, shares) = zone().await;
    put(&barrier, "x", "1").await;
    let rekey = crate::common::rekey(&barrier, &shares, 1, 1).await;
    let approval = crate::common::approved(&barrier, &shares).await;
    barrier.seal();
    let range = KeyRange::prefix("");
    assert!(barrier.is_sealed());
    assert!(matches!(
        barrier.get(&key("x")).await,
        Err(BarrierError::Sealed)
    ));
    assert!(matches!(
        barrier.get(&key("none")).await,
        Err(BarrierError::Sealed)
    ));
    assert!(matches!(
        barrier.scan(&range, 9).await,
        Err(BarrierError::Sealed)
    ));
    assert!(matches!(
        barrier.scan_keys(&range, 9).await,
        Err(BarrierError::Sealed)
    ));
    let batch = Batch::new().put(key("x"), "2");
    assert!(matches!(
        barrier.commit(batch).await,
        Err(BarrierError::Sealed)
    ));
    let large = Batch::new().put(key("x"), vec![0; 200_000]);
    assert!(matches!(
        barrier.commit(large).await,
        Err(BarrierError::Sealed)
    ));
    assert!(matches!(
        barrier.rotate(NOW).await,
        Err(BarrierError::Sealed)
    ));
    assert!(matches!(barrier.key_status(), Err(BarrierError::Sealed)));
    assert!(matches!(
        barrier.collect_chunks().await,
        Err(BarrierError::Sealed)
    ));
    assert!(matches!(
        barrier.snapshot("never".as_ref()).await,
        Err(BarrierError::Sealed)
    ));
    assert!(matches!(
        barrier.rekey_apply(rekey).await,
        Err(BarrierError::Sealed)
    ));
    let ask = InitAsk {
        shares: 1,
        threshold: 1,
    };
    assert!(barrier.rekey_prepare(ask, approval).await.is_err());
    let again = barrier.approve(&mut Quorum::default(), &shares[0]).await;
    assert!(matches!(
        again,
        Err(UnsealError::Barrier(BarrierError::Sealed))
    ));
    assert!(barrier.init_finish().await.is_err());
    unseal(&barrier, &shares).await;
    assert_eq!(read(&barrier, "x").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn b2_sealing_drops_every_key_and_ends_the_epoch() {
    let (probe, memory) = (Probe::new(), Counted::default());
    let barrier = start_with(&probe, 1, memory.clone()).await;
    let held = || memory.0.load(Ordering::SeqCst);
    assert_eq!(held(), 0);
    let shares = init(&barrier, 3, 2).await;
    barrier.rotate(NOW).await.unwrap();
    assert_eq!(held(), 3, "the root key and two terms");
    let epoch = barrier.epoch();
    barrier.seal();
    assert_eq!(held(), 0);
    assert_ne!(barrier.epoch(), epoch);
    barrier.unseal_share(&shares[0], "a", NOW).await.unwrap();
    assert_eq!(held(), 1, "one share");
    barrier.unseal_share(&shares[1], "a", NOW).await.unwrap();
    assert_eq!(held(), 3, "the shares are gone once they served");
    barrier.seal();
    barrier.unseal_share(&shares[2], "a", NOW).await.unwrap();
    barrier.seal();
    assert_eq!(held(), 0, "sealing also ends an attempt");
}

#[tokio::test]
async fn b3_moved_swapped_cut_and_foreign_records_are_corrupt() {
    let (probe, barrier, _) = zone().await;
    put(&barrier, "a", "one").await;
    put(&barrier, "b", "two").await;
    let (a, b) = (probe.raw("a").unwrap(), probe.raw("b").unwrap());
    let corrupt = async |value: &[u8]| {
        probe.forge("a", value);
        let read = barrier.get(&key("a")).await;
        let scan = barrier.scan(&KeyRange::prefix("a"), 9).await;
        assert!(matches!(read, Err(BarrierError::Corrupt)));
        assert!(matches!(scan, Err(BarrierError::Corrupt)));
    };
    corrupt(&b).await;
    corrupt(&a[..a.len() - 1]).await;
    corrupt(b"").await;
    for at in 0..a.len() {
        let mut bent = a.to_vec();
        bent[at] ^= 0x01;
        corrupt(&bent).await;
    }
    let (other, foreign, _) = {
        let probe = Probe::new();
        let barrier = start(&probe, 2).await;
        let shares = init(&barrier, 1, 1).await;
        (probe, barrier, shares)
    };
    put(&foreign, "a", "three").await;
    corrupt(&other.raw("a").unwrap()).await;
    probe.forge("a", &a);
    assert_eq!(read(&barrier, "a").await.as_deref(), Some("one"));
}

#[test]
fn no_bytes_make_a_decoder_panic() {
    use zone_ports::Random;
    let random = crate::common::Seeded::new(9);
    zone_barrier::fuzz_record(b"");
    for len in 0..200 {
        let mut data = vec![0; len];
        random.fill(&mut data);
        zone_barrier::fuzz_record(&data);
        for format in 0..8 {
            if let Some(byte) = data.get_mut(4) {
                *byte = format;
            }
            zone_barrier::fuzz_record(&data);
        }
    }
    let golden = include_str!("../golden/keyring-1.hex").trim();
    let bytes = hex::decode(golden).unwrap();
    for at in 0..bytes.len() {
        let mut bent = bytes.clone();
        bent[at] = !bent[at];
        zone_barrier::fuzz_record(&bent);
    }
}
