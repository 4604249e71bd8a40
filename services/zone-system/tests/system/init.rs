//! Making a zone, and what a failure or a crash at each of its writes leaves.

use age::x25519::Identity;
use zone_system::{InitOptions, SystemError};
use zone_testkit::{Fault, MemStore};
use zone_types::Secret;

use crate::common::{Head, Keys, five_of_three, said};

#[tokio::test]
async fn init_hands_out_shares_and_a_token_and_leaves_the_zone_sealed() {
    let head = Head::new().await;
    let status = head.system.seal_status("").await.unwrap();
    assert!(!status.initialized && status.sealed && status.zone_id.is_empty());
    assert!(matches!(
        head.share(&"ab".repeat(33)).await,
        Err(SystemError::NotInitialised)
    ));
    let made = head.system.init(five_of_three()).await.unwrap();
    assert_eq!(
        format!("{made:?}"),
        "Initialised { shares: 5 shares, root: [redacted] }"
    );
    let (hex, base64) = (made.shares.keys_hex(), made.shares.keys_base64());
    assert_eq!((hex.len(), base64.len()), (5, 5));
    assert!(hex.iter().all(|share| share.len() == 66));
    assert!(base64.iter().all(|share| share.len() == 44));
    assert!(made.shares.encrypted().is_none() && made.root_token().starts_with("hvs."));
    let keys = Keys::from(made);

    let status = head.system.seal_status("").await.unwrap();
    assert!(status.initialized && status.sealed && head.system.is_sealed());
    assert!(head.barrier.is_sealed(), "init leaves no key in memory");
    assert_eq!(
        (status.shares, status.threshold, status.progress),
        (5, 3, 0)
    );
    assert_eq!(status.zone_id.len(), 36);
    assert!(head.permit_of(&keys.root, "sys/mounts").await.is_err());
    assert!(matches!(
        head.system.init(five_of_three()).await,
        Err(SystemError::AlreadyInitialised)
    ));
    works(&head, &keys).await;
    assert!(matches!(
        head.system.init(five_of_three()).await,
        Err(SystemError::AlreadyInitialised)
    ));
    assert!(!head.system.is_sealed(), "a second init changes nothing");
}

#[tokio::test]
async fn numbers_of_shares_that_do_not_fit_are_refused() {
    let head = Head::new().await;
    for (shares, threshold) in [(0, 0), (5, 0), (5, 1), (5, 6), (1, 2), (0, 3)] {
        let options = InitOptions {
            shares,
            threshold,
            age_recipients: Vec::new(),
        };
        let text = said(head.system.init(options).await);
        assert!(!text.is_empty(), "{shares}/{threshold}");
    }
    assert_eq!(head.store.applies(), 0, "nothing was written");
    let one = InitOptions {
        shares: 1,
        threshold: 1,
        age_recipients: Vec::new(),
    };
    let keys = Keys::from(head.system.init(one).await.unwrap());
    assert_eq!(keys.shares[0].len(), 64);
    head.share(&keys.shares[0]).await.unwrap();
    assert!(!head.system.is_sealed());
}

#[tokio::test]
async fn each_share_is_encrypted_to_its_recipient() {
    let people = [
        Identity::generate(),
        Identity::generate(),
        Identity::generate(),
    ];
    let recipients = || people.iter().map(|one| one.to_public().to_string());
    let ask = |recipients: Vec<String>| InitOptions {
        shares: 3,
        threshold: 2,
        age_recipients: recipients,
    };
    let head = Head::new().await;
    for wrong in [
        recipients().take(2).collect(),
        recipients().cycle().take(4).collect(),
    ] {
        let text = said(head.system.init(ask(wrong)).await);
        assert!(
            text.contains("exactly one recipient for each share"),
            "{text}"
        );
    }
    let mut bent: Vec<String> = recipients().collect();
    bent[2] = "age1notakey".into();
    let text = said(head.system.init(ask(bent)).await);
    assert!(
        text.contains("age_recipients") && !text.contains("notakey"),
        "{text}"
    );
    assert!(head.barrier.is_sealed());

    let made = head.system.init(ask(recipients().collect())).await.unwrap();
    let files = made.shares.encrypted().unwrap();
    let shares: Vec<String> = people
        .iter()
        .zip(&files)
        .map(|(one, file)| String::from_utf8(age::decrypt(one, file.as_bytes()).unwrap()).unwrap())
        .collect();
    assert!(age::decrypt(&people[0], files[1].as_bytes()).is_err());
    for shown in made
        .shares
        .keys_hex()
        .iter()
        .chain(&made.shares.keys_base64())
    {
        assert!(shares.iter().all(|share| !shown.contains(share)));
    }
    for share in &shares[1..] {
        head.share(share).await.unwrap();
    }
    assert!(!head.system.is_sealed());
}

