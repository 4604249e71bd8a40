//! What a token keeps for itself, and what becomes of it.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::common::{ask, child, create, create_at, keys_with, only_left, said};
use zone_access::{AccessError, CreateToken, Operation};
use zone_barrier::Batch;
use zone_testkit::{Fault, Lab};
use zone_types::Secret;

async fn write(lab: &Lab, by: &Secret<String>, path: &str, data: &str) -> Result<(), AccessError> {
    let permit = lab.permit_of(by, Operation::Update, path).await.unwrap();
    let data = RawValue::from_string(data.to_owned()).unwrap();
    lab.access.cubbyhole_write(&permit, data).await
}

async fn read(lab: &Lab, by: &Secret<String>, path: &str) -> Option<String> {
    let permit = lab.permit_of(by, Operation::Read, path).await.unwrap();
    let found = lab.access.cubbyhole_read(&permit).await.unwrap();
    found.map(|data| data.get().to_owned())
}

async fn list(lab: &Lab, by: &Secret<String>, path: &str) -> Vec<String> {
    let permit = lab.permit_of(by, Operation::List, path).await.unwrap();
    lab.access.cubbyhole_list(&permit).await.unwrap()
}

#[tokio::test]
async fn each_token_has_its_own_and_root_sees_none_of_it() {
    let lab = Lab::new().await;
    let (one, two) = (child(&lab, &lab.root).await, child(&lab, &lab.root).await);
    let data = r#"{"n":1.50,"a":"x"}"#;
    write(&lab, &one.text, "cubbyhole/a/b", data).await.unwrap();
    write(&lab, &one.text, "cubbyhole/a/c/d", "{}")
        .await
        .unwrap();
    write(&lab, &one.text, "cubbyhole/z", "{}").await.unwrap();
    assert_eq!(
        read(&lab, &one.text, "cubbyhole/a/b").await.as_deref(),
        Some(data)
    );
    assert_eq!(list(&lab, &one.text, "cubbyhole/").await, ["a/", "z"]);
    assert_eq!(list(&lab, &one.text, "cubbyhole/a/").await, ["b", "c/"]);
    for other in [&two.text, &lab.root] {
        assert_eq!(read(&lab, other, "cubbyhole/a/b").await, None);
        assert_eq!(list(&lab, other, "cubbyhole/").await, [""; 0]);
        let id = one.entry.id.as_str();
        for path in [format!("cubbyhole/{id}/a/b"), format!("cubbyhole/{id}")] {
            assert_eq!(read(&lab, other, &path).await, None);
        }
    }
    let permit = lab
        .permit_of(&one.text, Operation::Delete, "cubbyhole/a/b")
        .await;
    lab.access.cubbyhole_delete(&permit.unwrap()).await.unwrap();
    assert_eq!(read(&lab, &one.text, "cubbyhole/a/b").await, None);
}

#[tokio::test]
async fn a_cubbyhole_belongs_to_the_token_and_not_to_its_policies() {
    let lab = Lab::new().await;
    let permit = lab.permit(Operation::Read, "sys/mounts").await;
    let refused = lab.access.cubbyhole_read(&permit).await;
    assert_eq!(
        said(refused),
        "permission denied: a cubbyhole belongs to a token"
    );
}

#[tokio::test]
async fn size_path_and_count_are_bounded() {
    let lab = Lab::new().await;
    let token = child(&lab, &lab.root).await.text;
    let of = |size: usize| format!("\"{}\"", "x".repeat(size - 2));
    write(&lab, &token, "cubbyhole/x", &of(64 * 1024))
        .await
        .unwrap();
    let refused = write(&lab, &token, "cubbyhole/x", &of(64 * 1024 + 1)).await;
    assert_eq!(said(refused), "an entry of a cubbyhole has at most 64 KiB");
    let long = format!("cubbyhole/{}", "p".repeat(256));
    write(&lab, &token, &long, "{}").await.unwrap();
    let refused = write(&lab, &token, &format!("{long}p"), "{}").await;
    assert_eq!(said(refused), "a path in a cubbyhole has at most 256 bytes");
    for at in 2..256 {
        write(&lab, &token, &format!("cubbyhole/{at}"), "{}")
            .await
            .unwrap();
    }
    let refused = write(&lab, &token, "cubbyhole/one-more", "{}").await;
    assert_eq!(
        said(refused),
        "the cubbyhole of a token has at most 256 entries"
    );
    write(&lab, &token, "cubbyhole/x", "{}").await.unwrap();
    let other = child(&lab, &lab.root).await.text;
    write(&lab, &other, "cubbyhole/x", "{}").await.unwrap();
}

