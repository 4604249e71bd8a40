//! Metadata and configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use zone_access::Operation;
use zone_secrets::KvError;
use zone_secrets::kv2::{ConfigUpdate, CustomChange, Expiry, MetadataUpdate, Notice};

use crate::zone::Zone;

type Merge<'a> = &'a [(&'a str, Option<&'a str>)];

fn replace(pairs: &[(&str, &str)]) -> MetadataUpdate {
    let pairs = pairs
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()))
        .collect();
    MetadataUpdate {
        custom_metadata: Some(CustomChange::Replace(pairs)),
        ..Default::default()
    }
}

fn merge(pairs: Merge<'_>) -> MetadataUpdate {
    let pair = |(key, value): &(&str, Option<&str>)| ((*key).into(), value.map(str::to_owned));
    let pairs = pairs.iter().map(pair).collect();
    MetadataUpdate {
        custom_metadata: Some(CustomChange::Merge(pairs)),
        ..Default::default()
    }
}

async fn custom(zone: &Zone, path: &str) -> String {
    let custom = zone.metadata(path).await.unwrap().custom_metadata;
    let pair = |(key, value)| format!("{key}={value}");
    match custom {
        None => "none".into(),
        Some(custom) => custom.into_iter().map(pair).collect::<Vec<_>>().join(" "),
    }
}

#[tokio::test]
async fn metadata_can_come_before_the_first_version() {
    let zone = Zone::new().await;
    let update = MetadataUpdate {
        max_versions: Some(7),
        cas_required: Some(true),
        delete_version_after: Some(Duration::from_secs(3600)),
        ..replace(&[("owner", "a team")])
    };
    assert!(zone.set("a", update).await.unwrap().is_empty());
    let shown = zone.metadata("a").await.unwrap();
    assert_eq!(
        (
            shown.current_version,
            shown.oldest_version,
            shown.max_versions
        ),
        (0, 0, 7)
    );
    assert_eq!(shown.delete_version_after, Duration::from_secs(3600));
    assert!(shown.cas_required && shown.versions.is_empty());
    assert_eq!(shown.created, shown.updated);
    assert_eq!(custom(&zone, "a").await, "owner=a team");
    assert_eq!(zone.read("a", None).await, "no such secret");
    let written = zone.write("a", "{}", Some(0)).await.unwrap();
    let expected = BTreeMap::from([("owner".to_owned(), "a team".to_owned())]);
    assert_eq!(written.custom_metadata, Some(expected));
}

#[tokio::test]
async fn absent_fields_stay_and_an_empty_update_does_nothing() {
    let zone = Zone::new().await;
    zone.set("none", MetadataUpdate::default()).await.unwrap();
    assert!(matches!(
        zone.metadata("none").await,
        Err(KvError::NotFound)
    ));
    let update = MetadataUpdate {
        max_versions: Some(7),
        ..replace(&[("a", "1")])
    };
    zone.set("a", update).await.unwrap();
    let before = (zone.metadata("a").await.unwrap(), zone.lab.store.applies());
    zone.lab.clock.advance(Duration::from_secs(60));
    zone.set("a", MetadataUpdate::default()).await.unwrap();
    zone.patch_metadata("a", MetadataUpdate::default())
        .await
        .unwrap();
    assert!(before == (zone.metadata("a").await.unwrap(), zone.lab.store.applies()));
    zone.set("a", replace(&[("b", "2")])).await.unwrap();
    let shown = zone.metadata("a").await.unwrap();
    assert_eq!((shown.max_versions, shown.metadata_version), (7, 2));
    assert_eq!(
        shown.updated, shown.created,
        "as in Vault, the time of the last version"
    );
    assert_eq!(custom(&zone, "a").await, "b=2");
}

#[tokio::test]
async fn a_patch_merges_custom_metadata() {
    let zone = Zone::new().await;
    let missing = zone.patch_metadata("a", merge(&[("k", Some("v"))])).await;
    assert!(matches!(missing, Err(KvError::NotFound)));
    let missing = zone.patch_metadata("a", MetadataUpdate::default()).await;
    assert!(matches!(missing, Err(KvError::NotFound)));
    zone.set("a", replace(&[("a", "1"), ("b", "2")]))
        .await
        .unwrap();
    let change = merge(&[("b", None), ("c", Some("3")), ("none", None)]);
    zone.patch_metadata("a", change).await.unwrap();
    assert_eq!(custom(&zone, "a").await, "a=1 c=3");
    zone.patch_metadata("a", merge(&[("a", None), ("c", None)]))
        .await
        .unwrap();
    assert_eq!(custom(&zone, "a").await, "none");
}

