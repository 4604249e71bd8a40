//! Making a zone, and dying while making it.

use std::sync::Arc;

use crate::common::{Cut, NOW, Probe, Shares, init, key, start, unseal, zone};
use zone_barrier::{Barrier, BarrierError, Batch, InitAsk, InitError};

const ASK: InitAsk = InitAsk {
    shares: 5,
    threshold: 3,
};

#[tokio::test]
async fn a_new_zone_opens_with_any_threshold_of_its_shares() {
    let probe = Probe::new();
    let barrier = start(&probe, 1).await;
    assert!(!barrier.is_initialised().await.unwrap());
    let shares = init(&barrier, 5, 3).await;
    assert!(shares.iter().all(|share| share.len() == 33));
    assert!(barrier.is_initialised().await.unwrap());
    barrier
        .commit(Batch::new().put(key("x"), "1"))
        .await
        .unwrap();
    for picked in [[0, 1, 2], [4, 2, 0], [1, 3, 4]] {
        let barrier = start(&probe.restart(), 2).await;
        let picked: Shares = picked
            .iter()
            .map(|at: &usize| shares[*at].clone())
            .collect();
        unseal(&barrier, &picked).await;
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
async fn one_share_of_one_has_32_bytes_as_in_vault() {
    let (_, _, shares) = zone().await;
    assert_eq!(shares.len(), 1);
    assert_eq!(shares[0].len(), 32);
}

#[tokio::test]
async fn impossible_numbers_are_refused() {
    let barrier = start(&Probe::new(), 1).await;
    for (shares, threshold) in [(0, 0), (1, 0), (3, 4), (3, 1), (0, 1)] {
        let refused = barrier
            .init_prepare(InitAsk { shares, threshold }, NOW)
            .await;
        assert!(
            matches!(refused, Err(InitError::Numbers(_))),
            "{shares} {threshold}"
        );
    }
    assert_eq!(init(&barrier, 255, 255).await.len(), 255);
}

#[tokio::test]
async fn a_zone_is_made_once() {
    let (probe, barrier, _) = zone().await;
    let again = barrier.init_prepare(ASK, NOW).await;
    assert!(matches!(again, Err(InitError::Initialised)));
    let restarted = start(&probe.restart(), 2).await;
    let again = restarted.init_prepare(ASK, NOW).await;
    assert!(matches!(again, Err(InitError::Initialised)));
}

#[tokio::test]
async fn one_init_at_a_time() {
    let barrier = start(&Probe::new(), 1).await;
    assert!(matches!(
        barrier.init_finish().await,
        Err(InitError::NotRunning)
    ));
    let (first, second) = tokio::join!(
        barrier.init_prepare(ASK, NOW),
        barrier.init_prepare(ASK, NOW)
    );
    assert!(first.is_ok());
    assert!(matches!(second, Err(InitError::Running)));
    barrier.init_finish().await.unwrap();
    assert!(matches!(
        barrier.init_finish().await,
        Err(InitError::NotRunning)
    ));
}

#[tokio::test]
async fn an_init_that_is_dropped_is_given_up() {
    let probe = Probe::new();
    let barrier = start(&probe, 1).await;
    let prepared = barrier.init_prepare(ASK, NOW).await.unwrap();
    assert!(!barrier.is_sealed(), "open for the bootstrap of services");
    barrier
        .commit(Batch::new().put(key("left/over"), "1"))
        .await
        .unwrap();
    drop(prepared);
    assert!(barrier.is_sealed());
    assert!(matches!(
        barrier.init_finish().await,
        Err(InitError::NotRunning)
    ));
    init(&barrier, 1, 1).await;
    assert_eq!(probe.keys("left/"), Vec::<String>::new());
}

#[tokio::test]
async fn a_store_of_somebody_else_is_not_wiped() {
    let (probe, _, _) = zone().await;
    probe
        .disk
        .lock()
        .records
        .remove(b"core/barrier/seal".as_slice());
    let before = probe.keys("").len();
    let barrier = start(&probe.restart(), 2).await;
    assert!(matches!(
        barrier.init_prepare(ASK, NOW).await,
        Err(InitError::Foreign)
    ));
    assert_eq!(probe.keys("").len(), before);
}

#[tokio::test]
async fn more_leftovers_than_a_batch_holds_are_wiped() {
    let probe = Probe::new();
    let barrier = start(&probe, 1).await;
    let prepared = barrier.init_prepare(ASK, NOW).await.unwrap();
    for n in 0..150 {
        barrier
            .commit(Batch::new().put(key(&format!("left/{n}")), "1"))
            .await
            .unwrap();
    }
    drop(prepared);
    init(&barrier, 1, 1).await;
    assert_eq!(probe.keys("left/"), Vec::<String>::new());
}

/// A whole init with a bootstrap of two groups between its steps.
async fn init_with_bootstrap(barrier: &Barrier, shares: &parking_lot::Mutex<Shares>) {
    let prepared = barrier.init_prepare(ASK, NOW).await.unwrap();
    *shares.lock() = prepared
        .shares
        .iter()
        .map(|share| share.expose().clone())
        .collect();
    for n in 0..2 {
        barrier
            .commit(Batch::new().put(key(&format!("boot/{n}")), "1"))
            .await
            .unwrap();
    }
    barrier.init_finish().await.unwrap();
}

/// Dies at one write; true if init came to its end instead.
async fn dying_init(probe: &Arc<Probe>, shares: &parking_lot::Mutex<Shares>) -> bool {
    let barrier = start(probe, 1).await;
    tokio::select! {
        () = init_with_bootstrap(&barrier, shares) => true,
        () = probe.death() => false,
    }
}

#[tokio::test]
async fn a_crash_at_any_write_of_init_leaves_a_zone_or_none() {
    let (mut made, mut undone) = (0, 0);
    for at in 1..12 {
        for cut in [Cut::Before(at), Cut::After(at)] {
            let shares = parking_lot::Mutex::default();
            let probe = Probe::over(Arc::default(), Some(cut));
            if dying_init(&probe, &shares).await {
                continue;
            }
            let restarted = probe.restart();
            let barrier = start(&restarted, 2).await;
            if barrier.is_initialised().await.unwrap() {
                made += 1;
                let shares = shares.lock().clone();
                unseal(&barrier, &shares[..3]).await;
                assert!(barrier.get(&key("boot/1")).await.unwrap().is_some());
            } else {
                undone += 1;
                let shares = init(&barrier, 5, 3).await;
                assert_eq!(probe.keys("boot/"), Vec::<String>::new(), "{cut:?}");
                barrier.seal();
                unseal(&barrier, &shares[2..]).await;
            }
        }
    }
    assert_eq!(made, 1, "only the very last write makes a zone");
    assert!(undone >= 7, "{undone}");
}

/// The wipe itself may be cut too.
#[tokio::test]
async fn a_crash_while_leftovers_are_wiped_is_no_harm() {
    for at in 1..8 {
        for cut in [Cut::Before(at), Cut::After(at)] {
            let probe = Probe::new();
            let first = start(&probe, 1).await;
            let prepared = first.init_prepare(ASK, NOW).await.unwrap();
            for n in 0..130 {
                first
                    .commit(Batch::new().put(key(&format!("left/{n}")), "1"))
                    .await
                    .unwrap();
            }
            std::mem::forget(prepared.attempt);
            let shares = parking_lot::Mutex::default();
            let dying = Probe::over(probe.disk.clone(), Some(cut));
            dying_init(&dying, &shares).await;
            let barrier = start(&probe.restart(), 3).await;
            if barrier.is_initialised().await.unwrap() {
                let shares = shares.lock().clone();
                unseal(&barrier, &shares[..3]).await;
            } else {
                init(&barrier, 1, 1).await;
            }
            assert_eq!(probe.keys("left/"), Vec::<String>::new(), "{cut:?}");
        }
    }
}

#[tokio::test]
async fn a_zone_that_was_not_finished_does_not_open() {
    let probe = Probe::new();
    let barrier = start(&probe, 1).await;
    let prepared = barrier
        .init_prepare(
            InitAsk {
                shares: 1,
                threshold: 1,
            },
            NOW,
        )
        .await
        .unwrap();
    let share = prepared.shares[0].expose().clone();
    let restarted = start(&probe.restart(), 2).await;
    let refused = restarted.unseal_share(&share, "a", NOW).await;
    assert!(matches!(
        refused,
        Err(zone_barrier::UnsealError::NotInitialised)
    ));
    assert!(matches!(
        restarted.get(&key("x")).await,
        Err(BarrierError::Sealed)
    ));
    let status = restarted.seal_status("a").await.unwrap();
    assert!(!status.initialised && status.progress.sealed);
}
