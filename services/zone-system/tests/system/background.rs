//! Background work: a failing store delays it and never ends it.

use std::time::Duration;

use zone_access::CreateToken;
use zone_ports::Key;
use zone_testkit::Fault;

use crate::common::{Head, Keys};

/// Makes a token that lives for a minute.
async fn short_token(head: &Head, keys: &Keys) -> String {
    let permit = head.permit_of(&keys.root, "auth/token/create").await;
    let ask = CreateToken {
        ttl: 60,
        ..CreateToken::default()
    };
    let made = head.access.create_token(&permit.unwrap(), ask).await;
    made.unwrap().entry.id.as_str().to_owned()
}

fn stored(head: &Head, token: &str) -> bool {
    let keys = head.store.keys();
    let mut texts = keys
        .iter()
        .map(|key| String::from_utf8_lossy(key.as_bytes()));
    texts.any(|key| key.ends_with(&format!("/token/{token}")))
}

#[tokio::test]
async fn a_round_that_fails_leaves_its_work_for_the_next() {
    let (head, keys) = Head::unsealed().await;
    head.system.round(true).await.unwrap();
    let token = short_token(&head, &keys).await;
    head.clock.advance(Duration::from_secs(120));
    for nth in 1..=2 {
        head.store.fail_at(nth, Fault::Full);
    }
    assert!(head.system.round(false).await.is_err(), "time floor, sweep");
    assert!(stored(&head, &token));
    head.record("a").await.unwrap();
    head.store.fail_at(1, Fault::Full);
    assert!(head.system.round(true).await.is_err(), "ends of chains");
    assert!(!stored(&head, &token), "the sweep is done all the same");

    while head.system.round(true).await.unwrap() {}
    let writes = head.store.applies();
    head.system.round(true).await.unwrap();
    assert_eq!(head.store.applies(), writes, "an idle zone writes nothing");
}

/// What a failed round did not store is stored by the next one, though no line came since.
#[tokio::test]
async fn a_head_that_could_not_be_stored_is_stored_later() {
    let (head, _) = Head::unsealed().await;
    head.system.round(true).await.unwrap();
    head.record("a").await.unwrap();
    let at = Key::new("core/audit-head/file").unwrap();
    let before = head.barrier.get(&at).await.unwrap().unwrap().revision;
    head.store.fail_at(1, Fault::Full);
    assert!(head.system.round(true).await.is_err());
    head.system.round(true).await.unwrap();
    let after = head.barrier.get(&at).await.unwrap().unwrap().revision;
    assert!(after > before);
}

#[tokio::test]
async fn a_close_that_cannot_store_the_heads_still_closes() {
    let (head, keys) = Head::unsealed().await;
    head.record("a").await.unwrap();
    head.store.fail_at(1, Fault::Full);
    head.system.close().await;
    assert!(head.system.is_sealed() && head.barrier.is_sealed());
    assert_eq!(head.told.times(), (1, 1));
    head.open(&keys).await;
    head.record("b").await.unwrap();
}

#[tokio::test]
async fn background_work_goes_on_after_failures_and_across_a_seal() {
    let (head, keys) = Head::unsealed().await;
    let token = short_token(&head, &keys).await;
    head.clock.advance(Duration::from_secs(120));
    for nth in 1..=2 {
        head.store.fail_at(nth, Fault::Full);
    }
    head.system.close().await;
    let system = head.system.clone();
    let work = tokio::spawn(async move { system.background().await });
    head.open(&keys).await;
    let swept = async {
        while stored(&head, &token) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), swept)
        .await
        .expect("the sweep is tried again");
    assert!(!work.is_finished());
    work.abort();
}
