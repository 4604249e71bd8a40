//! What is in memory never lags behind a change that returned.

use std::sync::Arc;

use crate::common::{ask_ttl, child, create, lives, root_at};
use crate::slow::SlowStore;
use zone_access::{AccessError, Operation, RefusalKind};
use zone_testkit::{Lab, MemStore};
use zone_types::Secret;

async fn slow_lab() -> (Arc<Lab>, Arc<SlowStore>) {
    let store = MemStore::new();
    let slow = Arc::new(SlowStore::new(store.clone()));
    let lab = Lab::through(store, slow.clone()).await;
    (Arc::new(lab), slow)
}

/// A look-up has read the record and is stopped; the token ends; the look-up goes on. What it
/// read must not stay in the cache.
#[tokio::test]
async fn a_lookup_that_is_overtaken_by_a_revocation_leaves_nothing_behind() {
    let (lab, slow) = slow_lab().await;
    let token = create(&lab, &lab.root, ask_ttl(60)).await.unwrap();
    slow.stop_read_of(&format!("token/{}", token.entry.id.as_str()));
    let looker = tokio::spawn({
        let (lab, text) = (lab.clone(), token.text.clone());
        async move { lab.access.token(text.expose()).await.unwrap().is_some() }
    });
    slow.stopped().await;
    lab.access.revoke_token(&token.entry.id).await.unwrap();
    assert!(!lives(&lab, &token).await, "not held up by the old look-up");
    slow.go_on();
    assert!(looker.await.unwrap(), "it began before the revocation");
    assert!(!lives(&lab, &token).await);
}

#[tokio::test]
async fn a_lookup_that_is_overtaken_by_a_renewal_leaves_nothing_behind() {
    let (lab, slow) = slow_lab().await;
    let token = create(&lab, &lab.root, ask_ttl(60)).await.unwrap();
    let permit = root_at(&lab, "auth/token/renew").await;
    slow.stop_read_of(&format!("token/{}", token.entry.id.as_str()));
    let looker = tokio::spawn({
        let (lab, text) = (lab.clone(), token.text.clone());
        async move { lab.access.token(text.expose()).await.unwrap() }
    });
    slow.stopped().await;
    let renewed = lab.access.renew_token(&permit, &token.entry, 3600).await;
    let renewed = renewed.unwrap().record.clone();
    slow.go_on();
    assert_eq!(looker.await.unwrap().unwrap().record, token.entry.record);
    let found = lab.access.token(token.text.expose()).await.unwrap();
    assert_eq!(found.unwrap().record, renewed);
}

/// The same for compiled policies.
#[tokio::test]
async fn a_compilation_that_is_overtaken_by_a_change_is_not_kept() {
    let (lab, slow) = slow_lab().await;
    let text = r#"path "sys/mounts" { capabilities = ["read"] }"#;
    lab.policy("app", text).await;
    let token = lab.token(&["app"]).await;
    slow.stop_read_of("/policy/app");
    let early = tokio::spawn({
        let (lab, text) = (lab.clone(), token.text.clone());
        async move {
            let permit = lab.permit_of(&text, Operation::Read, "sys/mounts").await;
            permit.is_ok()
        }
    });
    slow.stopped().await;
    lab.policy("app", "").await;
    slow.go_on();
    assert!(early.await.unwrap(), "it was judged by the old text");
    let refused = lab
        .permit_of(&token.text, Operation::Read, "sys/mounts")
        .await;
    assert!(matches!(refused.unwrap_err().kind, RefusalKind::Denied));
}

/// The caller is gone before the store answers. The change is made, and memory follows.
#[tokio::test]
async fn a_caller_that_goes_away_leaves_nothing_stale() {
    let lab = Arc::new(Lab::new().await);
    let token = child(&lab, &lab.root).await;
    assert!(lives(&lab, &token).await, "it is in the cache");
    lab.store.hold();
    let revocation = tokio::spawn({
        let (lab, id) = (lab.clone(), token.entry.id.clone());
        async move { lab.access.revoke_token(&id).await }
    });
    lab.store.arrived().await;
    revocation.abort();
    assert!(revocation.await.unwrap_err().is_cancelled());
    lab.store.release();
    let mut looks = 0;
    let text = token.text.expose();
    while lab.access.token(text).await.unwrap().is_some() {
        looks += 1;
        assert!(looks < 100_000, "the revoked token stays in the cache");
        tokio::task::yield_now().await;
    }
}

