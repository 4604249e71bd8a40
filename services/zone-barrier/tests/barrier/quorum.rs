//! Shares that are gathered while the zone is open.

use zone_barrier::{Quorum, ShareNumbers, UnsealError};

use crate::common::{Probe, init, rekey, shares_of, start, unseal};

/// A zone of three shares of which two open it, open.
async fn open() -> (std::sync::Arc<Probe>, zone_barrier::Barrier, Vec<Vec<u8>>) {
    let probe = Probe::new();
    let barrier = start(&probe, 1).await;
    let shares = init(&barrier, 3, 2).await;
    if barrier.is_sealed() {
        unseal(&barrier, &shares[..2]).await;
    }
    (probe, barrier, shares)
}

#[tokio::test]
async fn attack_4_only_different_right_shares_count() {
    let (_probe, barrier, shares) = open().await;
    let numbers = barrier.share_numbers().await.unwrap();
    assert_eq!(
        numbers,
        ShareNumbers {
            shares: 3,
            threshold: 2
        }
    );
    let mut quorum = Quorum::default();
    let none = barrier.approve(&mut quorum, &shares[0]).await.unwrap();
    assert!(none.is_none());
    for _ in 0..3 {
        let again = barrier.approve(&mut quorum, &shares[0]).await.unwrap();
        assert!(again.is_none(), "the same share twice");
    }
    let mut wrong = shares[1].clone();
    wrong[0] ^= 1;
    assert!(matches!(
        barrier.approve(&mut quorum, &wrong).await,
        Err(UnsealError::WrongShare)
    ));
    assert!(matches!(
        barrier.approve(&mut quorum, b"short").await,
        Err(UnsealError::NotAShare { .. })
    ));
    assert_eq!(quorum.progress(), 1, "what was wrong spoils nothing");
    let approval = barrier.approve(&mut quorum, &shares[2]).await.unwrap();
    assert!(approval.is_some());
    assert_eq!(quorum.progress(), 0, "the shares are not kept");
}

#[tokio::test]
async fn a_quorum_of_before_a_rekey_counts_no_more() {
    let (_probe, barrier, shares) = open().await;
    let mut quorum = Quorum::default();
    barrier.approve(&mut quorum, &shares[0]).await.unwrap();
    let next = rekey(&barrier, &shares, 2, 2).await;
    let new = shares_of(&next);
    barrier.rekey_apply(next).await.unwrap();
    assert!(matches!(
        barrier.approve(&mut quorum, &shares[1]).await,
        Err(UnsealError::OutdatedShare)
    ));
    let first = barrier.approve(&mut quorum, &new[0]).await.unwrap();
    assert!(first.is_none(), "the outdated share beside it is gone");
    let second = barrier.approve(&mut quorum, &new[1]).await.unwrap();
    assert!(second.is_some());
}

#[tokio::test]
async fn new_shares_are_confirmed_before_they_count() {
    let (_probe, barrier, shares) = open().await;
    let next = rekey(&barrier, &shares, 3, 2).await;
    let new = shares_of(&next);
    let mut quorum = Quorum::default();
    let old = barrier.confirm(&mut quorum, &next, &shares[0]);
    assert!(matches!(old, Err(UnsealError::OutdatedShare)));
    assert!(
        barrier
            .confirm(&mut quorum, &next, &new[2])
            .unwrap()
            .is_none()
    );
    assert!(
        barrier
            .confirm(&mut quorum, &next, &new[2])
            .unwrap()
            .is_none()
    );
    assert!(
        barrier
            .confirm(&mut quorum, &next, &new[0])
            .unwrap()
            .is_some()
    );
    // Until it is applied the old ones open the zone.
    barrier.seal();
    unseal(&barrier, &shares[1..]).await;
    barrier.rekey_apply(next).await.unwrap();
    barrier.seal();
    unseal(&barrier, &new[..2]).await;
}