#[tokio::test]
async fn custom_metadata_is_bounded_after_a_merge_too() {
    let zone = Zone::new().await;
    let names: Vec<String> = (0..64).map(|n| format!("k{n}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    zone.set("a", replace(&pairs)).await.unwrap();
    let over = zone
        .patch_metadata("a", merge(&[("more", Some("v"))]))
        .await;
    assert!(matches!(over, Err(KvError::CustomKeys(65))));
    let swap = merge(&[("more", Some("v")), ("k0", None)]);
    zone.patch_metadata("a", swap).await.unwrap();
    let long = zone
        .patch_metadata("a", merge(&[("more", Some(&"v".repeat(513)))]))
        .await;
    assert!(matches!(long, Err(KvError::CustomValueLength(513))));
    let unprintable = zone.set("a", replace(&[("k", "a\nb")])).await;
    assert!(matches!(unprintable, Err(KvError::CustomUnprintable)));
    assert_eq!(
        zone.metadata("a")
            .await
            .unwrap()
            .custom_metadata
            .unwrap()
            .len(),
        64
    );
}

#[tokio::test]
async fn what_the_mount_demands_a_secret_cannot_switch_off() {
    let zone = Zone::new().await;
    let demand = ConfigUpdate {
        cas_required: Some(true),
        ..Default::default()
    };
    zone.configure(demand).await;
    let off = || MetadataUpdate {
        cas_required: Some(false),
        ..Default::default()
    };
    assert_eq!(
        zone.set("a", off()).await.unwrap(),
        [Notice::CasRequiredByMount]
    );
    assert_eq!(
        zone.patch_metadata("a", off()).await.unwrap(),
        [Notice::CasRequiredByMount]
    );
    assert!(matches!(
        zone.write("a", "{}", None).await,
        Err(KvError::CasRequired)
    ));
}

#[tokio::test]
async fn check_and_set_of_metadata() {
    let zone = Zone::new().await;
    let update = |cas| MetadataUpdate {
        metadata_cas: cas,
        ..replace(&[("k", "v")])
    };
    let new = zone.set("a", update(Some(1))).await;
    assert!(matches!(new, Err(KvError::MetadataCasNotNew)));
    zone.set("a", update(Some(0))).await.unwrap();
    for wrong in [0, 2, -1] {
        let stale = zone.set("a", update(Some(wrong))).await;
        assert!(
            matches!(stale, Err(KvError::MetadataCasMismatch)),
            "{wrong}"
        );
    }
    zone.set("a", update(Some(1))).await.unwrap();
    zone.put("a", "{}").await;
    let demand = MetadataUpdate {
        metadata_cas_required: Some(true),
        ..Default::default()
    };
    zone.patch_metadata(
        "a",
        MetadataUpdate {
            metadata_cas: Some(2),
            ..demand
        },
    )
    .await
    .unwrap();
    let without = zone.patch_metadata("a", update(None)).await;
    assert!(matches!(without, Err(KvError::MetadataCasRequired)));
    zone.patch_metadata("a", update(Some(3))).await.unwrap();
    // A mount that demands it demands it of new metadata too.
    let demand = ConfigUpdate {
        metadata_cas_required: Some(true),
        ..Default::default()
    };
    zone.configure(demand).await;
    let without = zone.set("b", update(None)).await;
    assert!(matches!(without, Err(KvError::MetadataCasRequired)));
    zone.set("b", update(Some(0))).await.unwrap();
}

#[tokio::test]
async fn configuration_changes_field_by_field() {
    let zone = Zone::new().await;
    let read = async || {
        let permit = zone.permit(Operation::Read, "config").await;
        let shown = zone.kv.read_config(&permit).await.unwrap();
        (
            shown.max_versions,
            shown.cas_required,
            shown.delete_version_after,
        )
    };
    assert_eq!(read().await, (0, false, Expiry::Unset));
    zone.configure(ConfigUpdate {
        max_versions: Some(5),
        ..Default::default()
    })
    .await;
    zone.configure(ConfigUpdate {
        cas_required: Some(true),
        ..Default::default()
    })
    .await;
    let span = Expiry::After(Duration::from_millis(2500));
    zone.configure(ConfigUpdate {
        delete_version_after: Some(span),
        ..Default::default()
    })
    .await;
    assert_eq!(
        read().await,
        (5, true, Expiry::After(Duration::from_secs(3)))
    );
    let before = zone.lab.store.applies();
    zone.configure(ConfigUpdate {
        max_versions: Some(5),
        ..Default::default()
    })
    .await;
    zone.configure(ConfigUpdate::default()).await;
    assert_eq!(
        zone.lab.store.applies(),
        before,
        "what changes nothing writes nothing"
    );
    let reset = ConfigUpdate {
        max_versions: Some(0),
        cas_required: Some(false),
        delete_version_after: Some(Expiry::Disabled),
        ..Default::default()
    };
    zone.configure(reset).await;
    assert_eq!(read().await, (0, false, Expiry::Disabled));
}

#[tokio::test]
async fn mounts_do_not_see_each_other() {
    let zone = Zone::new().await;
    zone.lab.mount(zone_access::MountKind::Kv, "other/").await;
    zone.put("a", "{}").await;
    zone.configure(ConfigUpdate {
        cas_required: Some(true),
        ..Default::default()
    })
    .await;
    let permit = zone.lab.permit(Operation::Read, "other/data/a").await;
    assert!(matches!(
        zone.kv.read(&permit, None).await,
        Err(KvError::NotFound)
    ));
    let permit = zone.lab.permit(Operation::List, "other/metadata/").await;
    assert!(zone.kv.list(&permit, None, None).await.unwrap().is_empty());
    let permit = zone.lab.permit(Operation::Create, "other/data/a").await;
    assert_eq!(
        zone.kv
            .write(&permit, &crate::zone::object("{}"), None)
            .await
            .unwrap()
            .version,
        1
    );
}