/// The zone is sealed and opened again while a revocation is on its way to the store.
#[tokio::test]
async fn a_change_under_way_at_the_seal_is_known_after_the_unseal() {
    let lab = Arc::new(Lab::new().await);
    let token = child(&lab, &lab.root).await;
    lab.store.hold();
    let revocation = tokio::spawn({
        let (lab, id) = (lab.clone(), token.entry.id.clone());
        async move { lab.access.revoke_token(&id).await }
    });
    lab.store.arrived().await;
    let reopening = tokio::spawn({
        let lab = lab.clone();
        async move { lab.seal_and_unseal().await }
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!reopening.is_finished(), "opening waits for the change");
    assert!(matches!(
        lab.access.token(token.text.expose()).await,
        Err(AccessError::Sealed)
    ));
    lab.store.release();
    reopening.await.unwrap();
    revocation.await.unwrap().unwrap();
    assert!(!lives(&lab, &token).await);
    assert!(lab.access.token(lab.root.expose()).await.unwrap().is_some());
}

#[tokio::test]
async fn b2_nothing_is_known_once_the_zone_is_sealed() {
    let lab = Lab::new().await;
    let permit = root_at(&lab, "sys/mounts/x").await;
    let told = async || {
        let sealed = |error: &AccessError| matches!(error, AccessError::Sealed);
        let refusal = lab
            .permit_of(&lab.root, Operation::Read, "sys/mounts")
            .await;
        assert!(matches!(refusal.unwrap_err().kind, RefusalKind::Sealed));
        assert!(sealed(
            &lab.access.token(lab.root.expose()).await.unwrap_err()
        ));
        assert!(sealed(&lab.access.mounts().unwrap_err()));
        assert!(sealed(&lab.access.mount_of("sys/x").unwrap_err()));
        assert!(sealed(&lab.access.now().unwrap_err()));
        assert!(sealed(&lab.access.sweep().await.unwrap_err()));
        let made = lab.access.create_token(&permit, ask_ttl(1)).await;
        assert!(sealed(&made.unwrap_err()));
        let written = lab.access.write_policy(&permit, "p", "").await;
        assert!(sealed(&written.unwrap_err()));
    };
    // In whatever order the two are sealed.
    lab.barrier.seal();
    told().await;
    lab.access.forget();
    told().await;
    lab.seal_and_unseal().await;
    assert!(lab.access.token(lab.root.expose()).await.unwrap().is_some());
    lab.access.forget();
    told().await;
}

/// Tokens are looked up without pause while they are renewed, used and revoked; whenever a
/// change has returned, each look-up begun after it knows of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_lookup_sees_the_past_under_load() {
    let lab = Arc::new(Lab::new().await);
    for round in 0..150 {
        let token = create(&lab, &lab.root, ask_ttl(60)).await.unwrap();
        let (done, seen) = tokio::sync::watch::channel(false);
        let lookers: Vec<_> = (0..6)
            .map(|_| tokio::spawn(look(lab.clone(), token.text.clone(), seen.clone())))
            .collect();
        let permit = root_at(&lab, "auth/token/renew").await;
        for step in 1..4 {
            let increment = 100 * step;
            let renewed = lab
                .access
                .renew_token(&permit, &token.entry, increment)
                .await;
            let record = renewed.unwrap().record.clone();
            for _ in 0..3 {
                let found = lab.access.token(token.text.expose()).await.unwrap();
                assert_eq!(found.unwrap().record, record, "round {round}");
                tokio::task::yield_now().await;
            }
        }
        lab.access.revoke_token(&token.entry.id).await.unwrap();
        assert!(!lives(&lab, &token).await, "round {round}");
        done.send_replace(true);
        for looker in lookers {
            looker.await.unwrap();
        }
        assert!(!lives(&lab, &token).await, "round {round}");
    }
}

/// Looks until it is told to stop; once gone, a token does not come back.
async fn look(lab: Arc<Lab>, text: Secret<String>, stop: tokio::sync::watch::Receiver<bool>) {
    let mut gone = false;
    while !*stop.borrow() {
        let found = lab.access.token(text.expose()).await.unwrap();
        assert!(!(gone && found.is_some()), "a revoked token came back");
        gone |= found.is_none();
        tokio::task::yield_now().await;
    }
}
