//! Versions come and go: delete, undelete, destroy, pruning, expiry.

use std::time::Duration;

use zone_secrets::KvError;
use zone_secrets::kv2::{ConfigUpdate, Expiry, MetadataUpdate};

use crate::zone::Zone;

async fn three_versions() -> Zone {
    let zone = Zone::new().await;
    for n in 1..=3 {
        assert_eq!(zone.put("a", &format!(r#"{{"n":{n}}}"#)).await, n);
    }
    zone
}

fn most(versions: u32) -> MetadataUpdate {
    MetadataUpdate {
        max_versions: Some(versions),
        ..Default::default()
    }
}

#[tokio::test]
async fn deleted_versions_come_back() {
    let zone = three_versions().await;
    zone.delete_latest("a").await;
    assert_eq!(
        zone.read("a", None).await,
        "gone: 3, deleted true, destroyed false"
    );
    assert_eq!(zone.read("a", Some(2)).await, r#"{"n":2}"#);
    zone.versions("delete", "a", &[1, 1, 7]).await;
    assert_eq!(
        zone.read("a", Some(1)).await,
        "gone: 1, deleted true, destroyed false"
    );
    assert_eq!(zone.read("a", Some(7)).await, "no such secret");
    zone.versions("undelete", "a", &[1, 3, 7]).await;
    assert_eq!(zone.read("a", None).await, r#"{"n":3}"#);
    assert_eq!(zone.read("a", Some(1)).await, r#"{"n":1}"#);
    // The next version does not bring a deleted one back.
    zone.delete_latest("a").await;
    assert_eq!(zone.put("a", r#"{"n":4}"#).await, 4);
    assert_eq!(
        zone.read("a", Some(3)).await,
        "gone: 3, deleted true, destroyed false"
    );
}

#[tokio::test]
async fn a_second_delete_keeps_the_first_time() {
    let zone = three_versions().await;
    let deletion = async || zone.metadata("a").await.unwrap().versions[2].deletion;
    zone.delete_latest("a").await;
    let first = deletion().await;
    zone.lab.clock.advance(Duration::from_secs(60));
    zone.delete_latest("a").await;
    zone.versions("delete", "a", &[3]).await;
    assert!(first.is_some());
    assert_eq!(deletion().await, first);
}

#[tokio::test]
async fn destroyed_versions_are_gone_from_the_store() {
    let zone = three_versions().await;
    assert_eq!(zone.stored("v").len(), 3);
    zone.versions("destroy", "a", &[2, 2, 9]).await;
    assert_eq!(zone.stored("v").len(), 2);
    assert_eq!(
        zone.read("a", Some(2)).await,
        "gone: 2, deleted false, destroyed true"
    );
    zone.versions("undelete", "a", &[2]).await;
    assert_eq!(
        zone.read("a", Some(2)).await,
        "gone: 2, deleted false, destroyed true"
    );
    // Deleted and then destroyed: both show.
    zone.delete_latest("a").await;
    zone.versions("destroy", "a", &[3]).await;
    assert_eq!(
        zone.read("a", None).await,
        "gone: 3, deleted true, destroyed true"
    );
    assert_eq!(zone.stored("v").len(), 1);
    assert_eq!(zone.metadata("a").await.unwrap().versions.len(), 3);
}

#[tokio::test]
async fn nothing_happens_to_what_is_not_there() {
    let zone = Zone::new().await;
    let before = zone.lab.store.applies();
    for area in ["delete", "undelete", "destroy"] {
        zone.versions(area, "none", &[1]).await;
    }
    zone.delete_latest("none").await;
    zone.delete_metadata("none").await;
    assert_eq!(zone.lab.store.applies(), before);
    assert!(matches!(
        zone.metadata("none").await,
        Err(KvError::NotFound)
    ));
}

#[tokio::test]
async fn ten_versions_are_kept_by_default() {
    let zone = Zone::new().await;
    for n in 1..=12 {
        zone.put("a", &format!(r#"{{"n":{n}}}"#)).await;
    }
    let metadata = zone.metadata("a").await.unwrap();
    let numbers: Vec<u64> = metadata.versions.iter().map(|one| one.version).collect();
    assert_eq!(numbers, (3..=12).collect::<Vec<_>>());
    assert_eq!((metadata.current_version, metadata.oldest_version), (12, 3));
    assert_eq!(zone.read("a", Some(2)).await, "no such secret");
    assert_eq!(zone.read("a", Some(3)).await, r#"{"n":3}"#);
    assert_eq!(zone.stored("v").len(), 10);
}

#[tokio::test]
async fn the_larger_limit_of_mount_and_secret_counts_from_the_next_write_on() {
    let zone = three_versions().await;
    let count = async || zone.metadata("a").await.unwrap().versions.len();
    zone.set("a", most(2)).await.unwrap();
    assert_eq!(count().await, 3, "a setting alone removes nothing");
    zone.put("a", "{}").await;
    assert_eq!((count().await, zone.stored("v").len()), (2, 2));
    zone.configure(ConfigUpdate {
        max_versions: Some(4),
        ..Default::default()
    })
    .await;
    for _ in 0..4 {
        zone.put("a", "{}").await;
    }
    assert_eq!((count().await, zone.stored("v").len()), (4, 4));
    zone.configure(ConfigUpdate {
        max_versions: Some(1),
        ..Default::default()
    })
    .await;
    zone.set("a", most(1)).await.unwrap();
    zone.put("a", "{}").await;
    assert_eq!((count().await, zone.stored("v").len()), (1, 1));
}

/// One batch holds 60 operations: more removals than that go after the list has changed.
#[tokio::test]
async fn many_versions_can_go_at_once() {
    let zone = Zone::new().await;
    zone.set("a", most(200)).await.unwrap();
    for n in 1..=150 {
        zone.put("a", &format!(r#"{{"n":{n}}}"#)).await;
    }
    let odd: Vec<u64> = (1..150).step_by(2).collect();
    let before = zone.lab.store.applies();
    zone.versions("destroy", "a", &odd).await;
    assert_eq!(
        zone.lab.store.applies(),
        before + 3,
        "the list, 50 versions, 25 and the record"
    );
    assert_eq!(zone.stored("v").len(), 75);
    assert_eq!(zone.read("a", Some(2)).await, r#"{"n":2}"#);
    zone.set("a", most(1)).await.unwrap();
    assert_eq!(zone.put("a", r#"{"n":151}"#).await, 151);
    assert_eq!((zone.stored("v").len(), zone.stored("t").len()), (1, 0));
    assert_eq!(zone.read("a", None).await, r#"{"n":151}"#);
    zone.set("b", most(100)).await.unwrap();
    for _ in 0..60 {
        zone.put("b", "{}").await;
    }
    zone.delete_metadata("b").await;
    assert_eq!((zone.stored("v").len(), zone.stored("t").len()), (1, 0));
    assert!(matches!(zone.metadata("b").await, Err(KvError::NotFound)));
}

#[tokio::test]
async fn versions_are_deleted_after_their_time() {
    let zone = Zone::new().await;
    let after = |secs| Some(Duration::from_secs(secs));
    let update = MetadataUpdate {
        delete_version_after: after(60),
        ..Default::default()
    };
    zone.set("a", update).await.unwrap();
    zone.put("a", "{}").await;
    zone.lab.clock.advance(Duration::from_secs(59));
    assert_eq!(zone.read("a", None).await, "{}");
    zone.lab.clock.advance(Duration::from_secs(1));
    assert_eq!(
        zone.read("a", None).await,
        "gone: 1, deleted true, destroyed false"
    );
    assert_eq!(
        zone.stored("v").len(),
        1,
        "the data stays until it is destroyed"
    );
    // Undelete gives the time again.
    zone.versions("undelete", "a", &[1]).await;
    assert_eq!(zone.read("a", None).await, "{}");
    zone.lab.clock.advance(Duration::from_secs(60));
    assert_eq!(
        zone.read("a", None).await,
        "gone: 1, deleted true, destroyed false"
    );
    // Undelete before the time is over begins it anew as well.
    zone.put("a", "{}").await;
    zone.lab.clock.advance(Duration::from_secs(40));
    zone.versions("undelete", "a", &[2]).await;
    zone.lab.clock.advance(Duration::from_secs(40));
    assert_eq!(zone.read("a", None).await, "{}");
    // Delete does not wait for the time.
    zone.delete_latest("a").await;
    assert_eq!(
        zone.read("a", None).await,
        "gone: 2, deleted true, destroyed false"
    );
}

#[tokio::test]
async fn the_mount_can_delete_sooner_or_never() {
    let zone = Zone::new().await;
    let config = |expiry| ConfigUpdate {
        delete_version_after: Some(expiry),
        ..Default::default()
    };
    let deletion = async |path: &str| {
        let written = zone.write(path, "{}", None).await.unwrap();
        written
            .deletion
            .map(|at| at.secs() - written.created.secs())
    };
    zone.configure(config(Expiry::After(Duration::from_secs(30))))
        .await;
    let after = Some(Duration::from_secs(60));
    zone.set(
        "a",
        MetadataUpdate {
            delete_version_after: after,
            ..Default::default()
        },
    )
    .await
    .unwrap();
    assert_eq!(
        (deletion("a").await, deletion("b").await),
        (Some(30), Some(30))
    );
    zone.configure(config(Expiry::Disabled)).await;
    assert_eq!((deletion("a").await, deletion("b").await), (None, None));
    zone.configure(config(Expiry::Unset)).await;
    assert_eq!((deletion("a").await, deletion("b").await), (Some(60), None));
    // A patch sets the time too.
    zone.configure(config(Expiry::After(Duration::from_millis(1500))))
        .await;
    let zone_secrets::kv2::Patched::Written(info) = zone.patch("b", "{}", None).await.unwrap()
    else {
        panic!("nothing was written")
    };
    assert_eq!(
        info.deletion.unwrap().secs() - info.created.secs(),
        2,
        "a fraction counts as one"
    );
}

#[tokio::test]
async fn a_removed_secret_begins_anew() {
    let zone = three_versions().await;
    zone.delete_metadata("a").await;
    assert!(zone.stored("v").is_empty() && zone.stored("m").is_empty());
    assert_eq!(zone.read("a", Some(1)).await, "no such secret");
    assert_eq!(zone.write("a", "{}", Some(0)).await.unwrap().version, 1);
    assert_eq!(zone.metadata("a").await.unwrap().versions.len(), 1);
}
