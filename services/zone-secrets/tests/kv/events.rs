//! What changes and readings tell of themselves: Vault's types and facts, exactly what happened.

use std::collections::BTreeMap;

use zone_access::Operation;
use zone_access::event::Event;
use zone_barrier::{Events, Told};
use zone_secrets::kv2::{ConfigUpdate, CustomChange, MetadataUpdate};
use zone_testkit::{Fault, Lab};

use crate::zone::Zone;

/// The next event, and that `end` follows: nothing else was told.
pub(crate) async fn next(lab: &Lab, events: &mut Events) -> Option<Event> {
    let end = zone_barrier::Batch::new().announce("end");
    lab.barrier.commit(end).await.unwrap();
    let mut told = Vec::new();
    loop {
        match events.next().await.unwrap() {
            Some(Told::Event(record)) if **record == *b"end" => break,
            Some(Told::Event(record)) => told.push(Event::decode(&record).unwrap()),
            other => panic!("{other:?}"),
        }
    }
    assert!(told.len() < 2, "{told:?}");
    told.pop()
}

pub(crate) fn facts(event: &Event) -> String {
    let facts = event.metadata.iter();
    let facts: Vec<String> = facts
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!("{} {}", event.kind, facts.join(" "))
}

fn canary() -> MetadataUpdate {
    let custom = BTreeMap::from([("canary".to_owned(), "true".to_owned())]);
    MetadataUpdate {
        custom_metadata: Some(CustomChange::Replace(custom)),
        ..MetadataUpdate::default()
    }
}

#[tokio::test]
async fn each_change_tells_one_event_in_vaults_words() {
    let zone = Zone::new().await;
    let mut events = zone.lab.barrier.events();
    let mut told = async || facts(&next(&zone.lab, &mut events).await.unwrap());
    let versioned = |operation: &str, path: &str, current: u64, oldest: u64| {
        format!(
            "kv-v2/{operation} current_version={current} data_path=kv/data/app \
             modified=true oldest_version={oldest} operation={operation} path=kv/{path}/app"
        )
    };
    zone.put("app", r#"{"a":1}"#).await;
    assert_eq!(told().await, versioned("data-write", "data", 1, 0));
    zone.patch("app", r#"{"b":2}"#, None).await.unwrap();
    assert_eq!(told().await, versioned("data-patch", "data", 2, 0));
    zone.delete_latest("app").await;
    assert_eq!(told().await, versioned("data-delete", "data", 2, 0));
    zone.versions("undelete", "app", &[2]).await;
    assert_eq!(told().await, versioned("undelete", "undelete", 2, 0));
    zone.versions("delete", "app", &[1]).await;
    assert_eq!(told().await, versioned("delete", "delete", 2, 0));
    zone.versions("destroy", "app", &[1]).await;
    assert_eq!(told().await, versioned("destroy", "destroy", 2, 0));
    let more = |max_versions| MetadataUpdate {
        max_versions: Some(max_versions),
        ..MetadataUpdate::default()
    };
    zone.set("app", more(3)).await.unwrap();
    assert_eq!(told().await, versioned("metadata-write", "metadata", 2, 0));
    zone.patch_metadata("app", more(4)).await.unwrap();
    assert_eq!(told().await, versioned("metadata-patch", "metadata", 2, 0));
    zone.delete_metadata("app").await;
    assert_eq!(told().await, versioned("metadata-delete", "metadata", 0, 0));
    zone.configure(ConfigUpdate {
        max_versions: Some(7),
        ..ConfigUpdate::default()
    })
    .await;
    let config = "kv-v2/config-write modified=true operation=config-write path=kv/config";
    assert_eq!(told().await, config);
}

#[tokio::test]
async fn what_changes_nothing_or_fails_tells_nothing() {
    let zone = Zone::new().await;
    zone.put("app", r#"{"a":1}"#).await;
    let mut events = zone.lab.barrier.events();
    assert!(zone.write("app", r#"{"a":2}"#, Some(7)).await.is_err());
    zone.versions("destroy", "app", &[9]).await;
    zone.versions("undelete", "app", &[1]).await;
    zone.delete_latest("none").await;
    zone.set("app", MetadataUpdate::default()).await.unwrap();
    zone.read("app", None).await;
    zone.lab.store.fail_at(1, Fault::Full);
    assert!(zone.write("app", r#"{"a":3}"#, None).await.is_err());
    assert_eq!(next(&zone.lab, &mut events).await, None);
}

#[tokio::test]
async fn a_canary_tells_each_reading_of_its_values_once() {
    let zone = Zone::new().await;
    zone.put("bait", r#"{"a":1}"#).await;
    zone.set("bait", canary()).await.unwrap();
    let mut events = zone.lab.barrier.events();
    let mut told = async || {
        next(&zone.lab, &mut events)
            .await
            .map(|event| facts(&event))
    };
    let read = |operation: &str| {
        Some(format!(
            "zone/canary-read data_path=kv/data/bait display_name=root modified=false \
             operation=canary-read path=kv/{operation}/bait"
        ))
    };
    zone.read("bait", None).await;
    assert_eq!(told().await, read("data"));
    zone.read("bait", Some(1)).await;
    assert_eq!(told().await, read("data"));
    let permit = zone.permit(Operation::Read, "subkeys/bait").await;
    zone.kv.subkeys(&permit, None, 0).await.unwrap();
    assert_eq!(told().await, read("subkeys"));
    // Not its values: what is known of it, and what is not there.
    zone.metadata("bait").await.unwrap();
    zone.list("").await;
    zone.read("bait", Some(9)).await;
    assert_eq!(told().await, None);
    zone.delete_latest("bait").await;
    assert!(told().await.unwrap().starts_with("kv-v2/data-delete"));
    zone.read("bait", None).await;
    assert_eq!(told().await, None);
}

#[tokio::test]
async fn a_patch_of_a_canary_tells_both_in_one_batch() {
    let zone = Zone::new().await;
    zone.put("bait", r#"{"a":1}"#).await;
    zone.set("bait", canary()).await.unwrap();
    let mut events = zone.lab.barrier.events();
    zone.patch("bait", r#"{"b":2}"#, None).await.unwrap();
    let mut kinds = Vec::new();
    for _ in 0..2 {
        match events.next().await.unwrap() {
            Some(Told::Event(record)) => kinds.push(Event::decode(&record).unwrap().kind),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(kinds, ["kv-v2/data-patch", "zone/canary-read"]);
}

/// What cannot be told is not read: nobody reads a canary unseen while the store is full.
#[tokio::test]
async fn attack_a_canary_that_cannot_be_told_of_is_not_read() {
    let zone = Zone::new().await;
    zone.put("bait", r#"{"a":1}"#).await;
    zone.set("bait", canary()).await.unwrap();
    zone.lab.store.fail_at(1, Fault::Full);
    let refused = zone.read("bait", None).await;
    assert!(!refused.contains("\"a\""), "{refused}");
    assert_eq!(zone.read("bait", None).await, r#"{"a":1}"#);
}