/// All of a revoked tree goes, also when there is more than one step removes; others' stays.
#[tokio::test]
async fn it_is_gone_when_the_token_has_ended() {
    let lab = Lab::new().await;
    let (top, other) = (child(&lab, &lab.root).await, child(&lab, &lab.root).await);
    let below = child(&lab, &top.text).await;
    let once = CreateToken {
        num_uses: 1,
        ..ask()
    };
    let once = create(&lab, &lab.root, once).await.unwrap();
    for token in [&top, &below, &other] {
        for at in 0..60 {
            write(&lab, &token.text, &format!("cubbyhole/{at}"), "{}")
                .await
                .unwrap();
        }
    }
    // Its last use is this one: there is no token left to keep anything for.
    let refused = write(&lab, &once.text, "cubbyhole/x", "{}").await;
    assert_eq!(said(refused), "permission denied: the token has ended");
    lab.access.revoke_token(&top.entry.id).await.unwrap();
    only_left(&lab, &[&other]).await;
    let left = keys_with(&lab, &["/entry/"]);
    assert_eq!(left.len(), 60);
    assert!(left.iter().all(|key| key.contains(other.entry.id.as_str())));
}

#[tokio::test]
async fn a_parent_that_ends_alone_takes_its_own_along() {
    let lab = Lab::new().await;
    let top = child(&lab, &lab.root).await;
    let below = child(&lab, &top.text).await;
    write(&lab, &top.text, "cubbyhole/x", "{}").await.unwrap();
    write(&lab, &below.text, "cubbyhole/x", "{}").await.unwrap();
    lab.access.revoke_orphan(&top.entry.id).await.unwrap();
    only_left(&lab, &[&below]).await;
    assert_eq!(keys_with(&lab, &["/entry/"]).len(), 1);
    assert!(read(&lab, &below.text, "cubbyhole/x").await.is_some());
}

/// Whoever gets the same custom id later finds nothing of the one before.
#[tokio::test]
async fn attack_a_token_made_again_finds_nothing() {
    let lab = Lab::new().await;
    let chosen = || CreateToken {
        id: Some(Secret::new("chosen".into())),
        ..ask()
    };
    let first = create_at(&lab, &lab.root, "create", chosen())
        .await
        .unwrap();
    for at in 0..60 {
        write(&lab, &first.text, &format!("cubbyhole/{at}"), "{}")
            .await
            .unwrap();
    }
    lab.access.revoke_token(&first.entry.id).await.unwrap();
    let second = create_at(&lab, &lab.root, "create", chosen())
        .await
        .unwrap();
    assert_eq!(list(&lab, &second.text, "cubbyhole/").await, [""; 0]);
}

/// What is written while the token ends is either gone with it or refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_write_beside_the_end_leaves_nothing_behind() {
    let lab = Arc::new(Lab::new().await);
    for _ in 0..30 {
        let token = Arc::new(child(&lab, &lab.root).await);
        let permit = lab
            .permit_of(&token.text, Operation::Update, "cubbyhole/x")
            .await
            .unwrap();
        let writer = tokio::spawn({
            let lab = lab.clone();
            async move {
                let data = RawValue::from_string("{}".into()).unwrap();
                lab.access.cubbyhole_write(&permit, data).await
            }
        });
        lab.access.revoke_token(&token.entry.id).await.unwrap();
        let sweeper = lab.settle();
        let (written, ()) = tokio::join!(writer, sweeper);
        if let Err(error) = written.unwrap() {
            assert_eq!(error.to_string(), "permission denied: the token has ended");
        }
        only_left(&lab, &[]).await;
        assert_eq!(keys_with(&lab, &["/entry/"]), [""; 0]);
    }
}

/// The power goes at each write of the end of a token with a full cubbyhole: the sweep goes on.
#[tokio::test]
async fn s1_a_crash_at_any_write_of_the_end_is_resumed() {
    let grown = Lab::new().await;
    let token = child(&grown, &grown.root).await;
    for at in 0..120 {
        write(&grown, &token.text, &format!("cubbyhole/{at}"), "{}")
            .await
            .unwrap();
    }
    for at in 1..=5 {
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            let lab = grown.reopen().await;
            lab.store.fail_at(at, fault);
            let work = async {
                lab.access.revoke_token(&token.entry.id).await.unwrap();
                lab.settle().await;
            };
            tokio::select! {
                () = work => panic!("five writes: the end, three steps, the work record"),
                () = lab.store.died() => {}
            }
            let lab = lab.reopen().await;
            lab.access.revoke_token(&token.entry.id).await.unwrap();
            only_left(&lab, &[]).await;
            assert_eq!(keys_with(&lab, &["/entry/"]), [""; 0], "{at} {fault:?}");
        }
    }
}

/// A zone of an older head gets the mount when it is opened.
#[tokio::test]
async fn a_zone_without_the_mount_gets_it_at_unseal() {
    let lab = Lab::new().await;
    let mount = lab.access.mount_of("cubbyhole/x").unwrap().unwrap();
    let key = zone_ports::Key::new(format!("core/mount/{}", mount.id)).unwrap();
    lab.barrier.commit(Batch::new().delete(key)).await.unwrap();
    let lab = lab.reopen().await;
    let again = lab.access.mount_of("cubbyhole/x").unwrap().unwrap();
    assert_ne!(again.id, mount.id);
    write(&lab, &lab.root, "cubbyhole/x", "{}").await.unwrap();
    let lab = lab.reopen().await;
    assert_eq!(
        lab.access.mount_of("cubbyhole/x").unwrap().unwrap().id,
        again.id
    );
    assert!(read(&lab, &lab.root, "cubbyhole/x").await.is_some());
}
