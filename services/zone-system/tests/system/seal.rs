//! Opening and closing the zone (B2).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use zone_access::AccessError;
use zone_audit::AuditError;
use zone_ports::Key;
use zone_system::{NewDevice, SystemError};
use zone_types::Secret;

use crate::common::{Head, five_of_three, said};

#[tokio::test]
async fn shares_are_taken_in_each_spelling() {
    let head = Head::new().await;
    let made = head.system.init(five_of_three()).await.unwrap();
    let url_safe = URL_SAFE.encode(STANDARD.decode(&made.shares.keys_base64()[2]).unwrap());
    let spellings = [
        format!(" {}\n", made.shares.keys_hex()[0].to_uppercase()),
        made.shares.keys_base64()[1].clone(),
        url_safe,
    ];
    for (at, share) in spellings.iter().enumerate() {
        let status = head.system.seal_status("10.0.0.1").await.unwrap();
        assert!(status.sealed);
        assert_eq!(usize::from(status.progress), at);
        head.share(share).await.unwrap();
    }
    let status = head.system.seal_status("10.0.0.1").await.unwrap();
    assert!(!status.sealed && status.progress == 0 && status.nonce.is_empty());
    assert_eq!(head.told.times(), (1, 0));
}

#[tokio::test]
async fn a_wrong_share_is_named_and_does_not_enter_the_attempt() {
    let head = Head::new().await;
    let made = head.system.init(five_of_three()).await.unwrap();
    let other = Head::over(zone_testkit::MemStore::new(), 99).await;
    let foreign = other
        .system
        .init(five_of_three())
        .await
        .unwrap()
        .shares
        .keys_hex();
    head.share(&made.shares.keys_hex()[0]).await.unwrap();
    for (share, text) in [
        (foreign[0].as_str(), "not one of this zone"),
        (&"00".repeat(33), "not one of this zone"),
        (
            &"00".repeat(32),
            "a share of this zone has 33 bytes, not 32",
        ),
        ("AAAA", "a share of this zone has 33 bytes, not 3"),
        ("no share at all!", "must be a valid hex or base64 string"),
        ("", "a share of this zone has 33 bytes, not 0"),
        (&"ab".repeat(200), "longer than any key share"),
    ] {
        let shown = said(head.share(share).await);
        assert!(shown.contains(text), "{shown}");
        assert!(
            share.len() < 4 || !shown.contains(share),
            "the value is not shown"
        );
    }
    head.share(&made.shares.keys_hex()[0]).await.unwrap();
    assert_eq!(head.system.seal_status("").await.unwrap().progress, 1);
    head.share(&made.shares.keys_hex()[1]).await.unwrap();
    head.share(&made.shares.keys_hex()[2]).await.unwrap();
    assert!(!head.system.is_sealed());
}