/// Unseals with any three shares and asks for a permit with the token.
async fn works(head: &Head, keys: &Keys) {
    for at in [4, 0, 2] {
        assert!(head.system.is_sealed());
        head.share(&keys.shares[at]).await.unwrap();
    }
    assert!(!head.system.is_sealed());
    head.permit_of(&keys.root, "sys/mounts/x").await.unwrap();
    head.record("sys/mounts/x").await.unwrap();
}

/// Writes of an init, and what it hands out, if nothing goes wrong.
async fn undisturbed(store: MemStore, seed: u64) -> (u64, Keys) {
    let before = store.applies();
    let head = Head::over(store.clone(), seed).await;
    let keys = Keys::from(head.system.init(five_of_three()).await.unwrap());
    (store.applies() - before, keys)
}

#[tokio::test]
async fn a_failure_at_any_write_can_be_tried_again_at_once() {
    let (writes, _) = undisturbed(MemStore::new(), 1).await;
    for nth in 1..=writes {
        for fault in [Fault::Full, Fault::Lost] {
            let head = Head::new().await;
            head.store.fail_at(nth, fault);
            if head.system.init(five_of_three()).await.is_ok() {
                // The committer wrote again what was lost.
                assert_eq!(fault, Fault::Lost);
                continue;
            }
            assert!(
                head.barrier.is_sealed() && head.system.is_sealed(),
                "write {nth}"
            );
            let status = head.system.seal_status("").await.unwrap();
            assert!(!status.initialized, "write {nth}");
            let keys = Keys::from(head.system.init(five_of_three()).await.unwrap());
            works(&head, &keys).await;
        }
    }
}

/// Cuts an init over `store` at its `nth` write. The store that is left.
async fn cut(store: &MemStore, seed: u64, nth: u64, fault: Fault) -> MemStore {
    let head = Head::over(store.crash_image(), seed).await;
    head.store.fail_at(nth, fault);
    tokio::select! {
        _ = head.system.init(five_of_three()) => panic!("init has {nth} writes"),
        () = head.store.died() => {}
    }
    head.store.crash_image()
}

/// After a crash before the end: a new zone can be made. After one at the very end: the zone is
/// whole, and what init was about to hand out opens it.
async fn sweep(store: &MemStore) {
    let (writes, lost) = undisturbed(store.crash_image(), 7).await;
    for nth in 1..=writes {
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            let left = cut(store, 7, nth, fault).await;
            let next = Head::over(left, 8).await;
            if next.system.seal_status("").await.unwrap().initialized {
                assert_eq!((nth, fault), (writes, Fault::CrashAfter));
                works(&next, &lost).await;
                continue;
            }
            let keys = Keys::from(next.system.init(five_of_three()).await.unwrap());
            assert!(
                next.share(&lost.shares[0]).await.is_err(),
                "a share of the lost zone"
            );
            works(&next, &keys).await;
            let stale = Secret::new(lost.root.expose().clone());
            assert!(next.permit_of(&stale, "sys/mounts/x").await.is_err());
        }
    }
}

#[tokio::test]
async fn a_crash_at_any_write_leaves_nothing_or_a_whole_zone() {
    sweep(&MemStore::new()).await;
}

#[tokio::test]
async fn a_crash_while_leftovers_are_removed_leaves_nothing_or_a_whole_zone() {
    let (writes, _) = undisturbed(MemStore::new(), 3).await;
    let leftovers = cut(&MemStore::new(), 3, writes, Fault::CrashBefore).await;
    assert!(leftovers.keys().len() > 5);
    sweep(&leftovers).await;
}

#[tokio::test]
async fn an_init_that_is_dropped_half_way_leaves_no_key_in_memory() {
    let head = Head::new().await;
    let (writes, _) = undisturbed(MemStore::new(), 1).await;
    head.store.fail_at(writes, Fault::CrashBefore);
    tokio::select! {
        _ = head.system.init(five_of_three()) => panic!("the power goes"),
        () = head.store.died() => {}
    }
    assert!(head.barrier.is_sealed() && head.system.is_sealed());
}