#[tokio::test]
async fn a_reset_drops_the_shares_of_an_attempt() {
    let head = Head::new().await;
    let made = head.system.init(five_of_three()).await.unwrap();
    head.share(&made.shares.keys_hex()[0]).await.unwrap();
    let nonce = head.system.seal_status("10.0.0.1").await.unwrap().nonce;
    head.system.unseal_reset("10.9.9.9", None).await.unwrap();
    assert_eq!(head.system.seal_status("").await.unwrap().progress, 1);
    let guessed = head.system.unseal_reset("10.9.9.9", Some("1")).await;
    assert!(said(guessed).contains("nonce"));
    head.system
        .unseal_reset("10.9.9.9", Some(&nonce))
        .await
        .unwrap();
    assert_eq!(head.system.seal_status("").await.unwrap().progress, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn shares_that_come_at_once_open_the_zone_once() {
    let head = Arc::new(Head::new().await);
    let made = head.system.init(five_of_three()).await.unwrap();
    let shares: Vec<String> = made
        .shares
        .keys_hex()
        .iter()
        .cycle()
        .take(20)
        .cloned()
        .collect();
    let unseals = shares.into_iter().map(|share| {
        let head = head.clone();
        tokio::spawn(async move { head.share(&share).await })
    });
    for unseal in futures::future::join_all(unseals).await {
        unseal.unwrap().unwrap();
    }
    assert!(!head.system.is_sealed());
    assert_eq!(head.told.times(), (1, 0));
    head.record("sys/mounts").await.unwrap();
    let log = std::fs::read_to_string(head.log()).unwrap();
    assert_eq!(log.matches("\"type\":\"epoch\"").count(), 1);
}

#[tokio::test]
async fn b2_sealing_closes_everything() {
    let (head, keys) = Head::unsealed().await;
    let permit = head.permit(&keys).await;
    head.record("sys/seal").await.unwrap();
    head.system.seal(&permit).await.unwrap();

    assert!(head.system.is_sealed() && head.barrier.is_sealed());
    assert_eq!(head.told.times(), (1, 1));
    assert!(head.broker.list().is_empty());
    assert!(matches!(
        head.record("sys/mounts").await,
        Err(AuditError::NoDevice)
    ));
    assert!(matches!(
        head.access.token(keys.root.expose()).await,
        Err(AccessError::Sealed)
    ));
    // A permit from before the seal opens nothing.
    assert!(matches!(
        head.system.rotate(&permit).await,
        Err(SystemError::Sealed)
    ));
    assert!(matches!(
        head.system.key_status(&permit),
        Err(SystemError::Sealed)
    ));
    assert!(matches!(
        head.system.audit_devices(&permit).await,
        Err(SystemError::Sealed)
    ));
    let enabled = head
        .system
        .enable_audit(
            &permit,
            &NewDevice::file("late", "/zone/audit/late.log", ""),
        )
        .await;
    assert!(matches!(enabled, Err(SystemError::Sealed)));
    assert_eq!(head.system.audit_hash(&permit, "file", "x").unwrap(), None);
    assert!(!head.logs().join("late.log").exists());
    assert!(
        !head.system.round(true).await.unwrap(),
        "no work while sealed"
    );

    head.open(&keys).await;
    assert_eq!(head.told.times(), (2, 1));
    head.permit_of(&keys.root, "sys/mounts/x").await.unwrap();
    head.record("sys/mounts").await.unwrap();
    let key = Secret::new(keys.shares[4].clone());
    head.system.unseal(&key, "x").await.unwrap();
    assert_eq!(
        head.told.times(),
        (2, 1),
        "a share for an open zone opens nothing"
    );
}

#[tokio::test]
async fn b2_an_unseal_that_cannot_open_every_service_leaves_nothing_open() {
    let (head, keys) = Head::unsealed().await;
    head.system.close().await;
    let record = Key::new("core/audit/file").unwrap();
    head.store.forge(&record, "rubbish");
    for share in &keys.shares[..2] {
        head.share(share).await.unwrap();
    }
    let opened = head.share(&keys.shares[2]).await;
    assert!(matches!(opened, Err(SystemError::Barrier(_))), "{opened:?}");
    assert!(head.system.is_sealed() && head.barrier.is_sealed());
    assert!(head.broker.list().is_empty());
    assert!(head.access.token(keys.root.expose()).await.is_err());
    assert_eq!(
        head.told.times(),
        (1, 2),
        "no service is told that it may begin"
    );
}

#[tokio::test]
async fn rotation_begins_a_new_term() {
    let (head, keys) = Head::unsealed().await;
    let permit = head.permit(&keys).await;
    assert_eq!(head.system.key_status(&permit).unwrap().term, 1);
    assert_eq!(head.system.rotate(&permit).await.unwrap().term, 2);
    head.system.close().await;
    head.open(&keys).await;
    let permit = head.permit(&keys).await;
    assert_eq!(head.system.key_status(&permit).unwrap().term, 2);
}
